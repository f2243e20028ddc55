//! The result of each entity under one rule.

use std::collections::{BTreeSet, VecDeque};

use super::cascade::Cascade;
use super::entity::{EntityType, WHOLE};
use super::graph::{AnonymousStake, EntityIndex, Graph, IndirectStake};
use super::indirect::SpecialCases;
use super::remainder::Remainder;
use super::rings::Walk;
use super::share::part_beyond;
use crate::compile::settings::{Method, OwnershipSettings};
use crate::register::Ownership;
use crate::terms::region::Place;

/// Every entity judged under one rule.
#[derive(Debug)]
pub struct OwnershipScreening<'a> {
    pub(super) graph: &'a Graph,
    settings: OwnershipSettings,
    // INVARIANT (entities): `ends`, the cascades and `multiplied` have one element an entity
    ends: Vec<Remainder>,
    pub(super) special: SpecialCases,
    pub(super) cascade: Cascade,
    worst: Cascade,
    pub(super) multiplied: Vec<Walk>,
    /// The members of rings that hold themselves whole
    closed: BTreeSet<usize>,
}

/// The result of one entity.
#[derive(Debug, Clone, Copy)]
pub struct OwnershipResult {
    /// The result
    pub status: Ownership,
    /// The restricted place that it is itself in
    pub itself: Option<Place>,
    /// Whether it is a company without any owner on file
    pub ownerless: bool,
    /// The result by the cascade
    pub cascade: CascadeShare,
    /// The result by multiplication
    pub multiplicative: MultipliedShare,
}

/// The result of one entity by multiplication.
#[derive(Debug, Clone, Copy)]
pub struct MultipliedShare {
    /// Whether the share is beyond the threshold
    pub restricted: bool,
    /// The same in the worst case
    pub restricted_worst: bool,
    /// The restricted share, as a part of 1
    pub share: f64,
    /// The same in the worst case
    pub share_worst: f64,
}

/// The result of one entity by the cascade.
#[derive(Debug, Clone, Copy)]
pub struct CascadeShare {
    /// Whether it counts as restricted
    pub restricted: bool,
    /// The same in the worst case
    pub restricted_worst: bool,
    /// The share that restricted holders have, in basis points; the whole of an entity that is
    /// itself restricted
    pub basis_points: u32,
    /// The same in the worst case
    pub basis_points_worst: u32,
}

/// A holder of an entity.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    /// The entity; `None` where the holder isn't known
    pub entity: Option<EntityIndex>,
    /// The known share, in basis points
    pub basis_points: u32,
    /// Whether the holder may hold more than that
    pub more: bool,
    /// Whether the share is declared as held through others
    pub through: bool,
}

impl Graph {
    /// Judges every entity. `restricted` says which places are.
    pub fn screen(
        &self,
        settings: &OwnershipSettings,
        restricted: impl Fn(Place) -> bool,
    ) -> OwnershipScreening<'_> {
        let ends = self.remainders(restricted);
        let special = self.special_cases(&ends);
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
}

impl<'a> OwnershipScreening<'a> {
    /// The entities that were screened.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The rule that they were screened under.
    pub fn settings(&self) -> &OwnershipSettings {
        &self.settings
    }

    /// The result of an entity as a customer's company.
    pub fn judge(&self, EntityIndex(i): EntityIndex) -> OwnershipResult {
        let entity = self.graph.entity(EntityIndex(i));
        let walk = self.multiplied.get(i).copied().unwrap_or_default();
        let (basis_points, restricted) = self.cascade.at(i);
        let (basis_points_worst, restricted_worst) = self.worst.at(i);
        let cascade =
            CascadeShare { restricted, restricted_worst, basis_points, basis_points_worst };
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
        let status = if says(cascade.restricted, multiplicative.restricted) {
            Ownership::Restricted
        } else if ownerless || says(restricted_worst, multiplicative.restricted_worst) {
            Ownership::Unresolved
        } else {
            Ownership::Clear
        };
        OwnershipResult { status, itself, ownerless, cascade, multiplicative }
    }

