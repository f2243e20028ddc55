//! The chains of holdings behind one entity.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{EQUAL, EntityIndex, OwnershipScreening, basis_points, part};

/// Where the share of one entity comes from.
#[derive(Debug)]
pub struct OwnershipChains {
    /// The largest chains, largest first, those of unknown size last
    pub chains: Vec<OwnershipChain>,
    /// Whether there are more than these
    pub more: bool,
    /// Whether a ring of holdings is on the way: its turns add to the share, and no chain shows them
    pub rings: bool,
}

/// A chain of holdings down to the entity that is screened.
#[derive(Debug, Clone)]
pub struct OwnershipChain {
    /// From the far end to the entity itself. The far end is `None` where nobody knows who it is
    pub entities: Vec<Option<EntityIndex>>,
    /// What each holds of the next, in basis points; `None` where that isn't known
    pub shares: Vec<Option<u32>>,
    /// The share along the whole chain, as a part of 1; `None` where a share of it isn't known
    pub share: Option<f64>,
    /// Whether its far end is restricted, itself or (where `share` isn't known) by the cascade; else nobody knows who
    /// stands behind it
    pub restricted: bool,
}

/// How many owners a search for chains may step to.
const STEPS: usize = 20_000;

impl OwnershipScreening<'_> {
    /// The chains of holdings that lead to an entity from somebody restricted or from what isn't known: the
    /// `most` largest. An entity stands in a chain once.
    pub fn chains(&self, EntityIndex(subject): EntityIndex, most: usize) -> OwnershipChains {
        let mut search = Search::default();
        let mut found = OwnershipChains { chains: Vec::new(), more: false, rings: false };
        search.push(Step {
            entity: subject,
            share: None,
            next: None,
            product: Some(1.0),
            end: false,
        });
        while let Some(at) = search.pop() {
            let Some(step) = search.steps.get(at).copied() else { continue };
            let ends = self.end(step.entity);
            let restricted = ends.restricted.is_some() || step.product.is_none();
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
                continue; // what is in the queue is still shown
            }
            if ends.unknown > 0 {
                let product = step.times(ends.unknown);
                search.push(Step {
                    entity: step.entity,
                    share: Some(ends.unknown),
                    next: Some(at),
                    product,
                    end: true,
                });
            }
            for link in
                self.special.get(&step.entity).into_iter().flat_map(|special| &special.links)
            {
                // what of it no chain explains that is drawn by itself
                let share = basis_points(link.excess);
                let seen = search.back(at).any(|step| step.entity == link.owner);
                if share > 0
                    && !seen
                    && self
                        .multiplied
                        .get(link.owner)
                        .is_some_and(|walk| walk.restricted + walk.unknown > EQUAL)
                {
                    let product = step.times(share);
                    search.push(Step {
                        entity: link.owner,
                        share: Some(share),
                        next: Some(at),
                        product,
                        end: false,
                    });
                }
            }
            for stake in self.graph.owners(step.entity) {
                let behind = self
                    .multiplied
                    .get(stake.owner)
                    .is_some_and(|walk| walk.restricted + walk.unknown > EQUAL);
                let seen = || search.back(at).any(|step| step.entity == stake.owner);
                if stake.basis_points > 0 && behind {
                    if seen() {
                        found.rings = true;
                    } else {
                        let product = step.times(stake.basis_points);
                        search.push(Step {
                            entity: stake.owner,
                            share: Some(stake.basis_points),
                            next: Some(at),
                            product,
                            end: false,
                        });
                    }
                } else if stake.more && self.cascade.at(stake.owner).1 && !seen() {
                    search.push(Step {
                        entity: stake.owner,
                        share: None,
                        next: Some(at),
                        product: None,
                        end: false,
                    });
                }
            }
        }
        found
    }
}

/// A search for chains: the largest first.
#[derive(Default)]
struct Search {
    steps: Vec<Step>,
    /// Size of the product (bits of a positive `f64` are in its order) and, among equals, first come first
    queue: BinaryHeap<(u64, Reverse<usize>)>,
}

/// A step from an entity to one of its owners.
#[derive(Clone, Copy)]
struct Step {
    entity: usize,
    /// What it holds of the next
    share: Option<u32>,
    /// The step before, nearer to the entity that is screened
    next: Option<usize>,
    /// The share along the chain so far; `None` where a share isn't known
    product: Option<f64>,
    /// Whether this is the part of `entity` whose holder isn't known
    end: bool,
}

impl Step {
    fn times(&self, basis_points: u32) -> Option<f64> {
        self.product.map(|product| product * part(basis_points))
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
