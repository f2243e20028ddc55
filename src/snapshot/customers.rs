//! Customers by what names them: buckets of keys, each with the customer as it was when the register was compiled.
//!
//! A key is the first 16 bytes of a SHA-256: of a credential itself, of a certificate's name, of a claim's
//! value or of a customer's id. Its first bits say in which page it is, the next in which bucket of that: a page
//! is what is fetched and verified, a bucket what a lookup reads. What kind of name it was stands in the record, so
//! that nobody can present one for another.

use std::rc::Rc;

use sha2::Digest as _;

use super::layout::FormatVersion;
use crate::finding::{Action, FindingCode};
use crate::names::{
    CredentialDigest, CustomerId, HeaderText, Network, RouteName, Text, UnixSeconds,
};
use crate::region::{CountryCode, Residency};
use crate::register::{
    Agreement, Credential, CredentialEntry, Customer, Enforcement, EnforcementEntry, Kind, Name,
    Override, Ownership, ProviderEntry, Screening, ScreeningStatus, Status,
};
use crate::shape::{Table, Word};

/// The size of a key, in bytes. Half a SHA-256 leaves 128 bits against finding another credential with the same key.
pub const KEY: usize = 16;
/// The size of a row of a bucket: the key, and where in the bucket the record begins.
pub const ROW: usize = 20;
/// How many buckets a page has. Reading a whole page for each lookup would take half as long again; as many pages would make the
/// head, which each node fetches with each change, four times as large.
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
        let digest =
            sha2::Sha256::new().chain_update([NameKind::of(name) as u8]).chain_update(text);
        Self::from_digest(&digest.finalize().into())
    }

    fn from_digest(digest: &[u8; 32]) -> Self {
        let mut key = [0; KEY];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(key)
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
) -> Option<Rc<Customer>> {
    let rows = rows(bucket)?;
    let found = rows.get(rows.binary_search_by(|one| row(one).0.cmp(&key.0)).ok()?)?;
    decode(bucket, row(found).1?, key, Some(kind), version)
}

/// Checks a page by itself: buckets that fill it, ascending keys that belong there, records that can be read.
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
    for (place, bucket) in buckets(page).ok_or("its buckets don't fill it")?.into_iter().enumerate()
    {
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
                return Err("a key is in a bucket where nobody looks for it");
            }
            if at
                .filter(|at| *at >= begin)
                .and_then(|at| decode(bucket, at, &key, None, version))
                .is_none()
            {
                return Err("a customer's record can't be read");
            }
            found = found.saturating_add(1);
        }
    }
    if found == count { Ok(()) } else { Err("it has another number of rows than the head says") }
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
        // nothing takes less than a byte, so a count beyond what is left is a lie
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.rest.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.count()?;
        std::str::from_utf8(self.bytes(size)?).ok()
    }

    fn word<T: Word>(&mut self) -> Option<T> {
        T::parse(self.text()?).ok()
    }

    /// A text that others may have too: twice its size and its bytes, or one more than twice the place of another such text
    /// before it, which has its bytes.
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
const RESELLER: u64 = 1;
const SUSPENDED: u64 = 2;
const VOUCHES: u64 = 4;
const SCREENED: u64 = 8;
const AGREED: u64 = 16;
const RESIDENT: u64 = 32;
/// Two bits: clear, restricted, unresolved
const OWNERSHIP_SHIFT: u32 = 6;
/// No version gives these bits a meaning yet
const CUSTOMER_UNUSED: u64 = !0xff;

// of a provider's entry, above the two bits of its status
const REASONED: u8 = 4;
const OPENED: u8 = 8;
const EXPIRES: u8 = 16;
const PROFILED: u8 = 128;
/// No version gives these bits a meaning yet: a record that sets one is refused, not misread
const UNUSED: u8 = 0x60;

