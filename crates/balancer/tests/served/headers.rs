//! What targets and clients are told, byte for byte, and what the balancer answers by itself.

use crate::world::*;
use model::balancing::{DesyncMode, ForwardedFor, Stickiness};
use std::time::Duration;

async fn one_target(
    change: impl FnOnce(&mut model::balancing::BalancerTable),
) -> (balancer::Balancer, Target, u16) {
    let echo = target(ok).await;
    let port = free_port();
    let balancer = balancer();
    let mut table = table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[echo.at]))]);
    change(&mut table);
    learn(&balancer, table);
    (balancer, echo, port)
}

#[tokio::test]
async fn a_target_gets_the_request_without_what_was_for_us() {
    let (_balancer, _echo, port) = one_target(|_| {}).await;
    let mut client = Client::new(port).await;
    client
        .send(
            "POST /a?b=c HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\n\
             Keep-Alive: 5\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: gopher\r\n\
             Transfer-Encoding: chunked\r\nAccept: */*\r\n\r\n\
             3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
        )
        .await;
    let answer = soon(client.message()).await.expect("an answer");
    let told = body(&answer);
    let trace = told.lines().find(|line| line.starts_with("X-Amzn-Trace-Id: Root=1-"));
    let trace = trace.expect("there is a trace");
    assert_eq!(trace.len(), "X-Amzn-Trace-Id: Root=1-58337262-36d228ad5d99923122bbe354".len());
    let expected = format!(
        "POST /a?b=c HTTP/1.1\r\nX-Forwarded-For: 10.9.9.9, 127.0.0.1\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Port: {port}\r\nHost: h\r\n{trace}\r\n\
         Accept: */*\r\nTransfer-Encoding: chunked\r\n\r\nabcde"
    );
    assert_eq!(told, expected);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
    // The connection is good for another.
    assert!(soon(client.get("/next")).await.contains("GET /next HTTP/1.1"));
}

/// Those of requests: `a_target_gets_the_request_without_what_was_for_us`.
#[tokio::test]
async fn trailers_of_chunked_answers_end_at_the_balancer() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    let a = target(move |_| chunked.to_owned()).await;
    let port = free_port();
    let balancer = balancer();
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[a.at]))]));
    let mut client = Client::new(port).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n").await;
        let head = soon(client.until(b"\r\n\r\n")).await.expect("a head");
        assert!(!head.contains("Trailer"), "{head}");
        let rest = soon(client.until(b"0\r\n\r\n")).await.expect("a whole body");
        assert_eq!(rest, "3\r\nabc\r\n0\r\n\r\n");
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_pipelined_requests_are_answered_in_order() {
    let (_balancer, _echo, port) = one_target(|_| {}).await;
    let mut client = Client::new(port).await;
    let large = "0123456789abcdef".repeat(40_000);
    let length = large.len();
    client
        .send(&format!("PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{large}"))
        .await;
    let answer = soon(client.message()).await.expect("an answer");
    assert!(answer.ends_with(&large[..100]) || answer.ends_with("abcdef"));
    assert!(body(&answer).len() > length);
    client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(soon(client.message()).await.expect("the second").contains("GET /2 "));
    assert!(soon(client.message()).await.expect("the third").contains("GET /3 "));
}

#[tokio::test]
async fn forwarded_for_is_kept_or_removed_as_set() {
    for (mode, expected) in [
        (ForwardedFor::Preserve, "X-Forwarded-For: 10.9.9.9\r\n"),
        (ForwardedFor::Remove, "HTTP/1.1\r\nX-Forwarded-Proto"),
    ] {
        let (_balancer, _echo, port) =
            one_target(|table| entry(table).settings.forwarded_for = mode).await;
        let mut client = Client::new(port).await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n").await;
        let answer = soon(client.message()).await.expect("an answer");
        assert!(answer.contains(expected), "{mode:?} {answer}");
    }
}

