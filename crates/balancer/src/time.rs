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
