//! Requests that must be refused, each made from a good one by one change, each with the exact
//! error code that the client gets. Where a part has many bytes, every byte is a case.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::sigv4_vectors::{ACCESS_KEY_ID, NOW, SECRET_KEY, TERMS};
use crate::sigv4::{
    Accepted, PathStyle, SecretKey, SignatureFault, Signer, SigningKey, SigningKeys, Verified,
    parse,
};
use crate::{Protocol, RequestParts, Timestamp};

const TARGET: &str = "AmazonEC2ContainerServiceV20141113.ListClusters";
const TOKEN: &str = "session-token";
const BODY: &[u8] = br#"{"maxResults":5}"#;

/// A request as it lies on the wire, so that a test can damage any part of it.
#[derive(Clone)]
struct Sent {
    method: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: Timestamp,
    terms: Accepted<'static>,
    secret: SecretKey,
}

impl Sent {
    fn verify(&self) -> Result<Verified, SignatureFault> {
        let Sent { method, path, query, headers, .. } = self;
        let parts = RequestParts { method, path, query, headers };
        let claim = parse(&parts)?;
        let key = SigningKey::derive(&self.secret, &claim.scope);
        claim.verify(&parts, &self.body, &key, self.now, &self.terms)
    }

    fn header(&self, name: &str) -> String {
        self.headers[name].to_str().expect("test headers are text").to_owned()
    }

    fn set(&mut self, name: &'static str, value: &str) {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a valid header value");
        self.headers.insert(HeaderName::from_static(name), value);
    }

    fn replace_in_authorization(&mut self, from: &str, to: &str) {
        let text = self.header("authorization");
        assert!(text.contains(from), "the test changes nothing: no {from} in {text}");
        self.set("authorization", &text.replace(from, to));
    }
}

fn signer(secret_key: &SecretKey) -> Signer<'_> {
    Signer {
        access_key_id: ACCESS_KEY_ID,
        secret_key,
        session_token: Some(TOKEN),
        region: "us-east-1",
        service: "service",
        path_style: PathStyle::Normalized,
    }
}

fn unsigned() -> Sent {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("ecs.example.com"));
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amz-target", HeaderValue::from_static(TARGET));
    Sent {
        method: "POST",
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: BODY.to_vec(),
        now: NOW,
        terms: TERMS,
        secret: SecretKey::new(SECRET_KEY),
    }
}

fn sign(mut sent: Sent) -> Sent {
    let secret = sent.secret.clone();
    let hash = crate::sigv4::canonical::sha256_hex(&sent.body);
    if !sent.headers.contains_key("x-amz-content-sha256") {
        sent.set("x-amz-content-sha256", &hash);
    }
    let Sent { method, path, query, headers, body, .. } = &mut sent;
    signer(&secret).sign(method, path, query, headers, body, NOW);
    sent
}

fn good() -> Sent {
    sign(unsigned())
}

fn good_presigned() -> Sent {
    let mut sent = unsigned();
    sent.query = "Action=GetCallerIdentity&Version=2011-06-15".to_owned();
    let Sent { method, path, query, headers, body, secret, .. } = &sent;
    let parts = RequestParts { method, path, query, headers };
    sent.query = signer(secret).presign(&parts, body, NOW, 900);
    sent
}

/// Counts the cases as it asserts them.
#[derive(Default)]
struct Cases(usize);

impl Cases {
    fn refused(&mut self, label: &str, json_code: &str, sent: &Sent) {
        self.0 += 1;
        let outcome = sent.verify();
        let Err(fault) = outcome else { panic!("{label}: accepted") };
        let fault = fault.into_fault(Protocol::AwsJson11);
        assert_eq!(fault.code, json_code, "{label}: {}", fault.message);
        assert_eq!(fault.status, 400, "{label}");
    }

    fn at_least(&self, count: usize) {
        assert!(self.0 >= count, "only {} cases", self.0);
    }
}

const INCOMPLETE: &str = "IncompleteSignatureException";
const INVALID: &str = "InvalidSignatureException";
const MISSING: &str = "MissingAuthenticationTokenException";

fn other_hex(c: char) -> char {
    if c == '0' { '1' } else { '0' }
}

