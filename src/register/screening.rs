//! Screenings, of customers and of nodes.

use crate::shape::{Path, Problems, object, words};
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

words! {
    /// How screening ended.
    pub enum ScreeningStatus {
        /// Screened and accepted
        Passed = "passed",
        /// Not done yet
        Pending = "pending",
        /// Screened and turned away
        Refused = "refused",
    }
}

object! {
    /// Who was screened, when, by whom, and until when that holds.
    pub struct Screening {
        /// How it ended
        status: ScreeningStatus,
        /// When it was done
        at: Option<UnixSeconds> = None,
        /// Until when it holds; for good where left out
        until: Option<UnixSeconds> = None,
        /// Who answers for it
        by: Option<Text> = None,
    }
}

/// Notes a screening that ended before it began.
pub(super) fn check_screening(of: Option<&Screening>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(Screening { at: Some(done), until: Some(until), .. }) = of
        && until <= done
    {
        let at = Path::Member(&Path::Member(at, "screening"), "until");
        problems.wrong(&at, "the screening ends before it was done", PUT_RIGHT);
    }
}

/// What to do where a date lies before the one that it must come after.
pub(super) const PUT_RIGHT: &str = "put the dates right";
