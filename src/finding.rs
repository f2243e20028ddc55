//! The catalogue of findings: every rule that can fire, with its stable code and default action.
//!
//! Codes are public: tags, events, metrics, refusals and configurations carry them, so none is renamed
//! or used again for something else. Their order is the order in which reasons are given. What each
//! means, its source, and how it is appealed or cleared stands in `docs/findings.md`.

use crate::names::RouteName;
use crate::shape::{Json, Members, Mismatch, Path, Problems, Shape, suggestion, words, wrong_type};

words! {
    /// A finding's stable code.
    pub enum FindingCode {
        /// No register is loaded
        SnapshotMissing = "snapshot.missing",
        /// The register is older than it may be
        SnapshotStale = "snapshot.stale",
        /// It can be read in more ways than are read, or asks for TRACE
        RequestMalformed = "request.malformed",
        /// No credential came
        IdentityMissing = "identity.missing",
        /// No credential that came is in the register
        IdentityUnknown = "identity.unknown",
        /// The credential is past its date
        IdentityExpired = "identity.expired",
        /// Two credentials name two customers
        IdentityConflict = "identity.conflict",
        /// The credential is bound to networks and came from elsewhere
        IdentityNetwork = "identity.network",
        /// The register says that the customer is suspended
        CustomerSuspended = "customer.suspended",
        /// The customer wasn't screened, or was refused
        CustomerUnscreened = "customer.unscreened",
        /// The policy asks for an accepted agreement and none is in force
        CustomerAgreementMissing = "customer.agreement-missing",
        /// The customer's screening is past its date
        CustomerScreeningExpired = "customer.screening-expired",
        /// Owned from a restricted region beyond the threshold
        OwnershipRestricted = "ownership.restricted",
        /// A share large enough to matter is unknown
        OwnershipUnresolved = "ownership.unresolved",
        /// The provider restricted or banned this customer
        ProviderRestricted = "provider.restricted",
        /// A customer asks for the provider's account or profile API
        ProviderAdminPath = "provider.admin-path",
        /// A path under which the provider keeps what other customers of the account made
        ProviderSharedState = "provider.shared-state",
        /// The user or the origin is in a restricted region
        GeoRestricted = "geo.restricted",
        /// Envoy looked up another address than the client's, and no other source decides
        GeoDisputed = "geo.disputed",
        /// Somebody who isn't trusted with it claims a restricted region
        GeoClaimed = "geo.claimed",
        /// The country is neither supported nor restricted
        GeoUnlisted = "geo.unlisted",
        /// No source knows where the request comes from
        GeoUnknown = "geo.unknown",
        /// A country that the customer didn't declare
        GeoUndeclared = "geo.undeclared",
        /// Sources disagree, and one that only hints says restricted
        GeoConflict = "geo.conflict",
        /// The customer's data must stay where this upstream isn't
        ResidencyMismatch = "residency.mismatch",
        /// Tor, VPN or open proxy
        NetworkAnonymizer = "network.anonymizer",
        /// A data centre
        NetworkHosting = "network.hosting",
        /// A reseller sends no chain
        ChainMissing = "chain.missing",
        /// The chain or its signature doesn't hold
        ChainInvalid = "chain.invalid",
        /// The signature is past its time
        ChainExpired = "chain.expired",
        /// The signature was seen before
        ChainReplayed = "chain.replayed",
        /// A hop isn't in the register
        ChainUnknownNode = "chain.unknown-node",
        /// A hop isn't screened
        ChainUnscreenedNode = "chain.unscreened-node",
        /// The signer isn't the customer that authenticated
        ChainMismatch = "chain.mismatch",
        /// An earlier hop could not vouch for what came before
        ChainIncomplete = "chain.incomplete",
        /// Earlier hops are only the signer's word
        ChainUnproven = "chain.unproven",
        /// Marks of relay software from a customer that isn't a reseller
        RelayUndeclared = "relay.undeclared",
        /// One credential from more addresses than one customer has
        SharingAddresses = "sharing.addresses",
        /// One credential from more countries than one customer is in
        SharingCountries = "sharing.countries",
        /// One credential faster across the world than one customer travels
        SharingVelocity = "sharing.velocity",
        /// The client sent a header that only a node may set
        TagSpoofed = "tag.spoofed",
    }
}

/// What is done about a finding, weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Record it and let the request through
    Allow,
    /// Let the request through and report it
    Report,
    /// Send the request to this entry of `routes` instead
    Reroute(RouteName),
    /// Refuse the request
    Block,
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which
    pub code: FindingCode,
    /// What it rests on, in a few words without secrets or whole addresses
    pub evidence: String,
}

