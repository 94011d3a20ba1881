//! What the prompts say.

use super::{Argument, Step, Template};

const SESSION: Argument = Argument {
    name: "session_id",
    description: "The session; without it your default session.",
    otherwise: Some("your default session"),
};

const MODEL: Argument = Argument {
    name: "model_id",
    description: "The model; needed only if the session has several.",
    otherwise: Some("the session's model"),
};

const fn step(needs: &'static [&'static str], text: &'static str) -> Step {
    Step { needs, text }
}

pub(super) const PROMPTS: &[Template] = &[
    RUN_SIMULATION,
    LOAD_AND_CONTROL_ROBOT,
    DEBUG_CONTACTS,
    DIAGNOSE_CRASH,
    TUNE_CONTROLLER,
    PARAMETER_SENSITIVITY,
];

const RUN_SIMULATION: Template = Template {
    name: "run_simulation",
    title: "Run a simulation",
    description: "Load a built-in scene, let it run, and report what happens.",
    arguments: &[
        Argument {
            name: "scene",
            description: "A built-in scene, such as cart_pole.",
            otherwise: Some("pendulum"),
        },
        Argument { name: "duration_secs", description: "Simulated seconds.", otherwise: Some("5") },
        SESSION,
    ],
    aim: "Simulate the scene {scene} for {duration_secs} simulated seconds in the session \
          {session_id}, and tell what happens.",
    steps: &[
        step(&["create_scene"], "Load it with create_scene; keep its timestep_secs and model_id."),
        step(
            &["get_model_info", "reset_simulation"],
            "See with get_model_info which joints, actuators, sensors and keyframes it has; \
             reset_simulation with a keyframe starts it elsewhere.",
        ),
        step(&["start_recording"], "Begin to record positions and energy with start_recording."),
        step(
            &["step_simulation"],
            "Advance it with step_simulation: steps = {duration_secs} / timestep_secs. Ask with \
             `include` for what you want to report. `warnings` and `auto_resets` must be empty and \
             0; otherwise say so first.",
        ),
        step(
            &["stop_recording", "plot_recording"],
            "End with stop_recording, and show plot_recording.",
        ),
        step(&["render_frame"], "Show how it looks with render_frame."),
        step(&[], "Report the time reached, how the positions developed, and why."),
    ],
};

const LOAD_AND_CONTROL_ROBOT: Template = Template {
    name: "load_and_control_robot",
    title: "Load a robot and control it",
    description: "Bring a robot into a session and move it to a goal.",
    arguments: &[
        Argument {
            name: "robot",
            description: "What to load: a built-in scene such as arm, or a model of the Menagerie.",
            otherwise: None,
        },
        Argument {
            name: "goal",
            description: "What it is to do, such as: lift the gripper by 10 cm.",
            otherwise: Some("hold its home position, then move each joint a little and back"),
        },
        SESSION,
    ],
    aim: "Load the robot {robot} into the session {session_id}, and make it do this: {goal}.",
    steps: &[
        step(
            &["create_scene"],
            "A built-in scene (pendulum, cart_pole, arm, quadruped, humanoid and others) comes with create_scene.",
        ),
        step(
            &["list_menagerie_models", "create_menagerie_scene"],
            "Other robots come with create_menagerie_scene; list_menagerie_models says which.",
        ),
        step(&["load_model"], "A source that the user has given is loaded with load_model."),
        step(
            &["get_model_info"],
            "Read joints, ranges, actuators and control ranges with get_model_info. Controls are \
             positions, velocities or torques, as the actuator says.",
        ),
        step(
            &["reset_simulation", "get_state"],
            "Begin at a keyframe (reset_simulation) where there is one, and look with get_state.",
        ),
        step(&["solve_ik"], "Turn a goal in space into joint positions with solve_ik."),
        step(
            &["plan_trajectory", "execute_trajectory"],
            "Move smoothly: plan_trajectory, then execute_trajectory.",
        ),
        step(
            &["apply_control", "step_simulation"],
            "Set controls by actuator name (apply_control, or `control` of step_simulation), in \
             small changes, and step in between: about 100 steps, then look.",
        ),
        step(
            &["get_contacts"],
            "Check with get_contacts that it touches what it should and nothing else.",
        ),
        step(&[], "Compare where it is with where it should be; report both, with numbers."),
    ],
};

const DEBUG_CONTACTS: Template = Template {
    name: "debug_contacts",
    title: "Find out what is wrong with contacts",
    description: "Things fall through each other, jitter, stick or fly off: find out why.",
    arguments: &[
        SESSION,
        MODEL,
        Argument {
            name: "body",
            description: "The body that behaves badly.",
            otherwise: Some("any of its bodies"),
        },
    ],
    aim: "Something is wrong with contacts of {body} in {model_id} of {session_id}. Find out what.",
    steps: &[
        step(
            &["fork_session"],
            "Work on a copy: fork_session, so that the original stays as it is.",
        ),
        step(
            &["get_contacts"],
            "List the contacts with get_contacts: which pairs, how deep, which forces. Deep means more than a few millimetres; a pair that should touch and is missing does not collide at all (contype, conaffinity, exclude).",
        ),
        step(
            &["step_simulation", "get_contacts"],
            "Take a few steps at a time with step_simulation, and look at get_contacts again: a \
             contact that comes and goes at every step jitters.",
        ),
        step(
            &["step_simulation"],
            "`contact_full` or `constraint_full` in the warnings of step_simulation means that contacts were dropped: the model needs more memory.",
        ),
        step(
            &["get_model_info"],
            "Look at masses and sizes with get_model_info: ratios above 1000 make contacts soft.",
        ),
        step(
            &["modify_model"],
            "Try a cause with modify_model: half the timestep, other friction, solref or solimp; change one thing at a time.",
        ),
        step(&["render_frame"], "Show it with render_frame, with contacts drawn in."),
        step(&[], "Name the cause, the evidence, and the change to the model that mends it."),
    ],
};

