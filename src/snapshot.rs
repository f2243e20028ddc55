//! The snapshot: what a request looks up, compiled from the register into one signed file.
//!
//! [`layout`] says what is in the file and verifies it part by part. A worker holds the [`table`] of addresses
//! itself, since every request asks it; a million customers stay where the pages are ([`Pages`]: in Envoy the
//! memory that all workers share, at the desk the file), and only those seen lately are held here.

mod cache;
pub mod customers;
pub mod fetch;
pub mod layout;
pub mod nodes;
pub mod table;

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use cache::CustomerCache;
use customers::{NameKind, RecordKey};
use layout::{Head, PageKind, PageRow, Preamble, Refused};
use table::{AddressTable, FactsRow};

use crate::names::UnixSeconds;
use crate::region::{Place, Regions};
use crate::register::{Match, Name, Nodes};
use crate::shape::words;

words! {
    /// What the networks of a list are, from what hides least to what hides most.
    pub enum NetworkClass {
        /// A content delivery network
        Cdn = "cdn",
        /// A cloud or a data centre
        Hosting = "hosting",
        /// An open proxy
        Proxy = "proxy",
        /// A VPN
        Vpn = "vpn",
        /// An exit of Tor
        Tor = "tor",
    }
}

/// What the sources say of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facts {
    /// What each source of countries says, in the order of the sources
    pub places: Vec<Option<Place>>,
    /// The autonomous system that announces it
    pub asn: Option<u32>,
    /// The lists that it is on, as bits: bit n is the n-th list in the order of the sources
    pub lists: u64,
}

/// Where the pages of a snapshot are.
pub trait Pages {
    /// The bytes of a page, verified; `None` where it is gone, because the worker's snapshot is no longer the current one.
    fn page(&self, number: usize) -> Option<Vec<u8>>;
    /// The bytes of one bucket of a page of customers; `None` where the page has none, or is gone.
    fn bucket(&self, number: usize, bucket: usize) -> Option<Vec<u8>>;
}

/// A verified snapshot, ready for requests.
pub struct Snapshot {
    preamble: Preamble,
    head: Head,
    addresses: AddressTable,
    nodes: Nodes,
    pages: Box<dyn Pages>,
    // there are 2^n pages of customers
    page_bits: u32,
    cache: RefCell<CustomerCache>,
}

impl NetworkClass {
    /// Whether it hides where a request comes from.
    pub fn hides(self) -> bool {
        match self {
            Self::Cdn | Self::Hosting => false,
            Self::Proxy | Self::Vpn | Self::Tor => true,
        }
    }
}

impl Snapshot {
    /// A snapshot of that preamble and head, whose pages were each verified. Pages that the one before has too
    /// are taken over, and the memory of its others is free before the first new one is read: a worker never
    /// holds two tables.
    ///
    /// # Errors
    /// What breaks the format from one page to the next, or that pages are gone.
    pub fn new(
        preamble: Preamble,
        head: Head,
        pages: Box<dyn Pages>,
        before: Option<Self>,
    ) -> Result<Self, Refused> {
        let before = before.map(|before| (before.addresses, before.head));
        let addresses = AddressTable::new(&head, before, |number| pages.page(number))?;
        let nodes = nodes::read(&head, |number| pages.page(number))?;
        let page_bits = head.of_kind(PageKind::Customers).len().trailing_zeros();
        Ok(Self { preamble, head, addresses, nodes, pages, page_bits, cache: RefCell::default() })
    }

    /// Its sequence.
    pub fn sequence(&self) -> u64 {
        self.preamble.sequence
    }

    /// When it was compiled.
    pub fn created(&self) -> UnixSeconds {
        self.preamble.created
    }

    /// How many bytes its table of addresses has.
    pub fn table_size(&self) -> usize {
        self.addresses.size()
    }

    /// Its signed beginning.
    pub fn preamble(&self) -> &Preamble {
        &self.preamble
    }

