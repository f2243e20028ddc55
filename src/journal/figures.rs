//! What a report counts. Memory doesn't grow with the number of events, and is bounded where the
//! number of values isn't: of customers, nodes and snapshots so many are counted, and the latest
//! events are kept for so many numbers.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::line::LogLine;
use super::recent::{EventBrief, RecentEvents};
use super::selection::{Condition, EventField, Selection, UnixMillis, path};
use super::timeline::{Timeline, VerdictCounts, count};
use crate::chain::Attest;
use crate::decision::event::Event;
use crate::shape::Word as _;
use crate::terms::finding::{ActionName, FindingCode};
use crate::terms::region::CountryCode;

/// The values of a field that are counted one by one. Events with others are only in the totals.
const MOST_VALUES: usize = 100_000;
/// The numbers whose latest events are kept, of fields without a closed vocabulary.
const MOST_LISTS: usize = 2_000;

/// Fields whose values come from a closed vocabulary.
const CLOSED: [EventField; 6] = [
    EventField::Verdict,
    EventField::WouldBe,
    EventField::Reason,
    EventField::Finding,
    EventField::Origin,
    EventField::Chain,
];
/// Fields whose values are anybody's.
const OPEN: [EventField; 7] = [
    EventField::Policy,
    EventField::Snapshot,
    EventField::Node,
    EventField::Hop,
    EventField::Path,
    EventField::Software,
    EventField::Asn,
];

/// Events counted.
#[derive(Debug, Default, Clone)]
pub struct EventTally {
    /// How many
    pub events: u64,
    /// How many by verdict
    pub verdicts: VerdictCounts,
    /// How many mode enforce would have refused or rerouted
    pub softened: u64,
    /// The times of the first and the last
    pub between: Option<(UnixMillis, UnixMillis)>,
}

/// What is counted of a customer.
#[derive(Debug, Default)]
pub struct CustomerFigures {
    /// All its events
    pub tally: EventTally,
    /// By the finding that decided
    pub reasons: BTreeMap<FindingCode, u64>,
    /// Of the refused, by the finding that decided
    pub refusals: BTreeMap<FindingCode, u64>,
    /// By each finding that asks for a look, of requests that weren't refused
    pub findings: BTreeMap<FindingCode, u64>,
    /// By the country where it isn't declared
    pub undeclared: BTreeMap<Option<CountryCode>, u64>,
}

/// What is counted of a node that carried requests.
#[derive(Debug, Default)]
pub struct HopFigures {
    /// All events that it is a hop of
    pub tally: EventTally,
    /// Those that it signed: it was the last hop
    pub signed: u64,
    /// Those where nothing proves it
    pub unproven: u64,
    /// The weakest word that it gave
    pub weakest: Option<Attest>,
    /// How often it gave less than its full word
    pub below_full: u64,
}

/// What is counted of a way through the same nodes.
#[derive(Debug, Default)]
pub struct PathFigures {
    /// All its events
    pub tally: EventTally,
    /// Those whose chain is worth no more than `gateway`
    pub weak: u64,
    /// Those with a hop that nothing proves
    pub unproven: u64,
    /// The first node that nothing proves, else the first that vouches least, of the last weak one
    pub weakest: Option<(String, Attest, bool)>,
}

/// The lines that no event was counted of.
#[derive(Debug, Default, Clone)]
pub struct PassedOver {
    /// Lines of requests that have no event
    pub without_event: u64,
    /// Events that this version can't read
    pub unreadable: u64,
    /// Anything else
    pub other: u64,
    /// Events that aren't selected
    pub unselected: u64,
}

