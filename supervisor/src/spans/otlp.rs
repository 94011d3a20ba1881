//! Sends spans to a collector: OpenTelemetry's protocol, version 1, as protobuf over HTTP.
//!
//! What a collector does not take within its time is dropped, and counted; nothing is kept for it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::runtime::Runtime;

use super::{OtlpConfig, Span, Trace, Value};
use crate::outbox::{Missing, Sink, headers};

/// What is below the address of every collector.
const PATH: &str = "/v1/traces";

/// So many spans are sent together at most.
const REQUEST_SPANS_MAX: usize = 512;

/// Sends them, on the thread that it is moved to.
#[derive(Debug)]
pub(super) struct Exporter {
    collector: opentelemetry_otlp::SpanExporter,
    runtime: Runtime,
    within: Duration,
    scope: InstrumentationScope,
    /// Whether the last ones were not taken, so that those that are not either are not told of.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn open(config: &OtlpConfig) -> anyhow::Result<Self> {
        let OtlpConfig { endpoint, headers_file, timeout_secs, .. } = config;
        let within = Duration::from_secs_f64(*timeout_secs);
        // A collector that leads elsewhere would be told of calls that are none of its business.
        let client = reqwest::Client::builder()
            .timeout(within)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("simward/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("there is no client for spans")?;
        let mut collector = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(client)
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_timeout(within)
            .with_headers(named(&headers(headers_file)?))
            .build()
            .with_context(|| format!("spans cannot be sent to {endpoint}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("simward").with_attribute(version);
        collector.set_resource(&resource.build());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let scope = InstrumentationScope::builder("simward").build();
        Ok(Self { collector, runtime, within, scope, is_failing: false })
    }

    fn send(&mut self, spans: &[Arc<Span>]) -> Result<(), String> {
        let spans = spans.iter().map(|span| data(span, &self.scope)).collect();
        let sending = self.collector.export(spans);
        let sent = self.runtime.block_on(async {
            // It keeps to its time itself, but for what it waits between two attempts.
            tokio::time::timeout(self.within, sending).await
        });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("it took longer than {} s", self.within.as_secs_f64())),
        }
    }

    /// Says once that spans cannot be sent, and once that they can be again.
    fn say(&mut self, sent: Result<(), String>) {
        match sent {
            Err(error) if !self.is_failing => {
                tracing::error!(error, "spans cannot be sent");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing => {
                tracing::info!("spans can be sent again");
                self.is_failing = false;
            }
            _ => (),
        }
    }
}

impl Sink<Arc<Span>> for Exporter {
    fn take(&mut self, batch: &mut Vec<Arc<Span>>, missing: &Missing) {
        let mut left = batch.len();
        for spans in batch.chunks(REQUEST_SPANS_MAX) {
            let sent = self.send(spans);
            let is_sent = sent.is_ok();
            self.say(sent);
            if !is_sent {
                // The rest would only wait as long: the daemon may want to stop.
                missing.add(left as u64);
                return;
            }
            left -= spans.len();
        }
    }

    fn end(self, _missing: &Missing) {
        self.collector.shutdown().ok();
    }
}

/// One span, as OpenTelemetry has it.
fn data(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let Trace { id, span_id, parent_id } = span.call.trace;
    let began = SystemTime::from(span.began());
    // Whatever the client's flags say: the operator wants to see all calls.
    let span_context = SpanContext::new(
        TraceId::from(id.0),
        SpanId::from(span_id.0),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    let phases = span.phases.named().map(|(phase, took)| {
        KeyValue::new(format!("simward.phase.{phase}_secs"), took.as_secs_f64())
    });
    let attributes = span.attributes().map(|(name, value)| match value {
        Value::Text(text) => KeyValue::new(name, StringValue::from(text.into_owned())),
        Value::Count(count) => KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX)),
    });
    SpanData {
        span_context,
        parent_span_id: parent_id.map_or(SpanId::INVALID, |id| SpanId::from(id.0)),
        parent_span_is_remote: parent_id.is_some(),
        span_kind: SpanKind::Server,
        name: span.name().into(),
        start_time: began,
        end_time: began + span.took,
        attributes: attributes.chain(phases).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if span.is_error { Status::error(span.outcome.clone()) } else { Status::Unset },
        instrumentation_scope: scope.clone(),
    }
}

