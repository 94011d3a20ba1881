//! Spans: where the time of each call went, as one line of JSON for each, and sent to a collector
//! where the program is built for it. Never what a call carried.
//!
//! A call that takes long is in the log, too. The names of attributes are those of OpenTelemetry's
//! conventions for MCP where there are any, and begin with `simward.` otherwise.

#[cfg(feature = "otlp")]
mod otlp;
pub mod phases;
mod trace;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};

pub use self::phases::Phases;
pub use self::trace::{SpanId, Trace, TraceId};
use crate::outbox::{Lines, Outbox, Pace, Place};
use crate::remote::Remote;
use crate::tenants::Tenant;

/// What is told of single calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file that spans are written to; empty means none.
    pub spans_path: PathBuf,
    /// A file that is longer makes room for a new one, in bytes.
    pub spans_bytes_max: u64,
    /// How many files there may be, the newest among them: `NAME.1` is the one before.
    pub spans_files_max: u32,
    /// A call that takes longer is logged, in seconds; 0 means that none is.
    pub slow_call_secs: f64,
    /// Where spans are sent.
    pub otlp: OtlpConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spans_path: PathBuf::new(),
            spans_bytes_max: 64 << 20,
            spans_files_max: 10,
            slow_call_secs: 1.0,
            otlp: OtlpConfig::default(),
        }
    }
}

/// A collector of OpenTelemetry's protocol, over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Its address, such as `http://127.0.0.1:4318`; empty means that nothing is sent.
    pub endpoint: String,
    /// A file with lines `NAME: VALUE` that are sent along as headers; empty means none.
    pub headers_file: PathBuf,
    /// How long it may take to accept what it is sent, in seconds.
    pub timeout_secs: f64,
    /// How many spans may wait to be sent.
    pub queue_max: usize,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let (endpoint, headers_file) = (String::new(), PathBuf::new());
        Self { endpoint, headers_file, timeout_secs: 10.0, queue_max: 2048 }
    }
}

impl OtlpConfig {
    /// Whether anything is to be sent.
    pub fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }
}

/// What a file, and a queue, may be at most.
const BYTES_MAX: u64 = 1 << 40;
const FILES_MAX: u32 = 1000;
const QUEUE_MAX: usize = 100_000;

/// Up to a day.
const SLOW_SECS_MAX: f64 = 86_400.0;

impl Config {
    /// Values with which nothing could be done: the key, and what is wrong.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let Self { spans_bytes_max, spans_files_max, slow_call_secs, otlp, .. } = self;
        if *slow_call_secs != 0.0 && !(0.001..=SLOW_SECS_MAX).contains(slow_call_secs) {
            let range = format!("between 0.001 and {SLOW_SECS_MAX} seconds");
            let problem = format!("must be 0 (none) or {range}, and is {slow_call_secs}");
            return Err(("telemetry.slow_call_secs", problem));
        }
        let queue_max = otlp.queue_max as u64;
        for (key, value, max) in [
            ("telemetry.spans_bytes_max", *spans_bytes_max, BYTES_MAX),
            ("telemetry.spans_files_max", u64::from(*spans_files_max), u64::from(FILES_MAX)),
            ("telemetry.otlp.queue_max", queue_max, QUEUE_MAX as u64),
        ] {
            if !(1..=max).contains(&value) {
                return Err((key, format!("must lie between 1 and {max}, and is {value}")));
            }
        }
        let key = "telemetry.otlp.endpoint";
        if otlp.is_on() && !cfg!(feature = "otlp") {
            let problem = "needs a program that was built with its feature `otlp`, which this one \
                           was not: cargo build --release -p simward-supervisor --features otlp";
            return Err((key, problem.to_owned()));
        }
        let is_address =
            ["http://", "https://"].iter().any(|start| otlp.endpoint.starts_with(start));
        if otlp.is_on() && !is_address {
            let problem = "must be an address such as http://127.0.0.1:4318".to_owned();
            return Err((key, problem));
        }
        Ok(())
    }
}

/// Spans that may wait to be written.
const WAITING_MAX: usize = 8192;

/// So many are written together, or those that there are after [`WITHIN`].
const BATCH: usize = 100;

/// How long a span may wait.
const WITHIN: Duration = Duration::from_secs(10);

/// A call, as far as it is known when it begins.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it is part of.
    pub trace: Trace,
    /// The tool that it names.
    pub tool: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// The name of the token with which it came.
    pub caller: Arc<str>,
    /// Its number in its conversation.
    pub request_id: RequestId,
    /// The revision of MCP that it speaks.
    pub protocol: Option<String>,
    /// What it came over.
    pub transport: Transport,
    /// Where it came from.
    pub remote: Option<Remote>,
    /// The session that it names.
    pub session_id: Option<String>,
    /// How long it was.
    pub request_bytes: Option<u64>,
}

/// The number, or the name, of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// A number.
    Number(i64),
    /// A name; as much of it as is told.
    Text(String),
}

/// What a call came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input.
    Pipe,
    /// HTTP.
    Http,
}

