//! The graph of entities and the shares that they hold of each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entity::{Declarations, DeclaredInterest, Entity, Holding, WHOLE};
use super::share::Percentage;
use crate::shape::{Mismatch, nearest};
use crate::terms::names::Text;

/// Entities and holdings that fit together.
#[derive(Debug)]
pub struct Graph {
    entities: Vec<Entity>,
    by_id: HashMap<String, usize>,
    // INVARIANT (indices): `owners`, `owned` and `known` have one element an entity. Indices in
    // them are indices of `entities`
    /// Each entity's owners, in the order of the file, each once
    owners: Vec<Vec<Stake>>,
    /// The entities of which each one owns a known share
    owned: Vec<Vec<(usize, u32)>>,
    /// The known shares of each entity's owners, in basis points. INVARIANT (sum): at most `WHOLE`
    known: Vec<u32>,
    /// Entities of which files say more than `owners` holds
    pub(super) supplements: BTreeMap<usize, Supplement>,
}

/// What files say of an entity beyond its owners' stakes.
#[derive(Debug, Default)]
pub(super) struct Supplement {
    /// The sum of its stakes in basis points, where that is more than the whole
    pub(super) over: Option<u64>,
    /// Interests held through others
    pub(super) indirect: Vec<IndirectStake>,
    /// Direct interests of unnamed holders
    pub(super) unnamed_direct: AnonymousStake,
    /// Interests that unnamed holders have through others
    pub(super) unnamed_indirect: AnonymousStake,
    /// Readings by a single kind of interest: owners with their shares in basis points
    pub(super) interpretations: Vec<Vec<(usize, u32)>>,
}

/// An owner's declared interest through others, in basis points.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndirectStake {
    pub(super) owner: usize,
    pub(super) least: u32,
    pub(super) most: u32,
}

/// The interests of all unnamed holders together, in basis points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AnonymousStake {
    /// Whether there is one
    pub(super) exists: bool,
    pub(super) least: u32,
    pub(super) most: u32,
}

impl AnonymousStake {
    fn add(&mut self, least: u32, most: u32) {
        self.exists = true;
        self.least = self.least.saturating_add(least).min(WHOLE);
        self.most = self.most.saturating_add(most).min(WHOLE);
    }
}

/// What one owner holds of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stake {
    pub(super) owner: usize,
    /// The known part, in basis points
    pub(super) basis_points: u32,
    /// How much more the owner may hold, in basis points; 0 where the share is known
    pub(super) room: u32,
}

impl Stake {
    /// Whether the owner may hold more than is known.
    pub(super) fn is_open(&self) -> bool {
        self.room > 0
    }
}

/// An entity of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityIndex(pub(super) usize);

/// A misfit of entities and holdings. `entity` and `holding` count from 0 in the lists given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two entities have one id
    #[error("duplicate entity `{id}`")]
    DuplicateEntity {
        /// The second
        entity: usize,
        /// The first
        first: usize,
        /// Their id
        id: Text,
    },
    /// A holding names an entity that the register doesn't have
    #[error("unknown entity `{id}`")]
    UnknownEntity {
        /// The holding
        holding: usize,
        /// The end of it that names the entity
        end: HoldingEnd,
        /// The unknown id
        id: Text,
        /// A known id that is nearly the same
        near: Option<String>,
    },
    /// A share isn't from 0 to 10,000 basis points
    #[error("invalid share of `{of}`: expected 0 to {WHOLE} basis points, found {basis_points}")]
    BadShare {
        /// The holding
        holding: usize,
        /// The company that it is a share of
        of: Text,
        /// The share as written
        basis_points: i64,
    },
    /// Shares of one entity come to more than the whole
    #[error(
        "shares of `{id}` add up to {}, expected at most 100 %",
        Percentage(u32::try_from(*basis_points).unwrap_or(u32::MAX))
    )]
    SumOver100 {
        /// The entity
        entity: usize,
        /// Its id
        id: Text,
        /// The sum of the shares
        basis_points: u64,
        /// The holdings
        holdings: Vec<usize>,
    },
}

/// An end of a holding, named as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldingEnd {
    /// The holder
    Owner,
    /// The company
    Of,
}

