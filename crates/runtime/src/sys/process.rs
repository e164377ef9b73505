//! Processes: making them in namespaces, waiting, signals, identity, limits and filters.

use super::check;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What `fork` or `clone` returned.
pub enum Fork<T> {
    Child,
    Parent(T),
}

/// A child in namespaces of its own, and a descriptor that tells of its end.
pub struct Cloned {
    pub pid: u32,
    pub pidfd: OwnedFd,
}

/// libc's constant of this name overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child in the namespaces that `flags` name; in `cgroup` (a directory of cgroup2) if
/// given. The caller must have one thread only.
pub fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork<Cloned>> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments outlive the call; without CLONE_VM the child has a copy of our memory,
    // and as we have one thread no lock is held by a thread that doesn't exist in the child.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: CLONE_PIDFD succeeded, so the kernel stored a new descriptor of ours.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent(Cloned { pid: pid as u32, pidfd }))
}

/// The caller must have one thread only.
pub fn fork() -> io::Result<Fork<u32>> {
    // SAFETY: one thread (see above), so the child may go on as any program.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as u32)),
    }
}

/// Ends this process at once, without running destructors or flushing what the parent also holds.
pub fn exit(code: i32) -> ! {
    // SAFETY: always allowed.
    unsafe { libc::_exit(code) }
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// 128 + signal when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
}

/// Waits for a child by its pidfd; None when it lives and `block` is false.
pub fn wait_pidfd(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Ended>> {
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, block)
}

pub fn wait_pid(pid: u32, block: bool) -> io::Result<Option<Ended>> {
    wait_id(libc::P_PID, pid, block)
}

fn wait_id(kind: libc::idtype_t, id: libc::id_t, block: bool) -> io::Result<Option<Ended>> {
    let flags = libc::WEXITED | libc::__WALL | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: an all-zero siginfo_t is valid; the kernel overwrites it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is ours for the call.
        if let Err(e) = check(unsafe { libc::waitid(kind, id, &raw mut info, flags) }.into()) {
            if e.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(e);
        }
        // SAFETY: these fields are set (zero when nobody ended).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok((pid != 0).then(|| match info.si_code {
            libc::CLD_EXITED => Ended { code: status, signal: None },
            _ => Ended { code: 128 + status, signal: Some(status) },
        }));
    }
}

/// Reaps any child that has ended: its pid and how. None: no child has ended. For process 1 of a
/// container, which waits for children it never made.
pub fn wait_any(block: bool) -> io::Result<Option<(u32, Ended)>> {
    let mut status = 0;
    // SAFETY: `status` is ours for the call.
    let pid = check(
        unsafe { libc::waitpid(-1, &raw mut status, if block { 0 } else { libc::WNOHANG }) }.into(),
    )?;
    if pid == 0 {
        return Ok(None);
    }
    let ended = if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        Ended { code: 128 + signal, signal: Some(signal) }
    } else {
        Ended { code: libc::WEXITSTATUS(status), signal: None }
    };
    Ok(Some((pid as u32, ended)))
}

pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means the default one.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    check(result).map(drop)
}

pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) }.into()).map(drop)
}

/// Leaves namespaces for new ones. Per thread for network namespaces, so also right on a thread.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: plain numbers; CLONE_VM and the like are not used by callers.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Enters namespaces: of one kind (a namespace's descriptor) or several (a pidfd).
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into()).map(drop)
}

pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length belong together.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

pub fn set_session() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

fn prctl(option: i32, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take numbers only.
    check(unsafe { libc::prctl(option, argument, 0, 0, 0) }.into()).map(drop)
}

/// The signal this process gets when its parent ends; 0: none.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong)
}

/// Whether others may look into this process (/proc/PID/exe, ptrace).
pub fn set_dumpable(on: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, on.into())
}

pub fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

pub fn set_name(name: &CStr) -> io::Result<()> {
    prctl(libc::PR_SET_NAME, name.as_ptr() as libc::c_ulong)
}