/// A call that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// The call.
    pub call: Call,
    /// When it was over.
    pub ended: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// And where.
    pub phases: Phases,
    /// `ok`, or what came of it instead.
    pub outcome: String,
    /// Whether that is an error.
    pub is_error: bool,
    /// How long the result's content is.
    pub result_bytes: Option<u64>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A count, or a length in bytes.
    Count(u64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Span {
    /// Of a call that ends now, and well.
    pub fn ends_now(call: Call, took: Duration, phases: Phases, outcome: String) -> Self {
        let ended = Timestamp::now();
        Self { call, ended, took, phases, outcome, is_error: false, result_bytes: None }
    }

    /// Its name, by the conventions.
    pub fn name(&self) -> String {
        format!("tools/call {}", self.call.tool)
    }

    /// When the call began.
    pub fn began(&self) -> Timestamp {
        self.ended.checked_sub(self.took).unwrap_or(self.ended)
    }

    /// What is told of it beside its time.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        let Self { call, outcome, is_error, result_bytes, .. } = self;
        let request_id = match &call.request_id {
            RequestId::Number(number) => Value::from(number.to_string()),
            RequestId::Text(text) => text.as_str().into(),
        };
        let is_http = call.transport == Transport::Http;
        [
            ("mcp.method.name", Some("tools/call".into())),
            ("gen_ai.operation.name", Some("execute_tool".into())),
            ("gen_ai.tool.name", Some(call.tool.as_str().into())),
            ("jsonrpc.request.id", Some(request_id)),
            ("mcp.protocol.version", call.protocol.as_deref().map(Value::from)),
            ("network.transport", Some(if is_http { "tcp" } else { "pipe" }.into())),
            ("network.protocol.name", is_http.then(|| "http".into())),
            ("client.address", call.remote.map(|remote| remote.ip.to_string().into())),
            ("error.type", is_error.then(|| outcome.as_str().into())),
            ("simward.outcome", Some(outcome.as_str().into())),
            ("simward.tenant", Some(call.tenant.to_string().into())),
            ("simward.caller", Some((&*call.caller).into())),
            ("simward.session_id", call.session_id.as_deref().map(Value::from)),
            ("simward.request_bytes", call.request_bytes.map(Value::Count)),
            ("simward.result_bytes", result_bytes.map(Value::Count)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Secs(Phases);
        impl Serialize for Secs {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Phases { validate, queue, worker, format } = self.0;
                let mut map = serializer.serialize_map(Some(4))?;
                map.serialize_entry("validate_secs", &validate.as_secs_f64())?;
                map.serialize_entry("queue_secs", &queue.as_secs_f64())?;
                map.serialize_entry("worker_secs", &worker.as_secs_f64())?;
                map.serialize_entry("format_secs", &format.as_secs_f64())?;
                map.end()
            }
        }
        struct Attributes<'a>(&'a Span);
        impl Serialize for Attributes<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.attributes())
            }
        }
        let Trace { id, span_id, parent_id } = self.call.trace;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &self.began())?;
        map.serialize_entry("trace_id", &id)?;
        map.serialize_entry("span_id", &span_id)?;
        if let Some(parent_id) = parent_id {
            map.serialize_entry("parent_span_id", &parent_id)?;
        }
        map.serialize_entry("name", &self.name())?;
        map.serialize_entry("kind", "server")?;
        map.serialize_entry("duration_secs", &self.took.as_secs_f64())?;
        map.serialize_entry("phases", &Secs(self.phases))?;
        map.serialize_entry("attributes", &Attributes(self))?;
        map.end()
    }
}

/// Takes spans. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    file: Option<Outbox<Arc<Span>>>,
    otlp: Option<Outbox<Arc<Span>>>,
    /// A call that takes longer is logged.
    slow: Option<Duration>,
}

impl Spans {
    /// Writes and sends from now on what the configuration wants written and sent.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let slow = (config.slow_call_secs != 0.0).then_some(config.slow_call_secs);
        let slow = slow.map(Duration::from_secs_f64);
        Ok(Self { file: file(config)?, otlp: otlp(&config.otlp)?, slow })
    }

    /// Whether a call that took so long is told of.
    pub fn wants(&self, took: Duration) -> bool {
        self.file.is_some() || self.otlp.is_some() || self.is_slow(took)
    }

    /// Hands a span over.
    pub fn note(&self, span: Span) {
        if self.is_slow(span.took) {
            log(&span);
        }
        let outboxes = [&self.file, &self.otlp];
        let mut outboxes = outboxes.into_iter().flatten().peekable();
        if outboxes.peek().is_none() {
            return;
        }
        let span = Arc::new(span);
        for outbox in outboxes {
            outbox.put(Arc::clone(&span));
        }
    }

    /// How many spans were not written, and how many not sent.
    pub fn dropped_total(&self) -> [(&'static str, u64); 2] {
        let total = |outbox: &Option<Outbox<_>>| outbox.as_ref().map_or(0, Outbox::missing_total);
        [("file", total(&self.file)), ("otlp", total(&self.otlp))]
    }

    /// Writes and sends what waits, and nothing any more.
    pub fn close(&self) {
        for outbox in [&self.file, &self.otlp].into_iter().flatten() {
            outbox.close();
        }
    }

    fn is_slow(&self, took: Duration) -> bool {
        self.slow.is_some_and(|slow| slow <= took)
    }
}

