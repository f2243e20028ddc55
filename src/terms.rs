//! The vocabulary that every room shares: findings, names, times, countries, networks and keys.

pub mod finding;
pub mod key;
pub mod names;
pub mod network;
pub mod region;
pub mod time;
