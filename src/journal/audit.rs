//! Whether a log is whole. Each VM numbers its events, and each event has the SHA-256 of the one
//! before, so a removed, altered or duplicate line shows.
//!
//! Streams end out of order, so a line may come long after its successor. Memory holds one
//! [`Stretch`] for each row of numbers without a hole, not the events: some 400 bytes for each hole
//! that is open, and 24 for each line that came late.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::line::LogLine;
use crate::shape::Word as _;
use crate::terms::names::digest;
use crate::terms::names::is_hex;
use crate::terms::time::UnixSeconds;

/// How a log is judged.
#[derive(Debug, Clone, Copy)]
pub struct AuditSettings {
    /// Seconds that a stream may last: numbers missing less than that before the end are notes
    pub open: i64,
    /// Whether events before the first of these files are in other files
    pub is_part: bool,
}

/// The place of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// The file's number in the order of reading, from 0
    pub file: usize,
    /// The line, from 1
    pub line: u64,
}

/// What is wrong at a line, or only mentioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRemark {
    /// The line; of a missing event, its successor's
    pub place: EventPlace,
    /// What it is
    pub kind: AuditRemarkKind,
}

/// Kinds of remarks of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditRemarkKind {
    /// These numbers of a VM are missing before this line
    Missing {
        /// The VM
        vm: String,
        /// The first missing number
        first: u64,
        /// The last missing number
        last: u64,
        /// The line of the number before; none at a VM's start
        after: Option<EventPlace>,
    },
    /// The next event, at that place, has another digest than this line's
    Altered {
        /// The successor's line
        next: EventPlace,
    },
    /// The VM's number came before
    Duplicate {
        /// The VM
        vm: String,
        /// The number
        seq: u64,
    },
    /// The event contradicts itself
    Contradiction(&'static str),
    /// An event that can't be read
    Unreadable,
    /// The event came after a later one of its VM
    Late,
}

/// A VM's numbers in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmNumbers {
    /// The VM
    pub vm: String,
    /// The first number
    pub first: u64,
    /// The last number: the event that no other vouches for
    pub last: u64,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// The events
    pub events: u64,
    /// Lines about requests that Envoy answered before the node
    pub without_event: u64,
    /// Lines of other formats
    pub others: u64,
    /// The VMs, by name
    pub vms: Vec<VmNumbers>,
    /// What is wrong, by place; at most [`MOST_REMARKS`]
    pub faults: Vec<AuditRemark>,
    /// All faults, also those that weren't kept
    pub fault_count: u64,
    /// What may be right, by place; at most [`MOST_REMARKS`]
    pub notes: Vec<AuditRemark>,
    /// All notes, also those that weren't kept
    pub note_count: u64,
}

/// The remarks that are kept of each sort. The others are only counted.
pub const MOST_REMARKS: usize = 100_000;

/// An audit while lines are read.
#[derive(Debug)]
pub struct Audit {
    settings: AuditSettings,
    events: u64,
    without_event: u64,
    others: u64,
    vms: BTreeMap<String, Stretches>,
    /// Times of the first event and of the last answer
    period: Option<(i64, i64)>,
    faults: RemarkList,
    notes: RemarkList,
}

/// A VM's numbers so far, by the first number of each stretch.
type Stretches = BTreeMap<u64, Stretch>;

/// A row of numbers without a hole, whose digests were compared.
#[derive(Debug)]
struct Stretch {
    /// Its first event
    first: StretchEnd,
    /// `prev` of its first event
    prev: Option<String>,
    last_seq: u64,
    /// Its last event
    last: StretchEnd,
    /// The digest of its last event
    digest: String,
}

/// An event at the end of a stretch.
#[derive(Debug, Clone, Copy)]
struct StretchEnd {
    place: EventPlace,
    time: i64,
}

#[derive(Debug, Default)]
struct RemarkList {
    kept: Vec<AuditRemark>,
    count: u64,
}

/// The members of an event that chain it.
#[derive(Deserialize)]
struct ChainLink<'a> {
    #[serde(borrow)]
    id: &'a str,
    #[serde(borrow)]
    time: &'a str,
    #[serde(borrow)]
    vm: &'a str,
    seq: u64,
    #[serde(borrow)]
    prev: Option<&'a str>,
}

