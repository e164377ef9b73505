//! When a scheduled action is due: `at(…)`, `rate(…)` and `cron(…)` as Application Auto Scaling
//! writes them, in UTC. A schedule is read once, when the action is made, so that what is stored
//! can be kept. Source: Application Auto Scaling user guide, "Cron expressions reference".

use model::Timestamp;
use model::time::{date, day_number};
use std::collections::BTreeSet;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How far ahead a cron expression is followed: one that asks for the 29th of February has to wait
/// for eight years at most.
const DAYS_AHEAD_MAX: i64 = 9 * 366;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    At(Timestamp),
    Rate { every_ms: i64 },
    Cron(Cron),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: Days,
    months: BTreeSet<u32>,
    years: BTreeSet<u32>,
}

/// One of the two fields that choose days is always `?`, or means every day.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Days {
    OfMonth(BTreeSet<u32>),
    LastOfMonth,
    /// 1 is Sunday.
    OfWeek(BTreeSet<u32>),
}

/// None: it is no schedule, or one that is not understood (`W` and `#`).
pub fn parse(text: &str) -> Option<Schedule> {
    let (kind, rest) = text.trim().split_once('(')?;
    let inside = rest.strip_suffix(')')?.trim();
    match kind {
        "at" => moment(inside).map(Schedule::At),
        "rate" => rate(inside),
        "cron" => cron(inside).map(Schedule::Cron),
        _ => None,
    }
}

impl Schedule {
    /// The first moment later than `after` at which the action is due. A rate counts from `base`.
    pub fn next(&self, base: Timestamp, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => (*at > after).then_some(*at),
            Self::Rate { every_ms } => {
                let passed = after.since_ms(base).max(0).div_euclid(*every_ms);
                Some(base.plus_ms((passed + 1).saturating_mul(*every_ms)))
            }
            Self::Cron(cron) => cron.next(after),
        }
    }
}

/// `yyyy-mm-ddThh:mm:ss`.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let ms = day_number(year, month, day) * DAY_MS
        + i64::from(hour) * HOUR_MS
        + i64::from(minute) * MINUTE_MS
        + i64::from(second) * 1000;
    Some(Timestamp(ms))
}

fn numbers(text: &str, mark: char, widths: [usize; 3]) -> Option<[u32; 3]> {
    let mut parts = text.split(mark);
    let mut found = [0; 3];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        *number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

fn rate(text: &str) -> Option<Schedule> {
    let (value, unit) = text.split_once(' ')?;
    let value: i64 = value.parse().ok().filter(|value| *value > 0)?;
    let unit_ms = match (unit.trim(), value) {
        ("minute", 1) | ("minutes", _) => MINUTE_MS,
        ("hour", 1) | ("hours", _) => HOUR_MS,
        ("day", 1) | ("days", _) => DAY_MS,
        _ => return None,
    };
    Some(Schedule::Rate { every_ms: value.checked_mul(unit_ms)? })
}

fn cron(text: &str) -> Option<Cron> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, day, month, weekday, year] = fields[..] else { return None };
    let days = match (day, weekday) {
        ("L", "?") => Days::LastOfMonth,
        (day, "?") => Days::OfMonth(set(day, 1, 31, &[])?),
        ("?", weekday) => Days::OfWeek(set(weekday, 1, 7, &WEEKDAYS)?),
        // AWS wants a question mark in one of the two; two stars mean the same to it.
        ("*", "*") => Days::OfMonth(set("*", 1, 31, &[])?),
        _ => return None,
    };
    Some(Cron {
        minutes: set(minutes, 0, 59, &[])?,
        hours: set(hours, 0, 23, &[])?,
        days,
        months: set(month, 1, 12, &MONTHS)?,
        years: set(year, 1970, 2199, &[])?,
    })
}

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// `*`, `1,3`, `1-5`, `MON-FRI`, `0/15`, `2-20/3`; names begin at `least`.
fn set(field: &str, least: u32, most: u32, names: &[&str]) -> Option<BTreeSet<u32>> {
    let value = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(at) => u32::try_from(at).ok()? + least,
            None => text.parse().ok()?,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let mut all = BTreeSet::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, most),
            (_, Some((from, to))) => (value(from)?, value(to)?),
            // `0/15` begins there and goes on to the end.
            (one, None) if step.is_some() => (value(one)?, most),
            (one, None) => (value(one)?, value(one)?),
        };
        if from > to {
            return None;
        }
        all.extend((from..=to).step_by(step.unwrap_or(1)));
    }
    Some(all)
}