/// Takes a capability out of the bounding set; false when the kernel doesn't know it.
pub fn drop_bounding(capability: u8) -> io::Result<bool> {
    match prctl(libc::PR_CAPBSET_DROP, capability.into()) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(e) => Err(e),
    }
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets effective and permitted to `mask`, inheritable to nothing.
pub fn set_capabilities(mask: u64) -> io::Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |bits: u32| CapData { effective: bits, permitted: bits, inheritable: 0 };
    let data = [half(mask as u32), half((mask >> 32) as u32)];
    // SAFETY: version 3 takes exactly two data elements.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// This process's permitted capabilities.
pub fn capabilities() -> io::Result<u64> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 fills exactly two data elements.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// Becomes a user for good. The raw calls act on this thread, which is the only one.
pub fn set_identity(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length belong together.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain numbers.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Soft and hard limit; `u64::MAX` is no limit.
pub fn limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = std::ptr::null::<libc::rlimit64>();
    // SAFETY: a null `new` only asks; `old` is ours for the call.
    check(unsafe { libc::prlimit64(0, resource, new, &raw mut old) }.into())?;
    Ok((old.rlim_cur, old.rlim_max))
}

pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `new` outlives the call, a null `old` is allowed.
    check(unsafe { libc::prlimit64(0, resource, &raw const new, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// What a zygote and its supervisors ignore: signals of terminals and service managers are for the
/// agent, and who writes to a closed pipe looks at the error.
const IGNORED: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE];

/// Sets all of a zygote's signals: none is inherited from whoever started it.
pub fn set_signals_of_zygote() {
    for signal in 1..=64 {
        default_signal(signal);
    }
    for signal in IGNORED {
        ignore_signal(signal);
    }
    // Ended supervisors vanish by themselves.
    ignore_signal(libc::SIGCHLD);
}

/// Every signal to its default action and none blocked, as a program expects to find them; in a
/// process that a zygote is the ancestor of.
pub fn reset_signals() {
    for signal in IGNORED {
        default_signal(signal);
    }
    default_signal(libc::SIGCHLD);
    // SAFETY: an empty set is made before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

pub fn ignore_signal(signal: i32) {
    // SAFETY: ignoring needs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub fn default_signal(signal: i32) {
    // SAFETY: the default action needs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

fn all_signals() -> libc::sigset_t {
    // SAFETY: the set is filled before it is used.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        all
    }
}

pub fn block_signals() {
    let all = all_signals();
    // SAFETY: the set outlives the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
}

/// The next signal that arrives; they must be blocked.
pub fn next_signal() -> io::Result<i32> {
    let (all, mut signal) = (all_signals(), 0);
    // SAFETY: set and number outlive the call.
    let error = unsafe { libc::sigwait(&raw const all, &raw mut signal) };
    if error == 0 { Ok(signal) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Makes an open folder the working directory.
pub fn enter_folder(folder: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fchdir(folder.as_raw_fd()) }.into()).map(drop)
}

pub fn set_umask(mask: u32) {
    // SAFETY: always allowed.
    unsafe { libc::umask(mask) };
}

/// Sets close-on-exec on every descriptor from `first` on.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: nothing is closed, only marked.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flag) }).map(drop)
}

/// Closes the descriptors from `first` to `last`. Whoever owned them must never use or drop them
/// again; for processes that live on without returning to the code that holds them.
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: callers are forked children that hold no owner they will drop.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Puts a copy of `fd` at `target`, without close-on-exec.
pub fn duplicate_to(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers; callers use it for 0, 1, 2 of a process about to exec.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into()).map(drop)
}

/// Replaces this program. Returns only on failure.
pub fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with null and live until the call replaces everything.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this program by the one a descriptor stands for. Returns only on failure.
pub fn execute_fd(program: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with null and live until the call replaces everything.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// A filter that every further system call of this process and its children passes.
pub fn set_seccomp(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::Error::other("filter too long"))?,
        filter: program.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program; it doesn't write to it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) }).map(drop)
}
