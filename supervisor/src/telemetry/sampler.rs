//! Takes a sample of everything, once a second.
//!
//! Everything that can be is kept open or remembered from one second to the next: a sample of a
//! thousand workers costs a few milliseconds. One that costs more than its share is taken less often,
//! and says so.

mod gpus;
mod lately;
mod machine;
mod processes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use simward_protocol::meter::{BUCKETS, Head, Timing};

use self::lately::Lately;
use self::machine::Machine;
use self::processes::Processes;
use super::levels::{Level, Levels};
use super::metric::Id;
use super::series::{Sample, Subject};
use crate::durations::Durations;
use crate::metrics::{Calls, Pair, Since, Tally};
use crate::session::{Meter, Session};
use crate::sessions::Sessions;
use crate::store::Model;
use crate::tenants::Tenant;
use crate::worker::Worker;

/// Takes samples. It has no clock of its own.
#[derive(Debug)]
pub(super) struct Sampler {
    sessions: Sessions,
    calls: Calls,
    machine: Machine,
    processes: Processes,
    seen: HashMap<Arc<str>, Seen>,
    /// Which sample is under way.
    round: u64,
    tenants: Lately<Tenant>,
    tools: Lately<Arc<str>>,
    /// Meters of workers that were told that nothing is measured.
    resting: HashMap<Arc<str>, Meter>,
    losses: u64,
    /// Nothing was measured before this sample: what was counted until now is no difference.
    begins: bool,
}

/// What was seen of a session at the last sample.
#[derive(Debug, Default)]
struct Seen {
    meter: Option<Counted>,
    busy: Option<Busy>,
    losses: u64,
    /// The last sample that it was in.
    round: u64,
    model: Option<(String, Arc<Model>, Arc<str>)>,
}

/// For how long its worker had been busy until then.
#[derive(Clone, Copy, Debug)]
struct Busy {
    pid: i32,
    nanos: u64,
}

/// What its meter counted until then.
#[derive(Debug)]
struct Counted {
    meter: Meter,
    /// What its worker was told, if it was told anything.
    level: Option<Level>,
    head: Head,
    buckets: Box<[u64; BUCKETS]>,
}

/// The time since the last sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// How long it was, by a clock that nobody sets: what shares of it are reckoned by.
    pub(super) secs: f64,
    /// How many seconds of the series it fills: what is counted is spread over them, so that they add
    /// up to it again, whenever exactly the sample was taken.
    pub(super) places: f64,
    /// How long it was to be.
    pub(super) interval_secs: f64,
}

/// What a sample tells.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) samples: Vec<(Subject, Sample)>,
    pub(super) calls: BTreeMap<Pair, Tally>,
}

/// More steps in a second than any machine takes: what is said beyond is a lie.
const STEPS_PER_SEC_MAX: f64 = 1e10;

/// More simulated seconds in a second than there can be: steps of ten seconds.
const REAL_TIME_MAX: f64 = 1e11;

/// A timed step stands for as many at most, some of which were taken before the last sample.
const STAND_FOR_MAX: u64 = 4096;

/// About how many samples are of what is no session.
const OTHERS_ABOUT: usize = 128;

/// What adds up from sessions to tenants, and from tenants to the fleet.
const SUMS: [Id; 7] =
    [Id::Sessions, Id::Awake, Id::Cpu, Id::Memory, Id::Steps, Id::RealTime, Id::Warnings];

/// What adds up from tools and tenants to the fleet.
const SUMS_OF_CALLS: [Id; 4] = [Id::Calls, Id::Errors, Id::BytesIn, Id::BytesOut];

/// What adds up from sessions to models.
const SUMS_OF_MODELS: [Id; 4] = [Id::Sessions, Id::Awake, Id::Steps, Id::RealTime];

/// Sums over sessions.
#[derive(Debug, Default)]
struct Sums {
    fleet: Sample,
    tenants: BTreeMap<Tenant, Sample>,
    models: BTreeMap<(Tenant, Arc<str>), Sample>,
    tools: BTreeMap<Arc<str>, Sample>,
    pids: HashSet<i32>,
}

impl Sampler {
    pub(super) fn new(sessions: Sessions, calls: Calls) -> Self {
        Self {
            sessions,
            calls,
            machine: Machine::default(),
            processes: Processes::default(),
            seen: HashMap::new(),
            round: 0,
            tenants: Lately::default(),
            tools: Lately::default(),
            resting: HashMap::new(),
            losses: 0,
            begins: false,
        }
    }

