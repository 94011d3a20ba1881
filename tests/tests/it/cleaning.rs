//! Sessions are cleaned up in every way that there is, each after its notice and not before the
//! moment that it named, and not if it is called off.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, is_alive};
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

use crate::alerts::{audit_of_alerts, firing, over, session, setup, state};
use crate::auth;
use crate::monitoring::session_with;

/// Seconds from one moment to another, as they are told; they are less than half a day apart.
pub(crate) fn secs_between(from: &Value, to: &Value) -> f64 {
    of_day_between(secs_of_day(from), secs_of_day(to))
}

/// Seconds since a moment that is told; less than none if it is to come.
fn secs_since(moment: &Value) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    of_day_between(secs_of_day(moment), now.as_secs_f64())
}

fn secs_of_day(moment: &Value) -> f64 {
    let (_, clock) = moment.as_str().unwrap().trim_end_matches('Z').split_once('T').unwrap();
    clock.split(':').fold(0.0, |secs, part| 60.0 * secs + part.parse::<f64>().unwrap())
}

fn of_day_between(from: f64, to: f64) -> f64 {
    (to - from + 43_200.0).rem_euclid(86_400.0) - 43_200.0
}

/// From the notice to what is done, in seconds.
const GRACE_SECS: f64 = 3.0;

/// Why a session is cleaned up: the argument that says so, and the rule that it makes.
type Reason = (&'static str, &'static str);

const REASONS: [Reason; 2] = [("idle_secs", "cleanup_idle"), ("age_secs", "cleanup_age")];

/// What is done to a session: what it is called, what state the session has after it, if there still
/// is one, and what is told of it.
type Action = (&'static str, Option<&'static str>, Option<&'static str>);

const ACTIONS: [Action; 4] = [
    ("warn", Some("ready"), None),
    ("hibernate", Some("hibernated"), Some("hibernated")),
    ("drain", None, Some("drained and closed")),
    ("close", None, Some("closed")),
];

/// A tenant whose session is cleaned up in one way.
struct Case {
    tenant: String,
    client: HttpClient,
    id: String,
    pid: i32,
    reason: Reason,
    action: Action,
}

fn tenant((_, rule): Reason, (action, ..): Action) -> String {
    format!("{rule}-{action}")
}

impl Case {
    fn open(daemon: &Daemon, token: &str, (reason, action): (Reason, Action)) -> Self {
        let mut client = daemon.client().with_token(token);
        let id = session_with(&mut client, &json!({ "scene": "pendulum" }));
        let info = client.tool("get_session_info", json!({ "session_id": id })).unwrap();
        let pid = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
        Self { tenant: tenant(reason, action), client, id, pid, reason, action }
    }

    /// Cleans up, and returns the notice that came first.
    fn clean_up(&mut self) -> Value {
        let ((argument, rule), (action, end, done)) = (self.reason, self.action);
        let client = &mut self.client;
        let asked = json!({ argument: 0.5, "action": action, "grace_secs": GRACE_SECS });
        client.tool("enable_auto_cleanup", asked).unwrap();
        let notice = wait_for("the notice", || firing(client, rule));
        let labels = json!({ "session_id": self.id, "tenant": self.tenant });
        assert_eq!((&notice["labels"], &notice["action"]), (&labels, &json!(action)));
        assert_eq!(notice["done"], Value::Null, "not yet: {notice}");
        assert_eq!(state(client, &self.id).as_deref(), Some("ready"), "not yet: {notice}");
        let Some(done) = done else {
            self.stays(&notice);
            return notice;
        };
        let grace_secs = secs_between(&notice["fired_at"], &notice["acts_at"]);
        // Moments are told to the millisecond.
        assert!((grace_secs - GRACE_SECS).abs() < 0.002, "{notice}");
        wait_until("it is done", || {
            let now = state(client, &self.id);
            let is_due = 0.0 <= secs_since(&notice["acts_at"]);
            assert!(is_due || now.as_deref() == Some("ready"), "{now:?} before: {notice}");
            now.as_deref() == end
        });
        let pid = self.pid;
        wait_until("the worker is gone", || !is_alive(pid));
        if end.is_some() {
            let told = wait_for("what was done", || {
                firing(client, rule).filter(|alert| !alert["done"].is_null())
            });
            assert_eq!((&told["done"], &told["acts_at"]), (&json!(done), &Value::Null));
        } else {
            let past = wait_for("the end of it", || over(client, rule));
            assert_eq!((&past["why"], &past["done"]), (&json!("gone"), &json!(done)));
        }
        notice
    }

    /// The time comes at which something would be done, and nothing is.
    fn stays(&mut self, notice: &Value) {
        assert_eq!(notice["acts_at"], Value::Null, "{notice}");
        wait_until("the time has come", || GRACE_SECS + 1.0 < secs_since(&notice["fired_at"]));
        let alert = firing(&mut self.client, self.reason.1).expect("it fires still");
        assert_eq!(alert["fired_at"], notice["fired_at"]);
        assert_eq!((&alert["acts_at"], &alert["done"]), (&Value::Null, &Value::Null));
        assert_eq!(state(&mut self.client, &self.id).as_deref(), Some("ready"));
        assert!(is_alive(self.pid));
    }

    /// The audit told first that it fires, and at its time what was done.
    fn check_audit(&self, audit: &[Value], notice: &Value) {
        let (_, end, done) = self.action;
        let lines = audit.iter().filter(|line| line["tenant"] == *self.tenant);
        let lines: Vec<&Value> = lines.collect();
        assert!(lines.iter().all(|line| line["session_id"] == *self.id), "{lines:?}");
        let mut outcomes: Vec<_> =
            lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes[0], "fired", "{outcomes:?}");
        let mut expected: Vec<_> =
            done.into_iter().chain(end.is_none().then_some("resolved")).collect();
        // What ends with the session may be told before it is told that it was closed.
        outcomes[1..].sort_unstable();
        expected.sort_unstable();
        assert_eq!(outcomes[1..], expected, "{}", self.tenant);
        for line in lines.iter().filter(|line| done.is_some_and(|done| line["outcome"] == done)) {
            assert!(0.0 <= secs_between(&notice["acts_at"], &line["at"]), "{line} {notice}");
        }
    }
}

