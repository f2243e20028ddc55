//! The file, byte by byte: preamble, head, pages. `docs/snapshot.md` publishes it.
//!
//! ```text
//! preamble   256 bytes, signed: an idle poll reads no more
//! head       JSON on the contents, then a row for each page with its digest
//! pages      sorted fixed-width rows, and customers; each at most 512 KiB
//! ```
//!
//! One signature covers all: the preamble has the head's digest, the head has the digest of each
//! page. So each part can be verified and fetched again by itself, and stays if the next snapshot
//! has it unchanged. Numbers are little-endian.

use sha2::Digest as _;

use crate::register::PageGone;
use crate::shape::{Integer, object, read_document, words};
use crate::terms::key::VerifyingKey;
use crate::terms::names::Text;
use crate::terms::network::{NetworkClass, SourceRole};
use crate::terms::region::{CountryCode, Place, Regions};
use crate::terms::time::UnixSeconds;

/// The first bytes of every snapshot.
pub const MAGIC: [u8; 8] = *b"WAYBILL\n";
/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatVersion {
    /// A customer's flags are one byte
    One = 1,
    /// A customer's flags are a number of up to 63 bits
    Two = 2,
    /// A customer may have signs of sharing
    Three = 3,
}

impl FormatVersion {
    fn parse(number: u64) -> Result<Self, SnapshotError> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            other => Err(SnapshotError::Version(other)),
        }
    }
}

/// The size of the preamble, in bytes.
pub const PREAMBLE: usize = 256;
/// How much of the preamble is signed, in bytes.
pub const SIGNED: usize = 192;
/// The largest head, in bytes: 41 for each of two hundred thousand pages.
pub const MAX_HEAD: usize = 8 << 20;
/// The largest page, in bytes.
pub const MAX_PAGE: usize = 512 << 10;
/// The size of a page's row in the head, in bytes: kind, size, number of rows, digest.
pub const PAGE_ROW: usize = 41;
/// The rows of a full page of the address table.
pub const ROWS_A_PAGE: usize = 8_192;

/// A preamble whose signature by a trusted key was verified: there is no other way to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preamble {
    /// The version of the format
    pub version: FormatVersion,
    /// Newer snapshots have higher ones
    pub sequence: u64,
    /// When the register was compiled
    pub created: UnixSeconds,
    /// The key that signed
    pub key: VerifyingKey,
    /// The head's size, in bytes
    pub head_size: usize,
    /// The whole file's, in bytes
    pub file_size: u64,
    head_digest: [u8; 32],
}

/// The head, whose digest is the preamble's.
#[derive(Debug)]
pub struct Head {
    /// The version of the format, as the preamble has it
    pub version: FormatVersion,
    /// What is in the file
    pub contents: Contents,
    /// The regions to judge by
    pub regions: Regions,
    /// The pages, in the order of the file
    pub pages: Vec<PageRow>,
    // INVARIANT (kinds): where pages of each kind begin, by `PageKind::ALL`, and where the last end
    kinds: Vec<usize>,
}

/// One page, as the head describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRow {
    /// What is in it
    pub kind: PageKind,
    /// Where it begins in the file
    pub offset: u64,
    /// Its size in bytes
    pub size: usize,
    /// How many rows it has
    pub rows: usize,
    /// The SHA-256 of its bytes
    pub digest: [u8; 32],
}

words! {
    /// What is in a page. In the order of the file.
    pub enum PageKind {
        /// What sources say, for rows of addresses to point at
        Facts = "facts",
        /// IPv4 addresses
        V4 = "v4",
        /// IPv6 networks down to /64
        V6 = "v6",
        /// IPv6 addresses within those /64 that are divided
        V6Fine = "v6-fine",
        /// Other nodes, by the thumbprints of their keys
        Nodes = "nodes",
        /// Customers, by what names them
        Customers = "customers",
    }
}

object! {
    /// What is in a snapshot: the head's JSON.
    pub struct Contents {
        /// The regions to judge by, resolved
        regions: RegionContents,
        /// What the sources of network addresses are, in order of precedence
        sources: Vec<SourceContents> = Vec::new(),
        /// The places that rows of facts point at, from 1 on: 0 is "not known"
        places: Vec<Place> = Vec::new(),
        /// The sets of lists that rows of facts point at, from 1 on: 0 is "on no list". A set has
        /// the numbers of its sources
        list_sets: Vec<Vec<Integer<0, 4_095>>> = Vec::new(),
        /// How many customers there are
        customers: Integer<0, { u32::MAX as u64 }>,
        /// How many credentials and names lead to them
        keys: Integer<0, { u32::MAX as u64 }>,
        /// How many other nodes there are
        nodes: Integer<0, { u32::MAX as u64 }>,
        /// The register's files, with their digests
        files: Vec<FileContents> = Vec::new(),
        /// What compiled it
        compiler: Text,
    }
}

object! {
    /// The regions of a snapshot.
    pub struct RegionContents {
        /// The region set
        set: Text,
        /// Supported countries
        supported: Vec<CountryCode>,
        /// Restricted countries
        restricted: Vec<CountryCode>,
        /// Restricted parts of countries
        restricted_parts: Vec<Place> = Vec::new(),
    }
}

