//! Changes of country that are faster than a person travels.

use super::day::SharingDay;
use super::distance::CountryDistances;
use crate::terms::region::CountryCode;

/// A change of country.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FastChange {
    pub(super) from: CountryCode,
    pub(super) to: CountryCode,
    /// By the shortest way
    pub(super) km: u32,
    /// The most that can be between the two requests
    pub(super) minutes: u32,
}

/// The changes of a day between these countries that are faster than `speed` kilometres an hour:
/// how many, and the one that needs the highest speed.
///
/// Each change starts where the one before has ended, or later, and counts at most once a minute.
/// So a person who works in one country beside another who travels counts as the traveller alone
/// would, and not once for each pair of requests. A minute is all that is known of a request's
/// time, so two requests count as far apart as they can be. Changes between declared countries
/// don't count, nor those to a neighbour.
pub(super) fn fast_changes(
    row: &SharingDay,
    countries: &[CountryCode],
    declared: &[CountryCode],
    speed: u64,
    distances: &CountryDistances,
) -> (u32, Option<FastChange>) {
    if countries.iter().all(|country| declared.contains(country)) {
        return (0, None);
    }
    let mut requests: Vec<(u64, CountryCode)> = Vec::new();
    for (country, minutes) in row.minutes.iter().filter(|(code, _)| countries.contains(code)) {
        requests.extend(minutes.iter().map(|minute| (minute.0, *country)));
    }
    requests.sort_unstable();
    let mut changes: u32 = 0;
    let mut fastest: Option<FastChange> = None;
    // where requests came from since the last change, each with its last minute
    let mut before: Vec<(CountryCode, u64)> = Vec::new();
    for minute in requests.chunk_by(|one, next| one.0 == next.0) {
        let mut change: Option<FastChange> = None;
        for (now, to) in minute {
            for (from, then) in &before {
                let found = fast(*from, *to, now.saturating_sub(*then), speed, distances);
                let is_declared = declared.contains(from) && declared.contains(to);
                if let Some(found) = found.filter(|_| !is_declared)
                    && change.is_none_or(|known| known.is_slower(found))
                {
                    change = Some(found);
                }
            }
            before.retain(|(country, _)| country != to);
            before.push((*to, *now));
        }
        if let Some(change) = change {
            changes = changes.saturating_add(1);
            // of several countries in this minute, any may have been the last
            let keeps = minute.len() == 1;
            before.retain(|(_, then)| keeps && minute.first().is_some_and(|(now, _)| now == then));
            if fastest.is_none_or(|known| known.is_slower(change)) {
                fastest = Some(change);
            }
        }
    }
    (changes, fastest)
}

impl FastChange {
    fn is_slower(&self, other: Self) -> bool {
        let needs = |one: &Self, minutes: u32| u64::from(one.km).saturating_mul(minutes.into());
        needs(self, other.minutes) < needs(&other, self.minutes)
    }
}

fn fast(
    from: CountryCode,
    to: CountryCode,
    minutes: u64,
    speed: u64,
    distances: &CountryDistances,
) -> Option<FastChange> {
    let km = distances.between(from, to);
    let minutes = u32::try_from(minutes).unwrap_or(u32::MAX).saturating_add(1);
    let is_fast = u64::from(km).saturating_mul(60) > speed.saturating_mul(minutes.into());
    is_fast.then_some(FastChange { from, to, km, minutes })
}
