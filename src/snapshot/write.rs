//! Writes a snapshot. The same inputs give the same bytes.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::Digest as _;

use crate::register::{Customer, Name, Node, NodeKey};
use crate::shape::to_value;
use crate::snapshot::customer_writer::{self, CustomerRecord};
use crate::snapshot::customers::{self, BUCKETS, NameKind, RecordKey};
use crate::snapshot::layout::{
    FileContents, FormatVersion, MAGIC, MAX_HEAD, MAX_PAGE, PREAMBLE, PageKind, ROWS_A_PAGE,
    SIGNED, SourceContents, little,
};
use crate::snapshot::map::AddressMap;
use crate::snapshot::table::{DIVIDED, POINTER};
use crate::terms::key::SigningKey;
use crate::terms::region::{Place, Regions};
use crate::terms::time::UnixSeconds;

/// What goes into a snapshot: the register, screened.
#[derive(Debug)]
pub struct Material<'a> {
    /// Newer snapshots have higher ones
    pub sequence: u64,
    /// When it is compiled
    pub created: UnixSeconds,
    /// The regions to judge by
    pub regions: &'a Regions,
    /// What the sources of network addresses are, in order of precedence
    pub sources: &'a [SourceContents],
    /// What they say
    pub addresses: &'a AddressMap,
    /// The customers, their ownership worked out
    pub customers: &'a [Customer],
    /// Other nodes
    pub nodes: &'a [Node],
    /// The register's files
    pub files: &'a [FileContents],
}

/// Why a register doesn't fit into a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// More different facts, places or sets of lists than rows can point at
    #[error("the table of addresses has {0}")]
    Addresses(&'static str),
    /// Two names of customers have the same key
    #[error("a credential or name leads to both {0} and {1}")]
    SameKey(String, String),
    /// A customer's record, or all that fall into one page, are larger than one may be
    #[error(
        "a page of {0} bytes is larger than {MAX_PAGE}: \
         a customer has too many overrides, or there are too many customers"
    )]
    Page(usize),
    /// The head is larger than it may be
    #[error("the head has {0} bytes, more than {MAX_HEAD}")]
    Head(usize),
}

/// How large a page of customers may be on average, in bytes: a node fetches that much for one that
/// changed. Each page costs 41 bytes of the head, which every node fetches with every change, and
/// of each worker's memory.
const CUSTOMERS_PAGE: usize = 16 << 10;

/// How many rows of addresses, or of facts, go into a page: two fewer than may. A page of 12 bytes
/// a row (three sources of countries) or 7 (IPv4) then fits into 96 or 56 KiB of Envoy's allocator
/// with what is stored beside it. One byte more would take a sixth more memory.
pub const ROWS: usize = ROWS_A_PAGE - 2;

/// Writes and signs a snapshot.
///
/// # Errors
/// What doesn't fit into the format.
pub fn write(material: &Material<'_>, key: &SigningKey) -> Result<Vec<u8>, WriteError> {
    let mut pages = PageWriter::default();
    let (places, list_sets) = write_addresses(material, &mut pages)?;
    if !material.nodes.is_empty() {
        let nodes: serde_json::Value = material.nodes.iter().map(node_json).collect();
        pages.push(PageKind::Nodes, nodes.to_string().as_bytes(), material.nodes.len())?;
    }
    let keys = write_customers(material, &mut pages)?;

    let regions = material.regions;
    let contents = json!({
        "regions": {
            "set": regions.set,
            "supported": regions.supported.codes().collect::<Vec<_>>(),
            "restricted": regions.restricted.codes().collect::<Vec<_>>(),
            "restricted_parts": texts(&regions.restricted_parts),
        },
        "sources": material.sources.iter().map(to_value).collect::<Vec<_>>(),
        "places": texts(&places),
        "list_sets": list_sets,
        "customers": material.customers.len(),
        "keys": keys,
        "nodes": material.nodes.len(),
        "files": material.files.iter().map(to_value).collect::<Vec<_>>(),
        "compiler": concat!("waybill ", env!("CARGO_PKG_VERSION")),
    })
    .to_string();
    let mut head = little(contents.len()).to_vec();
    head.extend(contents.as_bytes());
    head.extend(&pages.rows);
    if head.len() > MAX_HEAD {
        return Err(WriteError::Head(head.len()));
    }

    let mut file = MAGIC.to_vec();
    let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let file_size =
        size(PREAMBLE).saturating_add(size(head.len())).saturating_add(size(pages.bytes.len()));
    let created = u64::try_from(material.created.0).unwrap_or(0);
    // nodes that read version 2 only can still read a register without signs of sharing
    let version = match material.customers.iter().all(|customer| customer.signals.is_empty()) {
        true => FormatVersion::Two,
        false => FormatVersion::Three,
    };
    for number in [version as u64, size(head.len()), file_size, material.sequence, created] {
        file.extend(number.to_le_bytes());
    }
    file.extend(sha2::Sha256::digest(&head));
    file.extend(key.verifying_key().as_bytes());
    file.resize(SIGNED, 0);
    file.extend(key.sign(&file));
    file.extend(head);
    file.append(&mut pages.bytes);
    Ok(file)
}

