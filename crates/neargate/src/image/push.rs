//! Pushes an image as docker would: asks for a token, makes the repository if it is missing,
//! uploads each blob that isn't there yet, and puts the manifest last, so that nobody sees half an
//! image.

use super::parts::{CHUNK_BYTES, Content, Image, Part, Span};
use super::progress::{Counter, Progress};
use crate::client::{ApiError, Client, ECR, text};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::sync::mpsc;

/// Chunks read ahead of the network.
const CHUNKS_WAITING_MAX: usize = 4;
/// Bytes of an error that are read for its message.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Makes the repository, unless it is there; tells its URI and whether it was made.
pub async fn repository(client: &Client, name: &str) -> Result<(String, bool)> {
    let input = json!({"repositoryName": name});
    match client.call(ECR, "CreateRepository", &input).await {
        Ok(made) => Ok((text(&made, "/repository/repositoryUri")?.to_owned(), true)),
        Err(failure) if is(&failure, "RepositoryAlreadyExistsException") => {
            let input = json!({"repositoryNames": [name]});
            let found = client.call(ECR, "DescribeRepositories", &input).await?;
            Ok((text(&found, "/repositories/0/repositoryUri")?.to_owned(), false))
        }
        Err(failure) => Err(failure),
    }
}

fn is(failure: &anyhow::Error, code: &str) -> bool {
    failure.downcast_ref::<ApiError>().is_some_and(|error| error.code.ends_with(code))
}

/// What `docker login` would hold.
pub struct Login {
    authorization: String,
    origin: String,
}

impl Login {
    pub async fn of(client: &Client) -> Result<Self> {
        let answer = client.call(ECR, "GetAuthorizationToken", &json!({})).await?;
        let token = text(&answer, "/authorizationData/0/authorizationToken")?;
        let origin = client.endpoint().url.clone();
        Ok(Self { authorization: format!("Basic {token}"), origin })
    }
}

/// The repository must be there.
pub async fn push(
    login: &Login,
    image: &Image,
    repository: &str,
    tag: &str,
    progress: Progress,
) -> Result<()> {
    let registry = Registry {
        http: HttpClient::builder(TokioExecutor::new()).build_http(),
        base: format!("{}/v2/{repository}", login.origin),
        origin: login.origin.clone(),
        authorization: login.authorization.clone(),
    };
    let many = image.layers.len();
    for (index, layer) in image.layers.iter().enumerate() {
        registry.push_blob(layer, &format!("push layer {} of {many}", index + 1), progress).await?;
    }
    registry.push_blob(&image.config, "push configuration", Progress::Silent).await?;
    let Content::Memory(manifest) = &image.manifest.content else {
        bail!("a manifest is held in memory")
    };
    let url = format!("{}/manifests/{tag}", registry.base);
    let body = Full::new(manifest.clone()).map_err(|never| match never {}).boxed();
    let kind = &image.manifest.media_type;
    let answer = registry.send(Method::PUT, &url, kind, image.manifest.bytes, body).await?;
    expect(answer, StatusCode::CREATED).await.context("the registry refused the manifest")
}

type Sent = BoxBody<Bytes, io::Error>;

struct Registry {
    http: HttpClient<HttpConnector, Sent>,
    base: String,
    origin: String,
    authorization: String,
}

impl Registry {
    async fn push_blob(&self, blob: &Part, what: &str, progress: Progress) -> Result<()> {
        let url = format!("{}/blobs/{}", self.base, blob.digest);
        if self.send(Method::HEAD, &url, "", 0, empty()).await?.status() == StatusCode::OK {
            progress.say(&format!("{what}: is there already"));
            return Ok(());
        }
        let url = format!("{}/blobs/uploads/", self.base);
        let begun = self.send(Method::POST, &url, "", 0, empty()).await?;
        let location = begun.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        expect(begun, StatusCode::ACCEPTED).await.context("the registry takes no upload")?;
        let location = location.context("the registry names no place to upload to")?;
        let absolute = match location.starts_with('/') {
            true => format!("{}{location}", self.origin),
            false => location,
        };
        let joint = if absolute.contains('?') { '&' } else { '?' };
        let url = format!("{absolute}{joint}digest={}", blob.digest);
        let counter = Counter::default();
        let sending = async {
            let body = match &blob.content {
                Content::Memory(bytes) => {
                    counter.add(blob.bytes);
                    Full::new(bytes.clone()).map_err(|never| match never {}).boxed()
                }
                Content::File(span) => FileBody::read(span.clone(), counter.clone()).boxed(),
            };
            let kind = "application/octet-stream";
            let answer = self.send(Method::PUT, &url, kind, blob.bytes, body).await?;
            expect(answer, StatusCode::CREATED).await.context("the registry refused a blob")
        };
        progress.during(what, Some(blob.bytes), &counter, sending).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        content_type: &str,
        bytes: u64,
        body: Sent,
    ) -> Result<Response<Incoming>> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(AUTHORIZATION, &self.authorization).header(CONTENT_LENGTH, bytes);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let sent = self.http.request(request.body(body)?).await;
        sent.with_context(|| format!("the registry at {} went away", self.origin))
    }
}

fn empty() -> Sent {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed()
}

/// Anything but that status is an error in the registry's words.
async fn expect(answer: Response<Incoming>, status: StatusCode) -> Result<()> {
    let got = answer.status();
    if got == status {
        return Ok(());
    }
    let body = Limited::new(answer.into_body(), ERROR_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let said = serde_json::from_slice::<Value>(&body).ok();
    let said = said.as_ref().and_then(|said| said.pointer("/errors/0/message")?.as_str());
    match said {
        Some(message) => bail!("{message}"),
        None => bail!("it answered {got}: {}", String::from_utf8_lossy(&body)),
    }
}

/// A file as a request's body. A thread reads ahead a little; it ends with the request.
struct FileBody {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    counter: Counter,
}

impl FileBody {
    fn read(span: Span, counter: Counter) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let left = span.bytes;
        tokio::task::spawn_blocking(move || {
            let mut reader = span.reader();
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = reader.read(&mut chunk);
                let done = !matches!(read, Ok(1..));
                let sent = match read {
                    Ok(0) => break,
                    Ok(read) => {
                        chunk.truncate(read);
                        sender.blocking_send(Ok(chunk.into()))
                    }
                    Err(error) => sender.blocking_send(Err(error)),
                };
                if done || sent.is_err() {
                    break;
                }
            }
        });
        Self { chunks, left, counter }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(self.chunks.poll_recv(context));
        if let Some(Ok(chunk)) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
            self.counter.add(chunk.len() as u64);
        }
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
