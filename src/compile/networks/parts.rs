//! Parts of countries by their names: databases often name a part and leave its code out.
//!
//! The table has only the parts that a region set restricts; a test compares the two.

use crate::terms::region::Place;

/// Codes of parts, and beginnings of their names: in English, transliterated, in Ukrainian and
/// Russian, and in the languages of databases. In lower case, without apostrophes and combining
/// marks.
#[rustfmt::skip]
const PARTS: &[(&str, &[&str])] = &[
    ("UA-43", &[
        "crime", "crimé", "krym", "krim", "krım", "qirim", "qırım", "kirim", "kırım", "крым",
        "крим", "къырым", "克里米亚", "克里米亞", "クリミア",
    ]),
    ("UA-40", &[
        "sevastopol", "sevastópol", "sébastopol", "sebastopol", "sewastopol", "sevastapol",
        "szewastopol", "севастопол", "塞瓦斯托波尔", "塞凡堡", "セヴァストポリ", "セバストポリ", "セワストポリ",
    ]),
    ("UA-14", &[
        "donetsk", "donetzk", "donezk", "doneck", "doněck", "donieck", "donjeck", "донецк",
        "донецьк", "顿涅茨克", "頓涅茨克", "ドネツク", "ドネツィク",
    ]),
    ("UA-09", &[
        "luhansk", "lugansk", "luhanzk", "luganzk", "louhansk", "lougansk", "luhańsk", "lugańsk",
        "ługańsk", "luhánsk", "lugánsk", "луганск", "луганськ", "卢甘斯克", "盧甘斯克", "ルハーンシク", "ルハンシク",
        "ルガンスク",
    ]),
];

/// The part of a country that a text names, also among other words: `Crimea`, `Autonomous Republic
/// of Crimea`, `Donets'ka Oblast'`. No other part of the country has a word with such a beginning.
pub(super) fn by_name(country: &Place, text: &str) -> Option<Place> {
    let country = country.country.as_str();
    let mut parts = PARTS.iter().filter(|(code, _)| code.starts_with(country)).peekable();
    parts.peek()?;
    // apostrophes are soft signs; combining marks are accents written apart from their letters
    let is_mark = |c: char| "'’‘ʼʹ′`´ʾʿ\"".contains(c) || matches!(c, '\u{300}'..='\u{36f}');
    let letters = text.chars().filter(|c| !is_mark(*c)).flat_map(char::to_lowercase);
    let text: String = letters.filter(|c| !is_mark(*c)).collect();
    let begins =
        |name: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with(name));
    parts
        .find(|(_, names)| names.iter().any(|name| begins(name)))
        .and_then(|(code, _)| Place::from_bytes(code.as_bytes()))
}

/// The part of a country that a code names: `43` or `UA-43`. A single digit of Ukraine has lost its
/// zero. Any code of up to three letters and digits is valid.
pub(super) fn by_code(country: &Place, text: &str) -> Option<Place> {
    let text = text.trim();
    let code = match text.split_once(['-', '_']) {
        Some((own, code)) if own.trim().eq_ignore_ascii_case(country.country.as_str()) => {
            code.trim()
        }
        Some(_) => return None,
        None => text,
    };
    let zero = if code.len() == 1 && country.country.as_str() == "UA" { "0" } else { "" };
    Place::from_bytes(format!("{}-{zero}{code}", country.country).as_bytes())
}

/// Whether a part is in the table of names.
pub(super) fn is_named(place: &Place) -> bool {
    let place = place.to_string();
    PARTS.iter().any(|(code, _)| *code == place)
}
