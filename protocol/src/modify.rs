//! Changing a compiled model's numbers at run time.

use serde::{Deserialize, Serialize};

use crate::named::OneOrMore;
use crate::real::{Real, Reals};

/// Changes values of a compiled model: all of them, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModifyModel {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// Whether everything is first brought back to what was compiled.
    pub reset: bool,
    /// What to change.
    pub changes: Vec<Change>,
}

impl ModifyModel {
    /// The most changes of one call.
    pub const CHANGES_MAX: usize = 512;
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// MuJoCo's name of the field, such as `body_mass`.
    pub field: String,
    /// The body, geom, joint or actuator; without it, with `scale`, all of them.
    #[serde(default)]
    pub name: Option<String>,
    /// Which value of several, from 0; without it all of them.
    #[serde(default)]
    pub component: Option<u32>,
    /// The new value or values.
    #[serde(default)]
    pub value: Option<Numbers>,
    /// Instead of `value`: a factor on what was compiled.
    #[serde(default)]
    pub scale: Option<f64>,
}

/// A number or a list of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl Serialize for Numbers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Reals(self.0.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            OneOrMore::deserialize(deserializer).map(|OneOrMore(values)| Self(values))
        } else {
            Reals::deserialize(deserializer).map(|Reals(values)| Self(values))
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Numbers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Numbers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "number" }, { "type": "array", "items": { "type": "number" } }]
        })
    }
}

/// The answer to [`ModifyModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelModified {
    /// The model.
    pub model_id: String,
    /// Simulated time, in seconds.
    pub time_secs: Real,
    /// What was changed, as it was asked for.
    pub changed: Vec<Changed>,
    /// How many changes were left out of the list.
    pub items_cut: u32,
    /// How many values of the model differ from what was compiled.
    pub modified_total: u32,
}

impl ModelModified {
    /// The most changes that are listed.
    pub const ITEMS_MAX: usize = 64;
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Changed {
    /// MuJoCo's name of the field.
    pub field: String,
    /// The object's name, where the field belongs to one.
    pub name: Option<String>,
    /// The values before.
    pub before: Reals,
    /// The values now.
    pub after: Reals,
}

/// Draws factors for values of a compiled model: the same seed draws the same ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Randomize {
    /// Which model; may be left out where there is only one.
    pub model_id: Option<String>,
    /// What to draw, one factor for each object.
    pub ranges: Vec<ScaleRange>,
    /// The seed.
    pub seed: u64,
}

/// Factors on what was compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScaleRange {
    /// MuJoCo's name of the field, as in `modify_model`.
    pub field: String,
    /// The body, geom, joint or actuator; without it all of them.
    #[serde(default)]
    pub name: Option<String>,
    /// Which value of several; without it all of them, by one factor.
    #[serde(default)]
    pub component: Option<u32>,
    /// The smallest and the largest factor.
    pub scale: (f64, f64),
}
