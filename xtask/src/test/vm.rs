//! `cargo xtask test vm`: the runtime's own suite in a virtual machine that has what this one may
//! not have: control groups of version 2 alone, and project quotas. Debian's kernel runs in qemu
//! without any help of the processor, so it works wherever the tests do, and takes its time.
//!
//! The machine is made each time from a folder: the kernel's package unpacked, busybox, and test
//! binaries, which are static. Nothing of it is installed here.

mod initramfs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Total;
use crate::shell::Run;

/// Debian's name for its newest kernel for virtual machines.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const MEMORY: &str = "1024";
const CORES: &str = "2";
/// Far more than the two minutes it takes, as machines that test are busy.
const DEADLINE: Duration = Duration::from_secs(10 * 60);
const DISK_BYTES: u64 = 4 << 30;
/// What the machine says last when all went well.
const WELL: &str = "vm: all is well";
/// The first program's modules: what its disk needs, in the order they need each other.
const DISK_MODULES: [&str; 6] = [
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
];
/// What the suite needs of busybox by name.
const APPLETS: [&str; 7] = ["sh", "mount", "cat", "kill", "modprobe", "mkdir", "ln"];

/// The first program of the machine, which hands over to that of its disk.
const FIRST: &str = "\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /modules/$module.ko; done
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /disk
exec /bin/busybox switch_root /disk /init
";

/// Tests that stay outside: the network is the same whatever version control groups have, and so
/// is what takes long in a machine that computes slowly.
const SKIPPED: [&str; 7] =
    ["network", "instances", "fake", "long_log", "many_layers", "does_not_read", "everything"];

/// Mounts what a machine has, runs the tests, and turns itself off.
const INIT: &str = "\
#!/bin/busybox sh
export PATH=/bin:/sbin
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo /sbin/modprobe > /proc/sys/kernel/modprobe
/bin/busybox ip link set lo up
ulimit -n 65536
for module in loop overlay nf_tables xfs; do modprobe $module; done
zygote() { mkdir -p ZYGOTE_FOLDER && ln -sf /tests/runtime-zygote ZYGOTE; }
zygote
echo \"vm: controllers: $(cat /sys/fs/cgroup/cgroup.controllers)\"
well=yes
/tests/runtime --test-threads 1 cgroup preflight || well=no
/tests/conformance --test-threads 1 SKIP || well=no
echo 'vm: with project quotas'
mount -t xfs -o prjquota /dev/vdb /quota && mount -o bind /quota /var/tmp
# The tests may have been built below it.
zygote
/tests/conformance --test-threads 1 storage volumes on_embedded::a_restart || well=no
[ $well = yes ] && echo 'vm: all is well'
/bin/busybox poweroff -f
";

pub fn run(total: &mut Total) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        let text = "control groups of version 2 and project quotas are NOT TESTED here: the \
                    virtual machine is an x86_64 one, and this processor is another";
        ensure!(std::env::var_os("CI").is_none(), "{text}");
        println!("\n!!! {text} !!!\n");
        return Ok(());
    }
    let folder = super::target()?.join("test-vm");
    let (kernel, root) = kernel(&folder)?;
    fill(&root)?;
    let disks = [("disk.img", Some(root.as_path())), ("quota.img", None)];
    for (name, content) in disks {
        disk(&folder.join(name), content)?;
    }
    let first = folder.join("first.cpio");
    initramfs::write(&first, &first_files(&root)?)?;
    let mut well = false;
    start(&folder, &kernel, &first).follow(DEADLINE, |line| {
        well |= line.trim_end() == WELL;
        total.read_doc(line);
    })?;
    ensure!(well, "tests failed in the virtual machine, or it ended before them; see above");
    Ok(())
}

/// The kernel, and a folder with its modules in it. Fetched once, as long as `target` is there.
fn kernel(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (root, package) = (folder.join("root"), folder.join("package"));
    if !root.join("fetched").is_file() {
        println!("fetching Debian's kernel for virtual machines");
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(&package)?;
        let depends = Run::line("apt-cache depends").arg(KERNEL_PACKAGE).read()?;
        let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        let name = name.with_context(|| format!("{KERNEL_PACKAGE} names no kernel"))?;
        // It is written where the command stands.
        let fetch =
            "cd \"$0\" && apt-get download --quiet \"$1\" && dpkg-deb --extract *.deb \"$2\"";
        Run::line("sh -c").arg(fetch).arg(&package).arg(name).arg(&root).check()?;
        fs::write(root.join("fetched"), name)?;
    }
    let boot = fs::read_dir(root.join("boot"))?.flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| path.to_string_lossy().contains("/vmlinuz-");
    let kernel = boot.into_iter().find(is_kernel).context("the package has no kernel")?;
    Ok((kernel, root))
}

