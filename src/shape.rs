//! Reading JSON documents into types, with every mistake named at once.
//!
//! A person who writes a configuration wants all its errors in one go, each with its place and a hint;
//! serde's derive stops at the first. So the types of a document are declared with `object!` and
//! `words!`, and one declaration gives the Rust type, its reader and its JSON Schema: the three can't
//! drift apart. Leaves implement [`Word`]: text in, a proven type or a [`Mismatch`] out.
//!
//! Limits: a document is read into memory whole, as [`Json`], and never on the request path.

mod json;

use std::fmt;

pub use json::Json;

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON path, `$.node.id`; empty where it concerns a file as a whole
    pub path: String,
    /// What is wrong, in the user's words
    pub message: String,
    /// What to do
    pub help: Option<String>,
}

/// The mistakes of one document, in the order found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Why a text isn't what its place asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What is wrong
    pub message: String,
    /// What to do
    pub help: Option<String>,
}

/// The way from the document's root to a value.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// `$`
    Root,
    /// A member of an object
    Member(&'a Path<'a>, &'a str),
    /// An element of an array
    Element(&'a Path<'a>, usize),
}

/// A type that can be read from a JSON value.
pub trait Shape: Sized {
    /// Reads `json`, which stands at `at`. Notes every mistake; `None` means there was one.
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self>;

    /// The JSON Schema (draft 2020-12) of what [`Shape::read`] takes.
    fn schema() -> serde_json::Value;
}

/// A leaf that is written as a string.
pub trait Word: Sized {
    /// What it is, for the schema and the reader of an error
    const WHAT: &'static str;
    /// A regular expression (ECMA 262) that every accepted text matches
    const PATTERN: &'static str;

    /// Parses the whole text.
    ///
    /// # Errors
    /// A [`Mismatch`] that says why not.
    fn parse(text: &str) -> Result<Self, Mismatch>;
}

/// An object that is being read: hands out members, then names those nobody asked for.
#[derive(Debug)]
pub struct Members<'a> {
    members: &'a [(String, Json)],
    at: &'a Path<'a>,
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

/// An object whose names are data: few entries, in the order written.
#[derive(Debug, Clone, Default)]
pub struct Table<K, V>(Vec<(K, V)>);

/// The literal `true`: a switch that is left out to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct True;

/// Reads a whole document, so far as it can be read: the value may be there in spite of mistakes, which
/// then concern fields that may be left out. It counts only once `problems` is empty.
pub fn read_document<T: Shape>(text: &str, problems: &mut Problems) -> Option<(T, Json)> {
    match serde_json::from_str::<Json>(text) {
        Ok(json) => T::read(&json, &Path::Root, problems).map(|value| (value, json)),
        Err(error) => {
            let help = "strings and names stand in double quotes, no comma follows the last member";
            problems.note(&Path::Root, format!("this is not JSON: {error}"), Some(help.into()));
            None
        }
    }
}

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .copied()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8) // strsim's 0..1; below, suggestions read as random
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or the list to choose from.
pub fn suggestion(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            if candidates.is_empty() {
                "none is allowed here".into()
            } else {
                format!("one of `{}`", candidates.join("`, `"))
            }
        }
    }
}

// === impl Problem, Problems, Mismatch ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Problems {
    /// Notes one mistake.
    pub fn note(&mut self, at: &Path<'_>, message: impl Into<String>, help: Option<String>) {
        self.0.push(Problem { path: at.to_string(), message: message.into(), help });
    }

    /// Notes one mistake with a hint. Never inlined, and takes no ownership: where it is called it costs least.
    #[inline(never)]
    pub fn wrong(&mut self, at: &Path<'_>, message: &str, help: &str) {
        self.note(at, message, Some(help.to_owned()));
    }

    /// Notes that a text isn't what its place asks for.
    pub fn mismatch(&mut self, at: &Path<'_>, mismatch: Mismatch) {
        self.note(at, mismatch.message, mismatch.help);
    }

    /// Takes in a mistake that is already put into words.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl Mismatch {
    /// A mistake with a hint.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Member(parent, name)
                if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                write!(f, "{parent}.{name}")
            }
            Self::Member(parent, name) => write!(f, "{parent}[{name:?}]"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

// === impl Table ===

impl<K, V> Table<K, V> {
    /// A table without entries.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A table of these entries, whose names differ.
    pub fn from_entries(entries: Vec<(K, V)>) -> Self {
        Self(entries)
    }

    /// The value that stands under a name.
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
    pub fn map<W>(self, mut change: impl FnMut(V) -> W) -> Table<K, W> {
        Table(self.0.into_iter().map(|(key, value)| (key, change(value))).collect())
    }
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
            problems.note(self.at, format!("`{name}` is missing"), None);
        }
        found
    }

    /// Not inlined: else it stands in the module once for each field of each document.
    #[inline(never)]
    fn find(&self, name: &str) -> Option<&'a Json> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Notes members that stand twice and members not in `known`.
    pub fn close(self, known: &[&'static str], problems: &mut Problems) {
        for (i, (name, _)) in self.members.iter().enumerate() {
            let at = Path::Member(self.at, name);
            if self.members.iter().take(i).any(|(earlier, _)| earlier == name) {
                problems.note(&at, "this name stands twice", Some("keep one of the two".into()));
            } else if !known.contains(&name.as_str()) {
                problems.note(&at, "unknown field", Some(suggestion(name, known)));
            }
        }
    }
}

/// Notes that another type was expected.
pub fn wrong_type(at: &Path<'_>, expected: &str, found: &Json, problems: &mut Problems) {
    let help = matches!(found, Json::Null).then(|| "leave the field out instead".into());
    problems.note(at, format!("expected {expected}, found {}", found.kind()), help);
}

