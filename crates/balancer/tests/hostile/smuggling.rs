//! Request smuggling. Every payload hides a request for `/smuggled` where one parser in the chain
//! might see it and another not. The oracle is in the backends, three of three makes: none of them
//! may ever see that path. And as answers that went astray are the other half of such attacks, a
//! good client asks after each payload and must get its own answer.

use crate::backends::Backend;
use crate::rig::{Rig, Wanted, exchange, good, statuses};
use model::balancing::DesyncMode;
use std::net::SocketAddr;
use std::time::Duration;

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";

/// Payloads leave bodies unfinished; the balancer gives up on them after this.
const IDLE_SECONDS: u32 = 1;
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The balancer answers 400 and closes.
    Refused,
    /// A backend may see the outer request, and only that.
    Open,
}
use Fate::{Open, Refused};

struct Payload {
    name: &'static str,
    bytes: Vec<u8>,
    fate: Fate,
}

fn payload(name: &'static str, fate: Fate, bytes: impl Into<Vec<u8>>) -> Payload {
    Payload { name, bytes: bytes.into(), fate }
}

/// A POST whose lines say nothing of how long it is but what is given, with `body`.
fn post(lines: &str, body: &str) -> String {
    format!("POST /outer HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}")
}

/// A body that ends at once for who reads chunks, and goes on with the hidden request.
fn ended() -> String {
    format!("0\r\n\r\n{HIDDEN}")
}

fn full_length(body: &str) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

/// One reads the length, the other the chunks.
fn of_two_framings() -> Vec<Payload> {
    let body = ended();
    let length = full_length(&body);
    let short = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    vec![
        payload("CL.TE", Open, post(&format!("{length}Transfer-Encoding: chunked\r\n"), &body)),
        payload(
            "CL.TE swapped",
            Open,
            post(&format!("Transfer-Encoding: chunked\r\n{length}"), &body),
        ),
        payload("TE.CL", Open, post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &short)),
        payload(
            "TE.CL zero",
            Open,
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &short),
        ),
        payload(
            "connection names the length",
            Open,
            post(&format!("Connection: Content-Length\r\n{length}"), &body),
        ),
        payload(
            "connection names the coding",
            Open,
            post("Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", &short),
        ),
        payload(
            "an HTTP/1.0 request in chunks",
            Refused,
            format!(
                "POST /outer HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n{length}\
                 Transfer-Encoding: chunked\r\n\r\n{body}"
            ),
        ),
    ]
}

