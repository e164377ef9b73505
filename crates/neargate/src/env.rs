//! `neargate env`: the lines that point AWS's own tools at us, to be evaluated by a shell.

use crate::cli::Folder;
use crate::data_dir::DataDir;
use anyhow::{Context, Result};

pub fn run(folder: &Folder) -> Result<()> {
    let dir = DataDir::existing(&folder.data_dir);
    let endpoint = dir.read_endpoint()?;
    let credentials = dir.read_credentials()?.context("the data folder holds no credentials")?;
    let pairs = [
        ("AWS_ENDPOINT_URL", endpoint.url.as_str()),
        ("AWS_ACCESS_KEY_ID", &credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key),
        ("AWS_DEFAULT_REGION", &endpoint.region),
    ];
    for (name, value) in pairs {
        println!("export {name}={}", quoted(value));
    }
    // A session token or a profile of another account would be sent along with our key.
    println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    Ok(())
}

/// A word that every shell reads as this text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive_a_shell() {
        assert_eq!(quoted("a b$c"), "'a b$c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
