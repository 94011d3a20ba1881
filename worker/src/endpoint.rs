//! The session's own port: health, state and metrics over HTTP, from the worker itself.
//!
//! It answers while the supervisor is busy, and it never makes the simulation wait for a client:
//! the simulation thread publishes a snapshot when one is wanted, between two slices.
//!
//! It also has the viewer: a page, and a WebSocket over which it sees the model move.

mod board;
mod http;
mod message;
mod pages;
mod site;
mod stage;
mod viewer;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::{io, thread};

pub(crate) use self::board::{Board, Glance};
pub(crate) use self::message::MOMENT;
use self::pages::Outcome;
pub(crate) use self::site::HAS_PAGE;
pub(crate) use self::stage::{Deed, Key, Order, Stage, Wanted};
use crate::control::Job;
use crate::pulse::Pulse;
use crate::simulate::Shared;

/// How many clients one port serves at a time; the next is turned away.
const CONNECTIONS_MAX: usize = 8;

/// A thread here reads one small request and writes one answer.
const STACK_BYTES: usize = 128 * 1024;

/// What a port shows, and to whom.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) slot: u32,
    pub(crate) session_id: String,
    pub(crate) token: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) jobs: SyncSender<Job>,
}

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
}

impl Port {
    /// Serves a listening socket on a thread of its own.
    pub(crate) fn open(listener: TcpListener, page: Page) -> io::Result<Self> {
        // The supervisor's flag travels with the socket: its own end must not block.
        listener.set_nonblocking(false)?;
        let address = listener.local_addr()?;
        let serving = listener.try_clone()?;
        thread::Builder::new()
            .name("port".into())
            .stack_size(STACK_BYTES)
            .spawn(move || accept(&serving, address, &Arc::new(page)))?;
        Ok(Self { listener })
    }

    /// Turns away whoever comes from now on; the thread ends.
    pub(crate) fn close(self) {
        // Fails only if the socket listens no longer.
        rustix::net::shutdown(self.listener.as_fd(), rustix::net::Shutdown::Both).ok();
    }
}

fn accept(listener: &TcpListener, address: SocketAddr, page: &Arc<Page>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            // The client left before it was served, or descriptors ran out for a moment.
            Err(error) if is_passing(&error) => continue,
            Err(_closed) => return,
        };
        if CONNECTIONS_MAX <= open.load(Ordering::Relaxed) {
            http::turn_away(client);
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (page, guard) = (Arc::clone(page), Open(Arc::clone(&open)));
        // If no thread can be had, the closure is dropped, and with it the client and the guard.
        thread::Builder::new()
            .name("client".into())
            .stack_size(STACK_BYTES)
            .spawn(move || serve(client, address, &page, guard))
            .ok();
    }
}

fn serve(mut client: TcpStream, address: SocketAddr, page: &Page, open: Open) {
    // A client that leaves early needs no answer.
    let Ok(received) = http::receive(&mut client) else { return };
    let outcome = received.map(|request| pages::answer(&request, address, page));
    match outcome {
        Err(answer) | Ok(Outcome::Answer(answer)) => drop(http::write(&mut client, &answer)),
        Ok(Outcome::Viewer(visit)) => {
            // Viewers are counted by themselves.
            drop(open);
            viewer::serve(client, &visit, page);
        }
    }
}

/// Counts a client as long as it is served one answer.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sees to it that the simulation thread looks around, if it waits for something to do. There is
/// never more than one nudge in its queue, which the supervisor's questions need.
pub(crate) fn nudge(pulse: &Pulse, jobs: &SyncSender<Job>) {
    if pulse.nudge() && jobs.try_send(Job::Nudge).is_err() {
        // The queue is full: the simulation thread has jobs after which it will look.
        pulse.forget_nudge();
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
