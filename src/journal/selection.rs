//! Which events are meant: those of a period, and those with given values of given fields.

use std::fmt;

use crate::decision::event::Event;
use crate::shape::{Mismatch, Word, words};
use crate::terms::time::UnixSeconds;

words! {
    /// A field of events that has few values, by which events are counted and selected.
    pub enum EventField {
        /// What was done
        Verdict = "verdict",
        /// What mode enforce would have done
        WouldBe = "would_be",
        /// The finding that decided
        Reason = "reason",
        /// A finding, whether it decided or not
        Finding = "finding",
        /// The customer's pseudonym
        Customer = "customer",
        /// The country of the client's address
        Origin = "origin",
        /// The policy's revision
        Policy = "policy",
        /// The snapshot's sequence
        Snapshot = "snapshot",
        /// The node that decided
        Node = "node",
        /// What the chain is worth
        Chain = "chain",
        /// A node of the chain
        Hop = "hop",
        /// What the caller's program says it is
        Software = "software",
        /// The autonomous system of the client's address
        Asn = "asn",
        /// All nodes of the chain, with `>` between them
        Path = "path",
    }
}

/// A condition on events: `reason=geo.restricted`. A value that is missing is written `customer=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    field: EventField,
    value: String,
}

/// A time in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

/// The events that are meant.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// The first time that counts
    pub since: Option<UnixMillis>,
    /// The first time that doesn't count any more
    pub until: Option<UnixMillis>,
    /// All these must hold
    pub conditions: Vec<Condition>,
}

impl EventField {
    /// Calls `see` with each value that an event has; with an empty text where it has none.
    pub fn each_value(self, event: &Event<'_>, see: &mut dyn FnMut(&str)) {
        match self {
            Self::Verdict => see(event.verdict.as_str()),
            Self::WouldBe => see(event.would_be.0.map_or("", |it| it.as_str())),
            Self::Reason => see(event.reason.0.map_or("", |it| it.as_str())),
            Self::Finding => event.findings.iter().for_each(|finding| see(finding.code.as_str())),
            Self::Customer => see(event.customer.0.as_ref().map_or("", |it| &it.0)),
            Self::Origin => see(event.origin.0.as_ref().map_or("", |it| it.as_str())),
            Self::Policy => see(&event.policy.0),
            Self::Snapshot => see(&event.snapshot.0.map_or(String::new(), |it| it.0.to_string())),
            Self::Node => see(&event.node.0),
            Self::Chain => see(event.chain.0.map_or("", |it| it.as_str())),
            Self::Hop => event.hops.iter().flatten().for_each(|hop| see(&hop.node.0)),
            Self::Software => see(event.software.as_ref().map_or("", |it| &it.sdk.0)),
            Self::Asn => see(&event.asn.as_ref().map_or(String::new(), |it| it.0.to_string())),
            Self::Path => see(&path(event)),
        }
    }
}

/// The nodes of an event's chain, the signer last; empty without a chain.
pub fn path(event: &Event<'_>) -> String {
    let nodes: Vec<&str> = event.hops.iter().flatten().map(|hop| &*hop.node.0).collect();
    nodes.join(">")
}

impl Condition {
    /// The condition that a field has that value.
    pub fn new(field: EventField, value: &str) -> Self {
        Self { field, value: value.to_owned() }
    }

    fn holds(&self, event: &Event<'_>) -> bool {
        let mut holds = false;
        self.field.each_value(event, &mut |value| holds |= value == self.value);
        holds
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.field, self.value)
    }
}

impl Word for Condition {
    const WHAT: &'static str = "a field of events and its value, such as reason=geo.restricted";
    const PATTERN: &'static str = "^[a-z_]+=";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let Some((field, value)) = text.split_once('=') else {
            let help = "write the field, `=` and the value: `reason=geo.restricted`";
            return Err(Mismatch::new(format!("expected FIELD=VALUE, found `{text}`"), help));
        };
        Ok(Self::new(EventField::parse(field)?, value))
    }

    fn put(&self, out: &mut crate::shape::JsonWriter) {
        out.string(&self.to_string());
    }
}

impl Word for UnixMillis {
    const WHAT: &'static str = UnixSeconds::WHAT;
    const PATTERN: &'static str = UnixSeconds::PATTERN;

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let seconds = UnixSeconds::parse(text)?;
        let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
        let digits = fraction.bytes().take_while(u8::is_ascii_digit);
        let digits = digits.chain(std::iter::repeat(b'0')).take(3);
        let millis = digits.fold(0_i64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
        });
        Ok(Self(seconds.0.saturating_mul(1_000).saturating_add(millis)))
    }

    fn put(&self, out: &mut crate::shape::JsonWriter) {
        out.string(&self.to_string());
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        let text = UnixSeconds(seconds).to_string();
        if millis == 0 {
            return f.write_str(&text);
        }
        write!(f, "{}.{millis:03}Z", text.trim_end_matches('Z'))
    }
}

impl Selection {
    /// Whether an event of that time is meant.
    pub fn admits(&self, event: &Event<'_>, time: UnixMillis) -> bool {
        self.since.is_none_or(|since| since <= time)
            && self.until.is_none_or(|until| time < until)
            && self.conditions.iter().all(|condition| condition.holds(event))
    }
}
