//! The distribution protocol over a real socket: what a client may send and what it gets.

mod harness;

use bytes::Bytes;
use harness::{Server, digest, image, noise};
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn credentials_are_asked_for_as_ecr_asks() {
    let server = Server::start().await;
    assert_eq!(server.get("/v2/").await.status, StatusCode::OK);
    let bare = http::Request::get("/v2/").header("host", server.address.to_string());
    let answer = server.send(bare.body(Full::default()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header("www-authenticate"),
        format!("Basic realm=\"http://{}/\",service=\"ecr.amazonaws.com\"", server.address)
    );
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
}

#[tokio::test]
async fn an_image_goes_in_and_comes_out_by_tag_and_digest() {
    let server = Server::start().await;
    server.repository("team/web", false).await;
    let layer = noise(300_000);
    let manifest = server.push_image("team/web", "v1", &layer).await;
    let by_tag = server.get("/v2/team/web/manifests/v1").await;
    assert_eq!(by_tag.body, manifest.to_string());
    assert_eq!(by_tag.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
    let found = by_tag.header("docker-content-digest");
    assert_eq!(found, digest(manifest.to_string().as_bytes()));
    let path = format!("/v2/team/web/manifests/{found}");
    assert_eq!(server.get(&path).await.body, by_tag.body);
    let head = server.call(Method::HEAD, &path, "").await;
    assert_eq!(head.header("content-length"), by_tag.body.len().to_string());
    let blob = format!("/v2/team/web/blobs/{}", digest(&layer));
    assert_eq!(server.get(&blob).await.body, layer);
    let head = server.call(Method::HEAD, &blob, "").await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "300000"));
}

#[tokio::test]
async fn without_a_repository_nothing_is_taken_or_given() {
    let server = Server::start().await;
    let text = "The repository with name 'x' does not exist in the registry with id '000000000000'";
    for (method, path) in [
        (Method::POST, "/v2/x/blobs/uploads/".to_owned()),
        (Method::GET, "/v2/x/manifests/v1".to_owned()),
        (Method::PUT, "/v2/x/manifests/v1".to_owned()),
        (Method::GET, "/v2/x/tags/list".to_owned()),
        (Method::HEAD, format!("/v2/x/blobs/{}", digest(b""))),
    ] {
        let answer = server.call(method.clone(), &path, "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        if method != Method::HEAD {
            assert_eq!(answer.error(), ("NAME_UNKNOWN".to_owned(), text.to_owned()));
        }
    }
}

