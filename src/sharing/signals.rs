//! Signals: from the days that show a sign to what a register says of a credential, and until when.

use std::collections::{BTreeMap, BTreeSet};

use super::day::{SharingDay, UtcDay};
use super::distance::CountryDistances;
use super::gathering::{Gathered, count};
use super::measures::{Measure, ShowingDay, measures};
use super::roster::{Concern, Roster};
use super::thresholds::SharingThresholds;
use crate::compile::remarks::counted;
use crate::journal::selection::UnixMillis;
use crate::register::{Customer, LookedAt, SharingCount, SharingFile, SharingSignal};
use crate::shape::{Dictionary, Integer, Nullable, Word as _};
use crate::terms::finding::FindingCode;
use crate::terms::names::{CustomerId, Text};

/// What signals rest on beside the rows.
#[derive(Debug)]
pub struct SignalBasis<'a> {
    /// The register's customers
    pub customers: &'a [Customer],
    /// The thresholds
    pub thresholds: &'a SharingThresholds,
    /// The distances between countries
    pub distances: &'a CountryDistances,
    /// The signs that were known before: what the register's sharing.json has
    pub before: &'a [SharingSignal],
}

/// Finds the signs that hold at the end of the window.
pub fn signals(gathered: &Gathered, basis: &SignalBasis<'_>) -> SharingFile {
    let Gathered { rows, end, first, looked_at } = gathered;
    let roster = Roster::new(basis.customers.iter());
    let mut looked_at = looked_at.clone();
    let mut signals = Vec::new();
    for of_customer in rows.chunk_by(|one, next| one.customer == next.customer) {
        signals.extend(of_one(of_customer, *end, basis, &roster, &mut looked_at));
    }
    let reach = Reach { first: *first, end: *end, thresholds: basis.thresholds };
    for known in basis.before.iter().filter(|known| holds(known, *end)) {
        let again = signals.iter_mut().find(|found: &&mut SharingSignal| key(found) == key(known));
        match again {
            // it began before these rows do
            Some(found) if !reach.covers(UtcDay::of(known.since), known.finding) => {
                found.since = found.since.min(known.since);
            }
            Some(_) => {}
            None => {
                let last = UtcDay::of(known.until).minus(lasting(basis.thresholds));
                let is_covered = reach.covers(last, known.finding);
                if !is_covered && roster.concern_of(known) == Concern::Concerned {
                    signals.push(known.clone());
                    count(&mut looked_at.kept.0);
                }
            }
        }
    }
    signals.sort_by(|one, another| key(one).cmp(&key(another)));
    SharingFile { signals, looked_at }
}

/// The signs of one customer.
fn of_one(
    rows: &[SharingDay],
    end: UnixMillis,
    basis: &SignalBasis<'_>,
    roster: &Roster<'_>,
    looked_at: &mut LookedAt,
) -> Vec<SharingSignal> {
    let (mut signals, mut kinds) = (Vec::new(), BTreeMap::new());
    let Some(customer) = rows.first().map(|row| &row.customer) else { return signals };
    let entry = roster.get(customer);
    if entry.is_some_and(|entry| entry.is_reseller) {
        count(&mut looked_at.resellers.0);
        return signals;
    }
    for of_credential in rows.chunk_by(|one, next| one.credential == next.credential) {
        let label = of_credential.first().and_then(|row| row.credential.0.as_ref());
        match roster.concern(customer, label) {
            Concern::Unknown | Concern::Reseller => {
                count(&mut looked_at.unknown.0);
                continue;
            }
            Concern::Bound => {
                count(&mut looked_at.bound_credentials.0);
                continue;
            }
            Concern::Concerned => {}
        }
        if label.is_none() && entry.is_some_and(|entry| entry.has_unlabelled) {
            count(&mut looked_at.without_labels.0);
        }
        let declared = entry.map(|entry| entry.declared).unwrap_or_default();
        for measure in measures(of_credential, declared, basis.thresholds, basis.distances) {
            let firing = firing(&measure, basis.thresholds.window_days.0);
            if let Some(kind) = RelayKind::of(measure.finding) {
                let days = kinds.entry(kind).or_insert_with(BTreeSet::new);
                days.extend(firing.iter().map(|(_, showing)| showing.day));
            }
            signals.extend(signal(customer, label, &measure, &firing, end, basis.thresholds));
        }
    }
    signals.extend(relay(customer, &kinds, end, basis.thresholds));
    signals
}

/// The days on which a sign fires: those that show it, and are at least the last of so many within
/// the window. Each comes with the number of days of its window that show it.
fn firing<'m>(measure: &'m Measure, window: u64) -> Vec<(u64, &'m ShowingDay)> {
    let showing = &measure.showing;
    let fires = |(place, last): (usize, &'m ShowingDay)| {
        let so_far = showing.get(..=place).unwrap_or_default().iter().rev();
        let within = so_far.take_while(|day| last.day.since(day.day) < window).count();
        let within = u64::try_from(within).unwrap_or(u64::MAX);
        (within >= measure.days).then_some((within, last))
    };
    showing.iter().enumerate().filter_map(fires).collect()
}

/// When something that fired on these days began without a break, its last day, and its end.
fn run(days: impl Iterator<Item = UtcDay>, lasting: u64) -> Option<(UtcDay, UtcDay, UtcDay)> {
    let mut run: Option<(UtcDay, UtcDay, UtcDay)> = None;
    for day in days {
        let since = match run {
            Some((since, _, until)) if day < until => since,
            _ => day,
        };
        run = Some((since, day, day.plus(lasting)));
    }
    run
}

