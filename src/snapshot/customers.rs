//! Customers by their names: buckets of keys, each with the customer as the register was compiled.
//!
//! A key is the first 16 bytes of a SHA-256: of a secret, a certificate's name, a claim's value or
//! a customer's id. Its first bits give the page, the next ones the bucket in that page. Nodes
//! fetch and verify pages; a look-up reads one bucket. The record has the kind of the name, so that
//! a caller can't present one kind as another.

use std::sync::Arc;

use sha2::Digest as _;

use super::layout::FormatVersion;
use crate::register::{
    Agreement, Credential, CredentialEntry, Customer, CustomerKind, CustomerSignal, Enforcement,
    EnforcementEntry, Name, Override, Ownership, ProviderEntry, Screening, ScreeningStatus, Status,
};
use crate::shape::{Dictionary, Word};
use crate::terms::finding::{Action, FindingCode};
use crate::terms::names::{CredentialDigest, CustomerId, HeaderText, RouteName, Text};
use crate::terms::network::Network;
use crate::terms::region::{CountryCode, Residency};
use crate::terms::time::UnixSeconds;

/// The size of a key, in bytes. Finding another secret with the key of a known one takes 2^128
/// tries.
pub const KEY: usize = 16;
/// The size of a row of a bucket: the key, and where in the bucket the record begins.
pub const ROW: usize = 20;
/// How many buckets a page has. Reading a whole page for each look-up would take half as long
/// again. Four times as many pages would make the head, which each change brings, four times as
/// large.
pub const BUCKETS: usize = 1 << BUCKET_BITS;
pub(super) const BUCKET_BITS: u32 = 2;

/// The key of what names a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey(pub [u8; KEY]);

/// What kind of name leads to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// The digest of a secret
    Secret = 0,
    /// A name in a client certificate
    Certificate = 1,
    /// The value of a claim
    Claim = 2,
    /// Its own id, for customers that run nodes
    Id = 3,
}

impl NameKind {
    const ALL: [Self; 4] = [Self::Secret, Self::Certificate, Self::Claim, Self::Id];

    /// The kind of a name.
    pub fn of(name: Name<'_>) -> Self {
        match name {
            Name::Secret(_) => Self::Secret,
            Name::Certificate(_) => Self::Certificate,
            Name::Claim(_) => Self::Claim,
            Name::Id(_) => Self::Id,
        }
    }
}

impl RecordKey {
    /// The key of a name.
    pub fn of(name: Name<'_>) -> Self {
        let text = match name {
            Name::Secret(digest) => return Self::from_digest(digest.as_bytes()),
            Name::Certificate(text) | Name::Claim(text) | Name::Id(text) => text,
        };
        let kind = NameKind::of(name) as u8;
        let digest = sha2::Sha256::new().chain_update([kind]).chain_update(text);
        Self::from_digest(&digest.finalize().into())
    }

