//! Beneficial Ownership Data Standard (BODS) 0.3 and 0.4, read into entities and holdings.
//!
//! The standard (<https://standard.openownership.org>) is a stream of *statements* by which publishers describe
//! entities, persons and the relationships between them over time. What is made of them:
//!
//! - Of several statements on one record the latest counts, by date of statement, date of publication and place;
//!   a closed record no longer does. In 0.3 a statement takes the place of those that it `replacesStatements`.
//! - `shareholding`, `votingRights` and the like repeat one stake: the largest counts. Where
//!   the largest would come to more than the whole of a company (shares without votes), the smallest counts and
//!   the difference is unknown.
//! - Interests of any other type are control, not ownership, and carry no share (OFAC FAQ 398).
//! - A share that is a range counts with its minimum, the rest is unknown; a minimum that is excluded counts one
//!   basis point more. Shares are rounded down to whole basis points, so that what rounding leaves is unknown too.
//! - Indirect interests sum up chains. They count only for a company of which no direct one is on file.
//! - Interests count from their `startDate` to their `endDate`.
//! - Whoever is unspecified, unknown or anonymous leaves the share unknown.
//!
//! Fields beyond these are other people's and not looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::ownership::{Entity, EntityType, Holding, Share, WHOLE};
use crate::names::{Text, UnixSeconds};
use crate::region::Place;
use crate::shape::{Json, Path, Problems, Shape, Word, suggestion, wrong_type};

/// The statements of any number of files.
#[derive(Debug, Default)]
pub struct Statements {
    all: Vec<Statement>,
    files: usize,
}

/// What the statements say as of a day.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// Companies, persons and states, each with where it stands
    pub entities: Vec<(Entity, Origin)>,
    /// Who holds what share of whom, each with where it stands
    pub holdings: Vec<(Holding, Origin)>,
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Which call of [`Statements::read`] it came with, from 0
    pub file: usize,
    /// The JSON path of the statement
    pub path: String,
}

#[derive(Debug)]
struct Statement {
    origin: Origin,
    /// 0.4: the record that it is about; 0.3: its own id
    record: Text,
    /// When it was made and published, as written: RFC 3339 sorts as text
    dates: (String, String),
    closed: bool,
    /// The statements that it takes the place of (0.3)
    replaces: Vec<String>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Party(Entity),
    Relationship {
        subject: Option<Text>,
        /// `None` where it isn't specified
        interested: Option<Text>,
        interests: Vec<Interest>,
    },
}

#[derive(Debug, Clone)]
struct Interest {
    /// `None` for control
    stake: Option<Stake>,
    indirect: bool,
    /// What is known of the share, in basis points
    least: u32,
    /// Whether it may be more
    more: bool,
    from: Option<String>,
    until: Option<String>,
}

/// A kind of stake, by the standard's interestType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stake {
    Shareholding,
    VotingRights,
    /// What a partnership has in place of shares
    SurplusAssets,
    Profit,
    /// What a trust has in place of shareholders
    Beneficiary,
    /// An interest that nobody names may be any of these
    Unnamed,
}

/// The standard's interestType codelist, versions 0.3 and 0.4.
const INTERESTS: &[(&str, Option<Stake>)] = &[
    ("shareholding", Some(Stake::Shareholding)),
    ("votingRights", Some(Stake::VotingRights)),
    ("rightsToSurplusAssetsOnDissolution", Some(Stake::SurplusAssets)),
    ("rightsToProfitOrIncome", Some(Stake::Profit)),
    ("beneficiaryOfLegalArrangement", Some(Stake::Beneficiary)),
    ("unknownInterest", Some(Stake::Unnamed)),
    ("unpublishedInterest", Some(Stake::Unnamed)),
    ("appointmentOfBoard", None),
    ("otherInfluenceOrControl", None),
    ("seniorManagingOfficial", None),
    ("settlor", None),
    ("trustee", None),
    ("protector", None),
    ("rightsGrantedByContract", None),
    ("conditionalRightsGrantedByContract", None),
    ("controlViaCompanyRulesOrArticles", None),
    ("controlByLegalFramework", None),
    ("boardMember", None),
    ("boardChair", None),
    ("enjoymentAndUseOfAssets", None),
    ("rightToProfitOrIncomeFromAssets", None),
    ("nominee", None),
    ("nominator", None),
];

