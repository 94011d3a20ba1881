//! What a model is told about the server as a whole: how to work with sessions, in 30 lines.
//!
//! A paragraph names the tools that it needs, and is left out where one of them is.

/// A paragraph.
pub(super) struct Paragraph {
    pub(super) needs: &'static [&'static str],
    pub(super) text: &'static str,
}

const fn paragraph(needs: &'static [&'static str], text: &'static str) -> Paragraph {
    Paragraph { needs, text }
}

/// All of them, one line each.
pub(super) const PARAGRAPHS: &[Paragraph] = &[
    paragraph(
        &[],
        "simward gives you MuJoCo simulators. Each session is a simulator process of its own, with one or more models.",
    ),
    paragraph(
        &[],
        "Without session_id a call uses your default session, which begins at its first use; without model_id the session's only model.",
    ),
    paragraph(
        &["create_session", "close_session", "list_sessions"],
        "create_session makes further sessions, which run in parallel and do not disturb each other; list_sessions finds them again, close_session frees them.",
    ),
    paragraph(
        &["load_model", "create_scene"],
        "Begin with create_scene (pendulum, double_pendulum, cart_pole, planar_arm, arm, quadruped, humanoid, table) or load_model (MJCF or URDF as text, its files as base64 in `assets`).",
    ),
    paragraph(
        &["create_menagerie_scene", "list_menagerie_models"],
        "Well-known robots: list_menagerie_models, then create_menagerie_scene.",
    ),
    paragraph(
        &["get_model_info"],
        "get_model_info lists joints, actuators, sensors, cameras and keyframes with ranges and units. Names are exact; a wrong one is refused with the nearest.",
    ),
    paragraph(
        &[],
        "Vectors are given whole, as a list, or in part by name: {\"elbow\": 0.5}. What has no name is `#` and its index.",
    ),
    paragraph(
        &["step_simulation"],
        "step_simulation advances whole timesteps with given controls, and returns what you `include`. Prefer one call with many steps to many calls.",
    ),
    paragraph(
        &["run_simulation", "pause_simulation", "apply_control", "get_state"],
        "run_simulation goes on in the background until pause_simulation; get_state reads it and apply_control steers it meanwhile.",
    ),
    paragraph(
        &["get_state", "set_state", "reset_simulation"],
        "get_state reads, set_state sets, reset_simulation goes back to the start or to a keyframe.",
    ),
    paragraph(
        &["get_snapshot", "restore_snapshot"],
        "get_snapshot keeps a moment exactly, restore_snapshot returns to it.",
    ),
    paragraph(
        &["fork_session"],
        "fork_session copies a session in its exact state: branch, try, compare.",
    ),
    paragraph(
        &["modify_model", "edit_model"],
        "modify_model changes masses, gains, friction or the timestep at run time; edit_model adds and removes parts.",
    ),
    paragraph(
        &["get_contacts", "get_sensor_data", "get_body_states"],
        "To look: get_body_states, get_sensor_data, get_contacts; these change nothing.",
    ),
    paragraph(
        &["solve_ik", "plan_trajectory", "execute_trajectory"],
        "To reach a pose: solve_ik, then plan_trajectory and execute_trajectory.",
    ),
    paragraph(
        &["render_frame", "start_recording", "plot_recording"],
        "To show: render_frame, or start_recording and plot_recording.",
    ),
    paragraph(
        &["rollout", "run_sweep"],
        "To try many at once: rollout (control sequences), run_sweep (parameters).",
    ),
    paragraph(&["diagnose_instability"], "If physics misbehaves: diagnose_instability."),
    paragraph(
        &["get_run", "list_runs", "cancel_run"],
        "What takes long takes `as_run: true` and returns a run_id at once: get_run with wait_secs waits for the result, cancel_run ends it, list_runs shows yours.",
    ),
    paragraph(
        &[],
        "Units are SI: metres, radians, kilograms, newtons, seconds. NaN and infinities come as texts.",
    ),
    paragraph(
        &[],
        "`warnings` and `auto_resets` in a reply mean unstable or doubtful physics: read them before you trust the numbers.",
    ),
    paragraph(
        &[],
        "A refusal has a code, a message and often a hint; nothing was changed. With retry_after_ms the same call may work later.",
    ),
    paragraph(
        &[],
        "`worker_lost` means that the simulator process died in that call: the session has another one already, in the state from before the call. What was acknowledged is never lost.",
    ),
];

/// The instructions, out of the paragraphs whose tools are there.
pub(super) fn text(is_there: impl Fn(&str) -> bool) -> String {
    let there = PARAGRAPHS.iter().filter(|it| it.needs.iter().all(|tool| is_there(tool)));
    there.map(|paragraph| paragraph.text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many lines a model is to read, whatever tools there are.
    const LINES_MAX: usize = 30;

    #[test]
    fn the_instructions_are_short() {
        assert!(text(|_| true).lines().count() <= LINES_MAX);
        assert!(text(|_| false).lines().count() < text(|_| true).lines().count());
    }
}