#[test]
fn the_undamaged_requests_are_accepted() {
    assert_eq!(good().verify(), Ok(Verified { payload_signed: true }));
    assert_eq!(good_presigned().verify(), Ok(Verified { payload_signed: true }));
}

#[test]
fn every_digit_of_a_signature_counts() {
    let mut cases = Cases::default();
    let text = good().header("authorization");
    let start = text.find("Signature=").expect("it is signed") + "Signature=".len();
    for at in start..text.len() {
        let digit = text.as_bytes()[at].into();
        for (with, code) in [(other_hex(digit), INVALID), ('A', INCOMPLETE), ('g', INCOMPLETE)] {
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with.to_string());
            let mut sent = good();
            sent.set("authorization", &changed);
            cases.refused(&format!("signature digit {}", at - start), code, &sent);
        }
    }
    cases.at_least(192);
}

#[test]
fn every_byte_of_the_body_counts() {
    let mut cases = Cases::default();
    for at in 0..BODY.len() {
        let mut sent = good();
        sent.body[at] ^= 1;
        cases.refused(&format!("body byte {at}"), INVALID, &sent);
    }
    for body in [&b""[..], b"{}", br#"{"maxResults":5} "#] {
        let mut sent = good();
        sent.body = body.to_vec();
        cases.refused("another body", INVALID, &sent);
        // Nor does it help to say the truth about a body that was not signed.
        sent.set("x-amz-content-sha256", &crate::sigv4::canonical::sha256_hex(body));
        cases.refused("another body and its hash", INVALID, &sent);
    }
    cases.at_least(20);
}

