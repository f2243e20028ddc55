//! The chains of holdings behind one entity.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::graph::EntityIndex;
use super::judge::OwnershipScreening;
use super::share::{EQUAL, basis_points, part};

/// The sources of one entity's share.
#[derive(Debug)]
pub struct OwnershipChains {
    /// The largest chains, largest first, those of unknown size last
    pub chains: Vec<OwnershipChain>,
    /// Whether there are more than these
    pub more: bool,
    /// Whether there is a ring of holdings on the way. Its turns add to the share, but no chain
    /// shows them
    pub rings: bool,
}

/// A chain of holdings down to the entity that is screened.
#[derive(Debug, Clone)]
pub struct OwnershipChain {
    /// From the far end to the entity itself. The far end is `None` where it isn't known
    pub entities: Vec<Option<EntityIndex>>,
    /// The share that each holds of the next, in basis points; `None` where it isn't known
    pub shares: Vec<Option<u32>>,
    /// The share along the whole chain, as a part of 1; `None` where a share of it isn't known
    pub share: Option<f64>,
    /// Whether its far end is restricted, itself or (where `share` isn't known) by the cascade.
    /// Otherwise the far end has unknown owners
    pub restricted: bool,
}

/// How many owners a search for chains may step to.
const STEPS: usize = 20_000;

impl OwnershipScreening<'_> {
    /// The `most` largest chains of holdings that lead to an entity from a restricted entity or
    /// from an unknown holder. An entity is in a chain once.
    pub fn chains(&self, EntityIndex(subject): EntityIndex, most: usize) -> OwnershipChains {
        let mut search = Search::default();
        let mut found = OwnershipChains { chains: Vec::new(), more: false, rings: false };
        let (share, next, product) = (None, None, Some(1.0));
        search.push(Step { entity: subject, share, next, product, end: false });
        while let Some(at) = search.pop() {
            let Some(step) = search.steps.get(at).copied() else { continue };
            let end = self.end(step.entity);
            let restricted = end.restricted.is_some() || step.product.is_none();
            if step.end || restricted || self.ends_unknown(EntityIndex(step.entity)) {
                if found.chains.len() == most {
                    found.more = true;
                    break;
                }
                found.chains.push(search.chain(at, restricted));
                continue;
            }
            if search.steps.len() > STEPS {
                found.more = true;
                continue; // steps in the queue are still shown
            }
            if end.unknown > 0 {
                let unknown_holder = step.to(at, step.entity, Some(end.unknown));
                search.push(Step { end: true, ..unknown_holder });
            }
            for link in self.special.get(&step.entity).into_iter().flat_map(|case| &case.links) {
                // the excess that no chain explains is a chain by itself
                let share = basis_points(link.excess);
                if share > 0 && !search.is_in(at, link.owner) && self.matters(link.owner) {
                    search.push(step.to(at, link.owner, Some(share)));
                }
            }
            for stake in self.graph.owners(step.entity) {
                if stake.basis_points > 0 && self.matters(stake.owner) {
                    if search.is_in(at, stake.owner) {
                        found.rings = true;
                    } else {
                        search.push(step.to(at, stake.owner, Some(stake.basis_points)));
                    }
                } else if stake.is_open()
                    && self.cascade.at(stake.owner).1
                    && !search.is_in(at, stake.owner)
                {
                    search.push(step.to(at, stake.owner, None));
                }
            }
        }
        found
    }

    /// Whether some of an entity is restricted or unknown.
    fn matters(&self, entity: usize) -> bool {
        self.multiplied.get(entity).is_some_and(|walk| walk.restricted + walk.unknown > EQUAL)
    }
}

/// A search for chains: the largest first.
#[derive(Default)]
struct Search {
    steps: Vec<Step>,
    /// The product's bits (those of positive `f64` sort by size), then first come, first served
    queue: BinaryHeap<(u64, Reverse<usize>)>,
}

/// A step from an entity to one of its owners.
#[derive(Clone, Copy)]
struct Step {
    entity: usize,
    /// The share that it holds of the next
    share: Option<u32>,
    /// The step before, nearer to the entity that is screened
    next: Option<usize>,
    /// The share along the chain so far; `None` where a share isn't known
    product: Option<f64>,
    /// Whether this is the part of `entity` whose holder isn't known
    end: bool,
}

impl Step {
    /// The step from this one, which is number `at`, to an owner.
    fn to(&self, at: usize, entity: usize, share: Option<u32>) -> Self {
        let product = self.product.zip(share).map(|(product, share)| product * part(share));
        Self { entity, share, next: Some(at), product, end: false }
    }
}

impl Search {
    fn push(&mut self, step: Step) {
        self.queue.push((step.product.map_or(0, f64::to_bits), Reverse(self.steps.len())));
        self.steps.push(step);
    }

    fn pop(&mut self) -> Option<usize> {
        self.queue.pop().map(|(_, Reverse(at))| at)
    }

    /// Whether an entity is in the chain from `at`.
    fn is_in(&self, at: usize, entity: usize) -> bool {
        self.back(at).any(|step| step.entity == entity)
    }

    /// The steps from `at` back to the entity that is screened.
    fn back(&self, at: usize) -> impl Iterator<Item = &Step> {
        std::iter::successors(self.steps.get(at), |step| {
            step.next.and_then(|next| self.steps.get(next))
        })
    }

    fn chain(&self, at: usize, restricted: bool) -> OwnershipChain {
        let share = self.steps.get(at).and_then(|step| step.product);
        let entities =
            self.back(at).map(|step| (!step.end).then_some(EntityIndex(step.entity))).collect();
        let shares =
            self.back(at).filter(|step| step.next.is_some()).map(|step| step.share).collect();
        OwnershipChain { entities, shares, share, restricted }
    }
}
