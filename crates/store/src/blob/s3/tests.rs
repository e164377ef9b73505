//! The engine against a bucket in memory that obeys S3's rules and can be told to misbehave: to be
//! busy, to lose answers, to cut bodies off. A real server: conformance/test_registry_s3.py.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

use super::*;
use crate::blob::{Digest, Staging, put_content, read_all};
use crate::limits::S3_PART_BYTES;
use model::RepositoryName;

/// A bucket. Its clock stands unless told.
#[derive(Default)]
struct Bucket {
    state: Mutex<State>,
    /// Every other request is answered 503, lost on the way there or lost on the way back.
    troubled: AtomicBool,
    requests: AtomicU64,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Bytes, u64)>,
    uploads: BTreeMap<String, Begun>,
    now_seconds: u64,
    puts: Vec<String>,
}

#[derive(Default)]
struct Begun {
    key: String,
    parts: BTreeMap<u64, Bytes>,
    at_seconds: u64,
}

struct Whole(Option<Bytes>, bool);

impl S3Body for Whole {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        let piece = match self.0.take() {
            None if self.1 => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            piece => Ok(piece.filter(|piece| !piece.is_empty())),
        };
        Box::pin(std::future::ready(piece))
    }
}

fn answer(status: u16, body: impl Into<Bytes>) -> S3Response {
    let body = body.into();
    let headers = BTreeMap::from([("content-length".to_owned(), body.len().to_string())]);
    S3Response { status, headers, body: Box::new(Whole(Some(body), false)) }
}

fn error(status: u16, code: &str) -> S3Response {
    answer(status, format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>"))
}

const AT: &str = "Thu, 01 Jan 1970 00:00:";

fn http_time(seconds: u64) -> String {
    assert!(seconds < 60, "enough for these tests");
    format!("{AT}{seconds:02} GMT")
}

fn iso_time(seconds: u64) -> String {
    format!("1970-01-01T00:00:{seconds:02}.000Z")
}

impl Bucket {
    fn answer(&self, request: &S3Request) -> S3Response {
        let mut state = self.state.lock().unwrap();
        let query = |name: &str| {
            let found = request.query.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.clone())
        };
        let key = request.path.strip_prefix('/').unwrap().to_owned();
        match (request.method, query("uploads").is_some(), query("uploadId")) {
            ("GET", false, None) if key.is_empty() => state.list(&query),
            ("GET", true, None) => state.list_uploads(),
            ("GET" | "HEAD", false, None) => state.get(&key, request),
            ("PUT", false, None) => state.put(key, request.body.clone()),
            ("DELETE", false, None) => {
                state.objects.remove(&key);
                answer(204, "")
            }
            ("POST", true, None) => {
                let id = format!("id-{}", state.uploads.len());
                let begun = Begun { key, at_seconds: state.now_seconds, ..Begun::default() };
                state.uploads.insert(id.clone(), begun);
                answer(200, format!("<R><UploadId>{id}</UploadId></R>"))
            }
            ("PUT", false, Some(id)) => {
                let number = query("partNumber").unwrap().parse().unwrap();
                let Some(begun) = state.uploads.get_mut(&id) else {
                    return error(404, "NoSuchUpload");
                };
                begun.parts.insert(number, request.body.clone());
                let mut response = answer(200, "");
                response.headers.insert("etag".to_owned(), format!("\"{number}\""));
                response
            }
            ("POST", false, Some(id)) => state.complete(&id, &request.body),
            ("DELETE", false, Some(id)) => match state.uploads.remove(&id) {
                Some(_) => answer(204, ""),
                None => error(404, "NoSuchUpload"),
            },
            other => panic!("{other:?} {request:?}"),
        }
    }
}

impl State {
    fn put(&mut self, key: String, content: Bytes) -> S3Response {
        self.puts.push(key.clone());
        self.objects.insert(key, (content, self.now_seconds));
        answer(200, "")
    }

    fn get(&self, key: &str, request: &S3Request) -> S3Response {
        let Some((content, at)) = self.objects.get(key) else { return error(404, "NoSuchKey") };
        let range = request.headers.iter().find(|(name, _)| *name == "range");
        let mut response = match range {
            None => answer(200, content.clone()),
            Some((_, range)) => {
                let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                if start >= content.len() {
                    return error(416, "InvalidRange");
                }
                let end = content.len().min(end + 1);
                let mut response = answer(206, content.slice(start..end));
                let header = format!("bytes {start}-{}/{}", end - 1, content.len());
                response.headers.insert("content-range".to_owned(), header);
                response
            }
        };
        response.headers.insert("last-modified".to_owned(), http_time(*at));
        if request.method == "HEAD" {
            response.body = Box::new(Whole(None, false));
        }
        response
    }

