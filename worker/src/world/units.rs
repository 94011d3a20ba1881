//! The units of what sensors read.

use mujoco_rs::wrappers::mj_model::{MjModel, MjtJoint, MjtObjBase};

use super::places::index;

/// MuJoCo's name of a sensor's kind, such as `jointpos`.
pub(crate) fn sensor_kind(model: &MjModel, sensor: usize) -> String {
    let kind = format!("{:?}", model.sensor_type()[sensor]);
    kind.trim_start_matches("mjSENS_").to_ascii_lowercase()
}

/// The unit of a sensor's values; `1` where they have none, `?` where its kind does not tell.
pub(crate) fn of_sensor(model: &MjModel, sensor: usize) -> &'static str {
    match sensor_kind(model, sensor).as_str() {
        "touch" | "force" => "N",
        "torque" => "N·m",
        "accelerometer" | "framelinacc" => "m/s²",
        "velocimeter" | "framelinvel" | "subtreelinvel" => "m/s",
        "gyro" | "ballangvel" | "frameangvel" => "rad/s",
        "frameangacc" => "rad/s²",
        "magnetometer" => "T",
        "rangefinder" | "framepos" | "subtreecom" | "geomdist" | "geomfromto" => "m",
        "camprojection" => "pixel",
        "ballquat" | "framequat" | "framexaxis" | "frameyaxis" | "framezaxis" | "geomnormal"
        | "insidesite" => "1",
        "subtreeangmom" => "kg·m²/s",
        "e_potential" | "e_kinetic" => "J",
        "clock" => "s",
        "tendonpos" | "tendonlimitpos" | "tendonvel" | "tendonlimitvel" => "?",
        "jointpos" | "jointlimitpos" => of_joint(model, sensor, "rad", "m"),
        "jointvel" | "jointlimitvel" => of_joint(model, sensor, "rad/s", "m/s"),
        "jointactuatorfrc" | "jointactfrc" | "jointlimitfrc" => of_joint(model, sensor, "N·m", "N"),
        _ => "?",
    }
}

fn of_joint(
    model: &MjModel,
    sensor: usize,
    turning: &'static str,
    sliding: &'static str,
) -> &'static str {
    if model.sensor_objtype()[sensor] != MjtObjBase::mjOBJ_JOINT {
        return "?";
    }
    match model.jnt_type()[index(model.sensor_objid()[sensor])] {
        MjtJoint::mjJNT_SLIDE => sliding,
        _ => turning,
    }
}
