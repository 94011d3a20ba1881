//! The socket to a worker.
//!
//! Waiting is apart from doing: [`Link::ready`] only waits and may be given up at any moment;
//! [`Link::flush`] and [`Link::receive`] do what can be done without waiting. So no half-read
//! frame is ever lost to a `select!`, and a worker that does not read cannot hold its driver.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use interprocess::os::unix::uds_local_socket::tokio::Stream;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use simward_protocol::wire;
use tokio::io::Interest;

/// How many descriptors travel with one frame.
const ATTACHED_MAX: usize = 2;

/// How much is read at a time; a frame's memory grows with what has come of it.
const CHUNK_BYTES: usize = 64 * 1024;

/// The largest buffers that are kept between frames.
const KEPT_BYTES: usize = 16 * 1024;

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// How much of the outbox is written.
    sent: usize,
    /// What travels with the frame in the outbox.
    attached: Vec<Arc<OwnedFd>>,
}

impl Link {
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let stream = Stream::try_from(OwnedFd::from(socket))?;
        let (inbox, outbox) = (Vec::new(), Vec::new());
        Ok(Self { stream, inbox, outbox, sent: 0, attached: Vec::new() })
    }

    /// Waits until something can be read, or written if something is to be.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = if self.outbox.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        self.stream.inner().ready(interest).await.map(drop)
    }

    /// Puts a frame behind what is to be written, and writes what can be.
    pub(crate) fn send<T: Serialize>(
        &mut self,
        frame: &T,
        attached: Vec<Arc<OwnedFd>>,
    ) -> io::Result<()> {
        let mut encoded = Vec::new();
        wire::encode(&mut encoded, frame, wire::TO_WORKER_BYTES_MAX)?;
        if !attached.is_empty() {
            // A descriptor travels with the first byte of a write, which must be its frame's.
            if !self.outbox.is_empty() {
                return Err(io::Error::other("a frame with a descriptor must be alone"));
            }
            self.attached = attached;
        }
        if self.outbox.is_empty() {
            self.outbox = encoded;
        } else {
            self.outbox.extend_from_slice(&encoded);
        }
        self.flush()
    }

    /// Whether nothing was written of what is to be written.
    pub(crate) fn is_unsent(&self) -> bool {
        self.sent == 0
    }

    /// Writes what can be written without waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.outbox.len() {
            match self.write_some() {
                Ok(count) => {
                    self.sent += count;
                    self.attached.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        self.outbox.clear();
        self.outbox.shrink_to(KEPT_BYTES);
        Ok(())
    }

    fn write_some(&self) -> io::Result<usize> {
        let rest = &self.outbox[self.sent..];
        if self.attached.is_empty() {
            return self.stream.inner().try_write(rest);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ATTACHED_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = self.attached.iter().map(AsFd::as_fd).collect();
        // A message that does not fit would be left out, and the worker would miss it.
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("too many descriptors for one frame"));
        }
        self.stream.inner().try_io(Interest::WRITABLE, || {
            let slices = [IoSlice::new(rest)];
            let flags = SendFlags::NOSIGNAL;
            Ok(rustix::net::sendmsg(self.stream.inner(), &slices, &mut ancillary, flags)?)
        })
    }

    /// Takes the next frame, if it is there whole. An error of kind `UnexpectedEof` means that the
    /// peer hung up, one of kind `InvalidData` that it talks nonsense.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let wanted = self.missing()?.clamp(wire::HEADER_BYTES, CHUNK_BYTES);
            self.inbox.reserve(wanted.max(512));
            match self.stream.inner().try_read_buf(&mut self.inbox) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing more will come.
    pub(crate) fn hang_up(&self) {
        // Fails only if the peer is gone already.
        rustix::net::shutdown(self.stream.inner(), rustix::net::Shutdown::Write).ok();
    }

    fn take_frame<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.length()? else { return Ok(None) };
        let end = wire::HEADER_BYTES + length;
        if self.inbox.len() < end {
            return Ok(None);
        }
        let frame = wire::decode(&self.inbox[wire::HEADER_BYTES..end])?;
        self.inbox.drain(..end);
        if self.inbox.is_empty() {
            self.inbox.shrink_to(KEPT_BYTES);
        }
        Ok(Some(frame))
    }

    /// How many bytes of the next frame have not come yet.
    fn missing(&self) -> io::Result<usize> {
        let end = self.length()?.map_or(wire::HEADER_BYTES, |length| wire::HEADER_BYTES + length);
        Ok(end.saturating_sub(self.inbox.len()))
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let Some(header) = self.inbox.first_chunk() else { return Ok(None) };
        Ok(Some(wire::body_length(*header, wire::FROM_WORKER_BYTES_MAX)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use simward_protocol::session::Vitals;
    use simward_protocol::wire::FromWorker;

    use super::*;

    async fn next(link: &mut Link) -> io::Result<FromWorker> {
        loop {
            if let Some(frame) = link.receive()? {
                return Ok(frame);
            }
            link.ready().await?;
        }
    }

    fn pong(id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = FromWorker::Pong { id, vitals: Vitals::default() };
        wire::encode(&mut bytes, &frame, 1000).unwrap();
        bytes
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let bytes = [pong(1), pong(2)].concat();
        for byte in &bytes {
            assert!(link.receive::<FromWorker>().unwrap().is_none());
            theirs.write_all(&[*byte]).unwrap();
            if let Ok(Some(frame)) =
                tokio::time::timeout(std::time::Duration::from_millis(1), link.ready())
                    .await
                    .map(|_| link.receive::<FromWorker>().unwrap())
            {
                assert!(matches!(frame, FromWorker::Pong { id: 1 | 2, .. }));
            }
        }
    }

    #[tokio::test]
    async fn nonsense_and_an_end_are_told_apart() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        theirs.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(next(&mut link).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        drop(theirs);
        assert_eq!(next(&mut link).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
