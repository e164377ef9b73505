//! Damaged requests by the thousand, from fixed seeds: nothing panics, and what still passes for
//! signed means the same as what was signed.

use http::{HeaderMap, HeaderValue};

use super::sigv4_vectors::{ACCESS_KEY_ID, NOW, SECRET_KEY, TERMS};
use crate::sigv4::{PathStyle, SecretKey, Signer, SigningKey, canonical, parse};
use crate::{Request, RequestParts, classify, ec2, ecs, json};

const ROUNDS: usize = 20_000;

/// A small generator (xorshift64*), so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).expect("31 bits") % sides
    }

    /// One to three bytes changed, dropped, doubled or swapped for a telling character.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        const TELLING: &[u8] = b"&=%+/;,. \"{}[]:0A\x7f\xff";
        let mut out = bytes.to_vec();
        for _ in 0..=self.roll(3) {
            if out.is_empty() {
                out.push(b'x');
            }
            let at = self.roll(out.len());
            match self.roll(5) {
                0 => out[at] ^= 1 << self.roll(8),
                1 => drop(out.remove(at)),
                2 => out.insert(at, out[at]),
                3 => out[at] = TELLING[self.roll(TELLING.len())],
                _ => out.truncate(at),
            }
        }
        out
    }
}

fn signer(secret_key: &SecretKey) -> Signer<'_> {
    Signer {
        access_key_id: ACCESS_KEY_ID,
        secret_key,
        session_token: Some("token"),
        region: "us-east-1",
        service: "service",
        path_style: PathStyle::Normalized,
    }
}

fn host() -> HeaderMap {
    [(http::header::HOST, HeaderValue::from_static("example.com"))].into_iter().collect()
}

#[test]
fn a_damaged_authorization_header_verifies_only_if_it_says_the_same() {
    let secret = SecretKey::new(SECRET_KEY);
    let mut headers = host();
    signer(&secret).sign("POST", "/", "", &mut headers, b"body", NOW);
    let good = headers["authorization"].clone();
    let mut dice = Dice(1);
    for round in 0..ROUNDS {
        let damaged = dice.damage(good.as_bytes());
        let Ok(value) = HeaderValue::from_bytes(&damaged) else { continue };
        headers.insert("authorization", value);
        let parts = RequestParts { method: "POST", path: "/", query: "", headers: &headers };
        let Ok(claim) = parse(&parts) else { continue };
        let key = SigningKey::derive(&secret, &claim.scope);
        if claim.verify(&parts, b"body", &key, NOW, &TERMS).is_ok() {
            // White space between the parts is all the freedom there is, and who calls is not
            // under the signature: their secret is, which the caller looks up by this very name.
            let bare = |bytes: &[u8]| -> String {
                let text = String::from_utf8_lossy(bytes).replace(' ', "");
                let from = text.find('/').expect("a verified credential has slashes");
                text[from..].to_owned()
            };
            assert_eq!(bare(&damaged), bare(good.as_bytes()), "round {round}");
        }
    }
}

#[test]
fn a_damaged_presigned_query_verifies_only_if_it_means_the_same() {
    let secret = SecretKey::new(SECRET_KEY);
    let headers = host();
    let query = "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A0%3Arole%2Fa%20b&Empty=&Bare";
    let parts = RequestParts { method: "GET", path: "/", query, headers: &headers };
    let good = signer(&secret).presign(&parts, b"", NOW, 900);
    let meaning = |query: &str| {
        let named = |(name, value): (Vec<u8>, Vec<u8>)| {
            // The access key id is looked up, not signed.
            let id = name == b"X-Amz-Credential";
            let from = value.iter().position(|byte| *byte == b'/').unwrap_or(0);
            (name, if id { value[from..].to_vec() } else { value })
        };
        let mut pairs: Vec<_> = canonical::parameters(query).map(named).collect();
        pairs.sort();
        pairs
    };
    let mut dice = Dice(2);
    let mut verified = 0;
    for round in 0..ROUNDS {
        let Ok(damaged) = String::from_utf8(dice.damage(good.as_bytes())) else { continue };
        let parts = RequestParts { query: &damaged, ..parts };
        let Ok(claim) = parse(&parts) else { continue };
        let key = SigningKey::derive(&secret, &claim.scope);
        if claim.verify(&parts, b"", &key, NOW, &TERMS).is_ok() {
            verified += 1;
            assert_eq!(meaning(&damaged), meaning(&good), "round {round}: {damaged}");
        }
    }
    assert!(verified > 0, "the dice never hit a harmless spelling, so this shows nothing");
}

#[test]
fn damaged_bodies_are_read_or_refused() {
    let run_task = br#"{"cluster":"c","count":2,"launchType":"FARGATE","taskDefinition":"web:1",
        "tags":[{"key":"k","value":"v"}],"overrides":{"containerOverrides":[{"name":"a",
        "command":["x"],"environment":[{"name":"K","value":"V"}],"cpu":256}]}}"#;
    let mut dice = Dice(3);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        match json::decode::<ecs::RunTaskRequest>(&dice.damage(run_task)) {
            Ok(request) => {
                read += 1;
                std::hint::black_box(request.violations());
            }
            Err(error) => {
                refused += 1;
                assert!(!error.message().is_empty());
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}

#[test]
fn damaged_forms_are_read_or_refused() {
    let form = b"Action=DescribeSubnets&Version=2016-11-15&Filter.1.Name=vpc-id&Filter.1.Value.1=a\
        &Filter.1.Value.2=b&SubnetId.1=s&MaxResults=5&DryRun=false";
    let mut headers = host();
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert("content-type", content_type);
    let parts = RequestParts { method: "POST", path: "/", query: "", headers: &headers };
    let mut dice = Dice(4);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let body = dice.damage(form);
        match classify(&parts, Some("ec2"), &body) {
            Ok(call) if call.operation.name == "DescribeSubnets" => {
                match call.decode::<ec2::DescribeSubnetsRequest>() {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
            Ok(_) => {}
            Err(unclassified) => {
                refused += 1;
                unclassified.fault.render(unclassified.protocol, unclassified.service, "id");
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
}
