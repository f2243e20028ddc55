//! Interests held through others, and entities whose files contradict themselves.
//!
//! A party may hold a company directly and through others. For the indirect part there are two
//! numbers: the share that the chains on file give, and the share that a statement declares. Both
//! describe one holding, so the larger one counts. The part of a declaration that no chain explains
//! (the excess) counts as one more stake. Each party that declares anything is worked out by
//! itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::entity::WHOLE;
use super::graph::{AnonymousStake, Graph, IndirectStake, Stake};
use super::remainder::Remainder;
use super::rings::Walk;
use super::share::{EQUAL, part, points};

/// The entities that are special cases, by index.
pub(super) type SpecialCases = BTreeMap<usize, SpecialCase>;

/// An entity whose holders can't be followed one by one.
#[derive(Debug, Default)]
pub(super) struct SpecialCase {
    /// Whether its files contradict themselves: in the worst case any holder may hold the whole
    pub(super) over: bool,
    /// Its holders through others
    pub(super) links: Vec<Link>,
    unnamed_direct: AnonymousStake,
    unnamed_indirect: AnonymousStake,
    interpretations: Vec<Vec<(usize, u32)>>,
}

/// One owner's declared share of an entity through others, as parts of 1.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) owner: usize,
    least: f64,
    /// The known part that no chain on file explains
    pub(super) excess: f64,
    /// The possible part beyond all that chains may explain
    open: f64,
    /// The direct holders that the owner is behind: their stake, and at most how much of each is
    /// the owner's
    chains: Vec<(usize, f64, f64)>,
}

/// One party's share of an entity, direct and indirect, as parts of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Portion {
    /// The largest share that the chains on file allow, with unknown shares in them
    most: f64,
    /// The share that the chains count already: the known one. Of an entity that is itself
    /// restricted, `most`
    counted: f64,
}

/// How many holdings all portions together may look at: about a second. After that, declarations
/// count as explained by no chain.
const LOOKS: usize = 10_000_000;

/// How many times the portions in a ring are worked out at most.
const ROUNDS: usize = 1_000;

impl Graph {
    /// Finds the entities that are special cases.
    pub(super) fn special_cases(&self, ends: &[Remainder]) -> SpecialCases {
        let mut all = SpecialCases::new();
        let mut links = self.links(ends);
        for (i, supplement) in &self.supplements {
            let links = links.remove(i).unwrap_or_default();
            let beyond: f64 = links.iter().map(|(_, beyond)| beyond).sum();
            let (direct, indirect) = (supplement.unnamed_direct, supplement.unnamed_indirect);
            let known = self.known(*i);
            let sum = part(known) + part(direct.least) + part(indirect.least) + beyond;
            let case = SpecialCase {
                over: supplement.over.is_some()
                    || sum > 1.0 + EQUAL
                    || (direct.most > 0 && direct.least == 0 && known == WHOLE),
                links: links.into_iter().map(|(link, _)| link).collect(),
                unnamed_direct: direct,
                unnamed_indirect: indirect,
                interpretations: supplement.interpretations.clone(),
            };
            all.insert(*i, case);
        }
        for (i, end) in ends.iter().enumerate().filter(|(_, end)| end.restricted.is_none()) {
            let mut open = self.owners(i).iter().filter(|stake| stake.is_open()).peekable();
            let whole = self.known(i) == WHOLE;
            if open.peek().is_some()
                && (end.clear > 0 || (whole && open.clone().any(|stake| stake.basis_points == 0)))
            {
                all.entry(i).or_default().over |= whole;
            }
            if end.nowhere && !self.owners(i).is_empty() {
                all.entry(i).or_default();
            }
        }
        all
    }

