//! The socket to the supervisor.
//!
//! Both halves are synchronous. Reading takes along the file descriptors that travel with a frame:
//! the kernel hands them out with the frame's first byte, and a plain `read` would lose them.

use std::io::{self, IoSliceMut, Read, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use simward_protocol::wire;

/// How many descriptors one frame may carry; more are closed by the kernel.
const DESCRIPTORS_MAX: usize = 2;

/// Takes the socket that the supervisor left as standard input.
pub fn open() -> anyhow::Result<(Incoming, Outgoing)> {
    let socket = io::stdin().as_fd().try_clone_to_owned().context("standard input is closed")?;
    rustix::net::sockopt::socket_type(&socket)
        .context("standard input is not a socket: a worker is started by the supervisor only")?;
    let stream = Arc::new(Stream::from(socket));
    let incoming =
        Incoming { stream: Arc::clone(&stream), attached: Vec::new(), buffer: Vec::new() };
    Ok((incoming, Outgoing { half: Arc::new(Mutex::new(Half { stream, buffer: Vec::new() })) }))
}

/// What the supervisor sends.
#[derive(Debug)]
pub struct Incoming {
    stream: Arc<Stream>,
    attached: Vec<OwnedFd>,
    buffer: Vec<u8>,
}

/// The largest read buffer that is kept between frames.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

impl Incoming {
    /// Waits for a frame, and for what travels with it. Nothing means that the supervisor is gone.
    pub fn read<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let frame = wire::read(self, &mut buffer, wire::TO_WORKER_BYTES_MAX)?;
        if buffer.capacity() <= BUFFER_BYTES_KEPT {
            self.buffer = buffer;
        }
        Ok(frame.map(|frame| (frame, std::mem::take(&mut self.attached))))
    }
}

impl Read for Incoming {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut slices = [IoSliceMut::new(bytes)];
        let received = rustix::net::recvmsg(&*self.stream, &mut slices, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // What came before and was not fetched belongs to no frame.
                self.attached = descriptors.collect();
            }
        }
        Ok(received.bytes)
    }
}

/// What the supervisor hears. Whole frames only, also when two threads speak.
#[derive(Clone, Debug)]
pub struct Outgoing {
    half: Arc<Mutex<Half>>,
}

#[derive(Debug)]
struct Half {
    stream: Arc<Stream>,
    buffer: Vec<u8>,
}

impl Outgoing {
    /// Sends a frame.
    pub fn write<T: Serialize>(&self, value: &T) -> io::Result<()> {
        // A thread that panicked while it wrote has ended the process.
        let mut half = self.half.lock().unwrap_or_else(PoisonError::into_inner);
        half.write(value)
    }

    /// Sends a frame unless another thread is sending one: for last words, which must not wait.
    pub fn try_write<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let mut half = self.half.try_lock().map_err(|_busy| io::ErrorKind::WouldBlock)?;
        half.write(value)
    }
}

impl Half {
    fn write<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        wire::encode(&mut self.buffer, value, wire::FROM_WORKER_BYTES_MAX)?;
        (&*self.stream).write_all(&self.buffer)?;
        if BUFFER_BYTES_KEPT < self.buffer.capacity() {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}
