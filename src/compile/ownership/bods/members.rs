//! Members of a statement. Null counts as left out.

use crate::shape::{Json, Path, Problems, suggestion, wrong_type};

/// Notes that another type was expected.
pub(super) fn mistyped<T>(
    at: &Path<'_>,
    expected: &str,
    found: &Json,
    problems: &mut Problems,
) -> Option<T> {
    wrong_type(at, expected, found, problems);
    None
}

/// Reads a word of a codelist.
pub(super) fn one_of<T: Copy>(
    list: &[(&str, T)],
) -> impl Fn(&Json, &Path<'_>, &mut Problems) -> Option<T> {
    |json, at, problems| {
        let Json::Text(word) = json else { return mistyped(at, "a string", json, problems) };
        let found = list.iter().find(|(known, _)| known == word).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = list.iter().map(|(word, _)| *word).collect();
            problems.wrong(at, &format!("unknown word `{word}`"), &suggestion(word, &known));
        }
        found
    }
}

pub(super) fn is_null(json: &Json) -> bool {
    matches!(json, Json::Null)
}

/// A member with a value.
pub(super) fn value<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    json.get(name).filter(|value| !is_null(value))
}

/// Reads a member that may be left out.
pub(super) fn member<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    read(value(json, name)?, &Path::Member(at, name), problems)
}

/// Reads a member that must be there.
pub(super) fn required<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    if value(json, name).is_none() {
        problems.note(at, format!("missing `{name}`"), None);
    }
    member(json, at, name, problems, read)
}

/// Reads the elements of a list that may be left out.
pub(super) fn list<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Vec<T> {
    let at = Path::Member(at, name);
    match value(json, name) {
        None => Vec::new(),
        Some(Json::List(items)) => items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| read(item, &Path::Element(&at, i), problems))
            .collect(),
        Some(other) => mistyped(&at, "a list", other, problems).unwrap_or_default(),
    }
}