/// Pages and their rows in the head, as they are written.
#[derive(Default)]
struct PageWriter {
    bytes: Vec<u8>,
    rows: Vec<u8>,
    count: usize,
}

impl PageWriter {
    fn push(&mut self, kind: PageKind, page: &[u8], rows: usize) -> Result<(), WriteError> {
        if page.len() > MAX_PAGE {
            return Err(WriteError::Page(page.len()));
        }
        self.rows.push(kind as u8);
        self.rows.extend(little(page.len()));
        self.rows.extend(little(rows));
        self.rows.extend(sha2::Sha256::digest(page));
        self.bytes.extend(page);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Rows of an address and a pointer each, in pages of [`ROWS`].
    fn push_runs<const KEY: usize>(
        &mut self,
        kind: PageKind,
        runs: &[RunBytes<KEY>],
    ) -> Result<(), WriteError> {
        for rows in runs.chunks(ROWS) {
            let width = KEY.saturating_add(POINTER);
            let mut page = Vec::with_capacity(rows.len().saturating_mul(width));
            for (key, pointer) in rows {
                page.extend(key);
                page.extend(pointer.to_le_bytes().iter().take(POINTER));
            }
            self.push(kind, &page, rows.len())?;
        }
        Ok(())
    }
}

/// Writes the table of addresses. Returns what rows of facts point at, from 1 on: places and sets
/// of lists.
fn write_addresses(
    material: &Material<'_>,
    pages: &mut PageWriter,
) -> Result<(Vec<Place>, Vec<Vec<usize>>), WriteError> {
    let AddressMap { v4, v6, facts, .. } = material.addresses;
    if v4.is_empty() && v6.is_empty() {
        return Ok(Default::default());
    }
    if u32::try_from(facts.len()).map_or(true, |count| count >= DIVIDED) {
        return Err(WriteError::Addresses("more than 16,777,214 different facts"));
    }
    let places: BTreeSet<Place> =
        facts.iter().flat_map(|facts| facts.places.iter().flatten().copied()).collect();
    let places: Vec<Place> = places.into_iter().collect();
    let sets: BTreeSet<u64> =
        facts.iter().map(|facts| facts.lists).filter(|lists| *lists != 0).collect();
    let sets: Vec<u64> = sets.into_iter().collect();
    if places.len() > usize::from(u16::MAX) || sets.len() > usize::from(u16::MAX) {
        return Err(WriteError::Addresses("more than 65,535 different places or sets of lists"));
    }
    let pointer = |place: Option<usize>| {
        u16::try_from(place.map_or(0, |place| place.saturating_add(1))).unwrap_or(0).to_le_bytes()
    };
    for rows in facts.chunks(ROWS) {
        let mut page = Vec::new();
        for row in rows {
            page.extend(row.asn.unwrap_or(0).to_le_bytes());
            page.extend(pointer(sets.binary_search(&row.lists).ok()));
            for place in &row.places {
                page.extend(pointer(place.and_then(|place| places.binary_search(&place).ok())));
            }
        }
        pages.push(PageKind::Facts, &page, rows.len())?;
    }
    let v4: Vec<RunBytes<4>> =
        v4.iter().map(|(first, pointer)| (first.to_le_bytes(), *pointer)).collect();
    pages.push_runs(PageKind::V4, &v4)?;
    let (networks, fine) = divide(v6);
    pages.push_runs(PageKind::V6, &networks)?;
    pages.push_runs(PageKind::V6Fine, &fine)?;

    let sources = material.sources.iter().enumerate();
    let lists = sources.filter(|(_, source)| source.class.is_some()).map(|(i, _)| i);
    let members = |set: &u64| {
        let bits = (0..).map(|bit| set.checked_shr(bit).is_some_and(|set| set & 1 == 1));
        lists.clone().zip(bits).filter_map(|(list, is_member)| is_member.then_some(list)).collect()
    };
    Ok((places, sets.iter().map(members).collect()))
}

/// A row of addresses: the first, and what it points at.
type RunBytes<const KEY: usize> = ([u8; KEY], u32);

/// Runs by the first half of the address, and the finer runs of those halves that are divided.
fn divide(runs: &[(u128, u32)]) -> (Vec<RunBytes<8>>, Vec<RunBytes<16>>) {
    let mut networks: Vec<(u64, u32)> = Vec::new();
    let mut fine: Vec<(u128, u32)> = Vec::new();
    let half = |address: u128| u64::try_from(address >> 64).unwrap_or(u64::MAX);
    let mut in_force = 0;
    // ends the divided half that the last row may be, where `next` lies beyond the half after it
    let close = |networks: &mut Vec<(u64, u32)>, in_force: u32, next: Option<u128>| {
        if let Some((last, DIVIDED)) = networks.last().copied()
            && let Some(after) = last.checked_add(1)
            && next.is_none_or(|next| next > u128::from(after) << 64)
        {
            networks.push((after, in_force));
        }
    };
    for (first, pointer) in runs.iter().copied() {
        let network = half(first);
        let begins_there = u128::from(network) << 64 == first;
        if networks.last().is_none_or(|(last, _)| *last < network) {
            close(&mut networks, in_force, Some(first));
        }
        if begins_there {
            networks.push((network, pointer));
        } else {
            match networks.last_mut() {
                Some((last, DIVIDED)) if *last == network => {}
                Some((last, before)) if *last == network => {
                    fine.push((u128::from(network) << 64, *before));
                    *before = DIVIDED;
                }
                _ => {
                    networks.push((network, DIVIDED));
                    fine.push((u128::from(network) << 64, in_force));
                }
            }
            fine.push((first, pointer));
        }
        in_force = pointer;
    }
    close(&mut networks, in_force, None);
    let networks =
        networks.into_iter().map(|(first, pointer)| (first.to_le_bytes(), pointer)).collect();
    (networks, fine.into_iter().map(|(first, pointer)| (first.to_le_bytes(), pointer)).collect())
}

/// Writes the pages of customers; gives how many keys there are.
fn write_customers(material: &Material<'_>, pages: &mut PageWriter) -> Result<usize, WriteError> {
    let runs_a_node: BTreeSet<&str> =
        material.nodes.iter().map(|node| node.customer.as_str()).collect();
    let mut records: Vec<(RecordKey, CustomerRecord<'_>)> = Vec::new();
    for customer in material.customers {
        let mut add = |name, entry| {
            let record = CustomerRecord { kind: NameKind::of(name), entry, customer };
            records.push((RecordKey::of(name), record));
        };
        for credential in &customer.credentials {
            add(Name::Secret(credential.digest), Some(&**credential));
        }
        customer.mtls.iter().for_each(|name| add(Name::Certificate(name.as_str()), None));
        customer.jwt.iter().for_each(|value| add(Name::Claim(value.as_str()), None));
        if runs_a_node.contains(customer.id.as_str()) {
            add(Name::Id(customer.id.as_str()), None);
        }
    }
    records.sort_by_key(|(key, _)| *key);
    if let Some([(_, one), (_, other)]) =
        records.array_windows().find(|[(one, _), (other, _)]| one == other)
    {
        let id = |record: &CustomerRecord<'_>| record.customer.id.to_string();
        return Err(WriteError::SameKey(id(one), id(other)));
    }
    let sizes = records.iter().map(|(_, record)| record.size().saturating_add(customers::ROW));
    let size = sizes.fold(0, usize::saturating_add);
    let bits = (size / CUSTOMERS_PAGE).next_power_of_two().trailing_zeros().min(16);
    let mut rest = records.as_slice();
    for number in 0..1_usize << bits {
        let mut count = 0_usize;
        let buckets: [Vec<u8>; BUCKETS] = std::array::from_fn(|bucket| {
            let (here, after) =
                rest.split_at(rest.partition_point(|(key, _)| key.place(bits) <= (number, bucket)));
            rest = after;
            count = count.saturating_add(here.len());
            customer_writer::bucket(here)
        });
        let sizes = buckets.each_ref().map(|bucket| little(bucket.len())).concat();
        let page = if count == 0 { Vec::new() } else { [sizes, buckets.concat()].concat() };
        pages.push(PageKind::Customers, &page, count)?;
    }
    Ok(records.len())
}

fn texts(places: &[Place]) -> Vec<String> {
    places.iter().map(ToString::to_string).collect()
}

/// A node as the page has it: of its keys what verifies signatures.
fn node_json(node: &Node) -> serde_json::Value {
    let keys = node.keys.iter().map(|key| NodeKey { kid: None, r#use: None, ..key.clone() });
    to_value(&Node { keys: keys.collect(), ..node.clone() })
}