#[tokio::test]
async fn an_immutable_tag_keeps_its_image() {
    let server = Server::start().await;
    server.repository("x", true).await;
    let first = server.push_image("x", "v1", b"one").await;
    let config = server.push_blob("x", b"{}").await;
    let layer = server.push_blob("x", b"two").await;
    let second = image(&config, 2, &layer, 3);
    let answer = server.put_manifest("x", "v1", &second).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let text = "The image tag 'v1' already exists in the 'x' repository and cannot be overwritten \
                because the repository is immutable.";
    assert_eq!(answer.error(), ("TAG_INVALID".to_owned(), text.to_owned()));
    assert_eq!(server.get("/v2/x/manifests/v1").await.body, first.to_string());
    assert_eq!(server.put_manifest("x", "v1", &first).await.status, StatusCode::CREATED);
    assert_eq!(server.put_manifest("x", "v2", &second).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn chunks_must_join_and_a_restart_in_between_loses_nothing() {
    let mut server = Server::start().await;
    server.repository("x", false).await;
    let content = noise(2_500_000);
    let begun = server.call(Method::POST, "/v2/x/blobs/uploads/", "").await;
    assert_eq!((begun.status, begun.header("range")), (StatusCode::ACCEPTED, "0-0"));
    let location = begun.header("location").to_owned();
    let chunk = |server: &Server, start: usize, end: usize| {
        let range = format!("{start}-{}", end - 1);
        let request = server.request(Method::PATCH, &location).header("content-range", range);
        request.body(Full::from(content[start..end].to_vec())).expect("a request")
    };
    let answer = server.send(chunk(&server, 0, 1_200_000)).await;
    assert_eq!((answer.status, answer.header("range")), (StatusCode::ACCEPTED, "0-1199999"));
    // A gap and a repetition are refused and say where the upload stands.
    for start in [1_300_000, 1_100_000] {
        let answer = server.send(chunk(&server, start, 1_400_000)).await;
        assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(answer.header("range"), "0-1199999");
    }
    server = server.restart().await;
    let standing = server.get(&location).await;
    assert_eq!((standing.status, standing.header("range")), (StatusCode::NO_CONTENT, "0-1199999"));
    let answer = server.send(chunk(&server, 1_200_000, 2_000_000)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    server = server.restart().await;
    let path = format!("{location}?digest={}", digest(&content));
    let answer = server.call(Method::PUT, &path, content[2_000_000..].to_vec()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    assert_eq!(server.get(answer.header("location")).await.body, content);
    assert_eq!(server.get(&location).await.status, StatusCode::NOT_FOUND);
    let left = std::fs::read_dir(server.folder.path().join("uploads")).expect("a folder");
    assert_eq!(left.count(), 0);
}

/// Sends the head and part of the body of a request, then cuts the connection.
async fn cut_off(server: &Server, location: &str, content: &[u8], announced: usize) {
    let request = server.request(Method::PATCH, location).body(()).expect("a request");
    let mut head = format!("PATCH {location} HTTP/1.1\r\ncontent-length: {announced}\r\n");
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("printable")));
    }
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
    stream.write_all(content).await.expect("sent");
    stream.shutdown().await.expect("cut");
    let mut rest = Vec::new();
    // The server may answer or just hang up; either way it has seen the end.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_broken_connection_keeps_what_arrived() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let content = noise(3_000_000);
    let begun = server.call(Method::POST, "/v2/x/blobs/uploads/", "").await;
    let location = begun.header("location").to_owned();
    cut_off(&server, &location, &content[..2_200_000], content.len()).await;
    let standing = server.get(&location).await;
    let range = standing.header("range");
    let last = range.strip_prefix("0-").and_then(|last| last.parse::<usize>().ok());
    let next = last.expect("a range") + 1;
    assert_eq!(next, 2_200_000, "all that arrived before the end was seen is kept");
    let path = format!("{location}?digest={}", digest(&content));
    let answer = server.call(Method::PUT, &path, content[next..].to_vec()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    assert_eq!(server.get(answer.header("location")).await.body, content);
}

#[tokio::test]
async fn lying_digests_leave_nothing() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let lie = digest(b"the truth");
    let blob = format!("/v2/x/blobs/{lie}");
    let path = format!("/v2/x/blobs/uploads/?digest={lie}");
    let answer = server.call(Method::POST, &path, "a lie").await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
    );
    assert_eq!(server.get(&blob).await.status, StatusCode::NOT_FOUND);
    let objects = server.folder.path().join("objects").join("sha256");
    assert!(!objects.exists(), "nothing was ever named");
    let config = server.push_blob("x", b"{}").await;
    let manifest = image(&config, 2, &config, 2);
    let answer = server.put_manifest("x", &lie, &manifest).await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
    );
    let answer = server.put_manifest("x", "v1", &image(&config, 3, &config, 2)).await;
    assert_eq!(answer.error().0, "MANIFEST_INVALID", "a lie about a size");
    let answer = server.put_manifest("x", "v1", &image(&config, 2, &lie, 9)).await;
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")
    );
    assert_eq!(server.get("/v2/x/manifests/v1").await.error().1, "Requested image not found");
}

#[tokio::test]
async fn one_blob_pushed_by_many_at_once_is_there_once() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.repository(name, false).await;
    }
    let content = Bytes::from(noise(1_500_000));
    let blob = digest(&content);
    let pushes = (0..12).map(|n| {
        let name = if n % 2 == 0 { "a" } else { "b" };
        let path = format!("/v2/{name}/blobs/uploads/?digest={blob}");
        let (server, content) = (&server, content.clone());
        async move { server.call(Method::POST, &path, content).await.status }
    });
    for status in futures_util::future::join_all(pushes).await {
        assert_eq!(status, StatusCode::CREATED);
    }
    for name in ["a", "b"] {
        assert_eq!(server.get(&format!("/v2/{name}/blobs/{blob}")).await.body, content);
    }
}

