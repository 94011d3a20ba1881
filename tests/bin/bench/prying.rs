//! Whether the time of a refusal tells that somebody else has a session of that handle.
//!
//! A tenant asks, in turn and in an order that changes, after handles of another tenant's sessions
//! and after handles that nobody has. The answers are the same to the byte but for the handle; what
//! is compared is how long they take. Two sets of handles that nobody has are compared likewise:
//! what they differ in is noise.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Bench;
use crate::report::{Report, Row};
use crate::shared::Shared;
use crate::stats::Samples;
use crate::wire::{Wire, request_as};

/// Sessions of the other tenant, and handles in each set.
const HANDLES: u32 = 16;

/// Rounds, in each of which every handle is asked after.
const ROUNDS: u32 = 2000;

/// Rounds that are not counted: what is there once has to be there.
const WARM_UP: u32 = 50;

/// The sets: another tenant's handles, and twice those that nobody has.
const SETS: usize = 3;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, 2, &["sessions.hibernate_after_secs=3600"]);
    let mut owner = Wire::connect(shared.server.address());
    let create = request_as(&shared.tokens[0], "create_session", &json!({}));
    let mut handles = || {
        let ids = (0..HANDLES).map(|_| owner.call(&create).content()["session_id"].clone());
        ids.collect::<Vec<Value>>()
    };
    let sets = [handles(), handles(), handles()];
    // Those of the last two sets are gone by the time they are asked after.
    for id in sets[1..].iter().flatten() {
        let close = json!({ "session_id": id });
        owner.call(&request_as(&shared.tokens[0], "close_session", &close)).expect_success();
    }
    let ask = |id: &Value| {
        request_as(&shared.tokens[1], "get_session_info", &json!({ "session_id": id }))
    };
    let questions = |(at, set): (usize, usize)| (set, ask(&sets[set][at]));
    let all = (0..HANDLES as usize).flat_map(|at| (0..SETS).map(move |set| (at, set)));
    let mut questions: Vec<(usize, Vec<u8>)> = all.map(questions).collect();
    let mut prying = Wire::connect(shared.server.address());
    let mut micros: [Samples; SETS] = Default::default();
    for round in 0..WARM_UP + bench.options.times(ROUNDS) {
        // Nobody always comes after the same one.
        questions.reverse();
        for (set, question) in &questions {
            let begun = Instant::now();
            let answer = prying.call(question);
            let took = begun.elapsed();
            assert!(!answer.is_success(), "somebody else's session is there");
            if WARM_UP <= round {
                micros[*set].add_micros(took);
            }
        }
    }
    let [theirs, unknown, other] = micros;
    compare(report, "somebody else's handle", &theirs, &unknown, Some((1.05, 0.1)));
    compare(report, "another handle that nobody has", &other, &unknown, None);
}

/// How much longer one takes than the other, and how much that is beside how much both vary.
fn compare(
    report: &mut Report,
    what: &str,
    one: &Samples,
    other: &Samples,
    at_most: Option<(f64, f64)>,
) {
    let (median, reference) = (one.median(), other.median());
    let ratio = median.max(reference) / median.min(reference);
    let text = format!("get_session_info of {what}, p50 (ratio: to or from one that nobody has)");
    let row = Row::new(22, &text, median, "µs").ratio(ratio);
    report.add(if let Some((most, _)) = at_most { row.ratio_at_most(most) } else { row });
    let spread = other.quantile(75) - other.quantile(25);
    let shift = (median - reference).abs() / spread;
    let text = format!("the same of {what}, difference of the p50 over the middle half's width");
    let row = Row::new(22, &text, shift, "");
    report.add(if let Some((_, most)) = at_most { row.at_most(most) } else { row });
}