    /// Its head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The regions to judge by.
    pub fn regions(&self) -> &Regions {
        &self.head.regions
    }

    /// What is known of an address.
    pub fn address(&self, address: IpAddr) -> Option<FactsRow<'_>> {
        self.addresses.find(address)
    }

    /// The customer of a name.
    pub fn customer(&self, name: Name<'_>) -> Option<Match> {
        let (key, kind) = (RecordKey::of(name), NameKind::of(name));
        // a record holds the one credential that leads to it
        let entry = matches!(name, Name::Secret(_)).then_some(0);
        if let Some(customer) = self.cache.borrow_mut().get(&key, kind) {
            return Some(Match { customer, entry });
        }
        let (page, bucket) = key.place(self.page_bits);
        let number = self.head.of_kind(PageKind::Customers).start.checked_add(page)?;
        let bucket = self.pages.bucket(number, bucket)?;
        let customer = customers::find(&bucket, &key, kind, self.head.version)?;
        self.cache.borrow_mut().put(key, kind, Rc::clone(&customer));
        Some(Match { customer, entry })
    }

    /// Other resellers' nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
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
        trusted: impl Fn(&crate::key::VerifyingKey) -> bool,
    ) -> Result<Self, Refused> {
        let preamble = Preamble::parse(&file, trusted)?;
        let size = u64::try_from(file.len()).unwrap_or(u64::MAX);
        if size < preamble.file_size {
            return Err(Refused::Truncated);
        }
        if size > preamble.file_size {
            return Err(Refused::Head("something follows its last page".into()));
        }
        let head = file
            .get(layout::PREAMBLE..layout::PREAMBLE.saturating_add(preamble.head_size))
            .ok_or(Refused::Truncated)?;
        let head = Head::parse(&preamble, head)?;
        let mut places = Vec::with_capacity(head.pages.len());
        for (number, row) in head.pages.iter().enumerate() {
            let begin = usize::try_from(row.offset).unwrap_or(usize::MAX);
            let place = begin..begin.saturating_add(row.size);
            let page = file.get(place.clone()).ok_or(Refused::Truncated)?;
            row.verify(number, page)?;
            check_page(&head, number, page)?;
            places.push(place);
        }
        Self::new(preamble, head, Box::new(FilePages { file, places }), None)
    }
}

#[cfg(feature = "desk")]
impl Snapshot {
    /// Every customer, as often as credentials and names lead to it.
    pub fn customers(&self) -> impl Iterator<Item = Rc<crate::register::Customer>> {
        let pages =
            self.head.of_kind(PageKind::Customers).filter_map(|number| self.pages.page(number));
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
impl Pages for FilePages {
    fn page(&self, number: usize) -> Option<Vec<u8>> {
        self.file.get(self.places.get(number)?.clone()).map(<[u8]>::to_vec)
    }

    fn bucket(&self, number: usize, bucket: usize) -> Option<Vec<u8>> {
        customers::buckets(self.file.get(self.places.get(number)?.clone())?)?
            .get(bucket)
            .map(|bucket| bucket.to_vec())
    }
}

/// Checks a page that was verified, before anything reads it.
///
/// # Errors
/// What breaks the format within it.
pub fn check_page(head: &Head, number: usize, bytes: &[u8]) -> Result<(), Refused> {
    let Some(PageRow { kind, rows, .. }) = head.pages.get(number).copied() else {
        return Err(Refused::Page(number, "there is no such page"));
    };
    let found = match kind {
        PageKind::Facts | PageKind::V4 | PageKind::V6 | PageKind::V6Fine => {
            table::check(kind, bytes, rows, &head.contents)
        }
        PageKind::Nodes => nodes::check(bytes, rows),
        PageKind::Customers => {
            let pages = head.of_kind(kind);
            customers::check(
                bytes,
                rows,
                number.saturating_sub(pages.start),
                pages.len().trailing_zeros(),
                head.version,
            )
        }
    };
    found.map_err(|why| Refused::Page(number, why))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({})", self.preamble.sequence)
    }
}
