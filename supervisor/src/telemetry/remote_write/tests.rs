//! A small receiver takes what is sent apart again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;

use super::wire::WriteRequest;
use super::*;
use crate::durations::Durations;
use crate::telemetry::metric::Id;
use crate::telemetry::series::{Point, Subject, Summary};
use crate::tenants::Tenant;

type Told = (HeaderMap, WriteRequest);

/// A receiver that answers so, one after the other, and then always with the last.
async fn receiver(answers: &'static [u16]) -> (String, Receiver<Told>) {
    let (tell, told) = sync_channel(64);
    let asked = Arc::new(AtomicUsize::new(0));
    let take = move |headers: HeaderMap, body: Bytes| async move {
        let place = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        tell.send((headers, WriteRequest::decode(&plain[..]).unwrap())).ok();
        StatusCode::from_u16(answers[place]).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    let router = Router::new().route("/api/v1/write", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

fn open(url: String, headers_file: &std::path::Path) -> RemoteWrite {
    let headers_file = headers_file.to_owned();
    let config = Config { url, headers_file, timeout_secs: 5.0, queue_max: 3 };
    RemoteWrite::open(&config, false).unwrap().unwrap()
}

async fn close(remote: &RemoteWrite) {
    let remote = remote.clone();
    tokio::task::spawn_blocking(move || remote.close()).await.unwrap();
}

fn this_minute() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    now - now.rem_euclid(60) - 60
}

fn minute(begin_secs: i64) -> Minute {
    let gauge = |id: Id, value: f32| {
        (id, Summary { min: value, max: value, sum: 60.0 * f64::from(value), count: 60 })
    };
    let point = |gauges| Point { gauges, histograms: Vec::new() };
    let mut durations = Durations::default();
    durations.note(1_000_000);
    let tool =
        Point { gauges: vec![gauge(Id::Calls, 3.0)], histograms: vec![(Id::CallTime, durations)] };
    let model = |tenant: &str| Subject::Model(Tenant::named(tenant), "arm-0123abcd".into());
    let points = vec![
        (Subject::Fleet, point(vec![gauge(Id::HostCpu, 0.5), gauge(Id::Memory, 1024.0)])),
        (Subject::Tool("get_state".into()), tool),
        (model("ann"), point(vec![gauge(Id::Steps, 100.0)])),
        (model("bob"), point(vec![gauge(Id::Steps, 20.0)])),
        (Subject::Tenant(Tenant::named("ann")), point(vec![gauge(Id::Cpu, 1.0)])),
        (Subject::Session(Tenant::named("ann"), "sim_1".into()), point(vec![gauge(Id::Cpu, 1.0)])),
    ];
    Minute { begin_secs, points }
}

/// The series of a request, as Prometheus would write them, and when they are of.
fn series(request: &WriteRequest) -> BTreeMap<String, (f64, i64)> {
    let of = |series: &wire::TimeSeries| {
        assert!(series.labels.is_sorted(), "{series:?}");
        let label = |label: &wire::Label| format!("{}={}", label.name, label.value);
        let labels = series.labels.iter().filter(|label| label.name != "instance").map(label);
        let [sample] = &series.samples[..] else { panic!("{series:?}") };
        (labels.collect::<Vec<_>>().join(","), (sample.value, sample.timestamp))
    };
    request.timeseries.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_a_minute_of_what_is_nobodys_own() {
    let (url, told) = receiver(&[204]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "authorization: Bearer a-secret\n").unwrap();
    let remote = open(url, file.path());
    let begin = this_minute();
    remote.note(&minute(begin));
    close(&remote).await;
    let (headers, request) = told.recv().unwrap();
    assert_eq!(headers["authorization"], "Bearer a-secret");
    assert_eq!(headers["content-encoding"], "snappy");
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["x-prometheus-remote-write-version"], "0.1.0");
    let at = (begin + 60) * 1000;
    let told = series(&request);
    let value = |name: &str| told.get(name).copied();
    assert_eq!(value("__name__=simward_host_cpu_ratio,job=simward"), Some((0.5, at)));
    assert_eq!(value("__name__=simward_fleet_resident_bytes,job=simward"), Some((1024.0, at)));
    let tool = "__name__=simward_tool_calls_per_second,job=simward,tool=get_state";
    assert_eq!(value(tool), Some((3.0, at)));
    // Without tenants' names there is one model of that name.
    let model = "__name__=simward_model_steps_per_second,job=simward,model=arm-0123abcd";
    assert_eq!(value(model), Some((120.0, at)));
    let p99 = "__name__=simward_tool_call_seconds,job=simward,quantile=0.99,tool=get_state";
    assert!(value(p99).is_some_and(|(secs, _)| (0.0008..0.0012).contains(&secs)), "{told:?}");
    assert_eq!(told.len(), 7);
    assert!(told.keys().all(|name| !name.contains("sim_1") && !name.contains("ann")));
    assert_eq!(remote.dropped_total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_at_once_is_sent_again() {
    let (url, told) = receiver(&[503, 429, 200]).await;
    let remote = open(url, std::path::Path::new(""));
    remote.note(&minute(this_minute()));
    let bodies: Vec<_> = (0..3).map(|_| series(&told.recv().unwrap().1)).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    close(&remote).await;
    assert_eq!(remote.dropped_total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_or_too_old_or_too_much_is_counted() {
    let (url, told) = receiver(&[400, 503]).await;
    let remote = open(url, std::path::Path::new(""));
    remote.note(&minute(0));
    remote.note(&minute(this_minute()));
    told.recv().unwrap();
    // From now on the receiver has no time, and three may wait behind the one that is under way.
    remote.note(&minute(this_minute()));
    told.recv().unwrap();
    for _ in 0..7 {
        remote.note(&minute(this_minute()));
    }
    assert_eq!(remote.dropped_total(), 2 + 4);
    close(&remote).await;
    assert_eq!(remote.dropped_total(), 2 + 4 + 4);
}

#[test]
fn a_name_that_models_share_is_two_series_where_tenants_are_named() {
    let labels = Labels { instance: "here".to_owned(), with_tenants: true };
    let requests = series::requests(&minute(0), &labels);
    let told = series(&requests[0]);
    let model = |tenant: &str| {
        let name = "simward_model_steps_per_second";
        let labels = format!("__name__={name},job=simward,model=arm-0123abcd,tenant={tenant}");
        told[&labels].0
    };
    assert_eq!((model("ann"), model("bob")), (100.0, 20.0));
}

#[test]
fn the_bytes_are_those_of_the_published_protocol() {
    let label = |name: &str, value: &str| wire::Label { name: name.into(), value: value.into() };
    let samples = vec![wire::Sample { value: 1.0, timestamp: 1 }];
    let series = wire::TimeSeries { labels: vec![label("__name__", "x")], samples };
    let request = WriteRequest { timeseries: vec![series] };
    // Written by hand after prompb/remote.proto and types.proto: tags, lengths, values.
    let expected =
        b"\x0a\x1c\x0a\x0d\x0a\x08__name__\x12\x01x\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x01";
    assert_eq!(request.encode_to_vec(), expected);
}
