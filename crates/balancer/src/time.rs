//! The clock of the data plane: the time of day for headers and logs, and milliseconds since the
//! process began for what is compared.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// As in a cookie's Expires.
pub fn http_date_at(unix_seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds))
}

pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since this was first asked; never 0.
pub fn now_ms() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    let beginning = BEGINNING.get_or_init(Instant::now);
    u64::try_from(beginning.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// As in `2018-07-02T22:23:00.186641Z`, of Unix time.
pub fn iso(unix: Duration) -> String {
    let (days, rest) = (unix.as_secs() / 86_400, unix.as_secs() % 86_400);
    let (year, month, day) =
        model::time::date(i64::try_from(days).expect("a 86,400th of a u64 fits"));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let micros = unix.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_spelled_as_the_access_log_does() {
        let of =
            |seconds, micros| iso(Duration::from_secs(seconds) + Duration::from_micros(micros));
        assert_eq!(of(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(of(1_530_570_180, 186_641), "2018-07-02T22:23:00.186641Z");
        assert_eq!(of(1_709_164_800, 1), "2024-02-29T00:00:00.000001Z");
        assert_eq!(of(1_735_689_599, 999_999), "2024-12-31T23:59:59.999999Z");
    }
}
