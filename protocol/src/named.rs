//! Values by the name of what they belong to, in the model's order.
//!
//! In JSON they are an object; what has one value has a number there, what has several a list.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::real::{Real, Reals};

/// Values by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named(pub Vec<(String, Vec<f64>)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            match values[..] {
                [value] => map.serialize_entry(name, &Real(value))?,
                _ => map.serialize_entry(name, &Reals::from(&values[..]))?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_map(NamedVisitor).map(Self)
        } else {
            Vec::deserialize(deserializer).map(Self)
        }
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Vec<(String, Vec<f64>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a number or a list of numbers for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut named = Vec::new();
        while let Some((name, OneOrMore(values))) = map.next_entry()? {
            named.push((name, values));
        }
        Ok(named)
    }
}

/// A number or a list of numbers.
#[derive(Debug)]
pub(crate) struct OneOrMore(pub(crate) Vec<f64>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMoreVisitor).map(Self)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(vec![value])
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON has one kind of number")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(vec![value as f64])
    }

    #[expect(clippy::cast_precision_loss, reason = "JSON has one kind of number")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(vec![value as f64])
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        let text = de::value::StrDeserializer::<E>::new(value);
        Real::deserialize(text).map(|Real(value)| vec![value])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Real(value)) = seq.next_element()? {
            crate::state::bounded(values.len())?;
            values.push(value);
        }
        Ok(values)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::Named;

    impl JsonSchema for Named {
        fn schema_name() -> Cow<'static, str> {
            "Named".into()
        }

        fn inline_schema() -> bool {
            true
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "object" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_a_number_and_several_are_a_list() {
        let named = Named(vec![("b".into(), vec![1.0]), ("a".into(), vec![0.5, f64::NAN])]);
        let json = serde_json::to_string(&named).unwrap();
        assert_eq!(json, r#"{"b":1.0,"a":[0.5,"NaN"]}"#);
        let Named(back) = serde_json::from_str(&json).unwrap();
        assert_eq!((&back[0], &back[1].0), (&named.0[0], &named.0[1].0));
        let bytes = postcard::to_allocvec(&named).unwrap();
        let Named(back) = postcard::from_bytes(&bytes).unwrap();
        assert!(back[1].1[1].is_nan());
    }
}
