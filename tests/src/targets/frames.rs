//! The frames that the two processes exchange.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use simward_protocol::compile::{Compiled, Task};
use simward_protocol::editing::{Edited, Flattened};
use simward_protocol::fault::Fault;
use simward_protocol::handshake::Hello;
use simward_protocol::wire::{
    FROM_WORKER_BYTES_MAX, FromWorker, HEADER_BYTES, TO_WORKER_BYTES_MAX, ToWorker, body_length,
    decode, encode, read,
};

/// A frame to a worker. The first byte says of which kind.
pub fn to_worker(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 2 {
        0 => frame::<ToWorker>(body, TO_WORKER_BYTES_MAX),
        _ => frame::<Task>(body, TO_WORKER_BYTES_MAX),
    }
}

/// A frame from a worker. The first byte says of which kind.
pub fn from_worker(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 5 {
        0 => frame::<FromWorker>(body, FROM_WORKER_BYTES_MAX),
        1 => frame::<Hello>(body, FROM_WORKER_BYTES_MAX),
        3 => frame::<Result<Flattened, Fault>>(body, FROM_WORKER_BYTES_MAX),
        4 => frame::<Result<Edited, Fault>>(body, FROM_WORKER_BYTES_MAX),
        _ => frame::<Result<Compiled, Fault>>(body, FROM_WORKER_BYTES_MAX),
    }
}

fn frame<T: Debug + Serialize + DeserializeOwned>(body: &[u8], max: usize) {
    header(body, max);
    stream::<T>(body);
    let Ok(value) = decode::<T>(body) else { return };
    let mut once = Vec::new();
    encode(&mut once, &value, max).unwrap();
    let written = &once[HEADER_BYTES..];
    // A number can be written longer than it must be; that is all that can differ.
    assert!(written.len() <= body.len(), "written longer than it was read: {value:?}");
    if written.len() == body.len() {
        assert_eq!(written, body, "written otherwise than it was read: {value:?}");
    }
    let again: T = decode(written).unwrap();
    let mut twice = Vec::new();
    encode(&mut twice, &again, max).unwrap();
    assert_eq!(once, twice);
    // And as a stream, after which there is nothing.
    let mut from = once.as_slice();
    let mut buffer = Vec::new();
    assert!(read::<T>(&mut from, &mut buffer, max).unwrap().is_some());
    assert!(read::<T>(&mut from, &mut buffer, max).unwrap().is_none());
    // What may be one byte shorter than it is cannot be written.
    if let Some(short) = written.len().checked_sub(1) {
        assert!(encode(&mut twice, &value, short).is_err());
    }
}

fn header(bytes: &[u8], max: usize) {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return };
    let said = u32::from_le_bytes(*header) as usize;
    match body_length(*header, max) {
        Ok(length) => assert!(length == said && length <= max),
        Err(_) => assert!(max < said),
    }
}

/// Nothing is allocated for bytes that are not there, whatever the header says.
fn stream<T: DeserializeOwned>(bytes: &[u8]) {
    let mut from = bytes;
    let mut buffer = Vec::new();
    // Every frame takes its header from what is left, so this ends.
    while let Ok(Some(_)) = read::<T>(&mut from, &mut buffer, TO_WORKER_BYTES_MAX) {}
    assert!(buffer.capacity() <= 2 * bytes.len() + 4096, "{} bytes", buffer.capacity());
}
