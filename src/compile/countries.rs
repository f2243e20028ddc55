//! Countries by their names, for files without codes.
//!
//! A name is one of ISO 3166-1's English short names, or another that people use for the same
//! country (`data/countries.json`). Only whole names count: `China Town` isn't a country. `Korea`
//! is missing, because two countries have that name.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::shape::Json;
use crate::terms::region::CountryCode;

/// The country of that name. Case, accents and blanks don't matter.
pub fn named(name: &str) -> Option<CountryCode> {
    static NAMES: LazyLock<HashMap<String, CountryCode>> = LazyLock::new(names);
    NAMES.get(&plain(name)).copied()
}

/// A code with the country's name behind it: `CN (China)`.
pub fn spelled(code: &str) -> String {
    static NAMES: LazyLock<Json> = LazyLock::new(data);
    let names = NAMES.get("names");
    match names.and_then(|names| names.get(code)).and_then(Json::as_str) {
        Some(name) => format!("{code} ({name})"),
        None => code.to_owned(),
    }
}

fn data() -> Json {
    serde_json::from_str(include_str!("../../data/countries.json")).unwrap_or(Json::Null)
}

/// The names in this build's data. A test reads the file, so that the map is never silently empty.
fn names() -> HashMap<String, CountryCode> {
    let data = data();
    let list = |name: &str| data.get(name).map(Json::members).unwrap_or_default().iter();
    let of_iso = list("names").map(|(code, name)| (code, std::slice::from_ref(name)));
    let others = list("also").map(|(code, names)| (code, names.items()));
    let mut all = HashMap::new();
    for (code, names) in of_iso.chain(others) {
        for name in names.iter().filter_map(Json::as_str) {
            if let Some(country) = CountryCode::from_bytes(code.as_bytes()) {
                // the first entry wins: a name of ISO 3166-1 never means another country
                for variant in variants(name) {
                    all.entry(variant).or_insert(country);
                }
            }
        }
    }
    all
}

/// The ways to write a name: `Korea, Republic of`, `Republic of Korea`, `Korea (Republic of)`.
fn variants(name: &str) -> Vec<String> {
    let mut all = vec![plain(name)];
    let (main, rest) = match (name.split_once(", "), name.split_once(" (")) {
        (Some(parts), _) => parts,
        (None, Some((main, rest))) if rest.ends_with(')') => (main, rest.trim_end_matches(')')),
        (None, _) => return all,
    };
    let ways = [format!("{rest} {main}"), format!("{main} ({rest})"), format!("{main}, {rest}")];
    all.extend(ways.iter().map(|name| plain(name)));
    all
}

/// The plain form of a name: lower case, single blanks, without accents, dots and a leading `the`.
fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => text.push('a'),
            'ç' => text.push('c'),
            'è' | 'é' | 'ê' | 'ë' => text.push('e'),
            'ì' | 'í' | 'î' | 'ï' | 'ı' => text.push('i'),
            'ñ' => text.push('n'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' => text.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => text.push('u'),
            '\u{2018}' | '\u{2019}' | '`' | '\u{b4}' => text.push('\''),
            '\u{2010}'..='\u{2014}' => text.push('-'),
            '&' => text.push_str(" and "),
            ',' => text.push_str(", "),
            // dots, and accents written behind their letter
            '.' | '\u{300}'..='\u{36f}' => {}
            other => text.push(other),
        }
    }
    let words: Vec<&str> =
        text.split_whitespace().map(|word| if word == "st" { "saint" } else { word }).collect();
    let words = match words.as_slice() {
        ["the", rest @ ..] | [rest @ .., "the"] | [rest @ .., "(the)"] if !rest.is_empty() => rest,
        all => all,
    };
    words.join(" ").trim_end_matches(',').replace(" ,", ",")
}