    /// Takes a sample of all of which anybody wants one.
    pub(super) fn take(&mut self, levels: &Levels, stretch: Stretch) -> Taken {
        if levels.is_all_off() {
            self.rest();
            return Taken { samples: Vec::new(), calls: self.calls.recent().take().by_pair };
        }
        self.resting.clear();
        let mut sums = Sums::default();
        let sessions = self.sessions.all();
        let mut samples = Vec::with_capacity(sessions.len() + OTHERS_ABOUT);
        self.round += 1;
        for session in sessions {
            let id = Arc::clone(&session.plan().id);
            let level = levels.of(&session.plan().tenant, &id);
            let sample = self.session(&session, level, stretch, &mut sums);
            samples.push((Subject::Session(session.plan().tenant.clone(), id), sample));
        }
        self.begins = false;
        self.seen.retain(|_, seen| seen.round == self.round);
        self.processes.forget_gone();
        let Since { by_pair: calls, of_nobody } = self.calls.recent().take();
        Self::calls(&calls, &of_nobody, stretch, &mut sums);
        self.quiet(stretch, &mut sums);
        self.fleet(&mut sums.fleet, stretch);
        let Sums { fleet, tenants, models, tools, .. } = sums;
        samples.extend(tenants.into_iter().map(|(tenant, of)| (Subject::Tenant(tenant), of)));
        let model = |((tenant, model), of)| (Subject::Model(tenant, model), of);
        samples.extend(models.into_iter().map(model));
        samples.extend(tools.into_iter().map(|(tool, of)| (Subject::Tool(tool), of)));
        samples.push((Subject::Fleet, fleet));
        Taken { samples, calls }
    }

    /// Nothing is measured: workers time no step, and whatever is counted meanwhile is of no second
    /// of the series.
    fn rest(&mut self) {
        let sessions = self.sessions.all();
        for session in &sessions {
            let Some(meter) = session.status().meter.clone() else { continue };
            let told = self.resting.get(&session.plan().id);
            if told.is_none_or(|told| !told.is(&meter)) {
                meter.want(timing(Level::Off));
                self.resting.insert(Arc::clone(&session.plan().id), meter);
            }
        }
        let there: HashSet<&str> = sessions.iter().map(|session| &*session.plan().id).collect();
        self.resting.retain(|id, _| there.contains(&**id));
        self.seen.clear();
        self.processes = Processes::default();
        self.machine.rest();
        self.tenants = Lately::default();
        self.tools = Lately::default();
        self.begins = true;
    }

    /// Who did nothing in this stretch, and did so lately, did so at a rate of 0.
    fn quiet(&mut self, stretch: Stretch, sums: &mut Sums) {
        self.tenants.look(stretch.secs, sums.tenants.keys());
        for tenant in self.tenants.all() {
            let of_tenant = sums.tenants.entry(tenant.clone()).or_default();
            fill(of_tenant, SUMS.iter().chain(&SUMS_OF_CALLS));
        }
        self.tools.look(stretch.secs, sums.tools.keys());
        for tool in self.tools.all() {
            fill(sums.tools.entry(Arc::clone(tool)).or_default(), &SUMS_OF_CALLS);
        }
        fill(&mut sums.fleet, SUMS.iter().chain(&SUMS_OF_CALLS));
    }

