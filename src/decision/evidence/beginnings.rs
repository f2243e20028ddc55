//! Which texts of a table may begin at a place in a value: two bytes tell, and most begin none.

/// The places of texts in a table, by their first byte in any case.
#[derive(Debug)]
pub(super) struct Beginnings(Vec<Vec<Beginning>>);

/// How a text of a table begins.
#[derive(Debug, Clone)]
struct Beginning {
    /// Its second byte, in lower case
    second: Option<u8>,
    place: usize,
}

impl Default for Beginnings {
    fn default() -> Self {
        Self(vec![Vec::new(); 256])
    }
}

impl Beginnings {
    /// Adds a text, and returns whether it isn't empty.
    pub(super) fn add(&mut self, text: &str, place: usize) -> bool {
        let mut lower = text.bytes().map(|byte| byte.to_ascii_lowercase());
        let Some(first) = lower.next() else { return false };
        let beginning = Beginning { second: lower.next(), place };
        let upper = first.to_ascii_uppercase();
        let bytes = [Some(first), (upper != first).then_some(upper)];
        for byte in bytes.into_iter().flatten() {
            if let Some(places) = self.0.get_mut(usize::from(byte)) {
                places.push(beginning.clone());
            }
        }
        true
    }

    /// Calls `see` for the places of the texts that may begin at a byte, in order, until one fits.
    /// `rest` is asked for the value from that byte on.
    pub(super) fn any<'v>(
        &self,
        byte: u8,
        rest: impl FnOnce() -> &'v [u8],
        mut see: impl FnMut(usize, &'v [u8]) -> bool,
    ) -> bool {
        let Some(known) = self.0.get(usize::from(byte)).filter(|known| !known.is_empty()) else {
            return false;
        };
        let rest = rest();
        let next = rest.get(1).map(u8::to_ascii_lowercase);
        known.iter().any(|beginning| {
            (beginning.second.is_none() || beginning.second == next) && see(beginning.place, rest)
        })
    }
}
