//! Log lines that belong together, as awslogs has it: with `awslogs-multiline-pattern` or
//! `awslogs-datetime-format` a line that matches begins an event, and others are added to the one
//! before. An event whose end nobody has seen yet waits a while for more lines.
//! Source: Docker's documentation of the awslogs driver; developer guide, using_awslogs.

use crate::limits::LOG_EVENT_BYTES_MAX;
use model::session::LogLine;
use model::task_definition::LogConfiguration;
use regex_lite::Regex;
use runtime::spool::LogRecord;

/// What a directive of strftime stands for in a log line.
const DIRECTIVES: [(char, &str); 19] = [
    ('a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    ('A', "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"),
    ('w', "[0-6]"),
    ('d', "(?:0[1-9]|[12][0-9]|3[01])"),
    ('b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
    (
        'B',
        "(?:January|February|March|April|May|June|July|August|September|October|November|December)",
    ),
    ('m', "(?:0[1-9]|1[0-2])"),
    ('Y', r"\d{4}"),
    ('y', r"\d{2}"),
    ('H', "(?:[01][0-9]|2[0-3])"),
    ('I', "(?:0[0-9]|1[0-2])"),
    ('p', "[AP]M"),
    ('M', "[0-5][0-9]"),
    ('S', "[0-5][0-9]"),
    ('L', r"\.\d{3}"),
    ('f', r"\d{6}"),
    ('z', r"[+-]\d{4}"),
    ('Z', "[A-Z]{1,4}T"),
    ('j', "(?:[0-2][0-9][0-9]|3[0-5][0-9]|36[0-6])"),
];

/// Options that make no pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternFailure {
    #[error(
        "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' \
         at the same time"
    )]
    Both,
    #[error("awslogs could not parse multiline pattern option {pattern:?}: {source}")]
    Unreadable { pattern: String, source: regex_lite::Error },
}

/// How events begin.
pub struct Beginnings(Regex);

impl Beginnings {
    /// None: each line is an event.
    pub fn of(log: &LogConfiguration) -> Result<Option<Self>, PatternFailure> {
        let pattern = match (&log.multiline_pattern, &log.datetime_format) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(PatternFailure::Both),
            (Some(pattern), None) => pattern.clone(),
            (None, Some(format)) => of_format(format),
        };
        match Regex::new(&pattern) {
            Ok(regex) => Ok(Some(Self(regex))),
            Err(source) => Err(PatternFailure::Unreadable { pattern, source }),
        }
    }

    fn begins(&self, record: &LogRecord) -> bool {
        self.0.is_match(&String::from_utf8_lossy(&record.bytes))
    }

    /// How many of the first records are events that are whole: all up to the last one that begins
    /// an event, or all of them when there is too much for one event.
    pub fn whole(&self, records: &[LogRecord]) -> usize {
        let last = records.iter().rposition(|record| self.begins(record)).unwrap_or(0);
        let bytes: usize = records.iter().map(|record| record.bytes.len() + 1).sum();
        if last == 0 && bytes >= LOG_EVENT_BYTES_MAX { records.len() } else { last }
    }

    /// Records as events; each line keeps its end, and an event has its first line's time.
    pub fn events(&self, records: &[LogRecord]) -> Vec<LogLine> {
        let mut events: Vec<LogLine> = Vec::new();
        for record in records {
            let line = String::from_utf8_lossy(&record.bytes);
            match events.last_mut() {
                Some(event)
                    if !self.begins(record)
                        && event.message.len() + line.len() < LOG_EVENT_BYTES_MAX =>
                {
                    event.message.push_str(&line);
                }
                _ => events.push(LogLine { at: record.at, message: line.into_owned() }),
            }
            let event = events.last_mut().expect("one was just there");
            if event.message.len() < LOG_EVENT_BYTES_MAX {
                event.message.push('\n');
            }
        }
        events
    }
}

/// Directives become what they stand for; all else is a pattern as it is, as with Docker.
fn of_format(format: &str) -> String {
    let mut pattern = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            pattern.push(c);
            continue;
        }
        let directive = rest.next();
        let known = DIRECTIVES.iter().find(|(name, _)| Some(*name) == directive);
        pattern.push_str(known.map_or("", |(_, meaning)| meaning));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;
    use runtime::spool::LogStream;

    fn log(pattern: Option<&str>, format: Option<&str>) -> LogConfiguration {
        LogConfiguration {
            group: "g".to_owned(),
            region: "r".to_owned(),
            stream_prefix: "p".to_owned(),
            create_group: false,
            non_blocking: false,
            buffer_bytes_max: 0,
            multiline_pattern: pattern.map(str::to_owned),
            datetime_format: format.map(str::to_owned),
        }
    }

    fn records(lines: &[&str]) -> Vec<LogRecord> {
        let record = |(at, line): (usize, &&str)| LogRecord {
            at: Timestamp(i64::try_from(at).expect("few")),
            stream: LogStream::Stdout,
            partial: false,
            bytes: line.as_bytes().to_vec(),
        };
        lines.iter().enumerate().map(record).collect()
    }

    fn beginnings(pattern: Option<&str>, format: Option<&str>) -> Beginnings {
        Beginnings::of(&log(pattern, format)).expect("a pattern").expect("there is one")
    }

    #[test]
    fn lines_that_do_not_begin_an_event_are_added_to_the_one_before() {
        let begins = beginnings(Some("^(INFO|ERROR)"), None);
        let all = records(&["  tail", "INFO a", "ERROR b", "  at x", "", "INFO c"]);
        assert_eq!(begins.whole(&all), 5, "INFO c may go on");
        let events = begins.events(&all[..5]);
        let told: Vec<_> = events.iter().map(|e| (e.at.0, e.message.as_str())).collect();
        assert_eq!(told, [(0, "  tail\n"), (1, "INFO a\n"), (2, "ERROR b\n  at x\n\n")]);
        assert_eq!(begins.whole(&all[..1]), 0);
    }

    #[test]
    fn a_date_begins_an_event() {
        let begins = beginnings(None, Some(r"\[%b %d, %Y %H:%M:%S\]"));
        let all = records(&["[May 01, 2017 19:00:01] a", "b", "[May 01, 2017 25:00:01] c"]);
        assert_eq!(begins.events(&all).len(), 1, "there is no hour 25");
        assert!(beginnings(None, Some("%Y-%m-%d")).begins(&records(&["x 2026-11-21"])[0]));
    }

    #[test]
    fn an_event_has_an_end_at_last() {
        let begins = beginnings(Some("^NEVER"), None);
        let line = "x".repeat(100_000);
        let all = records(&[&line, &line, &line]);
        assert_eq!(begins.whole(&all[..2]), 0);
        assert_eq!(begins.whole(&all), 3);
        let bytes: Vec<_> = begins.events(&all).iter().map(|e| e.message.len()).collect();
        assert_eq!(bytes, [200_002, 100_001]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        assert!(Beginnings::of(&log(None, None)).expect("none").is_none());
        let both = Beginnings::of(&log(Some("a"), Some("%Y"))).err().expect("both");
        assert!(both.to_string().contains("at the same time"), "{both}");
        let bad = Beginnings::of(&log(Some("("), None)).err().expect("no pattern");
        assert!(bad.to_string().starts_with("awslogs could not parse multiline pattern"), "{bad}");
    }
}