#[test]
fn every_signed_header_counts() {
    let mut cases = Cases::default();
    let names = [
        ("host", INVALID, INCOMPLETE),
        ("content-type", INVALID, INVALID),
        ("x-amz-target", INVALID, INVALID),
        ("x-amz-security-token", INVALID, INCOMPLETE),
        ("x-amz-content-sha256", INVALID, INCOMPLETE),
        ("x-amz-date", INCOMPLETE, INCOMPLETE),
    ];
    for (name, changed_code, doubled_code) in names {
        let mut changed = good();
        changed.set(name, &format!("{}x", changed.header(name)));
        cases.refused(&format!("{name} changed"), changed_code, &changed);
        let mut gone = good();
        gone.headers.remove(name);
        let code = if name == "x-amz-date" { INCOMPLETE } else { INVALID };
        cases.refused(&format!("{name} gone"), code, &gone);
        let mut doubled = good();
        doubled.headers.append(name, doubled.headers[name].clone());
        cases.refused(&format!("{name} doubled"), doubled_code, &doubled);
        let mut left_out = good();
        let listed = left_out.header("authorization").contains(&format!("{name};"));
        let (from, to) = if listed { (format!("{name};"), "") } else { (format!(";{name}"), "") };
        left_out.replace_in_authorization(&from, to);
        let code = if name == "content-type" { INVALID } else { INCOMPLETE };
        cases.refused(&format!("{name} not signed"), code, &left_out);
    }
    for name in ["x-amz-user", "x-amz-acl", "x-amz-meta-a"] {
        let mut sent = good();
        sent.set(name, "v");
        cases.refused(&format!("{name} added and not signed"), INCOMPLETE, &sent);
    }
    let mut sent = unsigned();
    sent.set("x-note", "caf\u{e9}");
    let mut latin = sign(sent);
    latin.headers.insert("x-note", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    cases.refused("a signed header that is not UTF-8", INCOMPLETE, &latin);
    cases.at_least(28);
}

const CREDENTIAL: &str = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
/// One change to the Authorization header, and the code it gets.
const GRAMMAR: &[(&str, &str, &str)] = &[
    ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", INCOMPLETE),
    ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", INCOMPLETE),
    ("AWS4-HMAC-SHA256", "aws4-hmac-sha256", INCOMPLETE),
    ("AWS4-HMAC-SHA256", "Basic", INCOMPLETE),
    ("AWS4-HMAC-SHA256 ", "", INCOMPLETE),
    ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256", INCOMPLETE),
    (CREDENTIAL, "", INCOMPLETE),
    (CREDENTIAL, "Credential=", INCOMPLETE),
    (CREDENTIAL, "credential=A/20150830/us-east-1/service/aws4_request", INCOMPLETE),
    ("Credential=", "Credential", INCOMPLETE),
    ("AKIDEXAMPLE/", "", INCOMPLETE),
    ("AKIDEXAMPLE/", "/", INCOMPLETE),
    ("AKIDEXAMPLE/", "AKID EXAMPLE/", INCOMPLETE),
    ("AKIDEXAMPLE/", "AKID/EXAMPLE/", INCOMPLETE),
    ("AKIDEXAMPLE/", "AKID%2FEXAMPLE/", INCOMPLETE),
    ("20150830", "2015083", INCOMPLETE),
    ("20150830", "201508300", INCOMPLETE),
    ("20150830", "20151330", INCOMPLETE),
    ("20150830", "20150230", INCOMPLETE),
    ("20150830", "2015083a", INCOMPLETE),
    ("20150830", "+2150830", INCOMPLETE),
    ("20150830", "20150829", INVALID),
    ("20150830", "20150831", INVALID),
    ("us-east-1", "", INCOMPLETE),
    ("us-east-1", "us east 1", INCOMPLETE),
    ("us-east-1", "eu-west-1", INVALID),
    ("us-east-1", "US-EAST-1", INVALID),
    ("/service/", "//", INCOMPLETE),
    ("/service/", "/ec2/", INVALID),
    ("/service/", "/Service/", INVALID),
    ("aws4_request", "aws5_request", INVALID),
    ("aws4_request", "AWS4_REQUEST", INVALID),
    ("aws4_request", "", INVALID),
    ("/aws4_request", "", INCOMPLETE),
    ("/aws4_request", "/aws4_request/", INCOMPLETE),
    ("/aws4_request,", "/aws4_request", INCOMPLETE),
    ("SignedHeaders=", "SignedHeaders", INCOMPLETE),
    ("SignedHeaders=", "signedheaders=", INCOMPLETE),
    ("SignedHeaders=", "Extra=1, SignedHeaders=", INCOMPLETE),
    ("SignedHeaders=", "SignedHeaders=;", INCOMPLETE),
    ("SignedHeaders=content-type;", "SignedHeaders=Content-Type;", INCOMPLETE),
    ("content-type;host", "host;content-type", INCOMPLETE),
    ("content-type;host", "content-type;host;host", INCOMPLETE),
    ("content-type;host", "content-type;;host", INCOMPLETE),
    ("content-type;host", "content-type,host", INCOMPLETE),
    ("content-type;host", "content-type;date;host", INVALID),
    ("content-type;host", "content-type ;host", INCOMPLETE),
    ("content-type;host;", "authorization;content-type;host;", INCOMPLETE),
    ("Signature=", "Signature", INCOMPLETE),
    ("Signature=", "signature=", INCOMPLETE),
    ("Signature=", "Signature==", INCOMPLETE),
    ("Signature=", "Signature=0", INCOMPLETE),
    ("Signature=", "Signature= ", INCOMPLETE),
    (", Signature=", ", Signature=00, Signature=", INCOMPLETE),
    (", Signature=", ",, Signature=", INCOMPLETE),
    (", Signature=", "; Signature=", INCOMPLETE),
];

#[test]
fn the_authorization_header_has_one_grammar() {
    let mut cases = Cases::default();
    for (from, to, code) in GRAMMAR {
        let mut sent = good();
        sent.replace_in_authorization(from, to);
        cases.refused(&format!("{from} -> {to}"), code, &sent);
    }
    for text in ["", " ", "AWS4-HMAC-SHA256", "Bearer token", "Basic QVdTOnNlY3JldA=="] {
        let mut sent = good();
        sent.set("authorization", text);
        cases.refused(&format!("only {text:?}"), INCOMPLETE, &sent);
    }
    let mut long = good();
    long.replace_in_authorization("content-type;", &format!("{};content-type;", "a".repeat(9000)));
    cases.refused("too long", INCOMPLETE, &long);
    let many: String = (1000..1200).map(|n| format!("a{n};")).collect();
    let mut headers = good();
    headers.replace_in_authorization("content-type;", &format!("{many}content-type;"));
    cases.refused("too many headers", INCOMPLETE, &headers);
    let mut doubled = good();
    doubled.headers.append("authorization", doubled.headers["authorization"].clone());
    cases.refused("two Authorization headers", INCOMPLETE, &doubled);
    let mut absent = good();
    absent.headers.remove("authorization");
    cases.refused("no Authorization header", MISSING, &absent);
    cases.at_least(65);
}

#[test]
fn the_request_line_counts() {
    let mut cases = Cases::default();
    for path in ["/x", "/%2e", "//x", "/a/", "/%2F"] {
        let mut sent = good();
        sent.path = path.to_owned();
        cases.refused(&format!("path {path}"), INVALID, &sent);
    }
    for query in ["a", "a=b", "Action=ListTasks", "%41=b", "=", "a=b&a=b"] {
        let mut sent = good();
        sent.query = query.to_owned();
        cases.refused(&format!("query {query}"), INVALID, &sent);
    }
    for method in ["GET", "PUT", "post"] {
        let sent = Sent { method, ..good() };
        cases.refused(&format!("method {method}"), INVALID, &sent);
    }
    // What canonicalisation folds together must mean the same; what differs must not fold.
    let base = {
        let mut sent = unsigned();
        sent.query = "a=b%20c&d=%2B&e=%25".to_owned();
        sent.path = "/a/b".to_owned();
        sign(sent)
    };
    assert!(base.verify().is_ok());
    for query in
        ["a=b+c&d=%2b&e=%25", "e=%25&d=%2B&a=b%20c", "&a=b+c&&d=%2B&e=%25&", "a=b+c&d=%2B&e=%"]
    {
        assert!(Sent { query: query.to_owned(), ..base.clone() }.verify().is_ok(), "{query}");
    }
    for query in
        ["a=b%2Bc&d=%2B&e=%25", "a=b+c&d=+&e=%25", "a=b+c&d=%2B&e=%2525", "a=bc&d=%2B&e=%25"]
    {
        let sent = Sent { query: query.to_owned(), ..base.clone() };
        cases.refused(&format!("query {query}"), INVALID, &sent);
    }
    for path in ["/a/./b", "//a//b", "/c/../a/b"] {
        assert!(Sent { path: path.to_owned(), ..base.clone() }.verify().is_ok(), "{path}");
    }
    for path in ["/a%2Fb", "/a/b/", "/A/b", "/%61/b", "/a/c/b"] {
        let sent = Sent { path: path.to_owned(), ..base.clone() };
        cases.refused(&format!("path {path}"), INVALID, &sent);
    }
    cases.at_least(22);
}

#[test]
fn the_clock_has_a_window() {
    let mut cases = Cases::default();
    let at = |seconds: i64| Timestamp::from_unix_ms(NOW.unix_ms + seconds * 1000);
    for seconds in [-900, -899, 0, 899, 900] {
        assert!(Sent { now: at(seconds), ..good() }.verify().is_ok(), "{seconds}");
    }
    for seconds in [-901, -86_400, 901, 86_400, 31_536_000] {
        let sent = Sent { now: at(seconds), ..good() };
        cases.refused(&format!("now is {seconds} s later"), INVALID, &sent);
    }
    let fault = Sent { now: at(901), ..good() }.verify().unwrap_err();
    assert_eq!(
        fault,
        SignatureFault::Expired(
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z \
             (20150830T125101Z - 15 min.)"
                .to_owned()
        )
    );
    let fault = Sent { now: at(-901), ..good() }.verify().unwrap_err();
    assert_eq!(
        fault,
        SignatureFault::NotYetCurrent(
            "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z \
             (20150830T122059Z + 15 min.)"
                .to_owned()
        )
    );
    for date in [
        "20150830T1236",
        "2015-08-30T12:36:00Z",
        "20150830T123660Z",
        "20150830T243600Z",
        "20150830t123600z",
        "20150830T123600+",
        "",
        "1440938160",
        "\u{661}0150830T12360Z",
    ] {
        let mut sent = good();
        sent.set("x-amz-date", date);
        cases.refused(&format!("date {date}"), INCOMPLETE, &sent);
    }
    let mut other_day = good();
    other_day.set("x-amz-date", "20150831T000000Z");
    cases.refused("a date of another day than the scope", INVALID, &other_day);
    cases.at_least(15);
}

#[test]
fn a_date_header_counts_only_if_signed() {
    let mut cases = Cases::default();
    let mut sent = good();
    sent.headers.remove("x-amz-date");
    sent.replace_in_authorization(";x-amz-date", "");
    cases.refused("no date at all", INCOMPLETE, &sent);
    sent.set("date", "Sun, 30 Aug 2015 12:36:00 GMT");
    cases.refused("an unsigned Date", INCOMPLETE, &sent);
    sent.replace_in_authorization("content-type;", "content-type;date;");
    cases.refused("a signed Date and a signature without it", INVALID, &sent);
    for date in ["Sun, 30 Feb 2015 12:36:00 GMT", "30 Aug 2015", "Sun, 30 Aug 2015 12:36:00 CET"] {
        sent.set("date", date);
        cases.refused(date, INCOMPLETE, &sent);
    }
    cases.at_least(6);
}

#[test]
fn a_secret_is_the_right_one_or_none() {
    let mut cases = Cases::default();
    for at in 0..SECRET_KEY.len() {
        let mut bytes = SECRET_KEY.as_bytes().to_vec();
        bytes[at] ^= 1;
        let secret = SecretKey::new(String::from_utf8(bytes).expect("still ASCII"));
        cases.refused(&format!("secret byte {at}"), INVALID, &Sent { secret, ..good() });
    }
    cases.refused("no secret", INVALID, &Sent { secret: SecretKey::new(""), ..good() });
    cases.at_least(41);
}

#[test]
fn an_unsigned_payload_needs_the_callers_leave() {
    let mut cases = Cases::default();
    let mut sent = unsigned();
    sent.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    let mut sent = sign(sent);
    cases.refused("unsigned payload", INCOMPLETE, &sent);
    sent.terms.unsigned_payload = true;
    assert_eq!(sent.verify(), Ok(Verified { payload_signed: false }));
    for value in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "unsigned-payload", "e3b0"] {
        let mut sent = unsigned();
        sent.set("x-amz-content-sha256", value);
        sent.terms.unsigned_payload = true;
        cases.refused(&format!("payload {value:?}"), INVALID, &sign(sent));
    }
    cases.at_least(5);
}

