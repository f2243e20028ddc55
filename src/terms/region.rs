//! Countries, and whether a model provider serves them.
//!
//! A *region set* is a dated list of the countries that a provider says it supports, kept in
//! `data/regions.json` with its source. A set lists no unsupported countries: these are the rest.
//! Only a set that says it is complete may refuse the rest. [`Regions`] is one set with the
//! operator's additions. [`Regions::standing`] is the only judgement made here.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::shape::{Json, JsonWriter, Mismatch, Path, Problems, Word, object, suggestion, words};

/// A country or territory: ISO 3166-1 alpha-2, or XK, which geography databases use for Kosovo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

/// A place as a source of geography names it: a country, or a part of one (`UA-43`, ISO 3166-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The country
    pub country: CountryCode,
    /// The part after the hyphen, padded with spaces
    subdivision: Option<[u8; 3]>,
}

/// Where data is kept: a country, or the European Union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// One country
    Country(CountryCode),
    /// Any of the European Union's member states
    EuropeanUnion,
}

words! {
    /// What becomes of a country that is neither in the set nor named as restricted.
    pub enum UnsupportedAction {
        /// It is restricted. Only a set that says it is complete can carry this
        Restricted = "restricted",
        /// It is unlisted: reported, not refused
        Unlisted = "unlisted",
    }
}

object! {
    /// Which countries count as supported and as restricted.
    pub struct RegionSettings {
        /// The dated region set to judge by, from data/regions.json
        set: RegionSetId,
        /// Countries that are restricted whatever the set says
        restricted: Vec<CountryCode> = Vec::new(),
        /// What becomes of countries that the set leaves out: `restricted` where the set is
        /// complete, else `unlisted`
        unsupported: Option<UnsupportedAction> = None,
    }
}

/// The id of a region set that this build carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionSetId(String);

/// Whether the provider serves a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The set lists it
    Supported,
    /// Neither supported nor restricted
    Unlisted,
    /// Named as restricted, or left out by a complete set
    Restricted,
}

/// A region set with the operator's additions, ready to judge.
#[derive(Debug, Clone)]
pub struct Regions {
    /// The set's id, for explanations
    pub set: String,
    pub(crate) supported: CountrySet,
    pub(crate) restricted: CountrySet,
    pub(crate) restricted_parts: Vec<Place>,
}

/// Countries: for each first letter, a bit for each second one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CountrySet([u32; 26]);

/// One dated set of `data/regions.json`, and what that file says of all sets.
#[derive(Debug)]
struct RegionSet {
    complete: bool,
    supported: CountrySet,
    restricted_parts: Vec<Place>,
    /// Territories and the state that each belongs to
    territories: Vec<(CountryCode, CountryCode)>,
}

/// The European Union's member states since 2020-02-01
/// (<https://european-union.europa.eu/principles-countries-history/eu-countries_en>).
const EUROPEAN_UNION: &str =
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

/// ISO 3166-1 alpha-2, officially assigned (249 codes, as in data/regions.json, which a test
/// compares), and XK. Sorted, each with a blank behind it.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW \
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV \
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG \
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA \
    ZM ZW ";

/// Hong Kong and Macao: restricted where China is, unless the set lists them.
const FOLLOW_CHINA: &[[u8; 2]] = &[*b"HK", *b"MO"];
const CHINA: CountryCode = CountryCode(*b"CN");

/// Not in ISO 3166-1, so no set can leave it out.
const KOSOVO: CountryCode = CountryCode(*b"XK");

/// Whether two letters are a code that is in use.
#[expect(clippy::indexing_slicing, reason = "the compiler works it out, and would say so")]
static IN_USE: [[bool; 26]; 26] = {
    let mut in_use = [[false; 26]; 26];
    let (codes, _) = COUNTRIES.as_bytes().as_chunks::<3>();
    let mut rest = codes;
    while let [[first, second, _], after @ ..] = rest {
        in_use[(*first - b'A') as usize][(*second - b'A') as usize] = true;
        rest = after;
    }
    in_use
};

