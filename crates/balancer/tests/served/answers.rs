//! What a listener has every answer say: over HTTP/1.1 and HTTP/2, a target's and our own.

use crate::secure::{certificate, http2, secure, tls};
use crate::world::*;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Request};
use model::balancing::{BalancerTable, Certificates, Condition, ListenerSettings, RuleEntry};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TARGETS: &str = "HTTP/1.1 200 OK\r\nServer: mine\r\nx-frame-options: SAMEORIGIN\r\n\
                       X-Frame-Options: ALLOW\r\nAccess-Control-Max-Age: 9\r\nX-Own: 1\r\n\
                       Content-Length: 2\r\n\r\nok";

fn imposing(mut table: BalancerTable) -> BalancerTable {
    let headers = [("X-Frame-Options", "DENY"), ("Content-Security-Policy", "default-src 'self'")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for listener in entry(&mut table).listeners.values_mut() {
        listener.settings = ListenerSettings {
            hides_server: true,
            answer_headers: headers.clone().into(),
            tls_version_header: Some("X-Their-Tls".to_owned()),
            // Nobody may say how long the body is but who frames it.
            tls_cipher_header: Some("Content-Length".to_owned()),
            idle_timeout_seconds: None,
        };
    }
    entry(&mut table).settings.tls_headers = true;
    table
}

fn rules() -> Vec<RuleEntry> {
    let at = |path: &str, action| RuleEntry {
        priority: 1,
        conditions: vec![Condition::Path(vec![path.to_owned()])],
        action,
    };
    vec![
        at("/fixed", fixed(200, "fixed")),
        at("/nobody", forward(&[("empty", 1)])),
        otherwise(forward(&[("g", 1)])),
    ]
}

fn lines<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[tokio::test]
async fn every_answer_has_what_its_listener_imposes() {
    let a = target(|_| TARGETS.to_owned()).await;
    let port = free_port();
    let balancer = balancer();
    let groups = || [("g", group(&[a.at])), ("empty", group(&[]))];
    learn(&balancer, imposing(table(port, rules(), groups())));
    let mut client = Client::new(port).await;
    for (path, code, server) in
        [("/", "200", vec!["mine"]), ("/fixed", "200", vec![]), ("/nobody", "503", vec![])]
    {
        let answer = soon(client.get(path)).await;
        assert_eq!(status(&answer), code, "{answer}");
        assert_eq!(lines(&answer, "x-frame-options"), ["DENY"], "{answer}");
        assert_eq!(lines(&answer, "content-security-policy"), ["default-src 'self'"], "{answer}");
        // What a target says of itself is its own affair.
        assert_eq!(lines(&answer, "server"), server, "{answer}");
        let own = usize::from(path == "/");
        assert_eq!(lines(&answer, "access-control-max-age").len(), own, "{answer}");
        assert_eq!(lines(&answer, "x-own").len(), own, "{answer}");
    }
    let mut odd = Client::new(port).await;
    odd.send("nonsense\r\n\r\n").await;
    let answer = soon(odd.message()).await.expect("an answer");
    assert_eq!((status(&answer), lines(&answer, "x-frame-options")), ("400", vec!["DENY"]));
    // From the next answer on, on the same connection: nothing is imposed.
    learn(&balancer, table(port, rules(), groups()));
    let answer = soon(client.get("/")).await;
    assert_eq!(lines(&answer, "x-frame-options"), ["SAMEORIGIN", "ALLOW"], "{answer}");
    assert_eq!(lines(&soon(client.get("/fixed")).await, "server"), ["awselb/2.0"]);
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().expect("it is text")).collect()
}

#[tokio::test]
async fn over_http_2_every_answer_has_it_too() {
    let a = target(|_| TARGETS.to_owned()).await;
    let port = free_port();
    let balancer = balancer();
    let all = Certificates::from([("default".to_owned(), certificate(&["default.test"]))]);
    let groups = [("g", group(&[a.at])), ("empty", group(&[]))];
    let table = secure(imposing(table(port, rules(), groups)), &["default"]);
    assert!(balancer.learn(Arc::new(table), Arc::new(all.clone())).is_empty());
    let mut sender = http2::<Full<Bytes>>(port, &all).await;
    for (path, code, server) in
        [("/", 200, vec!["mine"]), ("/fixed", 200, vec![]), ("/nobody", 503, vec![])]
    {
        let request = Request::get(format!("https://default.test{path}")).body(Full::default());
        let answer = soon(sender.send_request(request.expect("a request"))).await;
        let answer = answer.expect("an answer");
        let headers = answer.headers();
        assert_eq!(answer.status().as_u16(), code, "{headers:?}");
        assert_eq!(values(headers, "x-frame-options"), ["DENY"], "{headers:?}");
        assert_eq!(values(headers, "content-security-policy"), ["default-src 'self'"]);
        assert_eq!(values(headers, "server"), server, "{headers:?}");
        assert_eq!(values(headers, "x-own").len(), usize::from(path == "/"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_target_is_told_of_tls_under_the_names_that_were_given() {
    let echo = target(ok).await;
    let port = free_port();
    let balancer = balancer();
    let all = Certificates::from([("default".to_owned(), certificate(&["default.test"]))]);
    let table = secure(imposing(table(port, rules(), [("g", group(&[echo.at]))])), &["default"]);
    assert!(balancer.learn(Arc::new(table), Arc::new(all.clone())).is_empty());
    let mut stream = soon(tls(port, "default.test", "http/1.1", &all)).await.expect("a handshake");
    let request = "GET / HTTP/1.1\r\nHost: h\r\nx-their-tls: SSLv2\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.expect("it is answered");
    assert_eq!(lines(body(&answer), "x-their-tls"), ["TLSv1.3"], "{answer}");
    let cipher = lines(body(&answer), "x-amzn-tls-cipher-suite");
    assert!(cipher.len() == 1 && cipher[0].starts_with("TLS_"), "{answer}");
    assert_eq!(lines(body(&answer), "content-length"), Vec::<&str>::new(), "{answer}");
    let mut sender = http2::<Full<Bytes>>(port, &all).await;
    let request = Request::get("https://default.test/").header("X-Their-Tls", "SSLv2");
    let request = request.body(Full::default()).expect("a request");
    let answer = soon(sender.send_request(request)).await.expect("an answer");
    let told = soon(crate::secure::text(answer)).await;
    assert_eq!(lines(&told, "x-their-tls"), ["TLSv1.3"], "{told}");
}
