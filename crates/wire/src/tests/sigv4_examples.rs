//! The worked examples of AWS's documentation: S3, whose paths are signed as they are sent and
//! whose bodies may go unsigned, in a header and in a presigned URL; and IAM's query protocol.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::sigv4::{Accepted, PathStyle, SecretKey, Signer, SigningKey, Verified, parse};
use crate::{RequestParts, Timestamp};

struct Example {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    signature: &'static str,
}

const S3_HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");
/// 2013-05-24T00:00:00Z
const S3_NOW: Timestamp = Timestamp::from_unix_ms(1_369_353_600_000);
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const S3_EXAMPLES: &[Example] = &[
    Example {
        method: "GET",
        path: "/test.txt",
        query: "",
        headers: &[S3_HOST, ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
        body: b"",
        signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    Example {
        method: "PUT",
        path: "/test%24file.text",
        query: "",
        headers: &[
            S3_HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            (
                "x-amz-content-sha256",
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
        ],
        body: b"Welcome to Amazon S3.",
        signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    Example {
        method: "GET",
        path: "/",
        query: "lifecycle",
        headers: &[S3_HOST, ("x-amz-content-sha256", EMPTY)],
        body: b"",
        signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    Example {
        method: "GET",
        path: "/",
        query: "max-keys=2&prefix=J",
        headers: &[S3_HOST, ("x-amz-content-sha256", EMPTY)],
        body: b"",
        signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
];

fn signer<'a>(secret_key: &'a SecretKey, id: &'a str, service: &'a str) -> Signer<'a> {
    let path_style = if service == "s3" { PathStyle::AsSent } else { PathStyle::Normalized };
    Signer {
        access_key_id: id,
        secret_key,
        session_token: None,
        region: "us-east-1",
        service,
        path_style,
    }
}

fn headers_of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    pairs.iter().map(pair).collect()
}

const S3_TERMS: Accepted<'static> = Accepted {
    regions: Some(&["us-east-1"]),
    services: Some(&["s3"]),
    path_style: PathStyle::AsSent,
    unsigned_payload: true,
};

#[test]
fn s3_headers() {
    let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    for example in S3_EXAMPLES {
        let mut headers = headers_of(example.headers);
        let Example { method, path, query, body, .. } = *example;
        let signer = signer(&secret, "AKIAIOSFODNN7EXAMPLE", "s3");
        signer.sign(method, path, query, &mut headers, body, S3_NOW);
        let text = headers["authorization"].to_str().unwrap();
        assert!(text.ends_with(example.signature), "{path}?{query}: {text}");
        let parts = RequestParts { method, path, query, headers: &headers };
        let claim = parse(&parts).unwrap();
        let key = SigningKey::derive(&secret, &claim.scope);
        let verified = claim.verify(&parts, body, &key, S3_NOW, &S3_TERMS);
        assert_eq!(verified, Ok(Verified { payload_signed: true }));
    }
}

#[test]
fn s3_presigned() {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let headers = headers_of(&[S3_HOST]);
    let parts = RequestParts { method: "GET", path: "/test.txt", query, headers: &headers };
    let claim = parse(&parts).unwrap();
    assert!(claim.is_presigned());
    assert_eq!(claim.expires_seconds, Some(86_400));
    let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let key = SigningKey::derive(&secret, &claim.scope);
    let verified = claim.verify(&parts, b"", &key, S3_NOW, &S3_TERMS);
    assert_eq!(verified, Ok(Verified { payload_signed: false }));
    // On other terms the body counts, and this signature says nothing about one.
    let strict = Accepted { unsigned_payload: false, ..S3_TERMS };
    assert!(claim.verify(&parts, b"", &key, S3_NOW, &strict).is_err());
}

#[test]
fn iam_query() {
    let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let mut headers = headers_of(&[
        ("host", "iam.amazonaws.com"),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
    ]);
    let signer = signer(&secret, "AKIDEXAMPLE", "iam");
    let query = "Action=ListUsers&Version=2010-05-08";
    let now = super::sigv4_vectors::NOW;
    signer.sign("GET", "/", query, &mut headers, b"", now);
    assert_eq!(
        headers["authorization"],
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}
