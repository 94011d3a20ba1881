//! The control thread: reads the socket and never touches the engine.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use simward_protocol::call::Request;
use simward_protocol::ending;
use simward_protocol::wire::{FromWorker, ToWorker};

use crate::channel::{Incoming, Outgoing};
use crate::endpoint::nudge;
use crate::simulate::Shared;
use crate::{complain, exit};

/// What the simulation thread is given to do.
#[expect(clippy::large_enum_variant, reason = "a queue of sixteen, and nudges are rare")]
#[derive(Debug)]
pub(crate) enum Job {
    /// A call to answer.
    Question { id: u64, slot: u32, request: Request, attached: Vec<OwnedFd> },
    /// Somebody waits for a snapshot; there is nothing else to do.
    Nudge,
}

pub(crate) struct Control {
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) shared: Arc<Shared>,
}

impl Control {
    /// Reads frames until the supervisor is gone, and then ends the process: whatever the
    /// simulation thread is doing, nobody wants it any more.
    pub(crate) fn run(mut self) {
        loop {
            match self.incoming.read::<ToWorker>() {
                Ok(Some((frame, attached))) => self.handle(frame, attached),
                Ok(None) => exit::now(ending::DONE),
                Err(error) => {
                    complain(&format!("simward-worker: could not read a frame: {error}"));
                    exit::now(ending::BAD_FRAME)
                }
            }
        }
    }

    fn handle(&self, frame: ToWorker, attached: Vec<OwnedFd>) {
        match frame {
            ToWorker::Question { id, slot, request } => {
                let job = Job::Question { id, slot, request, attached };
                if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
                    self.jobs.try_send(job)
                {
                    complain("simward-worker: more calls at once than the supervisor may send");
                    exit::now(ending::BAD_FRAME);
                }
            }
            ToWorker::Cancel { id } => self.shared.pulse.cancel(id),
            ToWorker::Allow { slot, terms } => {
                if self.shared.told.change(slot, terms) {
                    // It may rest for what it owes by the terms before.
                    nudge(&self.shared.pulse, &self.jobs);
                }
            }
            ToWorker::Ping { id } => {
                let vitals = self.shared.pulse.vitals();
                if self.outgoing.write(&FromWorker::Pong { id, vitals }).is_err() {
                    exit::now(ending::DONE);
                }
            }
        }
    }
}
