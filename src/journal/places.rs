//! The places that an event names: in its members, and in the evidence of its findings.

use crate::decision::event::{Event, EventFinding};
use crate::terms::finding::FindingCode;
use crate::terms::network::SourceRole;
use crate::terms::region::{CountryCode, Place};

/// The places of a request, as far as its event names them.
#[derive(Debug, Default)]
pub(super) struct PlacesInEvent {
    /// Said by the customer of its user, whether it is trusted with it or not
    pub(super) users: Vec<Place>,
    /// Said by sources that decide, or by proven tags
    pub(super) decides: Vec<Place>,
    /// Said by sources that only hint
    pub(super) hints: Vec<Place>,
    /// The country of the client's address, where no finding says what role its source has
    pub(super) origin: Option<CountryCode>,
}

impl PlacesInEvent {
    /// Reads an event. `counts_chain`: what other nodes' tags say counts.
    pub(super) fn of(event: &Event<'_>, counts_chain: bool) -> Self {
        let mut places = Self::default();
        let has_chain = event.chain.0.is_some();
        let whole = |country: Option<CountryCode>| country.map(Place::whole);
        match (has_chain, counts_chain) {
            (false, _) => places.users.extend(whole(event.user.0)),
            // the tag of the node that signed says both
            (true, true) => {
                let attested = [event.user.0, event.origin.0].into_iter().filter_map(whole);
                places.decides.extend(attested);
            }
            (true, false) => {}
        }
        for EventFinding { code, evidence, .. } in &event.findings {
            places.read(*code, &evidence.0, counts_chain);
        }
        let country = event.origin.0.filter(|_| !has_chain);
        let is_known =
            |country: &CountryCode| places.decides.iter().any(|it| it.country == *country);
        let hints = |country: &CountryCode| places.hints.iter().any(|it| it.country == *country);
        places.origin = country.filter(|country| !is_known(country) && !hints(country));
        places
    }

    /// Adds the country of the client's address.
    pub(super) fn add_origin(&mut self, role: SourceRole) {
        let list = match role {
            SourceRole::Decides => &mut self.decides,
            SourceRole::Hints => &mut self.hints,
        };
        list.extend(self.origin.take().map(Place::whole));
    }

    /// Reads the evidence of a finding.
    fn read(&mut self, code: FindingCode, evidence: &str, counts_chain: bool) {
        let evidence = evidence.split("; ").next().unwrap_or_default();
        match code {
            FindingCode::GeoRestricted | FindingCode::GeoUnlisted => {
                for item in evidence.split(", ") {
                    match (item.contains("(reported by "), item.strip_prefix("user ")) {
                        (true, _) if !counts_chain => {}
                        (false, Some(user)) => self.users.extend(first_place(user)),
                        (_, user) => {
                            let place = user.or_else(|| item.strip_prefix("origin "));
                            self.decides.extend(place.and_then(first_place));
                        }
                    }
                }
            }
            FindingCode::GeoUndeclared if counts_chain => {
                let list = evidence.strip_suffix(" isn't declared").unwrap_or_default();
                for place in list.split(", ").filter_map(first_place) {
                    if !self.users.iter().any(|user| user.country == place.country) {
                        self.decides.push(place);
                    }
                }
            }
            FindingCode::GeoConflict => {
                self.hints.extend(evidence.strip_prefix("origin ").and_then(first_place));
            }
            FindingCode::GeoClaimed => {
                self.users.extend(evidence.strip_prefix("user ").and_then(first_place));
            }
            _ => {}
        }
    }
}

/// The place that a text begins with.
fn first_place(text: &str) -> Option<Place> {
    Place::from_bytes(text.split([' ', ',']).next()?.as_bytes())
}
