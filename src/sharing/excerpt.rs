//! Of an event, what signs of sharing rest on: a reader that is ten times as fast as
//! `Event::parse`, since weeks of events are read.
//!
//! What it takes of a valid event is what `Event::parse` takes (a test compares the two). It looks
//! at no other member, so it reads events of later versions too.

use std::borrow::Cow;

use serde::Deserialize;

use crate::journal::selection::UnixMillis;
use crate::shape::Word as _;
use crate::terms::names::is_hex;
use crate::terms::network::NetworkClass;
use crate::terms::region::CountryCode;

/// What signs of sharing rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventExcerpt<'a> {
    /// The VM, and the event's place in its chain
    pub(super) id: (u64, u64),
    pub(super) time: UnixMillis,
    pub(super) customer: Option<Cow<'a, str>>,
    pub(super) credential: Option<ExcerptCredential<'a>>,
    pub(super) origin: Option<CountryCode>,
    /// The cut address as a number
    pub(super) network: Option<u64>,
    pub(super) class: Option<NetworkClass>,
    pub(super) asn: Option<u32>,
    pub(super) program: Option<Cow<'a, str>>,
}

/// What named the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExcerptCredential<'a> {
    /// Whether it is a certificate or a verified chain, which nobody else has
    pub(super) is_bound: bool,
    pub(super) label: Option<Cow<'a, str>>,
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct ExcerptMembers<'a> {
    schema: u8,
    #[serde(borrow)]
    id: JsonText<'a>,
    #[serde(borrow)]
    time: JsonText<'a>,
    #[serde(borrow)]
    customer: Option<JsonText<'a>>,
    #[serde(borrow)]
    credential: Option<CredentialMembers<'a>>,
    #[serde(borrow)]
    origin: Option<JsonText<'a>>,
    #[serde(borrow)]
    address: Option<JsonText<'a>>,
    #[serde(borrow)]
    network: Option<JsonText<'a>>,
    asn: Option<u32>,
    #[serde(borrow)]
    software: Option<SoftwareMembers<'a>>,
}

#[derive(Deserialize)]
struct CredentialMembers<'a> {
    #[serde(borrow)]
    source: JsonText<'a>,
    #[serde(borrow)]
    label: Option<JsonText<'a>>,
}

#[derive(Deserialize)]
struct SoftwareMembers<'a> {
    #[serde(borrow)]
    sdk: JsonText<'a>,
}

impl<'a> EventExcerpt<'a> {
    /// Reads an event's text; `None` for one that can't be read.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let members: ExcerptMembers<'a> = serde_json::from_str(text).ok()?;
        if members.schema != 1 {
            return None;
        }
        let origin = match members.origin {
            Some(JsonText(code)) => Some(CountryCode::parse(&code).ok()?),
            None => None,
        };
        let network = match members.address {
            Some(JsonText(address)) => Some(network_number(&address)?),
            None => None,
        };
        let class = match members.network {
            Some(JsonText(class)) => Some(NetworkClass::parse(&class).ok()?),
            None => None,
        };
        let credential = members.credential.map(|CredentialMembers { source, label }| {
            let is_bound = source.0 == "chain" || source.0.starts_with("mtls ");
            ExcerptCredential { is_bound, label: label.map(|label| label.0) }
        });
        Some(Self {
            id: event_number(&members.id.0)?,
            time: UnixMillis::parse(&members.time.0).ok()?,
            customer: members.customer.map(|customer| customer.0),
            credential,
            origin,
            network,
            class,
            asn: members.asn,
            program: members.software.map(|software| software.sdk.0),
        })
    }

    /// Whether the country of the address is where somebody is.
    pub(super) fn is_placed(&self) -> bool {
        !self.class.is_some_and(|class| class == NetworkClass::Hosting || class.hides())
    }
}

/// A VM's number and the event's place; `None` for what no node writes.
fn event_number(id: &str) -> Option<(u64, u64)> {
    let (vm, place) = id.split_once('-')?;
    let is_plain = place.bytes().all(|b| b.is_ascii_digit())
        && (place == "0" || !place.starts_with('0'))
        && is_hex(vm, 16);
    if !is_plain {
        return None;
    }
    Some((u64::from_str_radix(vm, 16).ok()?, place.parse().ok()?))
}

