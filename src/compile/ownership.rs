//! Who owns whom, and whether a restricted region stands behind it.
//!
//! [`Graph::new`] reads entities and holdings into indices, [`Graph::screen`] judges every entity at once,
//! [`Screening::chains`] shows for one of them where the share comes from. `docs/ownership.md` has the rules
//! for the compliance officer; in short:
//!
//! - An entity is *itself restricted* if any place of it is, whoever owns it.
//! - **Cascade** (OFAC FAQ 401): who is owned beyond the threshold by those who count as restricted counts as
//!   restricted whole. The least such set: a ring of companies doesn't restrict itself.
//! - **Multiplication**: shares are multiplied along each chain and added up over chains; a ring is a geometric
//!   series. Seen as a walk from the company to one of its owners, drawn by share, and on from there, it is the
//!   chance to end at somebody restricted.
//! - **What isn't known** counts as not restricted for the plain values and as restricted for the worst ones.
//!   Where only the worst ones are beyond the threshold, the entity is unresolved.
//!
//! - **What is held through others** may be declared beside the chains that are on file. Chain and declaration describe
//!   one holding: what of a declaration no chain explains counts beside the direct shares.
//! - **What can't be reconciled** (more than the whole of a company) may be held by any of its holders in the worst case.
//!
//! Everything is iterative and, but for rings and declarations, linear in the number of holdings.

mod cascade;
mod chains;
mod rings;
mod through;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use self::cascade::Cascade;
pub use self::chains::{OwnershipChain, OwnershipChains};
use self::rings::{RingMember, Walk};
use self::through::SpecialCase;
use super::settings::{Comparison, Method, OwnershipSettings};
use crate::names::Text;
use crate::region::Place;
use crate::register::Ownership;
use crate::shape::{
    Json, Members, Mismatch, Path, Problems, Shape, Whole, Word as _, nearest, object,
    object_schema, words, wrong_type,
};

words! {
    /// What an entity is, which says whether it must have owners on file.
    pub enum EntityType {
        /// A company or anything else that somebody owns
        Company = "company",
        /// A natural person
        Person = "person",
        /// A state, or a body of one
        State = "state",
        /// A company with many small owners, such as a listed one: what isn't on file is held by nobody in particular
        WidelyHeld = "widely-held",
    }
}

/// A company, person or state that owns or is owned.
#[derive(Debug, Clone)]
pub struct Entity {
    /// What holdings and customers call it
    pub id: Text,
    /// Where it is incorporated; a person's nationality
    pub jurisdiction: Option<Place>,
    /// Where it is run from; a person's residence
    pub headquarters: Option<Place>,
    /// More places that count like these: a person's further nationalities and residences. From BODS only
    pub others: Vec<Place>,
    /// Places that nobody knows, as they are written. From BODS only
    pub nowhere: Vec<String>,
    /// What it is. Where nobody says so it is a company when it is screened itself, and among the owners of
    /// others it is what its place says, with owners or without
    pub kind: Option<EntityType>,
    /// What people call it
    pub name: Option<Text>,
}

object! {
    /// A share that one entity holds in another. Several holdings of one owner add up.
    pub struct Holding {
        /// The entity that holds it
        owner: Text,
        /// The entity that it is a share of
        of: Text,
        /// How large it is, in basis points (5,000 is one half); null or left out where that isn't known
        basis_points: Share = Share(None),
    }
}

/// A share in basis points as written, or that it isn't known. [`Graph::new`] holds it against 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub Option<i64>);

/// What somebody is said to hold of a company beside the holdings: through others, or without being named. From BODS only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredInterest {
    /// Who holds it; `None` for somebody whom nobody names
    pub owner: Option<Text>,
    /// What it is a share of
    pub of: Text,
    /// What is known of it, in basis points
    pub least: u32,
    /// What it may be, in basis points
    pub most: u32,
    /// Whether it is held directly after all, by somebody whom nobody names
    pub direct: bool,
}

/// One way to read who holds a company whose kinds of interest come to more than the whole together: one kind by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpretation {
    /// The company
    pub of: Text,
    /// Its holders with their shares in basis points, together at most the whole
    pub shares: Vec<(Text, u32)>,
}

/// What statements of others say, who may contradict themselves.
#[derive(Debug, Clone, Default)]
pub struct Declarations {
    /// How many holdings stand before theirs. These must fit together, theirs needn't
    pub after: usize,
    /// What is held through others, or by nobody knows whom
    pub indirect: Vec<DeclaredInterest>,
    /// Kinds of interest that can't all hold at once
    pub interpretations: Vec<Interpretation>,
}

/// The whole of a company, in basis points.
pub(super) const WHOLE: u32 = 10_000;

