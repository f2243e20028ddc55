//! Which events came before, in some bytes an event: nodes number their events without holes.

use std::collections::HashMap;

/// The events that came before. A log of any numbers costs the same as one in order, within a
/// factor: a page is made only where an event is.
#[derive(Debug, Default)]
pub(super) struct SeenEvents(HashMap<(u64, u64), SeenPage>);

/// Eight numbers in a row of one VM.
#[derive(Debug, Default)]
struct SeenPage {
    present: u8,
    /// Of each, 16 bits of a digest of what is read of it
    digests: [u16; PAGE],
}

const PAGE: usize = 8;

/// Whether an event came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occurrence {
    First,
    /// It came before, and says the same
    Double,
    /// It came before, and said something else
    Altered,
}

impl SeenEvents {
    pub(super) fn note(&mut self, (vm, place): (u64, u64), digest: u16) -> Occurrence {
        let page = self.0.entry((vm, place >> 3)).or_default();
        let bit = 1_u8 << (place & 7);
        let slot = usize::try_from(place & 7).ok().and_then(|at| page.digests.get_mut(at));
        let Some(slot) = slot else { return Occurrence::First };
        if page.present & bit == 0 {
            page.present |= bit;
            *slot = digest;
            return Occurrence::First;
        }
        if *slot == digest { Occurrence::Double } else { Occurrence::Altered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_known_apart() {
        let mut seen = SeenEvents::default();
        let places = [0, 1, 7, 8, 9, u64::MAX, u64::MAX - 1, 1 << 63];
        for vm in [0, 1] {
            for place in places {
                assert_eq!(seen.note((vm, place), 5), Occurrence::First);
            }
            for place in places {
                assert_eq!(seen.note((vm, place), 5), Occurrence::Double);
                assert_eq!(seen.note((vm, place), 6), Occurrence::Altered);
            }
        }
    }
}
