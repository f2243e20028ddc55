//! Beneficial Ownership Data Standard (BODS) 0.3 and 0.4, read into entities and holdings.
//!
//! The standard (<https://standard.openownership.org>) is a stream of *statements* by which publishers describe
//! entities, persons and the relationships between them over time. What is made of them:
//!
//! - Of several statements on one record the latest counts, by date of statement, date of publication and place;
//!   a closed record no longer does. In 0.3 a statement takes the place of those that it `replacesStatements`.
//! - `shareholding`, `votingRights` and the like repeat one stake: the largest counts. Where the largest come to more than
//!   the whole of a company (shares without votes), each kind that does fit goes along as a [`Reading`].
//! - Interests of any other type are control, not ownership, and carry no share (OFAC FAQ 398).
//! - A share that is a range counts with its minimum, the rest is unknown; a minimum that is excluded counts one
//!   basis point more. Shares are rounded down to whole basis points, so that what rounding leaves is unknown too.
//! - Indirect interests sum up chains, on file or not. They stand beside the direct ones ([`Indirect`]), and the graph holds
//!   them against the chains.
//! - Interests count from their `startDate` to their `endDate`.
//! - Whoever is unspecified, unknown or anonymous leaves the share unknown.
//! - A country's code decides. Where there is none, its name is looked up, and a name that can't be is a place that nobody
//!   knows. Codes that mean none (`XX`, `ZZ`) are none; other codes that aren't in use are mistakes.
//! - What is null isn't said, as if it were left out.
//!
//! Fields beyond these are other people's and not looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::countries;
use super::ownership::{
    DeclaredInterest, Entity, EntityType, Holding, Interpretation, Share, WHOLE,
};
use crate::names::{Text, UnixSeconds};
use crate::region::Place;
use crate::shape::{Json, Path, Problems, Shape, Word, suggestion, wrong_type};

/// The statements of any number of files.
#[derive(Debug, Default)]
pub struct BodsStatements {
    all: Vec<Statement>,
    files: usize,
}

/// What the statements say as of a day.
#[derive(Debug, Clone, Default)]
pub struct BodsExtract {
    /// Companies, persons and states, each with where it stands
    pub entities: Vec<(Entity, StatementOrigin)>,
    /// Who holds what share of whom directly, each with where it stands
    pub holdings: Vec<(Holding, StatementOrigin)>,
    /// Who is said to hold through others, or isn't named, each with where it stands
    pub indirect: Vec<(DeclaredInterest, StatementOrigin)>,
    /// Companies whose kinds of interest can't all hold at once: what each says
    pub interpretations: Vec<Interpretation>,
    /// Places that nobody knows, each with where it stands and as it is written there
    pub nowhere: Vec<(String, StatementOrigin)>,
}

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementOrigin {
    /// Which call of [`Statements::read`] it came with, from 0
    pub file: usize,
    /// The JSON path of the statement
    pub path: String,
    /// Its line, where each stands on one of its own
    pub line: Option<usize>,
}

#[derive(Debug)]
struct Statement {
    origin: StatementOrigin,
    /// 0.4: the record that it is about; 0.3: its own id
    record: Text,
    /// When it was made and published
    dates: (Option<UnixSeconds>, Option<UnixSeconds>),
    closed: bool,
    /// The statements that it takes the place of (0.3)
    replaces: Vec<String>,
    body: StatementBody,
}

#[derive(Debug)]
enum StatementBody {
    Party(Entity),
    Relationship {
        /// `None` where it isn't specified
        subject: Option<Text>,
        /// `None` where it isn't specified
        interested: InterestedParty,
        interests: Vec<Interest>,
    },
}

#[derive(Debug, Clone)]
struct Interest {
    /// `None` for control
    stake: Option<InterestType>,
    indirect: bool,
    /// What is known of the share, in basis points
    least: u32,
    /// What it may be, in basis points
    most: u32,
    from: Option<UnixSeconds>,
    until: Option<UnixSeconds>,
}

/// Who has an interest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum InterestedParty {
    /// A record's id
    Known(Text),
    /// Somebody whom nobody names
    Unnamed,
    /// Nobody at all, as the file says
    Nobody,
}

