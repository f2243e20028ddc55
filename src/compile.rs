//! The register as files, and how they become a snapshot. For the desk only.
//!
//! ```text
//! files ──> directory      ──> ownership             ──> snapshot
//!           every mistake      clear, restricted or      one signed file
//!           with its line      unresolved, and why
//!           networks ────────────────────────────────>
//!           one table of addresses out of many sources
//! ```
//!
//! Nothing here opens a file: the command line reads the directory and hands the bytes over.

pub mod bods;
pub mod directory;
pub mod networks;
pub mod ownership;
pub mod settings;
pub mod write;
