//! PEM: blocks of base64 between a line that begins and one that ends. What stands between blocks
//! is commentary.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub label: String,
    pub bytes: Vec<u8>,
}

/// All blocks of a text; None when one does not end as it began, or is no base64.
pub fn read(text: &str) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        let label = |prefix: &str| line.strip_prefix(prefix)?.strip_suffix("-----");
        if let Some(label) = label("-----BEGIN ") {
            if open.is_some() {
                return None;
            }
            open = Some((label.to_owned(), String::new()));
        } else if let Some(end) = label("-----END ") {
            let (label, base64) = open.take().filter(|(label, _)| label == end)?;
            blocks.push(Block { label, bytes: STANDARD.decode(base64).ok()? });
        } else if let Some((_, base64)) = &mut open {
            base64.push_str(line);
        }
    }
    open.is_none().then_some(blocks)
}

pub fn write(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let base64 = STANDARD.encode(bytes);
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes: Vec<u8> = (0..200).collect();
        let text = write("CERTIFICATE", &bytes);
        let two = format!("subject=x\r\n{text}\n{}", text.replace('\n', "\r\n"));
        let blocks = read(&two).expect("valid");
        assert_eq!(blocks.len(), 2);
        assert!(blocks.iter().all(|it| it.label == "CERTIFICATE" && it.bytes == bytes));
        assert_eq!(read("nothing"), Some(Vec::new()));
        for bad in [
            "-----BEGIN A-----\nAAAA",
            "-----BEGIN A-----\nA\n-----END A-----",
            "-----BEGIN A-----\n-----END B-----",
            "-----END A-----",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