    /// The indirect holders of each entity, each with the known part beyond all that chains may
    /// explain.
    fn links(&self, ends: &[Remainder]) -> HashMap<usize, Vec<(Link, f64)>> {
        let mut parties: BTreeMap<usize, BTreeMap<usize, IndirectStake>> = BTreeMap::new();
        for (of, supplement) in &self.supplements {
            for through in &supplement.indirect {
                parties.entry(through.owner).or_default().insert(*of, *through);
            }
        }
        let mut links: HashMap<usize, Vec<(Link, f64)>> = HashMap::new();
        if parties.is_empty() {
            return links;
        }
        let (rank, owned) = self.ranked();
        let mut looks = LOOKS;
        for (party, declared) in parties {
            let portions = self.portions(party, &declared, ends, &rank, &owned, &mut looks);
            for (of, through) in &declared {
                let portion = |owner: usize| portions.get(&owner).copied().unwrap_or_default();
                let chains: Vec<(usize, f64, f64)> = self
                    .owners(*of)
                    .iter()
                    .filter(|stake| stake.owner != party && stake.owner != *of)
                    .map(|stake| (stake.owner, part(stake.basis_points), portion(stake.owner).most))
                    .filter(|(_, _, most)| *most > 0.0)
                    .collect();
                let explained = self.chained(*of, party, &portion);
                let (least, most) = (part(through.least), part(through.most));
                let link = Link {
                    owner: party,
                    least,
                    excess: (least - explained.counted).max(0.0),
                    open: (most - explained.most).max(0.0),
                    chains,
                };
                links.entry(*of).or_default().push((link, (least - explained.most).max(0.0)));
            }
        }
        links
    }

    /// Each entity's place in an order with owners first (in rings any order), and the entities
    /// that it has any stake in.
    fn ranked(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut graph = DiGraph::<(), (), usize>::default();
        let mut owned: Vec<Vec<usize>> = vec![Vec::new(); self.len()];
        for _ in 0..self.len() {
            graph.add_node(());
        }
        for of in 0..self.len() {
            let through = self.supplements.get(&of).into_iter().flat_map(|it| &it.indirect);
            let through = through.map(|through| through.owner);
            for owner in self.owners(of).iter().map(|stake| stake.owner).chain(through) {
                graph.add_edge(NodeIndex::new(of), NodeIndex::new(owner), ());
                if let Some(owned) = owned.get_mut(owner) {
                    owned.push(of);
                }
            }
        }
        let mut rank = vec![0; self.len()];
        for (place, node) in kosaraju_scc(&graph).into_iter().flatten().enumerate() {
            if let Some(rank) = rank.get_mut(node.index()) {
                *rank = place;
            }
        }
        (rank, owned)
    }

    /// A party's portion of each entity that it has a part of. A portion that hasn't settled is too
    /// small, so that less counts as explained.
    fn portions(
        &self,
        party: usize,
        declared: &BTreeMap<usize, IndirectStake>,
        ends: &[Remainder],
        rank: &[usize],
        owned: &[Vec<usize>],
        looks: &mut usize,
    ) -> HashMap<usize, Portion> {
        let whole = Portion { most: 1.0, counted: 1.0 };
        let mut portions = HashMap::from([(party, whole)]);
        let mut reached = BTreeSet::from([party]);
        let mut queue = VecDeque::from([party]);
        while let Some(owner) = queue.pop_front() {
            for of in owned.get(owner).into_iter().flatten() {
                *looks = looks.saturating_sub(1);
                if *looks > 0 && reached.insert(*of) {
                    queue.push_back(*of);
                }
            }
        }
        reached.remove(&party);
        let mut order: Vec<usize> = reached.into_iter().collect();
        order.sort_unstable_by_key(|i| rank.get(*i).copied());
        for _ in 0..ROUNDS {
            let mut change: f64 = 0.0;
            for of in &order {
                *looks = looks.saturating_sub(self.owners(*of).len().saturating_add(1));
                let chained = self.chained(*of, party, &|owner| {
                    portions.get(&owner).copied().unwrap_or_default()
                });
                let declared = declared.get(of);
                let (least, most) =
                    declared.map_or((0.0, 0.0), |it| (part(it.least), part(it.most)));
                let own = self.owners(*of).iter().find(|stake| stake.owner == party);
                let direct = own.map_or(0.0, |stake| part(stake.basis_points));
                let open = if own.is_some_and(Stake::is_open) { part(self.rest(*of)) } else { 0.0 };
                let most = (direct + open + chained.most.max(most)).min(1.0);
                let counted = if ends.get(*of).is_some_and(|end| end.restricted.is_some()) {
                    most
                } else {
                    (direct + chained.counted.max(least)).min(1.0)
                };
                let portion = Portion { most, counted };
                let before = portions.insert(*of, portion).unwrap_or_default();
                change =
                    change.max(portion.most - before.most).max(portion.counted - before.counted);
            }
            if change < EQUAL / 1e4 || *looks == 0 {
                break;
            }
        }
        portions
    }

