//! Many sessions stepping for minutes while their workers are ended: nothing that was acknowledged
//! may be lost, nobody else may notice, and nothing may stay behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;

use crate::Bench;
use crate::census::Census;
use crate::disturbing::{self, Disturbances};
use crate::report::{Report, Row};
use crate::server::Server;
use crate::stats::Samples;
use crate::tracks::{MODELS, Runner, TRACKS};

const SESSIONS: usize = 100;

/// The sessions of these numbers are left alone: every one whose number this divides.
const BYSTANDER: usize = 5;

const CLIENTS: usize = 10;

/// For how long, in seconds.
const SECS: u32 = 300;

/// How long a session may take to be back, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long to wait before a call that was refused for now is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// Workers are lost far more often than a daemon as it comes puts up with.
const SETTINGS: [&str; 4] = [
    disturbing::MEMORY,
    "sessions.restart.losses_max=1000",
    "sessions.restart.back_off_max_secs=0.5",
    "sessions.restart.window_secs=10",
];

/// What a client met.
#[derive(Debug, Default)]
struct Tally {
    lost_workers: u64,
    parked: u64,
    /// Refused for now.
    waits: u64,
    /// States that were not the last one that was acknowledged.
    mismatches: u64,
    lost_steps: u64,
    /// Refusals in sessions that nobody has disturbed.
    innocent: u64,
    back_millis: Samples,
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start_with(&bench.programs, &SETTINGS);
    // What is made once and kept, such as compiled models and threads, is made now.
    let runners = populate(&server);
    disturbing::swell(&mut server.client(), &runners[0].room);
    close(&server, &runners);
    drop(runners);
    let before = Census::settled(&server, None);

    let time = Duration::from_secs(bench.options.times(SECS).into());
    let mut runners = populate(&server);
    let (done, mut tally) = disturbed(&server, &mut runners, time);
    look_again(&server, &mut runners, &mut tally);
    close(&server, &runners);
    let after = Census::settled(&server, Some(before));
    drop(server);
    let strayed = compare(bench, &runners);
    tell(report, time, done, &tally);
    let steps = runners.iter().map(|runner| runner.steps).sum();
    report.add(Row::new(10, "steps acknowledged", float(steps), ""));
    let rounds = runners.iter().map(|runner| runner.rounds.len() as u64 - 1).sum();
    report.add(Row::new(10, "calls acknowledged", float(rounds), ""));
    let rows = [
        ("acknowledged steps lost", float(tally.lost_steps)),
        ("states after a loss that were not the last acknowledged one", float(tally.mismatches)),
        ("sessions that left the course of an undisturbed one, of 100", float(strayed)),
        ("refusals in the 20 sessions that were left alone", float(tally.innocent)),
    ];
    for (what, value) in rows {
        report.add(Row::new(10, what, value, "").at_most(0.0));
    }
    leaks(report, before, after);
}

fn tell(report: &mut Report, time: Duration, done: Disturbances, tally: &Tally) {
    let Disturbances { killed, stopped, swollen } = done;
    let secs = time.as_secs_f64();
    report.add(Row::new(10, "100 sessions stepping while workers are disturbed, for", secs, "s"));
    let rows = [
        ("workers killed", killed.into()),
        ("workers stopped", stopped.into()),
        ("workers made to swell", swollen.into()),
        ("calls refused with worker_lost", tally.lost_workers),
        ("calls refused because the session was parked", tally.parked),
        ("calls refused for now", tally.waits),
    ];
    for (what, value) in rows {
        report.add(Row::new(10, what, float(value), ""));
    }
    if tally.back_millis.count() != 0.0 {
        let millis = &tally.back_millis;
        let what = "worker_lost until the state was read";
        report.add(Row::new(10, &format!("{what}, p50"), millis.median(), "ms"));
        report.add(Row::new(10, &format!("{what}, p99"), millis.quantile(99), "ms"));
    }
}

fn leaks(report: &mut Report, before: Census, after: Census) {
    let rows = [
        ("descriptors", after.descriptors - before.descriptors),
        ("threads", after.threads - before.threads),
        ("processes", after.processes - before.processes),
        ("zombies", after.zombies - before.zombies),
        ("ports", after.ports - before.ports),
        ("files in the state folder", after.files - before.files),
    ];
    for (what, more) in rows {
        let more = f64::from(i32::try_from(more).unwrap());
        report.add(Row::new(10, &format!("{what} more than before"), more, "").at_most(0.0));
    }
    let more = after.rss_mb - before.rss_mb;
    report.add(Row::new(10, "the daemon's RSS more than before", more, "MB").at_most(10.0));
    report.add(Row::new(10, "the daemon's RSS before", before.rss_mb, "MB"));
}

/// Brings sessions to the beginning of their tracks.
fn populate(server: &Server) -> Vec<Runner> {
    let mut client = server.client();
    (0..SESSIONS).map(|index| Runner::start(&mut client, index % TRACKS)).collect()
}

fn close(server: &Server, runners: &[Runner]) {
    let mut client = server.client();
    for runner in runners {
        runner.room.close(&mut client);
    }
}

