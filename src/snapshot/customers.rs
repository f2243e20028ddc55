//! Customers by what names them: buckets of keys, each with the customer as it was when the register was compiled.
//!
//! A key is the first 16 bytes of a SHA-256: of a credential itself, of a certificate's name, of a claim's
//! value or of a customer's id. Its first bits say in which bucket it is; a bucket is one page, so a lookup
//! reads one page. What kind of name it was stands in the record, so that nobody can present one for another.

use sha2::Digest as _;

use crate::finding::{Action, FindingCode};
use crate::names::{CredentialDigest, CustomerId, HeaderText, Network, RouteName, Text, UnixSeconds};
use crate::region::{CountryCode, Residency};
use crate::register::{
    Agreement, Credential, CredentialEntry, Customer, Enforcement, Kind, Override, Ownership, ProviderEntry, Screening, ScreeningStatus,
    Status,
};
use crate::shape::{Table, Word};

/// The size of a key, in bytes. Half a SHA-256 leaves 128 bits against finding another credential with the same key.
pub const KEY: usize = 16;
/// The size of a row of a bucket: the key, and where in the page the record begins.
pub const ROW: usize = 20;

/// The key of what names a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub [u8; KEY]);

/// What kind of name leads to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// A credential
    Credential = 0,
    /// A name in a client certificate
    Certificate = 1,
    /// The value of a claim
    Claim = 2,
    /// Its own id, for customers that run nodes
    Id = 3,
}

impl Key {
    /// The key of a credential.
    #[must_use]
    pub fn of_credential(digest: &CredentialDigest) -> Self {
        Self::from_digest(digest.as_bytes())
    }

    /// The key of a name in a client certificate, the value of a claim or a customer's id.
    #[must_use]
    pub fn of_name(naming: Naming, name: &str) -> Self {
        let digest = sha2::Sha256::new().chain_update([naming as u8]).chain_update(name);
        Self::from_digest(&digest.finalize().into())
    }

    fn from_digest(digest: &[u8; 32]) -> Self {
        let mut key = [0; KEY];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(key)
    }

    /// Its bucket, where there are 2^`bits` of them.
    #[must_use]
    pub fn bucket(&self, bits: u32) -> usize {
        let [a, b, c, d, ..] = self.0;
        let bucket = u32::from_be_bytes([a, b, c, d]).checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0);
        usize::try_from(bucket).unwrap_or(0)
    }
}

/// The customer that a key leads to in its bucket, if it is a key of that kind.
#[must_use]
pub fn find(page: &[u8], rows: usize, key: &Key, naming: Naming) -> Option<Customer> {
    let table = page.get(..rows.checked_mul(ROW)?)?;
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low.midpoint(high);
        let begin = middle.checked_mul(ROW)?;
        let row = table.get(begin..begin.checked_add(ROW)?)?;
        let (found, at) = row.split_first_chunk::<KEY>()?;
        match found.cmp(&key.0) {
            std::cmp::Ordering::Less => low = middle.saturating_add(1),
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let at = usize::try_from(u32::from_le_bytes(*at.first_chunk()?)).ok()?;
                let (kind, customer) = decode(page.get(at..)?, key)?;
                return (kind == naming).then_some(customer);
            }
        }
    }
    None
}

/// Checks a bucket by itself: ascending keys that belong into it, records that can be read.
///
/// # Errors
/// What breaks the format.
pub fn check(page: &[u8], rows: usize, bucket: usize, bits: u32) -> Result<(), &'static str> {
    let table = rows.checked_mul(ROW).and_then(|size| page.get(..size)).ok_or("its rows are cut off")?;
    let mut last = None;
    for row in table.chunks_exact(ROW) {
        let Some((key, at)) = row.split_first_chunk::<KEY>() else { return Err("its rows are cut off") };
        if last.is_some_and(|last| last >= key) {
            return Err("its keys aren't in ascending order");
        }
        last = Some(key);
        let key = Key(*key);
        if key.bucket(bits) != bucket {
            return Err("a key is in a bucket where nobody looks for it");
        }
        let at = at.first_chunk().and_then(|at| usize::try_from(u32::from_le_bytes(*at)).ok());
        let record = at.filter(|at| *at >= table.len()).and_then(|at| page.get(at..)).and_then(|record| decode(record, &key));
        if record.is_none() {
            return Err("a customer's record can't be read");
        }
    }
    Ok(())
}