impl FindingCode {
    /// What is done about it in `enforce` mode where neither policy nor override says otherwise.
    pub const fn default_action(self) -> Action {
        match self {
            Self::SnapshotMissing
            | Self::RequestMalformed
            | Self::IdentityMissing
            | Self::IdentityUnknown
            | Self::IdentityExpired
            | Self::IdentityConflict
            | Self::IdentityNetwork
            | Self::CustomerSuspended
            | Self::CustomerUnscreened
            | Self::OwnershipRestricted
            | Self::ProviderRestricted
            | Self::ProviderAdminPath
            | Self::GeoRestricted
            | Self::GeoDisputed
            | Self::ResidencyMismatch
            | Self::ChainMissing
            | Self::ChainInvalid
            | Self::ChainExpired
            | Self::ChainReplayed
            | Self::ChainUnknownNode
            | Self::ChainUnscreenedNode
            | Self::ChainMismatch => Action::Block,
            Self::SnapshotStale
            | Self::CustomerAgreementMissing
            | Self::CustomerScreeningExpired
            | Self::OwnershipUnresolved
            | Self::ProviderSharedState
            | Self::GeoClaimed
            | Self::GeoUnlisted
            | Self::GeoUnknown
            | Self::GeoUndeclared
            | Self::GeoConflict
            | Self::NetworkAnonymizer
            | Self::ChainIncomplete
            | Self::ChainUnproven
            | Self::RelayUndeclared
            | Self::SharingAddresses
            | Self::SharingCountries
            | Self::SharingVelocity
            | Self::TagSpoofed => Action::Report,
            Self::NetworkHosting => Action::Allow,
        }
    }

    /// The anchor of its section in `docs/findings.md`, as GitHub makes it of the heading.
    pub fn anchor(self) -> String {
        self.as_str().replace('.', "")
    }

