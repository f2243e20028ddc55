//! What a node says of itself to anybody who asks: who runs it, what it reads and what it doesn't, by which
//! policy it decides, and where to appeal. The shape is published (`docs/disclosure.schema.json`).
//!
//! The signals aren't written down here a second time: header names come from the watch list that the code
//! reads by, and a test holds the properties against what the filter asks its host for.

use crate::config::{Config, CredentialPlace, Endpoint, San};
use crate::evidence::Watch;
use crate::ordered;
use crate::shape::{Json, Number};

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/json";
/// The number of the document's shape.
const SCHEMA: u64 = 1;

/// What stands before the headers of every request.
const PSEUDO_HEADERS: &[&str] = &[":authority", ":method", ":path"];

/// What a node never reads, whatever its configuration: it has no code for it.
const NEVER_READ: &[&str] =
    &["request bodies", "response bodies", "response headers", "TLS fingerprints", "locale and time zone", "hidden marks in text"];

/// The document, as JSON with members in the order of their names.
#[must_use]
#[cold]
pub fn disclosure(config: &Config, watch: &Watch) -> String {
    let settings = &config.disclosure;
    let word = |text: Option<&str>| text.map_or(Json::Null, |text| Json::Text(text.to_owned()));
    let path = |endpoint: &Endpoint| word(endpoint.path().map(|path| path.as_str()));
    let document = object(vec![
        ("schema", Json::Number(Number::Natural(SCHEMA))),
        ("node", word(Some(config.node.id.as_str()))),
        ("operator", word(settings.operator.as_ref().map(|text| text.as_str()))),
        ("contact", word(settings.contact.as_ref().map(|text| text.as_str()))),
        ("appeal_url", word(settings.appeal_url.as_ref().map(|url| url.as_str()))),
        ("policy", word(Some(&config.policy.revision))),
        ("policy_url", word(settings.policy_url.as_ref().map(|url| url.as_str()))),
        (
            "reads",
            object(vec![
                ("headers", list(ordered::sorted(PSEUDO_HEADERS.iter().map(|name| (*name).to_owned()).chain(watch.names())))),
                ("beside_headers", list(beside_headers(config))),
            ]),
        ),
        ("never_reads", list(NEVER_READ.iter().map(|text| (*text).to_owned()).collect())),
        ("retention", word(settings.retention.as_ref().map(|text| text.as_str()))),
        ("directory", path(&config.endpoints.directory)),
    ]);
    let mut text = String::new();
    document.write_canonical(&mut text);
    text
}

/// What the filter asks its host for beside headers, by Envoy's names of attributes.
fn beside_headers(config: &Config) -> Vec<String> {
    let mut properties = vec!["clock".to_owned(), "filter_state.direct".to_owned()];
    if config.geo.origin.iter().any(|source| source.header.is_some()) {
        properties.push("source.address".to_owned());
    }
    for source in &config.sources {
        match source.place {
            CredentialPlace::Mtls(San::Uri) => properties.push("connection.uri_san_peer_certificate".to_owned()),
            CredentialPlace::Mtls(San::Dns) => properties.push("connection.dns_san_peer_certificate".to_owned()),
            _ => {}
        }
    }
    for claim in config.claims() {
        properties.push(format!("metadata.filter_metadata.envoy.filters.http.jwt_authn.{}.{}", claim.provider, claim.claim));
    }
    let mut properties = ordered::sorted(properties);
    properties.dedup(); // a claim may name both the caller and its user
    properties
}

fn object(members: Vec<(&str, Json)>) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn list(words: Vec<String>) -> Json {
    Json::List(words.into_iter().map(Json::Text).collect())
}