/// Entities and holdings that fit together.
#[derive(Debug)]
pub struct Graph {
    entities: Vec<Entity>,
    by_id: HashMap<String, usize>,
    // INVARIANT (indices): one element an entity in all three; every value in them is an index into `entities`
    /// Each entity's owners, in the order of the file, each once
    owners: Vec<Vec<Stake>>,
    /// The entities that it owns a known share of
    owned: Vec<Vec<(usize, u32)>>,
    /// What its owners are known to hold of it, in basis points. INVARIANT (sum): at most `WHOLE`
    known: Vec<u32>,
    /// What is said of some entities beside that
    supplements: BTreeMap<usize, Supplement>,
}

/// What is said of an entity beside its owners' stakes.
#[derive(Debug, Default)]
struct Supplement {
    /// What the stakes come to where that is more than the whole, in basis points
    over: Option<u64>,
    /// Who holds through others
    indirect: Vec<IndirectStake>,
    /// What somebody holds whom nobody names, in basis points: directly, and through others
    unnamed: [AnonymousStake; 2],
    interpretations: Vec<Vec<(usize, u32)>>,
}

/// What one owner is said to hold through others, in basis points.
#[derive(Debug, Clone, Copy)]
struct IndirectStake {
    owner: usize,
    least: u32,
    most: u32,
}

/// What those hold together whom nobody names, in basis points.
#[derive(Debug, Clone, Copy, Default)]
struct AnonymousStake {
    there: bool,
    least: u32,
    most: u32,
}

/// What one owner holds of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stake {
    owner: usize,
    /// The part that is known, in basis points
    basis_points: u32,
    /// Whether it holds more than that, nobody knows how much
    more: bool,
    /// How much more that may be, in basis points
    room: u32,
}

/// An entity of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityIndex(usize);

/// Why entities and holdings don't fit together. `entity` and `holding` count from 0 in the lists given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphError {
    /// Two entities have one id
    DuplicateEntity {
        /// The second
        entity: usize,
        /// The first
        first: usize,
        /// Their id
        id: Text,
    },
    /// A holding names an entity that isn't there
    UnknownEntity {
        /// The holding
        holding: usize,
        /// Which end of it
        end: HoldingEnd,
        /// What stands there
        id: Text,
        /// What was probably meant
        near: Option<String>,
    },
    /// A share isn't from 0 to 10,000 basis points
    BadShare {
        /// The holding
        holding: usize,
        /// What it is a share of
        of: Text,
        /// What stands there
        basis_points: i64,
    },
    /// Shares of one entity come to more than the whole
    SumOver100 {
        /// The entity
        entity: usize,
        /// Its id
        id: Text,
        /// What they come to
        basis_points: u64,
        /// The holdings
        holdings: Vec<usize>,
    },
}

/// An end of a holding, named as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldingEnd {
    /// Who holds it
    Owner,
    /// What it is a share of
    Of,
}

/// Every entity judged under one rule.
#[derive(Debug)]
pub struct OwnershipScreening<'a> {
    graph: &'a Graph,
    settings: OwnershipSettings,
    // INVARIANT (entities): one element an entity in all
    ends: Vec<Remainder>,
    /// What is special about some entities
    special: BTreeMap<usize, SpecialCase>,
    cascade: Cascade,
    worst: Cascade,
    multiplied: Vec<Walk>,
    /// Who is in a ring that holds itself whole
    closed: BTreeSet<usize>,
}

/// What of an entity has no owner to follow to, in basis points.
#[derive(Debug, Clone, Copy, Default)]
struct Remainder {
    /// The restricted place that it is itself in; its owners no longer matter then
    restricted: Option<Place>,
    /// Held by nobody knows whom
    unknown: u32,
    /// Known to end here, not restricted
    clear: u32,
    /// Whether it may be in a place that nobody knows
    nowhere: bool,
}

/// How one entity stands.
#[derive(Debug, Clone, Copy)]
pub struct OwnershipResult {
    /// The result
    pub status: Ownership,
    /// The restricted place that it is itself in
    pub itself: Option<Place>,
    /// Whether it is a company without any owner on file
    pub ownerless: bool,
    /// What the cascade says
    pub cascade: CascadeShare,
    /// What multiplication says
    pub multiplicative: MultipliedShare,
}

/// What multiplication says of one entity.
#[derive(Debug, Clone, Copy)]
pub struct MultipliedShare {
    /// Whether the share is beyond the threshold
    pub restricted: bool,
    /// The same with all that isn't known
    pub restricted_worst: bool,
    /// The restricted share, as a part of 1
    pub share: f64,
    /// The same with all that isn't known
    pub share_worst: f64,
}