#[test]
fn a_presigned_request_is_checked_as_strictly() {
    let mut cases = Cases::default();
    let base = good_presigned();
    let pairs: Vec<&str> = base.query.split('&').collect();
    for (index, pair) in pairs.iter().enumerate() {
        let (name, value) = pair.split_once('=').expect("presign writes pairs");
        let with = |pair: Option<String>| {
            let mut pairs: Vec<String> = pairs.iter().map(|&pair| pair.to_owned()).collect();
            match pair {
                Some(pair) => pairs[index] = pair,
                None => drop(pairs.remove(index)),
            }
            Sent { query: pairs.join("&"), ..base.clone() }
        };
        let is_auth = name.starts_with("X-Amz-");
        let gone = if is_auth && name != "X-Amz-Security-Token" { INCOMPLETE } else { INVALID };
        cases.refused(&format!("{name} gone"), gone, &with(None));
        let empty = with(Some(format!("{name}=")));
        cases.refused(&format!("{name} empty"), gone, &empty);
        let doubled = if is_auth { INCOMPLETE } else { INVALID };
        cases.refused(&format!("{name} doubled"), doubled, &with(Some(format!("{pair}&{pair}"))));
        let lower = with(Some(format!("{}={value}", name.to_lowercase())));
        cases.refused(&format!("{name} in lower case"), INVALID, &lower);
        if is_auth {
            let hidden = with(Some(format!("{pair}&{}={value}", name.replace('-', "%2D"))));
            cases.refused(&format!("{name} doubled in disguise"), INCOMPLETE, &hidden);
        }
    }
    let mut both = base.clone();
    both.headers.insert("authorization", good().headers["authorization"].clone());
    cases.refused("signed in both ways", INCOMPLETE, &both);
    let mut tokens = base.clone();
    tokens.set("x-amz-security-token", TOKEN);
    cases.refused("a token in both places", INCOMPLETE, &tokens);
    let mut extra = base.clone();
    extra.query.push_str("&DurationSeconds=9");
    cases.refused("a parameter more", INVALID, &extra);
    cases.at_least(45);
}

