//! Events and rows become rows: one for each credential and day.
//!
//! Whatever is kept is a set, a count of different events or a maximum, so no order matters. Memory
//! is linear in the different things seen, not in the lines.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::day::{DayMinute, SharingDay, UtcDay};
use super::excerpt::EventExcerpt;
use super::flight::{self, Flight, day_of, minute_of};
use super::seen::{Occurrence, SeenEvents};
use crate::journal::audit::EventPlace;
use crate::journal::line::{LogLine, LoggedEvent};
use crate::journal::selection::UnixMillis;
use crate::register::{LookedAt, SharingCount};
use crate::shape::{Dictionary, Integer, Json, Nullable, Problems, Word as _, to_text};
use crate::terms::names::{CustomerId, Text};
use crate::terms::network::NetworkClass;
use crate::terms::region::CountryCode;

/// Events and rows, while they are read.
#[derive(Debug)]
pub struct Gathering {
    /// The first time that doesn't count any more
    until: Option<UnixMillis>,
    people: HashMap<String, u8>,
    credentials: Vec<(CustomerId, Option<Text>)>,
    /// By customer and label; the label is empty where there is none
    by_names: HashMap<String, HashMap<String, u32>>,
    /// A cell is one credential on one day
    cells: Vec<CellEvents>,
    cell_of: HashMap<(u32, UtcDay), u32>,
    networks: HashSet<(u32, u64)>,
    systems: HashSet<(u32, u32)>,
    countries: HashMap<(u32, CountryCode), u32>,
    minutes: HashSet<(u32, CountryCode, u16)>,
    /// By cell, hour and network: a bit for each program
    programs: HashMap<(u32, u8, u64), u64>,
    flights: Vec<Flight>,
    seen: SeenEvents,
    rows: HashMap<(u32, UtcDay), (SharingDay, EventPlace)>,
    days: Option<(UtcDay, UtcDay)>,
    last: Option<UnixMillis>,
    looked_at: LookedAt,
}

/// The events of one credential on one day.
#[derive(Debug)]
struct CellEvents {
    credential: u32,
    day: UtcDay,
    events: u32,
}

/// What was gathered.
#[derive(Debug)]
pub struct Gathered {
    /// By customer, credential and day, in order
    pub rows: Vec<SharingDay>,
    /// The end of the window: the first time that doesn't count, else the last time that does
    pub end: UnixMillis,
    /// The first day
    pub first: UtcDay,
    /// How much was looked at
    pub looked_at: LookedAt,
}

/// What can't be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatheringError {
    /// An event that came before says something else
    #[error("altered event: another line has the same `id`, and says something else")]
    AlteredEvent,
    /// A row with mistakes
    #[error("invalid row: {0}")]
    InvalidRow(Problems),
    /// Two rows of one credential and day that differ
    #[error("different rows of {what} on {day}")]
    DifferentRows {
        /// The credential
        what: String,
        /// The day
        day: UtcDay,
        /// The row before
        other: EventPlace,
    },
    /// A row and events of one credential and day
    #[error("a row and events of {what} on {day}")]
    RowAndEvents {
        /// The credential
        what: String,
        /// The day
        day: UtcDay,
        /// The row
        row: EventPlace,
    },
}

impl Gathering {
    /// Nothing yet. Times from `until` on don't count.
    pub fn new(until: Option<UnixMillis>) -> Self {
        Self {
            until,
            people: people(),
            credentials: Vec::new(),
            by_names: HashMap::new(),
            cells: Vec::new(),
            cell_of: HashMap::new(),
            networks: HashSet::new(),
            systems: HashSet::new(),
            countries: HashMap::new(),
            minutes: HashSet::new(),
            programs: HashMap::new(),
            flights: Vec::new(),
            seen: SeenEvents::default(),
            rows: HashMap::new(),
            days: None,
            last: None,
            looked_at: LookedAt::default(),
        }
    }

