//! What may be said to `neargate image`.

use crate::cli::Folder;
use clap::{Args, Subcommand};
use runtime::image::Platform;
use std::path::PathBuf;

#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Push an image made of a folder, an image archive or one static program
    Import(Import),
}

#[derive(Args, Debug, Clone)]
pub struct Import {
    #[command(flatten)]
    pub folder: Folder,
    /// A folder (its content, or an OCI layout), a tar (of docker save, of an OCI layout or of a
    /// root file system; - reads one from standard input), or a static Linux program
    pub source: PathBuf,
    /// NAME or NAME:TAG; the repository is made if it is not there
    pub name: String,
    /// A word of the entrypoint: repeat it for more words, or give a JSON list
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    /// A word of the command, likewise
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub cmd: Vec<String>,
    /// An environment variable, beside those that the image has
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<String>,
    /// The folder that containers start in
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    pub workdir: Option<String>,
    /// Who containers run as: a name or number, with :GROUP if you like
    #[arg(long)]
    pub user: Option<String>,
    /// linux/amd64 or linux/arm64; without it, what the source is for, or this machine
    #[arg(long, value_parser = platform)]
    pub platform: Option<Platform>,
    /// Import a program even though it needs libraries that the image will not hold
    #[arg(long)]
    pub force: bool,
}

fn variable(text: &str) -> Result<String, String> {
    let named = text.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    if named { Ok(text.to_owned()) } else { Err("a variable looks like NAME=VALUE".to_owned()) }
}

fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("it begins with a /".to_owned()) }
}

fn platform(text: &str) -> Result<Platform, String> {
    let known = [Platform::LinuxAmd64, Platform::LinuxArm64];
    let found = known.into_iter().find(|it| it.to_string() == text);
    found.ok_or_else(|| "tasks run on linux/amd64 or linux/arm64".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn nonsense_is_refused_before_anything_is_read() {
        let parse = |args: &[&str]| {
            Cli::try_parse_from([&["neargate", "image", "import"], args].concat()).is_ok()
        };
        assert!(parse(&["dir", "name:1", "--cmd", "-x", "--cmd", "y", "--env", "A=", "--force"]));
        for bad in [
            &["dir"][..],
            &["dir", "name", "more"],
            &["dir", "name", "--env", "A"],
            &["dir", "name", "--env", "=1"],
            &["dir", "name", "--platform", "windows/amd64"],
            &["dir", "name", "--workdir", "here"],
        ] {
            assert!(!parse(bad), "{bad:?}");
        }
    }
}
