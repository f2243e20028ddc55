//! The document of an event, declared once.

use std::borrow::Cow;
use std::fmt;

use crate::chain::Attest;
use crate::config::Mode;
use crate::decision::evidence::software::{ClientSoftware, OTHER, SoftwareVersion};
use crate::shape::{
    Integer, JsonWriter, Mismatch, Nullable, Path, Problems, Shape, Word, object, read_document,
};
use crate::terms::finding::{ActionName, FindingCode, Intervention};
use crate::terms::names::is_hex;
use crate::terms::network::Network;
use crate::terms::network::NetworkClass;
use crate::terms::region::CountryCode;

/// Declares a text of an event by its pattern and the same rule in Rust. An event that is written
/// borrows its texts from the decision; one that is read owns them.
macro_rules! event_texts {
    ($( $(#[doc = $doc:literal])+ $name:ident = $pattern:literal, $fits:expr; )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<'a>(pub Cow<'a, str>);

        impl<'a> From<&'a str> for $name<'a> {
            fn from(text: &'a str) -> Self {
                Self(Cow::Borrowed(text))
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Word for $name<'_> {
            const WHAT: &'static str = concat!($($doc, " "),+);
            const PATTERN: &'static str = $pattern;

            fn parse(text: &str) -> Result<Self, Mismatch> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    return Ok(Self(Cow::Owned(text.to_owned())));
                }
                Err(Mismatch::new(
                    format!("invalid text `{text}`"),
                    concat!("a text that matches ", $pattern),
                ))
            }

            fn put(&self, out: &mut JsonWriter) {
                // what a pattern admits needs no escapes
                debug_assert!(Self::parse(&self.0).is_ok(), "{} isn't by its pattern", self.0);
                if Self::PATTERN.is_empty() { out.string(&self.0) } else { out.plain(&self.0) }
            }
        }
    )+ };
}

event_texts! {
    /// Any text.
    EventText = "", |_| true;
    /// A VM's number and an event's place in its chain.
    EventId = "^[0-9a-f]{16}-[0-9]+$", |text| text.split_once('-').is_some_and(|(vm, seq)| {
        is_hex(vm, 16) && !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit())
    });
    /// A time by RFC 3339 in UTC, with milliseconds.
    EventTime = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$", |text| {
        let form = b"0000-00-00T00:00:00.000Z";
        let alike = |(b, form): (u8, &u8)| match form {
            b'0' => b.is_ascii_digit(),
            _ => b == *form,
        };
        text.len() == form.len() && text.bytes().zip(form).all(alike)
    };
    /// The network that an address is cut to.
    CutAddress = r"^([0-9.]+\.0/24|[0-9a-f:]+/48)$", |text| {
        (text.ends_with(".0/24") || text.ends_with(":/48")) && Network::parse(text).is_ok()
    };
    /// A word of data/client-software.json, or other.
    SoftwareName = "^[a-z0-9-]+$", |text| {
        let is_part = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !text.is_empty() && text.bytes().all(is_part)
    };
    /// The first 16 hexadecimal digits of a policy's digest.
    PolicyRevision = "^[0-9a-f]{16}$", |text| is_hex(text, 16);
    /// A VM's random number.
    VmId = "^[0-9a-f]{16}$", |text| is_hex(text, 16);
    /// The SHA-256 of an event's text.
    EventDigest = "^[0-9a-f]{64}$", |text| is_hex(text, 64);
}

