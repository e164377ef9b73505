//! The two ways in which S3 writes a time: `Last-Modified` headers as HTTP has them, lists as
//! `2026-11-21T15:00:00.000Z`.

use model::time::day_number;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sat, 21 Nov 2026 15:00:00 GMT`.
pub fn http(text: &str) -> Option<SystemTime> {
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut words = rest.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = words.next()?.parse().ok()?;
    moment(year, month, day, words.next()?)
}

/// Fractions of a second are left out: nothing here turns on them.
pub fn iso(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let mut parts = date.split('-').map(|part| part.parse::<u32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    moment(year, month, day, time.split(['.', '+']).next()?)
}

fn moment(year: u32, month: u32, day: u32, time: &str) -> Option<SystemTime> {
    let mut parts = time.split(':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let days = u64::try_from(day_number(year, month, day)).ok().filter(|_| in_range)?;
    let of_day = u64::from((hour * 60 + minute) * 60 + second);
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + of_day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_mean_the_same() {
        for (header, list, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z", 0),
            ("Sat, 21 Nov 2026 15:00:01 GMT", "2026-11-21T15:00:01.500Z", 1_795_273_201),
            ("Thu, 29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59Z", 1_709_251_199),
            ("Fri, 31 Dec 1999 00:00:00 GMT", "1999-12-31T00:00:00+00:00", 946_598_400),
        ] {
            let expected = Some(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(http(header), expected, "{header}");
            assert_eq!(iso(list), expected, "{list}");
        }
        for bad in ["", "now", "Sat, 41 Nov 2026 15:00:01 GMT", "Sat, 21 Foo 2026 15:00:01 GMT"] {
            assert_eq!(http(bad), None, "{bad}");
        }
        for bad in ["", "2026-11-21", "2026-13-21T00:00:00Z", "2026-11-21T25:00:00Z"] {
            assert_eq!(iso(bad), None, "{bad}");
        }
    }
}