/// The version of the one kernel whose modules are there.
fn version(root: &Path) -> Result<String> {
    let mut found = fs::read_dir(root.join("lib/modules"))?.flatten();
    let found = found.next().context("the kernel's package has no modules")?;
    Ok(found.file_name().to_string_lossy().into_owned())
}

/// Puts what the tests need beside the kernel's modules.
fn fill(root: &Path) -> Result<()> {
    Run::line("depmod --basedir").arg(root).arg(version(root)?).check()?;
    for folder in ["bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "quota", "tests"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::create_dir_all(root.join("var/tmp"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static is needed")?;
    for name in APPLETS {
        link("busybox", &root.join("bin").join(name))?;
    }
    link("../bin/busybox", &root.join("sbin/modprobe"))?;
    let built = built()?;
    let find = |kind: &str, name: &str| {
        let path = built.get(&(kind.to_owned(), name.to_owned()));
        path.with_context(|| format!("cargo does not tell where {name} is"))
    };
    let zygote = find("bin", "runtime-zygote")?;
    strip(zygote, &root.join("tests/runtime-zygote"))?;
    for (kind, name) in [("test", "conformance"), ("lib", "runtime")] {
        strip(find(kind, name)?, &root.join("tests").join(name))?;
    }
    let zygote_folder = zygote.parent().context("a binary is in a folder")?;
    let init = INIT
        .replace("ZYGOTE_FOLDER", &zygote_folder.to_string_lossy())
        .replace("ZYGOTE", &zygote.to_string_lossy())
        .replace("SKIP", &SKIPPED.map(|name| format!("--skip {name}")).join(" "));
    let path = root.join("init");
    fs::write(&path, init)?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

fn link(to: &str, at: &Path) -> Result<()> {
    match symlink(to, at) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.with_context(|| format!("can't link {}", at.display())),
    }
}

/// Without what only a debugger reads, which is most of it.
fn strip(from: &Path, to: &Path) -> Result<()> {
    Run::line("strip -o").arg(to).arg(from).check()
}

/// The binaries of crate `runtime` that step `build` made, by kind and name.
fn built() -> Result<BTreeMap<(String, String), PathBuf>> {
    let line = "cargo build --workspace --bins --tests --locked --quiet --message-format json";
    let said = Run::line(line).read()?;
    let found = said.lines().filter_map(|line| {
        let artifact: serde_json::Value = serde_json::from_str(line).ok()?;
        let target = &artifact["target"];
        let (kind, name) = (target["kind"][0].as_str()?, target["name"].as_str()?);
        let ours = target["src_path"].as_str()?.contains("/crates/runtime/");
        let wanted = ours && artifact["profile"]["test"] == (kind != "bin");
        let path = artifact["executable"].as_str().filter(|_| wanted)?;
        Some(((kind.to_owned(), name.to_owned()), PathBuf::from(path)))
    });
    Ok(found.collect())
}

/// A disk of which little is used. The tests bring no program to make one with; this step
/// may.
fn disk(path: &Path, content: Option<&Path>) -> Result<()> {
    let _ = fs::remove_file(path);
    fs::File::create(path)?.set_len(DISK_BYTES)?;
    match content {
        Some(folder) => Run::line("mke2fs -q -F -t ext4 -d").arg(folder).arg(path).check(),
        None => Run::line("mkfs.xfs -q").arg(path).check(),
    }
}

fn first_files(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let drivers = root.join("lib/modules").join(version(root)?).join("kernel/drivers");
    let busybox = fs::read(root.join("bin/busybox"))?;
    let mut files = vec![("bin/busybox".to_owned(), busybox)];
    let mut names = Vec::new();
    for module in DISK_MODULES {
        let path = drivers.join(format!("{module}.ko"));
        let name = module.rsplit('/').next().unwrap_or(module);
        let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        files.push((format!("modules/{name}.ko"), bytes));
        names.push(name);
    }
    files.push(("init".to_owned(), FIRST.replace("MODULES", &names.join(" ")).into_bytes()));
    Ok(files)
}

fn start(folder: &Path, kernel: &Path, first: &Path) -> Run {
    let drive = |name: &str| {
        format!("file={},format=raw,if=virtio,cache=unsafe", folder.join(name).display())
    };
    Run::line("qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -no-reboot")
        .args(["-smp", CORES, "-m", MEMORY, "-display", "none", "-nodefaults"])
        .args(["-serial", "stdio", "-monitor", "none"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(first)
        .args(["-append", "console=ttyS0 quiet panic=-1 reboot=t"])
        .args(["-drive", &drive("disk.img"), "-drive", &drive("quota.img")])
}