/// Its trace comes with whatever is logged in a call.
fn log(span: &Span) {
    let Phases { validate, queue, worker, format } = span.phases;
    tracing::info!(
        tool = span.call.tool,
        tenant = %span.call.tenant,
        session_id = span.call.session_id.as_deref(),
        outcome = span.outcome,
        secs = span.took.as_secs_f64(),
        validate_secs = validate.as_secs_f64(),
        queue_secs = queue.as_secs_f64(),
        worker_secs = worker.as_secs_f64(),
        format_secs = format.as_secs_f64(),
        "a call was slow"
    );
}

fn file(config: &Config) -> anyhow::Result<Option<Outbox<Arc<Span>>>> {
    let Config { spans_path, spans_bytes_max, spans_files_max, .. } = config;
    if spans_path.as_os_str().is_empty() {
        return Ok(None);
    }
    let (bytes_max, older_max) = (*spans_bytes_max, spans_files_max.saturating_sub(1));
    let pace = Pace { waiting_max: WAITING_MAX, batch: BATCH, within: WITHIN };
    let lines = Lines::open(Place { path: spans_path.clone(), bytes_max, older_max });
    let opened = lines.and_then(|lines| Outbox::open("spans", pace, lines));
    let why = || format!("spans cannot be written to {}", spans_path.display());
    Ok(Some(opened.with_context(why)?))
}

#[cfg(feature = "otlp")]
fn otlp(config: &OtlpConfig) -> anyhow::Result<Option<Outbox<Arc<Span>>>> {
    if !config.is_on() {
        return Ok(None);
    }
    let pace = Pace { waiting_max: config.queue_max, batch: BATCH, within: WITHIN };
    let exporter = otlp::Exporter::open(config)?;
    Ok(Some(Outbox::open("otlp", pace, exporter).context("spans cannot be sent")?))
}

/// The configuration is refused that names a collector without it.
#[cfg(not(feature = "otlp"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it may fail")]
fn otlp(_config: &OtlpConfig) -> anyhow::Result<Option<Outbox<Arc<Span>>>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a call that was lost with its worker.
    pub(super) fn span() -> Span {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let millis = Duration::from_millis;
        Span {
            call: Call {
                trace: Trace::below(Some(traceparent)),
                tool: "step_simulation".to_owned(),
                tenant: Tenant::named("lab"),
                caller: "ann".into(),
                request_id: RequestId::Number(7),
                protocol: Some("2026-07-28".to_owned()),
                transport: Transport::Http,
                remote: Some(Remote { ip: [127, 0, 0, 1].into(), port: Some(53_124) }),
                session_id: Some("sim_1".to_owned()),
                request_bytes: Some(412),
            },
            ended: "2026-11-26T17:52:08.771Z".parse().unwrap(),
            took: millis(42),
            phases: Phases {
                validate: millis(1),
                queue: millis(10),
                worker: millis(30),
                format: millis(1),
            },
            outcome: "worker_lost".to_owned(),
            is_error: true,
            result_bytes: Some(287),
        }
    }

    #[test]
    fn a_span_is_a_line_with_the_names_of_the_conventions() {
        let mut line = serde_json::to_value(span()).unwrap();
        line["span_id"] = "a random one".into();
        insta::assert_json_snapshot!(line);
    }

    #[test]
    fn calls_that_are_quick_cost_nothing_where_nobody_listens() {
        let spans = Spans::open(&Config::default()).unwrap();
        assert!(!spans.wants(Duration::from_millis(999)) && spans.wants(Duration::from_secs(1)));
        let config = Config { slow_call_secs: 0.0, ..Config::default() };
        assert!(!Spans::open(&config).unwrap().wants(Duration::MAX));
    }

    #[test]
    fn the_file_has_every_span_once_it_is_closed_and_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.jsonl");
        let config = Config { spans_path: path.clone(), ..Config::default() };
        let spans = Spans::open(&config).unwrap();
        for _ in 0..3 * BATCH / 2 {
            spans.note(span());
        }
        spans.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3 * BATCH / 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(spans.dropped_total(), [("file", 0), ("otlp", 0)]);
    }

    #[test]
    fn a_full_disk_costs_spans_and_they_are_counted() {
        // Every write to it fails.
        let config = Config { spans_path: "/dev/full".into(), ..Config::default() };
        let spans = Spans::open(&config).unwrap();
        for _ in 0..1000 {
            spans.note(span());
        }
        spans.close();
        let [(_, dropped), _] = spans.dropped_total();
        assert!((900..1000).contains(&dropped), "{dropped}: all but what was left in the buffer");
    }
}
