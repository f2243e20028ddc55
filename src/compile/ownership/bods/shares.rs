//! Shares: percentages, exact or in a range.

use super::members::{member, mistyped, value};
use crate::compile::ownership::WHOLE;
use crate::compile::ownership::share::whole;
use crate::shape::{Json, Path, Problems};

/// Reads a share: its known part and the largest possible share, in basis points.
pub(super) fn share(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<(u32, u32)> {
    let Json::Object(_) = json else { return mistyped(at, "an object", json, problems) };
    let exact = member(json, at, "exact", problems, percent);
    let minimum = member(json, at, "minimum", problems, percent);
    let maximum = member(json, at, "maximum", problems, percent);
    let bound = |name, problems: &mut Problems| match value(json, name) {
        Some(Json::Bool(excluded)) => Some(Bound::Excluded(*excluded)), // 0.3
        Some(number) => percent(number, &Path::Member(at, name), problems).map(Bound::At),
        None => None,
    };
    let (above, below) = (bound("exclusiveMinimum", problems), bound("exclusiveMaximum", problems));
    let least = match (above, minimum) {
        (Some(Bound::At(percent)), _) | (Some(Bound::Excluded(true)), Some(percent)) => {
            floor(percent).saturating_add(1)
        }
        (_, minimum) => floor(minimum.unwrap_or(0.0)),
    };
    let most = match below {
        Some(Bound::At(percent)) => Some(percent),
        Some(Bound::Excluded(_)) | None => maximum,
    };
    if exact.is_none() && most.is_some_and(|most| floor(most) < least) {
        problems.wrong(at, "the share's minimum is above its maximum", "correct the bounds");
        return None;
    }
    // the part that rounding down leaves may be held too
    let most = most.map_or(WHOLE, |most| WHOLE.saturating_sub(floor(100.0 - most)));
    Some(exact.map_or((least, most.max(least)), |exact| (floor(exact), floor(exact))))
}

/// An exclusive bound: a number (0.4), or whether the bound itself is excluded (0.3).
enum Bound {
    At(f64),
    Excluded(bool),
}

fn percent(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<f64> {
    let number = match json {
        Json::Number(number) => Some(number.as_f64()).filter(|it| (0.0..=100.0).contains(it)),
        _ => None,
    };
    if number.is_none() {
        problems.wrong(at, "expected a number from 0 to 100", "BODS shares are in percent");
    }
    number
}

/// A percentage in whole basis points, rounded down. The small addend makes 1.15 % 115 basis
/// points: `1.15 * 100.0` is 114.99999999999999.
fn floor(percent: f64) -> u32 {
    whole((percent * 100.0 + 1e-6).floor())
}
