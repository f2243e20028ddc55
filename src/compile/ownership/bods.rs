//! Beneficial Ownership Data Standard (BODS) 0.3 and 0.4, read into entities and holdings.
//!
//! The standard (<https://standard.openownership.org>) is a stream of *statements* by which
//! publishers describe entities, persons and the relationships between them over time. Our reading
//! of it:
//!
//! - Of several statements on one record the latest counts: by date of statement, then date of
//!   publication, then order. A closed record doesn't count. A 0.3 statement replaces the
//!   statements in its `replacesStatements`.
//! - `shareholding`, `votingRights` and the like repeat one stake: the largest counts. Where the
//!   largest exceed the whole of a company (shares without votes), each kind that fits by itself is
//!   an [`Interpretation`](super::Interpretation).
//! - Interests of any other type are control, not ownership, and carry no share (OFAC FAQ 398).
//! - The minimum of a range is known, the rest is unknown. An excluded minimum counts one basis
//!   point more. Shares are rounded down to whole basis points; the rounded-off part is unknown
//!   too.
//! - Indirect interests sum up chains, whether those are on file or not. The graph compares them
//!   with the chains ([`DeclaredInterest`](super::DeclaredInterest)).
//! - Interests count from their `startDate` to their `endDate`.
//! - The share of an unspecified, unknown or anonymous party is unknown.
//! - A country's code decides. Without a code, its name is looked up; a name that isn't found is an
//!   unknown place. The codes `XX` and `ZZ` count as absent; other codes that aren't in use are
//!   errors.
//! - Null counts as left out.
//!
//! Further fields are ignored.

mod dates;
mod extract;
mod members;
mod places;
mod shares;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

pub use self::extract::BodsExtract;
use self::extract::CurrentRelationship;
use self::members::is_null;
pub use self::statement::StatementOrigin;
use self::statement::{InterestedParty, Statement, StatementBody};
use crate::shape::{Json, Path, Problems, Word as _, wrong_type};
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

/// The statements of any number of files.
#[derive(Debug, Default)]
pub struct BodsStatements {
    all: Vec<Statement>,
    files: usize,
}

impl BodsStatements {
    /// Adds a file. Notes every mistake; statements without mistakes are kept.
    pub fn read(&mut self, json: &Json, problems: &mut Problems) {
        let file = self.files;
        self.files = file.saturating_add(1);
        let Json::List(statements) = json else {
            wrong_type(&Path::Root, "a list of statements", json, problems);
            return;
        };
        for (i, statement) in statements.iter().enumerate().filter(|(_, it)| !is_null(it)) {
            let at = Path::Element(&Path::Root, i);
            self.all.extend(Statement::read(statement, &at, (file, None), problems));
        }
    }

    /// Adds a statement on a line of its own to the file that [`BodsStatements::read`] read last.
    pub fn read_line(&mut self, json: &Json, line: usize, problems: &mut Problems) {
        let file = self.files.saturating_sub(1);
        self.all.extend(Statement::read(json, &Path::Root, (file, Some(line)), problems));
    }

    /// What all statements together say at a time.
    pub fn as_of(&self, now: UnixSeconds) -> BodsExtract {
        let (latest, successors) = self.latest();
        let mut extract = BodsExtract::default();
        let mut gone = BTreeSet::new();
        let mut subjects: BTreeMap<&str, Vec<CurrentRelationship<'_>>> = BTreeMap::new();
        for Statement { origin, record, closed, body, .. } in latest {
            match body {
                StatementBody::Party(_) if *closed => {
                    gone.insert(record.as_str());
                }
                StatementBody::Party(entity) => {
                    let nowhere = entity.nowhere.iter().cloned();
                    extract.nowhere.extend(nowhere.map(|place| (place, origin.clone())));
                    extract.entities.push((entity.clone(), origin.clone()));
                }
                StatementBody::Relationship { subject: Some(subject), interested, interests }
                    if !closed =>
                {
                    let owner = match interested {
                        InterestedParty::Named(id) => Some(in_force(&successors, id.as_str())),
                        InterestedParty::Unnamed => None,
                        InterestedParty::Nobody => continue,
                    };
                    let held = subjects.entry(in_force(&successors, subject.as_str())).or_default();
                    let interests = interests.iter().filter(|it| it.is_current(now)).collect();
                    held.push(CurrentRelationship { owner, interests, origin });
                }
                StatementBody::Relationship { .. } => {}
            }
        }
        // a closed record has no shares any more; shares that its party held have an unknown holder
        subjects.retain(|subject, _| !gone.contains(subject));
        for (subject, mut held) in subjects {
            for held in &mut held {
                held.owner = held.owner.filter(|owner| !gone.contains(owner));
            }
            let Ok(of) = Text::parse(subject) else { continue };
            extract.add_relationships(&of, &held);
        }
        extract
    }

    /// The latest statement on each record in the order read, and the successor of each replaced
    /// one.
    fn latest(&self) -> (Vec<&Statement>, BTreeMap<&str, &str>) {
        let mut successors = BTreeMap::new();
        let mut latest: BTreeMap<&str, (usize, &Statement)> = BTreeMap::new();
        for (i, statement) in self.all.iter().enumerate() {
            let record = statement.record.as_str();
            successors.extend(statement.replaces.iter().map(|old| (old.as_str(), record)));
            let known = latest.entry(record).or_insert((i, statement));
            if statement.dates >= known.1.dates {
                *known = (i, statement);
            }
        }
        latest.retain(|record, _| !successors.contains_key(record));
        let mut latest: Vec<_> = latest.into_values().collect();
        latest.sort_unstable_by_key(|(i, _)| *i);
        (latest.into_iter().map(|(_, statement)| statement).collect(), successors)
    }
}

/// The last successor of a statement. Statements that replace each other in a ring end at any of
/// them.
fn in_force<'a>(successors: &BTreeMap<&'a str, &'a str>, id: &'a str) -> &'a str {
    let chain = std::iter::successors(Some(id), |id| successors.get(id).copied());
    chain.take(successors.len().saturating_add(1)).last().unwrap_or(id)
}
