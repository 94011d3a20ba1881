//! How tools fare.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Times;
use crate::metrics::{Pair, Tally};
use crate::telemetry::monitor::Monitor;
use crate::telemetry::query::rounded;
use crate::tenants::Tenant;

/// How calls of a tool fared.
#[expect(clippy::struct_field_names, reason = "clients know it by this name")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tool {
    /// Its name.
    pub tool: String,
    /// Calls that ended.
    pub calls: u64,
    /// Those of them that were refused or failed.
    pub errors: u64,
    /// The second over the first.
    pub error_ratio: f64,
    /// Calls that are being carried out.
    pub in_flight: u64,
    /// Bytes of their requests, over HTTP.
    pub request_bytes: u64,
    /// Bytes of their answers' content.
    pub result_bytes: u64,
    /// How long they took; null if none ended.
    pub call_secs: Option<Times>,
    /// How long the longest took.
    pub max_secs: f64,
    /// How long ago the first of them was counted.
    pub counted_secs: f64,
}

/// Of every tool that was called: by a tenant, or by everybody.
pub fn all(monitor: &Monitor, tenant: Option<&Tenant>) -> Vec<Tool> {
    let is_meant = |(of, _): &&Pair| tenant.is_none_or(|tenant| tenant == of);
    let mut tools: BTreeMap<Arc<str>, (Tally, Instant, u64)> = BTreeMap::new();
    {
        let totals = monitor.totals();
        for (pair, total) in totals.all().filter(|(pair, _)| is_meant(pair)) {
            let place = tools.entry(Arc::clone(&pair.1));
            let (tally, since, _) = place.or_insert_with(|| (Tally::default(), total.since, 0));
            tally.add(&total.tally);
            *since = (*since).min(total.since);
        }
        for (pair, count) in monitor.calls().recent().in_flight() {
            if is_meant(&&pair) {
                let place = tools.entry(pair.1);
                place.or_insert_with(|| (Tally::default(), Instant::now(), 0)).2 += count;
            }
        }
    }
    let tool = |(name, (tally, since, in_flight)): (Arc<str>, (Tally, Instant, u64))| {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let error_ratio = rounded(tally.errors as f64 / (tally.calls.max(1)) as f64);
        Tool {
            tool: name.to_string(),
            calls: tally.calls,
            errors: tally.errors,
            error_ratio,
            in_flight,
            request_bytes: tally.request_bytes,
            result_bytes: tally.result_bytes,
            call_secs: Times::of(&tally.durations),
            max_secs: rounded(tally.longest.as_secs_f64()),
            counted_secs: rounded(since.elapsed().as_secs_f64()),
        }
    };
    tools.into_iter().map(tool).collect()
}
