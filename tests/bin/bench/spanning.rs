//! What a span costs the call that it is of. The call itself does nothing here: no worker, no client.

use std::time::{Duration, Instant};

use simward_supervisor::spans::{Call, Config, RequestId, Span, Spans, Trace, Transport, phases};
use simward_supervisor::tenants::Tenant;

use crate::Bench;
use crate::report::{Report, Row};
use crate::stats::Samples;

/// How often it is measured.
const ROUNDS: u32 = 50;

/// So many calls at a time, which is less than may wait to be written: dropping is cheaper.
const CALLS: u32 = 4000;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let mut micros = Samples::default();
    let mut missing = 0;
    for _ in 0..bench.options.times(ROUNDS) {
        let (took, dropped) = round();
        micros.add_micros(took / CALLS);
        missing += dropped;
    }
    assert_eq!(missing, 0, "what is measured must be written");
    let row = Row::new(23, "a span, written to a file, for its call, p50", micros.median(), "µs");
    report.add(row.at_most(2.0));
}

/// How long that many calls take, with a thread beside them that writes.
fn round() -> (Duration, u64) {
    let folder = tempfile::tempdir().unwrap();
    let spans_path = folder.path().join("spans.jsonl");
    let spans = Spans::open(&Config { spans_path, ..Config::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let tenant = Tenant::named("lab");
    let took = runtime.block_on(async {
        let begun = Instant::now();
        for number in 0..CALLS {
            call(&spans, &tenant, number).await;
        }
        begun.elapsed()
    });
    spans.close();
    (took, spans.dropped_total().iter().map(|(_, count)| count).sum())
}

/// All that is done for the span of a call that asks a worker.
async fn call(spans: &Spans, tenant: &Tenant, number: u32) {
    let begun = Instant::now();
    let call = Call {
        trace: Trace::below(Some(TRACEPARENT)),
        tool: "step_simulation".to_owned(),
        tenant: tenant.clone(),
        caller: "ann".into(),
        request_id: RequestId::Number(number.into()),
        protocol: Some("2026-07-28".to_owned()),
        transport: Transport::Http,
        remote: None,
        session_id: Some("sim_2580c645bd8bed098fcc85772e8896b6".to_owned()),
        request_bytes: Some(400),
    };
    phases::timed(begun, call.trace.id, async {
        {
            let _waiting = phases::waiting();
        }
        {
            let _waiting = phases::waiting();
            // The driver looks at the clock when it asks, and when it is answered.
            phases::served(Instant::now(), Instant::now());
        }
        let now = Instant::now();
        let took = now.saturating_duration_since(begun);
        if spans.wants(took) {
            let (phases, _) = phases::so_far(now);
            let outcome = "ok".to_owned();
            spans.note(Span::ends_now(call, took, phases, outcome));
        }
    })
    .await;
}