const DIAGNOSE_CRASH: Template = Template {
    name: "diagnose_crash",
    title: "Find out why a simulation failed",
    description: "A simulator process died, or a simulation became unstable: find out why.",
    arguments: &[SESSION],
    aim: "Something went wrong in {session_id}: its process was lost, or its simulation became \
          unstable. Find out what, and how to avoid it.",
    steps: &[
        step(
            &["get_session_info"],
            "Read get_session_info: `last_ending` says how the last process ended, `restarts` how \
             often. Out of memory, a hang and a crash are different things; `limits` says what it \
             may use.",
        ),
        step(
            &["revive_session"],
            "A `parked` session lost too many processes; revive_session gives it another one, in the last acknowledged state.",
        ),
        step(
            &["get_loaded_models", "get_state"],
            "See with get_loaded_models and get_state where it is now. NaN or huge numbers are instability, not a crash.",
        ),
        step(
            &["diagnose_instability"],
            "Let diagnose_instability look for the first step and joint that went wrong.",
        ),
        step(
            &["fork_session", "step_simulation"],
            "Try again on a copy (fork_session): the same step_simulation with fewer steps, then \
             half as many again, until you know the step. Read `warnings` and `auto_resets`.",
        ),
        step(
            &["modify_model"],
            "If it is the physics, try a smaller timestep, more damping or armature with modify_model.",
        ),
        step(
            &[],
            "Say what happened, how you know, and what to change. If it is a defect of the simulator, give the exact calls that lead to it.",
        ),
    ],
};

const TUNE_CONTROLLER: Template = Template {
    name: "tune_controller",
    title: "Tune a controller",
    description: "Find gains that bring a joint to its target quickly and without overshoot.",
    arguments: &[
        Argument { name: "joint", description: "The joint to be controlled.", otherwise: None },
        Argument {
            name: "actuator",
            description: "The actuator that moves it.",
            otherwise: Some("the actuator that moves it"),
        },
        Argument {
            name: "target",
            description: "Where it is to go, in radians or metres.",
            otherwise: Some("the middle of its range"),
        },
        SESSION,
        MODEL,
    ],
    aim: "Tune the control of the joint {joint} with {actuator} in {model_id} of {session_id}: it is \
          to reach {target} quickly, with little overshoot and no steady error.",
    steps: &[
        step(
            &["get_model_info"],
            "Read the joint's range and the actuator's kind and range with get_model_info: a servo has gains of its own, a motor takes a torque.",
        ),
        step(
            &["linearize_dynamics"],
            "linearize_dynamics gives A and B at this state, to begin with reasoned gains.",
        ),
        step(
            &["fork_session"],
            "Try each set of gains on a copy of its own from the same state: fork_session with a count.",
        ),
        step(&["modify_model"], "Set a servo's gains with modify_model."),
        step(
            &["step_simulation"],
            "For a motor compute the control yourself: u = kp * error - kd * velocity, and \
             step_simulation by about 10 steps with `include` of qpos and qvel.",
        ),
        step(&["rollout"], "rollout tries many control sequences at once."),
        step(
            &["close_session"],
            "Measure rise time, overshoot, settling time and steady error; close the copies with close_session.",
        ),
        step(
            &[],
            "Report a table of gains and measures, and recommend one with its reason. Check that it does not saturate at the control range.",
        ),
    ],
};

const PARAMETER_SENSITIVITY: Template = Template {
    name: "parameter_sensitivity",
    title: "See what a parameter changes",
    description: "Vary a parameter of a model, and measure what depends on it.",
    arguments: &[
        Argument {
            name: "parameter",
            description: "What to vary, such as the mass of the pole.",
            otherwise: None,
        },
        Argument {
            name: "quantity",
            description: "What to measure, such as the time until it falls.",
            otherwise: Some("the quantity that depends on it most"),
        },
        SESSION,
        MODEL,
    ],
    aim: "Vary {parameter} of {model_id} in {session_id}, and measure how {quantity} depends on it.",
    steps: &[
        step(&["get_model_info"], "Read the present value and the names with get_model_info."),
        step(
            &["run_sweep"],
            "run_sweep varies a field over values and measures outputs, from the same state each time; prefer it.",
        ),
        step(
            &["fork_session", "step_simulation"],
            "By hand: fork_session makes copies of the same state, one for each value; run the \
             same step_simulation in all of them.",
        ),
        step(
            &["create_scene"],
            "The built-in scenes take their masses and lengths as `parameters` of create_scene.",
        ),
        step(&["modify_model"], "modify_model changes a compiled field of a copy."),
        step(
            &["list_runs"],
            "What takes long goes on with as_run: list_runs shows what is under way.",
        ),
        step(
            &[],
            "Use at least five values around the present one. Report a table, the slope at the present value, and where it is not linear; say which results had warnings.",
        ),
    ],
};