    fn from_digest(digest: &[u8; 32]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Its page, where there are 2^`bits` of them, and its bucket in that.
    pub fn place(&self, bits: u32) -> (usize, usize) {
        let [a, b, c, d, ..] = self.0;
        let bucket = u32::from_be_bytes([a, b, c, d])
            .checked_shr(32_u32.saturating_sub(bits.saturating_add(BUCKET_BITS)))
            .unwrap_or(0);
        let bucket = usize::try_from(bucket).unwrap_or(0);
        (bucket / BUCKETS, bucket % BUCKETS)
    }
}

/// The buckets of a page that isn't empty; `None` where they don't fill it.
pub fn buckets(page: &[u8]) -> Option<[&[u8]; BUCKETS]> {
    let (sizes, mut rest) = page.split_first_chunk::<{ 4 * BUCKETS }>()?;
    let mut buckets = [&[][..]; BUCKETS];
    for (bucket, size) in buckets.iter_mut().zip(sizes.as_chunks::<4>().0) {
        (*bucket, rest) = rest.split_at_checked(read_little(size)?)?;
    }
    rest.is_empty().then_some(buckets)
}

fn read_little(number: &[u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

/// The rows of a bucket; one without bytes has none.
fn rows(bucket: &[u8]) -> Option<&[[u8; ROW]]> {
    if bucket.is_empty() {
        return Some(&[]);
    }
    let (count, rest) = bucket.split_first_chunk::<4>()?;
    rest.get(..read_little(count)?.checked_mul(ROW)?).map(|rows| rows.as_chunks().0)
}

/// A row's key, and where in the bucket its record begins.
fn row([key @ .., a, b, c, d]: &[u8; ROW]) -> (&[u8; KEY], Option<usize>) {
    (key, read_little(&[*a, *b, *c, *d]))
}

/// The customer that a key leads to in its bucket, if it is a key of that kind.
pub fn find(
    bucket: &[u8],
    key: &RecordKey,
    kind: NameKind,
    version: FormatVersion,
) -> Option<Arc<Customer>> {
    let rows = rows(bucket)?;
    let found = rows.get(rows.binary_search_by(|one| row(one).0.cmp(&key.0)).ok()?)?;
    decode(bucket, row(found).1?, key, Some(kind), version)
}

/// Checks a page by itself: its buckets fill it, keys ascend and are in the right bucket, records
/// can be read.
///
/// # Errors
/// What breaks the format.
pub fn check(
    page: &[u8],
    count: usize,
    number: usize,
    bits: u32,
    version: FormatVersion,
) -> Result<(), &'static str> {
    if page.is_empty() {
        return if count == 0 { Ok(()) } else { Err("its rows are cut off") };
    }
    let mut found = 0_usize;
    let buckets = buckets(page).ok_or("its buckets don't fill it")?;
    for (place, bucket) in buckets.into_iter().enumerate() {
        let mut last = None;
        let rows = rows(bucket).ok_or("its rows are cut off")?;
        let begin = rows.len().saturating_mul(ROW).saturating_add(4);
        for one in rows {
            let (key, at) = row(one);
            if last.is_some_and(|last| last >= key) {
                return Err("its keys aren't in ascending order");
            }
            last = Some(key);
            let key = RecordKey(*key);
            if key.place(bits) != (number, place) {
                return Err("a key is in the wrong bucket");
            }
            at.filter(|at| *at >= begin)
                .and_then(|at| decode(bucket, at, &key, None, version))
                .ok_or("a customer's record can't be read")?;
            found = found.saturating_add(1);
        }
    }
    if found == count { Ok(()) } else { Err("its number of rows isn't the head's") }
}

// === records: numbers as LEB128, texts as their size and bytes, times as seconds since 1970 ===

/// Reads a bucket from somewhere on.
struct Reader<'a> {
    bucket: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bucket: &'a [u8], at: usize) -> Option<Self> {
        Some(Self { bucket, rest: bucket.get(at..)? })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn count(&mut self) -> Option<usize> {
        // an element takes at least a byte, so a count beyond the rest is wrong
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.rest.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.count()?;
        std::str::from_utf8(self.bytes(size)?).ok()
    }

    fn word<T: Word>(&mut self) -> Option<T> {
        T::parse(self.text()?).ok()
    }

    /// A text that other records may have too: twice its size and its bytes; or one more than twice
    /// the place of another such text before it, which has the bytes.
    fn common_text(&mut self) -> Option<&'a str> {
        let begin = self.bucket.len().saturating_sub(self.rest.len());
        let number = self.number()?;
        let half = usize::try_from(number / 2).ok()?;
        if number % 2 == 0 {
            return std::str::from_utf8(self.bytes(half)?).ok();
        }
        let mut other = Self::new(self.bucket, half).filter(|_| half < begin)?;
        let size = other.number().filter(|size| size % 2 == 0)?;
        std::str::from_utf8(other.bytes(usize::try_from(size / 2).ok()?)?).ok()
    }

    fn common<T: Word>(&mut self) -> Option<T> {
        T::parse(self.common_text()?).ok()
    }

    fn time(&mut self) -> Option<UnixSeconds> {
        i64::try_from(self.number()?).ok().map(UnixSeconds)
    }

    fn country(&mut self) -> Option<CountryCode> {
        CountryCode::from_bytes(self.bytes(2)?)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(item(self)?);
        }
        Some(list)
    }
}

/// Reads a value that a record has only if a flag is set.
fn present<T>(is_set: bool, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if is_set { read().map(Some) } else { Some(None) }
}

fn pick<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

// flags of a customer
pub(super) const RESELLER: u64 = 1;
pub(super) const SUSPENDED: u64 = 2;
pub(super) const VOUCHES: u64 = 4;
pub(super) const SCREENED: u64 = 8;
pub(super) const AGREED: u64 = 16;
pub(super) const RESIDENT: u64 = 32;
/// Two bits: clear, restricted, unresolved
pub(super) const OWNERSHIP_SHIFT: u32 = 6;
/// From version 3 on. The two bits of the ownership are below it
pub(super) const SIGNALLED: u64 = 256;

// of a provider's entry, above the two bits of its status
pub(super) const REASONED: u8 = 4;
pub(super) const OPENED: u8 = 8;
pub(super) const EXPIRES: u8 = 16;
pub(super) const PROFILED: u8 = 128;
/// No version gives these bits a meaning yet: a record that sets one is refused, not misread
const UNUSED: u8 = 0x60;

