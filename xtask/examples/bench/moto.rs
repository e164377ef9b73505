//! moto_server as a contender: the best-known emulator, in a Python environment of its own under
//! the target folder, in a pinned version.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wire::sigv4::SecretKey;

use crate::client::{Account, Client};
use crate::meter::Meter;
use crate::neargate::ms;
use crate::process::Server;
use crate::{Setting, beside_us};

const VERSION: &str = "moto[server]==5.2.1";

pub struct Moto {
    pub account: Account,
    pub start_ms: f64,
    // The server ends before its group is looked through.
    _server: Server,
    pub meter: Meter,
}

/// The version that is measured.
pub fn version() -> &'static str {
    VERSION
}

/// Makes the environment, once.
pub fn install() -> Result<()> {
    let venv = venv()?;
    let stamp = venv.join("version");
    if std::fs::read_to_string(&stamp).is_ok_and(|had| had == VERSION) {
        return Ok(());
    }
    println!("installing {VERSION} into {}", venv.display());
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&venv);
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", VERSION]);
    for mut command in [make, install] {
        let status = command.status().context("python3 with its venv module is needed")?;
        if !status.success() {
            bail!("{command:?}: {status}");
        }
    }
    Ok(std::fs::write(&stamp, VERSION)?)
}

/// The target folder is three above this program.
fn venv() -> Result<PathBuf> {
    let target = beside_us("../../..")?.canonicalize()?;
    Ok(target.join("bench-venv"))
}

impl Moto {
    pub async fn start(setting: &Setting) -> Result<Moto> {
        // It can't take a free port by itself. Between here and there somebody else may take this
        // one; then it ends, and says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let account = Account {
            address: format!("127.0.0.1:{port}"),
            region: "us-east-1".to_owned(),
            access_key_id: "AKIAEXAMPLE".to_owned(),
            secret_key: SecretKey::new("secret"),
        };
        let meter = Meter::make("moto")?;
        let program = venv()?.join("bin/moto_server");
        let program = program.to_str().context("the target folder's path is not UTF-8")?;
        let mut command = meter.command(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        let began = Instant::now();
        let mut server = Server::start("moto", command, setting.work.path())?;
        server.wait_for(|| std::net::TcpStream::connect(&account.address).ok())?;
        Client::connect(&account).await?.first_subnet().await?;
        let start_ms = ms(began.elapsed());
        Ok(Moto { account, start_ms, _server: server, meter })
    }
}
