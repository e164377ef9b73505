//! How session messages lie on a byte stream: a big-endian 32-bit length and that many bytes of
//! JSON. Pure: bytes in, messages out; whoever holds the stream does the reading and writing.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of one message. A whole list of some ten thousand assignments fits.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
pub enum FrameFault {
    TooLong { bytes: usize },
    Malformed(serde_json::Error),
}

impl std::fmt::Display for FrameFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(f, "a session message of {bytes} bytes, the most is {MESSAGE_BYTES_MAX}")
            }
            Self::Malformed(source) => write!(f, "a malformed session message: {source}"),
        }
    }
}

impl std::error::Error for FrameFault {}

/// Appends a message to what will be written.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameFault> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    serde_json::to_writer(&mut *out, message).map_err(FrameFault::Malformed)?;
    let bytes = out.len() - start - LENGTH_BYTES;
    if bytes > MESSAGE_BYTES_MAX {
        out.truncate(start);
        return Err(FrameFault::TooLong { bytes });
    }
    let length = u32::try_from(bytes).expect("MESSAGE_BYTES_MAX fits 32 bits");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Takes the first whole message off the front of what was read. None: more bytes are needed.
pub fn decode<T: DeserializeOwned>(read: &[u8]) -> Result<Option<(T, usize)>, FrameFault> {
    let Some((length, rest)) = read.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let bytes = u32::from_be_bytes(*length) as usize;
    if bytes > MESSAGE_BYTES_MAX {
        return Err(FrameFault::TooLong { bytes });
    }
    let Some(body) = rest.get(..bytes) else { return Ok(None) };
    let message = serde_json::from_slice(body).map_err(FrameFault::Malformed)?;
    Ok(Some((message, LENGTH_BYTES + bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ToControl;

    #[test]
    fn messages_come_out_as_they_went_in_however_they_are_cut() {
        let mut bytes = Vec::new();
        encode(&ToControl::Heartbeat, &mut bytes).expect("fits");
        encode(&ToControl::Resync, &mut bytes).expect("fits");
        for cut in 0..4 {
            assert!(decode::<ToControl>(&bytes[..cut]).expect("no fault").is_none());
        }
        let (first, used) = decode::<ToControl>(&bytes).expect("valid").expect("whole");
        assert_eq!(first, ToControl::Heartbeat);
        let (second, rest) = decode::<ToControl>(&bytes[used..]).expect("valid").expect("whole");
        assert_eq!((second, used + rest), (ToControl::Resync, bytes.len()));
    }

    #[test]
    fn a_length_beyond_the_bound_and_nonsense_are_refused() {
        let fault = decode::<ToControl>(&[0xff, 0xff, 0xff, 0xff]).expect_err("too long");
        assert!(matches!(fault, FrameFault::TooLong { .. }));
        let fault = decode::<ToControl>(&[0, 0, 0, 1, b'x']).expect_err("nonsense");
        assert!(matches!(fault, FrameFault::Malformed(_)));
    }
}
