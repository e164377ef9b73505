//! A small client of our own public API, as the CLI and the demo use it: signed like any other,
//! over plain HTTP. What it can do, `aws` and `curl` can do.

use crate::data_dir::{Credentials, DataDir, Endpoint};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::path::Path;
use wire::sigv4::{PathStyle, SecretKey, Signer};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    endpoint: Endpoint,
    access_key_id: String,
    secret_key: SecretKey,
}

/// A service spoken to in awsJson1.1: its name in signatures and its target prefix.
#[derive(Clone, Copy)]
pub struct Service {
    pub name: &'static str,
    pub target: &'static str,
}

pub const ECS: Service = Service { name: "ecs", target: "AmazonEC2ContainerServiceV20141113" };
pub const LOGS: Service = Service { name: "logs", target: "Logs_20140328" };
pub const ECR: Service = Service { name: "ecr", target: "AmazonEC2ContainerRegistry_V20150921" };

/// An answer that is an error, in AWS's words.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: String,
    pub message: String,
}

impl Client {
    pub fn new(endpoint: &Endpoint, credentials: &Credentials) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            endpoint: endpoint.clone(),
            access_key_id: credentials.access_key_id.clone(),
            secret_key: SecretKey::new(credentials.secret_access_key.clone()),
        }
    }

    /// Of the Neargate that runs on a data folder.
    pub fn of(data_dir: &Path) -> Result<Self> {
        let dir = DataDir::existing(data_dir);
        let endpoint = dir.read_endpoint()?;
        let credentials = dir.read_credentials()?.context("the folder holds no credentials")?;
        Ok(Self::new(&endpoint, &credentials))
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// One call in awsJson1.1.
    pub async fn call(&self, service: Service, operation: &str, input: &Value) -> Result<Value> {
        let target = format!("{}.{operation}", service.target);
        let headers = [
            (CONTENT_TYPE, "application/x-amz-json-1.1"),
            (HeaderName::from_static("x-amz-target"), target.as_str()),
        ];
        let body = serde_json::to_vec(input)?;
        self.send(service.name, "POST", "/", &headers, body).await
    }

    /// One call in EC2's query form, answered in XML; gives the text.
    pub async fn query(&self, service: &str, form: &str) -> Result<String> {
        let headers = [(CONTENT_TYPE, "application/x-www-form-urlencoded")];
        let body = form.as_bytes().to_vec();
        let (status, answer) = self.exchange(service, "POST", "/", &headers, body).await?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        if !status.is_success() {
            bail!("{form}: {status}: {text}");
        }
        Ok(text)
    }

    /// One call of the operator API.
    pub async fn operator(&self, path: &str) -> Result<Value> {
        self.send("neargate", "GET", path, &[], Vec::new()).await
    }

    /// One call of the operator API that changes something.
    pub async fn operate(&self, path: &str) -> Result<Value> {
        self.send("neargate", "POST", path, &[], Vec::new()).await
    }

    async fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<Value> {
        let (status, answer) = self.exchange(service, method, path, headers, body).await?;
        let value: Value = if answer.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&answer).context("the answer is no JSON")?
        };
        if status.is_success() {
            return Ok(value);
        }
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| value.get(*name)?.as_str());
            found.unwrap_or(status.as_str()).to_owned()
        };
        let (code, message) = (text(&["__type", "code"]), text(&["message", "Message"]));
        Err(ApiError { code, message }.into())
    }

    async fn exchange(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes)> {
        let url = format!("{}{path}", self.endpoint.url);
        let uri: hyper::Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let authority = uri.authority().context("the endpoint has no host")?.to_string();
        let mut all = HeaderMap::new();
        all.insert(HOST, HeaderValue::from_str(&authority)?);
        for (name, value) in headers {
            all.insert(name, HeaderValue::from_str(value)?);
        }
        let signer = Signer {
            access_key_id: &self.access_key_id,
            secret_key: &self.secret_key,
            session_token: None,
            region: &self.endpoint.region,
            service,
            path_style: PathStyle::Normalized,
        };
        let now = wire::Timestamp { unix_ms: (crate::world::clock())().0 };
        signer.sign(method, uri.path(), uri.query().unwrap_or(""), &mut all, &body, now);
        let mut request = Request::builder().method(method).uri(uri).body(Full::from(body))?;
        *request.headers_mut() = all;
        let answer = self.http.request(request).await.with_context(|| {
            let url = &self.endpoint.url;
            format!("no Neargate answers at {url}: it has ended; start it with `neargate up`")
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|failure| anyhow::anyhow!("the answer was cut off: {failure}"))?;
        Ok((status, body.to_bytes()))
    }
}

/// A member that has to be there.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no {pointer} in {value}"))
}

/// A list; one that isn't there is empty.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