// === impl Shape for the general types ===

#[cold]
#[inline(never)]
fn text<'j>(json: &'j Json, what: &str, at: &Path<'_>, problems: &mut Problems) -> Option<&'j str> {
    let text = json.as_str();
    if text.is_none() {
        wrong_type(
            at,
            &format!("a string ({})", what.trim().trim_end_matches('.')),
            json,
            problems,
        );
    }
    text
}

#[cold]
#[inline(never)]
fn whole(json: &Json, min: u64, max: u64, at: &Path<'_>, problems: &mut Problems) -> Option<u64> {
    let Json::Number(number) = json else {
        wrong_type(at, "a whole number", json, problems);
        return None;
    };
    let number = number.as_u64().filter(|number| (min..=max).contains(number));
    if number.is_none() {
        let wanted = if min == max {
            format!("{min}")
        } else {
            format!("a whole number from {min} to {max}")
        };
        problems.note(at, format!("expected {wanted}"), None);
    }
    number
}

impl<T: Word> Shape for T {
    #[inline(never)] // else it stands in the module once for each field of each document
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = text(json, T::WHAT, at, problems)?;
        T::parse(text).map_err(|mismatch| problems.mismatch(at, mismatch)).ok()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "string", "description": T::WHAT, "pattern": T::PATTERN})
    }
}

impl<T: Shape> Shape for Option<T> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(json, at, problems).map(Some)
    }

    fn schema() -> serde_json::Value {
        T::schema()
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

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "array", "items": T::schema()})
    }
}

/// Each name is a [`Word`] too.
impl<K: Word + PartialEq, V: Shape> Shape for Table<K, V> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        let mut table: Vec<(K, V)> = Vec::with_capacity(members.all().len());
        for (name, value) in members.all() {
            let here = Path::Member(at, name);
            let key = K::parse(name).map_err(|mismatch| problems.mismatch(&here, mismatch)).ok();
            if let (Some(key), Some(value)) = (key, V::read(value, &here, problems)) {
                if table.iter().any(|(known, _)| *known == key) {
                    problems.note(
                        &here,
                        "this name stands twice",
                        Some("keep one of the two".into()),
                    );
                }
                table.push((key, value));
            }
        }
        Some(Self(table)) // a bad entry is noted; the others are looked at further
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "object", "propertyNames": {"pattern": K::PATTERN}, "additionalProperties": V::schema()})
    }
}

impl Shape for Json {
    fn read(json: &Json, _at: &Path<'_>, _problems: &mut Problems) -> Option<Self> {
        Some(json.clone())
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

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "boolean"})
    }
}

impl Shape for True {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Bool(true) => Some(Self),
            other => {
                problems.note(
                    at,
                    format!("expected `true`, found {}", other.kind()),
                    Some("leave it out to turn it off".into()),
                );
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"const": true})
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Whole<MIN, MAX> {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        whole(json, MIN, MAX, at, problems).map(Self)
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// The schema of an object, from its declared fields: name, schema, doc lines, whether it is required.
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
        "type": "object", "description": prose(doc), "properties": properties, "required": required, "additionalProperties": false,
    })
}

/// A field's name as documents have it: without the mark that lets Rust take a word of its own, `r#type`.
pub fn plain(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// Declares an object: its type, reader and schema. A field with `= default` may be left out; where it is
/// wrong, the mistake is noted and reading goes on with the default, so that later mistakes are found too.
macro_rules! object {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident : $type:ty $(= $default:expr)? ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        $vis struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $type, )+
        }

        impl $crate::shape::Shape for $name {
            #[cold] // documents are read once: small is better than fast
            fn read(
                json: &$crate::shape::Json,
                at: &$crate::shape::Path<'_>,
                problems: &mut $crate::shape::Problems,
            ) -> Option<Self> {
                let members = $crate::shape::Members::open(json, at, problems)?;
                $( let $field: Option<$type> = object!(@read members, problems, $field $(, $default)?); )+
                members.close(&[$( $crate::shape::plain(stringify!($field)) ),+], problems);
                Some(Self { $( $field: $field? ),+ })
            }

            fn schema() -> serde_json::Value {
                $crate::shape::object_schema(&[$($doc),+], vec![
                    $( ($crate::shape::plain(stringify!($field)), <$type as $crate::shape::Shape>::schema(), &[$($field_doc),+], object!(@required $($default)?)) ),+
                ])
            }
        }
    };
    (@read $members:ident, $problems:ident, $field:ident) => {
        $members.required($crate::shape::plain(stringify!($field)), $problems)
    };
    (@read $members:ident, $problems:ident, $field:ident, $default:expr) => {
        $members.optional($crate::shape::plain(stringify!($field)), $problems).flatten().or_else(|| Some($default))
    };
    (@required) => { true };
    (@required $default:expr) => { false };
}

/// Declares a closed set of words: its type, reader, text and schema. Variants are in the order of meaning.
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])+ $variant, )+
        }

        impl $name {
            /// All of them, in the order declared.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The word as written in documents.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::shape::Word for $name {
            const WHAT: &'static str = concat!($($doc, " "),+);
            const PATTERN: &'static str = concat!("^(", words!(@alternatives $($word),+), ")$");

            fn parse(text: &str) -> Result<Self, $crate::shape::Mismatch> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    other => Err($crate::shape::Mismatch::new(
                        format!("unknown word `{other}`"),
                        $crate::shape::suggestion(other, &[$($word),+]),
                    )),
                }
            }
        }
    };
    (@alternatives $first:literal $(, $rest:literal)*) => { concat!($first $(, "|", $rest)*) };
}

pub(crate) use {object, words};