impl CountryCode {
    /// Parses a code that is in use, in either case. `XX`, `T1` and `EU` aren't countries.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 2] = bytes.try_into().ok()?;
        let code @ [first, second] = code.map(|b| b.to_ascii_uppercase());
        let letter = |b: u8| usize::from(b.wrapping_sub(b'A'));
        (*IN_USE.get(letter(first))?.get(letter(second))?).then_some(Self(code))
    }

    /// The two letters, in upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Word for CountryCode {
    const WHAT: &'static str = "a country: ISO 3166-1 alpha-2 in upper case";
    const PATTERN: &'static str = "^[A-Z]{2}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let code = Self::from_bytes(text.as_bytes());
        match code {
            Some(code) if code.as_str() == text => Ok(code),
            Some(code) => {
                let help = format!("write `{code}`");
                Err(Mismatch::new(format!("`{text}` isn't in upper case"), help))
            }
            None => {
                let help = match text {
                    "UK" => "did you mean `GB`? codes are ISO 3166-1 alpha-2",
                    "EL" => "did you mean `GR`? codes are ISO 3166-1 alpha-2",
                    _ => "codes are ISO 3166-1 alpha-2, such as `SG`",
                };
                Err(Mismatch::new(format!("unknown country code `{text}`"), help))
            }
        }
    }

    fn put(&self, out: &mut JsonWriter) {
        out.plain(self.as_str());
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CountryCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Place {
    /// A country as a whole.
    pub fn whole(country: CountryCode) -> Self {
        Self { country, subdivision: None }
    }

    /// Parses `SG` or `UA-43`, in either case; blanks around it don't count.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii();
        let mut parts = bytes.splitn(2, |b| *b == b'-');
        let country = CountryCode::from_bytes(parts.next()?)?;
        let subdivision = match parts.next() {
            None => None,
            Some(part)
                if (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_alphanumeric) =>
            {
                let mut padded = [b' '; 3];
                for (to, from) in padded.iter_mut().zip(part) {
                    *to = from.to_ascii_uppercase();
                }
                Some(padded)
            }
            Some(_) => return None,
        };
        Some(Self { country, subdivision })
    }

    /// Whether it is only a part of a country.
    pub fn is_part(&self) -> bool {
        self.subdivision.is_some()
    }
}

impl Word for Place {
    const WHAT: &'static str = "a country, or a part of one (ISO 3166-2), such as UA-43";
    const PATTERN: &'static str = "^[A-Z]{2}(-[A-Z0-9]{1,3})?$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if !text.contains('-') {
            return CountryCode::parse(text).map(|country| Self { country, subdivision: None });
        }
        let place = Self::from_bytes(text.as_bytes()).filter(|place| place.to_string() == text);
        place.ok_or_else(|| {
            Mismatch::new(format!("unknown place `{text}`"), "ISO 3166, such as `SG` or `UA-43`")
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subdivision {
            Some(part) => {
                write!(f, "{}-{}", self.country, String::from_utf8_lossy(part.trim_ascii_end()))
            }
            None => self.country.fmt(f),
        }
    }
}

impl Residency {
    /// Whether data that must stay in `self` may be processed in `upstream`.
    pub fn admits(self, upstream: Self) -> bool {
        match (self, upstream) {
            (Self::EuropeanUnion, Self::Country(country)) => {
                EUROPEAN_UNION.split(' ').any(|code| code == country.as_str())
            }
            (required, offered) => required == offered,
        }
    }
}

impl Word for Residency {
    const WHAT: &'static str = "where data stays: a country (ISO 3166-1 alpha-2) or EU";
    const PATTERN: &'static str = "^[A-Z]{2}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        match text {
            "EU" => Ok(Self::EuropeanUnion),
            country => CountryCode::parse(country).map(Self::Country),
        }
    }
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Country(country) => country.fmt(f),
            Self::EuropeanUnion => f.write_str("EU"),
        }
    }
}

impl RegionSetId {
    /// The set to judge by if the configuration of a provider names none.
    pub fn for_provider(provider: Option<&str>) -> Self {
        let id = match provider {
            Some("openai") => "openai-api-2025",
            Some("gemini") => "google-gemini-api-reconstructed",
            _ => "anthropic-api-179",
        };
        Self(id.into())
    }
}

impl fmt::Display for RegionSetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for RegionSetId {
    const WHAT: &'static str =
        "the id of a region set in data/regions.json, such as anthropic-api-179";
    const PATTERN: &'static str = "^[a-z0-9-]{1,64}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let data = data();
        let ids: Vec<&str> = sets(&data).filter_map(|set| set.get("id")?.as_str()).collect();
        if ids.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mismatch::new(format!("unknown region set `{text}`"), suggestion(text, &ids)))
    }
}

impl Regions {
    /// Joins the set and the operator's additions. Notes settings that contradict each other.
    pub fn new(settings: &RegionSettings, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let set = RegionSet::find(&settings.set)?;
        if settings.unsupported == Some(UnsupportedAction::Restricted) && !set.complete {
            let message = format!(
                "region set `{}` doesn't say that it is complete, so it can't restrict \
                 countries that it leaves out",
                settings.set
            );
            let help = "name countries in `restricted`, or choose a complete set";
            problems.wrong(&Path::Member(at, "unsupported"), &message, help);
            return None;
        }
        let by_complement =
            set.complete && settings.unsupported != Some(UnsupportedAction::Unlisted);
        let follows_its_state = |code: CountryCode| {
            let territory = set.territories.iter().find(|(territory, _)| *territory == code);
            territory.is_some_and(|(_, state)| set.supported.contains(*state))
        };
        let left_out = |code: CountryCode| {
            by_complement
                && code != KOSOVO
                && !set.supported.contains(code)
                && !follows_its_state(code)
        };
        let named_or_left_out =
            |code: CountryCode| settings.restricted.contains(&code) || left_out(code);
        let with_china = |code: CountryCode| {
            FOLLOW_CHINA.contains(&code.0)
                && named_or_left_out(CHINA)
                && !set.supported.contains(code)
        };
        let restricted =
            countries().filter(|code| named_or_left_out(*code) || with_china(*code)).collect();
        Some(Self {
            set: settings.set.0.clone(),
            supported: set.supported,
            restricted,
            restricted_parts: set.restricted_parts,
        })
    }

