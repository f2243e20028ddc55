//! The countries of a request: what is known of the client's address, and what is said of the user.

use crate::config::Config;
use crate::decision::evidence::Evidence;
use crate::decision::receipt::Receipt;
use crate::lookups::Lookups;
use crate::register::Customer;
use crate::terms::network::NetworkClass;
use crate::terms::network::SourceRole;
use crate::terms::region::Place;

/// The geography of a request, its parts kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Geography {
    /// The user's country, if a trusted customer or node says it
    pub user: Option<Place>,
    /// The country of the call, by [`AddressProfile::place`]; behind a verified chain the country
    /// where the chain began, as its tag says
    pub origin: Option<Place>,
    /// Behind a verified chain: the country of the caller's own machines
    pub via: Option<Place>,
    /// The kind of network of the client's address
    pub network: Option<NetworkClass>,
}

/// What is known of the client's address.
#[derive(Debug, Default)]
pub struct AddressProfile<'a> {
    /// What each source says of its country, in the order of the sources
    pub places: Vec<SourcePlace<'a>>,
    /// The lists that it is on
    pub networks: Vec<(&'a str, NetworkClass)>,
    /// The autonomous system that announces it
    pub asn: Option<u32>,
}

/// What one source says of the country of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcePlace<'a> {
    /// The place
    pub place: Place,
    /// How much the source counts
    pub role: SourceRole,
    /// The source: a header's name, or what the snapshot calls it
    pub source: &'a str,
}

impl<'a> AddressProfile<'a> {
    /// Reads the snapshot, and the headers that earlier filters set. Those headers don't count if
    /// the filters looked up another address than the client's.
    pub fn of(config: &'a Config, lookups: Lookups<'a>, evidence: &Evidence<'_>) -> Self {
        let mut profile = Self::default();
        let Some(client) = evidence.client else { return profile };
        let facts = lookups.address(client);
        for source in &config.geo.origin {
            let Some(header) = &source.header else {
                // the configuration can only weaken the roles of the snapshot's sources
                let role =
                    |own| if source.role == SourceRole::Hints { SourceRole::Hints } else { own };
                let places = facts.iter().flat_map(|facts| facts.places());
                profile.places.extend(places.map(|(place, own, source)| SourcePlace {
                    place,
                    role: role(own),
                    source,
                }));
                continue;
            };
            if evidence.set_aside.is_none() {
                let readings = evidence.origin.iter().filter(|reading| header == reading.header);
                profile.places.extend(readings.map(|reading| SourcePlace {
                    place: reading.place,
                    role: source.role,
                    source: header.as_str(),
                }));
            }
        }
        if let Some(facts) = facts {
            profile.networks.extend(facts.lists());
            profile.asn = facts.asn();
        }
        profile
    }

    /// The country: of the first source that decides and knows, else of the first that hints.
    pub fn place(&self) -> Option<Place> {
        let decided = self.places.iter().find(|reading| reading.role == SourceRole::Decides);
        decided.or(self.places.first()).map(|reading| reading.place)
    }

    /// The kind of network. Of several kinds, the one that hides most.
    pub fn network(&self) -> Option<NetworkClass> {
        self.networks.iter().map(|(_, class)| *class).max()
    }
}

impl Geography {
    /// The geography of a request.
    pub fn of(
        evidence: &Evidence<'_>,
        address: &AddressProfile<'_>,
        receipt: &Receipt,
        customer: Option<&Customer>,
    ) -> Self {
        let (users, _) = user_places(evidence, customer);
        let user = users.first().copied();
        let (own, network) = (address.place(), address.network());
        match receipt.proof() {
            None => Self { user, origin: own, via: None, network },
            Some(proof) => {
                let claims = proof.signer_claims();
                Self { user: claims.user.or(user), origin: claims.origin, via: own, network }
            }
        }
    }
}

/// What is said of the user's country: by a customer that is trusted to vouch for it, or merely
/// claimed.
pub fn user_places<'e>(
    evidence: &'e Evidence<'_>,
    customer: Option<&Customer>,
) -> (&'e [Place], &'e [Place]) {
    if customer.is_some_and(|customer| customer.vouches_for_users) {
        (&evidence.user, &[])
    } else {
        (&[], &evidence.user)
    }
}
