//! What a node says of itself to any caller: its operator, what it reads and what it doesn't, its
//! policy, and where to appeal. The shape is published (`docs/disclosure.schema.json`).
//!
//! The signals are those that the code reads by: header names from [`Watch`], the rest from
//! [`Signal`]. What is looked up for them in the node's own tables is named too.

use crate::config::Config;
use crate::decision::evidence::Watch;
use crate::decision::signals::{PSEUDO_HEADERS, Signal};
use crate::shape::Json;
use crate::shape::ordered;
use crate::terms::finding::FindingCode;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/json";

/// What a snapshot's tables say of the client's address.
const ADDRESS_FACTS: &[&str] = &["country", "network", "asn"];

/// What of events of days the desk looks at to find that a credential is in many hands.
const DERIVED_FROM: [&str; 7] =
    ["time", "duration", "country", "address", "network", "asn", "software"];

/// The document, as JSON.
#[cold]
pub fn disclosure(config: &Config, watch: &Watch) -> String {
    let settings = &config.disclosure;
    let mut document = "{\"schema\":1".to_owned();
    for (name, value) in [
        ("node", Some(config.node.id.as_str())),
        ("operator", settings.operator.as_ref().map(|text| text.as_str())),
        ("contact", settings.contact.as_ref().map(|text| text.as_str())),
        ("appeal_url", settings.appeal_url.as_ref().map(|url| url.as_str())),
        ("policy", Some(config.policy.revision.as_str())),
        ("policy_url", settings.policy_url.as_ref().map(|url| url.as_str())),
        ("retention", settings.retention.as_ref().map(|text| text.as_str())),
        ("directory", config.endpoints.directory.path().map(|path| path.as_str())),
    ] {
        document.push_str(",\"");
        document.push_str(name);
        document.push_str("\":");
        let value = value.map_or(Json::Null, |text| Json::Text(text.to_owned()));
        value.write_canonical(&mut document);
    }
    // pseudo-headers come before the headers of every request
    let headers = PSEUDO_HEADERS.map(str::to_owned).into_iter();
    document.push_str(r#","reads":{"headers":["#);
    append(&mut document, headers.chain(ordered::sorted(watch.names())));
    document.push_str(r#"],"beside_headers":["#);
    let signals = Signal::all(config).map(Signal::name);
    append(&mut document, std::iter::once("clock".to_owned()).chain(signals));
    document.push_str(r#"],"looked_up":["#);
    let of_address = if config.register.is_none() { ADDRESS_FACTS } else { &[] };
    let looked_up = std::iter::once(&"software").chain(of_address);
    append(&mut document, looked_up.map(|fact| (*fact).to_owned()));
    // no configuration changes this: there is no code for any of these
    document.push_str(r#"]},"derives":{"from":["#);
    append(&mut document, DERIVED_FROM.map(str::to_owned).into_iter());
    document.push_str(r#"],"findings":["#);
    let derived = FindingCode::ALL.iter().filter(|code| code.is_of_sharing());
    append(&mut document, derived.map(ToString::to_string));
    document.push_str(r#"],"objections":"#);
    let appeal = settings.appeal_url.as_ref().map(|url| url.as_str());
    let objections = appeal.or(settings.contact.as_ref().map(|text| text.as_str()));
    objections.map_or(Json::Null, |to| Json::Text(to.to_owned())).write_canonical(&mut document);
    document.push_str(r#"},"never_reads":["request bodies","response bodies","response headers","#);
    document.push_str(r#""TLS fingerprints","locale and time zone","hidden marks in text"]}"#);
    document
}

/// Appends the elements of a list.
fn append(document: &mut String, words: impl Iterator<Item = String>) {
    for (i, word) in words.enumerate() {
        if i > 0 {
            document.push(',');
        }
        Json::Text(word).write_canonical(document);
    }
}
