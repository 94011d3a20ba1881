//! Simulations whose whole course is known beforehand: what is asked in each round depends only on
//! the number of the round.

use std::f64::consts::TAU;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};
use simward_tests::client::{HttpClient, Refused};

use crate::rooms::Room;

/// What simulates; the first tracks are one of each.
pub(crate) const MODELS: [&str; 3] = ["humanoid", "arm", "pendulum"];

/// How many different tracks there are of each model.
const VARIANTS: usize = 10;

/// How many tracks there are.
pub(crate) const TRACKS: usize = MODELS.len() * VARIANTS;

/// The most steps of a round.
const STEPS_MAX: u32 = 16;

/// A session on its track.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) room: Room,
    track: usize,
    /// How many controls its model has.
    controls: u32,
    /// Steps that were acknowledged.
    pub(crate) steps: u64,
    /// The state after each round, by its hash; that of the beginning comes first.
    pub(crate) rounds: Vec<u64>,
    /// The state that was last acknowledged, in full.
    pub(crate) last: String,
}

impl Runner {
    /// Brings a session to the beginning of the track of that number.
    pub(crate) fn start(client: &mut HttpClient, track: usize) -> Self {
        let room = Room::open(client);
        room.load(client, MODELS[track % MODELS.len()]);
        let info = room.tool(client, "get_loaded_models", json!({})).unwrap();
        let controls = info["models"][0]["nu"].as_u64().unwrap();
        let last = bits(&room.state(client).unwrap());
        let rounds = vec![hash(&last)];
        Self { room, track, controls: u32::try_from(controls).unwrap(), steps: 0, rounds, last }
    }

    pub(crate) fn track(&self) -> usize {
        self.track
    }

    /// Takes the next round, unless it is refused.
    pub(crate) fn step(&mut self, client: &mut HttpClient) -> Result<(), Refused> {
        let steps = self.round() * 7 % STEPS_MAX + 1;
        let arguments = json!({
            "steps": steps,
            "control": self.control(),
            "include": ["qpos", "qvel"],
        });
        let answer = self.room.tool(client, "step_simulation", arguments)?;
        assert_eq!(answer["steps_done"], steps, "{answer}");
        self.steps += u64::from(steps);
        self.last = bits(&answer["state"]);
        self.rounds.push(hash(&self.last));
        Ok(())
    }

    /// The state as it is now, to be compared with the last.
    pub(crate) fn look(&self, client: &mut HttpClient) -> Result<String, Refused> {
        self.room.state(client).map(|state| bits(&state))
    }

    /// How many steps the session says that it has taken.
    pub(crate) fn steps_taken(&self, client: &mut HttpClient) -> Result<u64, Refused> {
        let info = self.room.tool(client, "get_loaded_models", json!({}))?;
        Ok(info["models"][0]["steps_total"].as_u64().unwrap())
    }

    fn round(&self) -> u32 {
        u32::try_from(self.rounds.len()).unwrap()
    }

    /// Waves, of another phase on each track.
    fn control(&self) -> Vec<f64> {
        let phase = f64::from(u32::try_from(self.track).unwrap()) / 30.0;
        let time = f64::from(self.round()) / 50.0;
        let wave = |index: u32| 0.5 * (TAU * (time + phase + f64::from(index) / 10.0)).sin();
        (0..self.controls).map(wave).collect()
    }
}

/// Time, positions and velocities as text, which differs if a bit does.
fn bits(state: &Value) -> String {
    json!([state["time_secs"], state["qpos"], state["qvel"]]).to_string()
}

fn hash(state: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
