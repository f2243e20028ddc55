//! Writes buckets of customers, as [`super::customers`] reads them.

use std::collections::BTreeMap;

use super::customers::{
    AGREED, EXPIRES, NameKind, OPENED, OWNERSHIP_SHIFT, PROFILED, REASONED, RESELLER, RESIDENT,
    ROW, RecordKey, SCREENED, SIGNALLED, SUSPENDED, VOUCHES,
};
use super::layout::little;
use crate::register::{
    CredentialEntry, Customer, CustomerKind, CustomerSignal, EnforcementEntry, Screening, Status,
};
use crate::terms::finding::Action;
use crate::terms::names::Text;
use crate::terms::time::UnixSeconds;

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
    /// Its size in bytes if nothing of it is elsewhere in its bucket.
    pub fn size(&self) -> usize {
        let mut to = Writer::default();
        self.write(&mut to);
        to.bytes.len()
    }

    /// The signs of sharing that concern this name.
    pub fn signals(&self) -> impl Iterator<Item = &CustomerSignal> {
        let label = self.entry.and_then(|entry| entry.label.as_ref()).map(Text::as_str);
        let is_bound = match self.kind {
            NameKind::Secret => self.entry.is_some_and(|entry| !entry.networks.is_empty()),
            NameKind::Claim => false,
            NameKind::Certificate | NameKind::Id => true,
        };
        self.customer.signals.iter().filter(move |signal| signal.concerns(label, is_bound))
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
        let signals: Vec<&CustomerSignal> = self.signals().collect();
        let flags = [
            (RESELLER, customer.kind == CustomerKind::Reseller),
            (SUSPENDED, customer.status == Status::Suspended),
            (VOUCHES, customer.vouches_for_users),
            (SCREENED, customer.screening.is_some()),
            (AGREED, customer.agreement.is_some()),
            (RESIDENT, customer.residency.is_some()),
            ((customer.ownership() as u64) << OWNERSHIP_SHIFT, true),
            (SIGNALLED, !signals.is_empty()),
        ];
        to.number(all_set(&flags));
        if let Some(screening) = &customer.screening {
            let status = (screening.status as u8) << 3;
            let Screening { at, until, by, .. } = screening;
            let given = [(1, at.is_some()), (2, until.is_some()), (4, by.is_some())];
            to.bytes.push(all_set(&given) | status);
            at.iter().chain(until).for_each(|time| to.time(*time));
            by.iter().for_each(|by| to.common(by.as_str()));
        }
        if let Some(agreement) = &customer.agreement {
            to.flags(&[(1, agreement.until.is_some())]);
            to.text(agreement.id.as_str());
            to.time(agreement.accepted);
            agreement.until.iter().for_each(|until| to.time(*until));
        }
        let residency = customer.residency.iter();
        residency.for_each(|place| to.bytes.extend(place.to_string().as_bytes()));
        to.count(customer.declared.len());
        customer.declared.iter().for_each(|country| to.bytes.extend(country.as_str().as_bytes()));
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
        if !signals.is_empty() {
            to.count(signals.len());
            for signal in signals {
                to.common(signal.finding.as_str());
                to.time(signal.until);
                to.common(signal.evidence.as_str());
            }
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
        let twice = |number: usize| u64::try_from(number).unwrap_or(u64::MAX / 4).saturating_mul(2);
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