object! {
    /// A source of a snapshot.
    pub struct SourceContents {
        /// Its name
        name: Text,
        /// For countries: how much it counts
        role: Option<SourceRole> = None,
        /// For a list: what the networks in it are
        class: Option<NetworkClass> = None,
        /// As of when it is
        date: UnixSeconds,
        /// The SHA-256 of its file, in hexadecimal digits
        sha256: Text,
        /// How many networks it has
        networks: Integer<0, { u64::MAX }>,
        /// Where it is from, and under which terms
        origin: Option<Text> = None,
    }
}

object! {
    /// A file that a snapshot was compiled from.
    pub struct FileContents {
        /// Its path in the register's directory
        file: Text,
        /// The SHA-256 of its bytes, in hexadecimal digits
        sha256: Text,
    }
}

/// Why a snapshot isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It doesn't begin as a snapshot does
    #[error("not a snapshot: it doesn't begin with `WAYBILL`")]
    NotASnapshot,
    /// This code doesn't know the version of its format
    #[error(
        "unknown format version {0}; this Waybill reads versions 1 to 3: \
         upgrade it before the Waybill that compiles"
    )]
    Version(u64),
    /// It ends too early
    #[error("it ends too early")]
    Truncated,
    /// It is signed with a key that isn't trusted here
    #[error("it is signed with the key {0}, which isn't trusted here")]
    Key(String),
    /// The signature doesn't hold
    #[error("invalid signature")]
    Signature,
    /// The head's bytes aren't what was signed
    #[error("its head isn't what was signed")]
    HeadDigest,
    /// The head can't be read
    #[error("invalid head: {0}")]
    Head(String),
    /// The bytes of a page aren't what was signed
    #[error("its page {0} isn't what was signed")]
    PageDigest(usize),
    /// A page breaks the format
    #[error("invalid page {0}: {1}")]
    Page(usize, &'static str),
    /// Its sequence is lower than one that is known, or than the configuration allows
    #[error("its sequence {0} is older than {1}")]
    Rollback(u64, u64),
    /// Another snapshot has its sequence
    #[error("it has the sequence {0} of another snapshot: compile again")]
    SameSequence(u64),
    /// A page is gone already
    #[error(transparent)]
    Gone(#[from] PageGone),
}

/// A size as the file has it. [`MAX_PAGE`] and [`MAX_HEAD`] are far below 4 GB.
#[cfg(feature = "desk")]
pub fn little(size: usize) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes()
}

impl Preamble {
    /// Reads the first [`PREAMBLE`] bytes of a file and verifies their signature.
    ///
    /// # Errors
    /// Why they aren't a preamble, or aren't trusted.
    pub fn parse(
        bytes: &[u8],
        trusted: impl Fn(&VerifyingKey) -> bool,
    ) -> Result<Self, SnapshotError> {
        let mut rest = bytes;
        if rest.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(if MAGIC.starts_with(bytes) {
                SnapshotError::Truncated
            } else {
                SnapshotError::NotASnapshot
            });
        }
        let preamble = bytes.get(..PREAMBLE).ok_or(SnapshotError::Truncated)?;
        rest = rest.get(MAGIC.len()..).unwrap_or_default();
        let mut number = || -> Option<u64> {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let numbers = [number(), number(), number(), number(), number()];
        let [Some(version), Some(head_size), Some(file_size), Some(sequence), Some(created)] =
            numbers
        else {
            return Err(SnapshotError::Truncated);
        };
        let version = FormatVersion::parse(version)?;
        let (head_digest, rest) = rest.split_first_chunk().ok_or(SnapshotError::Truncated)?;
        let key = rest.first_chunk().and_then(VerifyingKey::from_bytes);
        let key = key.ok_or(SnapshotError::Signature)?;
        if !trusted(&key) {
            return Err(SnapshotError::Key(key.to_base64()));
        }
        let signed = preamble.split_last_chunk();
        if !signed.is_some_and(|(signed, signature)| key.verify(signed, signature)) {
            return Err(SnapshotError::Signature);
        }
        let head_size = usize::try_from(head_size).ok().filter(|size| *size <= MAX_HEAD);
        let created = i64::try_from(created).map(UnixSeconds);
        let (Some(head_size), Ok(created)) = (head_size, created) else {
            return Err(SnapshotError::Head("its size or time is beyond what is allowed".into()));
        };
        let head_digest = *head_digest;
        Ok(Self { version, sequence, created, key, head_size, file_size, head_digest })
    }
}

impl Preamble {
    /// Checks that its sequence isn't lower than one that is known or demanded.
    pub(super) fn follows(&self, sequence: u64) -> Result<(), SnapshotError> {
        if self.sequence >= sequence {
            return Ok(());
        }
        Err(SnapshotError::Rollback(self.sequence, sequence))
    }
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// Why it isn't the preamble's, or breaks the format.
    pub fn parse(preamble: &Preamble, bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::parse_verified(preamble, bytes, sha2::Sha256::digest(bytes).into())
    }

