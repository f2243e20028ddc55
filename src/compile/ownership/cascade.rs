//! Entities that count as restricted by the cascade (OFAC FAQ 401).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::entity::WHOLE;
use super::graph::Graph;
use super::indirect::SpecialCases;
use super::remainder::Remainder;
use super::share::beyond;
use crate::compile::settings::OwnershipSettings;

/// The blocked entities (those that count as restricted), and the share of each entity that they
/// hold, in basis points.
#[derive(Debug)]
pub(super) struct Cascade {
    blocked: Vec<bool>,
    share: Vec<u32>,
}

impl Graph {
    /// The least set of blocked entities, and what the blocked ones hold of each. In the worst case
    /// the unknown part of each entity counts as held by a blocked one. An entity in an unknown
    /// place is then blocked whatever the threshold.
    pub(super) fn cascade(
        &self,
        settings: &OwnershipSettings,
        ends: &[Remainder],
        special: &SpecialCases,
        worst: bool,
    ) -> Cascade {
        let blocked: Vec<bool> =
            ends.iter().map(|end| end.restricted.is_some() || (worst && end.nowhere)).collect();
        let share = ends.iter().zip(&blocked).map(|(end, blocked)| match (blocked, worst) {
            (true, _) => WHOLE,
            (false, true) => end.unknown,
            (false, false) => 0,
        });
        let mut found = Cascade { share: share.collect(), blocked };
        let mut queue: VecDeque<usize> = VecDeque::new();
        for (i, share) in found.share.iter().enumerate() {
            if let Some(blocked) = found.blocked.get_mut(i) {
                *blocked = *blocked || beyond(settings, *share);
                queue.extend(blocked.then_some(i));
            }
        }
        let mut touched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (of, case) in special {
            case.holders(self.owners(*of))
                .for_each(|owner| touched.entry(owner).or_default().push(*of));
        }
        // the share of a special case depends on all its holders at once: it waits until they
        // settle
        let mut waiting: BTreeSet<usize> = special.keys().copied().collect();
        loop {
            while let Some(owner) = queue.pop_front() {
                waiting.extend(touched.get(&owner).into_iter().flatten());
                let owned = self.owned(owner).iter();
                for (of, basis_points) in owned.filter(|(of, _)| !special.contains_key(of)) {
                    let share = found.at(*of).0.saturating_add(*basis_points).min(WHOLE);
                    queue.extend(found.raise(*of, share, settings).then_some(*of));
                }
            }
            for of in std::mem::take(&mut waiting) {
                let (Some(case), Some(end)) = (special.get(&of), ends.get(of)) else { continue };
                let held = case.held(self.owners(of), end, worst, |i| found.at(i).1);
                queue.extend(found.raise(of, held, settings).then_some(of));
            }
            if queue.is_empty() {
                return found;
            }
        }
    }
}

impl Cascade {
    /// The blocked share of an entity in basis points, and whether the entity is blocked itself.
    pub(super) fn at(&self, i: usize) -> (u32, bool) {
        (self.share.get(i).copied().unwrap_or(0), self.blocked.get(i).copied().unwrap_or(false))
    }

    /// Raises the blocked share of an entity. True if that blocks the entity.
    fn raise(&mut self, i: usize, to: u32, settings: &OwnershipSettings) -> bool {
        let (Some(share), Some(blocked)) = (self.share.get_mut(i), self.blocked.get_mut(i)) else {
            return false;
        };
        *share = to.max(*share);
        let is_new = !*blocked && beyond(settings, *share);
        *blocked |= is_new;
        is_new
    }
}