    fn list(&self, query: &dyn Fn(&str) -> Option<String>) -> S3Response {
        let (prefix, after) = (query("prefix").unwrap(), query("start-after").unwrap_or_default());
        // Fewer than asked for, as S3 may.
        let limit = query("max-keys").unwrap().parse::<usize>().unwrap().min(3);
        let all: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && **key > after)
            .collect();
        let mut out = format!("<IsTruncated>{}</IsTruncated>", all.len() > limit);
        for (key, (content, at)) in all.into_iter().take(limit) {
            let (key, at, size) = (xml::escape(key), iso_time(*at), content.len());
            out.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><Size>{size}</Size>\
                 </Contents>"
            ));
        }
        answer(200, out)
    }

    fn list_uploads(&self) -> S3Response {
        let entry = |(id, begun): (&String, &Begun)| {
            let (key, at) = (&begun.key, iso_time(begun.at_seconds));
            format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{at}</Initiated>\
                 </Upload>"
            )
        };
        answer(200, self.uploads.iter().map(entry).collect::<String>())
    }

    fn complete(&mut self, id: &str, document: &Bytes) -> S3Response {
        let Some(begun) = self.uploads.remove(id) else { return error(404, "NoSuchUpload") };
        let document = String::from_utf8_lossy(document).into_owned();
        let mut content = Vec::new();
        let numbers = xml::elements(&document, "PartNumber");
        for number in &numbers {
            let part = &begun.parts[&number.parse::<u64>().unwrap()];
            let last = number == numbers.last().unwrap();
            assert!(last || part.len() >= 5 * 1024 * 1024, "S3 refuses small parts");
            content.extend_from_slice(part);
        }
        assert_eq!(numbers.len(), begun.parts.len());
        self.put(begun.key, content.into())
    }
}

impl S3Transport for Bucket {
    fn send(&self, request: S3Request) -> BoxFuture<'_, io::Result<S3Response>> {
        let lost = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        let troubled = self.troubled.load(Ordering::SeqCst) && count.is_multiple_of(2);
        let response = match (troubled, count / 2 % 3) {
            (true, 0) => Ok(error(503, "SlowDown")),
            (true, 1) => lost(),
            (true, _) => {
                self.answer(&request);
                lost()
            }
            (false, _) => Ok(self.answer(&request)),
        };
        Box::pin(async move {
            let mut response = response?;
            // Large bodies are cut off in the middle, as long as there is trouble.
            if self.troubled.load(Ordering::SeqCst)
                && request.method == "GET"
                && let Ok(Some(whole)) = response.body.next().await
            {
                let cut = whole.len() > 10_000;
                let kept = if cut { whole.slice(..whole.len() / 2) } else { whole };
                response.body = Box::new(Whole(Some(kept), cut));
            }
            Ok(response)
        })
    }
}

struct Fixture {
    bucket: Arc<Bucket>,
    objects: S3Objects,
    folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Arc::new(Bucket::default());
    let transport = Arc::clone(&bucket) as Arc<dyn S3Transport>;
    let objects = S3Objects::open(transport, "deep/er", &folder.path().join("spool")).unwrap();
    Fixture { bucket, objects, folder }
}

fn noise(bytes: usize) -> Bytes {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

async fn read(objects: &S3Objects, name: &ObjectName, range: Range<u64>) -> Vec<u8> {
    let mut reader = objects.get(name.clone(), Some(range)).await.unwrap().unwrap();
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        content.extend_from_slice(&piece);
    }
    assert_eq!(reader.remaining_bytes(), 0);
    content
}