/// The standard's entityType codelist. Of who is anonymous or unknown nobody knows who stands behind, as of a
/// company without owners, and so they are called one.
const ENTITIES: &[(&str, EntityType)] = &[
    ("registeredEntity", EntityType::Company),
    ("legalEntity", EntityType::Company),
    ("arrangement", EntityType::Company),
    ("anonymousEntity", EntityType::Company),
    ("unknownEntity", EntityType::Company),
    ("state", EntityType::State),
    ("stateBody", EntityType::State),
];

/// The standard's personType codelist, by the same rule.
const PERSONS: &[(&str, EntityType)] =
    &[("knownPerson", EntityType::Person), ("anonymousPerson", EntityType::Company), ("unknownPerson", EntityType::Company)];

/// What a statement is about: recordType (0.4) and statementType (0.3).
const RECORDS: &[(&str, Record)] = &[("entity", Record::Entity), ("person", Record::Person), ("relationship", Record::Relationship)];
const STATEMENTS: &[(&str, Record)] =
    &[("entityStatement", Record::Entity), ("personStatement", Record::Person), ("ownershipOrControlStatement", Record::Relationship)];

#[derive(Debug, Clone, Copy)]
enum Record {
    Entity,
    Person,
    Relationship,
}

impl Statements {
    /// Takes a file in. Notes every mistake; statements without one are kept.
    pub fn read(&mut self, json: &Json, problems: &mut Problems) {
        let file = self.files;
        self.files = file.saturating_add(1);
        let Json::List(statements) = json else {
            wrong_type(&Path::Root, "a list of statements", json, problems);
            return;
        };
        for (i, statement) in statements.iter().enumerate() {
            let at = Path::Element(&Path::Root, i);
            self.all.extend(Statement::read(statement, &at, file, problems));
        }
    }

    /// What they say together as of a day (UTC).
    #[must_use]
    pub fn declared(&self, today: UnixSeconds) -> Declared {
        let today: String = today.to_string().chars().take(DATE).collect();
        let (latest, successors) = self.latest();
        let mut declared = Declared::default();
        let mut gone = BTreeSet::new();
        let mut subjects: BTreeMap<&str, Vec<Held<'_>>> = BTreeMap::new();
        for statement in &latest {
            match &statement.body {
                Body::Party(_) if statement.closed => {
                    gone.insert(statement.record.as_str());
                }
                Body::Party(entity) => declared.entities.push((entity.clone(), statement.origin.clone())),
                Body::Relationship { subject: Some(subject), interested: Some(owner), interests } if !statement.closed => {
                    let held = subjects.entry(in_force(&successors, subject.as_str())).or_default();
                    let interests = interests.iter().filter(|interest| interest.holds(&today)).collect();
                    held.push(Held { owner: in_force(&successors, owner.as_str()), interests, origin: &statement.origin });
                }
                Body::Relationship { .. } => {}
            }
        }
        // the owner or the company of a relationship may have left the network: nobody knows to whom
        subjects.retain(|subject, _| !gone.contains(subject));
        for (subject, mut held) in subjects {
            held.retain(|held| !gone.contains(held.owner));
            for (owner, share, origin) in stakes(&held) {
                if let (Ok(owner), Ok(of)) = (Text::parse(owner), Text::parse(subject)) {
                    declared.holdings.push((Holding { owner, of, basis_points: share }, origin.clone()));
                }
            }
        }
        declared
    }