    /// Regions that were joined before, as a snapshot has them.
    pub fn resolved(
        set: String,
        supported: Vec<CountryCode>,
        restricted: Vec<CountryCode>,
        restricted_parts: Vec<Place>,
    ) -> Self {
        Self {
            set,
            supported: supported.into_iter().collect(),
            restricted: restricted.into_iter().collect(),
            restricted_parts,
        }
    }

    /// Restricts more countries.
    pub fn restrict(&mut self, more: &[CountryCode]) {
        self.restricted = self.restricted.codes().chain(more.iter().copied()).collect();
    }

    /// Whether the provider serves a place.
    pub fn standing(&self, place: Place) -> Standing {
        if self.restricted_parts.contains(&place) || self.restricted.contains(place.country) {
            Standing::Restricted
        } else if self.supported.contains(place.country) {
            Standing::Supported
        } else {
            Standing::Unlisted
        }
    }

    /// The parts of a country that are restricted where the country as a whole isn't.
    pub fn parts_apart(&self, country: CountryCode) -> impl Iterator<Item = Place> {
        let whole = self.restricted.contains(country);
        self.restricted_parts.iter().copied().filter(move |part| !whole && part.country == country)
    }

    /// The countries that are neither supported nor restricted: a call from them is reported.
    pub fn unlisted(&self) -> impl Iterator<Item = CountryCode> {
        countries()
            .filter(|code| !self.supported.contains(*code) && !self.restricted.contains(*code))
    }
}

/// All codes, sorted.
fn countries() -> impl Iterator<Item = CountryCode> {
    let (codes, _) = COUNTRIES.as_bytes().as_chunks::<3>();
    codes.iter().map(|[first, second, _]| CountryCode([*first, *second]))
}

impl CountrySet {
    fn contains(&self, code: CountryCode) -> bool {
        let (first, bit) = Self::place(code);
        self.0.get(first).is_some_and(|seconds| seconds & bit != 0)
    }

    /// In the order of the codes.
    pub(crate) fn codes(&self) -> impl Iterator<Item = CountryCode> {
        countries().filter(|code| self.contains(*code))
    }

    fn place(CountryCode([first, second]): CountryCode) -> (usize, u32) {
        let letter = |b: u8| b.wrapping_sub(b'A');
        (letter(first).into(), 1_u32.checked_shl(letter(second).into()).unwrap_or(0))
    }
}

impl FromIterator<CountryCode> for CountrySet {
    fn from_iter<I: IntoIterator<Item = CountryCode>>(codes: I) -> Self {
        let mut set = Self::default();
        for code in codes {
            let (first, bit) = Self::place(code);
            set.0.get_mut(first).into_iter().for_each(|seconds| *seconds |= bit);
        }
        set
    }
}

/// The data that this build carries. A test reads it, so that a set is never silently empty.
fn data() -> Json {
    serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/regions.json")))
        .unwrap_or(Json::Null)
}

fn sets(data: &Json) -> impl Iterator<Item = &Json> {
    data.get("sets").map(Json::items).unwrap_or_default().iter()
}

impl RegionSet {
    fn find(id: &RegionSetId) -> Option<Self> {
        let data = data();
        let set = sets(&data).find(|set| set.get("id").and_then(Json::as_str) == Some(&id.0))?;
        let places = |list: Option<&Json>| -> Vec<Place> {
            let texts = list.map(Json::items).unwrap_or_default().iter().filter_map(Json::as_str);
            texts.filter_map(|text| Place::from_bytes(text.as_bytes())).collect()
        };
        let supported = places(set.get("supported")).into_iter().map(|place| place.country);
        let exceptions = set.get("supported_except").map(Json::items).unwrap_or_default();
        let country = |text: &str| CountryCode::from_bytes(text.as_bytes());
        let parts = exceptions.iter().flat_map(|except| places(except.get("subdivisions")));
        let territories = data.get("dependent_territories").map(Json::members).unwrap_or_default();
        let territory = |(territory, state): &(String, Json)| {
            Some((country(territory)?, country(state.as_str()?)?))
        };
        Some(Self {
            complete: set.get("complete") == Some(&Json::Bool(true)),
            supported: supported.collect(),
            restricted_parts: parts.collect(),
            territories: territories.iter().filter_map(territory).collect(),
        })
    }
}
