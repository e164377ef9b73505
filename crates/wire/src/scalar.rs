//! The simple types whose form differs between protocols: moments, bytes, and strings that must
//! not be printed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. JSON writes seconds as a number with at
/// most three decimals, XML writes ISO 8601, CBOR a tagged double.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    pub unix_ms: i64,
}

const MS_PER_SECOND: i64 = 1000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    pub const fn from_unix_ms(unix_ms: i64) -> Timestamp {
        Timestamp { unix_ms }
    }

    /// `2026-01-31T12:00:00Z`, or with `.000` before the `Z` where `millis` asks for it or the
    /// moment has a fraction.
    pub fn iso8601(self, millis: bool) -> String {
        let (seconds, ms) =
            (self.unix_ms.div_euclid(MS_PER_SECOND), self.unix_ms.rem_euclid(MS_PER_SECOND));
        let (days, second) =
            (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let head = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if millis || ms != 0 { format!("{head}.{ms:03}Z") } else { format!("{head}Z") }
    }

    /// Reads ISO 8601 in UTC or with an offset, with any number of decimals, or a plain number of
    /// seconds: what clients send in query parameters.
    pub fn parse(text: &str) -> Option<Timestamp> {
        match text.parse::<f64>() {
            Ok(seconds) => Timestamp::from_seconds(seconds),
            Err(_) => parse_iso8601(text).map(Timestamp::from_unix_ms),
        }
    }

    fn from_seconds(seconds: f64) -> Option<Timestamp> {
        let ms = (seconds * MS_PER_SECOND as f64).round();
        // Beyond this a double no longer counts milliseconds exactly.
        (ms.abs() <= 9.0e15).then_some(Timestamp { unix_ms: ms as i64 })
    }
}

/// The proleptic Gregorian date of a day number, 1970-01-01 being 0 (H. Hinnant's algorithm).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day number of a date; the inverse of `civil_from_days`.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Whether the date exists, leap years included.
pub(crate) fn is_date(year: i64, month: i64, day: i64) -> bool {
    (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && civil_from_days(days_from_civil(year, month, day)) == (year, month, day)
}

/// The number that `digits` writes; none if anything but ASCII digits is there.
pub(crate) fn number(digits: Option<&str>) -> Option<i64> {
    let digits = digits?;
    let plain =
        !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().expect("nine digits fit"))
}

fn parse_iso8601(text: &str) -> Option<i64> {
    let (year, month, day) =
        (number(text.get(0..4))?, number(text.get(5..7))?, number(text.get(8..10))?);
    let (hour, minute, second) =
        (number(text.get(11..13))?, number(text.get(14..16))?, number(text.get(17..19))?);
    let bytes = text.as_bytes();
    let marks = [bytes[4], bytes[7], bytes[13], bytes[16]] == *b"--::"
        && matches!(bytes[10], b'T' | b't' | b' ');
    if !marks || !is_date(year, month, day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &text[19..];
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        let digits: String = fraction[..end].chars().chain("000".chars()).take(3).collect();
        ms = number(Some(&digits)).filter(|_| end > 0)?;
        rest = &fraction[end..];
    }
    let offset_s = match rest.as_bytes() {
        b"" | b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let s = number(rest.get(1..3))? * 3600 + number(rest.get(4..6))? * 60;
            if *sign == b'+' { s } else { -s }
        }
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
            - offset_s;
    Some(seconds * MS_PER_SECOND + ms)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if !out.is_human_readable() {
            let seconds = self.unix_ms as f64 / MS_PER_SECOND as f64;
            return out.serialize_newtype_struct(crate::cbor::TIMESTAMP, &seconds);
        }
        if self.unix_ms % MS_PER_SECOND == 0 {
            out.serialize_i64(self.unix_ms / MS_PER_SECOND)
        } else {
            out.serialize_f64(self.unix_ms as f64 / MS_PER_SECOND as f64)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a timestamp")
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
                let unexpected = de::Unexpected::Float(seconds);
                Timestamp::from_seconds(seconds).ok_or_else(|| E::invalid_value(unexpected, &self))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
                let unexpected = de::Unexpected::Signed(seconds);
                let unix_ms = seconds.checked_mul(MS_PER_SECOND);
                let unix_ms = unix_ms.ok_or_else(|| E::invalid_value(unexpected, &self))?;
                Ok(Timestamp { unix_ms })
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
                self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                let unexpected = de::Unexpected::Str(text);
                Timestamp::parse(text).ok_or_else(|| E::invalid_value(unexpected, &self))
            }
        }
        input.deserialize_any(Visitor)
    }
}

/// Bytes; base64 on every wire but CBOR's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Blob {
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    pub fn from_base64(text: &str) -> Option<Blob> {
        STANDARD.decode(text).ok().map(Blob)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() {
            out.serialize_str(&self.base64())
        } else {
            out.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Blob, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(input)?;
        let unexpected = de::Unexpected::Str("not shown");
        Blob::from_base64(&text).ok_or_else(|| de::Error::invalid_value(unexpected, &"base64"))
    }
}

/// A string that the model marks as sensitive. Its text must be asked for by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(String);

impl Sensitive {
    pub fn new(text: impl Into<String>) -> Sensitive {
        Sensitive(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Sensitive {
        Sensitive(text.to_owned())
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sensitive(hidden)")
    }
}

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Sensitive, D::Error> {
        String::deserialize(input).map(Sensitive)
    }
}

/// Debug for a structure that the model marks as sensitive: its name and nothing else.
macro_rules! hidden {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}
pub(crate) use hidden;
