//! HTTP as the benchmarks speak it: one connection that is kept, over TCP or a unix socket, and on
//! top of it the calls of AWS, signed by the same code that Neargate's own CLI signs with.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use wire::sigv4::{PathStyle, SecretKey, Signer};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Anything but a success is an error that quotes the answer.
    pub fn success(self) -> Result<Answer> {
        if !self.status.is_success() {
            bail!("answered {}: {}", self.status, self.text());
        }
        Ok(self)
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }
}

/// Where a server listens.
#[derive(Debug, Clone)]
enum Place {
    Tcp(String),
    Unix(PathBuf),
}

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    place: Place,
}

impl Connection {
    pub async fn tcp(address: &str) -> Result<Connection> {
        Self::to(Place::Tcp(address.to_owned())).await
    }

    pub async fn unix(path: &Path) -> Result<Connection> {
        Self::to(Place::Unix(path.to_owned())).await
    }

    async fn to(place: Place) -> Result<Connection> {
        let sender = match &place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.with_context(|| format!("nobody listens on {address}"))?;
                stream.set_nodelay(true)?;
                speak(stream).await?
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let path = path.display();
                speak(stream.with_context(|| format!("nobody listens on {path}"))?).await?
            }
        };
        Ok(Connection { sender, place })
    }

    pub async fn send(
        &mut self,
        method: &Method,
        path: &str,
        mut headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        if !headers.contains_key(HOST) {
            let host = match &self.place {
                Place::Tcp(address) => address,
                Place::Unix(_) => "localhost",
            };
            headers.insert(HOST, HeaderValue::from_str(host)?);
        }
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(body.into()))
            .with_context(|| format!("{path} is no path"))?;
        *request.headers_mut() = headers;
        // A server may close after an answer. It hasn't seen this request then, so it is no retry.
        if self.sender.ready().await.is_err() {
            *self = Self::to(self.place.clone()).await?;
        }
        let answer = self.sender.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|failure| anyhow::anyhow!("the answer was cut off: {failure}"))?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    /// One unsigned request with a JSON body, or none.
    pub async fn json(&mut self, method: &Method, path: &str, body: &Value) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        let bytes = match body {
            Value::Null => Vec::new(),
            body => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                serde_json::to_vec(body)?
            }
        };
        let answer = self.send(method, path, headers, bytes).await?;
        answer.success().with_context(|| format!("{method} {path}"))
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    // Its failure is seen by the request that it takes with it.
    tokio::spawn(async move { driver.await.ok() });
    Ok(sender)
}

/// Whose key, for where.
#[derive(Clone)]
pub struct Account {
    /// Host and port.
    pub address: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_key: SecretKey,
}

/// A service in awsJson1.1: its name in signatures and its target prefix.
#[derive(Clone, Copy)]
pub struct Service {
    pub name: &'static str,
    pub target: &'static str,
}

pub const ECS: Service = Service { name: "ecs", target: "AmazonEC2ContainerServiceV20141113" };
pub const ECR: Service = Service { name: "ecr", target: "AmazonEC2ContainerRegistry_V20150921" };

impl Account {
    /// The headers of one call in awsJson1.1, signed.
    pub fn sign(&self, service: Service, operation: &str, body: &[u8]) -> Result<HeaderMap> {
        let target = format!("{}.{operation}", service.target);
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/x-amz-json-1.1");
        headers.insert(CONTENT_TYPE, json);
        headers.insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_str(&target)?);
        self.add_signature(service.name, &mut headers, body)?;
        Ok(headers)
    }

    fn add_signature(&self, service: &str, headers: &mut HeaderMap, body: &[u8]) -> Result<()> {
        headers.insert(HOST, HeaderValue::from_str(&self.address)?);
        let signer = Signer {
            access_key_id: &self.access_key_id,
            secret_key: &self.secret_key,
            session_token: None,
            region: &self.region,
            service,
            path_style: PathStyle::Normalized,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?;
        let now = wire::Timestamp { unix_ms: i64::try_from(now.as_millis())? };
        signer.sign("POST", "/", "", headers, body, now);
        Ok(())
    }
}

/// A signed client on a connection of its own.
pub struct Client {
    pub account: Account,
    connection: Connection,
}

impl Client {
    pub async fn connect(account: &Account) -> Result<Client> {
        let connection = Connection::tcp(&account.address).await?;
        Ok(Client { account: account.clone(), connection })
    }

    pub async fn call(&mut self, service: Service, name: &str, input: &Value) -> Result<Value> {
        let body = serde_json::to_vec(input)?;
        let headers = self.account.sign(service, name, &body)?;
        let answer = self.connection.send(&Method::POST, "/", headers, body).await?;
        answer.success().with_context(|| name.to_owned())?.json()
    }

    /// One call in the query protocol; the XML of its answer.
    pub async fn query(&mut self, service: &str, form: &str) -> Result<String> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        self.account.add_signature(service, &mut headers, form.as_bytes())?;
        let sent = self.connection.send(&Method::POST, "/", headers, form.to_owned());
        let answer = sent.await?.success().with_context(|| form.to_owned())?;
        Ok(answer.text())
    }

    /// The first subnet there is, by EC2's query protocol.
    pub async fn first_subnet(&mut self) -> Result<String> {
        let text = self.query("ec2", "Action=DescribeSubnets&Version=2016-11-15").await?;
        let subnet = text.split("<subnetId>").nth(1).and_then(|rest| rest.split('<').next());
        Ok(subnet.with_context(|| format!("no subnet in {text}"))?.to_owned())
    }
}

/// A text that has to be in an answer.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("no {pointer} in {value}"))
}
