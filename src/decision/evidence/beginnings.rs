//! Which texts of a table may begin at a byte: most bytes begin none, and one look tells.

/// The places of texts in a table, by their first byte in any case.
#[derive(Debug)]
pub(super) struct Beginnings(Vec<Vec<usize>>);

impl Default for Beginnings {
    fn default() -> Self {
        Self(vec![Vec::new(); 256])
    }
}

impl Beginnings {
    /// Adds a text, and returns whether it isn't empty.
    pub(super) fn add(&mut self, text: &str, place: usize) -> bool {
        let Some(first) = text.bytes().next() else { return false };
        let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        let bytes = [Some(lower), (upper != lower).then_some(upper)];
        for byte in bytes.into_iter().flatten() {
            if let Some(places) = self.0.get_mut(usize::from(byte)) {
                places.push(place);
            }
        }
        true
    }

    /// The places of the texts that begin with this byte, in order.
    pub(super) fn of(&self, byte: u8) -> &[usize] {
        self.0.get(usize::from(byte)).map(Vec::as_slice).unwrap_or_default()
    }
}
