//! What the tests need beside Rust's toolchain: looked for first and installed only when missing,
//! so that on a prepared machine this costs a second and on a fresh Debian 12 nothing is asked of
//! anybody. The build itself and the binary need none of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{self, Run};

/// A command, and the Debian package that has it.
const COMMANDS: [(&str, &str); 21] = [
    ("python3", "python3"),
    ("git", "git"),
    // Images for the conformance suite, without any public registry.
    ("busybox", "busybox-static"),
    ("mmdebstrap", "mmdebstrap"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    // The others that people push and pull with.
    ("dockerd", "docker.io"),
    ("podman", "podman"),
    ("buildah", "buildah"),
    // Certificates to import.
    ("openssl", "openssl"),
    // Backends of three makes, with python3, for what smugglers send through a load balancer.
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    // Opens a load balancer's name as a person would.
    ("chromium-headless-shell", "chromium-headless-shell"),
    // Version 2 of the aws CLI, which has `logs tail`; version 1 is on PyPI.
    ("/usr/bin/aws", "awscli"),
    // The census after the tests lists tables with it; Neargate itself speaks netlink.
    ("nft", "nftables"),
    ("ip", "iproute2"),
    // The virtual machine with control groups of version 2.
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("depmod", "kmod"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("strip", "binutils"),
];

/// Pinned: a runner that changes under us is one more thing that may have broken the tests.
const NEXTEST_VERSION: &str = "0.9.143";

const REQUIREMENTS: &str = "conformance/requirements.txt";
const CLIENTS: &str = "conformance/clients.txt";

pub fn install() -> Result<()> {
    debian_packages()?;
    rust_components()?;
    nextest()?;
    python_packages()
}

fn debian_packages() -> Result<()> {
    let missing = |it: &&(&str, &str)| !shell::on_path(it.0);
    let mut packages: Vec<&str> = COMMANDS.iter().filter(missing).map(|it| it.1).collect();
    if packages.contains(&"python3") || !python_has("ensurepip") {
        packages.extend(["python3-venv", "python3-pip"]);
    }
    if packages.is_empty() {
        return Ok(());
    }
    println!("installing Debian packages: {}", packages.join(" "));
    let install = || {
        Run::line("apt-get install --yes --no-install-recommends")
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .check()
    };
    // Package lists may be absent or stale; they take a while, so only then.
    if install().is_err() {
        Run::line("apt-get update").env("DEBIAN_FRONTEND", "noninteractive").check()?;
        install().context("these Debian packages are needed")?;
    }
    Ok(())
}

fn python_has(module: &str) -> bool {
    Run::line("python3 -c").arg(format!("import {module}")).read().is_ok()
}

fn rust_components() -> Result<()> {
    for (command, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if !shell::on_path(command) {
            Run::line("rustup component add").arg(component).check()?;
        }
    }
    Ok(())
}

fn nextest() -> Result<()> {
    if shell::on_path("cargo-nextest") {
        return Ok(());
    }
    println!("installing cargo-nextest {NEXTEST_VERSION} from source: this takes some minutes");
    Run::line("cargo install cargo-nextest --locked --quiet --no-default-features")
        .args(["--features", "default-no-update", "--version", NEXTEST_VERSION])
        .check()
}

/// The folder of the Python environment; under `target`, so that removing that removes it too.
pub fn venv() -> PathBuf {
    shell::root().join("target/test-venv")
}

/// PATH with the Python environment first.
pub fn path() -> Result<String> {
    let old = std::env::var("PATH").context("PATH is not set")?;
    Ok(format!("{}:{old}", venv().join("bin").display()))
}

/// The clients in exactly the versions that stand in the requirements: those that drive the suite,
/// and beside them the tools that want other versions of the same libraries.
fn python_packages() -> Result<()> {
    let venv = venv();
    python_environment(&venv, REQUIREMENTS)?;
    if !venv.join("bin/pytest").is_file() {
        bail!("pip was content, but there is no pytest in {}", venv.display());
    }
    python_environment(&venv.with_file_name("test-clients"), CLIENTS)
}

/// One environment; a copy of its requirements inside says that it was made to the end.
fn python_environment(folder: &Path, requirements: &str) -> Result<()> {
    let wanted = std::fs::read_to_string(shell::root().join(requirements))
        .with_context(|| format!("can't read {requirements}"))?;
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    println!("making a Python environment of {requirements}");
    // What the machine has in the right version need not be fetched again.
    Run::line("python3 -m venv --clear --system-site-packages").arg(folder).check()?;
    let python = folder.join("bin/python");
    let python = python.to_str().context("the project's path is not UTF-8")?;
    Run::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--requirement", requirements])
        .check()?;
    std::fs::write(&stamp, wanted).with_context(|| format!("can't write {}", stamp.display()))
}