impl Cron {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let first = after.0.div_euclid(DAY_MS);
        for day in first..first + DAYS_AHEAD_MAX {
            if !self.is_on(day) {
                continue;
            }
            for hour in &self.hours {
                for minute in &self.minutes {
                    let inside = i64::from(*hour) * HOUR_MS + i64::from(*minute) * MINUTE_MS;
                    let at = Timestamp(day * DAY_MS + inside);
                    if at > after {
                        return Some(at);
                    }
                }
            }
        }
        None
    }

    fn is_on(&self, day: i64) -> bool {
        let (year, month, of_month) = date(day);
        if !self.years.contains(&year) || !self.months.contains(&month) {
            return false;
        }
        match &self.days {
            Days::OfMonth(days) => days.contains(&of_month),
            Days::LastOfMonth => of_month == days_in(year, month),
            // The first of January 1970 was a Thursday, the fifth day.
            Days::OfWeek(days) => {
                let weekday = (day + 4).rem_euclid(7) + 1;
                days.contains(&u32::try_from(weekday).unwrap_or(0))
            }
        }
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// `dd/mm/yy hh:mm:ss`, as the reasons of alarms write a moment.
pub fn written(at: Timestamp) -> String {
    let (year, month, day) = date(at.0.div_euclid(DAY_MS));
    let second = at.0.rem_euclid(DAY_MS) / 1000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{day:02}/{month:02}/{:02} {hour:02}:{minute:02}:{second:02}", year % 100)
}

/// `yyyy-mm-ddThh:mm:ss.000+0000`, as the data of their reasons does.
pub fn written_long(at: Timestamp) -> String {
    let (year, month, day) = date(at.0.div_euclid(DAY_MS));
    let (second, ms) = (at.0.rem_euclid(DAY_MS) / 1000, at.0.rem_euclid(1000));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        moment(text).expect("a moment")
    }

    #[test]
    fn moments_agree_with_the_calendar() {
        assert_eq!(at("1970-01-01T00:00:00"), Timestamp(0));
        assert_eq!(at("2026-11-21T18:30:05"), Timestamp(1_795_285_805_000));
        for wrong in ["2026-02-29T00:00:00", "2026-13-01T00:00:00", "2026-1-1T0:0:0", "now"] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_next_time_is_the_first_that_fits() {
        let now = at("2026-11-21T18:30:00"); // a Saturday
        for (schedule, next) in [
            ("cron(0 22 * * ? *)", "2026-11-21T22:00:00"),
            ("cron(30 18 * * ? *)", "2026-11-22T18:30:00"),
            ("cron(0/15 * * * ? *)", "2026-11-21T18:45:00"),
            ("cron(0 9 ? * MON-FRI *)", "2026-11-23T09:00:00"),
            ("cron(0 9 ? * 1 *)", "2026-11-22T09:00:00"),
            ("cron(0 0 1 1 ? *)", "2027-01-01T00:00:00"),
            ("cron(0 0 L * ? *)", "2026-11-30T00:00:00"),
            ("cron(0 0 29 FEB ? *)", "2028-02-29T00:00:00"),
            ("cron(5,10 0-2/2 1 DEC ? 2026)", "2026-12-01T00:05:00"),
            ("at(2026-11-21T18:30:01)", "2026-11-21T18:30:01"),
        ] {
            let parsed = parse(schedule).expect(schedule);
            assert_eq!(parsed.next(now, now), Some(at(next)), "{schedule}");
        }
        for over in ["at(2026-11-21T18:30:00)", "cron(0 0 1 1 ? 2020)", "cron(0 0 30 FEB ? *)"] {
            assert_eq!(parse(over).expect(over).next(now, now), None, "{over}");
        }
        let every = parse("rate(2 hours)").expect("a rate");
        assert_eq!(every.next(at("2026-11-21T10:15:00"), now), Some(at("2026-11-21T20:15:00")));
        assert_eq!(every.next(now, now), Some(at("2026-11-21T20:30:00")));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in [
            "",
            "cron()",
            "cron(0 22 * * *)",
            "cron(60 0 * * ? *)",
            "cron(0 0 1 * MON *)",
            "cron(0 0 ? * MON#2 *)",
            "rate(0 minutes)",
            "rate(2 hour)",
            "rate(1 week)",
            "at(tomorrow)",
            "every(1 day)",
            "cron(5-1 0 * * ? *)",
            "cron(0/0 0 * * ? *)",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
