//! What agent and supervisor say to each other: JSON in frames of a length and that many bytes,
//! over a stream socket. The agent's first frame on a new socket to a new supervisor is `Create`; a
//! supervisor greets an agent that connected to it later with `Observed`.

use crate::event::{EventKind, ObservedTask, Usage};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::spec::{ContainerLaunch, SandboxSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    Create(Box<SandboxSpec>),
    Start(Box<ContainerLaunch>),
    Signal { name: String, signal: i32 },
    Acknowledge { name: String, offset: u64 },
    Usage { ticket: u64 },
    Remove,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Tell {
    /// The task's folder is there already; the sender is the zygote, and no supervisor was made.
    Exists,
    Observed {
        spec: Box<SandboxSpec>,
        observed: Box<ObservedTask>,
    },
    Event(EventKind),
    Usage {
        ticket: u64,
        usage: Usage,
    },
    Removed {
        failure: Option<String>,
    },
}

/// Bytes of a frame's head: the length of the rest.
const HEAD_BYTES: usize = 4;

pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut frame, message).expect("our messages have string keys only");
    let length = u32::try_from(frame.len() - HEAD_BYTES).expect("messages are bounded");
    frame[..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Takes the first whole frame out of what was read; None: more must be read.
pub fn decode<T: DeserializeOwned>(input: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(head) = input.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is too long")));
    }
    let Some(body) = input.get(HEAD_BYTES..HEAD_BYTES + length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    input.drain(..HEAD_BYTES + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_however_they_are_cut() {
        let mut sent = encode(&Command::Signal { name: "web".to_owned(), signal: 15 });
        sent.extend(encode(&Command::Remove));
        let mut input = Vec::new();
        let mut got = Vec::new();
        for byte in sent {
            input.push(byte);
            got.extend(decode::<Command>(&mut input).expect("well-formed"));
        }
        assert!(matches!(got[0], Command::Signal { signal: 15, .. }));
        assert!(matches!(got[1], Command::Remove));
        assert!(input.is_empty());
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let mut input = u32::MAX.to_le_bytes().to_vec();
        assert!(decode::<Command>(&mut input).is_err());
    }
}
