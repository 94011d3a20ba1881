//! What a model is told about the server as a whole.

pub(super) const TEXT: &str = "\
simward gives you MuJoCo simulators. Each session is a simulator process of its own.

Start with load_model (MJCF or URDF text, with files as base64 in `assets`) or create_scene \
(built-in models); without a session_id they use your default session, which is created at its \
first use. create_session makes more sessions, which run in parallel and do not disturb each other.

Then step_simulation advances whole timesteps with given controls, and get_state reads the state. \
run_simulation advances in the background until pause_simulation. get_model_info lists the names \
of joints, actuators, sensors and keyframes. Vectors are given whole, or by name: {\"elbow\": 0.5}.

Units are SI: metres, radians, kilograms, newtons, seconds. Replies report warnings and automatic \
resets of unstable simulations: read them. A refusal has a code, a message and often a hint; \
nothing was changed. `worker_lost` means that the simulator process died in that call: the session \
has another one already, in the state from before the call, which the message tells. What was \
acknowledged is never lost. fork_session copies a session in its exact state.";