    /// The latest statement on each record, in the order read, and which statement took the place of which.
    fn latest(&self) -> (Vec<&Statement>, BTreeMap<&str, &str>) {
        let mut successors = BTreeMap::new();
        let mut latest: BTreeMap<&str, (usize, &Statement)> = BTreeMap::new();
        for (i, statement) in self.all.iter().enumerate() {
            successors.extend(statement.replaces.iter().map(|old| (old.as_str(), statement.record.as_str())));
            let known = latest.entry(statement.record.as_str()).or_insert((i, statement));
            if statement.dates >= known.1.dates {
                *known = (i, statement);
            }
        }
        let mut latest: Vec<_> =
            latest.into_values().filter(|(_, statement)| !successors.contains_key(statement.record.as_str())).collect();
        latest.sort_unstable_by_key(|(i, _)| *i);
        (latest.into_iter().map(|(_, statement)| statement).collect(), successors)
    }
}

/// The statement that stands in the place of another by now.
fn in_force<'a>(successors: &BTreeMap<&'a str, &'a str>, id: &'a str) -> &'a str {
    let chain = std::iter::successors(Some(id), |id| successors.get(id).copied());
    chain.take(successors.len().saturating_add(1)).last().unwrap_or(id) // statements that replace each other in a ring end somewhere
}

/// What one relationship says today.
struct Held<'a> {
    owner: &'a str,
    interests: Vec<&'a Interest>,
    origin: &'a Origin,
}

/// What one owner holds of a company: of each kind, how much is known and whether there may be more.
struct Sums<'a> {
    owner: &'a str,
    origin: &'a Origin,
    kinds: BTreeMap<Stake, (u32, bool)>,
}

/// What the relationships of one company come to, owner by owner in the order read.
fn stakes<'a>(held: &[Held<'a>]) -> Vec<(&'a str, Share, &'a Origin)> {
    let all = || held.iter().flat_map(|held| &held.interests).filter(|interest| interest.stake.is_some());
    let direct = all().any(|interest| !interest.indirect);
    let mut owners: Vec<Sums<'a>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for held in held {
        let counted = held.interests.iter().filter(|interest| !(direct && interest.indirect));
        for (stake, interest) in counted.filter_map(|interest| Some((interest.stake?, interest))) {
            let at = *places.entry(held.owner).or_insert(owners.len());
            if at == owners.len() {
                owners.push(Sums { owner: held.owner, origin: held.origin, kinds: BTreeMap::new() });
            }
            if let Some(sums) = owners.get_mut(at) {
                let sum = sums.kinds.entry(stake).or_default();
                *sum = (sum.0.saturating_add(interest.least), sum.1 || interest.more);
            }
        }
    }
    let kinds: BTreeSet<Stake> = owners.iter().flat_map(|sums| sums.kinds.keys().copied()).collect();
    let of_kind = |sums: &Sums<'_>, kind: &Stake| sums.kinds.get(kind).map_or(0, |(least, _)| *least);
    let sum = |shares: &mut dyn Iterator<Item = u32>| shares.fold(0_u32, u32::saturating_add);
    let largest = |sums: &Sums<'_>| sums.kinds.values().map(|(least, _)| *least).max().unwrap_or(0);
    let smallest = |sums: &Sums<'_>| kinds.iter().map(|kind| of_kind(sums, kind)).min().unwrap_or(0);
    let too_much = sum(&mut owners.iter().map(largest)) > WHOLE;
    // where one kind alone is more than the whole, the publisher is wrong, and the graph says so
    let contradicts_itself = kinds.iter().any(|kind| sum(&mut owners.iter().map(|sums| of_kind(sums, kind))) > WHOLE);
    let mut stakes = Vec::new();
    for sums in &owners {
        let open = sums.kinds.values().any(|(_, more)| *more);
        let (known, more) = match (direct, too_much) {
            (_, false) => (largest(sums), open),
            (true, true) if contradicts_itself => (largest(sums), open),
            (true, true) => (smallest(sums), true),
            (false, true) => (0, true), // chains that run through one another
        };
        if known > 0 {
            stakes.push((sums.owner, Share(Some(known.into())), sums.origin));
        }
        if more || known == 0 {
            stakes.push((sums.owner, Share(None), sums.origin));
        }
    }
    stakes
}

