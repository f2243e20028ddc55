//! Shares: basis points, parts of 1, and how they compare with the threshold.

use std::fmt;

use super::entity::WHOLE;
use crate::compile::settings::{Comparison, OwnershipSettings};
use crate::shape::Integer;

/// Parts of 1 nearer than this are equal: a ten-thousandth of a basis point, far above the rounding
/// error of sums of `f64`.
pub(super) const EQUAL: f64 = 1e-8;

/// Basis points as a part of 1.
pub(super) fn part(basis_points: u32) -> f64 {
    f64::from(basis_points) / f64::from(WHOLE)
}

/// A part of 1 in basis points, to the nearest.
pub fn basis_points(part: f64) -> u32 {
    whole((part * f64::from(WHOLE) + EQUAL).round())
}

/// A part of 1 in whole basis points, rounded down.
pub(super) fn points(part: f64) -> u32 {
    whole((part * f64::from(WHOLE)).floor())
}

pub(super) fn whole(number: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 10,000"
    )]
    let whole = number.clamp(0.0, f64::from(WHOLE)) as u32;
    whole
}

/// Whether a share in basis points is beyond the threshold. A share of nothing never is.
pub(super) fn beyond(settings: &OwnershipSettings, basis_points: u32) -> bool {
    let Integer(threshold) = settings.threshold_basis_points;
    match settings.comparison {
        Comparison::Gt => u64::from(basis_points) > threshold,
        Comparison::Ge => basis_points > 0 && u64::from(basis_points) >= threshold,
    }
}

/// The same for a part of 1.
pub(super) fn part_beyond(settings: &OwnershipSettings, share: f64) -> bool {
    let Integer(threshold) = settings.threshold_basis_points;
    let threshold = part(u32::try_from(threshold).unwrap_or(WHOLE));
    match settings.comparison {
        Comparison::Gt => share > threshold + EQUAL,
        Comparison::Ge => share > EQUAL && share > threshold - EQUAL,
    }
}

/// Basis points as people write them: `62.5 %`.
#[derive(Debug, Clone, Copy)]
pub struct Percentage(pub u32);

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", f64::from(self.0) / 100.0);
        write!(f, "{} %", text.trim_end_matches('0').trim_end_matches('.'))
    }
}
