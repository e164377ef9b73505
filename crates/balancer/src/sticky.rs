//! Cookies that keep a client with its target or target group. A cookie names its target by a tag
//! only we can make, and carries its end and a seal, so that nobody can read an address out of it,
//! choose a target, or stay longer than is set. Source: ELB user guide, "Sticky sessions".

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::TargetGroupId;
use model::balancing::{Stickiness, TargetKey};
use ring::hmac;

/// Names a target or a group in cookies.
pub type Tag = [u8; 16];

pub const TARGET: &str = "AWSALB";
pub const TARGET_CORS: &str = "AWSALBCORS";
pub const GROUP: &str = "AWSALBTG";
pub const GROUP_CORS: &str = "AWSALBTGCORS";
pub const APPLICATION: &str = "AWSALBAPP-0";

pub struct Seal(hmac::Key);

impl Seal {
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, seed))
    }

    fn first16(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
            context.update(&[0]);
        }
        context.sign().as_ref()[..16].try_into().expect("it is 32 bytes long")
    }

    pub fn target_tag(&self, key: &TargetKey) -> Tag {
        let port = key.port.to_be_bytes();
        self.first16(&[b"target", key.group.as_str().as_bytes(), key.id.as_bytes(), &port])
    }

    pub fn group_tag(&self, group: &TargetGroupId) -> Tag {
        self.first16(&[b"group", group.as_str().as_bytes()])
    }

    /// A cookie's value that is good until `ends`, in seconds of Unix time.
    pub fn value(&self, name: &str, tag: &Tag, ends: u64) -> String {
        let mut sealed = [0; 40];
        sealed[..16].copy_from_slice(tag);
        sealed[16..24].copy_from_slice(&ends.to_be_bytes());
        let mark = self.first16(&[b"cookie", name.as_bytes(), &sealed[..24]]);
        sealed[24..].copy_from_slice(&mark);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The tag in a value that we made for this name and that has not ended.
    pub fn open(&self, name: &str, value: &str, now: u64) -> Option<Tag> {
        let mut sealed = [0; 40];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut sealed).ok()?;
        let mark = self.first16(&[b"cookie", name.as_bytes(), &sealed[..24]]);
        // A guess at a mark is worth nothing: all it buys is a target of one's choice.
        let ends = u64::from_be_bytes(sealed[16..24].try_into().expect("eight bytes"));
        (length == 40 && mark == sealed[24..] && now < ends)
            .then(|| sealed[..16].try_into().expect("sixteen bytes"))
    }
}

/// The value of a cookie in a Cookie header.
pub fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What a chosen target's answer is to set, as values of Set-Cookie. `application`: whether the
/// target's answer sets the application's own cookie.
pub fn set_cookies(
    seal: &Seal,
    group: Option<(&Tag, u32)>,
    target: Option<(&Tag, &Stickiness)>,
    application: bool,
    now: u64,
) -> Vec<String> {
    let mut cookies = Vec::new();
    let mut pair = |name: &str, cors: &str, tag: &Tag, seconds: u32| {
        let ends = now + u64::from(seconds);
        let value = seal.value(name, tag, ends);
        let until = crate::time::http_date_at(ends);
        cookies.push(format!("{name}={value}; Expires={until}; Path=/"));
        cookies.push(format!("{cors}={value}; Expires={until}; Path=/; SameSite=None; Secure"));
    };
    if let Some((tag, seconds)) = group {
        pair(GROUP, GROUP_CORS, tag, seconds);
    }
    match target {
        Some((tag, Stickiness::Balancer { seconds })) => pair(TARGET, TARGET_CORS, tag, *seconds),
        Some((tag, Stickiness::Application { seconds, .. })) if application => {
            let value = seal.value(APPLICATION, tag, now + u64::from(*seconds));
            cookies.push(format!("{APPLICATION}={value}; Path=/"));
        }
        _ => {}
    }
    cookies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_name_and_time_only() {
        let seal = Seal::new(&[7; 32]);
        let tag = seal.group_tag(&TargetGroupId::from("a"));
        let value = seal.value(TARGET, &tag, 100);
        assert_eq!(seal.open(TARGET, &value, 99), Some(tag));
        assert_eq!(seal.open(TARGET, &value, 100), None);
        assert_eq!(seal.open(GROUP, &value, 99), None);
        assert_eq!(Seal::new(&[8; 32]).open(TARGET, &value, 99), None);
        for at in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("it is text");
            assert_eq!(seal.open(TARGET, &changed, 99), None, "{at}");
        }
        for other in ["", "x", "AAAA", &format!("{value}AA")] {
            assert_eq!(seal.open(TARGET, other, 99), None);
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let header = "a=b; AWSALBTG=group;AWSALB=target==; c";
        assert_eq!(cookie(header, TARGET), Some("target=="));
        assert_eq!(cookie(header, GROUP), Some("group"));
        assert_eq!(cookie(header, APPLICATION), None);
    }

    #[test]
    fn the_applications_cookie_is_followed_when_it_is_set() {
        let seal = Seal::new(&[7; 32]);
        let tag = [1; 16];
        let follows = Stickiness::Application { cookie: "SID".to_owned(), seconds: 60 };
        let set = |application| set_cookies(&seal, None, Some((&tag, &follows)), application, 1);
        assert_eq!(set(false), Vec::<String>::new());
        assert!(set(true)[0].starts_with("AWSALBAPP-0=") && !set(true)[0].contains("Expires"));
        let own = Stickiness::Balancer { seconds: 60 };
        let both = set_cookies(&seal, Some((&tag, 5)), Some((&tag, &own)), false, 1);
        let names = both.iter().map(|cookie| cookie.split('=').next().unwrap_or(""));
        assert_eq!(names.collect::<Vec<_>>(), [GROUP, GROUP_CORS, TARGET, TARGET_CORS]);
    }
}
