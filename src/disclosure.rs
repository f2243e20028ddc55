//! What a node says of itself to anybody who asks: who runs it, what it reads and what it doesn't, by which
//! policy it decides, and where to appeal. The shape is published (`docs/disclosure.schema.json`).
//!
//! The signals aren't written down here a second time: header names come from the watch list that the code
//! reads by, and a test holds the properties against what the filter asks its host for.

use crate::config::{Claim, Config, CredentialPlace};
use crate::evidence::Watch;
use crate::ordered;
use crate::shape::Json;

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/json";

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
    // pseudo-headers stand before the headers of every request
    document.push_str(r#","reads":{"headers":[":authority",":method",":path""#);
    append(&mut document, &ordered::sorted(watch.names()));
    document.push_str(r#"],"beside_headers":["clock""#);
    append(&mut document, &beside_headers(config));
    // whatever the configuration: there is no code for any of these
    document
        .push_str(r#"]},"never_reads":["request bodies","response bodies","response headers","#);
    document.push_str(r#""TLS fingerprints","locale and time zone","hidden marks in text"]}"#);
    document
}

fn append(document: &mut String, words: &[String]) {
    for word in words {
        document.push(',');
        Json::Text(word.clone()).write_canonical(document);
    }
}

/// What the filter asks its host for beside headers and the clock, by Envoy's names of attributes.
fn beside_headers(config: &Config) -> Vec<String> {
    let mut asked = vec!["filter_state.direct".to_owned()];
    if config.geo.reads_headers() {
        asked.push("source.address".to_owned());
    }
    for source in &config.sources {
        if let CredentialPlace::Mtls(san) = source.place {
            asked.push(["connection.", san.as_str(), "_peer_certificate"].concat());
        }
    }
    for Claim { provider, claim } in config.claims() {
        let name = [
            "metadata.filter_metadata.envoy.filters.http.jwt_authn",
            provider.as_str(),
            claim.as_str(),
        ]
        .join(".");
        // a claim may name both the caller and its user
        if !asked.contains(&name) {
            asked.push(name);
        }
    }
    asked
}
