//! How a worker says no.

use serde::{Deserialize, Serialize};

/// The longest text that a worker puts into a fault or a warning; longer ones are cut.
pub const DETAIL_BYTES_MAX: usize = 16 * 1024;

/// A call that the worker understood but did not carry out. Nothing was changed.
///
/// A fault is an answer: the worker stays healthy and serves the next call. A worker that cannot
/// answer at all ends instead, and the supervisor reports how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// The call needs a model, and the session has none.
    #[error("no model is loaded")]
    NoModel,
    /// No model has that id.
    #[error("no model is named `{model_id}`; loaded are {}", list(.known))]
    ModelUnknown {
        /// The id asked for.
        model_id: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// The call names no model, and the session has several.
    #[error("`model_id` is needed because several models are loaded: {}", list(.known))]
    ModelAmbiguous {
        /// The ids there are.
        known: Vec<String>,
    },
    /// A model of that id is loaded already.
    #[error("a model named `{model_id}` is loaded already")]
    ModelExists {
        /// The id asked for.
        model_id: String,
    },
    /// The compiler refused the model.
    #[error("the model does not compile: {detail}")]
    ModelInvalid {
        /// What the compiler said, whole.
        detail: String,
    },
    /// The compiled model could not be loaded.
    #[error("the compiled model could not be loaded: {detail}")]
    ModelUnreadable {
        /// What the engine said.
        detail: String,
    },
    /// The model's state could not be kept, or brought back.
    #[error("the checkpoint of `{model_id}` cannot be used: {detail}")]
    CheckpointUnusable {
        /// The model.
        model_id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A bound of the session is reached.
    #[error("{what} is limited to {max}, and this call needs {value}")]
    LimitExceeded {
        /// What is limited, with its unit.
        what: String,
        /// What the call needs.
        value: u64,
        /// What is allowed.
        max: u64,
    },
    /// A vector has the wrong length.
    #[error("`{field}` needs {expected} values and got {got}")]
    WrongLength {
        /// The argument's name.
        field: String,
        /// The model's size.
        expected: u64,
        /// How many were given.
        got: u64,
    },
    /// A number is NaN or infinite.
    #[error("`{field}` must be finite, and {at} is not")]
    NotFinite {
        /// The argument's name.
        field: String,
        /// Which of its values: an index or a name.
        at: String,
    },
    /// A name that the model does not have.
    #[error("the model has no {kind} named `{name}`{}", suggestion(.nearest))]
    NameUnknown {
        /// What was looked for: `joint`, `actuator`, `keyframe`…
        kind: String,
        /// The name given.
        name: String,
        /// The most similar names that there are.
        nearest: Vec<String>,
    },
    /// A number lies outside its range.
    #[error("`{field}` must lie between {} and {}, and is {}", number(*.min), number(*.max), number(*.value))]
    OutOfRange {
        /// The argument's name.
        field: String,
        /// The value given.
        value: f64,
        /// The smallest accepted value.
        min: f64,
        /// The largest accepted value.
        max: f64,
    },
    /// Arguments that do not go together.
    #[error("`{field}` cannot be used: {problem}")]
    Invalid {
        /// The argument's name.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The model, or its state, is not one that this can be done with.
    #[error("this cannot be done with this model: {detail}")]
    Unsuitable {
        /// Why not.
        detail: String,
    },
    /// The arguments contradict each other, or one that is needed is missing.
    #[error("{detail}")]
    Argument {
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// The model is being advanced in the background.
    #[error("the simulation of `{model_id}` is running in the background")]
    Running {
        /// The model.
        model_id: String,
    },
    /// Steps of the model are being recorded.
    #[error("`{model_id}` is being recorded")]
    Recorded {
        /// The model.
        model_id: String,
    },
    /// Something that the model does not have, or does not compute, was to be recorded.
    #[error("`{channel}` cannot be recorded: {detail}")]
    ChannelUnavailable {
        /// What was asked for.
        channel: String,
        /// Why not.
        detail: String,
    },
    /// The recording's file cannot be used.
    #[error("the recording `{recording_id}` cannot be used: {detail}")]
    RecordingUnusable {
        /// The recording.
        recording_id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Nothing is being advanced in the background.
    #[error("no simulation is running in the background")]
    NotRunning,
    /// The call was withdrawn before it began.
    #[error("the call was cancelled before it began")]
    Cancelled,
    /// The slot is not open, or open already: the two sides disagree.
    #[error("session slot {slot} is not there to be used that way")]
    Slot {
        /// The slot named by the call.
        slot: u32,
    },
    /// Nothing can be drawn on this machine.
    #[error("nothing can be drawn on this machine: {detail}")]
    NoGraphics {
        /// What is missing.
        detail: String,
    },
}

impl Fault {
    /// The fault's name, which clients match on and which never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoModel => "no_model",
            Self::ModelUnknown { .. } => "model_unknown",
            Self::ModelAmbiguous { .. } => "model_ambiguous",
            Self::ModelExists { .. } => "model_exists",
            Self::ModelInvalid { .. } => "model_invalid",
            Self::ModelUnreadable { .. } => "model_unreadable",
            Self::CheckpointUnusable { .. } => "checkpoint_unusable",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::WrongLength { .. } => "wrong_length",
            Self::NotFinite { .. } => "not_finite",
            Self::NameUnknown { .. } => "name_unknown",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Invalid { .. } | Self::Argument { .. } => "invalid_argument",
            Self::Unsuitable { .. } => "model_unsuitable",
            Self::Running { .. } => "simulation_running",
            Self::Recorded { .. } => "model_recorded",
            Self::ChannelUnavailable { .. } => "channel_unavailable",
            Self::RecordingUnusable { .. } => "recording_unusable",
            Self::NotRunning => "simulation_not_running",
            Self::Cancelled => "cancelled",
            Self::NoGraphics { .. } => "graphics_unavailable",
            Self::Slot { .. } => "internal_error",
        }
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoModel => Some("call load_model or create_scene first"),
            Self::ModelExists { .. } => Some("choose another model_id, or unload_model first"),
            Self::ModelAmbiguous { .. } => Some("pass model_id; get_loaded_models lists them"),
            Self::Running { .. } => Some("call pause_simulation first"),
            Self::Recorded { .. } => Some("call stop_recording first"),
            Self::NoGraphics { .. } => Some(
                "it needs EGL and a driver of OpenGL, in software where there is no graphics card; on \
                 Debian and Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri",
            ),
            Self::WrongLength { .. } | Self::NameUnknown { .. } => {
                Some("get_model_info lists names and sizes")
            }
            _ => None,
        }
    }
}

/// Cuts a text to [`DETAIL_BYTES_MAX`] at a character's boundary.
pub fn cut(mut text: String) -> String {
    if DETAIL_BYTES_MAX < text.len() {
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
        text.push_str("… (cut)");
    }
    text
}

/// A number without hundreds of digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-5..1e15).contains(&size) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn suggestion(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    format!("; did you mean {}?", list(nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_a_sentence() {
        let nearest = vec!["elbow".to_owned()];
        let fault = Fault::NameUnknown { kind: "joint".into(), name: "elbw".into(), nearest };
        assert_eq!(fault.to_string(), "the model has no joint named `elbw`; did you mean `elbow`?");
    }

    #[test]
    fn a_number_is_short() {
        assert_eq!([number(1e300), number(0.5), number(1e6)], ["1e300", "0.5", "1000000"]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = cut("ä".repeat(DETAIL_BYTES_MAX));
        assert!(text.ends_with("… (cut)"));
        assert!(text.len() < DETAIL_BYTES_MAX + 20);
    }
}
