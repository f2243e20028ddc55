//! The part of an entity that has no owner to follow to.

use super::entity::{Entity, EntityType, WHOLE};
use super::graph::{EntityIndex, Graph};
use crate::terms::region::Place;

/// The part of an entity that has no owner to follow to, in basis points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remainder {
    /// The entity's own restricted place. Its owners then no longer matter
    pub(super) restricted: Option<Place>,
    /// Held by an unknown holder
    pub(super) unknown: u32,
    /// Ends here, and isn't restricted
    pub(super) clear: u32,
    /// Whether the entity may be in an unknown place
    pub(super) nowhere: bool,
}

impl Graph {
    /// The remainder of each entity. `restricted` says which places are restricted.
    pub(super) fn remainders(&self, restricted: impl Fn(Place) -> bool) -> Vec<Remainder> {
        self.entities().map(|(index, entity)| self.remainder(index, entity, &restricted)).collect()
    }

    fn remainder(
        &self,
        EntityIndex(i): EntityIndex,
        entity: &Entity,
        restricted: impl Fn(Place) -> bool,
    ) -> Remainder {
        if let Some(place) = entity.places().find(|place| restricted(*place)) {
            return Remainder { restricted: Some(place), ..Remainder::default() };
        }
        let rest = self.rest(i);
        debug_assert!(rest <= WHOLE, "INVARIANT (sum)");
        let company = matches!(entity.kind, None | Some(EntityType::Company));
        let ownerless = self.owners(i).is_empty();
        // a company without a place is judged by its owners; an unknown place counts beside known
        // ones
        let nowhere = !entity.nowhere.is_empty()
            || (entity.places().next().is_none() && (ownerless || !company));
        let unknown =
            if ownerless { nowhere || entity.kind == Some(EntityType::Company) } else { company };
        let (unknown, clear) = if unknown { (rest, 0) } else { (0, rest) };
        Remainder { restricted: None, unknown, clear, nowhere }
    }
}
