//! skopeo and umoci against the registry: an image made here goes in and comes out the same.

mod harness;

use harness::Server;
use std::path::Path;
use tokio::process::Command;

async fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().await;
    let output = output.unwrap_or_else(|failure| panic!("{program} can't be run: {failure}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

async fn must(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let done = run(folder, program, arguments).await;
    done.unwrap_or_else(|failure| panic!("{program} {arguments:?}: {failure}"))
}

/// An OCI layout `oci:small` with one image of one layer.
async fn make_image(folder: &Path) {
    must(folder, "umoci", &["init", "--layout", "oci"]).await;
    must(folder, "umoci", &["new", "--image", "oci:small"]).await;
    must(folder, "umoci", &["unpack", "--rootless", "--image", "oci:small", "bundle"]).await;
    std::fs::write(folder.join("bundle/rootfs/hello"), harness::noise(400_000)).expect("written");
    must(folder, "umoci", &["repack", "--image", "oci:small", "bundle"]).await;
    let command = ["config", "--image", "oci:small", "--config.cmd", "/hello"];
    must(folder, "umoci", &command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_made_by_umoci_makes_a_round_trip_through_skopeo() {
    let server = Server::start().await;
    server.repository("team/small", false).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    make_image(folder).await;
    let remote = format!("docker://{}/team/small", server.address);
    let credentials = format!("AWS:{}", server.password);
    let copy = async |from: &str, to: &str| {
        let arguments =
            ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--insecure-policy"];
        let side = if from.starts_with("docker:") { "--src-creds" } else { "--dest-creds" };
        run(folder, "skopeo", &[&arguments[..], &[side, &credentials, from, to]].concat()).await
    };
    let tagged = format!("{remote}:v1");
    copy("oci:oci:small", &tagged).await.expect("pushed");
    copy("oci:oci:small", &tagged).await.expect("pushed again");
    copy(&tagged, "oci:back:small").await.expect("pulled");
    // docker's own manifest format, and from it.
    copy(&tagged, "docker-archive:back.tar:small:v1").await.expect("pulled as docker's");
    let docker = format!("{remote}:docker");
    copy("docker-archive:back.tar:small:v1", &docker).await.expect("pushed from docker's");
    must(folder, "umoci", &["unpack", "--rootless", "--image", "back:small", "again"]).await;
    let before = std::fs::read(folder.join("bundle/rootfs/hello")).expect("read");
    assert_eq!(std::fs::read(folder.join("again/rootfs/hello")).expect("read"), before);
    let read = |arguments: &[&str]| {
        let login = ["--tls-verify=false", "--creds", &credentials];
        [arguments, &login[..]].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let words = read(&["list-tags", &remote]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let tags: serde_json::Value =
        serde_json::from_str(&must(folder, "skopeo", &words).await).expect("JSON");
    assert_eq!(tags["Tags"], serde_json::json!(["docker", "v1"]));
    let words = read(&["delete", &tagged]);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    must(folder, "skopeo", &words).await;
    copy(&tagged, "oci:gone:small").await.expect_err("deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_shows_ecrs_words() {
    let server = Server::start().await;
    server.repository("fixed", true).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    make_image(folder).await;
    let credentials = format!("AWS:{}", server.password);
    let push = async |credentials: &str, to: &str| {
        let to = format!("docker://{}/{to}", server.address);
        let arguments = [
            "copy",
            "--dest-tls-verify=false",
            "--insecure-policy",
            "--dest-creds",
            credentials,
            "oci:oci:small",
            &to,
        ];
        run(folder, "skopeo", &arguments).await
    };
    let failure = push(&credentials, "absent:v1").await.expect_err("no such repository");
    let text = "name unknown: The repository with name 'absent' does not exist in the registry \
                with id '000000000000'";
    assert!(failure.contains(text), "{failure}");
    push(&credentials, "fixed:v1").await.expect("pushed");
    let again = ["config", "--image", "oci:small", "--config.cmd", "/other"];
    must(folder, "umoci", &again).await;
    let failure = push(&credentials, "fixed:v1").await.expect_err("immutable");
    let text = "The image tag 'v1' already exists in the 'fixed' repository and cannot be \
                overwritten because the repository is immutable.";
    assert!(failure.contains(text), "{failure}");
    push("AWS:wrong", "fixed:v2").await.expect_err("a wrong password");
}
