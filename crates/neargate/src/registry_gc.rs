//! `neargate registry gc`: collects the images' garbage now and says what that freed.

use crate::cli::Gc;
use crate::client::Client;
use anyhow::Result;
use serde_json::Value;

pub async fn run(gc: &Gc) -> Result<()> {
    let client = Client::of(&gc.folder.data_dir)?;
    let path = format!("/neargate/v1/registry/gc?graceSeconds={}", gc.grace_seconds);
    let answer = client.operate(&path).await?;
    print!("{}", said(&answer));
    Ok(())
}

fn said(answer: &Value) -> String {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{} blobs and manifests removed, {} bytes freed; {} stay\n\
         {} abandoned uploads removed, {} bytes freed\n\
         {} blobs taken out of repositories in which no image needs them; {} more will be after \
         another grace\n",
        number("objectsRemoved"),
        number("objectBytesFreed"),
        number("objectsKept"),
        number("uploadsRemoved"),
        number("uploadBytesFreed"),
        number("linksRemoved"),
        number("linksCondemned"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_said() {
        let answer = serde_json::json!({ "objectsRemoved": 3, "objectBytesFreed": 1234 });
        assert!(said(&answer).starts_with("3 blobs and manifests removed, 1234 bytes freed"));
    }
}
