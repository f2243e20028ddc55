//! The snapshot: what a request looks up, compiled from the register into one signed file.
//!
//! [`layout`] has the file's form, and its checks part by part. A snapshot holds the [`table`] of
//! addresses itself, as every request asks it. A million customers stay where the pages are
//! ([`PageSource`]: at the desk the file, in Envoy the memory that workers share). A snapshot
//! caches those that were looked up last.

pub mod bytes;
mod cache;
#[cfg(feature = "desk")]
pub mod customer_writer;
pub mod customers;
pub mod fetch;
pub mod keeping;
pub mod layout;
#[cfg(feature = "desk")]
pub mod map;
pub mod memory;
pub mod nodes;
pub mod table;
#[cfg(feature = "desk")]
pub mod write;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::PageBytes;
use cache::CustomerCache;
use customers::{NameKind, RecordKey};
use layout::{Head, PageKind, PageRow, Preamble, SnapshotError};
use table::{AddressIndex, FactsRow};

use crate::register::{Match, Name, Nodes, PageGone};

/// Where the pages of a snapshot are.
pub trait PageSource: Send + Sync {
    /// The bytes of a page, verified.
    ///
    /// # Errors
    /// That the page is gone.
    fn page(&self, number: usize) -> Result<PageBytes, PageGone>;
    /// The bytes of one bucket of a page of customers, verified.
    ///
    /// # Errors
    /// That the page is gone.
    fn bucket(&self, number: usize, bucket: usize) -> Result<Cow<'_, [u8]>, PageGone>;
}

/// A verified snapshot, ready for requests.
pub struct Snapshot {
    /// Its signed beginning
    pub preamble: Preamble,
    /// Its head
    pub head: Head,
    /// Other resellers' nodes
    pub nodes: Nodes,
    addresses: AddressIndex,
    pages: Box<dyn PageSource>,
    // there are 2^n pages of customers
    page_bits: u32,
    cache: CustomerCache,
}

impl Snapshot {
    /// A snapshot of that preamble and head, whose pages were verified one by one. Takes over the
    /// pages that `before` has too, and frees its others before it reads a new one: there are never
    /// two tables of it.
    ///
    /// # Errors
    /// What breaks the format from one page to the next, or that pages are gone.
    pub fn new(
        preamble: Preamble,
        head: Head,
        pages: Box<dyn PageSource>,
        before: Option<Self>,
    ) -> Result<Self, SnapshotError> {
        let before = before.map(|before| (before.addresses, before.head));
        let addresses = AddressIndex::new(&head, before, |number| pages.page(number))?;
        let nodes = nodes::read(&head, |number| pages.page(number))?;
        let page_bits = head.of_kind(PageKind::Customers).len().trailing_zeros();
        Ok(Self {
            preamble,
            head,
            addresses,
            nodes,
            pages,
            page_bits,
            cache: CustomerCache::default(),
        })
    }

    /// How many bytes its table of addresses has.
    pub fn table_size(&self) -> usize {
        self.addresses.size()
    }

    /// What is known of an address.
    pub fn address(&self, address: IpAddr) -> Option<FactsRow<'_>> {
        self.addresses.find(address)
    }

    /// The customer of a name.
    ///
    /// # Errors
    /// That the page with the customer is gone.
    pub fn customer(&self, name: Name<'_>) -> Result<Option<Match>, PageGone> {
        let (key, kind) = (RecordKey::of(name), NameKind::of(name));
        // a record holds the one credential that leads to it
        let entry = matches!(name, Name::Secret(_)).then_some(0);
        if let Some(customer) = self.cache.get(&key, kind) {
            return Ok(Some(Match { customer, entry }));
        }
        let (page, bucket) = key.place(self.page_bits);
        let number = self.head.of_kind(PageKind::Customers).start.saturating_add(page);
        let bucket = self.pages.bucket(number, bucket)?;
        Ok(customers::find(&bucket, &key, kind, self.head.version).map(|customer| {
            self.cache.put(key, kind, Arc::clone(&customer));
            Match { customer, entry }
        }))
    }
}