impl Interest {
    fn holds(&self, today: &str) -> bool {
        self.from.as_deref().is_none_or(|from| from <= today) && self.until.as_deref().is_none_or(|until| today < until)
    }

    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let stake = member(json, at, "type", problems, |json, at, problems| one_of(json, at, problems, INTERESTS));
        let stake = stake.unwrap_or(Some(Stake::Unnamed));
        let direct = &[("direct", false), ("indirect", true), ("unknown", false)];
        let indirect = member(json, at, "directOrIndirect", problems, |json, at, problems| one_of(json, at, problems, direct));
        let (least, more) = match stake {
            Some(Stake::Unnamed) => (0, true),
            _ => member(json, at, "share", problems, share).unwrap_or((0, true)),
        };
        let from = member(json, at, "startDate", problems, date);
        let until = member(json, at, "endDate", problems, date);
        Some(Self { stake, indirect: indirect.unwrap_or(false), least, more, from, until })
    }
}

impl Statement {
    fn read(json: &Json, at: &Path<'_>, file: usize, problems: &mut Problems) -> Option<Self> {
        let Json::Object(_) = json else {
            wrong_type(at, "a statement", json, problems);
            return None;
        };
        member(json, at, "publicationDetails", problems, |json, at, problems| {
            member(json, at, "bodsVersion", problems, |json, at, problems| {
                if !matches!(json.as_str(), Some("0.3" | "0.4")) {
                    let help = "versions 0.3 and 0.4 are read; Open Ownership's tools convert older data";
                    problems.note(at, "this version of the standard isn't known", Some(help.into()));
                }
                Some(())
            })
        });
        let old = json.get("statementType").is_some();
        let (id, kind, kinds) = if old { ("statementID", "statementType", STATEMENTS) } else { ("recordId", "recordType", RECORDS) };
        let record = required(json, at, id, problems, Text::read);
        let kind = required(json, at, kind, problems, |json, at, problems| one_of(json, at, problems, kinds));
        let status = &[("new", false), ("updated", false), ("closed", true)];
        let closed = member(json, at, "recordStatus", problems, |json, at, problems| one_of(json, at, problems, status));
        let made = member(json, at, "statementDate", problems, time).unwrap_or_default();
        let published =
            member(json, at, "publicationDetails", problems, |json, at, problems| member(json, at, "publicationDate", problems, time));
        let replaces = member(json, at, "replacesStatements", problems, Vec::<Text>::read).unwrap_or_default();
        let (record, kind) = (record?, kind?);
        let body = if old {
            Body::read(&record, kind, json, at, problems)
        } else {
            required(json, at, "recordDetails", problems, |json, at, problems| Body::read(&record, kind, json, at, problems))
        };
        Some(Self {
            origin: Origin { file, path: at.to_string() },
            record,
            dates: (made, published.unwrap_or_default()),
            closed: closed.unwrap_or(false),
            replaces: replaces.iter().map(|id| id.as_str().to_owned()).collect(),
            body: body?,
        })
    }
}

