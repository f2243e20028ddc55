//! The journal: events read back from the lines of Envoy's access logs.

pub mod again;
pub mod line;
mod places;