    /// Of one session; adds it to what it is part of.
    fn session(
        &mut self,
        session: &Session,
        level: Level,
        stretch: Stretch,
        sums: &mut Sums,
    ) -> Sample {
        let plan = session.plan();
        let mut sample = Sample::default();
        sample.set(Id::Sessions, 1.0);
        sample.set(Id::Idle, session.idle().as_secs_f64());
        sample.set(Id::Age, session.age().as_secs_f64());
        let (worker, meter, losses) = {
            let status = session.status();
            (status.worker.clone(), status.meter.clone(), status.losses)
        };
        sample.set(Id::Awake, f64::from(u8::from(worker.is_some())));
        let mut is_first = false;
        if let Some((worker, _)) = &worker {
            let facts = worker.facts();
            if let Some(look) = self.processes.look(facts.pid, facts.started, stretch.secs) {
                is_first = sums.pids.insert(facts.pid);
                sample.set(Id::Cpu, look.cpu_ratio);
                sample.set(Id::Memory, look.resident_bytes);
                if let Some(max) = plan.limits().memory_bytes {
                    sample.set(Id::MemoryOfLimit, look.resident_bytes / ratio_of(max));
                }
            }
        }
        let begins = self.begins;
        let seen = self.seen.entry(Arc::clone(&plan.id));
        let seen = seen.or_insert_with(|| Seen::since(if begins { losses } else { 0 }));
        seen.round = self.round;
        self.losses += losses.saturating_sub(seen.losses);
        seen.losses = losses;
        seen.look_busy(
            worker.as_ref().map(|(worker, _)| worker),
            (stretch.secs, !begins),
            &mut sample,
        );
        seen.count_steps(meter, (level, !begins), stretch, &mut sample);
        let tenant = sums.tenants.entry(plan.tenant.clone()).or_default();
        // Sessions that share a worker have its processor time and its memory once.
        let gauges: &[Id] = &SUMS;
        let apart: Vec<Id>;
        let gauges = if is_first || worker.is_none() {
            gauges
        } else {
            let shared = |id: &Id| ![Id::Cpu, Id::Memory].contains(id);
            apart = gauges.iter().copied().filter(shared).collect();
            &apart
        };
        for sum in [tenant, &mut sums.fleet] {
            sum.take_in(&sample, gauges, Id::StepTime);
        }
        if let Some(model) = seen.model(session) {
            let model = sums.models.entry((plan.tenant.clone(), model)).or_default();
            model.take_in(&sample, &SUMS_OF_MODELS, Id::StepTime);
        }
        sample
    }

    /// Of the calls since the last sample.
    fn calls(
        calls: &BTreeMap<Pair, Tally>,
        of_nobody: &BTreeMap<Arc<str>, Tally>,
        stretch: Stretch,
        sums: &mut Sums,
    ) {
        for (tool, tally) in of_nobody {
            add_calls(sums.tools.entry(Arc::clone(tool)).or_default(), tally, stretch);
        }
        for ((tenant, tool), tally) in calls {
            let of_tool = sums.tools.entry(Arc::clone(tool)).or_default();
            add_calls(of_tool, tally, stretch);
            let of_tenant = sums.tenants.entry(tenant.clone()).or_default();
            add_calls(of_tenant, tally, stretch);
        }
        for of_tool in sums.tools.values() {
            sums.fleet.take_in(of_tool, &SUMS_OF_CALLS, Id::CallTime);
        }
    }

    /// Of the machine and the daemon.
    fn fleet(&mut self, fleet: &mut Sample, stretch: Stretch) {
        self.machine.look(fleet, stretch.secs);
        let pool = self.sessions.pool();
        let (ports, turns) = (pool.ports().counts(), pool.gate().counts());
        let free = ports.total.saturating_sub(ports.leased + ports.resting);
        fleet.set(Id::PortsFree, count(free));
        fleet.set(Id::StartsWaiting, count(turns.waiting));
        fleet.set(Id::Workers, count(self.processes.len()));
        #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
        fleet.set(Id::CallsInFlight, self.calls.in_flight() as f64);
        fleet.set(Id::Losses, rate(std::mem::take(&mut self.losses), stretch.places));
        fleet.set(Id::TelemetryInterval, stretch.interval_secs);
    }
}

impl Seen {
    /// Seen first, with so many losses before.
    fn since(losses: u64) -> Self {
        Self { losses, ..Self::default() }
    }

    /// For how long its worker was busy since the last sample.
    fn look_busy(
        &mut self,
        worker: Option<&Worker>,
        (passed_secs, is_new): (f64, bool),
        sample: &mut Sample,
    ) {
        let Some(worker) = worker else {
            self.busy = None;
            return;
        };
        let now = Busy { pid: worker.facts().pid, nanos: worker.status().vitals.busy_nanos };
        let before = self.busy.replace(now).filter(|before| before.pid == now.pid);
        // What a new worker has done, it has done since the last sample.
        let is_new = is_new && worker.facts().started.elapsed().as_secs_f64() < passed_secs + 1.0;
        let before = before.map(|before| before.nanos).or_else(|| is_new.then_some(0));
        if let Some(before) = before {
            let nanos = now.nanos.saturating_sub(before);
            sample.set(Id::Busy, rate(nanos, passed_secs * 1e9).min(1.0));
        }
    }

