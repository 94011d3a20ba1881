//! What follows from a scene's parameters, and MJCF cannot work out by itself.

use std::f64::consts::PI;

use super::Values;

/// The gravity on Earth, m/s².
pub(super) const STANDARD_GRAVITY: f64 = 9.81;

/// The density of steel, kg/m³, for bobs whose size follows from their mass.
const STEEL_DENSITY: f64 = 7850.0;

/// Adds a derived value, rounded to a nanounit so that the MJCF stays readable.
fn put(values: &mut Values, name: &'static str, value: f64) {
    values.insert(name, (value * 1e9).round() / 1e9);
}

/// The radius of a steel ball of this mass, m.
fn ball_radius(mass: f64) -> f64 {
    (mass * 3.0 / (4.0 * PI * STEEL_DENSITY)).cbrt()
}

/// Puts the pivot high enough for the bob to clear the floor, and the camera far enough back.
pub(super) fn pendulum(values: &mut Values) {
    let (length, mass) = (values["length_m"], values["mass_kg"]);
    put(values, "bob_radius_m", ball_radius(mass));
    put(values, "pivot_height_m", length + 0.3);
    put_view(values, length);
}

/// As for the pendulum, and what each motor needs to hold its side level.
pub(super) fn double_pendulum(values: &mut Values) {
    let (upper, lower) = (values["upper_length_m"], values["lower_length_m"]);
    let (upper_mass, lower_mass) = (values["upper_mass_kg"], values["lower_mass_kg"]);
    put(values, "upper_radius_m", ball_radius(upper_mass));
    put(values, "lower_radius_m", ball_radius(lower_mass));
    put(values, "pivot_height_m", upper + lower + 0.3);
    put_view(values, upper + lower);
    let moment = upper_mass * upper + lower_mass * (upper + lower);
    put(values, "shoulder_torque_nm", STANDARD_GRAVITY * moment);
    put(values, "elbow_torque_nm", STANDARD_GRAVITY * lower_mass * lower);
}

/// Puts the rail high enough for the pole to hang clear of the floor.
pub(super) fn cart_pole(values: &mut Values) {
    let length = values["pole_length_m"];
    put(values, "rail_height_m", length + 0.3);
    // The rail is 5.1 m long and is to be seen whole in a 4:3 picture.
    put_view(values, length.max(2.0));
}

/// A camera that sees everything within `radius` of the point it looks at, and a light above.
fn put_view(values: &mut Values, radius: f64) {
    put(values, "extent_m", radius + 0.2);
    put(values, "camera_m", 2.9 * (radius + 0.2));
    put(values, "light_height_m", 3.0 * (radius + 0.2));
}

/// The arm's links, the gripper's gains, where the objects stand, and how to reach the cube.
pub(super) fn arm(values: &mut Values) {
    let scale = values["reach_scale"];
    let (upper, fore) = (0.32 * scale, 0.28 * scale);
    put(values, "upper_arm_m", upper);
    put(values, "forearm_m", fore);
    put(values, "forearm_tube_m", fore - 0.08);
    put(values, "upper_arm_kg", 2.2 * scale);
    put(values, "forearm_kg", scale);
    // Full force from 20 mm of squeeze on; critically damped with 1.06 kg felt at each pad. The
    // damping is the joints' and not the servo's: that of a servo at its force limit is not
    // integrated implicitly, and would chatter.
    let stiffness = values["gripper_force_n"] / 0.02;
    put(values, "grip_kp", stiffness);
    put(values, "finger_damping", 2.0 * (2.0 * stiffness * 1.06).sqrt());

    // The wrist centre stands 0.16 m of tool above the cube's centre, 0.02 m above the table; the
    // shoulder is 0.2 m above the table.
    let (out, up) = (0.4 * scale, 0.16 + 0.02 - 0.2);
    put(values, "cube_x_m", out);
    put(values, "cylinder_x_m", 0.35 * scale);
    // Two links, elbow up; angles from the vertical. The tool then points straight down.
    let cosine = (out * out + up * up - upper * upper - fore * fore) / (2.0 * upper * fore);
    let elbow = cosine.acos();
    let shoulder = out.atan2(up) - (fore * elbow.sin()).atan2(upper + fore * elbow.cos());
    put(values, "reach_shoulder_rad", shoulder);
    put(values, "reach_elbow_rad", elbow);
    put(values, "reach_wrist_rad", PI - shoulder - elbow);
}

/// The inertia of a uniform bar, where the target is, and a camera that looks straight at the plane.
pub(super) fn planar_arm(values: &mut Values) {
    let (link, mass) = (values["link_length_m"], values["link_mass_kg"]);
    let (sine, cosine) = values["tilt_rad"].sin_cos();
    // The bars are 40 mm thick.
    let square = 0.02_f64.powi(2);
    put(values, "half_link_m", link / 2.0);
    put(values, "along_kgm2", mass * square / 2.0);
    put(values, "across_kgm2", mass * (link * link / 12.0 + square / 4.0));
    let (reach, height) = (3.0 * link, 3.0 * link + 0.3);
    put(values, "pivot_height_m", height);
    put_view(values, reach);
    let away = values.remove("camera_m").unwrap_or_default();
    put(values, "camera_y_m", -away * sine);
    put(values, "camera_z_m", height + away * cosine);
    put(values, "target_x_m", 1.5 * link);
    put(values, "target_y_m", 1.2 * link * cosine);
    put(values, "target_z_m", height + 1.2 * link * sine);
}

