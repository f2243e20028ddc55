//! Rings of companies that own each other: the chances of a walk among them to end at each end.

use std::collections::HashMap;

use super::share::EQUAL;

/// The ends of a walk from an entity to its owners: chances, with a sum of 1 once they are solved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Walk {
    pub(super) restricted: f64,
    pub(super) unknown: f64,
    pub(super) clear: f64,
}

/// One entity of a ring while it is solved.
pub(super) struct RingMember {
    pub(super) entity: usize,
    /// The walk to owners outside the ring
    pub(super) base: Walk,
    /// Its owners in the ring with their parts
    pub(super) within: Vec<(usize, f64)>,
    /// The part held from outside the ring. It is counted, because subtraction from 1 loses digits
    pub(super) leaves: f64,
    pub(super) walk: Walk,
}

/// Rings of up to this many entities are solved by elimination, which takes the cube of the number
/// in steps; larger ones by sweeps.
const SMALL_RING: usize = 40;

/// How many holdings all sweeps together may look at: about a second. The part that hasn't settled
/// by then is unknown.
pub(super) const SWEEPS: usize = 200_000_000;

impl Walk {
    pub(super) fn add(&mut self, part: f64, other: Self) {
        self.restricted += part * other.restricted;
        self.unknown += part * other.unknown;
        self.clear += part * other.clear;
    }

    fn scaled(self, part: f64) -> Self {
        let mut scaled = Self::default();
        scaled.add(part, self);
        scaled
    }

    /// The chance that is missing from a sum of 1.
    fn open(self) -> f64 {
        1.0 - self.restricted - self.unknown - self.clear
    }
}

/// Fills in the walk of each member of a ring. `budget` is the number of holdings that all rings
/// together may still look at, from [`SWEEPS`].
pub(super) fn solve(ring: &mut [RingMember], budget: &mut usize) {
    if ring.len() <= SMALL_RING {
        eliminate(ring);
    } else {
        sweep(ring, budget);
    }
}

/// Solves a ring exactly, but for the rounding of `f64`, by the elimination of Grassmann, Taksar
/// and Heyman (Operations Research 33, 1985). It never subtracts, so a ring that hardly leaks is as
/// exact as any.
fn eliminate(ring: &mut [RingMember]) {
    let place: HashMap<usize, usize> =
        ring.iter().enumerate().map(|(i, member)| (member.entity, i)).collect();
    let mut rows: Vec<EliminationRow> = ring
        .iter()
        .map(|member| {
            let RingMember { leaves, base, .. } = *member;
            let mut row = EliminationRow { parts: vec![0.0; ring.len()], leaves, base };
            for (owner, part) in &member.within {
                if let Some(cell) = place.get(owner).and_then(|i| row.parts.get_mut(*i)) {
                    *cell += part;
                }
            }
            row
        })
        .collect();
    for last in (1..rows.len()).rev() {
        let (earlier, later) = rows.split_at_mut(last);
        let Some(pivot) = later.first() else { continue };
        let out = pivot.out(last);
        for row in earlier {
            let through = row.parts.get(last).copied().unwrap_or(0.0) / out;
            if through > 0.0 {
                let parts = row.parts.iter_mut().zip(&pivot.parts).take(last);
                parts.for_each(|(to, from)| *to += through * from);
                row.leaves += through * pivot.leaves;
                row.base.add(through, pivot.base);
            }
        }
    }
    let mut solved: Vec<Walk> = Vec::with_capacity(rows.len());
    for (i, (row, member)) in rows.iter().zip(ring).enumerate() {
        let mut walk = row.base;
        row.parts.iter().zip(&solved).for_each(|(part, earlier)| walk.add(*part, *earlier));
        member.walk = walk.scaled(1.0 / row.out(i));
        solved.push(member.walk);
    }
}

/// A row of the elimination: the chances of one step from an entity.
struct EliminationRow {
    parts: Vec<f64>,
    leaves: f64,
    base: Walk,
}

