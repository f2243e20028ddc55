//! One statement: an entity, a person, or a relationship between two parties.

use super::dates::time;
use super::members::{is_null, list, member, mistyped, one_of, required, value};
use super::places::{PartyPlaces, place};
use super::shares::share;
use crate::compile::ownership::{Entity, EntityType, WHOLE};
use crate::shape::{Json, Path, Problems, Shape as _, Word as _, wrong_type};
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

/// The place of a statement in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementOrigin {
    /// The number of its file, in the order read, from 0
    pub file: usize,
    /// The JSON path of the statement
    pub path: String,
    /// Its line, where each statement is on a line of its own
    pub line: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) origin: StatementOrigin,
    /// 0.4: the record that it is about; 0.3: its own id
    pub(super) record: Text,
    /// Date of statement and date of publication
    pub(super) dates: (Option<UnixSeconds>, Option<UnixSeconds>),
    pub(super) closed: bool,
    /// The ids of the statements that it replaces (0.3)
    pub(super) replaces: Vec<String>,
    pub(super) body: StatementBody,
}

#[derive(Debug)]
pub(super) enum StatementBody {
    Party(Entity),
    Relationship {
        /// `None` where it isn't specified
        subject: Option<Text>,
        interested: InterestedParty,
        interests: Vec<Interest>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Interest {
    /// `None` for control
    pub(super) kind: Option<InterestType>,
    pub(super) indirect: bool,
    /// The known part of the share, in basis points
    pub(super) least: u32,
    /// The largest possible share, in basis points
    pub(super) most: u32,
    from: Option<UnixSeconds>,
    until: Option<UnixSeconds>,
}

/// The holder of an interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InterestedParty {
    /// A record's id
    Named(Text),
    /// Unspecified, unknown or anonymous
    Unnamed,
    /// The file says that there is none
    Nobody,
}

/// A type of interest that is a stake, by the standard's interestType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InterestType {
    Shareholding,
    VotingRights,
    /// The shares of a partnership
    SurplusAssets,
    Profit,
    /// The shares of a trust
    Beneficiary,
    /// An interest without a name may be any of these
    Unnamed,
}

/// The standard's interestType codelist, versions 0.3 and 0.4.
const INTERESTS: &[(&str, Option<InterestType>)] = &[
    ("shareholding", Some(InterestType::Shareholding)),
    ("votingRights", Some(InterestType::VotingRights)),
    ("rightsToSurplusAssetsOnDissolution", Some(InterestType::SurplusAssets)),
    ("rightsToProfitOrIncome", Some(InterestType::Profit)),
    ("beneficiaryOfLegalArrangement", Some(InterestType::Beneficiary)),
    ("unknownInterest", Some(InterestType::Unnamed)),
    ("unpublishedInterest", Some(InterestType::Unnamed)),
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

/// The standard's entityType codelist. The owners of an anonymous or unknown entity aren't known,
/// as those of a company without owners: it counts as a company.
const ENTITIES: &[(&str, EntityType)] = &[
    ("registeredEntity", EntityType::Company),
    ("legalEntity", EntityType::Company),
    ("arrangement", EntityType::Company),
    ("anonymousEntity", EntityType::Company),
    ("unknownEntity", EntityType::Company),
    ("state", EntityType::State),
    ("stateBody", EntityType::State),
];

/// The standard's personType codelist. Anonymous persons count as companies for the same reason.
const PERSONS: &[(&str, EntityType)] = &[
    ("knownPerson", EntityType::Person),
    ("anonymousPerson", EntityType::Company),
    ("unknownPerson", EntityType::Company),
];

/// The standard's codelists recordType (0.4) and statementType (0.3).
const RECORDS: &[(&str, RecordType)] = &[
    ("entity", RecordType::Entity),
    ("person", RecordType::Person),
    ("relationship", RecordType::Relationship),
];
const STATEMENTS: &[(&str, RecordType)] = &[
    ("entityStatement", RecordType::Entity),
    ("personStatement", RecordType::Person),
    ("ownershipOrControlStatement", RecordType::Relationship),
];

#[derive(Debug, Clone, Copy)]
enum RecordType {
    Entity,
    Person,
    Relationship,
}

impl Interest {
    pub(super) fn is_current(&self, now: UnixSeconds) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// An interest of unknown type and share.
    fn unnamed() -> Self {
        let kind = Some(InterestType::Unnamed);
        Self { kind, indirect: false, least: 0, most: WHOLE, from: None, until: None }
    }

    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_null(json) {
            return None;
        }
        let Json::Object(_) = json else { return mistyped(at, "an interest", json, problems) };
        let kind = member(json, at, "type", problems, one_of(INTERESTS));
        let kind = kind.unwrap_or(Some(InterestType::Unnamed));
        let direct = &[("direct", false), ("indirect", true), ("unknown", false)];
        let indirect = member(json, at, "directOrIndirect", problems, one_of(direct));
        let (least, most) = match kind {
            Some(InterestType::Unnamed) => (0, WHOLE),
            _ => member(json, at, "share", problems, share).unwrap_or((0, WHOLE)),
        };
        let from = member(json, at, "startDate", problems, time);
        let until = member(json, at, "endDate", problems, time);
        Some(Self { kind, indirect: indirect.unwrap_or(false), least, most, from, until })
    }
}

