//! The little XML that S3 answers with, read as far as is needed: the text of elements by their
//! name, wherever they stand. S3's lists have no attributes on what matters here, no comments and
//! no CDATA.

/// The elements of a name, what is inside of them as it stands. They do not hold each other.
pub fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        let inside = &rest[start + open.len()..];
        let Some(end) = inside.find(&close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// The text of the first element of a name.
pub fn text(within: &str, name: &str) -> Option<String> {
    Some(unescape(elements(within, name).first()?))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').unwrap_or(0);
        match character(&rest[..end]) {
            Some(character) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// What `&name` (without the semicolon) stands for.
fn character(entity: &str) -> Option<char> {
    match entity.strip_prefix('&')? {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lists_hold_is_found() {
        let list = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><Name>b</Name>\
                    <Contents><Key>a&amp;b&#x41;&#66;&</Key><Size>1</Size></Contents>\
                    <Contents><Key>c</Key><Size>2</Size></Contents></ListBucketResult>";
        let found = elements(list, "Contents");
        assert_eq!(found.len(), 2);
        assert_eq!(text(found[0], "Key").as_deref(), Some("a&bAB&"));
        assert_eq!(text(found[1], "Size").as_deref(), Some("2"));
        assert_eq!(text(list, "NextContinuationToken"), None);
        assert_eq!(unescape(&escape("<a&b>")), "<a&b>");
        assert_eq!(elements("<A>cut off", "A"), [""; 0]);
    }
}
