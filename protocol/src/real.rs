//! Numbers that survive JSON bit by bit.
//!
//! On the wire a number is its eight bytes. In JSON a finite number is written in its shortest
//! form that reads back to the same bits; what JSON cannot write is one of the strings `"NaN"`,
//! `"Infinity"` and `"-Infinity"`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// One number.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Real(pub f64);

/// A vector of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reals(pub Vec<f64>);

impl From<&[f64]> for Reals {
    fn from(values: &[f64]) -> Self {
        Self(values.to_vec())
    }
}

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value) = *self;
        if value.is_finite() || !serializer.is_human_readable() {
            serializer.serialize_f64(value)
        } else if value.is_nan() {
            serializer.serialize_str("NaN")
        } else if value.is_sign_positive() {
            serializer.serialize_str("Infinity")
        } else {
            serializer.serialize_str("-Infinity")
        }
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(RealVisitor).map(Self)
        } else {
            f64::deserialize(deserializer).map(Self)
        }
    }
}

struct RealVisitor;

impl Visitor<'_> for RealVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON has one kind of number")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON has one kind of number")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<f64, E> {
        match value {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
        }
    }
}

impl Serialize for Reals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().copied().map(Real))
    }
}

impl<'de> Deserialize<'de> for Reals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<Real>::deserialize(deserializer)?;
        Ok(Self(values.into_iter().map(|Real(value)| value).collect()))
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Real, Reals};

    impl JsonSchema for Real {
        fn schema_name() -> Cow<'static, str> {
            "Real".into()
        }

        fn inline_schema() -> bool {
            true
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": ["number", "string"] })
        }
    }

    impl JsonSchema for Reals {
        fn schema_name() -> Cow<'static, str> {
            "Reals".into()
        }

        fn inline_schema() -> bool {
            true
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "array", "items": { "type": ["number", "string"] } })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_json_cannot_write_is_a_string() {
        let values = Reals(vec![1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"[1.5,"NaN","Infinity","-Infinity",-0.0]"#);
    }

    #[test]
    fn another_string_is_refused() {
        let error = serde_json::from_str::<Reals>(r#"["nan"]"#).unwrap_err();
        assert!(error.to_string().contains("expected a number"), "{error}");
    }

    proptest! {
        #[test]
        fn every_bit_survives_json_and_the_wire(bits in prop::collection::vec(any::<u64>(), 0..50)) {
            // A NaN's payload is not a number that anybody sends: JSON keeps that it is one.
            let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            let same = |left: &[f64], right: &[f64]| {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| {
                    left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
                })
            };
            let text = serde_json::to_string(&Reals(values.clone())).unwrap();
            prop_assert!(same(&values, &serde_json::from_str::<Reals>(&text).unwrap().0));
            let bytes = postcard::to_stdvec(&Reals(values.clone())).unwrap();
            let wire = postcard::from_bytes::<Reals>(&bytes).unwrap();
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&values), bits(&wire.0));
        }
    }
}