object! {
    /// One decision on one request.
    /// Written to filter state wasm.waybill, printed by Envoy's access loggers.
    /// The text of an event is compact JSON; the SHA-256 of that text is the next event's prev.
    pub struct Event<'a> {
        /// The version of this shape
        schema: Integer<1, 1>,
        /// The node's own id of the request: vm and seq.
        /// A refusal carries it as request id; the client's x-request-id is never taken
        id: EventId<'a>,
        /// When the request's headers were complete: RFC 3339, UTC
        time: EventTime<'a>,
        /// node.id of the configuration
        node: EventText<'a>,
        /// The customer's pseudonym; null where no customer, or more than one, is named.
        /// Behind an invalid signature: the customer that runs the node whose key it names,
        /// which proves nothing
        customer: Nullable<EventText<'a>>,
        /// The credential that named the customer: never the credential itself, nor its digest
        credential: Nullable<EventCredential<'a>>,
        /// policy.mode
        mode: Mode,
        /// What was done
        verdict: ActionName,
        /// What mode enforce would have done, where mode report softened it
        would_be: Nullable<Intervention>,
        /// The entry of routes that the request was sent to, on reroute
        route: Nullable<EventText<'a>>,
        /// The finding that decided; null on allow
        reason: Nullable<FindingCode>,
        /// Everything that fired, in catalogue order
        findings: Vec<EventFinding<'a>>,
        /// Where the person is, said by a customer that is trusted with it
        user: Nullable<CountryCode>,
        /// The country of the client's address
        origin: Nullable<CountryCode>,
        /// The client's address, cut to /24 (IPv4) or /48 (IPv6).
        /// One that embeds IPv4 is cut as that IPv4 address.
        /// null where it isn't known, as behind a malformed hop
        address: Nullable<CutAddress<'a>>,
        /// The kind of network that the client's address is in.
        /// Where several lists name it: the kind that hides most
        network: Nullable<NetworkClass>,
        /// The autonomous system that announces the client's address, by the snapshot; not there
        /// where the snapshot has none
        asn: Option<Integer<1, { u32::MAX as u64 }>> = None,
        /// What the caller's program says it is; not in events of earlier versions
        software: Option<EventSoftware<'a>> = None,
        /// What a verified chain is worth: its first hop's word, or gateway as soon as one hop says
        /// so or one signature in its trail failed; null without a chain that verified
        chain: Nullable<Attest>,
        /// Who carried the request, the signer last; there where chain isn't null
        hops: Option<Vec<EventHop<'a>>> = None,
        /// The policy's revision: the first 16 hexadecimal digits of the SHA-256 of the
        /// configuration without its register
        policy: PolicyRevision<'a>,
        /// The sequence of the snapshot that decided; null with an inline register, or before the
        /// first snapshot
        snapshot: Nullable<Integer<0, { u64::MAX }>>,
        /// The VM's random number: one chain of events each
        vm: VmId<'a>,
        /// The event's place in its VM's chain, from 0
        seq: Integer<0, { u64::MAX }>,
        /// SHA-256 of the text of the VM's event before; null for its first
        prev: Nullable<EventDigest<'a>>,
    }
}

object! {
    /// What the caller's program says it is, by user-agent and x-stainless-os.
    /// Anybody can send any name
    pub struct EventSoftware<'a> {
        /// The program or library
        sdk: SoftwareName<'a>,
        /// Its version: the first two numbers, of at most three digits each
        version: Option<SoftwareVersion> = None,
        /// The operating system
        os: SoftwareName<'a>,
    }
}

object! {
    /// What named the customer.
    pub struct EventCredential<'a> {
        /// The place, as `identity.sources` configures it
        source: EventText<'a>,
        /// The register's label for it
        label: Option<EventText<'a>> = None,
    }
}

object! {
    /// A finding of the event.
    pub struct EventFinding<'a> {
        /// docs/findings.md
        code: FindingCode,
        /// By override, policy or catalogue, whatever the mode
        action: ActionName,
        /// The facts it rests on, in a few words
        evidence: EventText<'a>,
    }
}

object! {
    /// A node that carried the request.
    pub struct EventHop<'a> {
        /// The node's name
        node: EventText<'a>,
        /// The customer that it authenticated: a pseudonym that its operator can resolve;
        /// null where it knew of none
        customer: Nullable<EventText<'a>>,
        /// How far it vouches
        attest: Attest,
        /// Whether its own signature verified; false: it is only the word of those behind it
        proven: bool,
    }
}

impl Event<'_> {
    /// Reads an event's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let event = read_document::<Self>(text, &mut problems).map(|(event, _)| event);
        if let Some(event) = &event {
            let hops = event.hops.as_ref().map_or(0, Vec::len);
            if event.chain.0.is_some() != (hops > 0) || (event.hops.is_some() && hops == 0) {
                problems.note(
                    &Path::Member(&Path::Root, "hops"),
                    "`hops` and `chain` contradict each other",
                    Some("an event has hops exactly where its chain isn't null".into()),
                );
            }
        }
        event.filter(|_| problems.is_empty()).ok_or(problems)
    }
}

/// The JSON Schema of an event (draft 2020-12), generated from the types above.
pub fn schema() -> serde_json::Value {
    let mut schema = Event::schema();
    if let Some(hops) = schema.pointer_mut("/properties/hops").and_then(|hops| hops.as_object_mut())
    {
        hops.insert("minItems".into(), 1.into());
    }
    let table = ClientSoftware::known();
    close_words(&mut schema, "/properties/software/properties/sdk", table.programs());
    close_words(&mut schema, "/properties/software/properties/os", table.systems());
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".into(), "Waybill event, schema 1".into());
        members.insert("if".into(), serde_json::json!({"required": ["hops"]}));
        members.insert("then".into(), chain_of_type("string"));
        members.insert("else".into(), chain_of_type("null"));
    }
    schema
}

/// Lists the words that this version writes. [`Event::parse`] takes those of later versions too.
fn close_words<'w>(schema: &mut serde_json::Value, at: &str, words: impl Iterator<Item = &'w str>) {
    let mut words: Vec<&str> = words.chain([OTHER]).collect();
    words.dedup();
    if let Some(members) = schema.pointer_mut(at).and_then(|schema| schema.as_object_mut()) {
        members.remove("pattern");
        members.insert("enum".into(), words.into());
    }
}

fn chain_of_type(kind: &str) -> serde_json::Value {
    serde_json::json!({"properties": {"chain": {"type": kind}}})
}