    /// The holders of an entity, in the order of the file; last the part without a known holder.
    pub fn holders(&self, EntityIndex(i): EntityIndex) -> Vec<Holder> {
        let holder = |owner: Option<usize>, basis_points, more, through| {
            let entity = owner.map(EntityIndex);
            Holder { entity, basis_points, more, through }
        };
        let stakes = self.graph.owners(i).iter();
        let mut holders: Vec<Holder> = stakes
            .map(|stake| holder(Some(stake.owner), stake.basis_points, stake.is_open(), false))
            .collect();
        if let Some(supplement) = self.graph.supplements.get(&i) {
            let named = supplement.indirect.iter();
            holders.extend(named.map(|IndirectStake { owner, least, most }| {
                holder(Some(*owner), *least, most > least, true)
            }));
            let AnonymousStake { exists, least, most } = supplement.unnamed_indirect;
            holders.extend(exists.then_some(holder(None, least, most > least, true)));
        }
        let Remainder { unknown, .. } = self.end(i);
        if unknown > 0 && !holders.is_empty() {
            holders.push(holder(None, unknown, false, false));
        }
        holders
    }

    /// Whether files contradict themselves about an entity, so that any of its holders may hold it
    /// whole.
    pub fn contradicts_itself(&self, EntityIndex(i): EntityIndex) -> bool {
        self.special.get(&i).is_some_and(|case| case.over)
    }

    /// The restricted place that an entity is itself in.
    pub fn itself(&self, EntityIndex(i): EntityIndex) -> Option<Place> {
        self.end(i).restricted
    }

    /// The share that restricted holders have of an entity, in basis points; `None` where the
    /// entity doesn't count as restricted by the cascade.
    pub fn blocked(&self, EntityIndex(i): EntityIndex) -> Option<u32> {
        let (share, blocked) = self.cascade.at(i);
        blocked.then_some(share)
    }

    /// Whether all of an entity is unknown, without owners to follow.
    pub fn ends_unknown(&self, EntityIndex(i): EntityIndex) -> bool {
        self.end(i).unknown == WHOLE && self.graph.owners(i).is_empty()
    }

    /// Whether an entity counts as clear by its place alone: it has neither owners nor a type.
    pub fn taken_by_place(&self, EntityIndex(i): EntityIndex) -> bool {
        let untyped = self.graph.entity(EntityIndex(i)).is_some_and(|entity| entity.kind.is_none());
        untyped && self.end(i).clear == WHOLE && self.graph.owners(i).is_empty()
    }

    /// Whether an entity is in a ring that holds itself whole: no owner is behind it.
    pub fn in_closed_ring(&self, EntityIndex(i): EntityIndex) -> bool {
        self.closed.contains(&i)
    }

    /// An entity and all entities behind it by known shares, nearest first. The search stops at an
    /// entity that is itself restricted.
    pub fn behind(&self, EntityIndex(subject): EntityIndex) -> Vec<EntityIndex> {
        let mut seen = BTreeSet::from([subject]);
        let mut queue = VecDeque::from([subject]);
        let mut behind = Vec::new();
        while let Some(i) = queue.pop_front() {
            behind.push(EntityIndex(i));
            if self.end(i).restricted.is_none() {
                let owners = self.graph.owners(i).iter().filter(|stake| stake.basis_points > 0);
                let links = self.special.get(&i).into_iter().flat_map(|case| &case.links);
                let owners = owners.map(|stake| stake.owner).chain(links.map(|link| link.owner));
                queue.extend(owners.filter(|owner| seen.insert(*owner)));
            }
        }
        behind
    }

    pub(super) fn end(&self, i: usize) -> Remainder {
        self.ends.get(i).copied().unwrap_or_default()
    }
}