impl EliminationRow {
    /// The chance to leave towards the `rest` first entities of the ring, or out of it. It is
    /// positive: every entity of a ring that leaks has a way out.
    fn out(&self, rest: usize) -> f64 {
        self.leaves + self.parts.iter().take(rest).sum::<f64>()
    }
}

/// Solves a large ring by sweeps (Gauss and Seidel), from nothing upwards, back and forth. Chances
/// only grow towards their true values, so the open part bounds the error. It ends below [`EQUAL`],
/// or counts as unknown.
fn sweep(ring: &mut [RingMember], budget: &mut usize) {
    let place: HashMap<usize, usize> =
        ring.iter().enumerate().map(|(i, member)| (member.entity, i)).collect();
    let inside: Vec<(Vec<(usize, f64)>, f64)> = ring
        .iter()
        .map(|member| {
            let (own, others): (Vec<_>, Vec<_>) =
                member.within.iter().partition(|(owner, _)| *owner == member.entity);
            let place = |(owner, part): &(usize, f64)| Some((*place.get(owner)?, *part));
            let others: Vec<(usize, f64)> = others.iter().filter_map(place).collect();
            (others, 1.0 - own.iter().map(|(_, part)| part).sum::<f64>())
        })
        .collect();
    let edges = inside.iter().fold(ring.len(), |sum, (others, _)| sum.saturating_add(others.len()));
    let mut walks: Vec<Walk> = vec![Walk::default(); ring.len()];
    let mut forth = true;
    loop {
        let mut open: f64 = 0.0;
        let mut step = |i: usize| {
            if let (Some(member), Some((others, rest))) = (ring.get(i), inside.get(i)) {
                let mut walk = member.base;
                for (owner, part) in others {
                    walk.add(*part, walks.get(*owner).copied().unwrap_or_default());
                }
                let walk = walk.scaled(1.0 / rest);
                open = open.max(walk.open());
                if let Some(slot) = walks.get_mut(i) {
                    *slot = walk;
                }
            }
        };
        if forth {
            (0..inside.len()).for_each(&mut step);
        } else {
            (0..inside.len()).rev().for_each(&mut step);
        }
        forth = !forth;
        *budget = budget.saturating_sub(edges);
        if open < EQUAL / 10.0 || *budget == 0 {
            break;
        }
    }
    for (member, walk) in ring.iter_mut().zip(walks) {
        member.walk = Walk { unknown: walk.unknown + walk.open().max(0.0), ..walk };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of 50 that keeps half to itself; a tenth is restricted, the rest clear.
    fn ring() -> Vec<RingMember> {
        let base = Walk { restricted: 0.1, unknown: 0.0, clear: 0.4 };
        let member = |entity: usize| RingMember {
            entity,
            base,
            within: vec![(entity.wrapping_add(1) % 50, 0.5)],
            leaves: 0.5,
            walk: Walk::default(),
        };
        (0..50).map(member).collect()
    }

    #[test]
    fn what_has_not_settled_is_unknown() {
        let (mut cut_short, mut settled, mut exact) = (ring(), ring(), ring());
        sweep(&mut cut_short, &mut 1);
        sweep(&mut settled, &mut 1_000_000);
        eliminate(&mut exact);
        for ((cut_short, settled), exact) in cut_short.iter().zip(&settled).zip(&exact) {
            let [cut_short, settled, exact] = [cut_short.walk, settled.walk, exact.walk];
            // a fifth of all ends is restricted
            assert!((exact.restricted - 0.2).abs() < 1e-12 && (exact.clear - 0.8).abs() < 1e-12);
            assert!((settled.restricted - exact.restricted).abs() < EQUAL);
            assert!(settled.unknown < EQUAL);
            assert!(cut_short.restricted <= exact.restricted && cut_short.clear <= exact.clear);
            assert!(cut_short.open().abs() < 1e-12, "nothing is lost");
        }
        assert!(cut_short.iter().any(|member| member.walk.unknown > 0.4));
    }
}
