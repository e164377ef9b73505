//! AWS's published Signature Version 4 vectors: the same requests, key and moment, and the
//! signatures AWS says they have. Host and X-Amz-Date are the same in all of them. Each is signed,
//! verified, and verified again with one thing changed.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::sigv4::{Accepted, PathStyle, SecretKey, SignatureFault, Signer, SigningKey, parse};
use crate::{RequestParts, Timestamp};

pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2015-08-30T12:36:00Z
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_440_938_160_000);
pub const TERMS: Accepted<'static> = Accepted {
    regions: Some(&["us-east-1"]),
    services: Some(&["service"]),
    path_style: PathStyle::Normalized,
    unsigned_payload: false,
};

struct Vector {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    token: &'static str,
    signature: &'static str,
}

const PLAIN: Vector = Vector {
    name: "",
    method: "",
    path: "",
    query: "",
    headers: &[],
    body: "",
    token: "",
    signature: "",
};

const EXAMPLE_TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWs\
    KWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8p\
    hUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0\
    u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

/// All characters that are never encoded, as a name and as its value.
const UNRESERVED_BOTH: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\
    =-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const VECTORS: &[Vector] = &[
    Vector {
        name: "get-header-key-duplicate",
        method: "GET",
        path: "/",
        headers: &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
        signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ..PLAIN
    },
    Vector {
        name: "get-header-value-multiline",
        method: "GET",
        path: "/",
        headers: &[("my-header1", "value1   value2      value3")],
        signature: "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
        ..PLAIN
    },
    Vector {
        name: "get-header-value-order",
        method: "GET",
        path: "/",
        headers: &[
            ("my-header1", "value4"),
            ("my-header1", "value1"),
            ("my-header1", "value3"),
            ("my-header1", "value2"),
        ],
        signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ..PLAIN
    },
    Vector {
        name: "get-header-value-trim",
        method: "GET",
        path: "/",
        headers: &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ..PLAIN
    },
    Vector {
        name: "get-unreserved",
        method: "GET",
        path: "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ..PLAIN
    },
    Vector {
        name: "get-utf8",
        method: "GET",
        path: "/ሴ",
        signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla",
        method: "GET",
        path: "/",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-empty-query-key",
        method: "GET",
        path: "/",
        query: "Param1=value1",
        signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query",
        method: "GET",
        path: "/",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query-order-encoded",
        method: "GET",
        path: "/",
        query: "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        signature: "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query-order-key",
        method: "GET",
        path: "/",
        query: "Param1=value2&Param1=Value1",
        signature: "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query-order-key-case",
        method: "GET",
        path: "/",
        query: "Param2=value2&Param1=value1",
        signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query-order-value",
        method: "GET",
        path: "/",
        query: "Param1=value2&Param1=value1",
        signature: "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-query-unreserved",
        method: "GET",
        path: "/",
        query: UNRESERVED_BOTH,
        signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-utf8-query",
        method: "GET",
        path: "/",
        query: "ሴ=bar",
        signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ..PLAIN
    },
    Vector {
        name: "get-vanilla-with-session-token",
        method: "GET",
        path: "/",
        token: "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
        signature: "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-relative",
        method: "GET",
        path: "/example/..",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-relative-relative",
        method: "GET",
        path: "/example1/example2/../..",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-slash",
        method: "GET",
        path: "//",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-slash-dot-slash",
        method: "GET",
        path: "/./",
        signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-slash-pointless-dot",
        method: "GET",
        path: "/./example",
        signature: "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-slashes",
        method: "GET",
        path: "//example//",
        signature: "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-space",
        method: "GET",
        path: "/example space/",
        signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ..PLAIN
    },
    Vector {
        name: "normalize-path/get-special-character",
        method: "GET",
        path: "/example/$delete",
        signature: "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27",
        ..PLAIN
    },
    Vector {
        name: "post-header-key-case",
        method: "POST",
        path: "/",
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ..PLAIN
    },
    Vector {
        name: "post-header-key-sort",
        method: "POST",
        path: "/",
        headers: &[("my-header1", "value1")],
        signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ..PLAIN
    },
    Vector {
        name: "post-header-value-case",
        method: "POST",
        path: "/",
        headers: &[("my-header1", "VALUE1")],
        signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ..PLAIN
    },
    Vector {
        name: "post-sts-token/post-sts-header-after",
        method: "POST",
        path: "/",
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ..PLAIN
    },
    Vector {
        name: "post-sts-token/post-sts-header-before",
        method: "POST",
        path: "/",
        token: EXAMPLE_TOKEN,
        signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ..PLAIN
    },
    Vector {
        name: "post-vanilla",
        method: "POST",
        path: "/",
        signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ..PLAIN
    },
    Vector {
        name: "post-vanilla-empty-query-value",
        method: "POST",
        path: "/",
        query: "Param1=value1",
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ..PLAIN
    },
    Vector {
        name: "post-vanilla-query",
        method: "POST",
        path: "/",
        query: "Param1=value1",
        signature: "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ..PLAIN
    },
    Vector {
        name: "post-x-www-form-urlencoded",
        method: "POST",
        path: "/",
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: "Param1=value1",
        signature: "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ..PLAIN
    },
    Vector {
        name: "post-x-www-form-urlencoded-parameters",
        method: "POST",
        path: "/",
        headers: &[("content-type", "application/x-www-form-urlencoded; charset=utf8")],
        body: "Param1=value1",
        signature: "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        ..PLAIN
    },
];