/// As the exporter wants them.
fn named(headers: &http::HeaderMap) -> HashMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    use super::*;
    use crate::spans::tests::span;
    use crate::spans::{Config, Spans};

    /// A collector at an address of its own: what it is sent, and what it answers.
    async fn collector(status: StatusCode) -> (String, Receiver<(HeaderMap, Vec<u8>)>) {
        let (tell, told) = sync_channel(64);
        let take = move |headers: HeaderMap, body: Bytes| async move {
            tell.send((headers, body.to_vec())).ok();
            status
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route(PATH, post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (endpoint, told)
    }

    fn open(endpoint: String, headers_file: &Path) -> Spans {
        let headers_file = headers_file.to_owned();
        let otlp = OtlpConfig { endpoint, headers_file, timeout_secs: 5.0, queue_max: 100 };
        Spans::open(&Config { otlp, ..Config::default() }).unwrap()
    }

    fn holds(body: &[u8], part: &[u8]) -> bool {
        body.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_gets_spans_with_their_traces_before_the_daemon_is_gone() {
        let (endpoint, told) = collector(StatusCode::OK).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\nauthorization: Bearer a-secret\n").unwrap();
        let spans = open(endpoint, file.path());
        let span = span();
        let Trace { id, span_id, parent_id } = span.call.trace;
        spans.note(span);
        tokio::task::spawn_blocking({
            let spans = spans.clone();
            move || spans.close()
        })
        .await
        .unwrap();
        let (headers, body) = told.recv().unwrap();
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["authorization"], "Bearer a-secret");
        assert!(holds(&body, &id.0.to_be_bytes()) && holds(&body, &span_id.0.to_be_bytes()));
        assert!(holds(&body, &parent_id.unwrap().0.to_be_bytes()));
        for text in ["simward", "gen_ai.tool.name", "step_simulation", "simward.phase.queue_secs"] {
            assert!(holds(&body, text.as_bytes()), "{text}");
        }
        assert_eq!(spans.dropped_total(), [("file", 0), ("otlp", 0)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_collector_does_not_take_is_counted() {
        let (endpoint, _told) = collector(StatusCode::BAD_REQUEST).await;
        let spans = open(endpoint, Path::new(""));
        for _ in 0..3 {
            spans.note(span());
        }
        tokio::task::spawn_blocking({
            let spans = spans.clone();
            move || spans.close()
        })
        .await
        .unwrap();
        assert_eq!(spans.dropped_total(), [("file", 0), ("otlp", 3)]);
    }

    #[test]
    fn a_span_is_told_as_it_is() {
        let span = span();
        let data = data(&span, &InstrumentationScope::builder("simward").build());
        assert_eq!(data.span_context.trace_id().to_string(), span.call.trace.id.to_string());
        assert_eq!(data.parent_span_id.to_string(), span.call.trace.parent_id.unwrap().to_string());
        assert_eq!(data.end_time.duration_since(data.start_time).unwrap(), span.took);
        assert_eq!(
            (data.name.as_ref(), data.span_kind),
            ("tools/call step_simulation", SpanKind::Server)
        );
        assert_eq!(data.status, Status::error("worker_lost"));
        let told = |name: &str| {
            let found = data.attributes.iter().find(|attribute| attribute.key.as_str() == name);
            found.map(|attribute| attribute.value.to_string())
        };
        assert_eq!(told("error.type").as_deref(), Some("worker_lost"));
        assert_eq!(told("simward.request_bytes").as_deref(), Some("412"));
        assert_eq!(told("simward.phase.worker_secs").as_deref(), Some("0.03"));
    }
}
