//! `Compliance-Tag`: what this node found, as a dictionary of structured fields (RFC 9651).
//!
//! No address, no name and no prompt is in a tag: the customer is a pseudonym that only its
//! reseller can resolve. Without a signature a tag proves nothing to a receiver that doesn't trust
//! this node's connection.

use sfv::FieldType as _;

use crate::decision::case::Case;
use crate::decision::receipt::Attestation;
use crate::decision::verdict::Weighed;
use crate::register::ScreeningStatus;
use crate::shape::{DIGITS, decimal};
use crate::terms::time::UnixSeconds;

/// The header's name.
pub const HEADER: &str = "compliance-tag";

/// The tag of a request without its end, which [`finished`] adds: two requests of a customer differ
/// in that alone.
///
/// It is written piece by piece: a serializer that looks for what needs an escape took three times
/// as long. No name, id, code or revision has such a character.
pub fn steady(
    Case { config, identity, geography, .. }: &Case<'_>,
    Attestation { attest, chain }: Attestation,
    weighed: &[Weighed],
) -> String {
    let mut tag = TagText(String::with_capacity(TAG_CAPACITY));
    tag.string("node=\"", config.node.id.as_str());
    if let Some(customer) = identity.customer() {
        tag.string(", customer=\"", customer.id.as_str());
        let screening = customer.screening_status().map_or("none", ScreeningStatus::as_str);
        tag.token(", screening=", screening);
        if let Some(until) = customer.screening.as_ref().and_then(|screening| screening.until) {
            tag.date(", until=@", until);
        }
        if !customer.declared.is_empty() {
            let declared = customer.declared.iter().map(|country| country.as_str());
            tag.list(", declared=(", declared);
        }
    }
    for (key, place) in [
        (", user=\"", &geography.user),
        (", origin=\"", &geography.origin),
        (", via=\"", &geography.via),
    ] {
        if let Some(place) = place {
            tag.string(key, place.country.as_str());
        }
    }
    if let Some(network) = geography.network {
        tag.token(", network=", network.as_str());
    }
    tag.token(", attest=", attest.as_str());
    if let Some(chain) = chain {
        tag.token(", chain=", chain.as_str());
    }
    tag.list(", findings=(", weighed.iter().map(|weighed| weighed.finding.code.as_str()));
    tag.string(", policy=\"", &config.policy.revision);
    tag.0
}

/// The whole tag, with the time of the request.
pub fn finished(steady: &str, now: UnixSeconds) -> String {
    let mut tag = TagText(steady.to_owned());
    tag.date(", at=@", now);
    debug_assert!(is_canonical(&tag.0), "{}", tag.0);
    tag.0
}

/// More than an ordinary tag has, in bytes.
const TAG_CAPACITY: usize = 384;

/// A tag while it is written. Each piece comes with what is before its value.
struct TagText(String);

impl TagText {
    fn token(&mut self, before: &str, word: &str) {
        self.0.push_str(before);
        self.0.push_str(word);
    }

    fn string(&mut self, before: &str, text: &str) {
        self.token(before, text);
        self.0.push('"');
    }

    fn date(&mut self, before: &str, time: UnixSeconds) {
        // no clock and no register has a time before 1970
        let seconds = u64::try_from(time.0).unwrap_or(0);
        self.token(before, decimal(seconds, &mut [0; DIGITS]));
    }

    fn list<'t>(&mut self, before: &str, texts: impl Iterator<Item = &'t str>) {
        self.0.push_str(before);
        let mut between = "\"";
        for text in texts {
            self.string(between, text);
            between = " \"";
        }
        self.0.push(')');
    }
}

/// Whether a structured field is as RFC 9651 serializes it. Builds for tests ask it of each tag.
fn is_canonical(text: &str) -> bool {
    let dictionary = sfv::Parser::new(text).parse::<sfv::Dictionary>().ok();
    dictionary.and_then(|it| it.serialize()).is_some_and(|serialized| serialized == text)
}
