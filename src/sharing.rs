//! Sharing: what events of days and weeks show of one credential in many hands.

pub mod thresholds;