#[test]
fn idle_and_old_sessions_are_told_of_and_then_treated_as_was_asked() {
    let folder = TempDir::new().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let ways: Vec<_> =
        REASONS.into_iter().flat_map(|reason| ACTIONS.map(|action| (reason, action))).collect();
    let tokens = ways
        .iter()
        .map(|(reason, action)| auth::add(folder.path(), &tenant(*reason, *action), &[]));
    let tokens: Vec<String> = tokens.collect();
    let guarded = auth::setup(folder.path()).set("audit.path", audit.to_str().unwrap());
    let mut daemon = guarded.set("alerts.interval_secs", "0.1").serve();
    let cases = ways.into_iter().zip(&tokens).map(|(way, token)| Case::open(&daemon, token, way));
    let cases: Vec<_> = cases.collect();
    daemon.workers();
    let cleaning = cases.into_iter().map(|mut case| {
        let thread = std::thread::Builder::new().name(case.tenant.clone());
        let clean_up = move || {
            let notice = case.clean_up();
            (case, notice)
        };
        thread.spawn(clean_up).unwrap()
    });
    let cleaning: Vec<_> = cleaning.collect();
    let done: Vec<_> = cleaning.into_iter().map(|thread| thread.join().unwrap()).collect();
    wait_until("only those that were warned of have a process", || daemon.workers().len() == 2);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let audit = audit_of_alerts(&audit);
    for (case, notice) in done {
        case.check_audit(&audit, &notice);
    }
}