    /// Takes a line of a log, or a row.
    ///
    /// # Errors
    /// An event or a row that contradicts another, or a row with mistakes.
    pub fn see(&mut self, place: EventPlace, bytes: &[u8]) -> Result<(), GatheringError> {
        match LogLine::parse(bytes) {
            LogLine::Event(logged) => return self.see_event(&logged),
            LogLine::WithoutEvent(_) => count(&mut self.looked_at.without_event.0),
            LogLine::Other => {
                let row = std::str::from_utf8(bytes).ok().filter(|text| SharingDay::is_meant(text));
                if let Some(row) = row {
                    return self.see_row(place, row);
                }
                count(&mut self.looked_at.other_lines.0);
            }
        }
        Ok(())
    }

    fn see_event(&mut self, logged: &LoggedEvent<'_>) -> Result<(), GatheringError> {
        let Some(event) = EventExcerpt::parse(&logged.text) else {
            count(&mut self.looked_at.other_lines.0);
            return Ok(());
        };
        if self.until.is_some_and(|until| until <= event.time) {
            return Ok(());
        }
        let credential = match (&event.customer, &event.credential) {
            (Some(customer), Some(credential)) => {
                let number = self.credential(customer, credential.label.as_deref());
                let Some(number) = number else {
                    count(&mut self.looked_at.other_lines.0);
                    return Ok(());
                };
                Some((number, credential.is_bound))
            }
            _ => None,
        };
        let occurrence = self.seen.note(event.id, digest(&event, credential));
        match occurrence {
            Occurrence::Altered => return Err(GatheringError::AlteredEvent),
            Occurrence::Double => count(&mut self.looked_at.doubles.0),
            Occurrence::First => {
                count(&mut self.looked_at.events.0);
                self.extend(event.time, day_of(event.time));
            }
        }
        let is_first = occurrence == Occurrence::First;
        match credential {
            None if is_first => count(&mut self.looked_at.without_credential.0),
            Some((_, true)) if is_first => count(&mut self.looked_at.bound_events.0),
            Some((credential, false)) => self.place(&event, credential, logged, is_first),
            None | Some(_) => {}
        }
        Ok(())
    }

    /// Counts an event of a credential. Of one that came before, only its duration is new.
    fn place(
        &mut self,
        event: &EventExcerpt<'_>,
        credential: u32,
        logged: &LoggedEvent<'_>,
        is_first: bool,
    ) {
        let cell = self.cell(credential, day_of(event.time), is_first);
        let program = event.program.as_deref().and_then(|program| self.people.get(program));
        let at_hosting = event.network.filter(|_| event.class == Some(NetworkClass::Hosting));
        if let (Some(program), Some(network)) = (program, at_hosting) {
            let duration = logged.envelope.duration_ms;
            self.flights.push(Flight::new(
                (cell, *program, network),
                event.id,
                event.time,
                duration,
            ));
            if is_first {
                let hour = u8::try_from(minute_of(event.time) / 60).unwrap_or(0);
                let programs = self.programs.entry((cell, hour, network)).or_default();
                *programs |= 1_u64.checked_shl((*program).into()).unwrap_or(0);
            }
        }
        if !is_first {
            return;
        }
        self.networks.extend(event.network.map(|network| (cell, network)));
        self.systems.extend(event.asn.map(|asn| (cell, asn)));
        if let Some(origin) = event.origin.filter(|_| event.is_placed()) {
            let events = self.countries.entry((cell, origin)).or_default();
            *events = events.saturating_add(1);
            self.minutes.insert((cell, origin, minute_of(event.time)));
        }
    }

    fn see_row(&mut self, place: EventPlace, text: &str) -> Result<(), GatheringError> {
        let row = SharingDay::parse(text).map_err(GatheringError::InvalidRow)?;
        let start = UnixMillis(row.day.start().0.saturating_mul(1_000));
        if self.until.is_some_and(|until| until <= start) {
            return Ok(());
        }
        let label = row.credential.0.as_ref().map(Text::as_str);
        let Some(credential) = self.credential(row.customer.as_str(), label) else {
            return Ok(());
        };
        self.extend(start, row.day);
        let day = row.day;
        if let Some((known, other)) = self.rows.get(&(credential, day)) {
            if to_text(known) == to_text(&row) {
                self.looked_at.doubles.0 = self.looked_at.doubles.0.saturating_add(row.events.0);
                return Ok(());
            }
            let what = self.name(credential);
            return Err(GatheringError::DifferentRows { what, day, other: *other });
        }
        self.looked_at.events.0 = self.looked_at.events.0.saturating_add(row.events.0);
        self.rows.insert((credential, day), (row, place));
        Ok(())
    }

