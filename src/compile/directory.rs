//! The register as a directory of files: read whole, every mistake with its file and line.
//!
//! ```text
//! register.json    settings: regions, how ownership is screened, sources of networks
//! customers.xlsx   or customers.csv, customers.jsonl, customers.json: the customers
//! owners.xlsx      or owners.csv, owners.jsonl, owners.json: who owns whom, a row a holding
//! entities.json    companies, and who holds how much of them
//! bods/*.json      the same as Beneficial Ownership Data Standard statements; also *.jsonl
//! nodes.json       other resellers' nodes and their public keys
//! enforcement.json providers' latest enforcement, as `waybill enforcement` writes it
//! sharing.json     signs of sharing, as `waybill sharing` writes them
//! networks/        the MMDB files and lists that register.json names
//! ```
//!
//! [`read`] takes the files' bytes and returns a [`Directory`] whose references all resolve, or
//! [`Remarks`] that say what is wrong. [`owners`] reads only who owns whom.
//!
//! JSON Lines and tables are read a line at a time and may hold millions. A JSON document is held
//! as a tree while it is read.

mod cell;
mod customers;
mod delimited;
mod documents;
mod enforcement;
mod files;
mod forms;
mod guess;
mod layout;
mod nodes;
mod owners;
mod ownership;
mod schema;
mod sharing;
mod sheet;
mod statements;
mod table;
mod text;

use std::collections::{BTreeMap, HashMap};

use self::customers::{check_customers, check_entity_references, notice_customers, read_customers};
use self::files::{CUSTOMERS_JSON, NETWORKS, NODES, SETTINGS, document};
use self::forms::{CUSTOMERS, EntryLocations, ListContents, OWNERS};
use self::layout::check_names;
use self::nodes::check_nodes;
use self::ownership::read_owners;
use self::sharing::UnknownNames;
use super::remarks::{Remarks, grouped};
use super::settings::Settings;
use crate::compile::networks::{self, Networks};
use crate::register::{Customer, Node, SharingSignal};
use crate::shape::Path;
use crate::terms::names::digest;
use crate::terms::time::UnixSeconds;

pub use documents::{
    Country, CustomersFile, EntitiesFile, NodesFile, OwnerRow, OwnersFile, PartialList,
    SchemaDocument, SharePercent,
};
pub use enforcement::EnforcementFile;
pub use files::{Documents, ENFORCEMENT, Files, MOST_BYTES, SHARING};
pub use layout::{is_document, says_of_customers};
pub use ownership::Owners;

/// A register whose references all resolve.
#[derive(Debug)]
pub struct Directory {
    /// The settings, and who owns whom
    pub owners: Owners,
    /// The customers, in the order written
    pub customers: Vec<Customer>,
    /// Other resellers' nodes
    pub nodes: Vec<Node>,
    /// Signs of sharing, with their figures
    pub signals: Vec<SharingSignal>,
    /// Countries, lists and systems of addresses
    pub networks: Networks,
    /// The SHA-256 of every file that was read, as 64 hexadecimal digits
    pub digests: BTreeMap<String, String>,
    locations: EntryLocations,
}

/// Reads the register; frees the largest files on the way. Holdings count as of `now`. Returns a
/// directory only if nothing is wrong.
pub fn read(files: Files, now: UnixSeconds) -> (Option<Directory>, Remarks) {
    read_with(files, now, UnknownNames::Refused)
}

/// The same before sharing.json is written anew: signals of customers and labels that are gone are
/// left out of it, each with a notice.
pub fn read_to_renew_signals(files: Files, now: UnixSeconds) -> (Option<Directory>, Remarks) {
    read_with(files, now, UnknownNames::LeftOut)
}

