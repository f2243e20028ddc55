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

use std::collections::BTreeMap;

use crate::key::SigningKey;
use crate::names::{Text, UnixSeconds, hex};
use crate::register::{Customer, Ownership};
use crate::shape::{Problem, Whole, Word as _};
use crate::snapshot::layout::{FileContents, SourceContents};

use directory::{Directory, Files};
use networks::{Networks, SourceSummary};
use write::{Material, digest, write};

/// What a snapshot is to be.
#[derive(Debug)]
pub struct Order<'a> {
    /// Newer snapshots have higher ones
    pub sequence: u64,
    /// When it is compiled
    pub created: UnixSeconds,
    /// The key that signs it
    pub key: &'a SigningKey,
}

/// A compiled register.
#[derive(Debug)]
pub struct Compiled {
    /// The snapshot's bytes
    pub file: Vec<u8>,
    /// The customers, their ownership worked out
    pub customers: Vec<Customer>,
    /// How many runs of addresses there are
    pub runs: usize,
}

/// Screens and writes a register. `networks` holds the bytes of the files that its sources name.
///
/// # Errors
/// Every mistake in the sources, or what doesn't fit into a snapshot.
pub fn compile(
    register: Directory,
    files: &Files,
    networks: &BTreeMap<String, Vec<u8>>,
    order: &Order<'_>,
) -> Result<Compiled, Vec<Problem>> {
    let Networks { table, sources } =
        networks::merge(&register.settings.networks, networks).map_err(|problems| problems.iter().cloned().collect::<Vec<_>>())?;
    let sources: Vec<SourceContents> =
        register.settings.networks.iter().zip(&sources).filter_map(|(source, summary)| contents(source, summary)).collect();
    let inputs = files.documents.iter().chain(networks);
    let inputs =
        inputs.filter_map(|(name, bytes)| Some(FileContents { file: Text::parse(name).ok()?, sha256: Text::parse(&digest(bytes)).ok()? }));
    let customers: Vec<Customer> = register.customers.into_iter().map(screened).collect();
    let material = Material {
        sequence: order.sequence,
        created: order.created,
        regions: &register.regions,
        sources: &sources,
        addresses: &table,
        customers: &customers,
        nodes: &register.nodes,
        files: &inputs.collect::<Vec<_>>(),
    };
    let file = write(&material, order.key).map_err(|error| vec![Problem { path: "$".into(), message: error.to_string(), help: None }])?;
    Ok(Compiled { file, customers, runs: table.v4.len().saturating_add(table.v6.len()) })
}

/// The customer with its ownership worked out.
fn screened(mut customer: Customer) -> Customer {
    customer.ownership = Some(customer.ownership.unwrap_or(Ownership::Unresolved));
    customer
}

fn contents(source: &settings::NetworkSource, summary: &SourceSummary) -> Option<SourceContents> {
    let gives_countries = source.class.is_none() && source.gives == settings::Gives::Country;
    Some(SourceContents {
        name: source.name.clone(),
        role: gives_countries.then_some(source.role),
        class: source.class,
        date: source.date,
        sha256: Text::parse(&hex(&summary.sha256)).ok()?,
        networks: Whole(u64::try_from(summary.networks).ok()?),
        origin: source.origin.clone(),
    })
}
