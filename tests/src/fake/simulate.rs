//! Mode `simulate`: the control thread reads the socket, the main thread simulates.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;
use std::{io, thread};

use simward_protocol::call::Request;
use simward_protocol::ending;
use simward_protocol::fault::Fault;
use simward_protocol::wire::{FromWorker, ToWorker};

use super::channel::{self, Incoming, Outgoing};
use super::process::end;
use super::pulse::Pulse;
use super::world::World;
use super::{Manners, hello};

/// How many questions may wait.
const JOBS_MAX: usize = 16;

struct Question {
    id: u64,
    slot: u32,
    request: Request,
    attached: Vec<OwnedFd>,
}

/// Serves calls until the supervisor hangs up.
pub(crate) fn run(manners: &Arc<dyn Manners>) -> io::Result<()> {
    manners.start();
    let (incoming, outgoing) = channel::open()?;
    outgoing.write(&hello(manners.version()))?;
    manners.greeted();
    let pulse = Arc::new(Pulse::default());
    let (jobs, questions) = sync_channel(JOBS_MAX);
    let control = Control {
        manners: Arc::clone(manners),
        incoming,
        outgoing: outgoing.clone(),
        jobs,
        pulse: Arc::clone(&pulse),
    };
    thread::Builder::new().name("control".into()).spawn(move || control.run())?;
    let world = World::new(pulse, manners.step_takes(), manners.keeps_to_budget());
    Simulation { manners: Arc::clone(manners), world, outgoing }.run(&questions);
    Ok(())
}

struct Control {
    manners: Arc<dyn Manners>,
    incoming: Incoming,
    outgoing: Outgoing,
    jobs: SyncSender<Question>,
    pulse: Arc<Pulse>,
}

impl Control {
    fn run(mut self) -> ! {
        loop {
            match self.incoming.read() {
                Ok(Some((frame, attached))) => self.handle(frame, attached),
                Ok(None) => hung_up(&*self.manners),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => end(ending::BAD_FRAME),
                Err(_broken) => hung_up(&*self.manners),
            }
        }
    }

    fn handle(&self, frame: ToWorker, attached: Vec<OwnedFd>) {
        match frame {
            ToWorker::Question { id, slot, request } => {
                if self.jobs.try_send(Question { id, slot, request, attached }).is_err() {
                    end(ending::BAD_FRAME);
                }
            }
            ToWorker::Cancel { id } => self.pulse.cancel(id),
            ToWorker::Ping { id } if self.manners.pongs() => {
                let vitals = self.pulse.vitals();
                if self.outgoing.write(&FromWorker::Pong { id, vitals }).is_err() {
                    hung_up(&*self.manners);
                }
            }
            // Nothing here is paced.
            ToWorker::Allow { .. } | ToWorker::Ping { .. } => (),
        }
    }
}

struct Simulation {
    manners: Arc<dyn Manners>,
    world: World,
    outgoing: Outgoing,
}

impl Simulation {
    /// Calls first, background simulations between them.
    fn run(mut self, questions: &Receiver<Question>) {
        loop {
            let question = match self.world.background_due() {
                None => questions.recv().map_err(|_gone| RecvTimeoutError::Disconnected),
                Some(pause) => questions.recv_timeout(pause),
            };
            match question {
                Ok(question) => self.serve(question),
                Err(RecvTimeoutError::Timeout) => self.world.advance_background(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn serve(&mut self, Question { id, slot, request, attached }: Question) {
        let begun = Instant::now();
        let call = request.name();
        let outcome = if self.world.pulse.begin(Some(id)) {
            self.manners.begin(call, &self.outgoing);
            self.world.attached = attached;
            let outcome = request.serve_with(&mut self.world, slot);
            self.world.attached.clear();
            self.world.keep(slot, id);
            outcome
        } else {
            Err(Fault::Cancelled)
        };
        self.world.pulse.end(begun.elapsed());
        let answer = FromWorker::Answer { id, outcome, vitals: self.world.pulse.vitals() };
        if self.manners.answer(call, answer, &self.outgoing).is_err() {
            hung_up(&*self.manners);
        }
    }
}

fn hung_up(manners: &dyn Manners) -> ! {
    manners.hung_up();
    end(ending::DONE)
}
