//! One line of an access log: the event in it, and what Envoy printed beside it.
//!
//! Read are the shipped formats (`event` is the event's text as a string), older ones (`event` is
//! an object), and bare events. A line that says one thing twice is none: two readers would read it
//! differently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What a line is.
#[derive(Debug)]
pub enum LogLine<'a> {
    /// A line with an event
    Event(LoggedEvent<'a>),
    /// A line of Envoy's about a request that has no event: answered before the node
    WithoutEvent(LineEnvelope),
    /// Anything else
    Other,
}

/// An event as it was logged.
#[derive(Debug)]
pub struct LoggedEvent<'a> {
    /// The event's JSON text, whose SHA-256 the next event has
    pub text: Cow<'a, str>,
    /// What Envoy printed beside it
    pub envelope: LineEnvelope,
}

/// What Envoy alone knows of a request. Each is absent where the format doesn't have it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LineEnvelope {
    /// The status of the answer; 0 where the client hung up
    pub status: Option<u16>,
    /// Milliseconds from the request's first byte to the answer's last
    pub duration_ms: Option<u64>,
    /// Envoy's `x-request-id`, which a client may choose
    pub request_id: Option<String>,
    /// The provider's request id
    pub provider_request_id: Option<String>,
    /// The method
    pub method: Option<String>,
    /// The path without its query
    pub path: Option<String>,
}

/// The members of a line, each once.
struct LineMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// LineMembers that an event has and an envelope hasn't.
const BARE: [&str; 3] = ["schema", "vm", "seq"];

impl<'a> LogLine<'a> {
    /// Reads a line, without its line feed.
    pub fn parse(line: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(line) else { return Self::Other };
        let text = text.trim();
        let Ok(LineMembers(members)) = serde_json::from_str::<LineMembers<'a>>(text) else {
            return Self::Other;
        };
        let get = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw);
        let Some(event) = get("event") else {
            if BARE.iter().all(|name| get(name).is_some()) {
                let envelope = LineEnvelope::default();
                return Self::Event(LoggedEvent { text: Cow::Borrowed(text), envelope });
            }
            return Self::Other;
        };
        let text_of = |name: &str| get(name).and_then(string).filter(|text| text != "-");
        let envelope = LineEnvelope {
            status: get("status").and_then(|raw| raw.get().parse().ok()),
            duration_ms: get("duration_ms").and_then(|raw| raw.get().parse().ok()),
            request_id: text_of("request_id"),
            provider_request_id: text_of("provider_request_id"),
            method: text_of("method"),
            path: text_of("path"),
        };
        let text = match event.get().as_bytes().first() {
            Some(b'{') => Some(Cow::Borrowed(event.get())),
            Some(b'"') => string(event).filter(|text| text.starts_with('{')).map(Cow::Owned),
            _ => None,
        };
        match text {
            Some(text) => Self::Event(LoggedEvent { text, envelope }),
            None => Self::WithoutEvent(envelope),
        }
    }
}

/// A raw value's text, if it is a string.
fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

impl<'de> Deserialize<'de> for LineMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LineMembersVisitor;

        impl<'de> Visitor<'de> for LineMembersVisitor {
            type Value = LineMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.len() >= MOST_MEMBERS
                        || members.iter().any(|(known, _)| *known == name)
                    {
                        return Err(serde::de::Error::custom("a duplicate or too many members"));
                    }
                    members.push((name, value));
                }
                Ok(LineMembers(members))
            }
        }

        deserializer.deserialize_map(LineMembersVisitor)
    }
}

/// The most members of a line that are read. An event has some 25.
const MOST_MEMBERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"schema":1,"vm":"a","seq":0}"#;

    fn event(line: &str) -> Option<(String, LineEnvelope)> {
        match LogLine::parse(line.as_bytes()) {
            LogLine::Event(LoggedEvent { text, envelope }) => Some((text.into_owned(), envelope)),
            LogLine::WithoutEvent(_) | LogLine::Other => None,
        }
    }

    #[test]
    fn all_forms_give_the_same_text() {
        let quoted = serde_json::Value::from(EVENT).to_string();
        for line in [
            EVENT.to_owned(),
            format!("{{\"event\":{EVENT},\"status\":200}}"),
            format!("{{\"status\":200, \"event\": {quoted}}}\r"),
        ] {
            assert_eq!(event(&line).map(|(text, _)| text).as_deref(), Some(EVENT), "{line}");
        }
    }

    #[test]
    fn the_envelope_is_read() {
        let line = format!(
            r#"{{"event":{EVENT},"status":403,"duration_ms":7,"request_id":"a","provider_request_id":null,"method":"POST","path":"-"}}"#
        );
        let expected = LineEnvelope {
            status: Some(403),
            duration_ms: Some(7),
            request_id: Some("a".into()),
            method: Some("POST".into()),
            ..LineEnvelope::default()
        };
        assert_eq!(event(&line).map(|(_, envelope)| envelope), Some(expected));
    }

    #[test]
    fn a_line_that_says_one_thing_twice_is_none() {
        for line in [
            format!("{{\"event\":{EVENT},\"event\":{EVENT}}}"),
            format!("{{\"event\":{EVENT},\"\\u0065vent\":null}}"),
            format!("{{\"event\":{EVENT}}} {{}}"),
            "[2026-11-27] started".to_owned(),
            String::new(),
            "{\"a\":1}".to_owned(),
        ] {
            assert!(matches!(LogLine::parse(line.as_bytes()), LogLine::Other), "{line}");
        }
        assert!(matches!(LogLine::parse(b"{\"event\": null}"), LogLine::WithoutEvent(_)));
        assert!(matches!(LogLine::parse(b"{\"event\": \"-\"}"), LogLine::WithoutEvent(_)));
        assert!(matches!(LogLine::parse(b"\xff{}"), LogLine::Other));
    }
}
