//! JSON documents as types: each is declared once, and read, written and published from that.
//!
//! A person who writes a configuration wants all its errors in one go, each with its place and a
//! hint; serde's derive stops at the first. So the types of a document are declared with `object!`
//! and `words!`. One declaration gives the Rust type, its defaults, its reader, its writer and its
//! JSON Schema, so that the five can't drift apart. Leaves implement [`Word`]: text in, a proven
//! type or a [`Mismatch`] out.
//!
//! Limits: a document is read into memory whole, as [`Json`], and never on the request path.

mod contract;
mod json;
mod leaves;
pub mod ordered;
mod problem;
mod writer;

pub use contract::{Members, Shape, Word, object_schema, to_report, to_text, to_value};
pub use json::{Json, Number};
pub use leaves::{Dictionary, Integer, Nullable, Switch};
pub use problem::{Mismatch, Path, Problem, Problems, nearest, suggestion, wrong_type};
pub use writer::{DIGITS, JsonWriter, decimal, digits};

/// Reads a whole document, as far as it can be read. A value beside `problems` has mistakes only in
/// members with a default; it counts once `problems` is empty.
pub fn read_document<T: Shape>(text: &str, problems: &mut Problems) -> Option<(T, Json)> {
    match serde_json::from_str::<Json>(text) {
        Ok(json) => T::read(&json, &Path::Root, problems).map(|value| (value, json)),
        Err(error) => {
            let help = "put names and strings in double quotes, and no comma after the last member";
            problems.note(&Path::Root, format!("invalid JSON: {error}"), Some(help.into()));
            None
        }
    }
}

/// Declares an object: its type, defaults, reader, writer and schema.
///
/// A field with `= default` may be left out. Where its value is wrong, the mistake is noted and
/// reading goes on with the default, so that later mistakes are found too. A field with
/// `=> initial` must be there; `initial` is for an object without a document. An object whose
/// fields all have one or the other implements `Default`; let a member of its type default to it.
///
/// Fields under `beside` aren't in the document: they begin empty, and other code fills them.
macro_rules! object {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident $(<$life:lifetime>)? {
            $( $(#[doc = $field_doc:literal])+
               $field:ident : $type:ty $(= $default:expr)? $(=> $initial:expr)? ),+ $(,)?
        }
        $( beside { $( $(#[doc = $beside_doc:literal])+ $beside:ident : $beside_type:ty, )+ } )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        $vis struct $name $(<$life>)? {
            $( $(#[doc = $field_doc])+ pub $field: $type, )+
            $( $( $(#[doc = $beside_doc])+ pub $beside: $beside_type, )+ )?
        }

        impl $(<$life>)? $crate::shape::Shape for $name $(<$life>)? {
            #[cold] // documents are read once: small is better than fast
            fn read(
                json: &$crate::shape::Json,
                at: &$crate::shape::Path<'_>,
                problems: &mut $crate::shape::Problems,
            ) -> Option<Self> {
                let members = $crate::shape::Members::open(json, at, problems)?;
                $(
                    let $field: Option<$type> =
                        object!(@read members, problems, object!(@name $field) $(, $default)?);
                )+
                members.close(&[$( object!(@name $field) ),+], problems);
                Some(Self { $( $field: $field?, )+ $( $( $beside: Default::default(), )+ )? })
            }

            fn write(&self, out: &mut $crate::shape::JsonWriter) {
                out.raw("{");
                let mut comma = 1; // the first member goes without
                $(
                    if !$crate::shape::Shape::is_absent(&self.$field) || out.writes_nulls() {
                        let beginning = object!(@beginning $field);
                        out.raw(beginning.get(std::mem::take(&mut comma)..).unwrap_or_default());
                        $crate::shape::Shape::write(&self.$field, out);
                    }
                )+
                out.raw("}");
            }

            fn schema() -> serde_json::Value {
                $crate::shape::object_schema(&[$($doc),+], vec![ $( (
                    object!(@name $field),
                    <$type as $crate::shape::Shape>::schema(),
                    &[$($field_doc),+],
                    object!(@required $($default)?),
                ) ),+ ])
            }
        }

        object!(@default ($name $(<$life>)?) [] $( $field $(= $default)? $(= $initial)?, )+);
    };
    (@read $members:ident, $problems:ident, $name:expr) => {
        $members.required($name, $problems)
    };
    (@read $members:ident, $problems:ident, $name:expr, $default:expr) => {
        $members.optional($name, $problems).flatten().or_else(|| Some($default))
    };
    (@required) => { true };
    (@required $default:expr) => { false };
    // names as documents have them, without the mark that lets Rust take words of its own
    (@name r#type) => { "type" };
    (@name r#use) => { "use" };
    (@name $field:ident) => { stringify!($field) };
    (@beginning r#type) => { ",\"type\":" };
    (@beginning r#use) => { ",\"use\":" };
    (@beginning $field:ident) => { concat!(",\"", stringify!($field), "\":") };
    // each field in turn; one without a default ends it
    (@default ($name:ident) [$($field:ident $default:expr;)*]) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default ),* }
            }
        }
    };
    (@default $name:tt [$($done:tt)*] $field:ident = $default:expr, $($rest:tt)*) => {
        object!(@default $name [$($done)* $field $default;] $($rest)*);
    };
    (@default $name:tt [$($done:tt)*] $field:ident, $($rest:tt)*) => {};
}

/// Declares a closed set of words: its type, reader, writer and schema. Variants are in the order
/// of meaning.
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
            const CHOICES: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Result<Self, $crate::shape::Mismatch> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    other => Err($crate::shape::Mismatch::new(
                        format!("unknown word `{other}`"),
                        $crate::shape::suggestion(other, Self::CHOICES),
                    )),
                }
            }

            fn put(&self, out: &mut $crate::shape::JsonWriter) {
                out.plain(self.as_str()); // no word needs escapes
            }
        }
    };
    (@alternatives $first:literal $(, $rest:literal)*) => { concat!($first $(, "|", $rest)*) };
}

pub(crate) use {object, words};
