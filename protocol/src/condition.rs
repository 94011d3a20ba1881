//! Conditions on a simulation: small, typed, and bounded. No scripts.

use serde::{Deserialize, Serialize};

/// A condition: `any` or `all` of others, or one quantity that is compared.
///
/// One type for the edge and the wire; which of its fields go together is checked by
/// [`Condition::check`], whose messages say what would be right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// True if one of these is.
    pub any: Vec<Self>,
    /// True if all of these are.
    pub all: Vec<Self>,
    /// What is compared.
    pub quantity: Option<Quantity>,
    /// The joint, sensor, body or geom that it is a quantity of.
    pub name: Option<String>,
    /// For contacts: the other body or geom; without it whatever is touched.
    pub other: Option<String>,
    /// Which value of several, from 0.
    pub component: u32,
    /// Compare the magnitude: of the value, or with several values of the whole vector.
    pub magnitude: bool,
    /// True above this value.
    pub above: Option<f64>,
    /// True below this value; with `above` as well, between the two.
    pub below: Option<f64>,
    /// For how long it must have been true, in simulated seconds.
    pub for_secs: f64,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Quantity {
    /// Simulated time, in seconds.
    Time,
    /// A joint's position: radians, metres, or a component of a ball or free joint's.
    JointPosition,
    /// A joint's velocity.
    JointVelocity,
    /// A sensor's output.
    Sensor,
    /// A body's position in the world, in metres: component 0, 1, 2 are x, y, z.
    BodyPosition,
    /// A body's speed, in metres per second.
    BodySpeed,
    /// The total normal force of contacts, in newtons, between `name` and `other`.
    ContactForce,
    /// How many contacts there are between `name` and `other`.
    ContactCount,
    /// Kinetic energy, in joules.
    KineticEnergy,
    /// Potential energy, in joules.
    PotentialEnergy,
    /// Kinetic and potential energy together.
    TotalEnergy,
    /// The largest velocity of any degree of freedom: small means settled.
    MaxVelocity,
}

impl Quantity {
    /// Whether it is a quantity of something that has a name; contacts may have one.
    fn needs_name(self) -> Option<bool> {
        use Quantity::{
            BodyPosition, BodySpeed, ContactCount, ContactForce, JointPosition, JointVelocity,
            Sensor,
        };
        match self {
            JointPosition | JointVelocity | Sensor | BodyPosition | BodySpeed => Some(true),
            ContactForce | ContactCount => None,
            _ => Some(false),
        }
    }

    fn is_of_contacts(self) -> bool {
        matches!(self, Self::ContactForce | Self::ContactCount)
    }
}

/// The most conditions in one.
pub const CONDITIONS_MAX: usize = 32;

/// How deep conditions may stand in each other.
pub const DEPTH_MAX: usize = 4;

impl Condition {
    /// Whether its fields go together; if not, what would be right.
    pub fn check(&self) -> Result<(), String> {
        let mut count = 0;
        self.check_below(DEPTH_MAX, &mut count)
    }

    fn check_below(&self, depth: usize, count: &mut usize) -> Result<(), String> {
        *count += 1;
        if CONDITIONS_MAX < *count {
            return Err(format!("at most {CONDITIONS_MAX} conditions can be given"));
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("conditions can stand in each other {DEPTH_MAX} deep"));
        };
        let parts = usize::from(!self.any.is_empty())
            + usize::from(!self.all.is_empty())
            + usize::from(self.quantity.is_some());
        if parts != 1 {
            return Err("give exactly one of `any`, `all` (lists of conditions) and `quantity`, \
                        such as {\"quantity\": \"joint_position\", \"name\": \"elbow\", \
                        \"above\": 1.5}"
                .to_owned());
        }
        if !self.for_secs.is_finite() || self.for_secs < 0.0 {
            return Err(format!("`for_secs` must not be negative, and is {}", self.for_secs));
        }
        self.check_leaf()?;
        self.any.iter().chain(&self.all).try_for_each(|inner| inner.check_below(depth, count))
    }

    fn check_leaf(&self) -> Result<(), String> {
        let Some(quantity) = self.quantity else {
            let stray = self.name.is_some()
                || self.other.is_some()
                || self.above.is_some()
                || self.below.is_some();
            return if stray { Err("`any` and `all` take no other fields".into()) } else { Ok(()) };
        };
        match (quantity.needs_name(), &self.name) {
            (Some(true), None) => {
                return Err(format!("`{quantity:?}` needs the `name` of what it is of"));
            }
            (Some(false), Some(_)) => return Err(format!("`{quantity:?}` takes no `name`")),
            _ => (),
        }
        if self.other.is_some() && !(quantity.is_of_contacts() && self.name.is_some()) {
            return Err("`other` goes with contacts, and with a `name`".to_owned());
        }
        if [self.above, self.below].into_iter().flatten().any(|bound| !bound.is_finite()) {
            return Err("`above` and `below` must be finite".to_owned());
        }
        match (self.above, self.below) {
            (None, None) => Err("give `above`, `below` or both".to_owned()),
            (Some(above), Some(below)) if below <= above => {
                Err(format!("nothing is above {above} and below {below}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), String> {
        serde_json::from_str::<Condition>(json).unwrap().check()
    }

    #[test]
    fn sound_conditions_pass() {
        for json in [
            r#"{"quantity": "time", "above": 2}"#,
            r#"{"quantity": "joint_position", "name": "elbow", "below": -1.5, "for_secs": 0.1}"#,
            r#"{"quantity": "contact_force", "name": "ball", "other": "floor", "above": 5}"#,
            r#"{"any": [{"quantity": "max_velocity", "below": 0.01},
                        {"all": [{"quantity": "time", "above": 1}]}]}"#,
        ] {
            check(json).unwrap();
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (json, word) in [
            ("{}", "exactly one"),
            (r#"{"quantity": "time"}"#, "`above`"),
            (r#"{"quantity": "sensor", "above": 1}"#, "`name`"),
            (r#"{"quantity": "time", "name": "x", "above": 1}"#, "no `name`"),
            (r#"{"quantity": "time", "above": 2, "below": 1}"#, "nothing is above"),
            (r#"{"quantity": "sensor", "name": "a", "other": "b", "above": 1}"#, "`other`"),
            (r#"{"any": [{"quantity": "time", "above": 1}], "above": 2}"#, "no other"),
            (r#"{"quantity": "time", "above": 1, "for_secs": -1}"#, "`for_secs`"),
        ] {
            let error = check(json).unwrap_err();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn conditions_are_bounded() {
        let mut deep = r#"{"quantity": "time", "above": 1}"#.to_owned();
        for _ in 0..DEPTH_MAX {
            deep = format!(r#"{{"all": [{deep}]}}"#);
        }
        assert!(check(&deep).unwrap_err().contains("deep"));
        let wide = vec![r#"{"quantity": "time", "above": 1}"#; CONDITIONS_MAX].join(",");
        assert!(check(&format!(r#"{{"any": [{wide}]}}"#)).unwrap_err().contains("at most"));
    }
}
