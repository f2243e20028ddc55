//! The result of all statements as of a day: entities, holdings and declared interests.

use std::collections::{BTreeMap, BTreeSet};

use super::statement::{Interest, InterestType, StatementOrigin};
use crate::compile::ownership::{DeclaredInterest, Entity, Holding, Interpretation, Share, WHOLE};
use crate::shape::Word as _;
use crate::terms::names::Text;

/// The result of all statements as of a day, each part with the statement that it is from.
#[derive(Debug, Clone, Default)]
pub struct BodsExtract {
    /// Companies, persons and states
    pub entities: Vec<(Entity, StatementOrigin)>,
    /// Direct holdings
    pub holdings: Vec<(Holding, StatementOrigin)>,
    /// Interests held through others, or by unnamed holders
    pub indirect: Vec<(DeclaredInterest, StatementOrigin)>,
    /// Companies whose kinds of interest can't all hold at once: the shares by each kind
    pub interpretations: Vec<Interpretation>,
    /// Names of places that aren't known, as the file writes them
    pub nowhere: Vec<(String, StatementOrigin)>,
}

/// The interests of one relationship that are current.
pub(super) struct CurrentRelationship<'a> {
    /// `None` where the owner isn't named
    pub(super) owner: Option<&'a str>,
    pub(super) interests: Vec<&'a Interest>,
    pub(super) origin: &'a StatementOrigin,
}

/// One owner's interests in a company, direct or indirect: the known and the largest possible share
/// of each type.
struct InterestSums<'a> {
    owner: Option<&'a str>,
    origin: &'a StatementOrigin,
    kinds: BTreeMap<InterestType, (u32, u32)>,
}

impl InterestSums<'_> {
    /// The known and the largest possible share. The types repeat one stake, so the largest counts.
    fn largest(&self) -> (u32, u32) {
        let of = |which: fn(&(u32, u32)) -> u32| self.kinds.values().map(which).max().unwrap_or(0);
        (of(|(least, _)| *least), of(|(_, most)| *most))
    }

    fn is_open(&self) -> bool {
        self.kinds.values().any(|(least, most)| most > least)
    }
}

/// Adds up the direct or the indirect interests of each owner, owners in the order read.
fn sums<'a>(held: &[CurrentRelationship<'a>], indirect: bool) -> Vec<InterestSums<'a>> {
    let mut owners: Vec<InterestSums<'a>> = Vec::new();
    let mut places: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for CurrentRelationship { owner, interests, origin } in held {
        for interest in interests.iter().filter(|interest| interest.indirect == indirect) {
            let Some(kind) = interest.kind else { continue };
            let at = *places.entry(*owner).or_insert(owners.len());
            if at == owners.len() {
                owners.push(InterestSums { owner: *owner, origin, kinds: BTreeMap::new() });
            }
            if let Some(sums) = owners.get_mut(at) {
                let (least, most) = sums.kinds.entry(kind).or_default();
                *least = least.saturating_add(interest.least);
                *most = most.saturating_add(interest.most);
            }
        }
    }
    owners
}

fn total(shares: impl Iterator<Item = u32>) -> u32 {
    shares.fold(0, u32::saturating_add)
}

impl BodsExtract {
    /// Adds the relationships of one company.
    pub(super) fn add_relationships(&mut self, of: &Text, held: &[CurrentRelationship<'_>]) {
        let direct = sums(held, false);
        for sums in &direct {
            let (known, most) = sums.largest();
            let Some(Ok(owner)) = sums.owner.map(Text::parse) else {
                self.declare(of, sums, (known, most), true);
                continue;
            };
            let mut hold = |share| {
                let (owner, of) = (owner.clone(), of.clone());
                let holding = Holding { owner, of, basis_points: Share(share) };
                self.holdings.push((holding, sums.origin.clone()));
            };
            // a share above the whole goes in pieces: each is valid, and the graph sees their sum
            let mut rest = known;
            while rest > 0 {
                hold(Some(rest.min(WHOLE).into()));
                rest = rest.saturating_sub(WHOLE);
            }
            if sums.is_open() || known == 0 {
                hold(None);
            }
        }
        if total(direct.iter().map(|sums| sums.largest().0)) > WHOLE {
            let kinds: BTreeSet<InterestType> =
                direct.iter().flat_map(|sums| sums.kinds.keys().copied()).collect();
            for kind in kinds {
                let of_kind = |sums: &InterestSums<'_>| sums.kinds.get(&kind).map(|sum| sum.0);
                if total(direct.iter().filter_map(of_kind)) <= WHOLE {
                    let shares = direct.iter().filter_map(|sums| {
                        let share = of_kind(sums).filter(|share| *share > 0)?;
                        Some((Text::parse(sums.owner?).ok()?, share))
                    });
                    let shares = shares.collect();
                    self.interpretations.push(Interpretation { of: of.clone(), shares });
                }
            }
        }
        for sums in sums(held, true) {
            let (least, most) = sums.largest();
            self.declare(of, &sums, (least.min(WHOLE), most.min(WHOLE)), false);
        }
    }

    fn declare(&mut self, of: &Text, sums: &InterestSums<'_>, share: (u32, u32), direct: bool) {
        let (least, most) = share;
        let owner = sums.owner.and_then(|owner| Text::parse(owner).ok());
        let interest = DeclaredInterest { owner, of: of.clone(), least, most, direct };
        self.indirect.push((interest, sums.origin.clone()));
    }
}