impl Audit {
    /// An audit that has read nothing.
    pub fn new(settings: AuditSettings) -> Self {
        let (faults, notes) = (RemarkList::default(), RemarkList::default());
        let (events, without_event, others) = (0, 0, 0);
        let (vms, period) = (BTreeMap::new(), None);
        Self { settings, events, without_event, others, vms, period, faults, notes }
    }

    /// Takes a line: its bytes, and what they were read as.
    pub fn see(&mut self, place: EventPlace, bytes: &[u8], line: &LogLine<'_>) {
        match line {
            LogLine::Event(event) => {
                self.events = self.events.saturating_add(1);
                match link(&event.text) {
                    Some((link, time)) => {
                        let duration = event.envelope.duration_ms.unwrap_or(0) / 1_000;
                        let duration = i64::try_from(duration).unwrap_or(i64::MAX);
                        self.extend_period(time, duration);
                        self.chain(
                            StretchEnd { place, time },
                            &link,
                            digest(event.text.as_bytes()),
                        );
                    }
                    None => self.faults.push(place, AuditRemarkKind::Unreadable),
                }
            }
            LogLine::WithoutEvent(_) => self.without_event = self.without_event.saturating_add(1),
            LogLine::Other => {
                self.others = self.others.saturating_add(1);
                if is_damaged_event(bytes) {
                    self.faults.push(place, AuditRemarkKind::Unreadable);
                }
            }
        }
    }

    fn extend_period(&mut self, time: i64, duration: i64) {
        let end = time.saturating_add(duration);
        let (first, last) = self.period.unwrap_or((time, end));
        self.period = Some((first.min(time), last.max(end)));
    }

    fn chain(&mut self, at: StretchEnd, link: &ChainLink<'_>, digest: String) {
        let ChainLink { id, vm, seq, prev, .. } = *link;
        let place = at.place;
        if id.strip_prefix(vm).and_then(|rest| rest.strip_prefix('-')) != Some(&*seq.to_string()) {
            let what = "`id` isn't `vm` and `seq`: this line was altered";
            self.faults.push(place, AuditRemarkKind::Contradiction(what));
        }
        if (seq == 0) != prev.is_none() {
            let what = "only a VM's first event, number 0, has no `prev`: this line was altered";
            self.faults.push(place, AuditRemarkKind::Contradiction(what));
        }
        if !self.vms.contains_key(vm) {
            self.vms.insert(vm.to_owned(), BTreeMap::new());
        }
        let Some(stretches) = self.vms.get_mut(vm) else { return };
        let is_late = stretches.last_key_value().is_some_and(|(_, last)| last.last_seq > seq);
        let before = stretches.range_mut(..=seq).next_back();
        let before = match before {
            Some((_, stretch)) if stretch.last_seq >= seq => {
                let kind = AuditRemarkKind::Duplicate { vm: vm.to_owned(), seq };
                return self.faults.push(place, kind);
            }
            Some((start, stretch)) if stretch.last_seq.checked_add(1) == Some(seq) => {
                if prev.is_some_and(|prev| stretch.digest != prev) {
                    let kind = AuditRemarkKind::Altered { next: place };
                    self.faults.push(stretch.last.place, kind);
                }
                stretch.last_seq = seq;
                stretch.last = at;
                stretch.digest = digest;
                *start
            }
            _ => {
                let prev = prev.map(str::to_owned);
                let alone = Stretch { first: at, prev, last_seq: seq, last: at, digest };
                stretches.insert(seq, alone);
                seq
            }
        };
        if is_late {
            self.notes.push(place, AuditRemarkKind::Late);
        }
        let Some(after) = seq.checked_add(1).and_then(|next| stretches.remove(&next)) else {
            return;
        };
        let Some(joined) = stretches.get_mut(&before) else { return };
        if after.prev.is_some_and(|prev| joined.digest != prev) {
            self.faults.push(place, AuditRemarkKind::Altered { next: after.first.place });
        }
        joined.last_seq = after.last_seq;
        joined.last = after.last;
        joined.digest = after.digest;
    }

