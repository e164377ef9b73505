//! That the library is asked, and asked rightly; and that the proof never says more than it.

use super::Tier::{Acceptable, Ambiguous, Compliant, Severe};
use super::*;
use proptest::prelude::*;

/// Facts of the library's own cases, one of each reason at least.
const CASES: [(&str, &str, Tier, &str); 24] = [
    ("POST", "Content-Length: 5\r\n", Compliant, "Compliant"),
    ("POST", "Transfer-Encoding: chunked\r\n", Compliant, "Compliant"),
    ("GET", "Accept: */*\r\nContent-Type: a\r\nTrailer-Of-Names: b\r\n", Compliant, "Compliant"),
    ("GET", "Content-Length: 0\r\n", Acceptable, "GetHeadZeroContentLength"),
    ("GET", "X: a\n", Acceptable, "NonCrLfLineTermination"),
    ("GET", "X: a\u{7f}\r\n", Acceptable, "NonCompliantHeader"),
    ("GET", "Content-Length: 5\r\n", Ambiguous, "UndefinedContentLengthSemantics"),
    ("GET", "Transfer-Encoding: chunked\r\n", Ambiguous, "UndefinedTransferEncodingSemantics"),
    ("POST", "Content-Length: 5\r\nContent-Length: 5\r\n", Ambiguous, "DuplicateContentLength"),
    ("POST", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Ambiguous, "BothTeClPresent"),
    ("POST", "Transfer_Encoding: chunked\r\n", Ambiguous, "SuspiciousHeader"),
    ("POST", "Transfer-Encoding : chunked\r\n", Ambiguous, "SuspiciousHeader"),
    ("POST", "\u{1}Transfer-Encoding: chunked\r\n", Ambiguous, "SuspiciousHeader"),
    ("POST", "Content Length: 5\r\n", Acceptable, "NonCompliantHeader"),
    ("POST", ": 5\r\n", Ambiguous, "EmptyHeader"),
    ("GET", "X: a\r\n b\r\n", Ambiguous, "MultilineHeader"),
    ("GET", "Xa\r\n", Ambiguous, "MissingHeaderColon"),
    ("POST", "Content-Length: 5\r\nContent-Length: 6\r\n", Severe, "MultipleContentLength"),
    ("POST", "Content-Length: +5\r\n", Severe, "BadContentLength"),
    ("POST", "Content-Length: 5, 5\r\n", Severe, "BadContentLength"),
    ("POST", "Transfer-Encoding: xchunked\r\n", Severe, "BadTransferEncoding"),
    (
        "POST",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Severe,
        "MultipleTransferEncodingChunked",
    ),
    ("POST", "X: a\0b\r\n", Severe, "BadHeader"),
    ("PO(ST", "X: a\r\n", Severe, "BadMethod"),
];

#[test]
fn verdicts_are_the_librarys() {
    for (method, lines, tier, reason) in CASES {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(verdict_of_bytes(head.as_bytes()), Verdict { tier, reason }, "{head:?}");
    }
    let lines = [
        ("GET /a b HTTP/1.1", Acceptable, "SpaceInUri"),
        ("GET /a HTTP/1.2", Acceptable, "NonCompliantVersion"),
        ("GET /a", Acceptable, "NonCompliantVersion"),
        ("GET /\u{1} HTTP/1.1", Ambiguous, "AmbiguousUri"),
        ("GET HTTP/1.1", Ambiguous, "MissingUri"),
        ("GET /\0 HTTP/1.1", Severe, "BadUri"),
        ("GET / HTTP/11", Severe, "BadVersion"),
    ];
    for (line, tier, reason) in lines {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(verdict_of_bytes(head.as_bytes()), Verdict { tier, reason }, "{head:?}");
    }
}

#[test]
fn the_modes_do_what_the_user_guide_says() {
    use Measure::{Refuse, Route, RouteAndClose};
    let of = |mode| [Compliant, Acceptable, Ambiguous, Severe].map(|tier| measure(mode, tier));
    assert_eq!(of(DesyncMode::Monitor), [Route, Route, Route, Route]);
    assert_eq!(of(DesyncMode::Defensive), [Route, Route, RouteAndClose, Refuse]);
    assert_eq!(of(DesyncMode::Strictest), [Route, Refuse, Refuse, Refuse]);
}

#[test]
fn what_browsers_and_tools_send_is_proven_without_the_library() {
    let curl = "GET /a?b=c HTTP/1.1\r\nHost: a:80\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n";
    let form = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Cache-Control: no-cache\r\nTraceparent: 00-1-2-3\r\nX-Forwarded-Proto: https\r\n\
                Upgrade-Insecure-Requests: 1\r\nContent-Length: 12\r\n\r\n";
    for head in [curl, form] {
        assert!(proof::is_plain_head(head.as_bytes()), "{head:?}");
    }
}

/// Heads near the edge: pieces that matter, joined and then spoiled in a byte or two.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "P", ""]);
    let target = prop::sample::select(vec!["/", "/a?b=%20", "*", "", "/a b"]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "", "HTTP/2"]);
    let name = prop::sample::select(vec![
        "Host",
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "TRANSFER-ENCODING",
        "Content_Length",
        "ContentLength",
        "Transfer.Encoding",
        "C-ontent-Length",
        "T_ransfer-Encoding",
        "Content-Length-",
        "-Content-Length",
        "1Content-Length",
        "X-Content-Length",
        "Content-Type",
        "Transfer-Encodings",
        "Content-Lengthy",
        "Cache-Control",
        "Content-Disposition",
        "",
        " Host",
    ]);
    let value = prop::sample::select(vec![
        " 5",
        " 0",
        "5 ",
        " chunked",
        "\tchunked",
        " Chunked",
        " gzip",
        " 05",
        " 5,5",
        "",
        " a",
        " 99999999999999999999",
        " chunked, chunked",
        " -1",
        " 1 1",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n ", "\r"]);
    let field = (name, value, end).prop_map(|(name, value, end)| format!("{name}:{value}{end}"));
    let fields = prop::collection::vec(field, 0..5);
    let spoil = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (method, target, version, fields, spoil).prop_map(|(method, target, version, fields, spoil)| {
        let mut head = format!("{method} {target} {version}\r\n{}\r\n", fields.concat());
        if version.is_empty() {
            head = format!("{method} {target}\r\n{}\r\n", fields.concat());
        }
        let mut head = head.into_bytes();
        for (at, byte) in spoil {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The proof accepts nothing that the library does not call compliant; and no head makes the
    /// library panic.
    #[test]
    fn the_proof_never_says_more_than_the_library(head in heads()) {
        let library = said(&HttpRequestData::analyze_raw_request(&head));
        if proof::is_plain_head(&head) {
            prop_assert_eq!(library, Verdict::COMPLIANT);
        }
        prop_assert_eq!(verdict_of_bytes(&head), library);
    }

    #[test]
    fn a_head_taken_apart_is_judged_as_a_whole_one(
        fields in prop::collection::vec(("[ -9;-~]{0,18}", "[ -~]{0,9}"), 0..4),
    ) {
        let pairs = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let pairs: Vec<(&[u8], &[u8])> = pairs.collect();
        let head = RawHead { method: b"POST", target: b"/", version: b"HTTP/1.1", fields: &pairs };
        let headers = pairs.iter().map(|(name, value)| HttpHeader::new(name, value)).collect();
        let (method, version, uri) = (head.method, head.version, head.target);
        let mut asked = HttpRequestData { method, version, uri, headers };
        prop_assert_eq!(verdict(&head), said(&asked.analyze_parsed_request()));
    }
}