impl Body {
    fn read(id: &Text, kind: Record, json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match kind {
            Record::Entity => {
                let kind = required(json, at, "entityType", problems, |json, at, problems| match json {
                    Json::Object(_) => required(json, at, "type", problems, |json, at, problems| one_of(json, at, problems, ENTITIES)),
                    bare => one_of(bare, at, problems, ENTITIES),
                });
                let jurisdiction = member(json, at, "jurisdiction", problems, place);
                let mut business = addresses(json, at, "business", problems).into_iter();
                let headquarters = business.next();
                let others = business.chain(addresses(json, at, "registered", problems)).collect();
                let name = json.get("name").and_then(readable);
                Some(Self::Party(Entity { id: id.clone(), jurisdiction, headquarters, others, kind: Some(kind?), name }))
            }
            Record::Person => {
                let kind = required(json, at, "personType", problems, |json, at, problems| one_of(json, at, problems, PERSONS));
                let mut nationalities = list(json, at, "nationalities", problems, place).into_iter();
                let jurisdiction = nationalities.next();
                let mut residences = addresses(json, at, "residence", problems);
                residences.extend(member(json, at, "placeOfResidence", problems, |json, at, problems| {
                    member(json, at, "country", problems, place)
                }));
                residences.extend(list(json, at, "taxResidencies", problems, place));
                let mut residences = residences.into_iter();
                let headquarters = residences.next();
                let others = nationalities.chain(residences).collect();
                let names = json.get("names").map(Json::items).unwrap_or_default();
                let name = names.iter().filter_map(|name| name.get("fullName")).find_map(readable);
                Some(Self::Party(Entity { id: id.clone(), jurisdiction, headquarters, others, kind: Some(kind?), name }))
            }
            Record::Relationship => {
                let subject = required(json, at, "subject", problems, party);
                let interested = required(json, at, "interestedParty", problems, party);
                let mut interests = list(json, at, "interests", problems, Interest::read);
                if json.get("interests").is_none_or(|interests| interests.items().is_empty()) {
                    let stake = Some(Stake::Unnamed);
                    interests.push(Interest { stake, indirect: false, least: 0, more: true, from: None, until: None });
                }
                Some(Self::Relationship { subject: subject?, interested: interested?, interests })
            }
        }
    }
}