/// A kind of stake, by the standard's interestType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum InterestType {
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
const PERSONS: &[(&str, EntityType)] = &[
    ("knownPerson", EntityType::Person),
    ("anonymousPerson", EntityType::Company),
    ("unknownPerson", EntityType::Company),
];

/// What a statement is about: recordType (0.4) and statementType (0.3).
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

impl BodsStatements {
    /// Takes a file in. Notes every mistake; statements without one are kept.
    pub fn read(&mut self, json: &Json, problems: &mut Problems) {
        let file = self.files;
        self.files = file.saturating_add(1);
        let Json::List(statements) = json else {
            wrong_type(&Path::Root, "a list of statements", json, problems);
            return;
        };
        for (i, statement) in
            statements.iter().enumerate().filter(|(_, statement)| !is_null(statement))
        {
            let at = Path::Element(&Path::Root, i);
            self.all.extend(Statement::read(statement, &at, (file, None), problems));
        }
    }

    /// Takes in one more statement of the file that [`Statements::read`] read last: that on a line of its own.
    pub fn read_line(&mut self, json: &Json, line: usize, problems: &mut Problems) {
        let file = self.files.saturating_sub(1);
        self.all.extend(Statement::read(json, &Path::Root, (file, Some(line)), problems));
    }

    /// What they say together at a time.
    pub fn declared(&self, now: UnixSeconds) -> BodsExtract {
        let (latest, successors) = self.latest();
        let mut declared = BodsExtract::default();
        let mut gone = BTreeSet::new();
        let mut subjects: BTreeMap<&str, Vec<CurrentRelationship<'_>>> = BTreeMap::new();
        for statement in &latest {
            match &statement.body {
                StatementBody::Party(_) if statement.closed => {
                    gone.insert(statement.record.as_str());
                }
                StatementBody::Party(entity) => {
                    declared.nowhere.extend(
                        entity
                            .nowhere
                            .iter()
                            .map(|place| (place.clone(), statement.origin.clone())),
                    );
                    declared.entities.push((entity.clone(), statement.origin.clone()));
                }
                StatementBody::Relationship { subject: Some(subject), interested, interests }
                    if !statement.closed =>
                {
                    let owner = match interested {
                        InterestedParty::Known(id) => Some(in_force(&successors, id.as_str())),
                        InterestedParty::Unnamed => None,
                        InterestedParty::Nobody => continue,
                    };
                    let held = subjects.entry(in_force(&successors, subject.as_str())).or_default();
                    let interests =
                        interests.iter().filter(|interest| interest.holds(now)).collect();
                    held.push(CurrentRelationship { owner, interests, origin: &statement.origin });
                }
                StatementBody::Relationship { .. } => {}
            }
        }
        // the owner or the company of a relationship may have left the network: nobody knows to whom
        subjects.retain(|subject, _| !gone.contains(subject));
        for (subject, mut held) in subjects {
            for held in &mut held {
                held.owner = held.owner.filter(|owner| !gone.contains(owner));
            }
            let Ok(of) = Text::parse(subject) else { continue };
            add_stakes(&of, &held, &mut declared);
        }
        declared
    }

    /// The latest statement on each record, in the order read, and which statement took the place of which.
    fn latest(&self) -> (Vec<&Statement>, BTreeMap<&str, &str>) {
        let mut successors = BTreeMap::new();
        let mut latest: BTreeMap<&str, (usize, &Statement)> = BTreeMap::new();
        for (i, statement) in self.all.iter().enumerate() {
            successors.extend(
                statement.replaces.iter().map(|old| (old.as_str(), statement.record.as_str())),
            );
            let known = latest.entry(statement.record.as_str()).or_insert((i, statement));
            if statement.dates >= known.1.dates {
                *known = (i, statement);
            }
        }
        let mut latest: Vec<_> = latest
            .into_values()
            .filter(|(_, statement)| !successors.contains_key(statement.record.as_str()))
            .collect();
        latest.sort_unstable_by_key(|(i, _)| *i);
        (latest.into_iter().map(|(_, statement)| statement).collect(), successors)
    }
}

/// The statement that stands in the place of another by now.
fn in_force<'a>(successors: &BTreeMap<&'a str, &'a str>, id: &'a str) -> &'a str {
    let chain = std::iter::successors(Some(id), |id| successors.get(id).copied());
    chain.take(successors.len().saturating_add(1)).last().unwrap_or(id) // statements that replace each other in a ring end somewhere
}

