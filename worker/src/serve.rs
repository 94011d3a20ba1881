//! The simulation thread's loop: calls first, background simulations between them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Instant;

use simward_protocol::ending;
use simward_protocol::fault::Fault;
use simward_protocol::wire::FromWorker;

use crate::channel::Outgoing;
use crate::control::Job;
use crate::exit;
use crate::world::{Due, World};

/// Serves until the control thread is gone.
pub(crate) fn serve(mut world: World, jobs: &Receiver<Job>, outgoing: &Outgoing) {
    loop {
        world.heed();
        let job = match world.background_due() {
            Due::Never => jobs.recv().map_err(|_gone| TryRecvError::Disconnected),
            Due::Now => jobs.try_recv(),
            Due::In(pause) => jobs.recv_timeout(pause).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            }),
        };
        match job {
            Ok(Job::Question { id, slot, request, attached }) => {
                world.attached = attached;
                answer(&mut world, outgoing, id, |world| {
                    let outcome = request.serve_with(world, slot);
                    // Kept before it is answered: what was acknowledged is never lost.
                    world.keep(slot, id);
                    outcome
                });
                world.attached.clear();
            }
            Ok(Job::Nudge) => world.shared.pulse.forget_nudge(),
            Err(TryRecvError::Empty) => world.advance_background(),
            Err(TryRecvError::Disconnected) => return,
        }
        world.publish_if_wanted();
        world.obey_viewers();
    }
}

fn answer(
    world: &mut World,
    outgoing: &Outgoing,
    id: u64,
    serve: impl FnOnce(&mut World) -> Result<simward_protocol::call::Reply, Fault>,
) {
    let begun = Instant::now();
    let shared = std::sync::Arc::clone(&world.shared);
    let outcome = if shared.pulse.is_cancelled(id) {
        Err(Fault::Cancelled)
    } else {
        shared.pulse.begin(id);
        serve(world)
    };
    let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    shared.pulse.end(nanos);
    let vitals = shared.pulse.vitals();
    if let Err(error) = outgoing.write(&FromWorker::Answer { id, outcome, vitals }) {
        if error.kind() != std::io::ErrorKind::InvalidData {
            exit::now(ending::DONE);
        }
        // The answer is longer than a frame may be: say so instead.
        let what = "bytes of one answer".to_owned();
        let max = simward_protocol::wire::FROM_WORKER_BYTES_MAX as u64;
        let outcome = Err(Fault::LimitExceeded { what, value: max + 1, max });
        if outgoing.write(&FromWorker::Answer { id, outcome, vitals }).is_err() {
            exit::now(ending::DONE);
        }
    }
}