/// A cut address as a number: 24 bits of IPv4; 48 bits of IPv6 behind a bit of its own.
fn network_number(text: &str) -> Option<u64> {
    if let Some(address) = text.strip_suffix("/24") {
        let bits = address.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
        return (bits.trailing_zeros() >= 8).then_some(u64::from(bits >> 8));
    }
    let bits = text.strip_suffix("/48")?.parse::<std::net::Ipv6Addr>().ok()?.to_bits();
    let high = u64::try_from(bits >> 80).ok()?;
    (bits.trailing_zeros() >= 80).then_some(high | 1 << 48)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::event::Event;

    const EVENT: &str = r#"{"schema":1,"id":"00000000000000aa-7","time":"2026-11-27T12:00:00.123Z",
        "node":"a","customer":"c\u002d1","credential":{"source":"header x-api-key","label":"a\"b"},
        "mode":"report","verdict":"allow","would_be":null,"route":null,"reason":null,
        "findings":[{"code":"geo.undeclared","action":"report","evidence":"FR isn't declared"}],
        "user":null,"origin":"FR","address":"203.0.113.0/24","network":"hosting","asn":64500,
        "software":{"sdk":"cursor","version":"1.2","os":"linux"},"chain":null,
        "policy":"00112233445566aa","snapshot":null,"vm":"00000000000000aa","seq":7,"prev":null}"#;

    /// Of any valid event, what `Event::parse` reads.
    #[test]
    fn both_readers_read_the_same() {
        let of = |text: &str| {
            let event = Event::parse(text).unwrap_or_else(|wrong| panic!("{wrong}: {text}"));
            let excerpt = EventExcerpt::parse(text).unwrap();
            assert_eq!(excerpt.id.1, event.seq.0);
            assert_eq!(excerpt.id.0, u64::from_str_radix(&event.vm.0, 16).unwrap());
            assert_eq!(Ok(excerpt.time), UnixMillis::parse(&event.time.0));
            assert_eq!(excerpt.customer, event.customer.0.map(|text| text.0));
            let credential = event.credential.0;
            let labels = credential.as_ref().and_then(|credential| credential.label.clone());
            let label = excerpt.credential.clone().and_then(|credential| credential.label);
            assert_eq!(label, labels.map(|label| label.0));
            assert_eq!(excerpt.credential.is_some(), credential.is_some());
            assert_eq!(excerpt.origin, event.origin.0);
            assert_eq!(excerpt.network.is_some(), event.address.0.is_some());
            assert_eq!(excerpt.class, event.network.0);
            assert_eq!(excerpt.asn.map(u64::from), event.asn.map(|asn| asn.0));
            assert_eq!(excerpt.program, event.software.map(|software| software.sdk.0));
        };
        of(EVENT);
        for (from, to) in [
            (r#""c\u002d1""#, "null"),
            (r#"{"source":"header x-api-key","label":"a\"b"}"#, "null"),
            (r#","label":"a\"b""#, ""),
            (r#""FR","address""#, r#"null,"address""#),
            (r#""203.0.113.0/24""#, r#""2001:db8:1::/48""#),
            (r#""203.0.113.0/24""#, "null"),
            (r#""hosting""#, "null"),
            (r#""asn":64500,"#, ""),
            (r#""software":{"sdk":"cursor","version":"1.2","os":"linux"},"#, ""),
            (
                r#""chain":null,"#,
                concat!(
                    r#""chain":"full","hops":[{"node":"b","customer":null,"attest":"full","#,
                    r#""proven":true}],"#
                ),
            ),
        ] {
            let text = EVENT.replace(from, to);
            assert_ne!(text, EVENT, "{from}");
            of(&text);
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        for (from, to) in [
            (r#""asn":64500"#, r#""asn":64500,"asn":64500"#),
            (r#""origin":"FR""#, r#""origin":"FR","\u006frigin":"DE""#),
            (r#""sdk":"cursor""#, r#""sdk":"cursor","sdk":"zed""#),
        ] {
            let text = EVENT.replace(from, to);
            assert_ne!(text, EVENT, "{from}");
            assert_eq!(EventExcerpt::parse(&text), None, "{text}");
            assert!(Event::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_numbered_apart() {
        let texts = [
            "0.0.0.0/24",
            "0.0.1.0/24",
            "255.255.255.0/24",
            "::/48",
            "0:0:1::/48",
            "2001:db8::/48",
        ];
        let mut numbers: Vec<u64> =
            texts.iter().map(|text| network_number(text).unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), texts.len());
        for text in ["", "1.2.3.4/24", "1.2.3.0/16", "::1/48", "1.2.3.0", "::/47", "/24"] {
            assert_eq!(network_number(text), None, "{text}");
        }
    }
}