/// An end of a relationship: a record's id (0.4), an object that points at a statement (0.3), or why there is neither.
#[expect(clippy::option_option, reason = "a mistake, or a party that isn't specified")]
fn party(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Option<Text>> {
    if let Json::Text(_) = json {
        return Text::read(json, at, problems).map(Some);
    }
    for name in ["describedByEntityStatement", "describedByPersonStatement"] {
        if let Some(id) = json.get(name) {
            return Text::read(id, &Path::Member(at, name), problems).map(Some);
        }
    }
    if json.get("reason").or_else(|| json.get("unspecified")).is_some() {
        return Some(None);
    }
    problems.note(
        at,
        "this names nobody",
        Some("the id of a record (0.4) or of a statement (0.3), or a `reason` why there is none".into()),
    );
    None
}

/// What is known of a share, in basis points, and whether it may be more.
fn share(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<(u32, bool)> {
    let Json::Object(_) = json else {
        wrong_type(at, "an object", json, problems);
        return None;
    };
    let exact = member(json, at, "exact", problems, percent);
    let minimum = member(json, at, "minimum", problems, percent);
    let maximum = member(json, at, "maximum", problems, percent);
    let bound = |name, problems: &mut Problems| match json.get(name) {
        Some(Json::Bool(excluded)) => Some(Bound::Excluded(*excluded)), // 0.3
        Some(number) => percent(number, &Path::Member(at, name), problems).map(Bound::At),
        None => None,
    };
    let (above, below) = (bound("exclusiveMinimum", problems), bound("exclusiveMaximum", problems));
    let least = match (above, minimum) {
        (Some(Bound::At(percent)), _) | (Some(Bound::Excluded(true)), Some(percent)) => floor(percent).saturating_add(1),
        (_, minimum) => floor(minimum.unwrap_or(0.0)),
    };
    let most = match below {
        Some(Bound::At(percent)) => Some(percent),
        Some(Bound::Excluded(_)) | None => maximum,
    };
    if exact.is_none() && most.is_some_and(|most| floor(most) < least) {
        problems.note(at, "the share's minimum is above its maximum", Some("put the bounds right".into()));
        return None;
    }
    Some(exact.map_or((least, true), |exact| (floor(exact), false)))
}

/// An exclusive bound: a number (0.4), or a word on the bound beside it (0.3).
enum Bound {
    At(f64),
    Excluded(bool),
}

fn percent(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<f64> {
    let number = match json {
        Json::Number(number) => Some(number.as_f64()).filter(|percent| (0.0..=100.0).contains(percent)),
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    };
    if number.is_none() {
        problems.note(at, "expected a number from 0 to 100", Some("shares are in percent here".into()));
    }
    number
}

/// A percentage in whole basis points, rounded down: a little is forgiven, for 1.15 * 100 is 114.99999999999999.
fn floor(percent: f64) -> u32 {
    let whole = (percent * 100.0 + 1e-6).floor().clamp(0.0, f64::from(WHOLE));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 10,000")]
    let whole = whole as u32;
    whole
}

/// A name, where it is one: it only helps the reader, so that none is no mistake.
fn readable(name: &Json) -> Option<Text> {
    Text::parse(name.as_str()?).ok()
}

/// The countries of the addresses of one type.
fn addresses(json: &Json, at: &Path<'_>, kind: &str, problems: &mut Problems) -> Vec<Place> {
    list(json, at, "addresses", problems, |json, at, problems| match json.get("type").and_then(Json::as_str) {
        Some(found) if found == kind => member(json, at, "country", problems, place),
        Some(_) | None => None,
    })
}

/// A place: a bare code, or an object that may have one.
fn place(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Place> {
    if let Json::Object(_) = json {
        return member(json, at, "code", problems, place);
    }
    let Json::Text(code) = json else {
        wrong_type(at, "a country's code", json, problems);
        return None;
    };
    let place = Place::from_bytes(code.as_bytes());
    if place.is_none() {
        let help = "ISO 3166-1 alpha-2 (`SG`) or ISO 3166-2 (`US-DE`); where there is none, give the name alone";
        problems.note(at, format!("unknown country code `{code}`"), Some(help.into()));
    }
    place
}

/// Characters of a date by RFC 3339: `2027-01-31`.
const DATE: usize = 10;

fn date(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<String> {
    time(json, at, problems).map(|text| text.chars().take(DATE).collect())
}

/// A date, with or without a time of day, as written.
fn time(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<String> {
    let text = json.as_str().unwrap_or_default();
    let digits = |pattern: &str| {
        let alike = |(b, wanted): (u8, u8)| if wanted == b'0' { b.is_ascii_digit() } else { b == wanted };
        text.len() >= pattern.len() && text.bytes().zip(pattern.bytes()).all(alike)
    };
    if digits("0000-00-00") && (text.len() == DATE || text.as_bytes().get(DATE) == Some(&b'T')) {
        return Some(text.to_owned());
    }
    problems.note(at, format!("`{text}` is no date"), Some("such as `2027-01-31`".into()));
    None
}

/// One of the words of a codelist.
fn one_of<T: Copy>(json: &Json, at: &Path<'_>, problems: &mut Problems, list: &[(&str, T)]) -> Option<T> {
    let Json::Text(word) = json else {
        wrong_type(at, "a string", json, problems);
        return None;
    };
    let found = list.iter().find(|(known, _)| known == word).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<&str> = list.iter().map(|(word, _)| *word).collect();
        problems.note(at, format!("unknown word `{word}`"), Some(suggestion(word, &known)));
    }
    found
}

/// Reads a member that may be left out.
fn member<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    read(json.get(name)?, &Path::Member(at, name), problems)
}

/// Reads a member that must be there.
fn required<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    if json.get(name).is_none() {
        problems.note(at, format!("`{name}` is missing"), None);
    }
    member(json, at, name, problems, read)
}

/// Reads the elements of a list that may be left out.
fn list<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Vec<T> {
    let at = Path::Member(at, name);
    match json.get(name) {
        None => Vec::new(),
        Some(Json::List(items)) => items.iter().enumerate().filter_map(|(i, item)| read(item, &Path::Element(&at, i), problems)).collect(),
        Some(other) => {
            wrong_type(&at, "a list", other, problems);
            Vec::new()
        }
    }
}