#[test]
fn a_presigned_request_has_its_time() {
    let mut cases = Cases::default();
    let base = good_presigned();
    let at = |seconds: i64| Timestamp::from_unix_ms(NOW.unix_ms + seconds * 1000);
    for seconds in [-900, 0, 900] {
        assert!(Sent { now: at(seconds), ..base.clone() }.verify().is_ok(), "{seconds}");
    }
    for seconds in [-901, 901, 100_000] {
        cases.refused("out of its time", INVALID, &Sent { now: at(seconds), ..base.clone() });
    }
    for expires in ["0", "-1", "604801", "900x", "9e2", "99999999999999999999", "%2B900"] {
        let mut sent = base.clone();
        sent.query = sent.query.replace("X-Amz-Expires=900", &format!("X-Amz-Expires={expires}"));
        cases.refused(&format!("expires {expires}"), INCOMPLETE, &sent);
    }
    let mut longer = base.clone();
    longer.query = longer.query.replace("X-Amz-Expires=900", "X-Amz-Expires=901");
    cases.refused("expires changed", INVALID, &longer);
    cases.at_least(11);
}

#[test]
fn each_protocol_says_it_in_its_own_words() {
    let faults = [
        (SignatureFault::Missing, "MissingAuthenticationToken", 403, "MissingAuthenticationToken"),
        (
            SignatureFault::Incomplete(String::new()),
            "IncompleteSignature",
            400,
            "IncompleteSignature",
        ),
        (SignatureFault::Scope(String::new()), "SignatureDoesNotMatch", 403, "AuthFailure"),
        (SignatureFault::Mismatch, "SignatureDoesNotMatch", 403, "AuthFailure"),
        (SignatureFault::Expired(String::new()), "SignatureDoesNotMatch", 403, "RequestExpired"),
        (SignatureFault::UnknownKey, "InvalidClientTokenId", 403, "AuthFailure"),
        (SignatureFault::InvalidToken, "InvalidClientTokenId", 403, "AuthFailure"),
        (SignatureFault::ExpiredToken, "ExpiredToken", 403, "RequestExpired"),
        (SignatureFault::AccessDenied(String::new()), "AccessDenied", 403, "UnauthorizedOperation"),
    ];
    for (fault, query_code, query_status, ec2_code) in faults {
        let query = fault.clone().into_fault(Protocol::AwsQuery);
        assert_eq!((query.code.as_ref(), query.status), (query_code, query_status));
        assert_eq!(fault.into_fault(Protocol::Ec2Query).code, ec2_code);
    }
}

