//! A model in one state, in the daemon and in the official `mujoco` package.
//!
//! The other half is `tests/clients/python/analysis.py`.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::{models, programs};

use crate::clients::Client;

/// The models that are compared.
pub(crate) const MODELS: [&str; 3] = ["humanoid", "shadow_hand", "ur5e"];

/// A daemon with a client.
pub(crate) fn daemon() -> (Daemon, HttpClient) {
    let daemon = Setup::real(&programs!()).serve();
    let client = daemon.client();
    (daemon, client)
}

/// Brings the model into the state that the package is in; returns a client, and what the package
/// says of it.
pub(crate) fn same_state(daemon: &Daemon, name: &str) -> (HttpClient, Value) {
    let official = Client::Python.run("analysis.py", &[name]);
    // A new client: an old one's connection has been idle for as long as the package took.
    let mut client = daemon.client();
    let mut model = models::arguments(name);
    model["model_id"] = json!(name);
    client.tool("load_model", model).unwrap();
    let mut state = official["state"].clone();
    state["model_id"] = json!(name);
    client.tool("set_state", state).unwrap();
    (client, official)
}

/// All numbers of a value, in order, strings and nulls left out.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => vec![number.as_f64().unwrap()],
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

/// Compares all numbers of two values; `tolerance` 0 wants the same bits.
#[track_caller]
pub(crate) fn assert_close(got: &Value, wanted: &Value, tolerance: f64, what: &str) {
    let (got, wanted) = (numbers(got), numbers(wanted));
    assert_eq!(got.len(), wanted.len(), "{what}: another length");
    for (index, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        let near = (got - wanted).abs() <= tolerance * wanted.abs().max(1.0);
        assert!(near, "{what}[{index}] is {got:e}, and {wanted:e} in the reference");
    }
}

/// A number of a reply.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A vector of a reply.
#[track_caller]
pub(crate) fn vector<const N: usize>(value: &Value) -> [f64; N] {
    numbers(value).try_into().unwrap_or_else(|_| panic!("{value} has not {N} numbers"))
}