    /// What the session's meter has counted since the last sample.
    fn count_steps(
        &mut self,
        meter: Option<Meter>,
        (level, is_new): (Level, bool),
        Stretch { secs: passed_secs, places, .. }: Stretch,
        sample: &mut Sample,
    ) {
        sample.set(Id::Steps, 0.0);
        sample.set(Id::RealTime, 0.0);
        sample.set(Id::Warnings, 0.0);
        let Some(meter) = meter else {
            self.meter = None;
            return;
        };
        if self.meter.as_ref().is_none_or(|counted| !counted.meter.is(&meter)) {
            // That of a worker that is older than the last sample is a beginning, not a difference.
            self.meter = Counted::begin(meter, is_new);
        }
        let Some(counted) = &mut self.meter else { return };
        counted.want(level);
        let Some(counts) = counted.meter.counts() else { return };
        let head = counts.head();
        let before = std::mem::replace(&mut counted.head, head);
        sample.set(Id::Contacts, ratio_of(head.contacts));
        sample.set(Id::Constraints, ratio_of(head.constraints));
        sample.set(Id::Arena, ratio_of(head.arena_used_max_bytes));
        let steps = head.steps_total.saturating_sub(before.steps_total);
        let secs = (head.simulated_secs_total - before.simulated_secs_total).max(0.0);
        // What no worker can have done, this one has not done either.
        if STEPS_PER_SEC_MAX < rate(steps, passed_secs) || REAL_TIME_MAX < secs / passed_secs {
            return;
        }
        let nanos = head.step_nanos_total.saturating_sub(before.step_nanos_total);
        let warnings = head.warnings_total.saturating_sub(before.warnings_total);
        sample.set(Id::Steps, rate(steps, places));
        sample.set(Id::RealTime, secs / passed_secs);
        sample.set(Id::Warnings, rate(warnings, places).min(STEPS_PER_SEC_MAX));
        let slices = head.slices_total.saturating_sub(before.slices_total);
        if slices != 0 {
            let iterations =
                head.solver_iterations_total.saturating_sub(before.solver_iterations_total);
            sample.set(Id::Iterations, ratio_of(iterations) / ratio_of(slices));
        }
        if nanos != 0 {
            let now = counts.histogram();
            let durations = Durations::between(&counted.buckets[..], now);
            counted.buckets.copy_from_slice(now);
            if durations.count() <= steps.saturating_add(STAND_FOR_MAX) {
                sample.observe(Id::StepTime, &durations);
            }
        }
    }

    /// What the one model of the session is called in the series of models.
    fn model(&mut self, session: &Session) -> Option<Arc<str>> {
        session.holdings().only_model(|model_id, model| {
            if let Some((id, known, name)) = &self.model
                && id == model_id
                && Arc::ptr_eq(known, model)
            {
                return Arc::clone(name);
            }
            // A name that clients choose would let them fill the table.
            let name: Arc<str> = format!("{:.12}", model.key.to_string()).into();
            self.model = Some((model_id.to_owned(), Arc::clone(model), Arc::clone(&name)));
            name
        })
    }
}

impl Counted {
    /// A meter that is seen first: everything that it has counted, it has counted just now, if its
    /// worker is new.
    fn begin(meter: Meter, is_new: bool) -> Option<Self> {
        let (mut head, mut buckets) = (Head::default(), Box::new([0; BUCKETS]));
        if !is_new {
            let counts = meter.counts()?;
            head = counts.head();
            buckets.copy_from_slice(counts.histogram());
        }
        Some(Self { meter, level: None, head, buckets })
    }

    /// Tells the worker how closely to look, if it does not know.
    fn want(&mut self, level: Level) {
        if self.level != Some(level) {
            self.meter.want(timing(level));
            self.level = Some(level);
        }
    }
}

/// Which steps a worker shall time.
fn timing(level: Level) -> Timing {
    match level {
        Level::Off => Timing::None,
        Level::Basic => Timing::Some,
        Level::Detailed => Timing::Every,
    }
}

/// What was not measured is 0.
fn fill<'a>(sample: &mut Sample, gauges: impl IntoIterator<Item = &'a Id>) {
    for id in gauges {
        sample.add(*id, 0.0);
    }
}

fn add_calls(sample: &mut Sample, tally: &Tally, Stretch { places, .. }: Stretch) {
    sample.add(Id::Calls, rate(tally.calls, places));
    sample.add(Id::Errors, rate(tally.errors, places));
    sample.add(Id::BytesIn, rate(tally.request_bytes, places));
    sample.add(Id::BytesOut, rate(tally.result_bytes, places));
    sample.observe(Id::CallTime, &tally.durations);
}

#[expect(clippy::cast_precision_loss, reason = "measurements are floating point")]
fn ratio_of(number: u64) -> f64 {
    number as f64
}

fn rate(number: u64, secs: f64) -> f64 {
    ratio_of(number) / secs
}

fn count(number: usize) -> f64 {
    ratio_of(number as u64)
}
