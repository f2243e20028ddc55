//! Envoy's files around a node: a model of the ways of requests, and the proof that each way to a
//! credential keeps the node's promises.
//!
//! The proof is pure: the command line reads the files.

pub mod credentials;
pub mod files;
pub mod kinds;
pub mod model;
pub mod nodes;
pub mod overrides;
mod proofs;
pub mod report;
pub mod way;
pub mod yaml;

pub use self::files::{EnvoyFile, Spot};
pub use self::nodes::{NO_TEXT, check_bare, configurations};
pub use self::report::{Diagnostic, LocalFile, Promise, Report, Surroundings};

/// Checks files that belong together.
pub fn check(files: &[EnvoyFile], surroundings: &Surroundings<'_>) -> Report {
    proofs::prove(&model::Gateway::new(files), surroundings)
}