    /// What is missing, now that all lines were read.
    pub fn finish(self) -> AuditReport {
        let Self { settings, vms, period, mut faults, mut notes, .. } = self;
        let (begin, end) = period.unwrap_or_default();
        let mut numbers = Vec::with_capacity(vms.len());
        for (vm, stretches) in vms {
            let mut before: Option<&Stretch> = None;
            for (start, stretch) in &stretches {
                let first = before.map_or(0, |before| before.last_seq.saturating_add(1));
                if let Some(last) = start.checked_sub(1).filter(|last| *last >= first) {
                    let after = before.map(|before| before.last.place);
                    // a missing number is as old as its successor, or older
                    let is_open = end.saturating_sub(stretch.first.time) < settings.open;
                    let since = stretch.first.time.saturating_sub(begin);
                    let is_before = settings.is_part && (after.is_none() || since < settings.open);
                    let list = if is_open || is_before { &mut notes } else { &mut faults };
                    let vm = vm.clone();
                    let kind = AuditRemarkKind::Missing { vm, first, last, after };
                    list.push(stretch.first.place, kind);
                }
                before = Some(stretch);
            }
            let first = stretches.first_key_value().map_or(0, |(first, _)| *first);
            let last = before.map_or(0, |last| last.last_seq);
            numbers.push(VmNumbers { vm, first, last });
        }
        faults.kept.sort_by_key(|fault| fault.place);
        notes.kept.sort_by_key(|note| note.place);
        AuditReport {
            events: self.events,
            without_event: self.without_event,
            others: self.others,
            vms: numbers,
            faults: faults.kept,
            fault_count: faults.count,
            notes: notes.kept,
            note_count: notes.count,
        }
    }
}

impl RemarkList {
    fn push(&mut self, place: EventPlace, kind: AuditRemarkKind) {
        self.count = self.count.saturating_add(1);
        if self.kept.len() < MOST_REMARKS {
            self.kept.push(AuditRemark { place, kind });
        }
    }
}

impl AuditRemarkKind {
    /// In words. `line` names a place.
    pub fn describe(&self, line: &dyn Fn(EventPlace) -> String) -> String {
        match self {
            Self::Missing { vm, first, last, after } => {
                let numbers = if first == last {
                    format!("number {first} of VM {vm} is missing")
                } else {
                    format!("numbers {first} to {last} of VM {vm} are missing")
                };
                match after {
                    Some(after) => format!("{numbers}, between {} and this line", line(*after)),
                    None => format!("{numbers}: this is its first line"),
                }
            }
            Self::Altered { next } => format!(
                "altered: its SHA-256 isn't the `prev` of the next event in {next}; this line \
                 was altered, or else {next}",
                next = line(*next),
            ),
            Self::Duplicate { vm, seq } => {
                format!("duplicate: number {seq} of VM {vm} came before")
            }
            Self::Contradiction(what) => (*what).to_owned(),
            Self::Unreadable => {
                "invalid event: `id`, `time`, `vm`, `seq` or `prev` can't be read, \
                                 so this line was altered"
                    .to_owned()
            }
            Self::Late => "out of order: a later event of its VM came before; streams end out of \
                           order, so this proves nothing"
                .to_owned(),
        }
    }
}

/// The members that chain an event, and its time; none if one is invalid.
fn link(text: &str) -> Option<(ChainLink<'_>, i64)> {
    let link: ChainLink<'_> = serde_json::from_str(text).ok()?;
    let is_vm = is_hex(link.vm, 16) && link.prev.is_none_or(|prev| is_hex(prev, 64));
    let UnixSeconds(time) = UnixSeconds::parse(link.time).ok().filter(|_| is_vm)?;
    Some((link, time))
}

/// Whether a line that isn't valid was an event: it begins as an object, and has an event's names.
fn is_damaged_event(bytes: &[u8]) -> bool {
    let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    begins == Some(&b'{')
        && has(b"schema")
        && [&b"vm"[..], b"seq", b"prev"].iter().filter(|name| has(name)).count() >= 2
}