/// What a report counts.
#[derive(Debug)]
pub struct Figures {
    /// All events that are selected
    pub tally: EventTally,
    /// Over time
    pub timeline: Timeline,
    /// By customer; without one under the empty text
    pub customers: HashMap<String, CustomerFigures>,
    /// By node that carried requests
    pub hops: HashMap<String, HopFigures>,
    /// By the nodes on the way
    pub paths: HashMap<String, PathFigures>,
    /// The lines that weren't counted
    pub passed_over: PassedOver,
    /// Whether some values were too many to be counted one by one
    pub is_cut: bool,
    values: HashMap<EventField, HashMap<String, EventTally>>,
    closed: RecentEvents,
    open: RecentEvents,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            tally: EventTally::default(),
            timeline: Timeline::default(),
            customers: HashMap::new(),
            hops: HashMap::new(),
            paths: HashMap::new(),
            passed_over: PassedOver::default(),
            is_cut: false,
            values: HashMap::new(),
            closed: RecentEvents::new(usize::MAX),
            open: RecentEvents::new(MOST_LISTS),
        }
    }
}

impl Figures {
    /// Counts a line of a log. Returns whether its event is selected.
    pub fn count(&mut self, line: &LogLine<'_>, selection: &Selection) -> bool {
        let logged = match line {
            LogLine::Event(logged) => logged,
            LogLine::WithoutEvent(_) => {
                add_one(&mut self.passed_over.without_event);
                return false;
            }
            LogLine::Other => {
                add_one(&mut self.passed_over.other);
                return false;
            }
        };
        let event = Event::parse(&logged.text).ok();
        let event = event.and_then(|event| {
            let time = UnixMillis::parse(&event.time.0).ok()?;
            Some((event, time))
        });
        let Some((event, time)) = event else {
            add_one(&mut self.passed_over.unreadable);
            return false;
        };
        if !selection.admits(&event, time) {
            add_one(&mut self.passed_over.unselected);
            return false;
        }
        self.add(&event, time);
        true
    }

    fn add(&mut self, event: &Event<'_>, time: UnixMillis) {
        let brief = Rc::new(EventBrief::of(event, time));
        self.tally.add(event, time);
        self.timeline.add(time, event.verdict);
        let mut key = String::new();
        for field in CLOSED.into_iter().chain(OPEN) {
            let values = self.values.entry(field).or_default();
            let is_closed = CLOSED.contains(&field);
            let recent = if is_closed { &mut self.closed } else { &mut self.open };
            let is_cut = &mut self.is_cut;
            field.each_value(event, &mut |value| {
                let Some(tally) = bounded(values, value, is_cut) else { return };
                tally.add(event, time);
                // nothing asks for the events without a reason
                if !value.is_empty() || field == EventField::Origin {
                    key.clear();
                    key.push_str(field.as_str());
                    key.push('=');
                    key.push_str(value);
                    recent.add(&key, &brief);
                }
            });
        }
        self.add_to_customer(event, time, &brief);
        self.add_to_chain(event, time);
    }

    fn add_to_customer(&mut self, event: &Event<'_>, time: UnixMillis, brief: &Rc<EventBrief>) {
        let id = event.customer.0.as_ref().map_or("", |customer| &customer.0);
        let Some(customer) = bounded(&mut self.customers, id, &mut self.is_cut) else { return };
        customer.tally.add(event, time);
        if let Some(reason) = event.reason.0 {
            add_one(customer.reasons.entry(reason).or_default());
        }
        if event.verdict == ActionName::Block {
            if let Some(reason) = event.reason.0 {
                add_one(customer.refusals.entry(reason).or_default());
            }
        } else {
            // a finding whose action is `allow` asks for nothing
            let loud = event.findings.iter().filter(|it| it.action != ActionName::Allow);
            for finding in loud {
                add_one(customer.findings.entry(finding.code).or_default());
            }
        }
        if event.verdict != ActionName::Allow {
            self.open.add(&key(&decided(id, event.verdict)), brief);
        }
        if event.findings.iter().any(|finding| finding.code == FindingCode::GeoUndeclared) {
            let country = event.user.0.or(event.origin.0);
            add_one(customer.undeclared.entry(country).or_default());
            self.open.add(&key(&undeclared(id)), brief);
        }
    }

