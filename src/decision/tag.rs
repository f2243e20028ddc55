//! `Compliance-Tag`: what this node found, as a dictionary of structured fields (RFC 9651).
//!
//! No address, no name and no prompt is in a tag: the customer is a pseudonym that only its
//! reseller can resolve. Without a signature a tag proves nothing to a receiver that doesn't trust
//! this node's connection.

use sfv::{Date, DictSerializer, Integer, KeyRef, StringRef, TokenRef, key_ref};

use crate::decision::case::Case;
use crate::decision::receipt::Attestation;
use crate::decision::verdict::Weighed;
use crate::register::ScreeningStatus;
use crate::terms::time::UnixSeconds;

/// The header's name.
pub const HEADER: &str = "compliance-tag";

const NODE: &KeyRef = key_ref("node");
const CUSTOMER: &KeyRef = key_ref("customer");
const SCREENING: &KeyRef = key_ref("screening");
const UNTIL: &KeyRef = key_ref("until");
const DECLARED: &KeyRef = key_ref("declared");
const USER: &KeyRef = key_ref("user");
const ORIGIN: &KeyRef = key_ref("origin");
const NETWORK: &KeyRef = key_ref("network");
const VIA: &KeyRef = key_ref("via");
const CHAIN: &KeyRef = key_ref("chain");
const ATTEST: &KeyRef = key_ref("attest");
const FINDINGS: &KeyRef = key_ref("findings");
const POLICY: &KeyRef = key_ref("policy");
const AT: &KeyRef = key_ref("at");

/// The tag of a request. `None` only if a value can't be a structured field, which parsing rules
/// out.
pub fn tag(
    Case { config, identity, geography, now, .. }: &Case<'_>,
    Attestation { attest, chain }: Attestation,
    weighed: &[Weighed],
) -> Option<String> {
    let mut text = String::with_capacity(320);
    let mut dict = DictSerializer::with_buffer(&mut text);
    let string = |text| StringRef::from_str(text).ok();
    let token = |word| TokenRef::from_str(word).ok();
    let date = |time: UnixSeconds| Integer::try_from(time.0).ok().map(Date::from_unix_seconds);

    dict.bare_item(NODE, string(config.node.id.as_str())?);
    if let Some(customer) = identity.customer() {
        dict.bare_item(CUSTOMER, string(customer.id.as_str())?);
        dict.bare_item(
            SCREENING,
            token(customer.screening_status().map_or("none", ScreeningStatus::as_str))?,
        );
        if let Some(until) = customer.screening.as_ref().and_then(|screening| screening.until) {
            dict.bare_item(UNTIL, date(until)?);
        }
        if !customer.declared.is_empty() {
            let mut declared = dict.inner_list(DECLARED);
            for country in &customer.declared {
                declared.bare_item(string(country.as_str())?);
            }
            drop(declared.finish());
        }
    }
    for (key, place) in
        [(USER, &geography.user), (ORIGIN, &geography.origin), (VIA, &geography.via)]
    {
        if let Some(place) = place {
            dict.bare_item(key, string(place.country.as_str())?);
        }
    }
    if let Some(network) = geography.network {
        dict.bare_item(NETWORK, token(network.as_str())?);
    }
    dict.bare_item(ATTEST, token(attest.as_str())?);
    if let Some(chain) = chain {
        dict.bare_item(CHAIN, token(chain.as_str())?);
    }
    let mut findings = dict.inner_list(FINDINGS);
    for Weighed { finding, .. } in weighed {
        findings.bare_item(string(finding.code.as_str())?);
    }
    drop(findings.finish());
    dict.bare_item(POLICY, string(&config.policy.revision)?);
    dict.bare_item(AT, date(*now)?);
    dict.finish()?;
    Some(text)
}
