//! Which scenes there are, and what can be set of each.

use std::f64::consts::FRAC_PI_2;

use super::derive::{self, STANDARD_GRAVITY};
use super::{Parameter, Scene};

/// Gravity, which every scene has.
const GRAVITY: Parameter = Parameter {
    name: "gravity",
    help: "gravity, m/s^2, downwards",
    default: STANDARD_GRAVITY,
    min: 0.0,
    max: 30.0,
};

/// Every built-in scene.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "pendulum",
        help: "a simple pendulum: a bob on a massless rod, with a damped hinge and a torque motor",
        parameters: &[
            parameter("length_m", "pivot to the bob's centre, m", 1.0, 0.2, 3.0),
            parameter("mass_kg", "mass of the bob, kg", 1.0, 0.1, 20.0),
            parameter("damping", "viscous damping of the hinge, N m s/rad", 0.02, 0.0, 5.0),
            parameter("torque_limit_nm", "the motor's largest torque, N m", 5.0, 0.1, 200.0),
            GRAVITY,
        ],
        template: include_str!("pendulum.xml"),
        derive: derive::pendulum,
    },
    Scene {
        name: "double_pendulum",
        help: "a double pendulum with damped hinges and a torque motor at shoulder and elbow",
        parameters: &[
            parameter("upper_length_m", "shoulder to elbow, m", 0.5, 0.2, 2.0),
            parameter("lower_length_m", "elbow to tip, m", 0.5, 0.2, 2.0),
            parameter("upper_mass_kg", "mass of the bob at the elbow, kg", 1.0, 0.2, 5.0),
            parameter("lower_mass_kg", "mass of the bob at the tip, kg", 1.0, 0.2, 5.0),
            parameter("damping", "viscous damping of each hinge, N m s/rad", 0.01, 0.0, 5.0),
            GRAVITY,
        ],
        template: include_str!("double_pendulum.xml"),
        derive: derive::double_pendulum,
    },
    Scene {
        name: "cart_pole",
        help: "a cart on a rail with a free pole on a hinge; a motor pushes the cart",
        parameters: &[
            parameter("cart_mass_kg", "mass of the cart, kg", 1.0, 0.1, 20.0),
            parameter("pole_mass_kg", "mass of the uniform pole, kg", 0.1, 0.02, 5.0),
            parameter("pole_length_m", "length of the pole, m", 1.0, 0.2, 3.0),
            parameter("damping", "viscous friction of the cart on the rail, N s/m", 0.1, 0.0, 20.0),
            parameter("force_limit_n", "the motor's largest force, N", 20.0, 0.1, 500.0),
            GRAVITY,
        ],
        template: include_str!("cart_pole.xml"),
        derive: derive::cart_pole,
    },
    Scene {
        name: "planar_arm",
        help: "three links in a plane that can be tilted, a torque motor at each joint, and a target",
        parameters: &[
            parameter("link_length_m", "length of each link, m", 0.4, 0.1, 1.0),
            parameter("link_mass_kg", "mass of each link, kg", 1.0, 0.05, 10.0),
            parameter("damping", "viscous damping of each hinge, N m s/rad", 0.02, 0.0, 5.0),
            parameter("torque_limit_nm", "each motor's largest torque, N m", 10.0, 0.1, 500.0),
            parameter(
                "tilt_rad",
                "tilt of the plane: 0 is level, pi/2 upright",
                0.0,
                0.0,
                FRAC_PI_2,
            ),
            GRAVITY,
        ],
        template: include_str!("planar_arm.xml"),
        derive: derive::planar_arm,
    },
    Scene {
        name: "arm",
        help: "a six-axis arm with a parallel gripper at a table with a cube and a cylinder",
        parameters: &[
            parameter("reach_scale", "scale of the upper arm and the forearm", 1.0, 0.7, 1.3),
            parameter("payload_mass_kg", "mass of each object on the table, kg", 0.1, 0.01, 1.0),
            parameter("gripper_force_n", "most force of each finger pad, N", 40.0, 5.0, 100.0),
            parameter("friction", "sliding friction coefficient of every contact", 1.0, 0.3, 2.0),
            GRAVITY,
        ],
        template: include_str!("arm.xml"),
        derive: derive::arm,
    },
    Scene {
        name: "quadruped",
        help: "a four-legged robot that stands on twelve position servos, with an IMU and feet that feel",
        parameters: &[
            parameter("torso_mass_kg", "mass of the torso, kg; each leg has 1.75", 8.0, 3.0, 20.0),
            parameter("leg_length_m", "hip to foot with the knee stretched, m", 0.4, 0.25, 0.6),
            parameter("stiffness", "stiffness of each servo, N m/rad", 150.0, 60.0, 600.0),
            parameter("friction", "sliding friction coefficient of the feet", 0.8, 0.3, 2.0),
            GRAVITY,
        ],
        template: include_str!("quadruped.xml"),
        derive: derive::quadruped,
    },
    Scene {
        name: "humanoid",
        help: "a person-sized humanoid with 21 position servos that stands, squats and reaches",
        parameters: &[
            parameter("height_m", "body height, m", 1.7, 1.2, 2.1),
            parameter("mass_kg", "body mass, kg", 70.0, 30.0, 120.0),
            parameter("stiffness", "servo stiffness over weight times height", 1.0, 0.6, 3.0),
            parameter("friction", "sliding friction coefficient of every contact", 1.0, 0.3, 2.0),
            GRAVITY,
        ],
        template: include_str!("humanoid.xml"),
        derive: derive::humanoid,
    },
    Scene {
        name: "table",
        help: "a table with a cube, a ball, a cylinder, a capsule, a plank, a ring and a pusher",
        parameters: &[
            parameter("object_mass_kg", "mass of each object, kg", 0.2, 0.02, 1.0),
            parameter(
                "object_size_m",
                "edge of the cube; the others are as large, m",
                0.05,
                0.03,
                0.08,
            ),
            parameter("friction", "sliding friction coefficient of every contact", 0.6, 0.2, 1.5),
            parameter("table_height_m", "height of the table's top, m", 0.75, 0.4, 1.2),
            GRAVITY,
        ],
        template: include_str!("table.xml"),
        derive: derive::table,
    },
];

/// A parameter, on one line of the table.
const fn parameter(
    name: &'static str,
    help: &'static str,
    default: f64,
    min: f64,
    max: f64,
) -> Parameter {
    Parameter { name, help, default, min, max }
}