/// What the cascade says of one entity.
#[derive(Debug, Clone, Copy)]
pub struct CascadeShare {
    /// Whether it counts as restricted
    pub restricted: bool,
    /// The same with all that isn't known
    pub restricted_worst: bool,
    /// What those hold of it who count as restricted, in basis points; all of it where it is itself restricted
    pub basis_points: u32,
    /// The same with all that isn't known
    pub basis_points_worst: u32,
}

/// A holder of an entity.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// Who it is; `None` for the part whose holder isn't known
    pub entity: Option<EntityIndex>,
    /// What it is known to hold, in basis points
    pub basis_points: u32,
    /// Whether it holds more than that, nobody knows how much
    pub more: bool,
    /// Whether it is said to hold that through others
    pub through: bool,
}

/// Chances nearer than this are equal: a ten-thousandth of a basis point, far above the rounding of sums of `f64`.
const EQUAL: f64 = 1e-8;

// === impl the documents ===

impl Shape for Entity {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let members = Members::open(json, at, problems)?;
        let id = members.required("id", problems);
        let place = |name, problems: &mut Problems| {
            members.optional(name, problems).flatten().and_then(|MaybePlace(place)| place)
        };
        let jurisdiction = place("jurisdiction", problems);
        let headquarters = place("headquarters", problems);
        let kind = members.optional("type", problems).flatten();
        let name = members.optional("name", problems).flatten();
        members.close(&["id", "jurisdiction", "headquarters", "type", "name"], problems);
        Some(Self {
            id: id?,
            jurisdiction,
            headquarters,
            others: Vec::new(),
            nowhere: Vec::new(),
            kind,
            name,
        })
    }

    fn schema() -> serde_json::Value {
        object_schema(
            &["A company, person or state that owns or is owned."],
            vec![
                ("id", Text::schema(), &["What holdings and customers call it"], true),
                (
                    "jurisdiction",
                    MaybePlace::schema(),
                    &["Where it is incorporated; a person's nationality"],
                    false,
                ),
                (
                    "headquarters",
                    MaybePlace::schema(),
                    &["Where it is run from; a person's residence"],
                    false,
                ),
                (
                    "type",
                    EntityType::schema(),
                    &[
                        "What it is; a company where left out, but as an owner without owners it is then taken by its place",
                    ],
                    false,
                ),
                ("name", Text::schema(), &["What people call it"], false),
            ],
        )
    }
}

/// A place, or null where it isn't known.
struct MaybePlace(Option<Place>);

impl Shape for MaybePlace {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Null => Some(Self(None)),
            place => Place::read(place, at, problems).map(|place| Self(Some(place))),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": ["string", "null"], "pattern": Place::PATTERN})
    }
}

impl Shape for Share {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        let number = match json {
            Json::Null => return Some(Self(None)),
            Json::Number(number) => number.as_i64(),
            other => {
                wrong_type(at, "a whole number", other, problems);
                return None;
            }
        };
        if number.is_none() {
            problems.note(
                at,
                "expected a whole number from 0 to 10000",
                Some("in basis points: 62.5 % is 6250".into()),
            );
        }
        number.map(|basis_points| Self(Some(basis_points)))
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"type": ["integer", "null"], "minimum": 0, "maximum": WHOLE})
    }
}

impl Entity {
    /// All places that it is in.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.jurisdiction.into_iter().chain(self.headquarters).chain(self.others.iter().copied())
    }
}

// === impl Graph, GraphError ===

impl Graph {
    /// Puts entities and holdings together.
    ///
    /// # Errors
    /// All reasons why they don't fit: duplicate ids first, then unknown ones, bad shares and sums over the whole.
    pub fn new(entities: Vec<Entity>, holdings: &[Holding]) -> Result<Self, Vec<GraphError>> {
        Self::with(
            entities,
            holdings,
            &Declarations { after: holdings.len(), ..Declarations::default() },
        )
    }