/// The record at a place of a bucket, if it is under that kind of name.
fn decode(
    bucket: &[u8],
    at: usize,
    key: &RecordKey,
    wanted: Option<NameKind>,
    version: FormatVersion,
) -> Option<Arc<Customer>> {
    let from = &mut Reader::new(bucket, at)?;
    let kind = pick(&NameKind::ALL, from.byte()?)?;
    if wanted.is_some_and(|wanted| wanted != kind) {
        return None;
    }
    let credentials =
        if kind == NameKind::Secret { vec![decode_credential(from, key)?] } else { Vec::new() };
    let label = credentials.first().and_then(|credential| credential.label.clone());
    let id: CustomerId = from.word()?;
    let flags = match version {
        FormatVersion::One => from.byte()?.into(),
        // no version gives other bits a meaning yet
        FormatVersion::Two => from.number().filter(|flags| *flags < SIGNALLED)?,
        FormatVersion::Three => from.number().filter(|flags| *flags < SIGNALLED << 1)?,
    };
    let ownership =
        pick(Ownership::ALL, u8::try_from((flags & !SIGNALLED) >> OWNERSHIP_SHIFT).ok()?)?;
    let has = |flag: u64| flags & flag != 0;
    let screening = present(has(SCREENED), || decode_screening(from))?;
    let agreement = present(has(AGREED), || {
        let more = from.byte()?;
        Some(Agreement {
            id: from.word()?,
            accepted: from.time()?,
            until: present(more & 1 != 0, || from.time())?,
        })
    })?;
    let residency = present(has(RESIDENT), || {
        Residency::parse(std::str::from_utf8(from.bytes(2)?).ok()?).ok()
    })?;
    let declared = from.list(Reader::country)?;
    let providers = from.list(|from| {
        let name: Text = from.common()?;
        let more = Some(from.byte()?).filter(|more| more & UNUSED == 0)?;
        let profile: Option<HeaderText> = present(more & PROFILED != 0, || from.word())?;
        let entry = EnforcementEntry {
            status: pick(Enforcement::ALL, more & 3)?,
            reason: present(more & REASONED != 0, || from.common())?,
            opened: present(more & OPENED != 0, || from.time())?,
            expires: present(more & EXPIRES != 0, || from.time())?,
        };
        Some((name, ProviderEntry { profile, enforcement: entry.into() }))
    })?;
    let overrides = from.list(|from| {
        let code = from.common_text()?;
        let action = match from.byte()? {
            0 => Action::Allow,
            1 => Action::Report,
            2 => Action::Reroute(from.common::<RouteName>()?),
            3 => Action::Block,
            _ => return None,
        };
        let (author, until) = (from.common()?, from.time()?);
        // an unknown code is from a newer catalogue, and can't fire here
        let known = FindingCode::parse(code).ok();
        Some(known.map(|finding| Override {
            finding,
            action,
            author,
            until,
            reason: None,
            event: None,
        }))
    })?;
    let signals = present(has(SIGNALLED), || {
        from.list(|from| {
            let (code, until, evidence) = (from.common_text()?, from.time()?, from.common()?);
            // as with overrides
            let known = FindingCode::parse(code).ok();
            let credential = label.clone().filter(|_| known != Some(FindingCode::RelaySuspected));
            Some(known.map(|finding| CustomerSignal { credential, finding, until, evidence }))
        })
    })?;
    Some(Arc::new(Customer {
        id,
        name: None,
        notes: None,
        kind: if has(RESELLER) { CustomerKind::Reseller } else { CustomerKind::Customer },
        status: if has(SUSPENDED) { Status::Suspended } else { Status::Active },
        credentials,
        mtls: Vec::new(),
        jwt: Vec::new(),
        screening,
        agreement,
        ownership: Some(ownership),
        entity: None,
        declared,
        vouches_for_users: has(VOUCHES),
        residency,
        providers: Dictionary::from_entries(providers),
        overrides: overrides.into_iter().flatten().collect(),
        signals: signals.into_iter().flatten().flatten().collect(),
    }))
}

/// The record has label, date and networks of the credential; the key is half of its digest.
fn decode_credential(from: &mut Reader<'_>, key: &RecordKey) -> Option<Credential> {
    let flags = from.byte()?;
    let label = present(flags & 1 != 0, || from.common())?;
    let expires = present(flags & 2 != 0, || from.time())?;
    let networks = present(flags & 4 != 0, || {
        from.list(|from| {
            let prefix = from.byte()?;
            let v4 = from.byte()? == 4;
            Network::from_parts(from.bytes(if v4 { 4 } else { 16 })?, prefix)
        })
    })?;
    let (digest, networks) = (CredentialDigest::of_key(key.0), networks.unwrap_or_default());
    Some(Credential::from(CredentialEntry { digest, label, expires, networks }))
}

fn decode_screening(from: &mut Reader<'_>) -> Option<Screening> {
    let flags = from.byte()?;
    Some(Screening {
        status: pick(ScreeningStatus::ALL, flags >> 3)?,
        at: present(flags & 1 != 0, || from.time())?,
        until: present(flags & 2 != 0, || from.time())?,
        by: present(flags & 4 != 0, || from.common())?,
    })
}

/// The customers of all rows of a page.
#[cfg(feature = "desk")]
pub fn all(page: &[u8], version: FormatVersion) -> Vec<Arc<Customer>> {
    let buckets = buckets(page).unwrap_or_default().into_iter();
    let all = buckets.flat_map(|bucket| {
        rows(bucket).unwrap_or_default().iter().map(move |one| (bucket, row(one)))
    });
    all.filter_map(|(bucket, (key, at))| decode(bucket, at?, &RecordKey(*key), None, version))
        .collect()
}