    /// The number of a credential; `None` for names that no register can have.
    fn credential(&mut self, customer: &str, label: Option<&str>) -> Option<u32> {
        if label == Some("") {
            return None;
        }
        let name = label.unwrap_or_default();
        if let Some(number) = self.by_names.get(customer).and_then(|labels| labels.get(name)) {
            return Some(*number);
        }
        let id = CustomerId::parse(customer).ok()?;
        let text = label.map(Text::parse).transpose().ok()?;
        let number = u32::try_from(self.credentials.len()).ok()?;
        self.credentials.push((id, text));
        let labels = self.by_names.entry(customer.to_owned()).or_default();
        labels.insert(name.to_owned(), number);
        Some(number)
    }

    /// The number of a credential's day, in which an event is counted unless it came before.
    fn cell(&mut self, credential: u32, day: UtcDay, is_first: bool) -> u32 {
        let next = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        let cell = *self.cell_of.entry((credential, day)).or_insert(next);
        if cell == next {
            self.cells.push(CellEvents { credential, day, events: 0 });
        }
        if let Some(cell) = self.cells.get_mut(index(cell)) {
            cell.events = cell.events.saturating_add(is_first.into());
        }
        cell
    }

    fn names(&self, credential: u32) -> Option<&(CustomerId, Option<Text>)> {
        self.credentials.get(index(credential))
    }

    fn name(&self, credential: u32) -> String {
        match self.names(credential) {
            Some((customer, Some(label))) => format!("`{customer}`, credential `{label}`,"),
            Some((customer, None)) => format!("`{customer}`, without a label,"),
            None => String::new(),
        }
    }

    fn extend(&mut self, time: UnixMillis, day: UtcDay) {
        self.last = self.last.max(Some(time));
        let (first, last) = self.days.unwrap_or((day, day));
        self.days = Some((first.min(day), last.max(day)));
    }
}

impl Gathered {
    /// The first gap of more than so many days: the day before it, and the day after it.
    pub fn gap(&self, days: u64) -> Option<(UtcDay, UtcDay)> {
        let all: BTreeSet<UtcDay> = self.rows.iter().map(|row| row.day).collect();
        let next = all.iter().skip(1);
        let mut pairs = all.iter().zip(next).map(|(day, next)| (*day, *next));
        pairs.find(|(day, next)| next.since(*day) > days)
    }
}

/// The figures of a cell, while they are put together.
#[derive(Debug, Default)]
struct CellFigures {
    networks: u64,
    systems: u64,
    countries: Vec<(CountryCode, SharingCount)>,
    minutes: Vec<(CountryCode, Vec<DayMinute>)>,
    programs: u64,
    in_flight: u64,
    without_duration: u64,
}

impl Gathering {
    /// The rows of all that was read.
    ///
    /// # Errors
    /// A row and events of one credential and day.
    pub fn finish(mut self) -> Result<Gathered, GatheringError> {
        let both = self.cells.iter().filter_map(|cell| {
            let (_, row) = self.rows.get(&(cell.credential, cell.day))?;
            Some((self.name(cell.credential), cell.day, *row))
        });
        if let Some((what, day, row)) = both.min() {
            return Err(GatheringError::RowAndEvents { what, day, row });
        }
        let mut rows = self.rows_of_events();
        rows.extend(self.rows.into_values().map(|(row, _)| row));
        rows.sort_by(|one, another| key(one).cmp(&key(another)));
        let without = rows.iter().map(|row| row.without_duration.0);
        let without = without.fold(0, u64::saturating_add);
        let customers: BTreeSet<&CustomerId> = rows.iter().map(|row| &row.customer).collect();
        let days = self.days.map_or(0, |(first, last)| last.since(first).saturating_add(1));
        let mut looked_at = self.looked_at;
        looked_at.customers = Integer(u64::try_from(customers.len()).unwrap_or(u64::MAX));
        looked_at.days = Integer(days);
        looked_at.without_duration = Integer(without);
        Ok(Gathered {
            end: self.until.or(self.last).unwrap_or(UnixMillis(0)),
            first: self.days.map_or(UtcDay(u32::MAX), |(first, _)| first),
            rows,
            looked_at,
        })
    }