    /// The same with what statements of others say. An error counts their indirect holdings behind all `holdings`.
    ///
    /// # Errors
    /// As for [`Graph::new`].
    pub fn with(
        entities: Vec<Entity>,
        holdings: &[Holding],
        statements: &Declarations,
    ) -> Result<Self, Vec<GraphError>> {
        let mut errors = Vec::new();
        let mut by_id = HashMap::with_capacity(entities.len());
        for (entity, Entity { id, .. }) in entities.iter().enumerate() {
            match by_id.get(id.as_str()) {
                Some(first) => errors.push(GraphError::DuplicateEntity {
                    entity,
                    first: *first,
                    id: id.clone(),
                }),
                None => {
                    by_id.insert(id.as_str().to_owned(), entity);
                }
            }
        }
        let mut unknown = Vec::new();
        let mut bad = Vec::new();
        let mut lines: Vec<Vec<usize>> = vec![Vec::new(); entities.len()];
        let mut sums: Vec<u64> = vec![0; entities.len()];
        // of those that must fit
        let mut firm: Vec<u64> = vec![0; entities.len()];
        let mut owners: Vec<Vec<Stake>> = vec![Vec::new(); entities.len()];
        for (line, holding) in holdings.iter().enumerate() {
            let mut find = |end, id: &Text| {
                let found = by_id.get(id.as_str()).copied();
                if found.is_none() {
                    unknown.push(GraphError::UnknownEntity {
                        holding: line,
                        end,
                        id: id.clone(),
                        near: None,
                    });
                }
                found
            };
            let ends = (find(HoldingEnd::Owner, &holding.owner), find(HoldingEnd::Of, &holding.of));
            let share = match holding.basis_points.0 {
                None => None,
                Some(written) => {
                    match u32::try_from(written).ok().filter(|share| *share <= WHOLE) {
                        Some(share) => Some(share),
                        None => {
                            bad.push(GraphError::BadShare {
                                holding: line,
                                of: holding.of.clone(),
                                basis_points: written,
                            });
                            continue;
                        }
                    }
                }
            };
            let (Some(owner), Some(of)) = ends else { continue };
            if let (Some(owners), Some(lines), Some(sum)) =
                (owners.get_mut(of), lines.get_mut(of), sums.get_mut(of))
            {
                owners.push(Stake {
                    owner,
                    basis_points: share.unwrap_or(0),
                    more: share.is_none(),
                    room: if share.is_none() { WHOLE } else { 0 },
                });
                lines.push(line);
                *sum = sum.saturating_add(share.unwrap_or(0).into());
                if line < statements.after
                    && let Some(sum) = firm.get_mut(of)
                {
                    *sum = sum.saturating_add(share.unwrap_or(0).into());
                }
            }
        }
        let mut supplements =
            supplements(statements, holdings.len(), &by_id, &mut owners, &mut sums, &mut unknown);
        // a graph may have a hundred thousand ids; the help is for the first few mistakes, which somebody reads
        for error in unknown.iter_mut().take(10) {
            if let GraphError::UnknownEntity { id, near, .. } = error {
                let ids: Vec<&str> = entities.iter().map(|entity| entity.id.as_str()).collect();
                *near = nearest(id.as_str(), &ids).map(str::to_owned);
            }
        }
        errors.append(&mut unknown);
        errors.append(&mut bad);
        for ((entity, lines), (sum, firm)) in
            lines.into_iter().enumerate().zip(sums.iter().zip(&firm))
        {
            // what people keep by hand is to be put right, beside statements too; statements that don't fit by themselves can't
            let theirs = sum.saturating_sub(*firm);
            if *sum > u64::from(WHOLE)
                && *firm <= u64::from(WHOLE)
                && (*firm == 0 || theirs > u64::from(WHOLE))
            {
                supplements.entry(entity).or_default().over = Some(*sum);
            } else if *sum > u64::from(WHOLE)
                && let Some(Entity { id, .. }) = entities.get(entity)
            {
                errors.push(GraphError::SumOver100 {
                    entity,
                    id: id.clone(),
                    basis_points: *sum,
                    holdings: lines,
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut owned = vec![Vec::new(); entities.len()];
        for (of, stakes) in owners.iter_mut().enumerate() {
            add_up(stakes);
            for stake in stakes.iter().filter(|stake| stake.basis_points > 0) {
                if let Some(owned) = owned.get_mut(stake.owner) {
                    owned.push((of, stake.basis_points));
                }
            }
        }
        let known =
            sums.into_iter().map(|sum| u32::try_from(sum).unwrap_or(WHOLE).min(WHOLE)).collect();
        Ok(Self { entities, by_id, owners, owned, known, supplements })
    }

    /// The entity of that id.
    ///
    /// # Errors
    /// There is none; says which one was probably meant.
    pub fn find(&self, id: &str) -> Result<EntityIndex, Mismatch> {
        self.get(id).ok_or_else(|| {
            let ids: Vec<&str> = self.entities.iter().map(|entity| entity.id.as_str()).collect();
            Mismatch {
                message: format!("no entity `{id}` is in the register"),
                help: nearest(id, &ids).map(did_you_mean),
            }
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

    /// The entities whose shares come to more than the whole, each with what they come to in basis points.
    pub fn over(&self) -> impl Iterator<Item = (EntityIndex, u64)> {
        self.supplements
            .iter()
            .filter_map(|(i, supplements)| Some((EntityIndex(*i), supplements.over?)))
    }

    /// What is on file of it.
    pub fn entity(&self, index: EntityIndex) -> Option<&Entity> {
        self.entities.get(index.0)
    }

    /// All entities, in the order given.
    pub fn entities(&self) -> impl Iterator<Item = (EntityIndex, &Entity)> {
        self.entities.iter().enumerate().map(|(i, entity)| (EntityIndex(i), entity))
    }

    /// Judges every entity. `restricted` says which places are.
    pub fn screen(
        &self,
        settings: &OwnershipSettings,
        restricted: impl Fn(Place) -> bool,
    ) -> OwnershipScreening<'_> {
        let ends: Vec<Remainder> =
            self.entities().map(|(index, entity)| self.ends(index, entity, &restricted)).collect();
        let special = self.special(&ends);
        let cascade = self.cascade(settings, &ends, &special, false);
        let worst = self.cascade(settings, &ends, &special, true);
        let (multiplied, closed) = self.multiply(&ends, &special);
        OwnershipScreening {
            graph: self,
            settings: settings.clone(),
            ends,
            special,
            cascade,
            worst,
            multiplied,
            closed,
        }
    }

    fn owners(&self, entity: usize) -> &[Stake] {
        self.owners.get(entity).map(Vec::as_slice).unwrap_or_default()
    }

    fn ends(
        &self,
        index: EntityIndex,
        entity: &Entity,
        restricted: impl Fn(Place) -> bool,
    ) -> Remainder {
        if let Some(place) = entity.places().find(|place| restricted(*place)) {
            return Remainder { restricted: Some(place), ..Remainder::default() };
        }
        let rest = WHOLE.saturating_sub(self.known.get(index.0).copied().unwrap_or(0));
        let company = matches!(entity.kind, None | Some(EntityType::Company));
        let ownerless = self.owners(index.0).is_empty();
        // a company of which no place is said is taken by its owners; a place that is said and that nobody knows is one more
        let nowhere = !entity.nowhere.is_empty()
            || (entity.places().next().is_none() && (ownerless || !company));
        let unknown =
            if ownerless { nowhere || entity.kind == Some(EntityType::Company) } else { company };
        Remainder {
            restricted: None,
            unknown: if unknown { rest } else { 0 },
            clear: if unknown { 0 } else { rest },
            nowhere,
        }
    }

    /// Where walks end, and who is in a closed ring. Entities are taken owners first, those that own each other in rings together.
    fn multiply(
        &self,
        ends: &[Remainder],
        special: &BTreeMap<usize, SpecialCase>,
    ) -> (Vec<Walk>, BTreeSet<usize>) {
        let mut graph = DiGraph::<(), (), usize>::default();
        for _ in &self.entities {
            graph.add_node(());
        }
        for (of, end) in ends.iter().enumerate().filter(|(_, end)| end.restricted.is_none()) {
            debug_assert!(end.unknown <= WHOLE && end.clear <= WHOLE, "INVARIANT (sum)");
            for stake in self.owners(of).iter().filter(|stake| stake.basis_points > 0) {
                graph.add_edge(NodeIndex::new(of), NodeIndex::new(stake.owner), ());
            }
        }
        for (of, special) in special {
            for owner in special.holders(self.owners(*of)) {
                graph.add_edge(NodeIndex::new(*of), NodeIndex::new(owner), ());
            }
        }
        let mut walks = vec![Walk::default(); ends.len()];
        let mut ring_of = vec![usize::MAX; ends.len()];
        let mut closed = BTreeSet::new();
        let mut budget = rings::SWEEPS;
        for (number, members) in kosaraju_scc(&graph).into_iter().enumerate() {
            for member in &members {
                if let Some(ring) = ring_of.get_mut(member.index()) {
                    *ring = number;
                }
            }
            if members.iter().any(|member| special.contains_key(&member.index())) {
                let members: Vec<usize> = members.iter().map(|member| member.index()).collect();
                self.settle(&members, ends, special, &mut walks, &mut budget);
                continue;
            }
            let mut ring: Vec<RingMember> = members
                .iter()
                .map(|member| self.member(member.index(), number, ends, &ring_of, &walks))
                .collect();
            if ring.iter().all(|member| member.leaves == 0.0) {
                // nothing of it is held from outside, not even by somebody unknown: no walk ends at all
                closed.extend(ring.iter().map(|member| member.entity));
                ring.iter_mut()
                    .for_each(|member| member.walk = Walk { clear: 1.0, ..Walk::default() });
            } else {
                rings::solve(&mut ring, &mut budget);
            }
            for member in ring {
                if let Some(walk) = walks.get_mut(member.entity) {
                    *walk = member.walk;
                }
            }
        }
        (walks, closed)
    }

    /// One entity of a ring, with what is known of it from outside the ring.
    fn member(
        &self,
        entity: usize,
        ring: usize,
        ends: &[Remainder],
        ring_of: &[usize],
        walks: &[Walk],
    ) -> RingMember {
        let end = ends.get(entity).copied().unwrap_or_default();
        if end.restricted.is_some() {
            let walk = Walk { restricted: 1.0, ..Walk::default() };
            return RingMember { entity, base: walk, within: Vec::new(), leaves: 1.0, walk };
        }
        let mut base = Walk { restricted: 0.0, unknown: part(end.unknown), clear: part(end.clear) };
        let mut within = Vec::new();
        let mut inside: u32 = 0;
        for stake in self.owners(entity).iter().filter(|stake| stake.basis_points > 0) {
            if ring_of.get(stake.owner) == Some(&ring) {
                inside = inside.saturating_add(stake.basis_points);
                within.push((stake.owner, part(stake.basis_points)));
            } else {
                base.add(
                    part(stake.basis_points),
                    walks.get(stake.owner).copied().unwrap_or_default(),
                );
            }
        }
        RingMember {
            entity,
            base,
            within,
            leaves: part(WHOLE.saturating_sub(inside)),
            walk: Walk::default(),
        }
    }
}

/// Makes several holdings of one owner one stake.
fn add_up(stakes: &mut Vec<Stake>) {
    if stakes.len() > 1 {
        let mut place: HashMap<usize, usize> = HashMap::with_capacity(stakes.len());
        let mut sums: Vec<Stake> = Vec::with_capacity(stakes.len());
        for stake in stakes.iter() {
            match place.get(&stake.owner).and_then(|i| sums.get_mut(*i)) {
                Some(sum) => {
                    sum.basis_points = sum.basis_points.saturating_add(stake.basis_points);
                    sum.more |= stake.more;
                    sum.room = sum.room.saturating_add(stake.room).min(WHOLE);
                }
                None => {
                    place.insert(stake.owner, sums.len());
                    sums.push(*stake);
                }
            }
        }
        *stakes = sums;
    }
    // more than the whole is said of it: `Beside::over`
    stakes.iter_mut().for_each(|stake| stake.basis_points = stake.basis_points.min(WHOLE));
}

/// Reads what is said beside the holdings. Where nobody holds a company directly, what is held through others is all that
/// is on file, and stands in its place.
fn supplements(
    statements: &Declarations,
    before: usize,
    by_id: &HashMap<String, usize>,
    owners: &mut [Vec<Stake>],
    sums: &mut [u64],
    unknown: &mut Vec<GraphError>,
) -> BTreeMap<usize, Supplement> {
    let mut all: BTreeMap<usize, Supplement> = BTreeMap::new();
    let direct: BTreeSet<&str> = statements
        .indirect
        .iter()
        .filter(|holding| holding.direct)
        .map(|holding| holding.of.as_str())
        .collect();
    let direct = |of: usize, holding: &DeclaredInterest, owners: &[Vec<Stake>]| {
        direct.contains(holding.of.as_str())
            || owners.get(of).is_some_and(|owners| !owners.is_empty())
    };
    let mut inplace = Vec::new();
    // several interests of one owner add up
    let mut declared: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
    for (i, holding) in statements.indirect.iter().enumerate() {
        let mut find = |end, id: &Text| {
            let found = by_id.get(id.as_str()).copied();
            if found.is_none() {
                unknown.push(GraphError::UnknownEntity {
                    holding: before.saturating_add(i),
                    end,
                    id: id.clone(),
                    near: None,
                });
            }
            found
        };
        let owner = holding.owner.as_ref().map(|id| find(HoldingEnd::Owner, id));
        let (Some(of), false) = (find(HoldingEnd::Of, &holding.of), owner == Some(None)) else {
            continue;
        };
        let DeclaredInterest { least, most, .. } = *holding;
        match owner.flatten() {
            Some(owner) if direct(of, holding, owners) => {
                let sum = declared.entry((of, owner)).or_default();
                *sum =
                    (sum.0.saturating_add(least).min(WHOLE), sum.1.saturating_add(most).min(WHOLE));
            }
            Some(owner) => inplace.push((
                of,
                Stake {
                    owner,
                    basis_points: least,
                    more: most > least,
                    room: most.saturating_sub(least),
                },
            )),
            None => {
                let [direct, through] = &mut all.entry(of).or_default().unnamed;
                let unnamed = if holding.direct { direct } else { through };
                unnamed.there = true;
                unnamed.least = unnamed.least.saturating_add(least).min(WHOLE);
                unnamed.most = unnamed.most.saturating_add(most).min(WHOLE);
            }
        }
    }
    for ((of, owner), (least, most)) in declared {
        all.entry(of).or_default().indirect.push(IndirectStake { owner, least, most });
    }
    for (of, stake) in inplace {
        if let (Some(owners), Some(sum)) = (owners.get_mut(of), sums.get_mut(of)) {
            owners.push(stake);
            *sum = sum.saturating_add(stake.basis_points.into());
        }
    }
    for interpretation in &statements.interpretations {
        let shares = interpretation
            .shares
            .iter()
            .filter_map(|(owner, share)| Some((*by_id.get(owner.as_str())?, *share)))
            .collect();
        if let Some(of) = by_id.get(interpretation.of.as_str()) {
            all.entry(*of).or_default().interpretations.push(shares);
        }
    }
    all
}

/// Basis points as a part of 1.
fn part(basis_points: u32) -> f64 {
    f64::from(basis_points) / f64::from(WHOLE)
}

/// A part of 1 in basis points, to the nearest.
pub fn basis_points(part: f64) -> u32 {
    let rounded = (part * f64::from(WHOLE) + EQUAL).round().clamp(0.0, f64::from(WHOLE));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 10,000"
    )]
    let whole = rounded as u32;
    whole
}

/// Whether a share is beyond the threshold. Nothing never is.
fn beyond(settings: &OwnershipSettings, basis_points: u32) -> bool {
    let Whole(threshold) = settings.threshold_basis_points;
    match settings.comparison {
        Comparison::Gt => u64::from(basis_points) > threshold,
        Comparison::Ge => basis_points > 0 && u64::from(basis_points) >= threshold,
    }
}

/// The same for a part of 1.
fn part_beyond(settings: &OwnershipSettings, share: f64) -> bool {
    let Whole(threshold) = settings.threshold_basis_points;
    let threshold = part(u32::try_from(threshold).unwrap_or(WHOLE));
    match settings.comparison {
        Comparison::Gt => share > threshold + EQUAL,
        Comparison::Ge => share > EQUAL && share > threshold - EQUAL,
    }
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
        match self {
            Self::DuplicateEntity { .. } => Some("keep one of the two".into()),
            Self::UnknownEntity { near, .. } => Some(match near {
                Some(near) => did_you_mean(near),
                None => "add the entity, if with its id alone".into(),
            }),
            Self::BadShare { .. } => Some(
                "from 0 to 10000 basis points: 62.5 % is 6250; leave it out where it isn't known"
                    .into(),
            ),
            Self::SumOver100 { .. } => Some(
                "several holdings of one owner add up; take what is held through others out".into(),
            ),
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateEntity { id, .. } => write!(f, "two entities have the id `{id}`"),
            Self::UnknownEntity { id, .. } => write!(f, "no entity `{id}` is in the register"),
            Self::BadShare { of, basis_points, .. } => {
                write!(f, "a share of `{of}` can't be {basis_points} basis points")
            }
            Self::SumOver100 { id, basis_points, .. } => {
                write!(
                    f,
                    "the shares of `{id}` come to {}",
                    Percentage(u32::try_from(*basis_points).unwrap_or(u32::MAX))
                )
            }
        }
    }
}

/// Basis points as people write them: `62.5 %`.
#[derive(Debug, Clone, Copy)]
pub struct Percentage(pub u32);

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", f64::from(self.0) / 100.0);
        write!(f, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

// === impl Screening ===

impl<'a> OwnershipScreening<'a> {
    /// The entities that were screened.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The rule that they were screened under.
    pub fn settings(&self) -> &OwnershipSettings {
        &self.settings
    }

    /// How an entity stands as a customer's company.
    pub fn judge(&self, EntityIndex(i): EntityIndex) -> OwnershipResult {
        let entity = self.graph.entities.get(i);
        let walk = self.multiplied.get(i).copied().unwrap_or_default();
        let (basis_points, blocked) = self.cascade.at(i);
        let (basis_points_worst, blocked_worst) = self.worst.at(i);
        let cascade = CascadeShare {
            restricted: blocked,
            restricted_worst: blocked_worst,
            basis_points,
            basis_points_worst,
        };
        let itself = self.end(i).restricted;
        let worst = (walk.restricted + walk.unknown).min(1.0);
        let company =
            entity.is_some_and(|entity| matches!(entity.kind, None | Some(EntityType::Company)));
        let ownerless = company && self.graph.owners(i).is_empty();
        let multiplicative = MultipliedShare {
            restricted: itself.is_some() || part_beyond(&self.settings, walk.restricted),
            restricted_worst: itself.is_some() || part_beyond(&self.settings, worst),
            share: walk.restricted,
            share_worst: worst,
        };
        let says = |cascade: bool, multiplied: bool| match self.settings.method {
            Method::Cascade => cascade,
            Method::Multiplicative => multiplied,
            Method::Either => cascade || multiplied,
        };
        let status = if says(blocked, multiplicative.restricted) {
            Ownership::Restricted
        } else if ownerless || says(blocked_worst, multiplicative.restricted_worst) {
            Ownership::Unresolved
        } else {
            Ownership::Clear
        };
        OwnershipResult { status, itself, ownerless, cascade, multiplicative }
    }

    /// Who holds an entity, in the order of the file; last what nobody is known to hold.
    pub fn holders(&self, EntityIndex(i): EntityIndex) -> Vec<Holder> {
        let stakes = self.graph.owners(i).iter();
        let mut holders: Vec<Holder> = stakes
            .map(|stake| Holder {
                entity: Some(EntityIndex(stake.owner)),
                basis_points: stake.basis_points,
                more: stake.more,
                through: false,
            })
            .collect();
        if let Some(supplements) = self.graph.supplements.get(&i) {
            let named = supplements.indirect.iter();
            holders.extend(named.map(|IndirectStake { owner, least, most }| Holder {
                entity: Some(EntityIndex(*owner)),
                basis_points: *least,
                more: most > least,
                through: true,
            }));
            let [_, AnonymousStake { there, least, most }] = supplements.unnamed;
            holders.extend(there.then_some(Holder {
                entity: None,
                basis_points: least,
                more: most > least,
                through: true,
            }));
        }
        let Remainder { unknown, .. } = self.end(i);
        if unknown > 0 && !holders.is_empty() {
            holders.push(Holder {
                entity: None,
                basis_points: unknown,
                more: false,
                through: false,
            });
        }
        holders
    }

    /// Whether what is said of an entity can't all be so, and one of its holders may hold it whole.
    pub fn contradicts_itself(&self, EntityIndex(i): EntityIndex) -> bool {
        self.special.get(&i).is_some_and(|special| special.over)
    }

    /// The restricted place that an entity is itself in.
    pub fn itself(&self, EntityIndex(i): EntityIndex) -> Option<Place> {
        self.end(i).restricted
    }

    /// Whether an entity counts as restricted by the cascade, and what those hold of it who do, in basis points.
    pub fn blocked(&self, EntityIndex(i): EntityIndex) -> Option<u32> {
        let (share, blocked) = self.cascade.at(i);
        blocked.then_some(share)
    }

    /// Whether nobody knows who or what stands behind an entity: nothing is followed from it, and all of it is unknown.
    pub fn ends_unknown(&self, EntityIndex(i): EntityIndex) -> bool {
        self.end(i).unknown == WHOLE && self.graph.owners(i).is_empty()
    }

    /// Whether an owner is taken as not restricted by its place alone: it has no owner on file, and nobody says what it is.
    pub fn taken_by_place(&self, EntityIndex(i): EntityIndex) -> bool {
        let unsaid = self.graph.entities.get(i).is_some_and(|entity| entity.kind.is_none());
        unsaid && self.end(i).clear == WHOLE && self.graph.owners(i).is_empty()
    }

    /// Whether an entity is one of a ring that holds itself whole, so that nobody is behind it.
    pub fn in_closed_ring(&self, EntityIndex(i): EntityIndex) -> bool {
        self.closed.contains(&i)
    }

    /// An entity and all those behind it by shares that are known, nearest first. Nobody is behind who is itself restricted.
    pub fn behind(&self, EntityIndex(subject): EntityIndex) -> Vec<EntityIndex> {
        let mut seen = BTreeSet::from([subject]);
        let mut queue = VecDeque::from([subject]);
        let mut behind = Vec::new();
        while let Some(i) = queue.pop_front() {
            behind.push(EntityIndex(i));
            if self.end(i).restricted.is_none() {
                let owners = self.graph.owners(i).iter().filter(|stake| stake.basis_points > 0);
                let through = self
                    .special
                    .get(&i)
                    .into_iter()
                    .flat_map(|special| special.links.iter().map(|link| link.owner));
                queue.extend(
                    owners
                        .map(|stake| stake.owner)
                        .chain(through)
                        .filter(|owner| seen.insert(*owner)),
                );
            }
        }
        behind
    }

    fn end(&self, i: usize) -> Remainder {
        self.ends.get(i).copied().unwrap_or_default()
    }
}
