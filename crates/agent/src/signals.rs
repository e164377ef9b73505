//! Names of signals, as images write them in STOPSIGNAL: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

/// Numbers on x86-64 and aarch64 Linux.
const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// None: no signal's name or number.
pub fn number(text: &str) -> Option<i32> {
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let realtime = |from: i32, rest: &str| match rest {
        "" => Some(from),
        _ => rest.parse::<i32>().ok().map(|offset| from + offset),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => realtime(RTMIN, rest)?,
        (_, Some(rest)) => realtime(RTMAX, rest)?,
        _ => NAMES.iter().find(|(known, _)| *known == name)?.1,
    };
    (1..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_form_images_use_is_read() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGNOPE", None),
            ("0", None),
            ("65", None),
            ("", None),
        ] {
            assert_eq!(super::number(text), number, "{text}");
        }
    }
}
