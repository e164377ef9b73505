//! The benchmarks behind `cargo xtask bench`. Each measures Neargate's release binary and its peers
//! in turn (A B A B) within one run, wall time and CPU time, and says which machine it was. What is
//! started here is ended here, also when a measurement fails or somebody presses Ctrl-C: every
//! server is a guard.

mod api;
mod balancer;
mod client;
mod crun;
mod deploy;
mod deploy_ours;
mod deploy_prober;
mod deploy_swarm;
mod deploy_task;
mod docker;
mod etcd;
mod idle;
mod image;
mod images;
mod images_made;
mod images_peer;
mod launch;
mod load;
mod machine;
mod meter;
mod moto;
mod neargate;
mod process;
mod profile;
mod stats;
mod store;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// How often each contender is measured. Fewer say nothing on a shared machine.
const ROUNDS_DEFAULT: usize = 5;

/// How many tasks a deployment replaces.
const TASKS_DEFAULT: usize = 10;

/// Where everything is written. Not /tmp, which may be memory.
const FOLDER_DEFAULT: &str = "/var/tmp";

/// What every benchmark is given.
pub struct Setting {
    pub rounds: usize,
    /// The binary under test.
    pub neargate: PathBuf,
    /// `--profile`: where the time goes, instead of how much it is.
    pub profile: bool,
    /// `--tasks`: of the service that is deployed.
    pub tasks: usize,
    /// A folder for everything that is written; removed at the end.
    pub work: tempfile::TempDir,
}

impl Setting {
    fn read(args: &[String]) -> Result<Setting> {
        let (mut rounds, mut tasks, mut profile) = (ROUNDS_DEFAULT, TASKS_DEFAULT, false);
        let (mut neargate, mut folder) = (beside_us("../neargate")?, PathBuf::from(FOLDER_DEFAULT));
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--profile" => profile = true,
                "--rounds" => rounds = value()?.parse().context("--rounds: a number")?,
                "--tasks" => tasks = value()?.parse().context("--tasks: a number")?,
                "--neargate" => neargate = value()?.into(),
                "--folder" => folder = value()?.into(),
                other => bail!("no option `{other}`"),
            }
        }
        if rounds == 0 || tasks == 0 {
            bail!("--rounds, --tasks: at least 1");
        }
        if rounds < ROUNDS_DEFAULT {
            println!("NOTE: {rounds} rounds are too few to publish anything");
        }
        println!("data in {}", folder.display());
        let work = tempfile::Builder::new().prefix("neargate-bench-").tempdir_in(folder)?;
        Ok(Setting { rounds, neargate, profile, tasks, work })
    }

    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.work.path().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(path)
    }
}

/// A file of the same build, relative to this program's folder.
pub fn beside_us(path: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("where this program is")?;
    let folder = this.parent().context("a program lies in a folder")?;
    Ok(folder.join(path))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [name, rest @ ..] = args.as_slice()
        && name == crun::WORKER
    {
        return status(crun::worker(rest));
    }
    if args.first().is_some_and(|name| name == deploy_task::WORKER) {
        return status(deploy_task::worker());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    status(runtime.block_on(until_told_to_end(&args)))
}

fn status(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn until_told_to_end(args: &[String]) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Whichever comes first, the measurement is dropped, and its guards with it.
    tokio::select! {
        outcome = measure(args) => outcome,
        _ = terminate.recv() => bail!("told to end"),
        _ = interrupt.recv() => bail!("told to end"),
    }
}

async fn measure(args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else { bail!("name a benchmark") };
    let setting = Setting::read(rest)?;
    if !rustix::process::geteuid().is_root() {
        bail!("the benchmarks run containers: run this as root");
    }
    machine::print();
    match name.as_str() {
        "launch" if setting.profile => Box::pin(profile::run(&setting)).await,
        "launch" => Box::pin(launch::run(&setting)).await,
        "api" => Box::pin(api::run(&setting)).await,
        "store" => Box::pin(store::run(&setting)).await,
        "idle" => Box::pin(idle::run(&setting)).await,
        "images" => Box::pin(images::run(&setting)).await,
        "balancer" => balancer::run(&setting),
        "deploy" => Box::pin(deploy::run(&setting)).await,
        other => bail!("no benchmark `{other}`"),
    }
}
