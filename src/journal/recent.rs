//! The latest events behind each number.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::selection::UnixMillis;
use crate::decision::event::Event;
use crate::terms::finding::{ActionName, FindingCode, Intervention};

/// The events that are kept for a number.
pub const MOST_RECENT: usize = 50;

/// What a list shows of an event.
#[derive(Debug)]
pub struct EventBrief {
    /// Its id
    pub id: String,
    /// Its time
    pub time: UnixMillis,
    /// Its customer
    pub customer: Option<String>,
    /// The country of the client's address
    pub origin: Option<String>,
    /// What was done
    pub verdict: ActionName,
    /// What mode enforce would have done
    pub would_be: Option<Intervention>,
    /// The finding that decided
    pub reason: Option<FindingCode>,
    /// All that fired
    pub findings: Vec<FindingCode>,
}

impl EventBrief {
    /// What a list shows of this event.
    pub fn of(event: &Event<'_>, time: UnixMillis) -> Self {
        Self {
            id: event.id.0.to_string(),
            time,
            customer: event.customer.0.as_ref().map(|customer| customer.0.to_string()),
            origin: event.origin.0.map(|country| country.to_string()),
            verdict: event.verdict,
            would_be: event.would_be.0,
            reason: event.reason.0,
            findings: event.findings.iter().map(|finding| finding.code).collect(),
        }
    }
}

/// The latest events behind each of some numbers. A number's key is the text of its conditions.
#[derive(Debug, Default)]
pub struct RecentEvents {
    lists: HashMap<String, RecentList>,
    most: usize,
}

#[derive(Debug, Default)]
struct RecentList {
    /// How many there were
    seen: u64,
    /// Sorted by time
    events: VecDeque<Rc<EventBrief>>,
}

impl RecentEvents {
    /// Keeps the events of so many numbers. Beyond, the smaller half is dropped.
    pub fn new(most: usize) -> Self {
        Self { lists: HashMap::new(), most }
    }

    /// Adds an event to a number.
    pub fn add(&mut self, key: &str, event: &Rc<EventBrief>) {
        if let Some(list) = self.lists.get_mut(key) {
            list.add(event);
            return;
        }
        if self.lists.len() >= self.most {
            let mut sizes: Vec<u64> = self.lists.values().map(|list| list.seen).collect();
            let half = sizes.len() / 2;
            let middle = *sizes.select_nth_unstable(half).1;
            let mut equal = half;
            // of those equal to the middle, as many as make a half
            self.lists.retain(|_, list| {
                let stays = list.seen > middle || (list.seen == middle && equal > 0);
                equal = equal.saturating_sub(usize::from(stays));
                stays
            });
        }
        self.lists.entry(key.to_owned()).or_default().add(event);
    }

    /// The latest events of a number, the last first.
    pub fn of(&self, key: &str) -> impl Iterator<Item = &EventBrief> {
        self.lists.get(key).into_iter().flat_map(|list| list.events.iter().rev().map(|it| &**it))
    }
}

impl RecentList {
    fn add(&mut self, event: &Rc<EventBrief>) {
        self.seen = self.seen.saturating_add(1);
        let later = self.events.iter().rev().take_while(|other| other.time > event.time).count();
        let place = self.events.len().saturating_sub(later);
        if self.events.len() < MOST_RECENT {
            self.events.insert(place, Rc::clone(event));
        } else if place > 0 {
            self.events.pop_front();
            self.events.insert(place.saturating_sub(1), Rc::clone(event));
        }
    }
}