impl Statement {
    /// Reads a statement of a file, where it has one with its line.
    pub(super) fn read(
        json: &Json,
        at: &Path<'_>,
        (file, line): (usize, Option<usize>),
        problems: &mut Problems,
    ) -> Option<Self> {
        let Json::Object(_) = json else { return mistyped(at, "a statement", json, problems) };
        member(json, at, "publicationDetails", problems, |json, at, problems| {
            member(json, at, "bodsVersion", problems, version)
        });
        let old = value(json, "statementType").is_some();
        let (id, kind, kinds) = if old {
            ("statementID", "statementType", STATEMENTS)
        } else {
            ("recordId", "recordType", RECORDS)
        };
        let record = required(json, at, id, problems, Text::read);
        let kind = required(json, at, kind, problems, one_of(kinds));
        let status = &[("new", false), ("updated", false), ("closed", true)];
        let closed = member(json, at, "recordStatus", problems, one_of(status));
        let made = member(json, at, "statementDate", problems, time);
        let published = member(json, at, "publicationDetails", problems, |json, at, problems| {
            member(json, at, "publicationDate", problems, time)
        });
        let replaces =
            member(json, at, "replacesStatements", problems, Vec::<Text>::read).unwrap_or_default();
        let (record, kind) = (record?, kind?);
        let body = |json: &Json, at: &Path<'_>, problems: &mut Problems| match kind {
            RecordType::Entity => entity(&record, json, at, problems),
            RecordType::Person => person(&record, json, at, problems),
            RecordType::Relationship => relationship(json, at, problems),
        };
        let body = if old {
            body(json, at, problems)
        } else {
            required(json, at, "recordDetails", problems, body)
        };
        Some(Self {
            origin: StatementOrigin { file, path: at.to_string(), line },
            record,
            dates: (made, published),
            closed: closed.unwrap_or(false),
            replaces: replaces.iter().map(|id| id.as_str().to_owned()).collect(),
            body: body?,
        })
    }
}

/// Checks a version of the standard.
fn version(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<()> {
    let help = "expected 0.3 or 0.4; Open Ownership's tools convert older data";
    match json {
        Json::Text(version) if matches!(version.as_str(), "0.3" | "0.4") => {}
        Json::Text(version) => problems.wrong(at, &format!("unknown version `{version}`"), help),
        other => wrong_type(at, "a string", other, problems),
    }
    Some(())
}

fn entity(id: &Text, json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<StatementBody> {
    // 0.4: an object with a type; 0.3: the type itself
    let kind = required(json, at, "entityType", problems, |json, at, problems| match json {
        Json::Object(_) => required(json, at, "type", problems, one_of(ENTITIES)),
        bare => one_of(ENTITIES)(bare, at, problems),
    });
    let mut places = PartyPlaces::default();
    places.add(member(json, at, "jurisdiction", problems, place));
    let jurisdiction = places.known.pop();
    places.add_addresses(json, at, &["business", "registered"], problems);
    let name = value(json, "name").and_then(readable);
    let entity = Entity { kind: Some(kind?), name, ..Entity::unknown(id.clone()) };
    Some(StatementBody::Party(places.fill(jurisdiction, entity)))
}

fn person(id: &Text, json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<StatementBody> {
    let kind = required(json, at, "personType", problems, one_of(PERSONS));
    let mut places = PartyPlaces::default();
    places.add(list(json, at, "nationalities", problems, place));
    let jurisdiction = (!places.known.is_empty()).then(|| places.known.remove(0));
    let nationalities = std::mem::take(&mut places.known);
    places.add_addresses(json, at, &["residence", "home"], problems);
    places.add(member(json, at, "placeOfResidence", problems, |json, at, problems| {
        member(json, at, "country", problems, place)
    }));
    places.add(list(json, at, "taxResidencies", problems, place));
    places.known.extend(nationalities);
    let names = value(json, "names").map(Json::items).unwrap_or_default();
    let name = names.iter().filter_map(|name| name.get("fullName")).find_map(readable);
    let entity = Entity { kind: Some(kind?), name, ..Entity::unknown(id.clone()) };
    Some(StatementBody::Party(places.fill(jurisdiction, entity)))
}

fn relationship(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<StatementBody> {
    let subject = required(json, at, "subject", problems, party);
    let interested = if json.get("interestedParty").is_some_and(is_null) {
        Some(InterestedParty::Unnamed)
    } else {
        required(json, at, "interestedParty", problems, party)
    };
    let mut interests = list(json, at, "interests", problems, Interest::read);
    if value(json, "interests").is_none_or(|interests| interests.items().iter().all(is_null)) {
        interests.push(Interest::unnamed());
    }
    let subject = match subject? {
        InterestedParty::Named(id) => Some(id),
        InterestedParty::Unnamed | InterestedParty::Nobody => None,
    };
    Some(StatementBody::Relationship { subject, interested: interested?, interests })
}

/// Reads an end of a relationship: a record's id (0.4), an object that points at a statement (0.3),
/// or the reason why there is neither.
fn party(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<InterestedParty> {
    const POINTERS: [&str; 2] = ["describedByEntityStatement", "describedByPersonStatement"];
    if let Json::Text(_) = json {
        return Text::read(json, at, problems).map(InterestedParty::Named);
    }
    for name in POINTERS {
        if let Some(id) = value(json, name) {
            return Text::read(id, &Path::Member(at, name), problems).map(InterestedParty::Named);
        }
    }
    let unspecified = value(json, "unspecified").unwrap_or(json);
    let reason = unspecified.get("reason").and_then(Json::as_str);
    if matches!(reason, Some("noBeneficialOwners" | "no-beneficial-owners")) {
        return Some(InterestedParty::Nobody);
    }
    if POINTERS.iter().chain(&["reason", "unspecified"]).any(|name| json.get(name).is_some()) {
        return Some(InterestedParty::Unnamed);
    }
    let help =
        "give the id of a record (0.4) or of a statement (0.3), or a `reason` for its absence";
    problems.wrong(at, "missing party", help);
    None
}

/// A party's name, where it is a valid one. Names are for readers only, so an invalid one isn't an
/// error.
fn readable(name: &Json) -> Option<Text> {
    Text::parse(name.as_str()?).ok()
}
