//! `Compliance-Tag`: what this node found, as a dictionary of structured fields (RFC 9651).
//!
//! No address, no name and no prompt is in a tag: the customer is a pseudonym that only its reseller can
//! resolve. Without a signature a tag proves nothing to whoever doesn't trust this node's connection.

use sfv::{Date, DictSerializer, Integer, KeyRef, StringRef, TokenRef};

use crate::config::Config;
use crate::names::UnixSeconds;
use crate::register::{Customer, Kind};
use crate::rules::Geography;
use crate::verdict::Weighed;

/// The header's name.
pub const HEADER: &str = "compliance-tag";

/// The tag of a request; `None` only if a value can't be a structured field, which parsing rules out.
#[must_use]
pub fn tag(
    config: &Config,
    customer: Option<&Customer>,
    geography: Geography,
    weighed: &[Weighed<'_>],
    now: UnixSeconds,
) -> Option<String> {
    let mut text = String::with_capacity(256);
    let mut dict = DictSerializer::with_buffer(&mut text);
    let key = |name| KeyRef::from_str(name).ok();
    let token = |word| TokenRef::from_str(word).ok();
    let date = |time: UnixSeconds| Integer::try_from(time.0).ok().map(Date::from_unix_seconds);

    dict.bare_item(key("node")?, StringRef::from_str(config.node.id.as_str()).ok()?);
    if let Some(customer) = customer {
        dict.bare_item(key("customer")?, StringRef::from_str(customer.id.as_str()).ok()?);
        dict.bare_item(key("screening")?, token(customer.screening_status().map_or("none", |status| status.as_str()))?);
        if let Some(until) = customer.screening.as_ref().and_then(|screening| screening.until) {
            dict.bare_item(key("until")?, date(until)?);
        }
        if !customer.declared.is_empty() {
            let mut declared = dict.inner_list(key("declared")?);
            for country in &customer.declared {
                declared.bare_item(StringRef::from_str(country.as_str()).ok()?);
            }
            drop(declared.finish());
        }
    }
    if let Some(user) = geography.user {
        dict.bare_item(key("user")?, StringRef::from_str(user.country.as_str()).ok()?);
    }
    if let Some(origin) = geography.origin {
        dict.bare_item(key("origin")?, StringRef::from_str(origin.country.as_str()).ok()?);
    }
    dict.bare_item(key("attest")?, token(attest(customer))?);
    let mut findings = dict.inner_list(key("findings")?);
    for Weighed { finding, .. } in weighed {
        findings.bare_item(StringRef::from_str(finding.code.as_str()).ok()?);
    }
    drop(findings.finish());
    dict.bare_item(key("policy")?, StringRef::from_str(&config.policy.revision).ok()?);
    dict.bare_item(key("at")?, date(now)?);
    dict.finish()?;
    Some(text)
}

/// How far this node vouches for the request, in the words of STIR/SHAKEN (ATIS-1000074): `full` for a
/// screened customer's own request, `gateway` for what it only passes on. A reseller's request is
/// somebody else's, and without a verified chain nobody vouches for it.
fn attest(customer: Option<&Customer>) -> &'static str {
    let passed = |customer: &Customer| customer.screening_status() == Some(crate::register::ScreeningStatus::Passed);
    match customer {
        Some(customer) if customer.kind == Kind::Customer && passed(customer) => "full",
        _ => "gateway",
    }
}
