//! What is held through others, and what can't be reconciled: the entities of which more is said than who holds what directly.
//!
//! A party holds of a company what it holds directly, and the larger of what the chains on file give it and what is declared
//! for it as indirect: the two describe one holding. So of a declaration only that counts which no chain explains, as a share
//! beside the direct ones. How much of a party a chain carries is worked out for each party that declares anything,
//! over what it holds directly and through others.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::rings::Walk;
use super::{AnonymousStake, EQUAL, Graph, IndirectStake, Remainder, Stake, WHOLE, part};

/// An entity whose holders can't be followed one by one.
#[derive(Debug, Default)]
pub(super) struct SpecialCase {
    /// Whether what is said can't all be so: in the worst case each holder may hold the whole
    pub(super) over: bool,
    /// Who is said to hold through others
    pub(super) links: Vec<Link>,
    unnamed: [AnonymousStake; 2],
    interpretations: Vec<Vec<(usize, u32)>>,
}

/// What one owner is said to hold of an entity through others, as parts of 1.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) owner: usize,
    least: f64,
    /// What of it no chain explains that is on file
    pub(super) excess: f64,
    /// What it may be beyond all that chains may explain
    open: f64,
    /// The direct holders behind whom the owner stands: their stake, and the owner's part of it at most
    chains: Vec<(usize, f64, f64)>,
}

/// How much of an entity one party holds, directly and through others, as parts of 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Portion {
    /// What the chains on file may come to where a share in them isn't known
    most: f64,
    /// What counts already by the chains: what is known, and of an entity that is itself restricted the whole
    counted: f64,
}

/// How many holdings may be looked at to find what declared parties hold: about a second. Beyond, declarations count
/// as explained by no chain.
const LOOKS: usize = 10_000_000;

/// How often a ring is gone round.
const ROUNDS: usize = 1_000;