    /// Reads a head whose SHA-256 is known. It is hashed part by part, as a large one takes
    /// milliseconds.
    ///
    /// # Errors
    /// Why it isn't the preamble's, or breaks the format.
    pub fn parse_verified(
        preamble: &Preamble,
        bytes: &[u8],
        digest: [u8; 32],
    ) -> Result<Self, SnapshotError> {
        if bytes.len() < preamble.head_size {
            return Err(SnapshotError::Truncated);
        }
        if digest != preamble.head_digest {
            return Err(SnapshotError::HeadDigest);
        }
        Self::read(preamble, bytes)
    }

    /// Reads a head that was verified before.
    ///
    /// # Errors
    /// What breaks the format.
    pub fn read(preamble: &Preamble, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let broken = |why: &str| SnapshotError::Head(why.into());
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or(SnapshotError::Truncated)?;
        let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
        let parts = rest.split_at_checked(size);
        let (json, rows) = parts.ok_or_else(|| broken("its JSON is longer than the head"))?;
        let text = std::str::from_utf8(json).map_err(|_| broken("its JSON isn't UTF-8"))?;
        let mut problems = crate::shape::Problems::default();
        let contents =
            read_document::<Contents>(text, &mut problems).filter(|_| problems.is_empty());
        let (contents, _) = contents.ok_or_else(|| SnapshotError::Head(problems.to_string()))?;
        if rows.len() % PAGE_ROW != 0 {
            return Err(broken("its rows of pages are cut off"));
        }
        let begin = PREAMBLE.saturating_add(preamble.head_size);
        let mut offset = u64::try_from(begin).unwrap_or(u64::MAX);
        let mut pages: Vec<PageRow> = Vec::with_capacity(rows.len() / PAGE_ROW);
        for row in rows.chunks_exact(PAGE_ROW) {
            let page = PageRow::parse(row, offset)
                .ok_or_else(|| broken("a row of its pages can't be read"))?;
            if pages.last().is_some_and(|last| last.kind > page.kind) {
                return Err(broken("its pages are out of order"));
            }
            // no other check sees an empty page, as its bytes are never fetched
            if page.size == 0 && !(page.kind == PageKind::Customers && page.rows == 0) {
                return Err(broken("a page that isn't of customers is empty"));
            }
            offset = offset.saturating_add(u64::try_from(page.size).unwrap_or(u64::MAX));
            pages.push(page);
        }
        if offset != preamble.file_size {
            return Err(broken("its pages don't fill the file"));
        }
        let begin = |kind: &PageKind| pages.partition_point(|page| page.kind < *kind);
        let kinds = PageKind::ALL.iter().map(begin).chain([pages.len()]).collect();
        let RegionContents { set, supported, restricted, restricted_parts } =
            contents.regions.clone();
        let regions = Regions::resolved(set.to_string(), supported, restricted, restricted_parts);
        let head = Self { version: preamble.version, contents, regions, pages, kinds };
        if !head.of_kind(PageKind::Customers).len().is_power_of_two() {
            return Err(broken("the number of its pages of customers isn't a power of two"));
        }
        Ok(head)
    }

    /// The number of the page at the same place as page `number` of `other`, if both are the same.
    pub fn twin(&self, other: &Self, number: usize) -> Option<usize> {
        let page = other.pages.get(number)?;
        let place = number.checked_sub(other.of_kind(page.kind).start)?;
        let twin = self.of_kind(page.kind).nth(place)?;
        // each version has its own checks: bytes that passed those of another must pass anew. But
        // all that version 2 has, version 3 has in the same form
        let is_checked = self.version == other.version
            || (other.version, self.version) == (FormatVersion::Two, FormatVersion::Three);
        let is_same = |twin: &&PageRow| twin.digest == page.digest && is_checked;
        self.pages.get(twin).filter(is_same).map(|_| twin)
    }

    /// The numbers of the pages of a kind.
    pub fn of_kind(&self, kind: PageKind) -> std::ops::Range<usize> {
        let edge = |number: usize| self.kinds.get(number).copied().unwrap_or(self.pages.len());
        edge(kind as usize)..edge((kind as usize).saturating_add(1))
    }
}

impl PageRow {
    fn parse(row: &[u8], offset: u64) -> Option<Self> {
        let (kind, row) = row.split_first()?;
        let (size, row) = row.split_first_chunk::<4>()?;
        let (rows, row) = row.split_first_chunk::<4>()?;
        let kind = *PageKind::ALL.get(usize::from(*kind))?;
        let number = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
        let size = number(size).filter(|size| *size <= MAX_PAGE)?;
        Some(Self { kind, offset, size, rows: number(rows)?, digest: row.try_into().ok()? })
    }

    /// Checks that these are the page's bytes. `number` is the page's, for the error.
    ///
    /// # Errors
    /// That they aren't.
    pub fn verify(&self, number: usize, bytes: &[u8]) -> Result<(), SnapshotError> {
        let holds =
            bytes.len() == self.size && sha2::Sha256::digest(bytes).as_slice() == self.digest;
        if holds { Ok(()) } else { Err(SnapshotError::PageDigest(number)) }
    }
}
