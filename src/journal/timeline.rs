//! Counts over time, in spans that grow with the time that they cover.

use std::collections::BTreeMap;

use super::selection::UnixMillis;
use crate::terms::finding::ActionName;

/// The spans in seconds, each a multiple of the one before: a minute to 336 days.
const WIDTHS: [i64; 9] = [60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_419_200, 29_030_400];
/// Beyond so many spans, wider ones are counted.
const MOST_SPANS: usize = 4_000;
/// The spans that a picture shows.
const MOST_SHOWN: i64 = 62;

/// The number of events by verdict, in the order of [`ActionName::ALL`].
pub type VerdictCounts = [u64; 4];

/// The number of events by verdict over time.
#[derive(Debug, Default)]
pub struct Timeline {
    width: usize,
    spans: BTreeMap<i64, VerdictCounts>,
}

/// Adds one to the count of a verdict.
pub fn count(counts: &mut VerdictCounts, verdict: ActionName) {
    if let Some(count) = counts.get_mut(usize::from(verdict as u8)) {
        *count = count.saturating_add(1);
    }
}

impl Timeline {
    /// Counts an event.
    pub fn add(&mut self, time: UnixMillis, verdict: ActionName) {
        let second = time.0.div_euclid(1_000);
        count(self.spans.entry(start(second, seconds(self.width))).or_default(), verdict);
        while self.spans.len() > MOST_SPANS && self.width.saturating_add(1) < WIDTHS.len() {
            self.width = self.width.saturating_add(1);
            self.spans = widened(&self.spans, seconds(self.width));
        }
    }

    /// The width of the spans that a picture shows, in seconds, and each span from the first to the
    /// last, also empty ones.
    pub fn spans(&self) -> (i64, Vec<(UnixMillis, VerdictCounts)>) {
        let (Some((first, _)), Some((last, _))) =
            (self.spans.first_key_value(), self.spans.last_key_value())
        else {
            return (seconds(0), Vec::new());
        };
        let shown = |width: i64| {
            let length = start(*last, width).saturating_sub(start(*first, width));
            length.checked_div(width).unwrap_or_default()
        };
        let widths = WIDTHS.get(self.width..).unwrap_or_default();
        let width = widths.iter().copied().find(|width| shown(*width) < MOST_SHOWN);
        let width = width.unwrap_or(seconds(usize::MAX));
        let counted = widened(&self.spans, width);
        let from = start(*first, width);
        let spans = (0..=shown(width).min(MOST_SHOWN)).map(|number| {
            let second = from.saturating_add(number.saturating_mul(width));
            let counts = counted.get(&second).copied().unwrap_or_default();
            (UnixMillis(second.saturating_mul(1_000)), counts)
        });
        (width, spans.collect())
    }
}

fn seconds(width: usize) -> i64 {
    WIDTHS.get(width).copied().unwrap_or(29_030_400)
}

/// When the span begins that a second is in.
fn start(second: i64, width: i64) -> i64 {
    second.saturating_sub(second.checked_rem_euclid(width).unwrap_or_default())
}

fn widened(spans: &BTreeMap<i64, VerdictCounts>, width: i64) -> BTreeMap<i64, VerdictCounts> {
    let mut wide: BTreeMap<i64, VerdictCounts> = BTreeMap::new();
    for (second, counts) in spans {
        let sum = wide.entry(start(*second, width)).or_default();
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
    }
    wide
}