/// Lets all sessions step while their workers are disturbed.
fn disturbed(server: &Server, runners: &mut [Runner], time: Duration) -> (Disturbances, Tally) {
    let victims = runners.iter().enumerate().filter(|(index, _)| !is_bystander(*index));
    let victims: Vec<_> = victims.map(|(_, runner)| runner.room.clone()).collect();
    let end = &AtomicBool::new(false);
    let until = Instant::now() + time;
    let share = runners.len().div_ceil(CLIENTS);
    std::thread::scope(|scope| {
        let disturber = scope.spawn(|| disturbing::disturb(server, &victims, end));
        let shares = runners.chunks_mut(share).enumerate();
        let run =
            |(index, runners)| scope.spawn(move || run(server, runners, index * share, until));
        let clients: Vec<_> = shares.map(run).collect();
        let mut tally = Tally::default();
        for client in clients {
            tally.add(client.join().unwrap());
        }
        end.store(true, Ordering::Relaxed);
        (disturber.join().unwrap(), tally)
    })
}

fn is_bystander(index: usize) -> bool {
    index.is_multiple_of(BYSTANDER)
}

/// One client: takes rounds in all of its sessions, in turn.
fn run(server: &Server, runners: &mut [Runner], first: usize, until: Instant) -> Tally {
    let mut client = server.client();
    let mut tally = Tally::default();
    while Instant::now() < until {
        for (index, runner) in runners.iter_mut().enumerate() {
            if let Err(refused) = runner.step(&mut client) {
                tally.note(&refused, is_bystander(first + index));
                let begun = Instant::now();
                tally.check(&mut client, runner, is_bystander(first + index));
                tally.back_millis.add_millis(begun.elapsed());
            }
        }
    }
    tally
}

impl Tally {
    /// A call was refused.
    fn note(&mut self, refused: &Value, is_bystander: bool) {
        match refused["code"].as_str().unwrap() {
            "worker_lost" => self.lost_workers += 1,
            "session_parked" => self.parked += 1,
            _ if refused["retry_after_ms"].is_null() && !is_bystander => {
                panic!("a call was refused for good: {refused}")
            }
            _ => self.waits += 1,
        }
        if is_bystander {
            eprintln!("refused in a session that was left alone: {refused}");
            self.innocent += 1;
        }
    }

    /// Looks whether a session is where it was acknowledged to be.
    fn check(&mut self, client: &mut HttpClient, runner: &mut Runner, is_bystander: bool) {
        let begun = Instant::now();
        let state = loop {
            match runner.look(client) {
                Ok(state) => break state,
                Err(refused) => {
                    assert!(begun.elapsed() < PATIENCE, "a session does not come back: {refused}");
                    self.note(&refused, is_bystander);
                    if refused["code"] == "session_parked" {
                        runner.room.tool(client, "revive_session", json!({})).unwrap();
                    } else if refused["code"] != "worker_lost" {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        };
        if state != runner.last {
            self.mismatches += 1;
            let (id, wanted) = (&runner.room.id, &runner.last);
            eprintln!("{id} is not where it was:\n  {wanted}\n  {state}");
            if let Ok(steps) = runner.steps_taken(client) {
                eprintln!("  {} steps were acknowledged, and it took {steps}", runner.steps);
                self.lost_steps += runner.steps.saturating_sub(steps);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.lost_workers += other.lost_workers;
        self.parked += other.parked;
        self.waits += other.waits;
        self.mismatches += other.mismatches;
        self.lost_steps += other.lost_steps;
        self.innocent += other.innocent;
        self.back_millis.extend(other.back_millis);
    }
}

/// Looks at every session once more, when nobody disturbs any: some hear only now of a loss.
fn look_again(server: &Server, runners: &mut [Runner], tally: &mut Tally) {
    let mut client = server.client();
    for (index, runner) in runners.iter_mut().enumerate() {
        tally.check(&mut client, runner, is_bystander(index));
        let steps = runner.steps_taken(&mut client).unwrap();
        tally.lost_steps += runner.steps.saturating_sub(steps);
    }
}

/// Runs every track undisturbed; tells how many sessions have ever been anywhere else.
fn compare(bench: &Bench, runners: &[Runner]) -> u64 {
    let server = Server::start(&bench.programs);
    // Compiled by one, so that the others find it.
    for track in 0..MODELS.len() {
        Runner::start(&mut server.client(), track);
    }
    let mut longest = BTreeMap::<usize, usize>::new();
    for runner in runners {
        let rounds = longest.entry(runner.track()).or_default();
        *rounds = (*rounds).max(runner.rounds.len());
    }
    let longest: Vec<_> = longest.into_iter().collect();
    let run = |(track, rounds): &(usize, usize)| {
        let mut client = server.client();
        let mut runner = Runner::start(&mut client, *track);
        while runner.rounds.len() < *rounds {
            runner.step(&mut client).unwrap();
        }
        (*track, runner.rounds)
    };
    let run = &run;
    let courses: BTreeMap<usize, Vec<u64>> = std::thread::scope(|scope| {
        let shares = longest.chunks(longest.len().div_ceil(CLIENTS));
        let clients: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().map(run).collect::<Vec<_>>()))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let strayed = runners.iter().filter(|runner| {
        let course = &courses[&runner.track()];
        course[..runner.rounds.len()] != runner.rounds
    });
    strayed.count() as u64
}

fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
