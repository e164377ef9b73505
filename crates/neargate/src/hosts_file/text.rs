//! The text of a hosts file with our lines in it. Every line of ours says in a comment whose it is,
//! so none is ever taken for another's, wherever it has got to; what isn't ours stays as it is,
//! byte for byte. Ours come last: what stands before them is never written again.

use std::net::Ipv4Addr;

/// Before the mark's tag, on each line of ours.
const MARK: &str = "# neargate ";
/// Follows the mark of our first line when the line before it had no end of its own.
const JOINED: &str = " (the line before had no end)";

/// The text with just these names as the tag's; without any, the text as it was before the first.
pub fn with_names(text: &[u8], tag: &str, names: &[(Ipv4Addr, String)]) -> Vec<u8> {
    let mut rest = without(text, tag);
    if names.is_empty() {
        return rest;
    }
    let joined = rest.last().is_some_and(|last| *last != b'\n');
    if joined {
        rest.push(b'\n');
    }
    let note = if joined { JOINED } else { "" };
    let mut lines =
        format!("# Load balancers, kept here while they are served {MARK}{tag}{note}\n");
    for (address, name) in names {
        lines.push_str(&format!("{address}\t{name}\t{MARK}{tag}\n"));
    }
    rest.extend_from_slice(lines.as_bytes());
    rest
}

fn without(text: &[u8], tag: &str) -> Vec<u8> {
    let mark = format!("{MARK}{tag}");
    let joined = format!("{mark}{JOINED}");
    let mut rest = Vec::with_capacity(text.len());
    // Where a line of others' got its end from us.
    let mut borrowed = None;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let words = line.trim_ascii_end();
        if words.ends_with(joined.as_bytes()) {
            borrowed = Some(rest.len());
        } else if !words.ends_with(mark.as_bytes()) {
            rest.extend_from_slice(line);
        }
    }
    // Somebody may have written something behind it since, or taken that line away.
    if borrowed == Some(rest.len()) && rest.last() == Some(&b'\n') {
        rest.pop();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[(u8, &str)]) -> Vec<(Ipv4Addr, String)> {
        let of = |(last, name): &(u8, &str)| (Ipv4Addr::new(198, 19, 0, *last), (*name).to_owned());
        all.iter().map(of).collect()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("text")
    }

    #[test]
    fn names_come_and_go_and_nothing_else_changes() {
        let others = [
            &b""[..],
            b"127.0.0.1 localhost\n",
            b"127.0.0.1 localhost",
            b"# comment only",
            b"\n\n\n",
            b"127.0.0.1 a\r\n::1 b\r\n",
            b"\xff\xfe not text at all\n127.0.0.1 x # neargate\n",
            b"10.0.0.1 x # neargate 0123abcdef\n",
        ];
        for before in others {
            let with =
                with_names(before, "0123abcd", &names(&[(5, "web-1.elb"), (6, "web-1.elb")]));
            assert!(with.starts_with(before));
            let tail = String::from_utf8_lossy(&with[before.len()..]).into_owned();
            assert!(tail.contains("\n198.19.0.5\tweb-1.elb\t# neargate 0123abcd\n"), "{tail}");
            assert_eq!(with_names(&with, "0123abcd", &[]), before);
            assert_eq!(with_names(before, "0123abcd", &[]), before, "nothing to take away");
        }
    }

    #[test]
    fn what_an_earlier_server_of_the_same_state_left_is_replaced() {
        let old = with_names(b"127.0.0.1 localhost", "aaaa", &names(&[(5, "old.elb")]));
        let new = with_names(&old, "aaaa", &names(&[(6, "new.elb")]));
        assert!(!text(&new).contains("old.elb") && text(&new).contains("198.19.0.6\tnew.elb"));
        assert_eq!(with_names(&new, "aaaa", &names(&[(6, "new.elb")])), new, "once is enough");
        assert_eq!(with_names(&new, "aaaa", &[]), b"127.0.0.1 localhost");
    }

    #[test]
    fn servers_do_not_touch_each_others_lines() {
        let before = b"127.0.0.1 localhost\n";
        let one = with_names(before, "aaaa", &names(&[(5, "one.elb")]));
        let both = with_names(&one, "bbbb", &names(&[(6, "two.elb")]));
        assert!(both.starts_with(&one));
        let two = with_names(&both, "aaaa", &[]);
        assert_eq!(two, with_names(before, "bbbb", &names(&[(6, "two.elb")])));
        assert_eq!(with_names(&two, "bbbb", &[]), before);
        // A tag that another begins with is another.
        assert_eq!(with_names(&both, "bbb", &[]), both);
    }

    #[test]
    fn lines_that_were_moved_or_edited_around_are_found() {
        let with = with_names(b"127.0.0.1 localhost", "aaaa", &names(&[(5, "one.elb")]));
        let mut lines: Vec<&str> = text(&with).lines().collect();
        lines.reverse();
        let moved = lines.join("\r\n");
        assert_eq!(with_names(moved.as_bytes(), "aaaa", &[]), b"127.0.0.1 localhost");
        // Somebody's line came behind ours: the end of the one before is theirs by now.
        let behind = [&with[..], b"10.0.0.1 db\n"].concat();
        let rest = with_names(&behind, "aaaa", &[]);
        assert_eq!(text(&rest), "127.0.0.1 localhost\n10.0.0.1 db\n");
    }
}
