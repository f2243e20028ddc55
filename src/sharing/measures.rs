//! The measures: which days of a credential show a sign, and by which figures.

use super::day::{SharingDay, UtcDay};
use super::distance::CountryDistances;
use super::thresholds::SharingThresholds;
use super::velocity::fast_changes;
use crate::compile::remarks::{counted, grouped};
use crate::terms::finding::FindingCode;
use crate::terms::region::CountryCode;

/// A day that shows a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShowingDay {
    pub(super) day: UtcDay,
    /// What it shows, in words
    pub(super) shown: String,
    /// From where on a day shows it, in words
    pub(super) threshold: String,
    /// The same as figures
    pub(super) numbers: Vec<(&'static str, u64)>,
}

/// A sign, and the days that show it, in order.
pub(super) struct Measure {
    pub(super) finding: FindingCode,
    /// On how many days of the window it must be shown
    pub(super) days: u64,
    pub(super) showing: Vec<ShowingDay>,
}

/// All measures of one credential, whose days are in order.
pub(super) fn measures(
    rows: &[SharingDay],
    declared: &[CountryCode],
    thresholds: &SharingThresholds,
    distances: &CountryDistances,
) -> [Measure; 4] {
    let showing = |shows: &dyn Fn(&SharingDay) -> Option<ShowingDay>| {
        rows.iter().filter_map(shows).collect::<Vec<_>>()
    };
    [
        Measure {
            finding: FindingCode::SharingAddresses,
            days: thresholds.addresses_days.0,
            showing: addresses(rows, thresholds),
        },
        Measure {
            finding: FindingCode::SharingCountries,
            days: thresholds.countries_days.0,
            showing: showing(&|row| countries(row, declared, thresholds)),
        },
        Measure {
            finding: FindingCode::SharingVelocity,
            days: thresholds.velocity_days.0,
            showing: showing(&|row| velocity(row, declared, thresholds, distances)),
        },
        Measure {
            finding: FindingCode::SharingClients,
            days: thresholds.clients_days.0,
            showing: showing(&|row| clients(row, thresholds)),
        },
    ]
}

/// Networks far above the credential's own past. Days without events aren't days of the past: a
/// log may have gaps. Weekdays are compared with weekdays, weekends with weekends.
fn addresses(rows: &[SharingDay], thresholds: &SharingThresholds) -> Vec<ShowingDay> {
    let Some(first) = rows.first().map(|row| row.day) else { return Vec::new() };
    let shows = |(place, row): (usize, &SharingDay)| {
        let SharingDay { day, networks, systems, .. } = row;
        let most_systems = thresholds.addresses_systems.0;
        if networks.0 <= thresholds.addresses_networks.0
            || systems.0.is_some_and(|systems| systems.0 <= most_systems)
            || day.since(first) < thresholds.addresses_first_days.0
        {
            return None;
        }
        let before = rows.get(..place).unwrap_or_default().iter().rev();
        let past = before
            .take_while(|past| day.since(past.day) <= thresholds.addresses_past_days.0)
            .filter(|past| past.day.is_weekend() == day.is_weekend());
        let past: Vec<f64> = past.map(|past| logarithm(past.networks.0)).collect();
        if u64::try_from(past.len()).is_ok_and(|past| past < thresholds.addresses_least_days.0) {
            return None;
        }
        let usual = median(past.clone());
        // a past in two modes (campaigns, batches) has most days in one of them, and no median
        // deviation: its upper quarter says how far up an ordinary day reaches
        let spread = median(past.iter().map(|value| (value - usual).abs()).collect())
            .max(upper_quartile(past) - usual);
        let least = f64::from(small(thresholds.addresses_least_deviation.0)) / 100.0;
        let deviations = f64::from(small(thresholds.addresses_deviations.0));
        let limit = usual + deviations * (TO_SIGMA * spread).max(least);
        let (usual, above) = (inverse(usual), inverse(limit));
        if networks.0 <= above {
            return None;
        }
        let above = above.max(thresholds.addresses_networks.0);
        let mut shown =
            format!("{} networks on {day}, usually {} a day", grouped(networks.0), grouped(usual));
        let mut threshold = format!("above {} networks", grouped(above));
        let mut numbers =
            vec![("networks", networks.0), ("networks_usual", usual), ("networks_above", above)];
        if let Some(systems) = systems.0 {
            shown.push_str(&format!(", from {} systems", grouped(systems.0)));
            threshold.push_str(&format!(" and {} systems", grouped(most_systems)));
            numbers.extend([("systems", systems.0), ("systems_above", most_systems)]);
        }
        Some(ShowingDay { day: *day, shown, threshold, numbers })
    };
    rows.iter().enumerate().filter_map(shows).collect()
}

/// Makes the median of deviations from the median as large as one standard deviation, where values
/// are spread normally.
const TO_SIGMA: f64 = 1.4826;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied().unwrap_or(0.0);
    if values.len().is_multiple_of(2) {
        let lower = half.checked_sub(1).and_then(|at| values.get(at));
        (lower.copied().unwrap_or(upper) + upper) / 2.0
    } else {
        upper
    }
}

/// The value that about a quarter of the others exceed.
fn upper_quartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = values.len().saturating_sub(1).saturating_mul(3) / 4;
    values.get(place).copied().unwrap_or(0.0)
}