// === records: numbers as LEB128, texts as their size and bytes, times as seconds since 1970 ===

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
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
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = self.count()?;
        std::str::from_utf8(self.bytes(size)?).ok()
    }

    fn word<T: Word>(&mut self) -> Option<T> {
        T::parse(self.text()?).ok()
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

/// Reads `flags`' bit `bit`: the value behind it is only there where it is set.
fn present<T>(flags: u8, bit: u8, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if flags & bit == 0 { Some(None) } else { read().map(Some) }
}

fn pick<T: Copy>(all: &[T], number: u8) -> Option<T> {
    all.get(usize::from(number)).copied()
}

const RESELLER: u8 = 1;
const SUSPENDED: u8 = 2;
const VOUCHES: u8 = 4;
const SCREENED: u8 = 8;
const AGREED: u8 = 16;
const RESIDENT: u8 = 32;
/// Two bits: clear, restricted, unresolved
const OWNERSHIP_SHIFT: u32 = 6;

fn decode(record: &[u8], key: &Key) -> Option<(Naming, Customer)> {
    let from = &mut Reader(record);
    let naming = pick(&[Naming::Credential, Naming::Certificate, Naming::Claim, Naming::Id], from.byte()?)?;
    let credentials = if naming == Naming::Credential { vec![decode_credential(from, key)?] } else { Vec::new() };
    let id: CustomerId = from.word()?;
    let flags = from.byte()?;
    let ownership = pick(Ownership::ALL, flags >> OWNERSHIP_SHIFT)?;
    let screening = present(flags, SCREENED, || decode_screening(from))?;
    let agreement = present(flags, AGREED, || {
        let more = from.byte()?;
        Some(Agreement { id: from.word()?, accepted: from.time()?, until: present(more, 1, || from.time())? })
    })?;
    let residency = present(flags, RESIDENT, || Residency::parse(std::str::from_utf8(from.bytes(2)?).ok()?).ok())?;
    let declared = from.list(Reader::country)?;
    let providers = from.list(|from| {
        let name: Text = from.word()?;
        let more = from.byte()?;
        let profile: Option<HeaderText> = present(more, 0x80, || from.word())?;
        Some((name, ProviderEntry { profile, enforcement: pick(Enforcement::ALL, more & 0x7f)? }))
    })?;
    let overrides = from.list(|from| {
        let code = from.text()?;
        let action = match from.byte()? {
            0 => Action::Allow,
            1 => Action::Report,
            2 => Action::Reroute(from.word::<RouteName>()?),
            3 => Action::Block,
            _ => return None,
        };
        let (author, until) = (from.word()?, from.time()?);
        // a code that is newer than this code can't fire here either
        Some(FindingCode::parse(code).ok().map(|finding| Override { finding, action, author, until }))
    })?;
    let customer = Customer {
        id,
        kind: if flags & RESELLER == 0 { Kind::Customer } else { Kind::Reseller },
        status: if flags & SUSPENDED == 0 { Status::Active } else { Status::Suspended },
        credentials,
        mtls: Vec::new(),
        jwt: Vec::new(),
        screening,
        agreement,
        ownership: Some(ownership),
        entity: None,
        declared,
        vouches_for_users: flags & VOUCHES != 0,
        residency,
        providers: Table::from_entries(providers),
        overrides: overrides.into_iter().flatten().collect(),
    };
    Some((naming, customer))
}

/// Of the credential itself only the label, the date and the networks are there: its digest is the key.
fn decode_credential(from: &mut Reader<'_>, key: &Key) -> Option<Credential> {
    let flags = from.byte()?;
    let label = present(flags, 1, || from.word())?;
    let expires = present(flags, 2, || from.time())?;
    let networks = present(flags, 4, || {
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
        at: present(flags, 1, || from.time())?,
        until: present(flags, 2, || from.time())?,
        by: present(flags, 4, || from.word())?,
    })
}

/// The customers of all rows of a bucket.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn all(page: &[u8], rows: usize) -> Vec<Customer> {
    let customer = |row: &[u8]| {
        let (key, at) = row.split_first_chunk::<KEY>()?;
        let at = usize::try_from(u32::from_le_bytes(*at.first_chunk()?)).ok()?;
        decode(page.get(at..)?, &Key(*key)).map(|(_, customer)| customer)
    };
    page.chunks_exact(ROW).take(rows).filter_map(customer).collect()
}