#[tokio::test]
async fn own_answers_have_albs_status() {
    let (_balancer, _echo, port) = one_target(|_| {}).await;
    let many = vec!["10.0.0.1"; 31].join(", ");
    for (request, expected) in [
        ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "400"),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "405"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(17_000)), "414"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(17_000)), "400"),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {many}\r\n\r\n"), "463"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut client = Client::new(port).await;
        client.send(&request).await;
        let answer = soon(client.message()).await.expect("an answer");
        assert_eq!(status(&answer), expected, "{request}");
        assert!(answer.contains("\r\nServer: awselb/2.0\r\n"), "{answer}");
        assert!(soon(client.is_closed()).await, "{request}");
    }
}

#[tokio::test]
async fn a_client_that_says_close_or_speaks_http_1_0_is_closed() {
    let (_balancer, _echo, port) = one_target(|_| {}).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    ] {
        let mut client = Client::new(port).await;
        client.send(request).await;
        let answer = soon(client.message()).await.expect("an answer");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(soon(client.is_closed()).await);
    }
    let mut client = Client::new(port).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = soon(client.message()).await.expect("an answer");
        assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn in_strictest_mode_what_is_odd_is_refused_and_in_monitor_mode_it_is_not() {
    let odd = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    for (mode, expected) in [(DesyncMode::Monitor, "200"), (DesyncMode::Strictest, "400")] {
        let (_balancer, _echo, port) =
            one_target(|table| entry(table).settings.desync = mode).await;
        let mut client = Client::new(port).await;
        client.send(odd).await;
        let answer = soon(client.message()).await.expect("an answer");
        assert_eq!(status(&answer), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn who_is_idle_for_too_long_is_closed_and_who_dawdles_gets_408() {
    let (_balancer, _echo, port) =
        one_target(|table| entry(table).settings.idle_timeout_seconds = 1).await;
    let mut idle = Client::new(port).await;
    soon(idle.get("/")).await;
    let mut slow = Client::new(port).await;
    slow.send("GET / HTTP/1.1\r\nHost").await;
    assert!(soon(idle.is_closed()).await);
    let answer = soon(slow.message()).await.expect("an answer");
    assert_eq!(status(&answer), "408");
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_504_and_one_that_talks_nonsense_502() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(at) = silent.local_addr().expect("bound") else { unreachable!() };
    let babbler = target(|_| "HELLO\r\n\r\n".to_owned()).await;
    let (port, other) = (free_port(), free_port());
    let balancer = balancer();
    let mut slow = table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[at]))]);
    entry(&mut slow).settings.idle_timeout_seconds = 1;
    learn(&balancer, slow);
    let mut client = Client::new(port).await;
    assert_eq!(status(&soon(client.get("/")).await), "504");
    let rules = vec![otherwise(forward(&[("b", 1)]))];
    learn(&balancer, table(other, rules, [("b", group(&[babbler.at]))]));
    let mut client = Client::new(other).await;
    assert_eq!(status(&soon(client.get("/")).await), "502");
    assert_eq!(status(&soon(client.get("/")).await), "502");
}

#[tokio::test]
async fn cookies_keep_a_client_with_its_target() {
    let (a, b) = (named("a").await, named("b").await);
    let port = free_port();
    let balancer = balancer();
    let mut sticky = group(&[a.at, b.at]);
    sticky.settings.stickiness = Some(Stickiness::Balancer { seconds: 60 });
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", sticky)]));
    let mut client = Client::new(port).await;
    let first = soon(client.get("/")).await;
    let cookie = first.lines().find_map(|line| line.strip_prefix("Set-Cookie: AWSALB="));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    assert!(first.contains("Set-Cookie: AWSALBCORS=") && first.contains("SameSite=None; Secure"));
    for _ in 0..6 {
        let with = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: x=y; AWSALB={cookie}\r\n\r\n");
        client.send(&with).await;
        let answer = soon(client.message()).await.expect("an answer");
        assert_eq!(body(&answer), body(&first));
    }
}

