//! The three spellings of a moment that signatures use: `20150830T123600Z`, its date alone, and
//! HTTP's `Sun, 30 Aug 2015 12:36:00 GMT`. All in whole seconds since 1970, UTC.

use crate::Timestamp;
use crate::scalar::{days_from_civil, is_date, number};

const SECONDS_PER_DAY: i64 = 86_400;

/// Reads `20150830T123600Z`.
pub fn parse_basic(text: &str) -> Option<i64> {
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..16) != Some("Z") {
        return None;
    }
    let time = (number(text.get(9..11))?, number(text.get(11..13))?, number(text.get(13..15))?);
    seconds(date(text.get(0..8)?)?, time)
}

/// Reads `20150830` as a day number; none if there is no such day.
pub fn parse_date(text: &str) -> Option<i64> {
    date(text).map(|(year, month, day)| days_from_civil(year, month, day))
}

fn date(text: &str) -> Option<(i64, i64, i64)> {
    if text.len() != 8 {
        return None;
    }
    let date = (number(text.get(0..4))?, number(text.get(4..6))?, number(text.get(6..8))?);
    is_date(date.0, date.1, date.2).then_some(date)
}

/// Reads the fixed form of HTTP's dates, the only one RFC 9110 lets a sender use. The name of the
/// weekday is not checked against the date: it carries nothing.
pub fn parse_http(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let rest = text.get(3..)?.strip_prefix(", ")?.strip_suffix(" GMT")?;
    if rest.len() != 20 || !rest.is_ascii() {
        return None;
    }
    let marks = [2, 6, 11, 14, 17].map(|at| rest.as_bytes()[at]);
    if marks != *b"   ::" {
        return None;
    }
    let name = &rest[3..6];
    let month = (0..12).find(|at| MONTHS[at * 3..at * 3 + 3] == *name)?;
    let month = i64::try_from(month).expect("there are twelve") + 1;
    let (day, year) = (number(rest.get(0..2))?, number(rest.get(7..11))?);
    let time = (number(rest.get(12..14))?, number(rest.get(15..17))?, number(rest.get(18..20))?);
    if !is_date(year, month, day) {
        return None;
    }
    seconds((year, month, day), time)
}

fn seconds((year, month, day): (i64, i64, i64), time: (i64, i64, i64)) -> Option<i64> {
    let (hour, minute, second) = time;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
}

/// Writes `20150830T123600Z`.
pub fn basic(unix_s: i64) -> String {
    let mut text = Timestamp::from_unix_ms(unix_s.saturating_mul(1000)).iso8601(false);
    text.retain(|c| c != '-' && c != ':');
    text
}