#[tokio::test]
async fn ranges_of_a_blob_are_served() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let content = noise(700_000);
    let path = format!("/v2/x/blobs/{}", server.push_blob("x", &content).await);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=300000-599999", 300_000, 600_000),
        ("bytes=699999-", 699_999, 700_000),
        ("bytes=-10", 699_990, 700_000),
        ("bytes=650000-9999999", 650_000, 700_000),
    ] {
        let request = server.request(Method::GET, &path).header("range", range);
        let answer = server.send(request.body(Full::default()).expect("a request")).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {start}-{}/700000", end - 1));
        assert_eq!(answer.body, content[start..end], "{range}");
    }
    let request = server.request(Method::GET, &path).header("range", "bytes=700000-");
    let answer = server.send(request.body(Full::default()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(answer.header("content-range"), "bytes */700000");
}

#[tokio::test]
async fn a_blob_is_seen_only_where_it_was_pushed_or_mounted() {
    let server = Server::start().await;
    server.repository("a", false).await;
    server.repository("b", false).await;
    let blob = server.push_blob("a", b"shared").await;
    let in_b = format!("/v2/b/blobs/{blob}");
    assert_eq!(server.get(&in_b).await.status, StatusCode::NOT_FOUND);
    let mount = format!("/v2/b/blobs/uploads/?mount={blob}&from=a");
    let answer = server.call(Method::POST, &mount, "").await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::CREATED, in_b.as_str()));
    assert_eq!(server.get(&in_b).await.body, "shared");
    // What can't be mounted begins an upload instead.
    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=a", digest(b"absent"));
    assert_eq!(server.call(Method::POST, &mount, "").await.status, StatusCode::ACCEPTED);
    // An upload belongs to its repository.
    let begun = server.call(Method::POST, "/v2/a/blobs/uploads/", "").await;
    let elsewhere = begun.header("location").replace("/v2/a/", "/v2/b/");
    assert_eq!(server.get(&elsewhere).await.error().0, "BLOB_UPLOAD_UNKNOWN");
    let cancelled = server.call(Method::DELETE, begun.header("location"), "").await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(begun.header("location")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tags_come_in_pages() {
    let server = Server::start().await;
    server.repository("x", false).await;
    for tag in ["v3", "v1", "latest", "v2"] {
        server.push_image("x", tag, tag.as_bytes()).await;
    }
    let all = server.get("/v2/x/tags/list").await;
    assert_eq!(all.json(), json!({ "name": "x", "tags": ["latest", "v1", "v2", "v3"] }));
    assert!(!all.headers.contains_key("link"));
    let mut seen = Vec::new();
    let mut path = "/v2/x/tags/list?n=3".to_owned();
    loop {
        let page = server.get(&path).await;
        seen.push(page.json()["tags"].clone());
        let Some(link) = page.headers.get("link") else { break };
        let link = link.to_str().expect("printable");
        path = link.split(['<', '>']).nth(1).expect("a link").to_owned();
    }
    assert_eq!(seen, [json!(["latest", "v1", "v2"]), json!(["v3"])]);
    assert_eq!(server.get("/v2/x/tags/list?n=0").await.json()["tags"], json!([]));
    assert_eq!(server.get("/v2/x/tags/list?last=v2").await.json()["tags"], json!(["v3"]));
    assert_eq!(server.get("/v2/_catalog").await.json(), json!({ "repositories": ["x"] }));
}

#[tokio::test]
async fn an_index_needs_its_manifests_and_protects_them() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let manifest = server.push_image("x", "amd64", b"layer").await.to_string();
    let child = digest(manifest.as_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let index = |digest: &str| {
        json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{ "mediaType": media_type, "digest": digest, "size": manifest.len() }],
        })
    };
    let answer = server.put_manifest("x", "all", &index(&digest(b"absent"))).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = server.put_manifest("x", "all", &index(&child)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let by_digest = format!("/v2/x/manifests/{child}");
    assert_eq!(server.call(Method::DELETE, &by_digest, "").await.status, StatusCode::CONFLICT);
    let parent = format!("/v2/x/manifests/{}", answer.header("docker-content-digest"));
    assert_eq!(server.call(Method::DELETE, &parent, "").await.status, StatusCode::ACCEPTED);
    assert_eq!(server.get("/v2/x/manifests/all").await.status, StatusCode::NOT_FOUND);
    let answer = server.call(Method::DELETE, "/v2/x/manifests/amd64", "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(server.get(&by_digest).await.status, StatusCode::OK, "only the tag went");
    assert_eq!(server.call(Method::DELETE, &by_digest, "").await.status, StatusCode::ACCEPTED);
    assert_eq!(server.get(&by_digest).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn referrers_are_listed_by_their_subject() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let subject = server.push_image("x", "v1", b"layer").await.to_string();
    let config = server.push_blob("x", b"{}").await;
    let subject_digest = digest(subject.as_bytes());
    let mut pushed = Vec::new();
    for artifact_type in ["application/sbom", "application/signature"] {
        let mut artifact = image(&config, 2, &config, 2);
        artifact["artifactType"] = json!(artifact_type);
        artifact["annotations"] = json!({ "of": artifact_type });
        artifact["subject"] = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": subject_digest, "size": subject.len(),
        });
        let own = digest(artifact.to_string().as_bytes());
        let answer = server.put_manifest("x", &own, &artifact).await;
        assert_eq!(answer.header("oci-subject"), subject_digest);
        pushed.push(own);
    }
    let path = format!("/v2/x/referrers/{subject_digest}");
    let all = server.get(&path).await;
    assert_eq!(all.header("content-type"), "application/vnd.oci.image.index.v1+json");
    let json = all.json();
    let mut found: Vec<_> = json["manifests"].as_array().expect("a list").iter().collect();
    found.sort_by_key(|it| it["artifactType"].to_string());
    let digests: Vec<_> = found.iter().map(|it| it["digest"].as_str().expect("text")).collect();
    assert_eq!(digests, pushed);
    assert_eq!(found[0]["annotations"]["of"], "application/sbom");
    let filtered = server.get(&format!("{path}?artifactType=application/signature")).await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().expect("a list").len(), 1);
    let none = server.get(&format!("/v2/x/referrers/{}", digest(b"unknown"))).await;
    assert_eq!(none.json()["manifests"], json!([]));
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_refused() {
    let server = Server::start().await;
    server.repository("x", false).await;
    for (method, path, status) in [
        (Method::PUT, "/v2/x/manifests/v1", StatusCode::BAD_REQUEST),
        (Method::GET, "/v2/X/tags/list", StatusCode::BAD_REQUEST),
        (Method::GET, "/v2/x/blobs/sha256:12", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v2/x/blobs/uploads/nope?digest=sha256:1", StatusCode::BAD_REQUEST),
        (Method::PATCH, "/v2/x/blobs/uploads/..%2f..%2fetc", StatusCode::NOT_FOUND),
        (Method::PATCH, "/v2/x/blobs/uploads/..", StatusCode::NOT_FOUND),
        (Method::DELETE, "/v2/x/tags/list", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v2/x/other", StatusCode::NOT_FOUND),
    ] {
        let answer = server.call(method.clone(), path, "{").await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.error();
    }
    let answer =
        server.call(Method::PUT, "/v2/x/manifests/v1", vec![b' '; 4 * 1024 * 1024 + 1]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_manifest_with_very_many_tags_goes_with_all_of_them() {
    let server = Server::start().await;
    server.repository("x", false).await;
    let manifest = server.push_image("x", "first", b"layer").await;
    for n in 0..250 {
        let answer = server.put_manifest("x", &format!("t{n}"), &manifest).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let path = format!("/v2/x/manifests/{}", digest(manifest.to_string().as_bytes()));
    assert_eq!(server.call(Method::DELETE, &path, "").await.status, StatusCode::ACCEPTED);
    assert_eq!(server.get("/v2/x/tags/list").await.json()["tags"], json!([]));
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
}
