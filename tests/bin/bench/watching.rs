//! What it costs a simulation to be watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;
use simward_tests::viewer::{Seen, Viewer};

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const VIEWERS: usize = 10;
const STEPS: u32 = 20_000;
const TURNS: u32 = 10;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let room = Room::open(&mut client);
    room.load_humanoid(&mut client);
    let link = room.tool(&mut client, "get_viewer_url", json!({})).unwrap();
    let link = link["url"].as_str().unwrap().to_owned();
    let mut wire = server.wire();
    let step = room.request("step_simulation", json!({ "steps": STEPS }));
    let one_step = room.request("step_simulation", json!({ "steps": 1 }));
    let (mut alone, mut watched) = (Samples::default(), Samples::default());
    let mut frames = Samples::default();
    for turn in 0..bench.options.times(TURNS) {
        for is_watched in [turn % 2 == 0, turn % 2 != 0] {
            let viewers = is_watched.then(|| Viewers::watch(&link));
            let begun = Instant::now();
            wire.call(&step).expect_success();
            let secs = begun.elapsed().as_secs_f64();
            let rate = f64::from(STEPS) / secs;
            match viewers {
                None => alone.add(rate),
                Some(viewers) => {
                    watched.add(rate);
                    frames.add(viewers.seen() / secs);
                    viewers.stop();
                    // They see that with the next frame.
                    wire.call(&one_step).expect_success();
                    viewers.gone();
                }
            }
        }
    }
    let (alone, watched) = (alone.median(), watched.median());
    let what = "humanoid steps under the eyes of 10 viewers (ratio: to nobody's)";
    report.add(Row::new(17, what, watched, "steps/s").ratio(watched / alone).ratio_at_least(0.95));
    report.add(Row::new(17, "frames that each of them saw", frames.median(), "1/s"));
}

/// Viewers that take every frame as soon as it comes.
struct Viewers {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Viewers {
    fn watch(link: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |_| {
            let mut viewer = Viewer::connect(link).unwrap();
            viewer.next_shape();
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match viewer.see() {
                        Seen::Moment(_) => {
                            seen.fetch_add(1, Ordering::Relaxed);
                            viewer.ask(&json!({ "ask": "more" }));
                        }
                        Seen::Closed(..) => return,
                        _ => (),
                    }
                }
            })
        };
        let threads = (0..VIEWERS).map(one).collect();
        Self { stop, seen, threads }
    }

    /// How many frames each has seen.
    fn seen(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "frames of some seconds")]
        let all = self.seen.load(Ordering::Relaxed) as f64;
        all / 10.0
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn gone(self) {
        self.threads.into_iter().for_each(|viewer| viewer.join().unwrap());
    }
}