    /// A party's portion of an entity through the entity's direct holders.
    fn chained(&self, of: usize, party: usize, portion: &dyn Fn(usize) -> Portion) -> Portion {
        let mut sum = Portion::default();
        let mut open: f64 = 0.0;
        for stake in self.owners(of).iter().filter(|stake| stake.owner != party) {
            let (share, portion) = (part(stake.basis_points), portion(stake.owner));
            sum.most += share * portion.most;
            sum.counted += share * portion.counted;
            if stake.is_open() {
                open = open.max(portion.most);
            }
        }
        sum.most += open * part(self.rest(of));
        Portion { most: sum.most.min(1.0), counted: sum.counted.min(1.0) }
    }

    /// Fills in the walks of special cases, and of rings with special cases. Shares grow from
    /// nothing upwards: one that hasn't settled within the budget is restricted at least so far,
    /// and the rest is unknown.
    pub(super) fn settle(
        &self,
        ring: &[usize],
        ends: &[Remainder],
        special: &SpecialCases,
        walks: &mut [Walk],
        budget: &mut usize,
    ) {
        let nothing = SpecialCase::default();
        let edges =
            ring.iter().fold(ring.len(), |sum, i| sum.saturating_add(self.owners(*i).len()));
        let settled = loop {
            let mut change: f64 = 0.0;
            for i in ring {
                let of = |owner: usize| {
                    let walk = walks.get(owner).copied().unwrap_or_default();
                    (walk.restricted, walk.restricted + walk.unknown)
                };
                let end = ends.get(*i).copied().unwrap_or_default();
                let (restricted, worst) =
                    special.get(i).unwrap_or(&nothing).shares(self.owners(*i), &end, of);
                let before = of(*i);
                change = change.max((restricted - before.0).abs()).max((worst - before.1).abs());
                if let Some(walk) = walks.get_mut(*i) {
                    let unknown = (worst - restricted).max(0.0);
                    *walk = Walk { restricted, unknown, clear: 1.0 - worst };
                }
            }
            *budget = budget.saturating_sub(edges);
            if change < EQUAL / 1e4 {
                break true;
            }
            if *budget == 0 {
                break false;
            }
        };
        for i in ring.iter().filter(|_| !settled) {
            if let Some(walk) = walks.get_mut(*i) {
                *walk = Walk { unknown: 1.0 - walk.restricted, clear: 0.0, ..*walk };
            }
        }
    }
}

impl SpecialCase {
    /// All holders, whether their shares are known or not.
    pub(super) fn holders(&self, owners: &[Stake]) -> impl Iterator<Item = usize> {
        owners.iter().map(|stake| stake.owner).chain(self.links.iter().map(|link| link.owner))
    }

    fn has_unnamed_holder(&self) -> bool {
        self.unnamed_direct.exists || self.unnamed_indirect.exists
    }

