//! Reading and setting a model's state.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::named::OneOrMore;
use crate::real::{Real, Reals};

/// Asks for a model's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetState {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// What to report beside the time.
    pub include: Vec<Part>,
}

/// A part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Part {
    /// Positions, nq values.
    Qpos,
    /// Velocities, nv values.
    Qvel,
    /// Controls, nu values.
    Ctrl,
    /// Actuator activations, na values.
    Act,
    /// Accelerations, nv values.
    Qacc,
    /// Forces of the actuators, nu values.
    ActuatorForce,
    /// Outputs of the sensors, nsensordata values.
    Sensordata,
    /// World positions of the bodies, 3 values each, in metres.
    Xpos,
    /// World orientations of the bodies, 4 values each: a quaternion w, x, y, z.
    Xquat,
    /// Positions of the mocap bodies, 3 values each.
    MocapPos,
    /// Orientations of the mocap bodies, 4 values each.
    MocapQuat,
}

impl Part {
    /// What is reported where nothing is asked for.
    pub const DEFAULT: [Self; 3] = [Self::Qpos, Self::Qvel, Self::Ctrl];
}

/// A model's state. Vectors are in MuJoCo's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct State {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// Positions: metres, radians, and unit quaternions for free and ball joints.
    pub qpos: Option<Reals>,
    /// Velocities: metres per second and radians per second.
    pub qvel: Option<Reals>,
    /// Controls, in the unit of each actuator.
    pub ctrl: Option<Reals>,
    /// Actuator activations.
    pub act: Option<Reals>,
    /// Accelerations.
    pub qacc: Option<Reals>,
    /// Forces of the actuators, in newtons or newton-metres.
    pub actuator_force: Option<Reals>,
    /// Outputs of the sensors, in the order of the sensors.
    pub sensordata: Option<Reals>,
    /// World positions of the bodies: x, y, z of each, in metres.
    pub xpos: Option<Reals>,
    /// World orientations of the bodies: a quaternion w, x, y, z of each.
    pub xquat: Option<Reals>,
    /// Positions of the mocap bodies.
    pub mocap_pos: Option<Reals>,
    /// Orientations of the mocap bodies.
    pub mocap_quat: Option<Reals>,
}

/// Sets parts of a model's state. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetState {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Simulated time, in seconds.
    pub time_secs: Option<f64>,
    /// Positions, all nq of them or some by joint name.
    pub qpos: Option<Values>,
    /// Velocities, all nv of them or some by joint name.
    pub qvel: Option<Values>,
    /// Controls, all nu of them or some by actuator name.
    pub ctrl: Option<Values>,
    /// Actuator activations, all na of them.
    pub act: Option<Values>,
    /// What the caller calls the one vector that it gives, for messages.
    pub argument: Option<String>,
}

/// A vector: whole, or some of its values by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Values {
    /// All values, in MuJoCo's order.
    All(Vec<f64>),
    /// Some values, by the name of what they belong to.
    Named(Vec<(String, Vec<f64>)>),
}

/// The most names in one [`Values::Named`], and values in one [`Values::All`].
pub const VALUES_MAX: usize = 1_000_000;

/// Reads [`Values`] out of JSON: a list of numbers, or an object of numbers or lists by name.
///
/// For `#[serde(deserialize_with)]` at the edge; on the wire the enum stands as it is.
pub fn values_from_json<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Values>, D::Error> {
    from.deserialize_any(ValuesVisitor)
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Option<Values>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, or an object with a number for each name")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Real(value)) = seq.next_element()? {
            bounded(values.len())?;
            values.push(value);
        }
        Ok(Some(Values::All(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some((name, OneOrMore(value))) = map.next_entry()? {
            bounded(values.len())?;
            values.push((name, value));
        }
        Ok(Some(Values::Named(values)))
    }
}

pub(crate) fn bounded<E: de::Error>(length: usize) -> Result<(), E> {
    if length < VALUES_MAX {
        Ok(())
    } else {
        Err(E::custom(format!("more than {VALUES_MAX} values")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Values>, serde_json::Error> {
        values_from_json(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn a_vector_is_a_list_or_an_object() {
        assert_eq!(read("[1, 2.5]").unwrap(), Some(Values::All(vec![1.0, 2.5])));
        let named = vec![("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![1.0, 0.0])];
        assert_eq!(read(r#"{"a": 1, "b": [1, 0]}"#).unwrap(), Some(Values::Named(named)));
        assert_eq!(read("null").unwrap(), None);
    }

    #[test]
    fn a_vector_that_is_neither_is_refused() {
        let error = read("3").unwrap_err().to_string();
        assert!(error.contains("expected a list of numbers"), "{error}");
    }

    #[test]
    fn what_is_not_finite_is_left_to_the_worker_to_refuse() {
        let Some(Values::All(values)) = read(r#"["NaN"]"#).unwrap() else { panic!() };
        assert!(values[0].is_nan());
    }
}
