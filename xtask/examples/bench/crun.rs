//! crun as a contender: the quickest of the OCI runtimes, without a daemon, an image store, a log
//! or an address. It refuses a machine where cgroup version 2 stands beside version 1, so a worker
//! of ours runs it in a mount namespace of its own where the former is out of sight. The worker is
//! this very program, so that no shell is part of what is measured.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Setting;
use crate::image::{Image, WAITS};
use crate::machine;
use crate::meter::Meter;
use crate::neargate::ms;

/// The hidden subcommand that makes this program the worker.
pub const WORKER: &str = "crun-worker";
/// Makes both versions of cgroups look like version 1 alone.
const HIDE_VERSION_2: &str =
    "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec \"$@\"";
/// As 256 CPU units and 512 MiB are.
const CPU_QUOTA_MICROSECONDS: u64 = 25_000;
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;

pub struct Crun {
    worker: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    next: u64,
    pub version: String,
    pub meter: Meter,
}

/// What one container is to do.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    /// Start one that stays, and remove it.
    Start,
    /// Run one that ends at once, and remove it.
    Run,
}

impl Crun {
    pub fn start(setting: &Setting, image: &Image) -> Result<Crun> {
        let version = machine::version("crun", "--version").context("crun can't be run")?;
        let meter = Meter::make("crun")?;
        let folder = setting.folder("crun")?;
        image.unpack(&folder)?;
        for (name, args) in [("start", &WAITS[..]), ("run", &["true"][..])] {
            let bundle = folder.join(name);
            fs::create_dir_all(&bundle)?;
            let config = config(&folder.join("rootfs"), args, &meter.containers_group());
            fs::write(bundle.join("config.json"), serde_json::to_vec(&config)?)?;
        }
        let this = std::env::current_exe().context("where this program is")?;
        let mut command = meter.command("unshare");
        command.args(["--mount", "sh", "-c", HIDE_VERSION_2, "sh"]);
        command.arg(this).arg(WORKER).arg(&folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut worker = command.spawn().context("can't start crun's worker")?;
        let asks = worker.stdin.take();
        let answers = BufReader::new(worker.stdout.take().context("its output is a pipe")?);
        let mut crun = Crun { worker, asks, answers, next: 0, version, meter };
        crun.once(Job::Start).context("crun can't run containers on this machine")?;
        Ok(crun)
    }

    /// Milliseconds until crun had returned. Removal is not in it.
    pub fn once(&mut self, job: Job) -> Result<f64> {
        self.next += 1;
        let name = match job {
            Job::Start => "start",
            Job::Run => "run",
        };
        let asks = self.asks.as_mut().context("the worker has its input")?;
        writeln!(asks, "{name} {}", self.next).context("crun's worker has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim().parse() {
            Ok(time_ms) => Ok(time_ms),
            Err(_) => bail!("crun: {line}"),
        }
    }
}

impl Drop for Crun {
    fn drop(&mut self) {
        // At the end of its input it ends.
        self.asks = None;
        if let Err(failure) = self.worker.wait() {
            eprintln!("bench: crun's worker: {failure}");
        }
    }
}

/// Answers each line with a time or with what went wrong.
pub fn worker(args: &[String]) -> Result<()> {
    let folder = PathBuf::from(args.first().context("the worker is given its folder")?);
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        match work(&folder, &line?) {
            Ok(time_ms) => writeln!(out, "{time_ms}")?,
            Err(failure) => writeln!(out, "{}", format!("{failure:#}").replace('\n', " "))?,
        }
        out.flush()?;
    }
    Ok(())
}

fn work(folder: &Path, line: &str) -> Result<f64> {
    let (job, number) = line.split_once(' ').context("a job and a number")?;
    let id = format!("neargate-bench-{}-{number}", std::process::id());
    let crun = || {
        let mut command = Command::new("crun");
        command.arg("--root").arg(folder.join("state"));
        command
    };
    let said = folder.join("crun.err");
    let mut run = crun();
    run.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said)?);
    if job == "start" {
        run.arg("--detach");
    }
    run.arg("--bundle").arg(folder.join(job)).arg(&id);
    let began = Instant::now();
    let status = run.status().context("can't start crun")?;
    let time_ms = ms(began.elapsed());
    if job == "start" {
        crun().args(["delete", "--force", &id]).stdin(Stdio::null()).status()?;
    }
    if !status.success() {
        bail!("{status}: {}", fs::read_to_string(&said).unwrap_or_default());
    }
    Ok(time_ms)
}

/// As near to what a task of Neargate's gets as crun does by itself. It has no seccomp filter, no
/// overlay, no address and no log: less work than ours.
fn config(rootfs: &Path, args: &[&str], group: &str) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    json!({
        "ociVersion": "1.0.0",
        "hostname": "bench",
        "root": {"path": rootfs},
        "process": {
            "cwd": "/",
            "args": args,
            "env": ["PATH=/bin"],
            "noNewPrivileges": true,
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("{group}/crun"),
            "namespaces": kinds.map(|kind| json!({"type": kind})),
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": MEMORY_BYTES},
                "cpu": {"quota": CPU_QUOTA_MICROSECONDS, "period": CPU_PERIOD_MICROSECONDS},
                "pids": {"limit": 4096},
            },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    })
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> serde_json::Value {
    json!({ "destination": destination, "type": kind, "source": kind, "options": options })
}