    /// The part of `end.clear` that may belong to a holder with a share larger than is known.
    fn open(&self, owners: &[Stake], end: &Remainder, of: impl Fn(usize) -> f64) -> f64 {
        let open = owners.iter().filter(|stake| stake.is_open());
        let more: f64 = open.map(|stake| part(stake.room) * of(stake.owner)).sum();
        part(end.clear).min(more + part(self.unnamed_direct.most))
    }

    /// The restricted share of an entity as a part of 1, and the same in the worst case. `of` gives
    /// both for its holders.
    fn shares(
        &self,
        owners: &[Stake],
        end: &Remainder,
        of: impl Fn(usize) -> (f64, f64),
    ) -> (f64, f64) {
        if end.restricted.is_some() {
            return (1.0, 1.0);
        }
        let direct = |which: fn((f64, f64)) -> f64| -> f64 {
            owners.iter().map(|stake| part(stake.basis_points) * which(of(stake.owner))).sum()
        };
        let mut restricted = direct(|(restricted, _)| restricted).min(1.0);
        for interpretation in &self.interpretations {
            let other = |(owner, share): &(usize, u32)| part(*share) * (1.0 - of(*owner).0);
            let others: f64 = interpretation.iter().map(other).sum();
            restricted = restricted.min((1.0 - others).max(0.0));
        }
        restricted += self.links.iter().map(|link| link.excess * of(link.owner).0).sum::<f64>();
        let through = part(self.unnamed_indirect.most)
            + self.links.iter().map(|link| link.open * of(link.owner).1).sum::<f64>();
        let rest = part(end.unknown) + self.open(owners, end, |owner| of(owner).1);
        let mut worst = restricted.max(direct(|(_, worst)| worst) + rest.max(through));
        if self.over {
            worst = self.holders(owners).map(|owner| of(owner).1).fold(worst, f64::max);
        }
        if end.nowhere || (self.over && self.has_unnamed_holder()) {
            worst = 1.0;
        }
        (restricted.min(1.0), worst.min(1.0))
    }

    /// The share of an entity that blocked entities hold, in basis points; in the worst case with
    /// the unknown part.
    pub(super) fn held(
        &self,
        owners: &[Stake],
        end: &Remainder,
        worst: bool,
        blocked: impl Fn(usize) -> bool,
    ) -> u32 {
        if end.restricted.is_some() || (worst && end.nowhere) {
            return WHOLE;
        }
        if worst && self.over && (self.has_unnamed_holder() || self.holders(owners).any(&blocked)) {
            return WHOLE;
        }
        let stakes =
            owners.iter().filter(|stake| blocked(stake.owner)).map(|stake| stake.basis_points);
        let mut direct = stakes.fold(0, u32::saturating_add).min(WHOLE);
        for interpretation in &self.interpretations {
            let others = interpretation.iter().filter(|(owner, _)| !blocked(*owner));
            let others = others.map(|(_, share)| *share).fold(0, u32::saturating_add);
            direct = direct.min(WHOLE.saturating_sub(others));
        }
        let links = || self.links.iter().filter(|link| blocked(link.owner));
        let excess = links().map(|link| {
            // a holder that isn't blocked counts for nothing, and so does a chain through it
            let counted = link.chains.iter().filter(|(holder, _, _)| blocked(*holder));
            let explained: f64 = counted.map(|(_, share, most)| share * most).sum();
            (link.least - explained).max(0.0)
        });
        let excess = points(excess.sum::<f64>() + EQUAL);
        if !worst {
            return direct.saturating_add(excess).min(WHOLE);
        }
        let open = points(links().map(|link| link.open).sum::<f64>() + EQUAL);
        let through = self.unnamed_indirect.most.saturating_add(open);
        let open = self.open(owners, end, |owner| f64::from(u8::from(blocked(owner))));
        let rest = end.unknown.saturating_add(points(open + EQUAL));
        direct.saturating_add(rest.max(through).max(excess)).min(WHOLE)
    }
}
