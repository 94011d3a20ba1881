//! Frames: a length in four little-endian bytes, then that many bytes of postcard.
//!
//! Both directions have a bound of their own, and nothing is allocated before its bytes are there:
//! a peer that lies about a length gets no memory for it.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::{Reply, Request};
use crate::fault::Fault;
use crate::session::{Terms, Vitals};

/// The longest frame that a worker accepts. A model's source with its assets must fit.
pub const TO_WORKER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The longest frame that the supervisor accepts.
pub const FROM_WORKER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The bytes before a frame's body.
pub const HEADER_BYTES: usize = 4;

/// What the supervisor sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Answered by [`FromWorker::Answer`] with the same id, in order.
    Question {
        /// Echoed by the answer.
        id: u64,
        /// The session that asks, within the worker.
        slot: u32,
        /// What is asked.
        request: Request,
    },
    /// Ends the call of that id early. Nothing happens if it has ended.
    Cancel {
        /// The call's id.
        id: u64,
    },
    /// Answered by [`FromWorker::Pong`] at once, also while a call runs.
    Ping {
        /// Echoed by the pong.
        id: u64,
    },
    /// Changes what a session may use, from now on and also while a call runs. Nothing happens if
    /// there is none in that slot.
    Allow {
        /// The session, within the worker.
        slot: u32,
        /// What it may use.
        terms: Terms,
    },
}

/// What a worker sends, after its hello.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "decoded once and moved once")]
pub enum FromWorker {
    /// Answers a question.
    Answer {
        /// The question's id.
        id: u64,
        /// The reply, or why there is none.
        outcome: Result<Reply, Fault>,
        /// How the worker fares.
        vitals: Vitals,
    },
    /// Answers a ping.
    Pong {
        /// The ping's id.
        id: u64,
        /// How the worker fares.
        vitals: Vitals,
    },
    /// The engine met an error from which it cannot return. The worker ends right after.
    LastWords {
        /// What the engine said.
        text: String,
    },
}

/// A frame that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than the direction allows.
    #[error("a frame of {length} bytes exceeds the limit of {max}")]
    TooLong {
        /// The length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Not what this version of the protocol writes.
    #[error("a frame could not be read")]
    Malformed(#[source] postcard::Error),
    /// Right at first, and then there is more.
    #[error("a frame has {0} bytes too many")]
    Trailing(usize),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Encodes a frame, header included, in place of what `buffer` held.
pub fn encode<T: Serialize>(buffer: &mut Vec<u8>, value: &T, max: usize) -> Result<(), Error> {
    buffer.clear();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    let mut body = std::mem::take(buffer);
    body = postcard::to_extend(value, body).map_err(Error::Malformed)?;
    *buffer = body;
    let length = buffer.len() - HEADER_BYTES;
    let header = u32::try_from(length).ok().filter(|_| length <= max);
    let header = header.ok_or(Error::TooLong { length, max })?;
    buffer[..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
    Ok(())
}

/// Reads a header: the length of the body that follows.
pub fn body_length(header: [u8; HEADER_BYTES], max: usize) -> Result<usize, Error> {
    let length = u32::from_le_bytes(header) as usize;
    if length <= max { Ok(length) } else { Err(Error::TooLong { length, max }) }
}

/// Decodes a frame's body, all of it.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(Error::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(Error::Trailing(rest.len())) }
}

/// Writes one frame.
pub fn write<T: Serialize>(to: &mut impl Write, value: &T, max: usize) -> io::Result<()> {
    let mut buffer = Vec::new();
    encode(&mut buffer, value, max)?;
    to.write_all(&buffer)?;
    to.flush()
}

/// Reads one frame into `buffer`. Returns `None` when the peer closed between frames.
pub fn read<T: DeserializeOwned>(
    from: &mut impl Read,
    buffer: &mut Vec<u8>,
    max: usize,
) -> io::Result<Option<T>> {
    let mut header = [0; HEADER_BYTES];
    if !read_header(from, &mut header)? {
        return Ok(None);
    }
    let length = body_length(header, max)?;
    buffer.clear();
    from.by_ref().take(length as u64).read_to_end(buffer)?;
    if buffer.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(decode(buffer)?))
}

/// Fills the header; returns false if there was not a single byte of it.
fn read_header(from: &mut impl Read, header: &mut [u8; HEADER_BYTES]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
