//! Compiles a register of files into a snapshot. For the desk only.
//!
//! ```text
//! files ──> directory      ──> ownership             ──> snapshot
//!           mistakes with      clear, restricted or      one signed file
//!           their lines        unresolved, and why
//!           networks ────────────────────────────────>
//!           one map of addresses from many sources
//! ```
//!
//! The compiler opens no files: the command line reads them and passes their bytes.

pub mod countries;
pub mod difference;
pub mod directory;
mod lines;
pub mod networks;
pub mod ownership;
pub mod remarks;
pub mod settings;

use std::collections::BTreeMap;

use crate::register::Ownership;
use crate::shape::{Integer, Word as _};
use crate::snapshot::layout::{FileContents, SourceContents};
use crate::terms::key::SigningKey;
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

use crate::snapshot::write::{Material, WriteError, write};
use directory::Directory;
use networks::SourceSummary;

/// The properties of a snapshot to compile.
#[derive(Debug)]
pub struct Order<'a> {
    /// Its sequence number: newer snapshots have higher ones
    pub sequence: u64,
    /// The time of compilation
    pub created: UnixSeconds,
    /// The key that signs it
    pub key: &'a SigningKey,
}

/// A compiled register.
#[derive(Debug)]
pub struct Compilation {
    /// The snapshot's bytes
    pub file: Vec<u8>,
    /// The number of customers with each result of ownership screening
    pub ownership: BTreeMap<Ownership, usize>,
    /// The number of runs of addresses
    pub runs: usize,
}

/// Screens and writes a register.
///
/// # Errors
/// Something doesn't fit into a snapshot.
pub fn compile(register: Directory, order: &Order<'_>) -> Result<Compilation, WriteError> {
    let Directory { owners, mut customers, nodes, networks, digests, .. } = register;
    let screening = owners.screen();
    let mut ownership = BTreeMap::new();
    for customer in &mut customers {
        let status = owners.of_customer(customer, &screening);
        customer.ownership = Some(status);
        let count: &mut usize = ownership.entry(status).or_default();
        *count = count.saturating_add(1);
    }
    let sources = owners.settings.networks.iter().zip(&networks.sources);
    let sources: Vec<SourceContents> = sources
        .filter_map(|(source, summary)| {
            contents(source, summary, digests.get(source.file.as_str())?)
        })
        .collect();
    let file = |(name, digest): (&String, &String)| {
        Some(FileContents { file: Text::parse(name).ok()?, sha256: Text::parse(digest).ok()? })
    };
    let files: Vec<FileContents> = digests.iter().filter_map(file).collect();
    let material = Material {
        sequence: order.sequence,
        created: order.created,
        regions: &owners.regions,
        sources: &sources,
        addresses: &networks.table,
        customers: &customers,
        nodes: &nodes,
        files: &files,
    };
    let file = write(&material, order.key)?;
    let runs = networks.table.v4.len().saturating_add(networks.table.v6.len());
    Ok(Compilation { file, ownership, runs })
}

fn contents(
    source: &settings::NetworkSource,
    summary: &SourceSummary,
    sha256: &str,
) -> Option<SourceContents> {
    let gives_countries = source.class.is_none() && source.gives == settings::Gives::Country;
    Some(SourceContents {
        name: source.name.clone(),
        role: gives_countries.then_some(source.role),
        class: source.class,
        date: source.date,
        sha256: Text::parse(sha256).ok()?,
        networks: Integer(u64::try_from(summary.networks).ok()?),
        origin: source.origin.clone(),
    })
}