#[test]
fn derived_keys_are_kept_but_bounded() {
    let keys = SigningKeys::new();
    let claim_of = |sent: &Sent| {
        let Sent { method, path, query, headers, .. } = sent;
        parse(&RequestParts { method, path, query, headers }).expect("it is well-formed")
    };
    let sent = good();
    let claim = claim_of(&sent);
    let Sent { method, path, query, headers, .. } = &sent;
    let parts = RequestParts { method, path, query, headers };
    let outcome = |secret: &str| {
        let key = keys.get(&claim.access_key_id, &claim.scope, &SecretKey::new(secret));
        claim.verify(&parts, &sent.body, &key, NOW, &TERMS)
    };
    assert!(outcome(SECRET_KEY).is_ok());
    assert!(outcome(SECRET_KEY).is_ok());
    assert_eq!(keys.len(), 1);
    // The same id with another secret is another key, now and when the first comes back.
    assert_eq!(outcome("another"), Err(SignatureFault::Mismatch));
    assert!(outcome(SECRET_KEY).is_ok());
    assert_eq!(keys.len(), 1);
    for n in 0..2 * crate::limits::SIGNING_KEYS_MAX {
        keys.get(&format!("AKID{n}"), &claim.scope, &SecretKey::new("secret"));
    }
    assert_eq!(keys.len(), crate::limits::SIGNING_KEYS_MAX);
    assert!(outcome(SECRET_KEY).is_ok());
}
