//! What one credential did on one day of UTC: a row, which a database may compute from events too.

use std::fmt;

use crate::register::SharingCount;
use crate::shape::{
    Dictionary, Integer, Mismatch, Nullable, Path, Problems, Word, object, read_document,
};
use crate::terms::names::{CustomerId, Text};
use crate::terms::region::CountryCode;
use crate::terms::time::UnixSeconds;

/// A minute of a day.
pub type DayMinute = Integer<0, 1_439>;

/// A day of UTC, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(pub u32);

object! {
    /// What one credential did on one day of UTC, by its events: a line of JSON Lines.
    /// Left out before: events without a customer or without a credential, and those whose
    /// credential is a certificate (source `mtls …`) or a verified chain (source `chain`).
    /// An event that is there more than once counts once, with the longest duration_ms beside it.
    pub struct SharingDay {
        /// The day
        day: UtcDay,
        /// The customer
        customer: CustomerId,
        /// The label of the credential; null for all of the customer's credentials without labels
        credential: Nullable<Text>,
        /// Events
        events: SharingCount,
        /// Different networks: cut addresses (/24, /48)
        networks: SharingCount,
        /// Different autonomous systems; null where no event has one
        systems: Nullable<SharingCount>,
        /// Events by origin; those from networks of class hosting, proxy, vpn or tor left out
        countries: Dictionary<CountryCode, SharingCount>,
        /// The minutes of the day with such an event, by origin: each once, in order
        minutes: Dictionary<CountryCode, Vec<DayMinute>>,
        /// The most different programs that people sit at (`people` in data/client-software.json)
        /// from one network of class hosting within one hour of UTC
        programs: SharingCount,
        /// The most requests in flight at once of one such program from one network of class
        /// hosting: at a moment, those that began then or before and end later. A request counts
        /// on the day on which it began
        in_flight: SharingCount,
        /// Events of such programs from such networks without duration_ms beside them
        without_duration: SharingCount,
    }
}

impl UtcDay {
    /// The day of a time.
    pub fn of(time: UnixSeconds) -> Self {
        let day = time.0.div_euclid(SECONDS);
        Self(u32::try_from(day).unwrap_or_default())
    }

    /// Its first second.
    pub fn start(self) -> UnixSeconds {
        UnixSeconds(i64::from(self.0).saturating_mul(SECONDS))
    }

    /// So many days later.
    pub fn plus(self, days: u64) -> Self {
        Self(self.0.saturating_add(u32::try_from(days).unwrap_or(u32::MAX)))
    }

    /// So many days before.
    pub fn minus(self, days: u64) -> Self {
        Self(self.0.saturating_sub(u32::try_from(days).unwrap_or(u32::MAX)))
    }

    /// How many days an earlier day is before this one.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0).into()
    }

    /// Whether it is a Saturday or a Sunday.
    pub fn is_weekend(self) -> bool {
        // 1970-01-01 was a Thursday
        matches!(self.0 % 7, 2 | 3)
    }
}

const SECONDS: i64 = 86_400;

impl Word for UtcDay {
    const WHAT: &'static str = "a day of UTC, such as 2026-11-27";
    const PATTERN: &'static str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let midnight = UnixSeconds::parse(&format!("{text}T00:00:00Z"));
        match midnight {
            Ok(midnight) if text.len() == "2026-11-27".len() => Ok(Self::of(midnight)),
            _ => {
                let help = "a day of UTC from 1970 on, such as `2026-11-27`";
                Err(Mismatch::new(format!("invalid day `{text}`"), help))
            }
        }
    }
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = self.start().to_string();
        f.write_str(midnight.split('T').next().unwrap_or_default())
    }
}

impl SharingDay {
    /// Whether a line is meant as a row, right or wrong: an object with these members.
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().starts_with('{')
            && ["\"day\"", "\"customer\"", "\"networks\""].iter().all(|name| text.contains(name))
    }

    /// Reads a row. Its countries come out in order.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let row = read_document::<Self>(text, &mut problems).map(|(row, _)| row);
        let Some(mut row) = row.filter(|_| problems.is_empty()) else { return Err(problems) };
        row.countries = in_order(&row.countries);
        row.minutes = in_order(&row.minutes);
        row.check(&mut problems);
        if problems.is_empty() { Ok(row) } else { Err(problems) }
    }

    /// Notes members that contradict each other.
    fn check(&self, problems: &mut Problems) {
        let at = Path::Member(&Path::Root, "minutes");
        if !self
            .countries
            .iter()
            .map(|(code, _)| code)
            .eq(self.minutes.iter().map(|(code, _)| code))
        {
            let help = "give each country of `countries` its minutes, and no other";
            problems.wrong(&at, "`minutes` and `countries` have different countries", help);
        }
        for (code, minutes) in self.minutes.iter() {
            if !minutes.is_sorted_by(|one, next| one.0 < next.0) {
                let here = Path::Member(&at, code.as_str());
                problems.wrong(&here, "minutes aren't in order", "each minute once, ascending");
            }
            let count = self.countries.get(code).map_or(0, |count| count.0);
            if u64::try_from(minutes.len())
                .is_ok_and(|minutes| (minutes == 0) != (count == 0) || minutes > count)
            {
                let here = Path::Member(&at, code.as_str());
                let message =
                    format!("expected minutes of {count} events, found {}", minutes.len());
                problems.wrong(&here, &message, "each event has one minute");
            }
        }
        let counted =
            self.countries.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(count.0));
        if counted > self.events.0 {
            let here = Path::Member(&Path::Root, "countries");
            let message = format!("expected at most {} events, found {counted}", self.events.0);
            problems.wrong(&here, &message, "each event has one origin");
        }
    }
}

fn in_order<V: Clone>(table: &Dictionary<CountryCode, V>) -> Dictionary<CountryCode, V> {
    let mut entries: Vec<(CountryCode, V)> = table.iter().cloned().collect();
    entries.sort_by_key(|(code, _)| *code);
    Dictionary::from_entries(entries)
}