impl Graph {
    /// Puts entities and holdings together.
    ///
    /// # Errors
    /// All misfits: duplicate ids first, then unknown ones, bad shares and sums over the whole.
    pub fn new(entities: Vec<Entity>, holdings: &[Holding]) -> Result<Self, Vec<GraphError>> {
        let declarations = Declarations { after: holdings.len(), ..Declarations::default() };
        Self::with(entities, holdings, &declarations)
    }

    /// The same with declarations from BODS. An error counts their interests after all `holdings`.
    ///
    /// # Errors
    /// As for [`Graph::new`].
    pub fn with(
        entities: Vec<Entity>,
        holdings: &[Holding],
        declarations: &Declarations,
    ) -> Result<Self, Vec<GraphError>> {
        let mut errors = Vec::new();
        let mut draft = GraphDraft {
            by_id: HashMap::with_capacity(entities.len()),
            owners: vec![Vec::new(); entities.len()],
            sums: vec![StakeSum::default(); entities.len()],
            unknown: Vec::new(),
            bad: Vec::new(),
        };
        for (entity, Entity { id, .. }) in entities.iter().enumerate() {
            let first = *draft.by_id.entry(id.to_string()).or_insert(entity);
            if first != entity {
                errors.push(GraphError::DuplicateEntity { entity, first, id: id.clone() });
            }
        }
        for (number, holding) in holdings.iter().enumerate() {
            draft.add_holding(number, holding, number < declarations.after);
        }
        let mut supplements = draft.add_declarations(declarations, holdings.len());
        let GraphDraft { by_id, mut owners, sums, mut unknown, mut bad } = draft;
        // a graph may have 100,000 ids, and only the first few mistakes are read
        for error in unknown.iter_mut().take(10) {
            if let GraphError::UnknownEntity { id, near, .. } = error {
                *near = nearest_id(&entities, id.as_str());
            }
        }
        errors.append(&mut unknown);
        errors.append(&mut bad);
        for (entity, sum) in sums.iter().enumerate().filter(|(_, sum)| sum.all > WHOLE.into()) {
            if sum.is_contradiction_of_others() {
                supplements.entry(entity).or_default().over = Some(sum.all);
            } else if let Some(Entity { id, .. }) = entities.get(entity) {
                let (id, holdings) = (id.clone(), sum.holdings.clone());
                errors.push(GraphError::SumOver100 { entity, id, basis_points: sum.all, holdings });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut owned = vec![Vec::new(); entities.len()];
        for (of, stakes) in owners.iter_mut().enumerate() {
            merge_by_owner(stakes);
            for stake in stakes.iter().filter(|stake| stake.basis_points > 0) {
                if let Some(owned) = owned.get_mut(stake.owner) {
                    owned.push((of, stake.basis_points));
                }
            }
        }
        let known = sums.iter().map(|sum| u32::try_from(sum.all).unwrap_or(WHOLE).min(WHOLE));
        Ok(Self { known: known.collect(), entities, by_id, owners, owned, supplements })
    }

    /// The entity of that id.
    ///
    /// # Errors
    /// There is none; the help names an id that is nearly the same.
    pub fn find(&self, id: &str) -> Result<EntityIndex, Mismatch> {
        self.get(id).ok_or_else(|| Mismatch {
            message: format!("unknown entity `{id}`"),
            help: nearest_id(&self.entities, id).map(|near| did_you_mean(&near)),
        })
    }

    /// The entity of that id, if there is one.
    pub fn get(&self, id: &str) -> Option<EntityIndex> {
        self.by_id.get(id).copied().map(EntityIndex)
    }

    /// How many holdings there are, those of one owner in one company taken together.
    pub fn holdings(&self) -> usize {
        self.owners.iter().map(Vec::len).sum()
    }

    /// The entities whose shares come to more than the whole, each with the sum in basis points.
    pub fn over(&self) -> impl Iterator<Item = (EntityIndex, u64)> {
        self.supplements.iter().filter_map(|(i, more)| Some((EntityIndex(*i), more.over?)))
    }

    /// The entity of an index.
    pub fn entity(&self, index: EntityIndex) -> Option<&Entity> {
        self.entities.get(index.0)
    }

    /// All entities, in the order given.
    pub fn entities(&self) -> impl Iterator<Item = (EntityIndex, &Entity)> {
        self.entities.iter().enumerate().map(|(i, entity)| (EntityIndex(i), entity))
    }

    /// How many entities there are.
    pub(super) fn len(&self) -> usize {
        self.entities.len()
    }

    /// Who holds an entity.
    pub(super) fn owners(&self, entity: usize) -> &[Stake] {
        self.owners.get(entity).map(Vec::as_slice).unwrap_or_default()
    }

    /// The entities of which `owner` holds a known share, each with that share in basis points.
    pub(super) fn owned(&self, owner: usize) -> &[(usize, u32)] {
        self.owned.get(owner).map(Vec::as_slice).unwrap_or_default()
    }

    /// The known shares of an entity's owners together, in basis points.
    pub(super) fn known(&self, entity: usize) -> u32 {
        self.known.get(entity).copied().unwrap_or(0)
    }

    /// The share of an entity without a known holder, in basis points.
    pub(super) fn rest(&self, entity: usize) -> u32 {
        WHOLE.saturating_sub(self.known(entity))
    }
}

/// A graph while holdings and declarations are added.
struct GraphDraft {
    by_id: HashMap<String, usize>,
    owners: Vec<Vec<Stake>>,
    sums: Vec<StakeSum>,
    unknown: Vec<GraphError>,
    bad: Vec<GraphError>,
}

/// The sum of the stakes in one entity, in basis points.
#[derive(Clone, Default)]
struct StakeSum {
    all: u64,
    /// The part from files that people keep by hand
    by_hand: u64,
    /// The holdings, by number
    holdings: Vec<usize>,
}

impl StakeSum {
    /// Whether BODS statements exceed the whole by themselves. Nobody can correct those, so they
    /// compile; a file kept by hand must be corrected, also where it doesn't fit beside statements.
    fn is_contradiction_of_others(&self) -> bool {
        let (whole, others) = (u64::from(WHOLE), self.all.saturating_sub(self.by_hand));
        self.by_hand <= whole && (self.by_hand == 0 || others > whole)
    }
}

impl GraphDraft {
    fn find(&mut self, holding: usize, end: HoldingEnd, id: &Text) -> Option<usize> {
        let found = self.by_id.get(id.as_str()).copied();
        if found.is_none() {
            let id = id.clone();
            self.unknown.push(GraphError::UnknownEntity { holding, end, id, near: None });
        }
        found
    }

    fn add_holding(&mut self, number: usize, holding: &Holding, by_hand: bool) {
        let owner = self.find(number, HoldingEnd::Owner, &holding.owner);
        let of = self.find(number, HoldingEnd::Of, &holding.of);
        let written = holding.basis_points.0;
        let share = written.and_then(|share| u32::try_from(share).ok()).filter(|it| *it <= WHOLE);
        if let (Some(basis_points), None) = (written, share) {
            let of = holding.of.clone();
            self.bad.push(GraphError::BadShare { holding: number, of, basis_points });
            return;
        }
        let (Some(owner), Some(of)) = (owner, of) else { return };
        let (basis_points, room) = share.map_or((0, WHOLE), |share| (share, 0));
        self.push(of, Stake { owner, basis_points, room });
        if let Some(sum) = self.sums.get_mut(of) {
            sum.holdings.push(number);
            if by_hand {
                sum.by_hand = sum.by_hand.saturating_add(basis_points.into());
            }
        }
    }

    fn push(&mut self, of: usize, stake: Stake) {
        if let (Some(owners), Some(sum)) = (self.owners.get_mut(of), self.sums.get_mut(of)) {
            owners.push(stake);
            sum.all = sum.all.saturating_add(stake.basis_points.into());
        }
    }

    /// Adds declared interests. Of a company without direct holders the indirect interests are all
    /// that is on file, and count as stakes.
    fn add_declarations(
        &mut self,
        declarations: &Declarations,
        before: usize,
    ) -> BTreeMap<usize, Supplement> {
        let mut supplements: BTreeMap<usize, Supplement> = BTreeMap::new();
        let unnamed_direct = declarations.indirect.iter().filter(|interest| interest.direct);
        let unnamed_direct: BTreeSet<&str> =
            unnamed_direct.map(|interest| interest.of.as_str()).collect();
        let mut stakes = Vec::new();
        // by company and owner: several interests of one owner add up
        let mut indirect: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
        for (i, interest) in declarations.indirect.iter().enumerate() {
            let number = before.saturating_add(i);
            let DeclaredInterest { owner, of: company, least, most, direct } = interest;
            let owner = owner.as_ref().map(|id| self.find(number, HoldingEnd::Owner, id));
            let of = self.find(number, HoldingEnd::Of, company);
            let (Some(of), false) = (of, owner == Some(None)) else { continue };
            let has_direct_holder = unnamed_direct.contains(company.as_str())
                || self.owners.get(of).is_some_and(|owners| !owners.is_empty());
            match owner.flatten() {
                Some(owner) if has_direct_holder => {
                    let (sum_least, sum_most) = indirect.entry((of, owner)).or_default();
                    *sum_least = sum_least.saturating_add(*least).min(WHOLE);
                    *sum_most = sum_most.saturating_add(*most).min(WHOLE);
                }
                Some(owner) => {
                    let room = most.saturating_sub(*least);
                    stakes.push((of, Stake { owner, basis_points: *least, room }));
                }
                None => {
                    let supplement = supplements.entry(of).or_default();
                    let unnamed = if *direct {
                        &mut supplement.unnamed_direct
                    } else {
                        &mut supplement.unnamed_indirect
                    };
                    unnamed.add(*least, *most);
                }
            }
        }
        for ((of, owner), (least, most)) in indirect {
            let stake = IndirectStake { owner, least, most };
            supplements.entry(of).or_default().indirect.push(stake);
        }
        // only now, because a company's first stake would count as its direct holder above
        stakes.into_iter().for_each(|(of, stake)| self.push(of, stake));
        for interpretation in &declarations.interpretations {
            let shares = interpretation.shares.iter();
            let shares = shares
                .filter_map(|(owner, share)| Some((*self.by_id.get(owner.as_str())?, *share)))
                .collect();
            if let Some(of) = self.by_id.get(interpretation.of.as_str()) {
                supplements.entry(*of).or_default().interpretations.push(shares);
            }
        }
        supplements
    }
}

/// Makes several holdings of one owner one stake. No stake is larger than the whole; a larger sum
/// is in [`Supplement::over`].
fn merge_by_owner(stakes: &mut Vec<Stake>) {
    if stakes.len() > 1 {
        let mut place: HashMap<usize, usize> = HashMap::with_capacity(stakes.len());
        let mut merged: Vec<Stake> = Vec::with_capacity(stakes.len());
        for stake in stakes.iter() {
            match place.get(&stake.owner).and_then(|i| merged.get_mut(*i)) {
                Some(sum) => {
                    sum.basis_points = sum.basis_points.saturating_add(stake.basis_points);
                    sum.room = sum.room.saturating_add(stake.room).min(WHOLE);
                }
                None => {
                    place.insert(stake.owner, merged.len());
                    merged.push(*stake);
                }
            }
        }
        *stakes = merged;
    }
    stakes.iter_mut().for_each(|stake| stake.basis_points = stake.basis_points.min(WHOLE));
}

fn nearest_id(entities: &[Entity], id: &str) -> Option<String> {
    let ids: Vec<&str> = entities.iter().map(|entity| entity.id.as_str()).collect();
    nearest(id, &ids).map(str::to_owned)
}

fn did_you_mean(near: &str) -> String {
    format!("did you mean `{near}`?")
}

impl GraphError {
    /// Its name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DuplicateEntity { .. } => "duplicate_entity",
            Self::UnknownEntity { .. } => "unknown_entity",
            Self::BadShare { .. } => "bad_share",
            Self::SumOver100 { .. } => "sum_over_100",
        }
    }

    /// The entity that it concerns.
    pub fn entity(&self) -> &str {
        match self {
            Self::DuplicateEntity { id, .. }
            | Self::UnknownEntity { id, .. }
            | Self::SumOver100 { id, .. } => id.as_str(),
            Self::BadShare { of, .. } => of.as_str(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::DuplicateEntity { .. } => "keep one of the two",
            Self::UnknownEntity { near: Some(near), .. } => return Some(did_you_mean(near)),
            Self::UnknownEntity { near: None, .. } => "add the entity; its id is enough",
            Self::BadShare { .. } => "62.5 % is 6250; leave an unknown share out",
            Self::SumOver100 { .. } => {
                "list direct holdings only; several holdings of one owner add up"
            }
        };
        Some(help.to_owned())
    }
}
