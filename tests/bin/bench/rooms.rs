//! Sessions to measure in.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::models;

use crate::wire;

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
        client.tool("load_model", self.arguments(models::arguments("humanoid"))).unwrap();
    }

    /// Loads the built-in pendulum.
    pub(crate) fn load_pendulum(&self, client: &mut HttpClient) {
        let arguments = self.arguments(json!({ "scene": "pendulum" }));
        client.tool("create_scene", arguments).unwrap();
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
