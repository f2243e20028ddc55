//! Suggestions of names that were probably meant.

use crate::shape::nearest;

/// How many suggestions may still be looked for. Each compares with all known names, so a large
/// register with many mistakes would take minutes without a limit.
pub(super) struct SuggestionBudget(usize);

impl SuggestionBudget {
    pub(super) const MOST: Self = Self(100);
    const MOST_CANDIDATES: usize = 2_000;

    /// "did you mean `x`?", or `other`.
    pub(super) fn suggest<'k>(
        &mut self,
        word: &str,
        known: impl ExactSizeIterator<Item = &'k str>,
        other: &str,
    ) -> String {
        let near = match self.0.checked_sub(1) {
            Some(left) if known.len() <= Self::MOST_CANDIDATES => {
                self.0 = left;
                let mut candidates: Vec<&str> = known.collect();
                candidates.sort_unstable();
                nearest(word, &candidates)
            }
            _ => None,
        };
        near.map_or_else(|| other.to_owned(), |near| format!("did you mean `{near}`?"))
    }
}
