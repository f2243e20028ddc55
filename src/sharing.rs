//! Sharing: what events of days and weeks show of one credential in many hands.
//!
//! ```text
//! event ──> gathering ──> days ──> measures ──> signals
//! excerpt   sets, counts  a row    per day      since, until, evidence
//! ```
//!
//! Each step depends on the set of its input alone, never on its order. [`day`] is what a database
//! may compute instead; the statistics behind it have their home here.

pub mod day;
pub mod distance;
mod excerpt;
mod flight;
pub mod gathering;
mod measures;
pub mod roster;
mod seen;
pub mod signals;
pub mod thresholds;
mod velocity;