fn headers_of(vector: &Vector) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
    for (name, value) in vector.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn signed(vector: &Vector) -> HeaderMap {
    let secret_key = SecretKey::new(SECRET_KEY);
    let signer = Signer {
        access_key_id: ACCESS_KEY_ID,
        secret_key: &secret_key,
        session_token: (!vector.token.is_empty()).then_some(vector.token),
        region: "us-east-1",
        service: "service",
        path_style: PathStyle::Normalized,
    };
    let mut headers = headers_of(vector);
    let Vector { method, path, query, .. } = *vector;
    signer.sign(method, path, query, &mut headers, vector.body.as_bytes(), NOW);
    headers
}

fn verify(vector: &Vector, headers: &HeaderMap, body: &[u8]) -> Result<(), SignatureFault> {
    let Vector { method, path, query, .. } = *vector;
    let parts = RequestParts { method, path, query, headers };
    let claim = parse(&parts)?;
    let key = SigningKey::derive(&SecretKey::new(SECRET_KEY), &claim.scope);
    claim.verify(&parts, body, &key, NOW, &TERMS).map(|_| ())
}

#[test]
fn all_of_awss_vectors_are_here() {
    assert_eq!(VECTORS.len(), 34);
}

#[test]
fn the_signer_gives_awss_signatures() {
    for vector in VECTORS {
        let headers = signed(vector);
        let text = headers["authorization"].to_str().unwrap();
        let wanted = format!("Signature={}", vector.signature);
        assert!(text.ends_with(&wanted), "{}: {text}, not {wanted}", vector.name);
    }
}

#[test]
fn the_verifier_takes_awss_signatures() {
    for vector in VECTORS {
        let outcome = verify(vector, &signed(vector), vector.body.as_bytes());
        assert_eq!(outcome, Ok(()), "{}", vector.name);
    }
}

#[test]
fn a_changed_request_is_refused() {
    for vector in VECTORS {
        let headers = signed(vector);
        let mismatch = Err(SignatureFault::Mismatch);
        let name = vector.name;
        assert_eq!(verify(vector, &headers, b"another body"), mismatch, "{name}: body");
        let body = vector.body.as_bytes();
        let other = Vector { method: "PUT", ..*vector };
        assert_eq!(verify(&other, &headers, body), mismatch, "{name}: method");
        let path = format!("{}x", vector.path).leak();
        assert_eq!(verify(&Vector { path, ..*vector }, &headers, body), mismatch, "{name}: path");
        let query = format!("{}&x", vector.query).leak();
        assert_eq!(verify(&Vector { query, ..*vector }, &headers, body), mismatch, "{name}: query");
        for header in ["host", "my-header1", "my-header2", "content-type", "x-amz-security-token"] {
            if !headers.contains_key(header) {
                continue;
            }
            let mut changed = headers.clone();
            changed.insert(header, HeaderValue::from_static("changed"));
            assert_eq!(verify(vector, &changed, body), mismatch, "{name}: {header} changed");
            changed.remove(header);
            assert_eq!(verify(vector, &changed, body), mismatch, "{name}: {header} gone");
        }
    }
}
