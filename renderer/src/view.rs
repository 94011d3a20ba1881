//! From where a picture is taken, what is shown, and how much is spent on it.

use mujoco_rs::mujoco_c::{mjtFrame, mjtLabel, mjtRndFlag, mjtVisFlag};
use mujoco_rs::wrappers::mj_model::MjModel;
use mujoco_rs::wrappers::mj_visualization::{MjtCamera, MjvCamera, MjvOption, MjvScene};
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::render::{Camera, Overlay, Quality, View};
use simward_worker::kin;

/// The camera that is asked for.
pub(crate) fn camera(model: &MjModel, asked: &Camera) -> Result<MjvCamera, Fault> {
    if let Some(name) = &asked.name {
        return Ok(MjvCamera::new_fixed(kin::camera(model, name)?));
    }
    let mut camera = MjvCamera::new_free(model);
    if camera.type_ == MjtCamera::mjCAMERA_FIXED as i32 && is_moved(asked) {
        // A model may name one of its cameras as the one to begin with.
        camera = MjvCamera { type_: MjtCamera::mjCAMERA_FREE as i32, ..MjvCamera::default() };
        camera.lookat = model.stat().center;
        camera.distance = 1.5 * model.stat().extent;
    }
    let put = |value: &mut f64, asked: Option<f64>| *value = asked.unwrap_or(*value);
    camera.lookat = asked.lookat.unwrap_or(camera.lookat);
    put(&mut camera.distance, asked.distance);
    put(&mut camera.azimuth, asked.azimuth);
    put(&mut camera.elevation, asked.elevation);
    Ok(camera)
}

fn is_moved(asked: &Camera) -> bool {
    asked.lookat.is_some()
        || asked.distance.is_some()
        || asked.azimuth.is_some()
        || asked.elevation.is_some()
}

/// What is shown.
pub(crate) fn option(overlays: &[Overlay]) -> MjvOption {
    let mut option = MjvOption::default();
    for overlay in overlays {
        let flag = match overlay {
            Overlay::Contacts => mjtVisFlag::mjVIS_CONTACTPOINT,
            Overlay::Forces => mjtVisFlag::mjVIS_CONTACTFORCE,
            Overlay::Joints => mjtVisFlag::mjVIS_JOINT,
            Overlay::Actuators => mjtVisFlag::mjVIS_ACTUATOR,
            Overlay::Tendons => mjtVisFlag::mjVIS_TENDON,
            Overlay::CenterOfMass => mjtVisFlag::mjVIS_COM,
            Overlay::Inertia => mjtVisFlag::mjVIS_INERTIA,
            Overlay::Cameras => mjtVisFlag::mjVIS_CAMERA,
            Overlay::Lights => mjtVisFlag::mjVIS_LIGHT,
            Overlay::Transparent => mjtVisFlag::mjVIS_TRANSPARENT,
            Overlay::ConvexHull => mjtVisFlag::mjVIS_CONVEXHULL,
            Overlay::Frames => {
                option.frame = mjtFrame::mjFRAME_BODY as i32;
                continue;
            }
            Overlay::Labels => {
                option.label = mjtLabel::mjLABEL_BODY as i32;
                continue;
            }
        };
        option.flags[flag as usize] = 1;
    }
    option
}

/// What light does.
#[expect(unsafe_code, reason = "the scene has no safe way to its flags")]
pub(crate) fn light(scene: &mut MjvScene, quality: Quality) {
    // SAFETY: only flags are set, of which each value is valid.
    let flags = unsafe { &mut scene.ffi_mut().flags };
    flags[mjtRndFlag::mjRND_SHADOW as usize] = u8::from(quality != Quality::Draft);
    flags[mjtRndFlag::mjRND_REFLECTION as usize] = u8::from(quality == Quality::Fine);
}

/// Where the scene was last seen from.
pub(crate) fn seen(scene: &MjvScene, camera: &MjvCamera, asked: &Camera) -> View {
    let [left, right] = &scene.ffi().camera;
    // One for each eye.
    let both = left.average_camera(right);
    let reals = |vector: [f32; 3]| vector.map(|value| Real(value.into()));
    let (top, near) = (f64::from(both.frustum_top), f64::from(both.frustum_near));
    let bottom = f64::from(both.frustum_bottom);
    let fovy = (top / near).atan().to_degrees() - (bottom / near).atan().to_degrees();
    let is_free = camera.type_ == MjtCamera::mjCAMERA_FREE as i32;
    let free = |value: f64| is_free.then_some(Real(value));
    View {
        name: asked.name.clone(),
        position: reals(both.pos),
        forward: reals(both.forward),
        up: reals(both.up),
        fovy_degrees: Real(if both.orthographic == 0 { fovy } else { 0.0 }),
        lookat: is_free.then(|| camera.lookat.map(Real)),
        distance: free(camera.distance),
        azimuth: free(camera.azimuth),
        elevation: free(camera.elevation),
    }
}
