//! Sessions to measure in.

use serde_json::{Value, json};
use simward_supervisor::scenes;
use simward_tests::client::{HttpClient, Refused};
use simward_tests::models;
use simward_tests::wait::wait_until;

use crate::process;
use crate::wire::{self, Wire};

/// How long a worker must have computed to be taken for one that steps.
const STEPPING_SECS: f64 = 0.005;

/// A session and its worker.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) pid: i32,
}

impl Room {
    /// Creates a session.
    pub(crate) fn open(client: &mut HttpClient) -> Self {
        Self::described(&client.tool("create_session", json!({})).unwrap())
    }

    /// The session that `create_session` described.
    pub(crate) fn described(session: &Value) -> Self {
        let pid = session["pid"].as_i64().unwrap();
        let id = session["session_id"].as_str().unwrap().to_owned();
        Self { id, pid: i32::try_from(pid).unwrap() }
    }

    pub(crate) fn close(&self, client: &mut HttpClient) {
        client.tool("close_session", json!({ "session_id": self.id })).unwrap();
    }

    /// Loads the humanoid.
    pub(crate) fn load_humanoid(&self, client: &mut HttpClient) {
        self.load(client, "humanoid");
    }

    /// Loads the built-in pendulum.
    pub(crate) fn load_pendulum(&self, client: &mut HttpClient) {
        self.load(client, "pendulum");
    }

    /// Loads the built-in scene or the model of that name.
    pub(crate) fn load(&self, client: &mut HttpClient, name: &str) {
        let (tool, arguments) = if scenes::SCENES.iter().any(|scene| scene.name == name) {
            ("create_scene", json!({ "scene": name }))
        } else {
            ("load_model", models::arguments(name))
        };
        self.tool(client, tool, arguments).unwrap();
    }

    /// Copies it, up to 16 times.
    pub(crate) fn fork(&self, client: &mut HttpClient, count: u32) -> Vec<Self> {
        let copies = self.tool(client, "fork_session", json!({ "count": count })).unwrap();
        copies["sessions"].as_array().unwrap().iter().map(Self::described).collect()
    }

    /// Calls a tool in this session.
    pub(crate) fn tool(
        &self,
        client: &mut HttpClient,
        tool: &str,
        arguments: Value,
    ) -> Result<Value, Refused> {
        client.tool(tool, self.arguments(arguments))
    }

    /// Its state by default, or what was refused.
    pub(crate) fn state(&self, client: &mut HttpClient) -> Result<Value, Refused> {
        self.tool(client, "get_state", json!({}))
    }

    /// Makes a call that takes long; returns once its worker steps.
    pub(crate) fn begin_steps(&self, wire: &mut Wire) {
        let before = process::ran_secs(self.pid);
        wire.send(&self.request("step_simulation", json!({ "steps": 1_000_000 })));
        wait_until("the worker steps", || before + STEPPING_SECS < process::ran_secs(self.pid));
    }

    /// A request to this session, ready to be sent.
    pub(crate) fn request(&self, tool: &str, arguments: Value) -> Vec<u8> {
        wire::request(tool, &self.arguments(arguments))
    }

    fn arguments(&self, mut arguments: Value) -> Value {
        arguments["session_id"] = self.id.clone().into();
        arguments
    }
}