/// A session is going to be closed for its age, until its owner asks for something else. It has the
/// rules then that are named, and stays.
fn assert_called_off(asked: Value, rules: &[&str]) {
    let mut daemon = setup().serve();
    let mut client = daemon.client();
    let id = session(&mut client);
    let workers = daemon.workers();
    let both = json!({
        "idle_secs": 80_000, "age_secs": 0.1, "action": "close", "grace_secs": GRACE_SECS,
    });
    let names = |told: &Value| -> Vec<String> {
        let rules = told["rules"].as_array().unwrap().iter();
        rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    };
    let told = client.tool("enable_auto_cleanup", both).unwrap();
    assert_eq!(names(&told), ["cleanup_idle", "cleanup_age"]);
    let notice = wait_for("the notice", || firing(&mut client, "cleanup_age"));
    assert!(notice["acts_at"].is_string(), "{notice}");
    let told = client.tool("enable_auto_cleanup", asked).unwrap();
    assert_eq!(names(&told), rules);
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(names(&listed), rules);
    assert_eq!(listed["alerts"], json!([]));
    let past = over(&mut client, "cleanup_age").expect("it is over at once");
    assert_eq!((&past["why"], &past["done"]), (&json!("rule_removed"), &Value::Null));
    wait_until("the time has come", || 1.0 < secs_since(&notice["acts_at"]));
    assert_eq!(state(&mut client, &id).as_deref(), Some("ready"));
    assert_eq!(daemon.workers(), workers);
}

#[test]
fn a_session_that_was_going_to_be_closed_stays_if_that_is_called_off() {
    assert_called_off(json!({ "enabled": false }), &[]);
}

#[test]
fn who_asks_only_for_unused_sessions_does_not_lose_old_ones_any_more() {
    assert_called_off(json!({ "idle_secs": 80_000, "action": "close" }), &["cleanup_idle"]);
}

#[test]
fn what_operators_clean_up_of_all_tenants_its_owner_hears_of_before() {
    let folder = TempDir::new().unwrap();
    let scopes = ["--scope", "pool:admin", "--scope", "sim:use"];
    let tokens = [auth::add(folder.path(), "ann", &[]), auth::add(folder.path(), "ops", &scopes)];
    let mut daemon = auth::setup(folder.path()).set("alerts.interval_secs", "0.1").serve();
    let [mut ann, mut ops] = tokens.map(|token| daemon.client().with_token(&token));
    let id = session(&mut ann);
    daemon.workers();
    let asked = json!({
        "age_secs": 0.1, "action": "close", "grace_secs": GRACE_SECS, "all_tenants": true,
    });
    let refused = ann.tool("enable_auto_cleanup", asked.clone()).unwrap_err();
    assert_eq!(refused["code"], "insufficient_scope");
    let told = ops.tool("enable_auto_cleanup", asked).unwrap();
    assert_eq!(told["rules"][0]["owner"], "fleet");
    let notice = wait_for("the notice", || firing(&mut ann, "cleanup_age"));
    assert_eq!((&notice["owner"], &notice["action"]), (&json!("fleet"), &json!("close")));
    assert_eq!(notice["labels"], json!({ "session_id": id, "tenant": "ann" }));
    assert!(notice["acts_at"].is_string(), "{notice}");
    let info = ann.tool("get_session_info", json!({ "session_id": id })).unwrap();
    assert_eq!(info["notices"][0]["acts_at"], notice["acts_at"]);
    // What is not hers she does not call off.
    ann.tool("enable_auto_cleanup", json!({ "enabled": false })).unwrap();
    wait_until("it is closed", || state(&mut ann, &id).is_none());
    assert!(0.0 <= secs_since(&notice["acts_at"]), "it was closed before: {notice}");
    wait_until("its worker is gone", || daemon.workers().is_empty());
    let past = wait_for("the end of it", || over(&mut ann, "cleanup_age"));
    assert_eq!((&past["why"], &past["fired_at"]), (&json!("gone"), &notice["fired_at"]));
}

#[test]
fn times_at_which_everything_would_be_cleaned_up_are_refused_by_name() {
    let daemon = setup().serve();
    let mut client = daemon.client();
    for (argument, value) in [
        ("idle_secs", 0.0),
        ("idle_secs", -1.0),
        ("age_secs", 0.0),
        ("age_secs", -1.0),
        ("grace_secs", 0.5),
    ] {
        let mut asked = json!({ "idle_secs": 60, "age_secs": 60, "grace_secs": 1 });
        asked[argument] = json!(value);
        let refused = client.tool("enable_auto_cleanup", asked).unwrap_err();
        assert_eq!(refused["code"], "invalid_argument", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(argument), "{refused}");
    }
    let refused = client.tool("enable_auto_cleanup", json!({})).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
    let listed = client.tool("get_performance_alerts", json!({})).unwrap();
    assert_eq!(listed["rules"], json!([]), "nothing was set");
}
