//! Places of companies and persons: by code, else by name.

use super::members::{list, member, mistyped, value};
use crate::compile::countries;
use crate::compile::ownership::Entity;
use crate::shape::{Json, Path, Problems};
use crate::terms::region::Place;

/// The places of a party.
#[derive(Default)]
pub(super) struct PartyPlaces {
    pub(super) known: Vec<Place>,
    /// Names of places that aren't known, as written
    nowhere: Vec<String>,
}

impl PartyPlaces {
    pub(super) fn add(&mut self, places: impl IntoIterator<Item = StatedPlace>) {
        for place in places {
            match place {
                StatedPlace::Known(place) => self.known.push(place),
                StatedPlace::Nowhere(name) => self.nowhere.push(name),
            }
        }
    }

    /// Adds the countries of addresses of these types. An address without a type may be of any.
    pub(super) fn add_addresses(
        &mut self,
        json: &Json,
        at: &Path<'_>,
        types: &[&str],
        problems: &mut Problems,
    ) {
        self.add(list(json, at, "addresses", problems, |json, at, problems| {
            let is_other = value(json, "type")
                .is_some_and(|kind| !kind.as_str().is_some_and(|kind| types.contains(&kind)));
            if is_other { None } else { member(json, at, "country", problems, place) }
        }));
    }

    /// Fills in the places of an entity.
    pub(super) fn fill(mut self, jurisdiction: Option<Place>, entity: Entity) -> Entity {
        self.nowhere.sort_unstable();
        self.nowhere.dedup();
        let mut known = self.known.into_iter();
        let headquarters = known.next();
        let (others, nowhere) = (known.collect(), self.nowhere);
        Entity { jurisdiction, headquarters, others, nowhere, ..entity }
    }
}

/// A place as a file gives it.
pub(super) enum StatedPlace {
    Known(Place),
    /// The name of a place that isn't known, as written
    Nowhere(String),
}

/// Codes that count as absent. `XX` and `ZZ` are user-assigned codes of ISO 3166-1, in use for
/// stateless persons and for any place.
const NO_CODES: &[&str] = &["", "XX", "ZZ"];

/// Reads a place: an object with a country's code or name, or one of the two by itself.
pub(super) fn place(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<StatedPlace> {
    let is_object = matches!(json, Json::Object(_));
    let (code, name) = match json {
        Json::Object(_) => (value(json, "code"), value(json, "name")),
        Json::Null => return None,
        bare => (Some(bare), None),
    };
    if let Some(code) = code {
        let at = if is_object { Path::Member(at, "code") } else { *at };
        let Json::Text(text) = code else {
            return mistyped(&at, "a country's code", code, problems);
        };
        if !NO_CODES.contains(&text.trim().to_ascii_uppercase().as_str()) {
            // a text by itself may be a name
            let by_name = || countries::named(text).filter(|_| !is_object).map(Place::whole);
            let place = Place::from_bytes(text.trim().as_bytes()).or_else(by_name);
            if place.is_none() {
                let help = "expected ISO 3166-1 alpha-2 (`SG`) or ISO 3166-2 (`US-DE`); without a \
                    code, give the name alone";
                problems.wrong(&at, &format!("unknown country code `{text}`"), help);
            }
            return place.map(StatedPlace::Known);
        }
    }
    match (name, code) {
        (None, None) => None,
        (Some(name @ Json::Text(text)), _) => Some(match countries::named(text) {
            Some(country) => StatedPlace::Known(Place::whole(country)),
            None => StatedPlace::Nowhere(as_written(name, code)),
        }),
        (Some(other), _) => {
            mistyped(&Path::Member(at, "name"), "a country's name", other, problems)
        }
        (None, Some(code)) => Some(StatedPlace::Nowhere(as_written(code, None))),
    }
}

/// The name of a place as written, else its code; at most 60 characters, for a note.
fn as_written(name: &Json, code: Option<&Json>) -> String {
    let text =
        |json: &Json| json.as_str().unwrap_or_default().trim().chars().take(60).collect::<String>();
    let (name, code) = (text(name), code.map(text).unwrap_or_default());
    if name.is_empty() { code } else { name }
}