/// Codings that are chunked to some.
fn of_disguised_codings() -> Vec<Payload> {
    let body = ended();
    let length = full_length(&body);
    let disguised = [
        ("an unknown coding", "Transfer-Encoding: xchunked", Refused),
        ("a list", "Transfer-Encoding: chunked, identity", Refused),
        ("a list with itself", "Transfer-Encoding: chunked, chunked", Refused),
        ("twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refused),
        ("then another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", Refused),
        ("another first", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked", Refused),
        ("quoted", "Transfer-Encoding: \"chunked\"", Refused),
        ("with a parameter", "Transfer-Encoding: chunked;q=0", Refused),
        ("vertical tab", "Transfer-Encoding: \u{b}chunked", Refused),
        ("form feed after", "Transfer-Encoding: chunked\u{c}", Refused),
        ("nothing", "Transfer-Encoding: ", Refused),
        ("identity", "Transfer-Encoding: identity", Refused),
        ("gzip", "Transfer-Encoding: gzip", Refused),
        ("space before the colon", "Transfer-Encoding : chunked", Open),
        ("tab before the colon", "Transfer-Encoding\t: chunked", Open),
        ("an underscore", "Transfer_Encoding: chunked", Open),
        ("a dot", "Transfer.Encoding: chunked", Open),
        ("no hyphen", "TransferEncoding: chunked", Open),
        ("folded", "Transfer-Encoding:\r\n chunked", Refused),
        ("folded in the name", "Transfer-Encoding\r\n : chunked", Refused),
        ("behind a fold", "X: y\r\n Transfer-Encoding: chunked", Refused),
        ("behind a bare line feed", "X: y\nTransfer-Encoding: chunked", Open),
        ("behind a bare return", "X: y\rTransfer-Encoding: chunked", Refused),
        ("behind a null", "X: y\0Transfer-Encoding: chunked", Refused),
        ("a control in the name", "\u{1}Transfer-Encoding: chunked", Open),
        ("a null in the name", "Transfer-\0Encoding: chunked", Refused),
        ("beyond ASCII", "Transfer-Encod\u{131}ng: chunked", Open),
        ("a space in front", " Transfer-Encoding: chunked", Refused),
        ("a colon in front", ":Transfer-Encoding: chunked", Open),
        ("upper case", "TRANSFER-ENCODING: CHUNKED", Open),
    ];
    let made = disguised
        .map(|(name, line, fate)| payload(name, fate, post(&format!("{length}{line}\r\n"), &body)));
    let alone = payload(
        "chunked in another case alone",
        Open,
        post("tRANSFER-eNCODING: cHUNKED\r\n", "0\r\n\r\n"),
    );
    made.into_iter().chain([alone]).collect()
}

/// Lengths that are two lengths.
fn of_lengths() -> Vec<Payload> {
    let all = HIDDEN.len();
    let lines = [
        ("two", format!("Content-Length: 0\r\nContent-Length: {all}\r\n"), Refused),
        ("two, swapped", format!("Content-Length: {all}\r\nContent-Length: 0\r\n"), Refused),
        ("a list", format!("Content-Length: {all}, {all}\r\n"), Refused),
        ("two that are equal", format!("Content-Length: {all}\r\nContent-Length: {all}\r\n"), Open),
        ("a plus", format!("Content-Length: +{all}\r\n"), Refused),
        ("a minus", "Content-Length: -1\r\n".to_owned(), Refused),
        ("hexadecimal", "Content-Length: 0x2a\r\n".to_owned(), Refused),
        ("an underscore", "Content-Length: 4_2\r\n".to_owned(), Refused),
        ("a point", format!("Content-Length: {all}.0\r\n"), Refused),
        ("nothing", "Content-Length: \r\n".to_owned(), Refused),
        ("too large", "Content-Length: 18446744073709551616\r\n".to_owned(), Refused),
        ("too large by far", format!("Content-Length: {}\r\n", "9".repeat(400)), Refused),
        ("a space inside", format!("Content-Length: {all} 0\r\n"), Refused),
        ("leading zeros", format!("Content-Length: 000{all}\r\n"), Open),
        (
            "space before the colon",
            format!("Content-Length : {all}\r\nContent-Length: 0\r\n"),
            Open,
        ),
        (
            "an underscore in the name",
            format!("Content_Length: 0\r\nContent-Length: {all}\r\n"),
            Open,
        ),
        ("folded", format!("Content-Length:\r\n {all}\r\n"), Refused),
    ];
    let posts = lines.into_iter().map(|(name, lines, fate)| {
        let open_end = name == "space before the colon";
        // With a length of 0 what follows is a request that the client did send.
        let body = if open_end { "" } else { HIDDEN };
        payload(name, fate, post(&lines, body))
    });
    let get = format!("GET /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {all}\r\n\r\n{HIDDEN}");
    let head = format!("HEAD /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {all}\r\n\r\n{HIDDEN}");
    let expect = format!("Expect: 100-continue\r\nContent-Length: {all}\r\n");
    posts
        .chain([
            payload("a GET with a body", Open, get),
            payload("a HEAD with a body", Open, head),
            payload("a body that was announced", Open, post(&expect, HIDDEN)),
        ])
        .collect()
}

/// Chunks whose edges are not where they seem to be.
fn of_chunks() -> Vec<Payload> {
    let coded = "Transfer-Encoding: chunked\r\n";
    let size = HIDDEN.len();
    let bodies = [
        ("an extension", format!("{size:x};a=b\r\n{HIDDEN}\r\n0\r\n\r\n"), Open),
        ("an extension with a line feed", format!("{size:x};a\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("an extension with a return", format!("{size:x};a\rb\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("a quoted line end", format!("{size:x};a=\"\r\n\"{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("a line feed for a line end", format!("{size:x}\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("a return for a line end", format!("{size:x}\r{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("a size in front of a size", format!("0x{size:x}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("a sign", format!("+{size:x}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        (
            "a size that overflows",
            format!("1000000000000000{size:x}\r\n{HIDDEN}\r\n0\r\n\r\n"),
            Refused,
        ),
        ("spaces in front", format!(" {size:x}\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        ("spaces behind", format!("{size:x}  \r\n{HIDDEN}\r\n0\r\n\r\n"), Open),
        ("a chunk too long for its size", format!("1\r\nxx\r\n0\r\n\r\n{HIDDEN}"), Refused),
        ("no line end after a chunk", format!("1\r\nx0\r\n\r\n{HIDDEN}"), Refused),
        ("no size", format!("\r\n{HIDDEN}\r\n0\r\n\r\n"), Refused),
        (
            "a length among the trailers",
            format!("1\r\nx\r\n0\r\nContent-Length: {size}\r\n\r\n"),
            Open,
        ),
        (
            "a coding among the trailers",
            "1\r\nx\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            Open,
        ),
        ("many zeros", format!("{size:020x}\r\n{HIDDEN}\r\n0\r\n\r\n"), Open),
    ];
    let made = bodies.into_iter().map(|(name, body, fate)| payload(name, fate, post(coded, &body)));
    made.collect()
}

/// Request lines and heads that end elsewhere for somebody.
fn of_heads() -> Vec<Payload> {
    let returned = format!("GET /outer\r{HIDDEN}");
    let lines = [
        ("two versions", "GET /outer HTTP/1.1 HTTP/1.1", Refused),
        ("a space in the target", "GET /outer /smuggled HTTP/1.1", Refused),
        ("tabs for spaces", "GET\t/outer\tHTTP/1.1", Refused),
        ("a return in the target", returned.as_str(), Refused),
        ("a null in the target", "GET /outer\0 HTTP/1.1", Refused),
        ("HTTP/0.9", "GET /outer", Refused),
        ("HTTP/1.2", "GET /outer HTTP/1.2", Refused),
        ("HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM", Refused),
        ("a version in lower case", "GET /outer http/1.1", Refused),
        ("a method with a colon", "GET:x /outer HTTP/1.1", Refused),
        ("no colon", "GET /outer HTTP/1.1\r\nnocolon", Refused),
        ("a first line that is folded", "GET /outer HTTP/1.1\r\n X: y", Refused),
        ("an absolute target", "GET http://evil/outer HTTP/1.1", Open),
        ("two hosts", "GET /outer HTTP/1.1\r\nHost: evil", Open),
        ("a tunnel", "CONNECT /smuggled HTTP/1.1", Open),
        ("encoded line ends", "GET /outer%0d%0aGET%20/x HTTP/1.1", Open),
        (
            "an upgrade to h2c",
            "GET /outer HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABk",
            Open,
        ),
    ];
    let made =
        lines.map(|(name, line, fate)| payload(name, fate, format!("{line}\r\nHost: h\r\n\r\n")));
    let without_host = payload("no host", Open, "GET /outer HTTP/1.1\r\n\r\n");
    made.into_iter().chain([without_host]).collect()
}

fn all() -> Vec<Payload> {
    let groups = [of_two_framings(), of_disguised_codings(), of_lengths(), of_chunks(), of_heads()];
    groups.into_iter().flatten().collect()
}

/// Sends one payload, then asks as a good client does.
async fn attack(to: SocketAddr, number: usize, payload: &Payload, strict: bool) {
    let name = payload.name;
    let heard = exchange(to, &payload.bytes, LIMIT).await;
    let answers = statuses(&heard);
    let shown = String::from_utf8_lossy(&heard);
    assert!(answers.len() <= 2, "{name} was answered {answers:?}: {shown}");
    assert!(!shown.contains("smuggled"), "{name} was answered for what it hid: {shown}");
    if payload.fate == Refused {
        assert!(matches!(answers.as_slice(), [400 | 501 | 505]), "{name}: {answers:?} {shown}");
    } else if !strict {
        assert!(!answers.is_empty(), "{name} was not answered");
    }
    let path = format!("/good-{number}");
    assert_eq!(good(to, &path).await.as_deref(), Ok(path.as_str()), "after {name}");
}

async fn attack_all(desync: DesyncMode) {
    let folder = tempfile::tempdir().expect("a folder");
    let backends = Backend::start_all(folder.path());
    let mut wanted = Wanted::plain(backends.iter().map(|it| it.address).collect());
    wanted.desync = desync;
    wanted.idle_timeout_seconds = IDLE_SECONDS;
    let rig = Rig::start(wanted).await;
    for (number, payload) in all().iter().enumerate() {
        let strict = desync == DesyncMode::Strictest;
        let attacks = rig.listeners.iter().map(|to| attack(*to, number, payload, strict));
        futures_util::future::join_all(attacks).await;
    }
    rig.end().await;
    for backend in backends {
        let seen = backend.seen();
        assert!(seen.contains("/good-0"), "{} writes down what it sees: {seen}", backend.name);
        let smuggled: Vec<&str> = seen.lines().filter(|it| it.contains("smuggled")).collect();
        assert!(smuggled.is_empty(), "{} saw {smuggled:?}", backend.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_defensive_mode_no_backend_sees_what_nobody_sent() {
    attack_all(DesyncMode::Defensive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_strictest_mode_no_backend_sees_what_nobody_sent() {
    attack_all(DesyncMode::Strictest).await;
}

/// That the payloads bite: sent straight to the backends, some of what they hide gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_balancer_backends_see_what_was_hidden() {
    let folder = tempfile::tempdir().expect("a folder");
    let backends = Backend::start_all(folder.path());
    for backend in &backends {
        let straight = all().into_iter().map(|payload| async move {
            exchange(backend.address.into(), &payload.bytes, Duration::from_secs(2)).await
        });
        futures_util::future::join_all(straight).await;
    }
    let seen = backends.iter().map(Backend::seen).collect::<String>();
    let hidden = seen.lines().filter(|line| line.contains("/smuggled")).count();
    assert!(hidden > 5, "only {hidden} hidden requests were seen: {seen}");
}