fn read_with(
    files: Files,
    now: UnixSeconds,
    unknown: UnknownNames,
) -> (Option<Directory>, Remarks) {
    let mut remarks = Remarks::default();
    check_names(&files, &mut remarks);
    let mut digests: BTreeMap<String, String> =
        files.documents.iter().map(|(name, bytes)| (name.clone(), digest(bytes))).collect();
    let (networks, mut documents): (Documents, Documents) =
        files.documents.into_iter().partition(|(name, _)| name.starts_with(NETWORKS));

    let mut read = read_owners(&documents, now, &mut remarks);
    let networks = read_networks(&read.settings, networks, &mut remarks);
    if let (Some(networks), Some(regions)) = (&networks, &read.regions) {
        networks::notice_undivided(&networks.sources, regions, &mut remarks);
    }
    let nodes = document(&documents, NODES, &mut remarks)
        .map_or_else(|| PartialList::none(true), |file: NodesFile| file.nodes);

    let ListContents { locations, entries: mut customers, digest: customers_digest } =
        read_customers(&documents, &mut remarks);
    // the largest files; their line numbers are known by now
    documents
        .retain(|name, _| name == CUSTOMERS_JSON || !CUSTOMERS.names().any(|known| known == name));
    // a workbook and its exports have equal content and other bytes: the content is digested
    for (list, digest) in [(CUSTOMERS, customers_digest), (OWNERS, read.digest.take())] {
        if let Some(digest) = digest {
            digests.retain(|name, _| !list.names().any(|known| known == name));
            digests.insert(list.name.to_owned(), digest);
        }
    }
    let ids = check_customers(&customers, &locations, &mut remarks);
    check_entity_references(&customers, &locations, read.entities().as_ref(), &mut remarks);
    check_nodes(&nodes, &customers, &locations, &ids, &mut remarks);
    drop(ids);
    if let Some(words) = document::<EnforcementFile>(&documents, ENFORCEMENT, &mut remarks) {
        enforcement::apply(ENFORCEMENT, &words, &mut customers, locations.whole, &mut remarks);
    }
    let unknown = if locations.whole { unknown } else { UnknownNames::Unsure };
    let signals = sharing::read(&documents, &mut customers, unknown, &mut remarks);
    notice_customers(&customers, &locations, now, &mut remarks);

    remarks.locate(&documents);
    let owners = read.owners().filter(|_| remarks.count() == 0);
    let directory = owners.zip(networks).map(|(owners, networks)| Directory {
        owners,
        customers,
        nodes: nodes.into_values(),
        signals,
        networks,
        digests,
        locations,
    });
    (directory, remarks)
}

/// Reads who owns whom, as of `now`. Returns the owners only if nothing is wrong.
pub fn owners(documents: &Documents, now: UnixSeconds) -> (Option<Owners>, Remarks) {
    let mut remarks = Remarks::default();
    let read = read_owners(documents, now, &mut remarks);
    remarks.locate(documents);
    (read.owners().filter(|_| remarks.count() == 0), remarks)
}

/// The customers that can be read; none in a register that has only companies.
pub fn customers(documents: &Documents) -> Vec<Customer> {
    read_customers(documents, &mut Remarks::default()).entries
}

impl Directory {
    /// A customer's file and line, counted from 1.
    pub fn place(&self, customer: usize) -> (&'static str, usize) {
        (self.locations.file, self.locations.line(customer))
    }

    /// The names of those customers that have one, by id.
    pub fn names(&self) -> HashMap<&str, &str> {
        let customers = self.customers.iter();
        customers.filter_map(|it| Some((it.id.as_str(), it.name.as_ref()?.as_str()))).collect()
    }
}

fn read_networks(settings: &Settings, files: Documents, remarks: &mut Remarks) -> Option<Networks> {
    let networks = networks::merge(&settings.networks, &files, remarks);
    let sources = networks.iter().flat_map(|networks| &networks.sources);
    for source in sources.filter(|source| !source.unannounced.is_empty()) {
        let (shown, more) = source.unannounced.split_at(source.unannounced.len().min(10));
        let shown = shown.iter().map(|asn| format!("AS{asn}")).collect::<Vec<_>>().join(" ");
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {} more", grouped(more)),
        };
        let message =
            format!("no source has networks of {shown}{more}; nothing is listed for them");
        let help = "correct the number, or remove it if that system has left the Internet";
        remarks.notice(source.file.as_str(), "", message, help);
    }
    if !remarks.have_errors_at(SETTINGS, &Path::Member(&Path::Root, "networks")) {
        let is_used = |name: &str| settings.networks.iter().any(|it| it.file.as_str() == name);
        for name in files.keys().filter(|name| !is_used(name)) {
            let message = "unused file: no source in register.json names it".into();
            remarks.notice(name, "", message, "name it in `networks`, or remove it");
        }
    }
    networks
}
