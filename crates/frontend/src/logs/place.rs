//! Places in streams as clients carry them: the tokens of GetLogEvents and the ids of events. AWS's
//! are 56 digits, so ours are: 20 of the time, 16 of the stream, 20 of the order of arrival.

use ring::digest::{SHA256, digest};
use store::logs::{PageStart, Position};

/// Digits of a number of 64 bits.
const NUMBER_DIGITS: usize = 20;
const STREAM_DIGITS: usize = 16;
const DIGITS: usize = NUMBER_DIGITS + STREAM_DIGITS + NUMBER_DIGITS;
/// 10 to the power of `STREAM_DIGITS`.
const STREAMS: u64 = 10_000_000_000_000_000;

/// An event's id, different for every event of a group.
pub fn event_id(stream: &str, position: Position) -> String {
    let time = unsigned(position.timestamp_ms);
    format!("{time:020}{:016}{:020}", stream_number(stream), position.sequence)
}

fn stream_number(stream: &str) -> u64 {
    let hash = digest(&SHA256, stream.as_bytes());
    let (first, _) = hash.as_ref().split_at(8);
    u64::from_be_bytes(first.try_into().expect("eight bytes")) % STREAMS
}

pub fn forward_token(stream: &str, position: Position) -> String {
    format!("f/{}/s", event_id(stream, position))
}

pub fn backward_token(stream: &str, position: Position) -> String {
    format!("b/{}/s", event_id(stream, position))
}

/// Where the page that a token asks for begins. None: it is no token of this stream.
pub fn page_start(stream: &str, token: &str) -> Option<PageStart> {
    let digits = token.strip_suffix("/s")?;
    let (way, digits) = digits.split_once('/')?;
    if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (time, rest) = digits.split_at(NUMBER_DIGITS);
    let (of, sequence) = rest.split_at(STREAM_DIGITS);
    if of.parse::<u64>() != Ok(stream_number(stream)) {
        return None;
    }
    let timestamp_ms = signed(time.parse().ok()?);
    let position = Position { timestamp_ms, sequence: sequence.parse().ok()? };
    match way {
        "f" => Some(PageStart::After(position)),
        "b" => Some(PageStart::Before(position)),
        _ => None,
    }
}

/// Moves the numbers so that none is negative and their order stays.
fn unsigned(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn signed(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_the_places_they_were_made_of() {
        for timestamp_ms in [i64::MIN, -1, 0, 1_750_000_000_000, i64::MAX] {
            for sequence in [0, 1, u64::MAX] {
                let place = Position { timestamp_ms, sequence };
                let token = forward_token("s", place);
                assert_eq!(token.len(), "f//s".len() + 56);
                assert_eq!(page_start("s", &token), Some(PageStart::After(place)));
                let token = backward_token("s", place);
                assert_eq!(page_start("s", &token), Some(PageStart::Before(place)));
                assert_eq!(page_start("t", &token), None);
            }
        }
        for nonsense in ["", "f/1/s", "x/0/s", "f/é/s", "f//s"] {
            assert_eq!(page_start("s", nonsense), None);
        }
    }
}