    fn add_to_chain(&mut self, event: &Event<'_>, time: UnixMillis) {
        let Some(hops) = event.hops.as_deref().filter(|hops| !hops.is_empty()) else { return };
        let mut seen: Vec<&str> = Vec::with_capacity(hops.len());
        for (place, hop) in hops.iter().enumerate() {
            let Some(figures) = bounded(&mut self.hops, &hop.node.0, &mut self.is_cut) else {
                continue;
            };
            // a node that is on the way twice is counted once
            if !seen.contains(&&*hop.node.0) {
                seen.push(&hop.node.0);
                figures.tally.add(event, time);
            }
            if place.saturating_add(1) == hops.len() {
                add_one(&mut figures.signed);
            }
            if !hop.proven {
                add_one(&mut figures.unproven);
            }
            if hop.attest != Attest::Full {
                add_one(&mut figures.below_full);
            }
            figures.weakest = Some(figures.weakest.map_or(hop.attest, |it| it.min(hop.attest)));
        }
        let Some(figures) = bounded(&mut self.paths, &path(event), &mut self.is_cut) else {
            return;
        };
        figures.tally.add(event, time);
        let unproven = hops.iter().find(|hop| !hop.proven);
        if unproven.is_some() {
            add_one(&mut figures.unproven);
        }
        if event.chain.0 == Some(Attest::Gateway) {
            add_one(&mut figures.weak);
        }
        if event.chain.0 == Some(Attest::Gateway) || unproven.is_some() {
            let weakest = unproven.or_else(|| hops.iter().min_by_key(|hop| hop.attest));
            figures.weakest = weakest.map(|hop| (hop.node.0.to_string(), hop.attest, hop.proven));
        }
    }

    /// The values of a field, those with most events first.
    pub fn of(&self, field: EventField) -> Vec<(&str, &EventTally)> {
        let mut rows: Vec<(&str, &EventTally)> = self
            .values
            .get(&field)
            .into_iter()
            .flatten()
            .map(|(value, tally)| (value.as_str(), tally))
            .collect();
        rows.sort_by(|(a, a_tally), (b, b_tally)| {
            b_tally.events.cmp(&a_tally.events).then_with(|| a.cmp(b))
        });
        rows
    }

    /// The latest events of a number, the last first. At most 50; fewer or none where too many
    /// numbers have events.
    pub fn latest(&self, conditions: &[Condition]) -> Vec<&EventBrief> {
        let key = key(conditions);
        self.closed.of(&key).chain(self.open.of(&key)).collect()
    }
}

/// The conditions of a customer's requests with that verdict.
pub fn decided(customer: &str, verdict: ActionName) -> [Condition; 2] {
    let customer = Condition::new(EventField::Customer, customer);
    [customer, Condition::new(EventField::Verdict, verdict.as_str())]
}

/// The conditions of a customer's requests from undeclared countries.
pub fn undeclared(customer: &str) -> [Condition; 2] {
    let code = FindingCode::GeoUndeclared.as_str();
    let customer = Condition::new(EventField::Customer, customer);
    [customer, Condition::new(EventField::Finding, code)]
}

fn key(conditions: &[Condition]) -> String {
    let texts: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    texts.join("\0")
}

fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}

/// The figures of a value; none if it is new and there are too many.
fn bounded<'a, T: Default>(
    values: &'a mut HashMap<String, T>,
    value: &str,
    is_cut: &mut bool,
) -> Option<&'a mut T> {
    if !values.contains_key(value) {
        if values.len() >= MOST_VALUES {
            *is_cut = true;
            return None;
        }
        values.insert(value.to_owned(), T::default());
    }
    values.get_mut(value)
}

impl EventTally {
    fn add(&mut self, event: &Event<'_>, time: UnixMillis) {
        add_one(&mut self.events);
        count(&mut self.verdicts, event.verdict);
        if event.would_be.0.is_some() {
            add_one(&mut self.softened);
        }
        let (first, last) = self.between.unwrap_or((time, time));
        self.between = Some((first.min(time), last.max(time)));
    }

    /// How many with that verdict.
    pub fn with(&self, verdict: ActionName) -> u64 {
        self.verdicts.get(usize::from(verdict as u8)).copied().unwrap_or_default()
    }
}