    fn rows_of_events(&mut self) -> Vec<SharingDay> {
        let mut cells: Vec<CellFigures> = Vec::new();
        cells.resize_with(self.cells.len(), CellFigures::default);
        for (cell, _) in self.networks.drain() {
            if let Some(figures) = cells.get_mut(index(cell)) {
                figures.networks = figures.networks.saturating_add(1);
            }
        }
        for (cell, _) in self.systems.drain() {
            if let Some(figures) = cells.get_mut(index(cell)) {
                figures.systems = figures.systems.saturating_add(1);
            }
        }
        for ((cell, _, _), programs) in self.programs.drain() {
            if let Some(figures) = cells.get_mut(index(cell)) {
                figures.programs = figures.programs.max(programs.count_ones().into());
            }
        }
        let mut countries: Vec<_> = self.countries.drain().collect();
        countries.sort_unstable();
        for ((cell, country), events) in countries {
            if let Some(figures) = cells.get_mut(index(cell)) {
                figures.countries.push((country, Integer(events.into())));
            }
        }
        let mut minutes: Vec<_> = self.minutes.drain().collect();
        minutes.sort_unstable();
        for group in minutes.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)) {
            let Some((cell, country, _)) = group.first() else { continue };
            if let Some(figures) = cells.get_mut(index(*cell)) {
                let minutes = group.iter().map(|(_, _, minute)| Integer(u64::from(*minute)));
                figures.minutes.push((*country, minutes.collect()));
            }
        }
        flight::each_day(std::mem::take(&mut self.flights), &mut |cell, found| {
            if let Some(figures) = cells.get_mut(index(cell)) {
                figures.in_flight = found.most.into();
                figures.without_duration = found.without_duration.into();
            }
        });
        let row = |(events, cell): (&CellEvents, CellFigures)| {
            let (customer, credential) = self.names(events.credential)?.clone();
            Some(SharingDay {
                day: events.day,
                customer,
                credential: Nullable(credential),
                events: Integer(events.events.into()),
                networks: Integer(cell.networks),
                systems: Nullable((cell.systems > 0).then_some(Integer(cell.systems))),
                countries: Dictionary::from_entries(cell.countries),
                minutes: Dictionary::from_entries(cell.minutes),
                programs: Integer(cell.programs),
                in_flight: Integer(cell.in_flight),
                without_duration: Integer(cell.without_duration),
            })
        };
        self.cells.iter().zip(cells).filter_map(row).collect()
    }
}

/// The order of rows.
fn key(row: &SharingDay) -> (&CustomerId, Option<&Text>, UtcDay) {
    (&row.customer, row.credential.0.as_ref(), row.day)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn count(count: &mut u64) {
    *count = count.saturating_add(1);
}

/// Sixteen bits that tell whether two events say the same of what is read of them.
fn digest(event: &EventExcerpt<'_>, credential: Option<(u32, bool)>) -> u16 {
    let mut hasher = DefaultHasher::new();
    (event.time.0, credential, event.origin, event.network, event.class, event.asn)
        .hash(&mut hasher);
    event.program.hash(&mut hasher);
    u16::try_from(hasher.finish() & 0xffff).unwrap_or(0)
}

/// The programs that people sit at, numbered: `people` in data/client-software.json.
fn people() -> HashMap<String, u8> {
    let table: Json =
        serde_json::from_str(include_str!("../../data/client-software.json")).unwrap_or(Json::Null);
    let rows = table.get("software").map(Json::items).unwrap_or_default().iter();
    let people = rows.filter(|row| row.get("people") == Some(&Json::Bool(true)));
    let words = people.filter_map(|row| row.get("sdk").and_then(Json::as_str));
    words.zip(0_u8..).map(|(word, number)| (word.to_owned(), number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit each in a number of 64.
    #[test]
    fn programs_have_numbers() {
        let people = people();
        assert!((13..=64).contains(&people.len()), "{people:?}");
        assert!(people.contains_key("claude-code") && !people.contains_key("openai-python"));
        assert!(people.values().all(|number| *number < 64));
    }
}