fn signal(
    customer: &CustomerId,
    label: Option<&Text>,
    measure: &Measure,
    firing: &[(u64, &ShowingDay)],
    end: UnixMillis,
    thresholds: &SharingThresholds,
) -> Option<SharingSignal> {
    let (since, _, until) =
        run(firing.iter().map(|(_, showing)| showing.day), lasting(thresholds))?;
    let (within, ShowingDay { shown, threshold, numbers, .. }) = firing.last()?;
    let window = thresholds.window_days.0;
    let evidence = format!(
        "{shown}; on {within} of the {} up to then (fires {threshold}, on {} of {window})",
        counted(window, "day"),
        measure.days,
    );
    let days = [("days", *within), ("days_least", measure.days), ("days_window", window)];
    let numbers = numbers.iter().chain(&days).copied();
    let signal = SharingSignal {
        customer: customer.clone(),
        credential: Nullable(label.cloned()),
        finding: measure.finding,
        since: since.start(),
        until: until.start(),
        evidence: Text::parse(&evidence).ok()?,
        numbers: figures(numbers),
    };
    Some(signal).filter(|signal| holds(signal, end))
}

/// The kinds of signs that relay.suspected counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RelayKind {
    Addresses,
    CountriesOrVelocity,
    Clients,
}

impl RelayKind {
    fn of(finding: FindingCode) -> Option<Self> {
        match finding {
            FindingCode::SharingAddresses => Some(Self::Addresses),
            FindingCode::SharingCountries | FindingCode::SharingVelocity => {
                Some(Self::CountriesOrVelocity)
            }
            FindingCode::SharingClients => Some(Self::Clients),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::CountriesOrVelocity => "countries or velocity",
            Self::Clients => "clients",
        }
    }
}

/// That a customer is an intermediary: several kinds of signs, of any of its credentials, fire
/// within one window.
fn relay(
    customer: &CustomerId,
    kinds: &BTreeMap<RelayKind, BTreeSet<UtcDay>>,
    end: UnixMillis,
    thresholds: &SharingThresholds,
) -> Option<SharingSignal> {
    let (window, least) = (thresholds.window_days.0, thresholds.relay_kinds.0);
    let within = |last: UtcDay| {
        let fires = |days: &BTreeSet<UtcDay>| {
            days.range(..=last).next_back().is_some_and(|day| last.since(*day) < window)
        };
        kinds.iter().filter(|(_, days)| fires(days)).map(|(kind, _)| *kind).collect::<Vec<_>>()
    };
    let number = |kinds: &[RelayKind]| u64::try_from(kinds.len()).unwrap_or(u64::MAX);
    let days: BTreeSet<UtcDay> = kinds.values().flatten().copied().collect();
    let firing = days.into_iter().filter(|day| number(&within(*day)) >= least);
    let (since, last, until) = run(firing, lasting(thresholds))?;
    let found = within(last);
    let names: Vec<&str> = found.iter().map(|kind| kind.as_str()).collect();
    let evidence = format!(
        "{} of signs ({}) within the {} up to {last} (fires from {least} of 3: addresses, \
         countries or velocity, clients)",
        counted(number(&found), "kind"),
        names.join(", "),
        counted(window, "day"),
    );
    let numbers = [("kinds", number(&found)), ("kinds_least", least), ("days_window", window)];
    let signal = SharingSignal {
        customer: customer.clone(),
        credential: Nullable(None),
        finding: FindingCode::RelaySuspected,
        since: since.start(),
        until: until.start(),
        evidence: Text::parse(&evidence).ok()?,
        numbers: figures(numbers.into_iter()),
    };
    Some(signal).filter(|signal| holds(signal, end))
}

/// Whether a sign still holds.
fn holds(signal: &SharingSignal, end: UnixMillis) -> bool {
    signal.until.0.saturating_mul(1_000) > end.0
}

/// How long a sign holds from the start of the last day that showed it, in days.
fn lasting(thresholds: &SharingThresholds) -> u64 {
    thresholds.lasts_days.0.saturating_add(1)
}

/// The days that were read.
#[derive(Debug, Clone, Copy)]
struct Reach<'a> {
    first: UtcDay,
    end: UnixMillis,
    thresholds: &'a SharingThresholds,
}

impl Reach<'_> {
    /// Whether a sign that fired on a day would be found again: the day was read, and so were
    /// those before it that the sign rests on.
    fn covers(&self, day: UtcDay, finding: FindingCode) -> bool {
        let Self { first, end, thresholds } = self;
        let past = match finding {
            FindingCode::SharingAddresses | FindingCode::RelaySuspected => {
                thresholds.addresses_first_days.0
            }
            _ => 0,
        };
        let needed = past.saturating_add(thresholds.window_days.0).saturating_sub(1);
        *first <= day && day.since(*first) >= needed && day.start().0.saturating_mul(1_000) <= end.0
    }
}

/// The order of signals.
fn key(signal: &SharingSignal) -> (&CustomerId, Option<&Text>, FindingCode) {
    (&signal.customer, signal.credential.0.as_ref(), signal.finding)
}

fn figures(numbers: impl Iterator<Item = (&'static str, u64)>) -> Dictionary<Text, SharingCount> {
    let limited = |number: u64| Integer(number.min(u32::MAX.into()));
    let named =
        numbers.filter_map(|(name, number)| Some((Text::parse(name).ok()?, limited(number))));
    Dictionary::from_entries(named.collect())
}