impl Graph {
    /// The entities that are special, with what is.
    pub(super) fn special(&self, ends: &[Remainder]) -> BTreeMap<usize, SpecialCase> {
        let mut all: BTreeMap<usize, SpecialCase> = BTreeMap::new();
        let mut links = self.links(ends);
        for (i, supplements) in &self.supplements {
            let links = links.remove(i).unwrap_or_default();
            let beyond: f64 = links.iter().map(|(_, beyond)| beyond).sum();
            let [direct, through] = supplements.unnamed;
            let known = self.known.get(*i).copied().unwrap_or(0);
            let sum = part(known) + part(direct.least) + part(through.least) + beyond;
            let special = SpecialCase {
                over: supplements.over.is_some()
                    || sum > 1.0 + EQUAL
                    || (direct.most > 0 && direct.least == 0 && known == WHOLE),
                links: links.into_iter().map(|(link, _)| link).collect(),
                unnamed: supplements.unnamed,
                interpretations: supplements.interpretations.clone(),
            };
            all.insert(*i, special);
        }
        for (i, end) in ends.iter().enumerate().filter(|(_, end)| end.restricted.is_none()) {
            let mut open = self.owners(i).iter().filter(|stake| stake.more).peekable();
            let whole = self.known.get(i) == Some(&WHOLE);
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

    /// The declarations of each entity, each with what of it is more than all that chains may explain.
    fn links(&self, ends: &[Remainder]) -> HashMap<usize, Vec<(Link, f64)>> {
        let mut parties: BTreeMap<usize, BTreeMap<usize, IndirectStake>> = BTreeMap::new();
        for (of, supplements) in &self.supplements {
            for through in &supplements.indirect {
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

    /// Each entity's place in an order with owners first, but for rings, and the entities that it has any stake in.
    fn ranked(&self) -> (Vec<usize>, Vec<Vec<usize>>) {
        let mut graph = DiGraph::<(), (), usize>::default();
        let mut owned: Vec<Vec<usize>> = vec![Vec::new(); self.entities.len()];
        for _ in &self.entities {
            graph.add_node(());
        }
        for of in 0..self.entities.len() {
            let through =
                self.supplements.get(&of).into_iter().flat_map(|supplements| {
                    supplements.indirect.iter().map(|through| through.owner)
                });
            for owner in self.owners(of).iter().map(|stake| stake.owner).chain(through) {
                graph.add_edge(NodeIndex::new(of), NodeIndex::new(owner), ());
                if let Some(owned) = owned.get_mut(owner) {
                    owned.push(of);
                }
            }
        }
        let mut rank = vec![0; self.entities.len()];
        for (place, node) in kosaraju_scc(&graph).into_iter().flatten().enumerate() {
            if let Some(rank) = rank.get_mut(node.index()) {
                *rank = place;
            }
        }
        (rank, owned)
    }

    /// What a party holds of each entity that it has anything of. What isn't settled is too small: then less counts as explained.
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
                let (least, most) = declared
                    .get(of)
                    .map_or((0.0, 0.0), |through| (part(through.least), part(through.most)));
                let own = self.owners(*of).iter().find(|stake| stake.owner == party);
                let direct = own.map_or(0.0, |stake| part(stake.basis_points));
                let open = if own.is_some_and(|stake| stake.more) { self.open(*of) } else { 0.0 };
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

    /// What a party holds of an entity through its direct holders, by what it holds of these.
    fn chained(&self, of: usize, party: usize, portion: &dyn Fn(usize) -> Portion) -> Portion {
        let mut sum = Portion::default();
        let mut open: f64 = 0.0;
        for stake in self.owners(of).iter().filter(|stake| stake.owner != party) {
            let (share, portion) = (part(stake.basis_points), portion(stake.owner));
            sum.most += share * portion.most;
            sum.counted += share * portion.counted;
            if stake.more {
                open = open.max(portion.most);
            }
        }
        sum.most += open * self.open(of);
        Portion { most: sum.most.min(1.0), counted: sum.counted.min(1.0) }
    }

    /// What nobody is known to hold of an entity.
    fn open(&self, of: usize) -> f64 {
        part(WHOLE.saturating_sub(self.known.get(of).copied().unwrap_or(0)))
    }

    /// Fills in the walks of entities that are special, or in a ring with such. From nothing upwards, so that what
    /// hasn't settled within the budget is known to be restricted at least so far; the rest is unknown.
    pub(super) fn settle(
        &self,
        ring: &[usize],
        ends: &[Remainder],
        special: &BTreeMap<usize, SpecialCase>,
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
                    *walk = Walk {
                        restricted,
                        unknown: (worst - restricted).max(0.0),
                        clear: 1.0 - worst,
                    };
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
    /// All who hold anything, whether one knows how much or not.
    pub(super) fn holders(&self, owners: &[Stake]) -> impl Iterator<Item = usize> {
        owners.iter().map(|stake| stake.owner).chain(self.links.iter().map(|link| link.owner))
    }

    fn is_held_by_nobody_knows_whom(&self) -> bool {
        self.unnamed.iter().any(|unnamed| unnamed.there)
    }

    /// What of the part that ends with nobody in particular may be somebody's who holds more than is known.
    fn open(&self, owners: &[Stake], end: &Remainder, of: impl Fn(usize) -> f64) -> f64 {
        let [direct, _] = self.unnamed;
        let more = owners
            .iter()
            .filter(|stake| stake.more)
            .map(|stake| part(stake.room) * of(stake.owner))
            .sum::<f64>();
        part(end.clear).min(more + part(direct.most))
    }

    /// The restricted share of an entity as a part of 1, and the same in the worst case; `of` gives both for its holders.
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
            let others: f64 = interpretation
                .iter()
                .map(|(owner, share)| part(*share) * (1.0 - of(*owner).0))
                .sum();
            restricted = restricted.min((1.0 - others).max(0.0));
        }
        restricted += self.links.iter().map(|link| link.excess * of(link.owner).0).sum::<f64>();
        let [_, through] = self.unnamed;
        let through = part(through.most)
            + self.links.iter().map(|link| link.open * of(link.owner).1).sum::<f64>();
        let rest = part(end.unknown) + self.open(owners, end, |owner| of(owner).1);
        let mut worst = restricted.max(direct(|(_, worst)| worst) + rest.max(through));
        if self.over {
            worst = self.holders(owners).map(|owner| of(owner).1).fold(worst, f64::max);
        }
        if end.nowhere || (self.over && self.is_held_by_nobody_knows_whom()) {
            worst = 1.0;
        }
        (restricted.min(1.0), worst.min(1.0))
    }

    /// What blocked entities hold of an entity, in basis points; in the worst case with all that isn't known.
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
        if worst
            && self.over
            && (self.is_held_by_nobody_knows_whom() || self.holders(owners).any(&blocked))
        {
            return WHOLE;
        }
        let stakes =
            owners.iter().filter(|stake| blocked(stake.owner)).map(|stake| stake.basis_points);
        let mut direct = stakes.fold(0, u32::saturating_add).min(WHOLE);
        for interpretation in &self.interpretations {
            let others = interpretation
                .iter()
                .filter(|(owner, _)| !blocked(*owner))
                .map(|(_, share)| *share)
                .fold(0, u32::saturating_add);
            direct = direct.min(WHOLE.saturating_sub(others));
        }
        let links = || self.links.iter().filter(|link| blocked(link.owner));
        let excess: f64 = links()
            .map(|link| {
                // a holder who isn't blocked counts for nothing here, so neither does what runs through it
                let counted = link.chains.iter().filter(|(holder, _, _)| blocked(*holder));
                let explained: f64 = counted.map(|(_, share, most)| share * most).sum();
                (link.least - explained).max(0.0)
            })
            .sum();
        let excess = points(excess + EQUAL);
        if !worst {
            return direct.saturating_add(excess).min(WHOLE);
        }
        let [_, through] = self.unnamed;
        let through =
            through.most.saturating_add(points(links().map(|link| link.open).sum::<f64>() + EQUAL));
        let rest = end.unknown.saturating_add(points(
            self.open(owners, end, |owner| f64::from(u8::from(blocked(owner)))) + EQUAL,
        ));
        direct.saturating_add(rest.max(through).max(excess)).min(WHOLE)
    }
}

/// A part of 1 in whole basis points, rounded down.
fn points(part: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 10,000"
    )]
    let whole = (part * f64::from(WHOLE)).floor().clamp(0.0, f64::from(WHOLE)) as u32;
    whole
}