/// The customer's id in a record, for an error.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn id(record: &[u8]) -> Option<String> {
    decode(record, &Key([0; KEY])).map(|(_, customer)| customer.id.to_string())
}

#[cfg(not(target_family = "wasm"))]
mod write {
    use super::{
        AGREED, Action, CredentialEntry, Customer, Kind, Naming, OWNERSHIP_SHIFT, RESELLER, RESIDENT, SCREENED, SUSPENDED, Status,
        UnixSeconds, VOUCHES,
    };

    /// The record of a customer under one of its names; `entry` is the credential's, where it is one.
    #[must_use]
    pub fn encode(naming: Naming, entry: Option<&CredentialEntry>, customer: &Customer) -> Vec<u8> {
        let mut to = Writer(vec![naming as u8]);
        if let Some(entry) = entry {
            let bound = !entry.networks.is_empty();
            to.flags(&[(1, entry.label.is_some()), (2, entry.expires.is_some()), (4, bound)]);
            entry.label.iter().for_each(|label| to.text(label.as_str()));
            entry.expires.iter().for_each(|expires| to.time(*expires));
            if bound {
                to.count(entry.networks.len());
                for network in &entry.networks {
                    let (address, prefix) = network.parts();
                    to.0.extend([prefix, if address.len() == 4 { 4 } else { 6 }]);
                    to.0.extend(address);
                }
            }
        }
        to.text(customer.id.as_str());
        to.flags(&[
            (RESELLER, customer.kind == Kind::Reseller),
            (SUSPENDED, customer.status == Status::Suspended),
            (VOUCHES, customer.vouches_for_users),
            (SCREENED, customer.screening.is_some()),
            (AGREED, customer.agreement.is_some()),
            (RESIDENT, customer.residency.is_some()),
            ((customer.ownership() as u8) << OWNERSHIP_SHIFT, true),
        ]);
        if let Some(screening) = &customer.screening {
            let status = (screening.status as u8) << 3;
            to.flags(&[(1, screening.at.is_some()), (2, screening.until.is_some()), (4, screening.by.is_some()), (status, true)]);
            screening.at.iter().chain(&screening.until).for_each(|time| to.time(*time));
            screening.by.iter().for_each(|by| to.text(by.as_str()));
        }
        if let Some(agreement) = &customer.agreement {
            to.flags(&[(1, agreement.until.is_some())]);
            to.text(agreement.id.as_str());
            to.time(agreement.accepted);
            agreement.until.iter().for_each(|until| to.time(*until));
        }
        customer.residency.iter().for_each(|residency| to.0.extend(residency.to_string().as_bytes()));
        to.count(customer.declared.len());
        customer.declared.iter().for_each(|country| to.0.extend(country.as_str().as_bytes()));
        to.count(customer.providers.iter().count());
        for (name, entry) in customer.providers.iter() {
            to.text(name.as_str());
            to.flags(&[(0x80, entry.profile.is_some()), (entry.enforcement as u8, true)]);
            entry.profile.iter().for_each(|profile| to.text(profile.as_str()));
        }
        to.count(customer.overrides.len());
        for entry in &customer.overrides {
            to.text(entry.finding.as_str());
            to.0.push(entry.action.strength());
            if let Action::Reroute(route) = &entry.action {
                to.text(route.as_str());
            }
            to.text(entry.author.as_str());
            to.time(entry.until);
        }
        to.0
    }

    struct Writer(Vec<u8>);

    impl Writer {
        fn flags(&mut self, flags: &[(u8, bool)]) {
            self.0.push(flags.iter().filter(|(_, set)| *set).fold(0, |all, (flag, _)| all | flag));
        }

        fn number(&mut self, mut number: u64) {
            while number >= 0x80 {
                self.0.push(number.to_le_bytes().first().map_or(0, |low| low | 0x80));
                number >>= 7;
            }
            self.0.extend(number.to_le_bytes().first());
        }

        fn count(&mut self, count: usize) {
            self.number(u64::try_from(count).unwrap_or(u64::MAX));
        }

        fn text(&mut self, text: &str) {
            self.count(text.len());
            self.0.extend(text.as_bytes());
        }

        /// Documents hold no time before 1970.
        fn time(&mut self, time: UnixSeconds) {
            self.number(u64::try_from(time.0).unwrap_or(0));
        }
    }
}

#[cfg(not(target_family = "wasm"))]
pub use write::encode;
