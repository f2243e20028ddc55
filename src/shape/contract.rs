//! The two traits that a document's types implement, and how an object is read.

use std::fmt;

use super::json::Json;
use super::problem::{Mismatch, Path, Problems, suggestion, wrong_type};
use super::writer::JsonWriter;

/// A type that is read from a JSON value and written as one.
pub trait Shape: Sized {
    /// Reads `json`, whose place is `at`. Notes every mistake; `None` means there was one.
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self>;

    /// Writes the value as [`Shape::read`] takes it.
    fn write(&self, out: &mut JsonWriter);

    /// Whether there is no value, so that an object leaves the member out.
    fn is_absent(&self) -> bool {
        false
    }

    /// The JSON Schema (draft 2020-12) of the values that [`Shape::read`] takes.
    fn schema() -> serde_json::Value;
}

/// A leaf that is written as a string.
pub trait Word: Sized + fmt::Display {
    /// The leaf in a few words, for the schema and the reader of an error
    const WHAT: &'static str;
    /// A regular expression (ECMA 262) that every accepted text matches; empty where any text is
    /// accepted
    const PATTERN: &'static str;
    /// All accepted texts, where they are few
    const CHOICES: &'static [&'static str] = &[];

    /// Parses the whole text.
    ///
    /// # Errors
    /// A [`Mismatch`] that says why not.
    fn parse(text: &str) -> Result<Self, Mismatch>;

    /// Writes the text that [`Word::parse`] takes.
    fn put(&self, out: &mut JsonWriter) {
        out.string(&self.to_string());
    }
}

/// An object that is being read: hands out members, then names those nobody asked for.
#[derive(Debug)]
pub struct Members<'a> {
    members: &'a [(String, Json)],
    at: &'a Path<'a>,
}

impl JsonWriter {
    /// An object whose names are data, each written by `put`.
    pub(super) fn entries<K>(&mut self, entries: &[(K, impl Shape)], put: impl Fn(&K, &mut Self)) {
        self.raw("{");
        for (i, (name, value)) in entries.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            put(name, self);
            self.raw(":");
            value.write(self);
        }
        self.raw("}");
    }

    /// A member. Its beginning is `"name":`, behind a comma unless it is the object's first.
    pub fn field(&mut self, beginning: &'static str, value: &impl Shape) {
        self.raw(beginning);
        value.write(self);
    }
}

/// The value as compact JSON.
pub fn to_text(value: &impl Shape) -> String {
    let mut out = JsonWriter::default();
    value.write(&mut out);
    out.into_string()
}

/// The value as a tree.
pub fn to_value(value: &impl Shape) -> serde_json::Value {
    serde_json::from_str(&to_text(value)).unwrap_or_default()
}

/// The value for reports, in which every member is there: null where there is no value.
pub fn to_report(value: &impl Shape) -> serde_json::Value {
    let mut out = JsonWriter::with_nulls();
    value.write(&mut out);
    serde_json::from_slice(out.as_bytes()).unwrap_or_default()
}

/// The schema of an object, from its declared fields: name, schema, doc lines, and whether it is
/// required.
pub fn object_schema(
    doc: &[&str],
    fields: Vec<(&str, serde_json::Value, &[&str], bool)>,
) -> serde_json::Value {
    let prose = |lines: &[&str]| lines.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ");
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (name, mut schema, field_doc, is_required) in fields {
        if let (Some(members), false) = (schema.as_object_mut(), field_doc.is_empty()) {
            members.insert("description".into(), prose(field_doc).into());
        }
        properties.insert(name.into(), schema);
        if is_required {
            required.push(name);
        }
    }
    serde_json::json!({
        "type": "object",
        "description": prose(doc),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

// === impl Members ===

impl<'a> Members<'a> {
    /// Opens an object; any other type is a mistake.
    pub fn open(json: &'a Json, at: &'a Path<'a>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(members) => Some(Self { members, at }),
            other => {
                wrong_type(at, "an object", other, problems);
                None
            }
        }
    }

    /// The members, in the order written.
    pub fn all(&self) -> &'a [(String, Json)] {
        self.members
    }

    /// Reads a member that must be there.
    #[cold]
    pub fn required<T: Shape>(&self, name: &'static str, problems: &mut Problems) -> Option<T> {
        let value = self.find_or_note(name, problems)?;
        T::read(value, &Path::Member(self.at, name), problems)
    }

    /// Reads a member that may be left out: `None` where it is, `Some(None)` where it is wrong.
    #[cold]
    pub fn optional<T: Shape>(&self, name: &str, problems: &mut Problems) -> Option<Option<T>> {
        let value = self.find(name)?;
        Some(T::read(value, &Path::Member(self.at, name), problems))
    }

    #[cold]
    fn find_or_note(&self, name: &str, problems: &mut Problems) -> Option<&'a Json> {
        let found = self.find(name);
        if found.is_none() {
            problems.missing(self.at, name);
        }
        found
    }

    /// Not inlined: else the module has it once for each field of each document.
    #[inline(never)]
    fn find(&self, name: &str) -> Option<&'a Json> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Notes duplicate members and members not in `known`.
    pub fn close(self, known: &[&'static str], problems: &mut Problems) {
        for (i, (name, _)) in self.members.iter().enumerate() {
            let at = Path::Member(self.at, name);
            if self.members.iter().take(i).any(|(earlier, _)| earlier == name) {
                problems.duplicate(&at, name);
            } else if !known.contains(&name.as_str()) {
                problems.note(&at, "unknown field", Some(suggestion(name, known)));
            }
        }
    }
}
