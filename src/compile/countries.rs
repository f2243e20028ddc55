//! Countries by their names, as files give them that have no code.
//!
//! A name is one of ISO 3166-1's English short names, or another that people use for the same country
//! (`data/countries.json`). The whole name counts: `China Town` is no country, and neither is `Korea`, which are two.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::region::CountryCode;
use crate::shape::Json;

/// The country of that name. The case of its letters, their accents and the blanks around it don't matter.
pub fn named(name: &str) -> Option<CountryCode> {
    static NAMES: LazyLock<HashMap<String, CountryCode>> = LazyLock::new(names);
    NAMES.get(&plain(name)).copied()
}

/// The data that this build carries. A test reads it, so that it is never silently empty.
fn names() -> HashMap<String, CountryCode> {
    let data: Json =
        serde_json::from_str(include_str!("../../data/countries.json")).unwrap_or(Json::Null);
    let list = |name: &str| data.get(name).map(Json::members).unwrap_or_default().iter();
    let of_iso = list("names").map(|(code, name)| (code, std::slice::from_ref(name)));
    let others = list("also").map(|(code, names)| (code, names.items()));
    let mut all = HashMap::new();
    for (code, names) in of_iso.chain(others) {
        for name in names.iter().filter_map(Json::as_str) {
            if let Some(country) = CountryCode::from_bytes(code.as_bytes()) {
                // an earlier name stands: what ISO 3166-1 calls a country is never another's
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
    all.extend(
        [format!("{rest} {main}"), format!("{main} ({rest})"), format!("{main}, {rest}")]
            .iter()
            .map(|name| plain(name)),
    );
    all
}

/// A name without what doesn't matter: one word after the other, in small letters without accents, with neither dots nor
/// a `the` in front.
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
            // dots, and accents that stand behind their letter
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

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str) -> Option<String> {
        named(name).map(|country| country.to_string())
    }

    #[test]
    fn every_country_has_a_name_and_no_name_is_twos() {
        let data: Json = serde_json::from_str(include_str!("../../data/countries.json")).unwrap();
        let names = data.get("names").map(Json::members).unwrap();
        assert_eq!(names.len(), 249);
        let regions: Json = serde_json::from_str(include_str!("../../data/regions.json")).unwrap();
        let codes: Vec<&str> = regions
            .get("iso3166_1_alpha2")
            .unwrap()
            .items()
            .iter()
            .filter_map(Json::as_str)
            .collect();
        assert_eq!(names.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), codes);
        let others = data
            .get("also")
            .map(Json::members)
            .unwrap()
            .iter()
            .flat_map(|(code, names)| names.items().iter().map(move |name| (code, name)));
        for (expected, name) in names.iter().map(|(code, name)| (code, name)).chain(others) {
            for variant in variants(name.as_str().unwrap()) {
                assert_eq!(code(&variant).as_ref(), Some(expected), "{variant}");
            }
        }
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        for (expected, names) in [
            (
                "CN",
                &[
                    "China",
                    "  china\u{a0}",
                    "CHINA",
                    "People's Republic of China",
                    "the People\u{2019}s Republic of China",
                    "PRC",
                    "P.R.C.",
                    "P.R. China",
                    "PR China",
                    "Mainland China",
                    "China (Mainland)",
                    "China, People's Republic of",
                    "China (People's Republic of)",
                ][..],
            ),
            (
                "HK",
                &[
                    "Hong Kong",
                    "Hong Kong SAR",
                    "Hong Kong SAR China",
                    "HONG KONG, CHINA",
                    "China, Hong Kong Special Administrative Region",
                    "Hong  Kong",
                ],
            ),
            ("MO", &["Macao", "Macau", "Macau SAR"]),
            ("RU", &["Russian Federation", "Russia", "The Russian Federation"]),
            (
                "IR",
                &[
                    "Iran",
                    "Iran, Islamic Republic of",
                    "Islamic Republic of Iran",
                    "Iran (Islamic Republic of)",
                ],
            ),
            (
                "KP",
                &[
                    "North Korea",
                    "DPRK",
                    "Korea (Democratic People's Republic of)",
                    "Democratic People's Republic of Korea",
                    "Korea, Democratic People's Republic of",
                ],
            ),
            (
                "KR",
                &[
                    "South Korea",
                    "Republic of Korea",
                    "Korea, Republic of",
                    "Korea (Republic of)",
                    "Korea, South",
                ],
            ),
            ("TW", &["Taiwan", "Taiwan, Province of China", "Taiwan (Province of China)"]),
            ("VN", &["Viet Nam", "Vietnam"]),
            ("US", &["USA", "U.S.A.", "United States", "the United States of America"]),
            (
                "GB",
                &[
                    "UK",
                    "U.K.",
                    "United Kingdom of Great Britain and Northern Ireland",
                    "England & Wales",
                ],
            ),
            ("AE", &["UAE", "United Arab Emirates"]),
            ("CZ", &["Czechia", "Czech Republic"]),
            ("TR", &["Turkey", "Türkiye", "TURKIYE", "Tu\u{308}rkiye"]),
            ("CI", &["Ivory Coast", "Côte d'Ivoire", "Cote D\u{2019}Ivoire"]),
            ("MM", &["Burma", "Myanmar"]),
            (
                "CD",
                &[
                    "Congo, The Democratic Republic of the",
                    "Democratic Republic of the Congo",
                    "The Democratic Republic of the Congo",
                ],
            ),
            (
                "VG",
                &[
                    "Virgin Islands, British",
                    "British Virgin Islands",
                    "Virgin Islands (British)",
                    "BVI",
                ],
            ),
            ("VI", &["Virgin Islands, U.S.", "US Virgin Islands", "U.S. Virgin Islands"]),
            ("KN", &["Saint Kitts and Nevis", "St. Kitts & Nevis"]),
            ("GM", &["The Gambia", "Gambia, The", "Gambia (The)"]),
            ("BS", &["Bahamas (the)"]),
            ("CU", &["cuba"]),
            ("SY", &["Syrian Arab Republic", "Syria"]),
            ("XK", &["Kosovo"]),
        ] {
            for name in names {
                assert_eq!(code(name).as_deref(), Some(expected), "{name}");
            }
        }
        for name in [
            "",
            " ",
            "Ruritania",
            "Korea",
            "Virgin Islands",
            "Channel Islands",
            "China Town",
            "Republic",
            "Stateless",
            "New China",
            "CN",
            "the",
            "Chin",
            "Crimea",
        ] {
            assert_eq!(code(name), None, "{name}");
        }
    }
}
