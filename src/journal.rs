//! The journal: events read back from the lines of Envoy's access logs.
//!
//! [`line`](mod@line) reads a line, and [`audit`] says whether lines are missing. [`figures`]
//! counts events for a report; [`selection`] says which.

pub mod advice;
pub mod again;
pub mod audit;
pub mod explanation;
pub mod figures;
mod habits;
pub mod letter;
pub mod line;
mod places;
pub mod recent;
pub mod selection;
pub mod timeline;
