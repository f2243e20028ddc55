//! Entities, holdings and declared interests, as files give them.

use crate::shape::{Json, JsonWriter, Nullable, Path, Problems, Shape, object, words, wrong_type};
use crate::terms::names::Text;
use crate::terms::region::Place;

/// The whole of a company, in basis points.
pub(crate) const WHOLE: u32 = 10_000;

words! {
    /// What an entity is. The type says whether the entity must have owners on file.
    pub enum EntityType {
        /// A company or anything else that somebody owns
        Company = "company",
        /// A natural person
        Person = "person",
        /// A state, or a body of one
        State = "state",
        /// A company with many small owners, such as a listed one. The part without an owner on
        /// file is held by nobody in particular
        WidelyHeld = "widely-held",
    }
}

/// A company, person or state that owns or is owned.
#[derive(Debug, Clone)]
pub struct Entity {
    /// The id by which holdings and customers name it
    pub id: Text,
    /// Where it is incorporated; a person's nationality
    pub jurisdiction: Option<Place>,
    /// Where it is run from; a person's residence
    pub headquarters: Option<Place>,
    /// Further nationalities and residences of a person, and addresses of a company. From BODS only
    pub others: Vec<Place>,
    /// Names of places that aren't known, as the file writes them. From BODS only
    pub nowhere: Vec<String>,
    /// A company where left out; but an owner without owners is then judged by its place alone
    pub kind: Option<EntityType>,
    /// The name for people
    pub name: Option<Text>,
}

object! {
    /// A share that one entity holds in another. Several holdings of one owner add up.
    pub struct Holding {
        /// The entity that holds it
        owner: Text,
        /// The entity that it is a share of
        of: Text,
        /// How large it is, in basis points (5,000 is one half); null or left out where unknown
        basis_points: Share = Share(None),
    }
}

/// A share in basis points as written; `None` where unknown. The graph checks its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub Option<i64>);

/// An interest held through others, or by an unnamed holder. From BODS only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredInterest {
    /// Who holds it; `None` where the holder isn't named
    pub owner: Option<Text>,
    /// The company that it is a share of
    pub of: Text,
    /// The known part, in basis points
    pub least: u32,
    /// The largest possible share, in basis points
    pub most: u32,
    /// True for the direct interest of an unnamed holder
    pub direct: bool,
}

/// One possible reading of a company whose kinds of interest exceed the whole together: one kind
/// alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpretation {
    /// The company
    pub of: Text,
    /// Its holders with their shares in basis points, together at most the whole
    pub shares: Vec<(Text, u32)>,
}

/// The part of BODS that plain holdings can't express. It may contradict itself.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    /// The first so many holdings are kept by hand and must fit together; later ones are from BODS
    pub after: usize,
    /// Interests held through others, or by unnamed holders
    pub indirect: Vec<DeclaredInterest>,
    /// Kinds of interest that can't all hold at once
    pub interpretations: Vec<Interpretation>,
}

impl Entity {
    /// An entity of which only the id is known.
    pub fn unknown(id: Text) -> Self {
        Self {
            id,
            jurisdiction: None,
            headquarters: None,
            others: Vec::new(),
            nowhere: Vec::new(),
            kind: None,
            name: None,
        }
    }

    /// All places that it is in.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.jurisdiction.into_iter().chain(self.headquarters).chain(self.others.iter().copied())
    }
}

object! {
    /// A company, person or state that owns or is owned.
    struct EntityEntry {
        /// The id by which holdings and customers name it
        id: Text,
        /// Where it is incorporated; a person's nationality
        jurisdiction: Nullable<Place> = Nullable(None),
        /// Where it is run from; a person's residence
        headquarters: Nullable<Place> = Nullable(None),
        /// What it is; a company where left out, but an owner without owners is then judged by its
        /// place alone
        r#type: Option<EntityType> = None,
        /// The name for people
        name: Option<Text> = None,
    }
}

impl Shape for Entity {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        EntityEntry::read(json, at, problems).map(|entry| Self {
            jurisdiction: entry.jurisdiction.0,
            headquarters: entry.headquarters.0,
            kind: entry.r#type,
            name: entry.name,
            ..Self::unknown(entry.id)
        })
    }

    fn write(&self, out: &mut JsonWriter) {
        let entry = EntityEntry {
            id: self.id.clone(),
            jurisdiction: Nullable(self.jurisdiction),
            headquarters: Nullable(self.headquarters),
            r#type: self.kind,
            name: self.name.clone(),
        };
        entry.write(out);
    }

    fn schema() -> serde_json::Value {
        EntityEntry::schema()
    }
}

impl Shape for Share {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let number = match json {
            Json::Null => return Some(Self(None)),
            Json::Number(number) => number.as_i64(),
            other => {
                wrong_type(at, "a whole number", other, problems);
                return None;
            }
        };
        if number.is_none() {
            let message = "expected a whole number from 0 to 10000";
            problems.wrong(at, message, "in basis points: 62.5 % is 6250");
        }
        number.map(|basis_points| Self(Some(basis_points)))
    }

    fn write(&self, out: &mut JsonWriter) {
        out.raw(&self.0.map_or_else(|| "null".into(), |share| share.to_string()));
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": ["integer", "null"], "minimum": 0, "maximum": WHOLE})
    }
}