/// The legs' segments, the servos' damping, and how high the torso is in each keyframe.
pub(super) fn quadruped(values: &mut Values) {
    let segment = values["leg_length_m"] / 2.0;
    put(values, "segment_m", segment);
    put(values, "total_mass_kg", values["torso_mass_kg"] + 4.0 * 1.75);
    put(values, "servo_damping", 0.03 * values["stiffness"]);
    // Hip to the sole of a foot of 22 mm: the knee bends twice as far as the hip.
    for (name, hip) in
        [("home_height_m", 0.7_f64), ("crouched_height_m", 1.1), ("tall_height_m", 0.3)]
    {
        put(values, name, 2.0 * segment * hip.cos() + 0.022);
    }
}

/// The segments of a body as parts of its height and of its mass (Winter, Biomechanics and Motor
/// Control of Human Movement), and servos as strong as its weight needs.
pub(super) fn humanoid(values: &mut Values) {
    let (height, mass) = (values["height_m"], values["mass_kg"]);
    for (name, part) in HUMAN_MASSES {
        put(values, name, part * mass);
    }
    for (name, part) in HUMAN_LENGTHS {
        put(values, name, part * height);
    }
    let moment = mass * STANDARD_GRAVITY * height;
    let stiffness = values["stiffness"] * moment;
    put(values, "leg_kp", stiffness);
    put(values, "leg_kv", 0.15 * stiffness);
    put(values, "leg_torque_nm", 0.3 * moment);
    put(values, "arm_kp", 0.15 * stiffness);
    put(values, "arm_kv", 0.015 * stiffness);
    put(values, "arm_torque_nm", 0.08 * moment);
    // Sole to hip: foot, shank and thigh, whose angles from the vertical these are.
    for (name, thigh, shank) in [("home_height_m", 0.2_f64, 0.2_f64), ("squat_height_m", 0.9, 0.7)]
    {
        put(values, name, height * (0.039 + 0.245 * thigh.cos() + 0.246 * shank.cos()));
    }
}

/// Masses of segments over the body's; those of limbs count twice, and all of them make one.
const HUMAN_MASSES: [(&str, f64); 10] = [
    ("pelvis_kg", 0.142),
    ("abdomen_kg", 0.139),
    ("chest_kg", 0.216),
    ("head_kg", 0.081),
    ("thigh_kg", 0.1),
    ("shank_kg", 0.0465),
    ("foot_kg", 0.0145),
    ("upper_arm_kg", 0.028),
    ("forearm_kg", 0.016),
    ("hand_kg", 0.006),
];

/// Lengths over the body's height: of segments, then of what is drawn and touches.
const HUMAN_LENGTHS: [(&str, f64); 35] = [
    ("thigh_m", 0.245),
    ("shank_m", 0.246),
    ("upper_arm_m", 0.186),
    ("forearm_m", 0.146),
    ("hand_m", 0.19),
    ("foot_height_m", 0.039),
    ("waist_m", 0.088),
    ("hip_y_m", 0.052),
    ("shoulder_y_m", 0.129),
    ("shoulder_z_m", 0.2),
    ("half_foot_m", 0.076),
    ("foot_x_m", 0.036),
    ("half_foot_width_m", 0.0275),
    ("half_foot_height_m", 0.0195),
    ("sensor_m", 0.079),
    ("sensor_width_m", 0.0305),
    ("thigh_radius_m", 0.042),
    ("shank_radius_m", 0.03),
    ("thigh_tube_m", 0.215),
    ("shank_tube_m", 0.21),
    ("arm_radius_m", 0.024),
    ("wrist_radius_m", 0.02),
    ("hand_radius_m", 0.028),
    ("pelvis_radius_m", 0.055),
    ("belly_radius_m", 0.05),
    ("belly_half_m", 0.025),
    ("belly_z_m", 0.035),
    ("chest_radius_m", 0.062),
    ("chest_half_m", 0.045),
    ("chest_z_m", 0.15),
    ("head_radius_m", 0.045),
    ("head_low_m", 0.285),
    ("head_high_m", 0.337),
    ("camera_m", 1.2),
    ("side_camera_m", 1.9),
];

/// How large the objects are, and where their centres are when they stand on the table.
pub(super) fn table(values: &mut Values) {
    let (size, top) = (values["object_size_m"], values["table_height_m"]);
    put(values, "quarter_mass_kg", values["object_mass_kg"] / 4.0);
    for (name, part) in [
        ("half_m", 0.5),
        ("half_tall_m", 0.75),
        ("half_thin_m", 0.25),
        ("half_wide_m", 1.0),
        ("half_flat_m", 0.25),
        ("ring_m", 0.5),
    ] {
        put(values, name, part * size);
    }
    for (name, part) in [
        ("on_cube_m", 0.5),
        ("on_cylinder_m", 0.75),
        ("on_capsule_m", 0.25),
        ("on_plank_m", 0.25),
        ("on_ring_m", 0.25),
        // The cube on the plank, and the cylinder on both.
        ("second_m", 1.0),
        ("third_m", 2.25),
    ] {
        put(values, name, top + part * size);
    }
    put(values, "above_m", top + 0.2);
    // The top is 40 mm thick.
    let half_leg = (top - 0.04) / 2.0;
    put(values, "half_leg_m", half_leg);
    put(values, "leg_centre_m", 0.04 + half_leg);
    put(values, "camera_m", top + 0.9);
    put(values, "top_camera_m", top + 1.4);
}
