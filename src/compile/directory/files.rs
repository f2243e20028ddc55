//! The files of a register in memory, and the readers of its JSON documents.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::remarks::{Remarks, is_wide, without_mark};
use crate::shape::{Json, Path, Problems, Shape};

/// Files with their bytes, by their path from the register's directory.
pub type Documents = BTreeMap<String, Vec<u8>>;

/// The files of a register, by their path from its directory, with `/` between.
#[derive(Debug, Default, Clone)]
pub struct Files {
    /// Those that [`is_document`](super::is_document) asks for, with their bytes
    pub documents: Documents,
    /// The names of all others
    pub others: BTreeSet<String>,
}

/// The largest file of a register, in bytes: all of them are in memory at once.
pub const MOST_BYTES: u64 = 512_000_000;

pub(super) const SETTINGS: &str = "register.json";
pub(super) const CUSTOMERS_JSON: &str = "customers.json";
pub(super) const OWNERS_JSON: &str = "owners.json";
pub(super) const ENTITIES: &str = "entities.json";
pub(super) const NODES: &str = "nodes.json";
/// Providers' latest enforcement
pub const ENFORCEMENT: &str = "enforcement.json";
/// Signs of sharing
pub const SHARING: &str = "sharing.json";
pub(super) const BODS: &str = "bods/";
pub(super) const NETWORKS: &str = "networks/";

/// Reads a JSON document; `None` if the file is absent.
pub(super) fn document<T: Shape>(
    documents: &Documents,
    name: &'static str,
    remarks: &mut Remarks,
) -> Option<T> {
    let json = tree(name, documents.get(name)?, remarks)?;
    let mut problems = Problems::default();
    let value = T::read(&json, &Path::Root, &mut problems);
    remarks.take(name, None, &problems);
    value
}

pub(super) fn tree(name: &str, bytes: &[u8], remarks: &mut Remarks) -> Option<Json> {
    if is_wide(bytes) {
        remarks.wide(name);
        return None;
    }
    let bytes = without_mark(bytes);
    if bytes.trim_ascii().is_empty() {
        let help = "write a JSON document into it, or remove the file";
        remarks.error(name, None, "empty file", help);
        return None;
    }
    serde_json::from_slice(bytes).map_err(|error| remarks.not_json(name, error.line(), &error)).ok()
}