/// The record at a place of a bucket, if it is under that kind of name.
fn decode(
    bucket: &[u8],
    at: usize,
    key: &RecordKey,
    wanted: Option<NameKind>,
    version: FormatVersion,
) -> Option<Rc<Customer>> {
    let from = &mut Reader::new(bucket, at)?;
    let kind = pick(
        &[NameKind::Secret, NameKind::Certificate, NameKind::Claim, NameKind::Id],
        from.byte()?,
    )?;
    if wanted.is_some_and(|wanted| wanted != kind) {
        return None;
    }
    let credentials =
        if kind == NameKind::Secret { vec![decode_credential(from, key)?] } else { Vec::new() };
    let id: CustomerId = from.word()?;
    let flags = match version {
        FormatVersion::One => from.byte()?.into(),
        FormatVersion::Two => from.number().filter(|flags| flags & CUSTOMER_UNUSED == 0)?,
    };
    let ownership = pick(Ownership::ALL, u8::try_from(flags >> OWNERSHIP_SHIFT).ok()?)?;
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
        // a code that is newer than this code can't fire here either
        Some(FindingCode::parse(code).ok().map(|finding| Override {
            finding,
            action,
            author,
            until,
        }))
    })?;
    Some(Rc::new(Customer {
        id,
        name: None,
        notes: None,
        kind: if has(RESELLER) { Kind::Reseller } else { Kind::Customer },
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
        providers: Table::from_entries(providers),
        overrides: overrides.into_iter().flatten().collect(),
    }))
}

/// Of the credential itself only the label, the date and the networks are there: its digest is the key.
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
    Some(Credential::from(CredentialEntry {
        digest: CredentialDigest::of_key(key.0),
        label,
        expires,
        networks: networks.unwrap_or_default(),
    }))
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
pub fn all(page: &[u8], version: FormatVersion) -> Vec<Rc<Customer>> {
    let customers = |bucket: &[u8]| -> Vec<Rc<Customer>> {
        let customer = |one: &[u8; ROW]| {
            let (key, at) = row(one);
            decode(bucket, at?, &RecordKey(*key), None, version)
        };
        rows(bucket).unwrap_or_default().iter().filter_map(customer).collect()
    };
    buckets(page).unwrap_or_default().into_iter().flat_map(customers).collect()
}

#[cfg(feature = "desk")]
mod write {
    use std::collections::BTreeMap;

    use super::{
        AGREED, Action, CredentialEntry, Customer, EXPIRES, EnforcementEntry, Kind, NameKind,
        OPENED, OWNERSHIP_SHIFT, PROFILED, REASONED, RESELLER, RESIDENT, ROW, RecordKey, SCREENED,
        SUSPENDED, Status, UnixSeconds, VOUCHES,
    };
    use crate::snapshot::layout::little;

