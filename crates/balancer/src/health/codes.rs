//! Which codes of an answer are wanted: single ones and ranges, as in `200-299,404`.

/// Whether the matcher of a health check names the code. One that can't be read names none: the API
/// refuses such.
pub fn wanted(matcher: &str, code: u32) -> bool {
    matcher.split(',').any(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        match (from.trim().parse::<u32>(), to.trim().parse::<u32>()) {
            (Ok(from), Ok(to)) => (from..=to).contains(&code),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn single_codes_and_ranges_are_matched() {
        let cases = [
            ("200", 200, true),
            ("200", 201, false),
            ("200-299,404", 299, true),
            ("200-299, 404", 404, true),
            ("200-299,404", 300, false),
            ("0", 0, true),
            ("0-99", 12, true),
            ("", 200, false),
            ("x-y", 200, false),
        ];
        for (matcher, code, expected) in cases {
            assert_eq!(wanted(matcher, code), expected, "{matcher} {code}");
        }
    }
}