/// What one relationship says now.
struct CurrentRelationship<'a> {
    /// `None` where nobody names it
    owner: Option<&'a str>,
    interests: Vec<&'a Interest>,
    origin: &'a StatementOrigin,
}

/// What one owner holds of a company in one way: of each kind, how much is known and how much it may be.
struct InterestSums<'a> {
    owner: Option<&'a str>,
    origin: &'a StatementOrigin,
    kinds: BTreeMap<InterestType, (u32, u32)>,
}

impl InterestSums<'_> {
    /// What is known of the stake that the kinds repeat, and what it may be.
    fn largest(&self) -> (u32, u32) {
        let of = |which: fn(&(u32, u32)) -> u32| self.kinds.values().map(which).max().unwrap_or(0);
        (of(|(least, _)| *least), of(|(_, most)| *most))
    }

    /// Whether some of it may be more than is known.
    fn is_open(&self) -> bool {
        self.kinds.values().any(|(least, most)| most > least)
    }
}

/// Adds up what each owner holds, owner by owner in the order read: directly, or else through others.
fn sums<'a>(held: &[CurrentRelationship<'a>], indirect: bool) -> Vec<InterestSums<'a>> {
    let mut owners: Vec<InterestSums<'a>> = Vec::new();
    let mut places: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for held in held {
        for interest in held.interests.iter().filter(|interest| interest.indirect == indirect) {
            let Some(stake) = interest.stake else { continue };
            let at = *places.entry(held.owner).or_insert(owners.len());
            if at == owners.len() {
                owners.push(InterestSums {
                    owner: held.owner,
                    origin: held.origin,
                    kinds: BTreeMap::new(),
                });
            }
            if let Some(sums) = owners.get_mut(at) {
                let (least, most) = sums.kinds.entry(stake).or_default();
                (*least, *most) =
                    (least.saturating_add(interest.least), most.saturating_add(interest.most));
            }
        }
    }
    owners
}

/// What the relationships of one company come to.
fn add_stakes(of: &Text, held: &[CurrentRelationship<'_>], declared: &mut BodsExtract) {
    let direct = sums(held, false);
    for sums in &direct {
        let (known, most) = sums.largest();
        let Some(Ok(owner)) = sums.owner.map(Text::parse) else {
            let unnamed =
                DeclaredInterest { owner: None, of: of.clone(), least: known, most, direct: true };
            declared.indirect.push((unnamed, sums.origin.clone()));
            continue;
        };
        let mut hold = |share| {
            let holding =
                Holding { owner: owner.clone(), of: of.clone(), basis_points: Share(share) };
            declared.holdings.push((holding, sums.origin.clone()));
        };
        // more than the whole in several pieces, so that the graph sees that it is
        let mut rest = known;
        while rest > 0 {
            hold(Some(rest.min(WHOLE).into()));
            rest = rest.saturating_sub(WHOLE);
        }
        if sums.is_open() || known == 0 {
            hold(None);
        }
    }
    let sum = |shares: &mut dyn Iterator<Item = u32>| shares.fold(0_u32, u32::saturating_add);
    if sum(&mut direct.iter().map(|sums| sums.largest().0)) > WHOLE {
        let kinds: BTreeSet<InterestType> =
            direct.iter().flat_map(|sums| sums.kinds.keys().copied()).collect();
        for kind in kinds {
            let shares: Vec<(Option<&str>, u32)> = direct
                .iter()
                .filter_map(|sums| Some((sums.owner, sums.kinds.get(&kind)?.0)))
                .filter(|(_, share)| *share > 0)
                .collect();
            if sum(&mut shares.iter().map(|(_, share)| *share)) <= WHOLE {
                let shares = shares
                    .into_iter()
                    .filter_map(|(owner, share)| Some((Text::parse(owner?).ok()?, share)))
                    .collect();
                declared.interpretations.push(Interpretation { of: of.clone(), shares });
            }
        }
    }
    for sums in sums(held, true) {
        let (least, most) = sums.largest();
        let owner = sums.owner.and_then(|owner| Text::parse(owner).ok());
        let indirect = DeclaredInterest {
            owner,
            of: of.clone(),
            least: least.min(WHOLE),
            most: most.min(WHOLE),
            direct: false,
        };
        declared.indirect.push((indirect, sums.origin.clone()));
    }
}

impl Interest {
    fn holds(&self, now: UnixSeconds) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// An interest of which nothing is said but that there is one.
    fn unnamed() -> Self {
        Self {
            stake: Some(InterestType::Unnamed),
            indirect: false,
            least: 0,
            most: WHOLE,
            from: None,
            until: None,
        }
    }

    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_null(json) {
            return None;
        }
        let Json::Object(_) = json else {
            wrong_type(at, "an interest", json, problems);
            return None;
        };
        let stake = member(json, at, "type", problems, |json, at, problems| {
            one_of(json, at, problems, INTERESTS)
        });
        let stake = stake.unwrap_or(Some(InterestType::Unnamed));
        let direct = &[("direct", false), ("indirect", true), ("unknown", false)];
        let indirect = member(json, at, "directOrIndirect", problems, |json, at, problems| {
            one_of(json, at, problems, direct)
        });
        let (least, most) = match stake {
            Some(InterestType::Unnamed) => (0, WHOLE),
            _ => member(json, at, "share", problems, share).unwrap_or((0, WHOLE)),
        };
        let from = member(json, at, "startDate", problems, time);
        let until = member(json, at, "endDate", problems, time);
        Some(Self { stake, indirect: indirect.unwrap_or(false), least, most, from, until })
    }
}