#[tokio::test]
async fn an_applications_cookie_is_followed() {
    let sets = |name: &'static str| {
        target(move |request| {
            let cookie = if request.contains("/login") { "Set-Cookie: SID=1\r\n" } else { "" };
            format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: 1\r\n\r\n{name}")
        })
    };
    let (a, b) = (sets("a").await, sets("b").await);
    let port = free_port();
    let balancer = balancer();
    let mut sticky = group(&[a.at, b.at]);
    let follows = Stickiness::Application { cookie: "SID".to_owned(), seconds: 60 };
    sticky.settings.stickiness = Some(follows);
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", sticky)]));
    let mut client = Client::new(port).await;
    assert!(!soon(client.get("/")).await.contains("AWSALBAPP"));
    let first = soon(client.get("/login")).await;
    let cookie = first.lines().find_map(|line| line.strip_prefix("Set-Cookie: AWSALBAPP-0="));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    for _ in 0..5 {
        let with = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: AWSALBAPP-0={cookie}\r\n\r\n");
        client.send(&with).await;
        assert_eq!(body(&soon(client.message()).await.expect("an answer")), body(&first));
    }
}

#[tokio::test]
async fn an_upgraded_connection_is_carried_both_ways() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(at) = socket.local_addr().expect("bound") else { unreachable!() };
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.expect("a connection");
        let mut client = Client { stream, unread: Vec::new() };
        let head = client.until(b"\r\n\r\n").await.expect("a head");
        assert!(head.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"), "{head}");
        client
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\nhello",
            )
            .await;
        while let Some(line) = client.until(b"\n").await {
            client.send(&line.to_uppercase()).await;
        }
    });
    let port = free_port();
    let balancer = balancer();
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[at]))]));
    let mut client = Client::new(port).await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Key: x\r\n\r\nfirst\n",
        )
        .await;
    let head = soon(client.until(b"\r\n\r\n")).await.expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: websocket"), "{head}");
    assert_eq!(soon(client.until(b"FIRST\n")).await.as_deref(), Some("helloFIRST\n"));
    client.send("second\n").await;
    assert_eq!(soon(client.until(b"\n")).await.as_deref(), Some("SECOND\n"));
    // What is upgraded ends with its target's registration.
    let rules = vec![otherwise(forward(&[("g", 1)]))];
    learn(&balancer, table(port, rules, [("g", group(&[]))]));
    assert!(soon(client.is_closed()).await);
}

#[tokio::test]
async fn a_target_may_answer_before_it_has_read_everything() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let std::net::SocketAddr::V4(at) = socket.local_addr().expect("bound") else { unreachable!() };
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.expect("a connection");
            let mut client = Client { stream, unread: Vec::new() };
            client.until(b"\r\n\r\n").await.expect("a head");
            client.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        }
    });
    let port = free_port();
    let balancer = balancer();
    learn(&balancer, table(port, vec![otherwise(forward(&[("g", 1)]))], [("g", group(&[at]))]));
    let client = Client::new(port).await;
    let (reading, mut writing) = client.stream.into_split();
    let sends = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n";
        writing.write_all(head.as_bytes()).await.expect("it is written");
        // It may be cut short: nobody wants the rest.
        let _ = writing.write_all(&[b'x'; 8_000_000]).await;
        writing
    });
    let mut answer = vec![0; 12];
    use tokio::io::AsyncReadExt;
    let mut reading = reading;
    soon(reading.read_exact(&mut answer)).await.expect("there is an answer");
    assert!(answer == b"HTTP/1.1 413" || answer == b"HTTP/1.1 502", "{answer:?}");
    drop(soon(sends).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_balancer_waits_for_requests_but_not_for_ever() {
    let (slow, let_go) = held("late").await;
    let port = free_port();
    let balancer = balancer();
    let rules = vec![otherwise(forward(&[("g", 1)]))];
    learn(&balancer, table(port, rules, [("g", group(&[slow.at]))]));
    let mut idle = Client::new(port).await;
    let mut client = Client::new(port).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let connections = slow.connections.clone();
    until("it is asked", || connections.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
    let ended = tokio::spawn({
        let balancer = balancer.clone();
        async move { balancer.end(Duration::from_secs(10)).await }
    });
    assert!(soon(idle.is_closed()).await);
    let_go.send(()).expect("it waits");
    let answer = soon(client.message()).await.expect("an answer");
    assert_eq!(body(&answer), "late");
    soon(ended).await.expect("it ends");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
