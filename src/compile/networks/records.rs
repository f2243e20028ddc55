//! Records of MMDB files, in the layouts of several makers. A member of another type than expected
//! counts as absent.

use std::fmt;

use maxminddb::{LookupResult, MaxMindDbError, PathElement};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::parts;
use super::spans::PlaceEntry;
use crate::terms::region::Place;

type Leaf<'a> = LookupResult<'a, &'a [u8]>;

/// A value of a record, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RecordValue<'a> {
    Text(&'a str),
    Number(u64),
    List(Vec<RecordValue<'a>>),
    Members(Vec<(&'a str, RecordValue<'a>)>),
    Other,
}

/// A part as written: a text that is its code, or one that may also be its name.
enum PartName<'a> {
    Code(String),
    Word(&'a str),
}

/// The members that name parts of a country: MaxMind's list, then those of flat layouts.
const PARTS: &[&str] = &[
    "subdivisions",
    "region_code",
    "subdivision_code",
    "region",
    "region_name",
    "subdivision",
    "state1",
    "state2",
];

/// The country of a record, with its part. Codes that aren't in use (`EU`, `AP`, `XX`) count as
/// absent.
pub(super) fn place(leaf: &Leaf<'_>) -> Result<Option<PlaceEntry>, MaxMindDbError> {
    if !is_map(leaf)? {
        return Ok(None);
    }
    // The flat layout first: there, `country` may be a name. The country of registration
    // (`registered_country`) is never used: the network may be elsewhere.
    let nested = |value: RecordValue<'_>| match value {
        RecordValue::Members(members) => {
            members.iter().find(|(name, _)| *name == "iso_code").and_then(|(_, code)| country(code))
        }
        other => country(&other),
    };
    let country = match member(leaf, "country_code")?.and_then(|code| country(&code)) {
        Some(country) => Some(country),
        None => member(leaf, "country")?.and_then(nested),
    };
    let Some(country) = country else { return Ok(None) };
    let mut named = Vec::new();
    for name in PARTS {
        if let Some(value) = member(leaf, name)? {
            collect(&value, name.ends_with("_code"), &mut named);
        }
    }
    Ok(Some(divided(&country, &named)))
}

/// The AS number of a record. AS 0 (RFC 7607) counts as absent.
pub(super) fn asn(leaf: &Leaf<'_>) -> Result<Option<u32>, MaxMindDbError> {
    if !is_map(leaf)? {
        return Ok(None);
    }
    let number = |value: &RecordValue<'_>| match value {
        RecordValue::Number(number) => u32::try_from(*number).ok(),
        RecordValue::Text(text) => {
            let text = text.trim();
            text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text).parse().ok()
        }
        RecordValue::List(_) | RecordValue::Members(_) | RecordValue::Other => None,
    };
    for name in ["autonomous_system_number", "asn"] {
        if let Some(asn) = member(leaf, name)?.as_ref().and_then(number).filter(|asn| *asn != 0) {
            return Ok(Some(asn));
        }
    }
    Ok(None)
}

/// The country with the region of a text: `UA-43`, or a name of the part.
pub(super) fn with_region(country: &Place, region: &str) -> PlaceEntry {
    let mut named = Vec::new();
    collect(&RecordValue::Text(region), false, &mut named);
    divided(country, &named)
}

fn country(value: &RecordValue<'_>) -> Option<Place> {
    let RecordValue::Text(text) = value else { return None };
    Place::from_bytes(text.as_bytes())
}

/// The entry of a country with the parts that its record names. The first part that is known by
/// name counts, else the first with a code.
fn divided(country: &Place, named: &[PartName<'_>]) -> PlaceEntry {
    let candidate = |part: &PartName<'_>| match part {
        PartName::Code(text) => {
            parts::by_code(country, text).or_else(|| parts::by_name(country, text))
        }
        // a name of up to three letters looks like a code
        PartName::Word(text) => {
            let code = parts::by_code(country, text);
            let code = code.filter(|place| parts::is_named(place) || text.contains('-'));
            parts::by_name(country, text).or(code)
        }
    };
    let candidates: Vec<Place> = named.iter().filter_map(candidate).collect();
    let part = candidates.iter().find(|place| parts::is_named(place)).or(candidates.first());
    let place = *part.filter(|_| !country.is_part()).unwrap_or(country);
    PlaceEntry { place, divides: place.is_part() || !named.is_empty() }
}

/// Collects the texts that may be a part's code or name: nested ones too, names in all languages.
fn collect<'a>(value: &RecordValue<'a>, is_code: bool, named: &mut Vec<PartName<'a>>) {
    match value {
        RecordValue::Text(text) if text.trim().is_empty() => {}
        RecordValue::Text(text) if is_code => named.push(PartName::Code((*text).to_owned())),
        RecordValue::Text(text) => named.push(PartName::Word(text)),
        RecordValue::Number(number) => named.push(PartName::Code(number.to_string())),
        RecordValue::List(values) => values.iter().for_each(|value| collect(value, is_code, named)),
        RecordValue::Members(members) => {
            for (name, value) in members {
                match (*name, value) {
                    ("iso_code" | "code", value) => collect(value, true, named),
                    ("name", value) => collect(value, false, named),
                    ("names", RecordValue::Members(languages)) => {
                        languages.iter().for_each(|(_, value)| collect(value, false, named))
                    }
                    _ => {}
                }
            }
        }
        RecordValue::Other => {}
    }
}

fn member<'a>(leaf: &Leaf<'a>, name: &str) -> Result<Option<RecordValue<'a>>, MaxMindDbError> {
    leaf.decode_path(&[PathElement::Key(name)])
}

/// Whether the record has members at all.
fn is_map(leaf: &Leaf<'_>) -> Result<bool, MaxMindDbError> {
    Ok(leaf.decode::<MapProbe>()?.is_some_and(|MapProbe(is_map)| is_map))
}

/// Reads a value, and leaves out deeper ones than this.
#[derive(Clone, Copy)]
struct Depth(u8);

/// Four levels: `subdivisions`, its element, `names` and a name.
const DEEPEST: Depth = Depth(4);

/// Whether a value has members. It reads none of them.
struct MapProbe(bool);

impl<'de> Deserialize<'de> for MapProbe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Depth(0).deserialize(deserializer)?;
        Ok(Self(matches!(value, RecordValue::Members(_))))
    }
}

impl<'de> Deserialize<'de> for RecordValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DEEPEST.deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = RecordValue<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = RecordValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RecordValue::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(RecordValue::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(RecordValue::Other, RecordValue::Number))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(RecordValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(RecordValue::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(RecordValue::Other)
    }

    fn visit_borrowed_bytes<E>(self, _: &'de [u8]) -> Result<Self::Value, E> {
        Ok(RecordValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        match self.0.checked_sub(1).map(Depth) {
            Some(below) => {
                while let Some(value) = list.next_element_seed(below)? {
                    values.push(value);
                }
            }
            None => while list.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(RecordValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        match self.0.checked_sub(1).map(Depth) {
            Some(below) => {
                while let Some(name) = map.next_key()? {
                    members.push((name, map.next_value_seed(below)?));
                }
            }
            None => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(RecordValue::Members(members))
    }
}