/// A snapshot in one piece, as the desk has it.
#[cfg(feature = "desk")]
impl Snapshot {
    /// Reads a whole file: verifies the signature, each page and their order.
    ///
    /// # Errors
    /// The first reason not to take it.
    pub fn read(
        file: Vec<u8>,
        trusted: impl Fn(&crate::terms::key::VerifyingKey) -> bool,
    ) -> Result<Self, SnapshotError> {
        let preamble = Preamble::parse(&file, trusted)?;
        let size = u64::try_from(file.len()).unwrap_or(u64::MAX);
        if size < preamble.file_size {
            return Err(SnapshotError::Truncated);
        }
        if size > preamble.file_size {
            return Err(SnapshotError::Head("something follows its last page".into()));
        }
        let head = file
            .get(layout::PREAMBLE..layout::PREAMBLE.saturating_add(preamble.head_size))
            .ok_or(SnapshotError::Truncated)?;
        let head = Head::parse(&preamble, head)?;
        let mut places = Vec::with_capacity(head.pages.len());
        for (number, row) in head.pages.iter().enumerate() {
            let begin = usize::try_from(row.offset).unwrap_or(usize::MAX);
            let place = begin..begin.saturating_add(row.size);
            let page = file.get(place.clone()).ok_or(SnapshotError::Truncated)?;
            row.verify(number, page)?;
            check_page(&head, number, page)?;
            places.push(place);
        }
        Self::new(preamble, head, Box::new(FilePages { file, places }), None)
    }

    /// Every customer, as often as credentials and names lead to it.
    pub fn customers(&self) -> impl Iterator<Item = Arc<crate::register::Customer>> {
        let numbers = self.head.of_kind(PageKind::Customers);
        let pages = numbers.filter_map(|number| self.pages.page(number).ok());
        pages.flat_map(|page| customers::all(&page, self.head.version))
    }
}

/// The pages of a file.
#[cfg(feature = "desk")]
struct FilePages {
    file: Vec<u8>,
    places: Vec<std::ops::Range<usize>>,
}

#[cfg(feature = "desk")]
impl FilePages {
    fn bytes(&self, number: usize) -> Result<&[u8], PageGone> {
        self.file.get(self.places.get(number).ok_or(PageGone)?.clone()).ok_or(PageGone)
    }
}

#[cfg(feature = "desk")]
impl PageSource for FilePages {
    fn page(&self, number: usize) -> Result<PageBytes, PageGone> {
        self.bytes(number).map(|bytes| PageBytes::Owned(bytes.to_vec()))
    }

    fn bucket(&self, number: usize, bucket: usize) -> Result<Cow<'_, [u8]>, PageGone> {
        let page = self.bytes(number)?;
        let bucket = customers::buckets(page).and_then(|buckets| buckets.get(bucket).copied());
        Ok(bucket.unwrap_or_default().into())
    }
}

/// Checks a page that was verified, before anything reads it.
///
/// # Errors
/// What breaks the format within it.
pub fn check_page(head: &Head, number: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
    let Some(PageRow { kind, rows, .. }) = head.pages.get(number).copied() else {
        return Err(SnapshotError::Page(number, "the head doesn't list it"));
    };
    let found = match kind {
        PageKind::Facts | PageKind::V4 | PageKind::V6 | PageKind::V6Fine => {
            table::check(kind, bytes, rows, &head.contents)
        }
        PageKind::Nodes => nodes::check(bytes, rows),
        PageKind::Customers => {
            let pages = head.of_kind(kind);
            let number = number.saturating_sub(pages.start);
            customers::check(bytes, rows, number, pages.len().trailing_zeros(), head.version)
        }
    };
    found.map_err(|why| SnapshotError::Page(number, why))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.preamble.sequence)
    }
}
