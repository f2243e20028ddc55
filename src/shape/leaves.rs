//! Shapes of general use: lists, switches, whole numbers, and values that may be missing.

use super::contract::{Members, Shape, Word};
use super::json::{Json, Number};
use super::problem::{Path, Problems, wrong_type};
use super::writer::JsonWriter;

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer<const MIN: u64, const MAX: u64>(pub u64);

/// An object whose names are data: few entries, in the order written.
#[derive(Debug, Clone)]
pub struct Dictionary<K, V>(Vec<(K, V)>);

/// A member that is always there, and is null where there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

/// The literal `true`. Leaving the member out turns the switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch;

// === impl Dictionary ===

impl<K, V> Default for Dictionary<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Dictionary<K, V> {
    /// A dictionary without entries.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A dictionary of these entries, whose names differ.
    pub fn from_entries(entries: Vec<(K, V)>) -> Self {
        Self(entries)
    }

    /// The value of that name.
    pub fn get<Q: ?Sized>(&self, name: &Q) -> Option<&V>
    where
        K: PartialEq<Q>,
    {
        self.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Names and values, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same names with other values.
    pub fn map<W>(self, mut change: impl FnMut(V) -> W) -> Dictionary<K, W> {
        Dictionary(self.0.into_iter().map(|(key, value)| (key, change(value))).collect())
    }
}

// === impl Shape for the general types ===

#[cold]
#[inline(never)]
fn text<'j>(json: &'j Json, what: &str, at: &Path<'_>, problems: &mut Problems) -> Option<&'j str> {
    let text = json.as_str();
    if text.is_none() {
        let expected = format!("a string ({})", what.trim().trim_end_matches('.'));
        wrong_type(at, &expected, json, problems);
    }
    text
}

#[cold]
#[inline(never)]
fn whole(json: &Json, min: u64, max: u64, at: &Path<'_>, problems: &mut Problems) -> Option<u64> {
    let found = match json {
        Json::Number(Number::Natural(number)) if (min..=max).contains(number) => {
            return Some(*number);
        }
        Json::Number(Number::Natural(number)) => format!("`{number}`"),
        Json::Number(Number::Negative(number)) => format!("`{number}`"),
        Json::Number(Number::Fraction(_)) => "a fraction".into(), // printing it takes 12 KB
        other => {
            wrong_type(at, "a whole number", other, problems);
            return None;
        }
    };
    let expected =
        if min == max { format!("`{min}`") } else { format!("a whole number from {min} to {max}") };
    problems.note(at, format!("expected {expected}, found {found}"), None);
    None
}

/// The schema of a word: its choices, else its pattern.
fn word_schema<T: Word>() -> serde_json::Value {
    match (T::CHOICES, T::PATTERN) {
        ([], "") => serde_json::json!({"type": "string"}),
        ([], pattern) => serde_json::json!({"type": "string", "pattern": pattern}),
        (choices, _) => serde_json::json!({"type": "string", "enum": choices}),
    }
}

impl<T: Word> Shape for T {
    #[inline(never)] // else the module has it once for each field of each document
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = text(json, T::WHAT, at, problems)?;
        T::parse(text).map_err(|mismatch| problems.mismatch(at, mismatch)).ok()
    }

    fn write(&self, out: &mut JsonWriter) {
        self.put(out);
    }

    fn schema() -> serde_json::Value {
        let mut schema = word_schema::<T>();
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".into(), T::WHAT.trim().into());
        }
        schema
    }
}

impl<T: Shape> Shape for Option<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(json, at, problems).map(Some)
    }

    fn write(&self, out: &mut JsonWriter) {
        match self {
            Some(value) => value.write(out),
            None => out.raw("null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }
}

impl<T: Shape> Shape for Nullable<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Null => Some(Self(None)),
            value => T::read(value, at, problems).map(|value| Self(Some(value))),
        }
    }

    fn write(&self, out: &mut JsonWriter) {
        self.0.write(out);
    }

    /// That of the value, of which `type` and `enum` admit null.
    fn schema() -> serde_json::Value {
        let mut schema = T::schema();
        if let Some(members) = schema.as_object_mut() {
            let choices = members.get_mut("enum").and_then(|choices| choices.as_array_mut());
            choices.into_iter().for_each(|choices| choices.push(serde_json::Value::Null));
            if let Some(kind) = members.get_mut("type") {
                *kind = serde_json::json!([kind.take(), "null"]);
            }
        }
        schema
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Json::List(items) = json else {
            wrong_type(at, "a list", json, problems);
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            read.extend(T::read(item, &Path::Element(at, i), problems));
        }
        (read.len() == items.len()).then_some(read)
    }

    fn write(&self, out: &mut JsonWriter) {
        out.list(self, T::write);
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "array", "items": T::schema()})
    }
}

/// Each name is a [`Word`] too.
impl<K: Word + PartialEq, V: Shape> Shape for Dictionary<K, V> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        let mut table: Vec<(K, V)> = Vec::with_capacity(members.all().len());
        for (name, value) in members.all() {
            let here = Path::Member(at, name);
            let key = K::parse(name).map_err(|mismatch| problems.mismatch(&here, mismatch)).ok();
            if let (Some(key), Some(value)) = (key, V::read(value, &here, problems)) {
                if table.iter().any(|(known, _)| *known == key) {
                    problems.duplicate(&here, name);
                }
                table.push((key, value));
            }
        }
        Some(Self(table)) // a bad entry is noted; the others are looked at further
    }

    fn write(&self, out: &mut JsonWriter) {
        out.entries(&self.0, K::put);
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({
            "type": "object",
            "propertyNames": word_schema::<K>(),
            "additionalProperties": V::schema(),
        })
    }
}

impl Shape for Json {
    fn read(json: &Json, _at: &Path<'_>, _problems: &mut Problems) -> Option<Self> {
        Some(json.clone())
    }

    fn write(&self, out: &mut JsonWriter) {
        match self {
            Self::Null => out.raw("null"),
            Self::Bool(value) => value.write(out),
            Self::Number(Number::Natural(number)) => out.number(*number),
            Self::Number(Number::Negative(number)) => out.raw(&number.to_string()),
            Self::Number(Number::Fraction(number)) => out.raw(&format!("{number:?}")),
            Self::Text(text) => out.string(text),
            Self::List(items) => items.write(out),
            Self::Object(members) => out.entries(members, |name, out| out.string(name)),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({})
    }
}

impl Shape for bool {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Bool(value) => Some(*value),
            other => {
                wrong_type(at, "true or false", other, problems);
                None
            }
        }
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw(if *self { "true" } else { "false" });
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "boolean"})
    }
}

impl Shape for Switch {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let found = match json {
            Json::Bool(true) => return Some(Self),
            Json::Bool(false) => "`false`",
            other => other.kind(),
        };
        let message = format!("expected `true`, found {found}");
        problems.wrong(at, &message, "leave it out to turn it off");
        None
    }

    fn write(&self, out: &mut JsonWriter) {
        true.write(out);
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"const": true})
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Integer<MIN, MAX> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        whole(json, MIN, MAX, at, problems).map(Self)
    }

    fn write(&self, out: &mut JsonWriter) {
        out.number(self.0);
    }

    fn schema() -> serde_json::Value {
        match MAX {
            u64::MAX => serde_json::json!({"type": "integer", "minimum": MIN}),
            _ if MIN == MAX => serde_json::json!({"type": "integer", "const": MIN}),
            _ => serde_json::json!({"type": "integer", "minimum": MIN, "maximum": MAX}),
        }
    }
}