/// The natural logarithm; that of 1 for none, since a day without any network is a day.
fn logarithm(networks: u64) -> f64 {
    f64::from(small(networks).max(1)).ln()
}

/// The largest whole number whose logarithm isn't above: so thresholds in words are those applied.
fn inverse(logarithm: f64) -> u64 {
    let (mut low, mut above) = (0_u32, u32::MAX);
    while let Some(half) = above.checked_sub(low).map(|span| span / 2).filter(|half| *half > 0) {
        let middle = low.saturating_add(half);
        if f64::from(middle).ln() <= logarithm {
            low = middle;
        } else {
            above = middle;
        }
    }
    low.into()
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Countries that a customer isn't in by its own word or, where it gave none, more than one
/// customer is in.
fn countries(
    row: &SharingDay,
    declared: &[CountryCode],
    thresholds: &SharingThresholds,
) -> Option<ShowingDay> {
    let mut counted = counting(row, thresholds);
    counted.retain(|(code, _)| !declared.contains(code));
    // where nothing is declared, some are no sign
    let most = if declared.is_empty() { thresholds.countries_most.0 } else { 0 };
    let number = u64::try_from(counted.len()).unwrap_or(u64::MAX);
    if number <= most {
        return None;
    }
    counted.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    let requests = counted.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let named =
        counted.iter().take(NAMED).map(|(code, count)| format!("{code} {}", grouped(*count)));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if let Some(more) = counted.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push_str(&format!(" and {} more", grouped(more)));
    }
    let (least, percent) = (thresholds.countries_requests.0, thresholds.countries_percent.0);
    let each = format!("{} requests and {percent} % of the day", grouped(least));
    let (shown, threshold) = if declared.is_empty() {
        (
            format!("requests from {number} countries on {} ({named}), none declared", row.day),
            format!("above {most} countries of {each} each"),
        )
    } else {
        (
            format!("requests from countries that aren't declared on {} ({named})", row.day),
            format!("from {each} in one"),
        )
    };
    let numbers = vec![
        ("countries", number),
        ("countries_above", most),
        ("requests", requests),
        ("requests_least", least),
        ("percent_least", percent),
    ];
    Some(ShowingDay { day: row.day, shown, threshold, numbers })
}

/// The countries that count on a day, with their requests.
fn counting(row: &SharingDay, thresholds: &SharingThresholds) -> Vec<(CountryCode, u64)> {
    let (least, percent) = (thresholds.countries_requests.0, thresholds.countries_percent.0);
    let all = row.countries.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(count.0));
    let counts =
        |count: u64| count >= least && count.saturating_mul(100) >= percent.saturating_mul(all);
    let requests = row.countries.iter().map(|(code, count)| (*code, count.0));
    requests.filter(|(_, count)| counts(*count)).collect()
}

/// How many countries are named in words.
const NAMED: usize = 8;

/// Changes of country that no person makes, between countries that count. Without this bound each
/// application with a user abroad shows it: beside thousands at home, each request changes country.
/// Where nothing is declared nobody said that the customer is in one place.
fn velocity(
    row: &SharingDay,
    declared: &[CountryCode],
    thresholds: &SharingThresholds,
    distances: &CountryDistances,
) -> Option<ShowingDay> {
    if declared.is_empty() {
        return None;
    }
    let (speed, times) = (thresholds.velocity_speed.0, thresholds.velocity_times.0);
    let counting: Vec<CountryCode> =
        counting(row, thresholds).into_iter().map(|(code, _)| code).collect();
    let (changes, fastest) = fast_changes(row, &counting, declared, speed, distances);
    let fastest = fastest.filter(|_| u64::from(changes) >= times)?;
    let day = row.day;
    let shown = format!(
        "country changed {} on {day} faster than anybody travels, such as from {} to {} ({} km by \
         the shortest way) within {}",
        counted(changes.into(), "time"),
        fastest.from,
        fastest.to,
        grouped(fastest.km),
        counted(fastest.minutes.into(), "minute"),
    );
    let threshold = format!("from {} a day above {} km/h", counted(times, "time"), grouped(speed));
    let numbers = vec![
        ("changes", changes.into()),
        ("changes_least", times),
        ("kilometres", fastest.km.into()),
        ("minutes", fastest.minutes.into()),
        ("speed_above", speed),
    ];
    Some(ShowingDay { day, shown, threshold, numbers })
}

/// Programs that people sit at, together in one network that isn't a place where people sit.
fn clients(row: &SharingDay, thresholds: &SharingThresholds) -> Option<ShowingDay> {
    let SharingDay { day, programs, in_flight, .. } = row;
    let (least, most) = (thresholds.clients_programs.0, thresholds.clients_in_flight.0);
    if programs.0 < least && in_flight.0 < most {
        return None;
    }
    let shown = format!(
        "{} that people sit at from one hosting network within an hour, and {} of one in flight at \
         once, on {day}",
        counted(programs.0, "program"),
        counted(in_flight.0, "request"),
    );
    let threshold = format!("from {} or {} in flight", counted(least, "program"), grouped(most));
    let numbers = vec![
        ("programs", programs.0),
        ("programs_least", least),
        ("in_flight", in_flight.0),
        ("in_flight_least", most),
    ];
    Some(ShowingDay { day: *day, shown, threshold, numbers })
}