#[tokio::test(start_paused = true)]
async fn objects_go_in_and_come_out_whatever_the_trouble() {
    for troubled in [false, true] {
        let Fixture { bucket, objects, folder } = fixture();
        bucket.troubled.store(troubled, Ordering::SeqCst);
        for bytes in [0, 1, 100_000, 3 * S3_PART_BYTES as usize + 5] {
            let content = noise(bytes);
            let stored = put_content(&objects, content.clone()).await.unwrap();
            let name = Digest::of(&content).object_name();
            assert_eq!((stored.digest, stored.bytes), (Digest::of(&content), bytes as u64));
            assert_eq!(objects.head(name.clone()).await.unwrap().unwrap().bytes, bytes as u64);
            let whole = read_all(&objects, name.clone(), bytes as u64).await.unwrap();
            assert!(whole.unwrap() == content, "{bytes} bytes");
            let end = bytes as u64;
            for range in [0..0, end..end, end / 2..end, 0..end.min(7)] {
                let expected = &content[range.start as usize..range.end as usize];
                assert!(read(&objects, &name, range.clone()).await == expected, "{range:?}");
            }
            for (start, end) in [(0, end + 1), (end + 1, end + 1), (end + 1, end + 2)] {
                let failure = objects.get(name.clone(), Some(start..end)).await.err().unwrap();
                assert!(matches!(failure, BlobFailure::Range { .. }), "{failure}");
            }
            assert!(objects.delete(name.clone()).await.unwrap());
            assert!(!objects.delete(name.clone()).await.unwrap());
            assert!(objects.get(name.clone(), None).await.unwrap().is_none());
            assert!(objects.get(name, Some(0..1)).await.unwrap().is_none());
        }
        assert!(bucket.state.lock().unwrap().uploads.is_empty() || troubled);
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_adopted_only_with_its_digest() {
    let Fixture { bucket, objects, folder } = fixture();
    let staging = Staging::open(&folder.path().join("uploads")).unwrap();
    let name = RepositoryName::from("x");
    let content = noise(S3_PART_BYTES as usize + 1);
    for (id, wanted) in [("lie", Digest::of(b"other")), ("truth", Digest::of(&content))] {
        let held = staging.begin(id.to_owned(), name.clone()).await.unwrap();
        let held = held.append(vec![content.clone()]).await.unwrap();
        let finished = staging.finish(held, &objects, wanted).await;
        assert_eq!(finished.is_ok(), id == "truth", "{finished:?}");
    }
    let puts = bucket.state.lock().unwrap().puts.clone();
    let expected = format!("deep/er/{}", Digest::of(&content).object_name().as_str());
    assert_eq!(puts, [expected], "nothing else was ever named");
    assert_eq!(std::fs::read_dir(folder.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_old_is_swept() {
    let Fixture { bucket, objects, .. } = fixture();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    put_content(&objects, noise(10)).await.unwrap();
    let name = Digest::of(&noise(10)).object_name();
    bucket.state.lock().unwrap().now_seconds = 20;
    assert_eq!(objects.sweep(name.clone(), at(0)).await.unwrap(), None);
    // Stored again it is new.
    put_content(&objects, noise(10)).await.unwrap();
    assert_eq!(objects.sweep(name.clone(), at(20)).await.unwrap(), None);
    assert_eq!(objects.sweep(name.clone(), at(21)).await.unwrap(), Some(10));
    assert_eq!(objects.sweep(name, at(21)).await.unwrap(), None);
    let begun = Begun { key: "deep/er/x".to_owned(), ..Begun::default() };
    let foreign = Begun { key: "another/x".to_owned(), ..Begun::default() };
    let uploads = [("old".to_owned(), begun), ("foreign".to_owned(), foreign)];
    bucket.state.lock().unwrap().uploads.extend(uploads);
    assert_eq!(objects.sweep_unfinished(at(0)).await.unwrap(), 0);
    assert_eq!(objects.sweep_unfinished(at(30)).await.unwrap(), 1);
    let left: Vec<_> = bucket.state.lock().unwrap().uploads.keys().cloned().collect();
    assert_eq!(left, ["foreign"]);
}

#[tokio::test(start_paused = true)]
async fn lists_are_sorted_prefixed_and_paged() {
    let Fixture { bucket, objects, .. } = fixture();
    let mut names = vec!["a", "a.b", "a-b/c", "b/1", "b/2/x", "b/2-y", "b0/1", "c"];
    for name in &names {
        let mut upload = objects.begin().await.unwrap();
        upload.write(Bytes::from_static(b"1234")).await.unwrap();
        upload.finish(Some(ObjectName::new(name).unwrap()), None).await.unwrap();
    }
    // Not ours: outside the prefix, and what can be no name.
    for key in ["deep/erb/1", "deep/er/b/.hidden", "b/1"] {
        bucket.state.lock().unwrap().objects.insert(key.to_owned(), (Bytes::new(), 0));
    }
    names.sort_unstable();
    for prefix in ["", "a", "b", "b/", "b/2", "d"] {
        let expected: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).collect();
        for limit in 1..=9 {
            let (mut after, mut found) = (None, Vec::new());
            loop {
                let page = objects.list(prefix.to_owned(), after, limit).await.unwrap();
                assert!(page.len() <= limit);
                after = page.last().map(|(name, _)| name.clone());
                found.extend(page.into_iter().map(|(name, _)| name.as_str().to_owned()));
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{prefix:?} by {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_says_no_is_quoted() {
    struct Closed;
    impl S3Transport for Closed {
        fn send(&self, _request: S3Request) -> BoxFuture<'_, io::Result<S3Response>> {
            Box::pin(std::future::ready(Ok(error(403, "AccessDenied"))))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let objects = S3Objects::open(Arc::new(Closed), "", folder.path()).unwrap();
    let failure = objects.check().await.unwrap_err().to_string();
    assert!(failure.contains("403 AccessDenied: so it is"), "{failure}");
    assert!(put_content(&objects, noise(1)).await.is_err());
}
