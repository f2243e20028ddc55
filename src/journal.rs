//! The journal: events read back from the lines of Envoy's access logs.

pub mod advice;
pub mod again;
pub mod audit;
pub mod explanation;
pub mod letter;
pub mod line;
mod places;