    /// A customer under one of its names.
    #[derive(Debug, Clone, Copy)]
    pub struct CustomerRecord<'a> {
        /// What kind of name
        pub kind: NameKind,
        /// The credential, where it is one
        pub entry: Option<&'a CredentialEntry>,
        /// The customer
        pub customer: &'a Customer,
    }

    /// A bucket of these records, whose keys ascend.
    pub fn bucket(records: &[(RecordKey, CustomerRecord<'_>)]) -> Vec<u8> {
        if records.is_empty() {
            return Vec::new();
        }
        let mut to = Writer::default();
        to.bytes.extend(little(records.len()));
        to.bytes.resize(records.len().saturating_mul(ROW).saturating_add(4), 0);
        let mut rows = Vec::new();
        for (key, record) in records {
            rows.extend(key.0);
            rows.extend(little(to.bytes.len()));
            record.write(&mut to);
        }
        to.bytes.splice(4..rows.len().saturating_add(4), rows);
        to.bytes
    }

    impl CustomerRecord<'_> {
        /// Its size in bytes where nothing of it stands elsewhere in its bucket.
        pub fn size(&self) -> usize {
            let mut to = Writer::default();
            self.write(&mut to);
            to.bytes.len()
        }

        fn write(&self, to: &mut Writer) {
            let customer = self.customer;
            to.bytes.push(self.kind as u8);
            if let Some(entry) = self.entry {
                let bound = !entry.networks.is_empty();
                to.flags(&[(1, entry.label.is_some()), (2, entry.expires.is_some()), (4, bound)]);
                entry.label.iter().for_each(|label| to.common(label.as_str()));
                entry.expires.iter().for_each(|expires| to.time(*expires));
                if bound {
                    to.count(entry.networks.len());
                    for network in &entry.networks {
                        let (address, prefix) = network.parts();
                        to.bytes.extend([prefix, if address.len() == 4 { 4 } else { 6 }]);
                        to.bytes.extend(address);
                    }
                }
            }
            to.text(customer.id.as_str());
            let flags = [
                (RESELLER, customer.kind == Kind::Reseller),
                (SUSPENDED, customer.status == Status::Suspended),
                (VOUCHES, customer.vouches_for_users),
                (SCREENED, customer.screening.is_some()),
                (AGREED, customer.agreement.is_some()),
                (RESIDENT, customer.residency.is_some()),
                ((customer.ownership() as u64) << OWNERSHIP_SHIFT, true),
            ];
            to.number(all_set(&flags));
            if let Some(screening) = &customer.screening {
                let status = (screening.status as u8) << 3;
                to.flags(&[
                    (1, screening.at.is_some()),
                    (2, screening.until.is_some()),
                    (4, screening.by.is_some()),
                    (status, true),
                ]);
                screening.at.iter().chain(&screening.until).for_each(|time| to.time(*time));
                screening.by.iter().for_each(|by| to.common(by.as_str()));
            }
            if let Some(agreement) = &customer.agreement {
                to.flags(&[(1, agreement.until.is_some())]);
                to.text(agreement.id.as_str());
                to.time(agreement.accepted);
                agreement.until.iter().for_each(|until| to.time(*until));
            }
            customer
                .residency
                .iter()
                .for_each(|residency| to.bytes.extend(residency.to_string().as_bytes()));
            to.count(customer.declared.len());
            customer
                .declared
                .iter()
                .for_each(|country| to.bytes.extend(country.as_str().as_bytes()));
            to.count(customer.providers.iter().count());
            for (name, entry) in customer.providers.iter() {
                to.common(name.as_str());
                let EnforcementEntry { status, reason, opened, expires } = &*entry.enforcement;
                to.flags(&[
                    (*status as u8, true),
                    (REASONED, reason.is_some()),
                    (OPENED, opened.is_some()),
                    (EXPIRES, expires.is_some()),
                    (PROFILED, entry.profile.is_some()),
                ]);
                entry.profile.iter().for_each(|profile| to.text(profile.as_str()));
                reason.iter().for_each(|reason| to.common(reason.as_str()));
                opened.iter().chain(expires).for_each(|time| to.time(*time));
            }
            to.count(customer.overrides.len());
            for entry in &customer.overrides {
                to.common(entry.finding.as_str());
                to.bytes.push(entry.action.strength());
                if let Action::Reroute(route) = &entry.action {
                    to.common(route.as_str());
                }
                to.common(entry.author.as_str());
                to.time(entry.until);
            }
        }
    }

    /// The flags that are set, as one number.
    fn all_set<T: Copy + Default + std::ops::BitOr<Output = T>>(flags: &[(T, bool)]) -> T {
        flags.iter().filter(|(_, set)| *set).fold(T::default(), |all, (flag, _)| all | *flag)
    }

    /// A bucket while it is written.
    #[derive(Default)]
    struct Writer {
        bytes: Vec<u8>,
        // where texts stand that others may have too
        texts: BTreeMap<String, usize>,
    }

    impl Writer {
        fn flags(&mut self, flags: &[(u8, bool)]) {
            self.bytes.push(all_set(flags));
        }

        fn number(&mut self, mut number: u64) {
            while number >= 0x80 {
                self.bytes.push(number.to_le_bytes().first().map_or(0, |low| low | 0x80));
                number >>= 7;
            }
            self.bytes.extend(number.to_le_bytes().first());
        }

        fn count(&mut self, count: usize) {
            self.number(u64::try_from(count).unwrap_or(u64::MAX));
        }

        fn text(&mut self, text: &str) {
            self.count(text.len());
            self.bytes.extend(text.as_bytes());
        }

        /// As `Reader::common_text` reads it.
        fn common(&mut self, text: &str) {
            let twice =
                |number: usize| u64::try_from(number).unwrap_or(u64::MAX / 4).saturating_mul(2);
            match self.texts.get(text) {
                Some(place) => self.number(twice(*place).saturating_add(1)),
                None => {
                    self.texts.insert(text.to_owned(), self.bytes.len());
                    self.number(twice(text.len()));
                    self.bytes.extend(text.as_bytes());
                }
            }
        }

        /// Documents hold no time before 1970.
        fn time(&mut self, time: UnixSeconds) {
            self.number(u64::try_from(time.0).unwrap_or(0));
        }
    }
}

#[cfg(feature = "desk")]
pub use write::{CustomerRecord, bucket};
