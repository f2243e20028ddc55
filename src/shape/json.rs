//! JSON as it was written: what a reader of documents needs and serde_json's own value drops.

use std::fmt;

use crate::shape::ordered;
use serde::de::{MapAccess, SeqAccess, Visitor};

/// A JSON value as written: members keep their order, and duplicate names are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number
    Number(Number),
    /// A string
    Text(String),
    /// An array
    List(Vec<Json>),
    /// An object, in the order written
    Object(Vec<(String, Json)>),
}

/// A number, by how it was written. serde_json's own would link the printing of floating point
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without sign and fraction
    Natural(u64),
    /// Below zero, without fraction
    Negative(i64),
    /// Anything else
    Fraction(f64),
}

impl Number {
    /// The number, if it is whole and not too large.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Natural(number) => i64::try_from(*number).ok(),
            Self::Negative(number) => Some(*number),
            Self::Fraction(_) => None,
        }
    }

    /// The number as a fraction, the nearest where it can't be held exactly.
    #[expect(clippy::cast_precision_loss, reason = "that is what it says")]
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Natural(number) => *number as f64,
            Self::Negative(number) => *number as f64,
            Self::Fraction(number) => *number,
        }
    }
}

impl Json {
    /// The value's type in JSON's words, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The member of that name, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// The elements of a list; nothing of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => &[],
        }
    }

    /// The members of an object; nothing of anything else.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => &[],
        }
    }

    /// Writes the value as JSON with members in the order of their names, so that equal documents
    /// give equal text.
    pub fn write_canonical(&self, out: &mut String) {
        let mut list =
            |open: char, close: char, items: &mut dyn Iterator<Item = (Option<&str>, &Self)>| {
                out.push(open);
                for (i, (name, value)) in items.enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    if let Some(name) = name {
                        Self::Text(name.to_owned()).write_canonical(out);
                        out.push(':');
                    }
                    value.write_canonical(out);
                }
                out.push(close);
            };
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(Number::Natural(number)) => out.push_str(&number.to_string()),
            Self::Number(Number::Negative(number)) => out.push_str(&number.to_string()),
            // its bits: writing it as a decimal takes 12 KB of tables, and no setting is a fraction
            Self::Number(Number::Fraction(number)) => out.push_str(&number.to_bits().to_string()),
            Self::Text(text) => out.push_str(&serde_json::to_string(text).unwrap_or_default()),
            Self::List(items) => list('[', ']', &mut items.iter().map(|item| (None, item))),
            Self::Object(members) => {
                let mut ordered: Vec<&(String, Self)> = Vec::new();
                members
                    .iter()
                    .for_each(|member| ordered::insert(&mut ordered, member, |(name, _)| name));
                let mut members = ordered.into_iter().map(|(name, value)| (Some(&**name), value));
                list('{', '}', &mut members);
            }
        }
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl<'de> Visitor<'de> for AsWritten {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_none<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(Number::Natural(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(Number::Negative(value)))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(Number::Fraction(value)))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
        }
        deserializer.deserialize_any(AsWritten)
    }
}
