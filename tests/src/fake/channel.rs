//! The socket to the supervisor.
//!
//! A second implementation of what the real worker does, so that a supervisor that passes its
//! tests with fakes has been read by two readers.

use std::io::{self, IoSliceMut, Read, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use simward_protocol::wire;

/// Takes the socket that the supervisor left as standard input.
pub fn open() -> io::Result<(Incoming, Outgoing)> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&socket)?;
    let stream = Arc::new(UnixStream::from(socket));
    let incoming = Incoming { stream: Arc::clone(&stream), attached: Vec::new() };
    Ok((incoming, Outgoing { stream, whole: Arc::default() }))
}

/// What the supervisor sends.
#[derive(Debug)]
pub struct Incoming {
    stream: Arc<UnixStream>,
    attached: Vec<OwnedFd>,
}

impl Incoming {
    /// Waits for a frame, and for what travels with it. Nothing means that the supervisor is gone.
    pub fn read<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let frame = wire::read(self, &mut Vec::new(), wire::TO_WORKER_BYTES_MAX)?;
        Ok(frame.map(|frame| (frame, std::mem::take(&mut self.attached))))
    }
}

impl Read for Incoming {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(&*self.stream, &mut slices, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.attached = descriptors.collect();
            }
        }
        Ok(received.bytes)
    }
}

/// What the supervisor hears.
#[derive(Clone, Debug)]
pub struct Outgoing {
    stream: Arc<UnixStream>,
    /// Held while a frame is sent: frames stay whole, also when two threads speak.
    whole: Arc<Mutex<()>>,
}

impl Outgoing {
    /// Sends a frame.
    pub fn write<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let mut frame = Vec::new();
        wire::encode(&mut frame, value, wire::FROM_WORKER_BYTES_MAX)?;
        self.write_raw(&frame)
    }

    /// Sends bytes that need not be a frame.
    pub fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        let _whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(bytes)
    }

    /// Hangs up, in both directions.
    pub fn hang_up(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }
}
