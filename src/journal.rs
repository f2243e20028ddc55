//! The journal: events read back from the lines of Envoy's access logs.

pub mod audit;
pub mod line;