impl Statement {
    /// Reads a statement of that file, on that line where it has one of its own.
    fn read(
        json: &Json,
        at: &Path<'_>,
        (file, line): (usize, Option<usize>),
        problems: &mut Problems,
    ) -> Option<Self> {
        let Json::Object(_) = json else {
            wrong_type(at, "a statement", json, problems);
            return None;
        };
        member(json, at, "publicationDetails", problems, |json, at, problems| {
            member(json, at, "bodsVersion", problems, |json, at, problems| {
                if !matches!(json.as_str(), Some("0.3" | "0.4")) {
                    let help =
                        "versions 0.3 and 0.4 are read; Open Ownership's tools convert older data";
                    problems.note(
                        at,
                        "this version of the standard isn't known",
                        Some(help.into()),
                    );
                }
                Some(())
            })
        });
        let old = said(json, "statementType").is_some();
        let (id, kind, kinds) = if old {
            ("statementID", "statementType", STATEMENTS)
        } else {
            ("recordId", "recordType", RECORDS)
        };
        let record = required(json, at, id, problems, Text::read);
        let kind = required(json, at, kind, problems, |json, at, problems| {
            one_of(json, at, problems, kinds)
        });
        let status = &[("new", false), ("updated", false), ("closed", true)];
        let closed = member(json, at, "recordStatus", problems, |json, at, problems| {
            one_of(json, at, problems, status)
        });
        let made = member(json, at, "statementDate", problems, time);
        let published = member(json, at, "publicationDetails", problems, |json, at, problems| {
            member(json, at, "publicationDate", problems, time)
        });
        let replaces =
            member(json, at, "replacesStatements", problems, Vec::<Text>::read).unwrap_or_default();
        let (record, kind) = (record?, kind?);
        let body = if old {
            StatementBody::read(&record, kind, json, at, problems)
        } else {
            required(json, at, "recordDetails", problems, |json, at, problems| {
                StatementBody::read(&record, kind, json, at, problems)
            })
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

impl StatementBody {
    fn read(
        id: &Text,
        kind: RecordType,
        json: &Json,
        at: &Path<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        match kind {
            RecordType::Entity => {
                let kind =
                    required(json, at, "entityType", problems, |json, at, problems| match json {
                        Json::Object(_) => {
                            required(json, at, "type", problems, |json, at, problems| {
                                one_of(json, at, problems, ENTITIES)
                            })
                        }
                        bare => one_of(bare, at, problems, ENTITIES),
                    });
                let mut found = PartyPlaces::default();
                found.add(member(json, at, "jurisdiction", problems, place));
                let jurisdiction = found.places.pop();
                found.addresses(json, at, &["business", "registered"], problems);
                let name = said(json, "name").and_then(readable);
                Some(Self::Party(found.entity(id, jurisdiction, kind?, name)))
            }
            RecordType::Person => {
                let kind = required(json, at, "personType", problems, |json, at, problems| {
                    one_of(json, at, problems, PERSONS)
                });
                let mut found = PartyPlaces::default();
                list(json, at, "nationalities", problems, place)
                    .into_iter()
                    .for_each(|nationality| found.add(Some(nationality)));
                let jurisdiction = (!found.places.is_empty()).then(|| found.places.remove(0));
                let nationalities = std::mem::take(&mut found.places);
                found.addresses(json, at, &["residence", "home"], problems);
                found.add(member(json, at, "placeOfResidence", problems, |json, at, problems| {
                    member(json, at, "country", problems, place)
                }));
                list(json, at, "taxResidencies", problems, place)
                    .into_iter()
                    .for_each(|residency| found.add(Some(residency)));
                found.places.extend(nationalities);
                let names = said(json, "names").map(Json::items).unwrap_or_default();
                let name = names.iter().filter_map(|name| name.get("fullName")).find_map(readable);
                Some(Self::Party(found.entity(id, jurisdiction, kind?, name)))
            }
            RecordType::Relationship => {
                let subject = required(json, at, "subject", problems, party);
                let interested = if json.get("interestedParty").is_some_and(is_null) {
                    Some(InterestedParty::Unnamed)
                } else {
                    required(json, at, "interestedParty", problems, party)
                };
                let mut interests = list(json, at, "interests", problems, Interest::read);
                if said(json, "interests")
                    .is_none_or(|interests| interests.items().iter().all(is_null))
                {
                    interests.push(Interest::unnamed());
                }
                let subject = match subject? {
                    InterestedParty::Known(id) => Some(id),
                    InterestedParty::Unnamed | InterestedParty::Nobody => None,
                };
                Some(Self::Relationship { subject, interested: interested?, interests })
            }
        }
    }
}

/// The places of a party.
#[derive(Default)]
struct PartyPlaces {
    places: Vec<Place>,
    /// Those that nobody knows, as written
    nowhere: Vec<String>,
}

impl PartyPlaces {
    fn add(&mut self, place: Option<StatedPlace>) {
        match place {
            Some(StatedPlace::Known(place)) => self.places.push(place),
            Some(StatedPlace::Nowhere(name)) => self.nowhere.push(name),
            None => {}
        }
    }

    /// The countries of the addresses of these types, and of those whose type isn't said: they may be any.
    fn addresses(&mut self, json: &Json, at: &Path<'_>, kinds: &[&str], problems: &mut Problems) {
        let places =
            list(json, at, "addresses", problems, |json, at, problems| match said(json, "type") {
                Some(found) if !found.as_str().is_some_and(|found| kinds.contains(&found)) => None,
                Some(_) | None => member(json, at, "country", problems, place),
            });
        places.into_iter().for_each(|place| self.add(Some(place)));
    }

    fn entity(
        mut self,
        id: &Text,
        jurisdiction: Option<Place>,
        kind: EntityType,
        name: Option<Text>,
    ) -> Entity {
        self.nowhere.sort_unstable();
        self.nowhere.dedup();
        let mut places = self.places.into_iter();
        let headquarters = places.next();
        Entity {
            id: id.clone(),
            jurisdiction,
            headquarters,
            others: places.collect(),
            nowhere: self.nowhere,
            kind: Some(kind),
            name,
        }
    }
}

/// An end of a relationship: a record's id (0.4), an object that points at a statement (0.3), or why there is neither.
fn party(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<InterestedParty> {
    const POINTERS: [&str; 2] = ["describedByEntityStatement", "describedByPersonStatement"];
    if let Json::Text(_) = json {
        return Text::read(json, at, problems).map(InterestedParty::Known);
    }
    for name in POINTERS {
        if let Some(id) = said(json, name) {
            return Text::read(id, &Path::Member(at, name), problems).map(InterestedParty::Known);
        }
    }
    let unspecified = said(json, "unspecified").unwrap_or(json);
    if matches!(
        unspecified.get("reason").and_then(Json::as_str),
        Some("noBeneficialOwners" | "no-beneficial-owners")
    ) {
        return Some(InterestedParty::Nobody);
    }
    if POINTERS.iter().chain(&["reason", "unspecified"]).any(|name| json.get(name).is_some()) {
        return Some(InterestedParty::Unnamed);
    }
    problems.note(
        at,
        "this names nobody",
        Some(
            "the id of a record (0.4) or of a statement (0.3), or a `reason` why there is none"
                .into(),
        ),
    );
    None
}

/// What is known of a share and what it may be, in basis points.
fn share(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<(u32, u32)> {
    let Json::Object(_) = json else {
        wrong_type(at, "an object", json, problems);
        return None;
    };
    let exact = member(json, at, "exact", problems, percent);
    let minimum = member(json, at, "minimum", problems, percent);
    let maximum = member(json, at, "maximum", problems, percent);
    let bound = |name, problems: &mut Problems| match said(json, name) {
        Some(Json::Bool(excluded)) => Some(Bound::Excluded(*excluded)), // 0.3
        Some(number) => percent(number, &Path::Member(at, name), problems).map(Bound::At),
        None => None,
    };
    let (above, below) = (bound("exclusiveMinimum", problems), bound("exclusiveMaximum", problems));
    let least = match (above, minimum) {
        (Some(Bound::At(percent)), _) | (Some(Bound::Excluded(true)), Some(percent)) => {
            floor(percent).saturating_add(1)
        }
        (_, minimum) => floor(minimum.unwrap_or(0.0)),
    };
    let most = match below {
        Some(Bound::At(percent)) => Some(percent),
        Some(Bound::Excluded(_)) | None => maximum,
    };
    if exact.is_none() && most.is_some_and(|most| floor(most) < least) {
        problems.note(
            at,
            "the share's minimum is above its maximum",
            Some("put the bounds right".into()),
        );
        return None;
    }
    // what rounding down leaves may be held too
    let most = most.map_or(WHOLE, |most| WHOLE.saturating_sub(floor(100.0 - most)));
    Some(exact.map_or((least, most.max(least)), |exact| (floor(exact), floor(exact))))
}

/// An exclusive bound: a number (0.4), or a word on the bound beside it (0.3).
enum Bound {
    At(f64),
    Excluded(bool),
}

fn percent(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<f64> {
    let number = match json {
        Json::Number(number) => {
            Some(number.as_f64()).filter(|percent| (0.0..=100.0).contains(percent))
        }
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
    };
    if number.is_none() {
        problems.note(
            at,
            "expected a number from 0 to 100",
            Some("shares are in percent here".into()),
        );
    }
    number
}

/// A percentage in whole basis points, rounded down: a little is forgiven, for 1.15 * 100 is 114.99999999999999.
fn floor(percent: f64) -> u32 {
    let whole = (percent * 100.0 + 1e-6).floor().clamp(0.0, f64::from(WHOLE));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 10,000"
    )]
    let whole = whole as u32;
    whole
}

/// A name, where it is one: it only helps the reader, so that none is no mistake.
fn readable(name: &Json) -> Option<Text> {
    Text::parse(name.as_str()?).ok()
}

/// Where somebody is, as a file says it.
enum StatedPlace {
    Known(Place),
    /// A place that nobody knows, as it is written
    Nowhere(String),
}

/// Codes that mean none: user-assigned ones of ISO 3166-1 that are used for whoever is stateless or anywhere.
const NO_CODES: &[&str] = &["", "XX", "ZZ"];

/// A place: an object with a country's code or name, or one of the two by itself.
fn place(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<StatedPlace> {
    let (code, name) = match json {
        Json::Object(_) => (said(json, "code"), said(json, "name")),
        Json::Null => return None,
        bare => (Some(bare), None),
    };
    if let Some(code) = code {
        let at = if matches!(json, Json::Object(_)) { Path::Member(at, "code") } else { *at };
        let Json::Text(text) = code else {
            wrong_type(&at, "a country's code", code, problems);
            return None;
        };
        if !NO_CODES.contains(&text.trim().to_ascii_uppercase().as_str()) {
            // who gives nothing but a text may give the name
            let by_name = || {
                countries::named(text)
                    .filter(|_| name.is_none() && !matches!(json, Json::Object(_)))
                    .map(Place::whole)
            };
            let place = Place::from_bytes(text.trim().as_bytes()).or_else(by_name);
            if place.is_none() {
                let help = "ISO 3166-1 alpha-2 (`SG`) or ISO 3166-2 (`US-DE`); where there is none, give the name alone";
                problems.note(&at, format!("unknown country code `{text}`"), Some(help.into()));
            }
            return place.map(StatedPlace::Known);
        }
    }
    match (name, code) {
        (None, None) => None, // nothing is said
        (Some(name @ Json::Text(text)), _) => {
            let found = countries::named(text).map(Place::whole);
            Some(
                found.map_or_else(|| StatedPlace::Nowhere(written(name, code)), StatedPlace::Known),
            )
        }
        (Some(other), _) => {
            wrong_type(&Path::Member(at, "name"), "a country's name", other, problems);
            None
        }
        (None, Some(code)) => Some(StatedPlace::Nowhere(written(code, None))),
    }
}

/// A place as it is written, in short.
fn written(name: &Json, code: Option<&Json>) -> String {
    let text =
        |json: &Json| json.as_str().unwrap_or_default().trim().chars().take(60).collect::<String>();
    let (name, code) = (text(name), code.map(text).unwrap_or_default());
    if name.is_empty() { code } else { name }
}

/// A date, with or without a time of day: a day begins at midnight in UTC, and so does a time that names no offset count.
fn time(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<UnixSeconds> {
    let text = match json {
        Json::Text(text) => text,
        other => {
            wrong_type(at, "a date", other, problems);
            return None;
        }
    };
    let time = seconds(text.trim());
    if time.is_none() {
        problems.note(
            at,
            format!("`{text}` is no date"),
            Some("such as `2027-01-31`, or `2027-01-31T12:00:00Z`".into()),
        );
    }
    time.map(UnixSeconds)
}

/// Characters of a date by RFC 3339: `2027-01-31`.
const DATE: usize = 10;

/// The calendar repeats itself every 400 years, so that 2000 years later a day has the same name.
const LATER: i64 = 146_097 * 5 * 86_400;

/// Seconds since 1970 of a date and time by ISO 8601, as publishers write them.
fn seconds(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(DATE)?;
    let (time, offset) = match rest.strip_prefix(['T', 't', ' ']) {
        None if rest.is_empty() => ("00:00:00", 0),
        None => return None,
        Some(time) => {
            match time.find(['Z', 'z', '+', '-']).and_then(|at| time.split_at_checked(at)) {
                None => (time, 0),
                Some((time, "Z" | "z")) => (time, 0),
                Some((time, offset)) => (time, self::offset(offset)?),
            }
        }
    };
    let whole = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    // the parser begins in 1970, companies don't
    let year: u32 = day
        .get(..4)
        .filter(|year| year.bytes().all(|digit| digit.is_ascii_digit()))?
        .parse()
        .ok()?;
    let (year, later) = if year < 1970 { (year.checked_add(2000)?, LATER) } else { (year, 0) };
    let parsed = humantime::parse_rfc3339(&format!("{year:04}{}T{whole}Z", day.get(4..)?)).ok()?;
    let since = i64::try_from(parsed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()?;
    since.checked_sub(later)?.checked_sub(offset)
}

/// Seconds that an offset is ahead of UTC: `+08:00`, `-0330`, `+08`.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let number = |text: &str, most: i64| {
        let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number <= most)
    };
    number(hours, 23)?
        .checked_mul(3_600)?
        .checked_add(number(minutes, 59)?.checked_mul(60)?)?
        .checked_mul(sign)
}

/// One of the words of a codelist.
fn one_of<T: Copy>(
    json: &Json,
    at: &Path<'_>,
    problems: &mut Problems,
    list: &[(&str, T)],
) -> Option<T> {
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

fn is_null(json: &Json) -> bool {
    matches!(json, Json::Null)
}

/// A member, where something is said: null is nothing.
fn said<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    json.get(name).filter(|value| !is_null(value))
}

/// Reads a member that may be left out.
fn member<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    read(said(json, name)?, &Path::Member(at, name), problems)
}

/// Reads a member that must be there.
fn required<T>(
    json: &Json,
    at: &Path<'_>,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&Json, &Path<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    if said(json, name).is_none() {
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
    match said(json, name) {
        None => Vec::new(),
        Some(Json::List(items)) => items
            .iter()
            .enumerate()
            .filter_map(|(i, item)| read(item, &Path::Element(&at, i), problems))
            .collect(),
        Some(other) => {
            wrong_type(&at, "a list", other, problems);
            Vec::new()
        }
    }
}