    /// What a refused caller is told, in words that fit behind "this request was refused:".
    pub const fn title(self) -> &'static str {
        match self {
            Self::SnapshotMissing => "it has no register of customers loaded yet",
            Self::SnapshotStale => "its register of customers is too old",
            Self::RequestMalformed => {
                "it is malformed: its path is encoded too often, it has too many credentials, or its method is TRACE"
            }
            Self::IdentityMissing => "no credential came with it",
            Self::IdentityUnknown => "its credential isn't known here",
            Self::IdentityExpired => "its credential has expired",
            Self::IdentityConflict => "its credentials name two different customers",
            Self::IdentityNetwork => "its credential may not be used from this network",
            Self::CustomerSuspended => "the customer's account is suspended",
            Self::CustomerUnscreened => "the customer hasn't been screened",
            Self::CustomerAgreementMissing => "the customer has no accepted agreement in force",
            Self::CustomerScreeningExpired => "the customer's screening has run out",
            Self::OwnershipRestricted => {
                "the customer is majority-owned from a region that the provider doesn't serve"
            }
            Self::OwnershipUnresolved => "who owns the customer isn't known well enough",
            Self::ProviderRestricted => "the provider restricted this customer",
            Self::ProviderAdminPath => "the provider's account API isn't open to customers",
            Self::ProviderSharedState => {
                "it asks for what other customers of the same account may have made"
            }
            Self::GeoRestricted => "it comes from a region that the provider doesn't serve",
            Self::GeoDisputed => {
                "two programs on the way read the address that it comes from differently"
            }
            Self::GeoClaimed => "it claims to come from a region that the provider doesn't serve",
            Self::GeoUnlisted => "it comes from a country that the provider doesn't list",
            Self::GeoUnknown => "the country that it comes from isn't known",
            Self::GeoUndeclared => "it comes from a country that the customer didn't declare",
            Self::GeoConflict => "sources disagree on the country that it comes from",
            Self::ResidencyMismatch => "the customer's data must stay where this upstream isn't",
            Self::NetworkAnonymizer => "it comes through an anonymizing network",
            Self::NetworkHosting => "it comes from a data centre",
            Self::ChainMissing => "a reseller's request came without a chain",
            Self::ChainInvalid => "its chain or signature doesn't hold",
            Self::ChainExpired => "its signature has expired",
            Self::ChainReplayed => "its signature was used before",
            Self::ChainUnknownNode => "its chain names a node that isn't known here",
            Self::ChainUnscreenedNode => "its chain names a node that hasn't been screened",
            Self::ChainMismatch => "its signer isn't the customer that authenticated",
            Self::ChainIncomplete => "an earlier reseller couldn't vouch for it",
            Self::ChainUnproven => "its earlier hops aren't proven",
            Self::RelayUndeclared => {
                "it bears marks of relay software and the customer isn't registered as a reseller"
            }
            Self::SharingAddresses => "its credential is used from too many addresses",
            Self::SharingCountries => "its credential is used from too many countries",
            Self::SharingVelocity => "its credential moves too fast between places",
            Self::TagSpoofed => "it carries headers that only a node may set",
        }
    }

    /// The HTTP status of a refusal for this reason; TRACE gets 405.
    pub const fn status(self) -> u16 {
        match self {
            Self::SnapshotMissing | Self::SnapshotStale => 503,
            Self::RequestMalformed => 400,
            Self::IdentityMissing | Self::IdentityUnknown | Self::IdentityExpired => 401,
            _ => 403,
        }
    }

    /// Whether nobody would be authenticated if this were let through, or the reseller's own key could be taken:
    /// `mode: report` doesn't soften it.
    pub const fn guards_authentication(self) -> bool {
        matches!(
            self,
            Self::SnapshotMissing
                | Self::RequestMalformed
                | Self::IdentityMissing
                | Self::IdentityUnknown
                | Self::IdentityExpired
                | Self::IdentityConflict
                | Self::IdentityNetwork
        )
    }

    /// Whether it fires before a customer is known, so that no customer's override can concern it.
    pub const fn precedes_customer(self) -> bool {
        matches!(
            self,
            Self::SnapshotMissing
                | Self::RequestMalformed
                | Self::IdentityMissing
                | Self::IdentityUnknown
                | Self::IdentityConflict
        )
    }

    /// Whether this node takes it over from a verified tag: what is said of a customer, of owners and of places holds for
    /// the request wherever it is. What is said of the other node's register, of its own caller's credential or of the
    /// chain that it saw holds there only.
    pub fn is_adopted(self) -> bool {
        let family = self.as_str().split('.').next().unwrap_or_default();
        ["customer", "ownership", "geo", "network", "residency", "relay", "sharing"]
            .contains(&family)
    }

    /// Whether it is about what earlier nodes attested.
    pub const fn is_of_chain(self) -> bool {
        matches!(
            self,
            Self::ChainMissing
                | Self::ChainInvalid
                | Self::ChainExpired
                | Self::ChainReplayed
                | Self::ChainUnknownNode
                | Self::ChainUnscreenedNode
                | Self::ChainMismatch
                | Self::ChainIncomplete
                | Self::ChainUnproven
        )
    }

    /// Whether this version has the input that the rule needs. The others are declared, so that
    /// configurations may already name them, and documented as not yet fired.
    pub const fn fires(self) -> bool {
        !matches!(self, Self::SharingAddresses | Self::SharingCountries | Self::SharingVelocity)
    }
}

// === impl Action ===

impl Action {
    /// The word for it in documents, tags, events and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Report => "report",
            Self::Reroute(_) => "reroute",
            Self::Block => "block",
        }
    }

    /// How strong it is: allow < report < reroute < block.
    pub const fn strength(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Report => 1,
            Self::Reroute(_) => 2,
            Self::Block => 3,
        }
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Shape for Action {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Text(word) => match word.as_str() {
                "allow" => Some(Self::Allow),
                "report" => Some(Self::Report),
                "block" => Some(Self::Block),
                "reroute" => {
                    problems.note(
                        at,
                        "`reroute` doesn't say where to",
                        Some(r#"write {"reroute": "<name of an entry in routes>"}"#.into()),
                    );
                    None
                }
                other => {
                    let help = suggestion(other, &["allow", "report", "block"]);
                    problems.mismatch(at, Mismatch::new(format!("unknown action `{other}`"), help));
                    None
                }
            },
            Json::Object(_) => {
                let members = Members::open(json, at, problems)?;
                let route = members.required("reroute", problems);
                members.close(&["reroute"], problems);
                route.map(Self::Reroute)
            }
            other => {
                wrong_type(
                    at,
                    r#"an action ("allow", "report", "block" or {"reroute": …})"#,
                    other,
                    problems,
                );
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"oneOf": [
            {"enum": ["allow", "report", "block"]},
            {"type": "object", "properties": {"reroute": RouteName::schema()}, "required": ["reroute"], "additionalProperties": false},
        ]})
    }
}
