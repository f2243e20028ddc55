//! The catalogue of findings: every rule that can fire, one row each.
//!
//! Codes are public: tags, events, metrics, refusals and configurations carry them. No code is ever
//! renamed or reused. Rows are in the order in which reasons are given. `docs/findings.md` tells
//! for each finding what it means, where the rule comes from, and how it is appealed or cleared.

use crate::shape::{
    Json, JsonWriter, Members, Mismatch, Path, Problems, Shape, suggestion, words, wrong_type,
};
use crate::terms::names::RouteName;

/// Declares the codes and their rows: code, default action, HTTP status, traits, title.
macro_rules! catalogue {
    ($(
        $(#[doc = $doc:literal])+
        $code:ident = $text:literal:
            $action:ident, $status:literal, [$($trait:ident),*], $title:literal;
    )+) => {
        words! {
            /// A finding's stable code.
            pub enum FindingCode {
                $( $(#[doc = $doc])+ $code = $text, )+
            }
        }

        impl FindingCode {
            fn row(self) -> &'static CatalogueRow {
                match self {
                    $( Self::$code => {
                        static ROW: CatalogueRow = CatalogueRow {
                            default_action: Action::$action,
                            status: $status,
                            traits: &[$(FindingTrait::$trait),*],
                            title: $title,
                        };
                        &ROW
                    } )+
                }
            }
        }
    };
}

/// What the catalogue says of a finding beside its code.
struct CatalogueRow {
    /// In `enforce` mode, where neither policy nor override says otherwise
    default_action: Action,
    /// The HTTP status of a refusal
    status: u16,
    traits: &'static [FindingTrait],
    /// For a refused caller, in words that fit behind "this request was refused:"
    title: &'static str,
}

/// A property that some findings have.
#[derive(PartialEq)]
enum FindingTrait {
    /// Letting it through would authenticate nobody, or give the reseller's own key away
    GuardsAuthentication,
    /// Fires before a customer is known
    PrecedesCustomer,
    /// Taken over from a verified tag
    Adopted,
    /// Is about what earlier nodes attested
    OfChain,
    /// Comes from a register's sharing.json
    OfSharing,
}

catalogue! {
    /// No register is loaded
    SnapshotMissing = "snapshot.missing": Block, 503, [GuardsAuthentication, PrecedesCustomer],
        "it has no register of customers loaded yet";
    /// The register is older than it may be
    SnapshotStale = "snapshot.stale": Report, 503, [],
        "its register of customers is too old";
    /// The path, the credentials or the method could be read in more than one way
    RequestMalformed = "request.malformed": Block, 400, [GuardsAuthentication, PrecedesCustomer],
        "it is malformed: its path is encoded too often, it has too many credentials, or its \
         method is TRACE";
    /// The request has no credential
    IdentityMissing = "identity.missing": Block, 401, [GuardsAuthentication, PrecedesCustomer],
        "no credential came with it";
    /// No credential of the request is in the register
    IdentityUnknown = "identity.unknown": Block, 401, [GuardsAuthentication, PrecedesCustomer],
        "its credential isn't known here";
    /// The credential is past its date
    IdentityExpired = "identity.expired": Block, 401, [GuardsAuthentication],
        "its credential has expired";
    /// Two credentials name two customers
    IdentityConflict = "identity.conflict": Block, 403, [GuardsAuthentication, PrecedesCustomer],
        "its credentials name two different customers";
    /// The credential is bound to networks, and the client is in none of them
    IdentityNetwork = "identity.network": Block, 403, [GuardsAuthentication],
        "its credential may not be used from this network";
    /// The register says that the customer is suspended
    CustomerSuspended = "customer.suspended": Block, 403, [Adopted],
        "the customer's account is suspended";
    /// The customer wasn't screened, or was refused
    CustomerUnscreened = "customer.unscreened": Block, 403, [Adopted],
        "the customer hasn't been screened";
    /// The policy requires an accepted agreement, and none is in force
    CustomerAgreementMissing = "customer.agreement-missing": Report, 403, [Adopted],
        "the customer has no accepted agreement in force";
    /// The customer's screening is past its date
    CustomerScreeningExpired = "customer.screening-expired": Report, 403, [Adopted],
        "the customer's screening has run out";
    /// The share owned from restricted regions is beyond the threshold
    OwnershipRestricted = "ownership.restricted": Block, 403, [Adopted],
        "the customer is majority-owned from a region that the provider doesn't serve";
    /// A share large enough to matter is unknown
    OwnershipUnresolved = "ownership.unresolved": Report, 403, [Adopted],
        "who owns the customer isn't known well enough";
    /// The provider restricted or banned this customer
    ProviderRestricted = "provider.restricted": Block, 403, [],
        "the provider restricted this customer";
    /// A customer asks for the provider's account or profile API
    ProviderAdminPath = "provider.admin-path": Block, 403, [],
        "the provider's account API isn't open to customers";
    /// The path leads to objects that other customers of the account may have made
    ProviderSharedState = "provider.shared-state": Report, 403, [],
        "it asks for what other customers of the same account may have made";
    /// The user or the origin is in a restricted region
    GeoRestricted = "geo.restricted": Block, 403, [Adopted],
        "it comes from a region that the provider doesn't serve";
    /// Envoy looked up another address than the client's, and no other source decides
    GeoDisputed = "geo.disputed": Block, 403, [Adopted],
        "two programs on the way read the address that it comes from differently";
    /// An untrusted hop claims a restricted region
    GeoClaimed = "geo.claimed": Report, 403, [Adopted],
        "it claims to come from a region that the provider doesn't serve";
    /// The country is neither supported nor restricted
    GeoUnlisted = "geo.unlisted": Report, 403, [Adopted],
        "it comes from a country that the provider doesn't list";
    /// No source knows where the request comes from
    GeoUnknown = "geo.unknown": Report, 403, [Adopted],
        "the country that it comes from isn't known";
    /// A country that the customer didn't declare
    GeoUndeclared = "geo.undeclared": Report, 403, [Adopted],
        "it comes from a country that the customer didn't declare";
    /// Sources disagree, and one that only hints names a restricted region
    GeoConflict = "geo.conflict": Report, 403, [Adopted],
        "sources disagree on the country that it comes from";
    /// The customer's data must stay where this upstream isn't
    ResidencyMismatch = "residency.mismatch": Block, 403, [Adopted],
        "the customer's data must stay where this upstream isn't";
    /// The client's address is of Tor, a VPN or an open proxy
    NetworkAnonymizer = "network.anonymizer": Report, 403, [Adopted],
        "it comes through an anonymizing network";
    /// The client's address is in a data centre
    NetworkHosting = "network.hosting": Allow, 403, [Adopted],
        "it comes from a data centre";
    /// A reseller sends no chain
    ChainMissing = "chain.missing": Block, 403, [OfChain],
        "a reseller's request came without a chain";
    /// The chain or its signature is invalid
    ChainInvalid = "chain.invalid": Block, 403, [OfChain],
        "its chain or signature doesn't hold";
    /// The signature has expired
    ChainExpired = "chain.expired": Block, 403, [OfChain],
        "its signature has expired";
    /// The signature was seen before
    ChainReplayed = "chain.replayed": Block, 403, [OfChain],
        "its signature was used before";
    /// A hop isn't in the register
    ChainUnknownNode = "chain.unknown-node": Block, 403, [OfChain],
        "its chain names a node that isn't known here";
    /// A hop isn't screened
    ChainUnscreenedNode = "chain.unscreened-node": Block, 403, [OfChain],
        "its chain names a node that hasn't been screened";
    /// The signer isn't the customer that authenticated
    ChainMismatch = "chain.mismatch": Block, 403, [OfChain],
        "its signer isn't the customer that authenticated";
    /// An earlier hop could not vouch for what came before
    ChainIncomplete = "chain.incomplete": Report, 403, [OfChain],
        "an earlier reseller couldn't vouch for it";
    /// No trail proves the earlier hops
    ChainUnproven = "chain.unproven": Report, 403, [OfChain],
        "its earlier hops aren't proven";
    /// Marks of relay software from a customer that isn't a reseller
    RelayUndeclared = "relay.undeclared": Report, 403, [Adopted],
        "it bears marks of relay software and the customer isn't registered as a reseller";
    /// One credential from more addresses than one customer has
    SharingAddresses = "sharing.addresses": Report, 403, [Adopted, OfSharing],
        "its credential is used from too many addresses";
    /// One credential from more countries than one customer is in
    SharingCountries = "sharing.countries": Report, 403, [Adopted, OfSharing],
        "its credential is used from too many countries";
    /// One credential faster across the world than one customer travels
    SharingVelocity = "sharing.velocity": Report, 403, [Adopted, OfSharing],
        "its credential moves too fast between places";
    /// One credential with other programs, or more of them at once, than one customer has
    SharingClients = "sharing.clients": Report, 403, [Adopted, OfSharing],
        "its credential is used by too many people's programs at once";
    /// Several signs within a week that a customer is an intermediary, and isn't registered as one
    RelaySuspected = "relay.suspected": Report, 403, [Adopted, OfSharing],
        "its traffic over days looks like that of an intermediary, and the customer isn't \
         registered as a reseller";
    /// The client sent a header that only a node may set
    TagSpoofed = "tag.spoofed": Report, 403, [],
        "it carries headers that only a node may set";
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

words! {
    /// An action by its name, weakest first.
    pub enum ActionName {
        /// Record it and let the request through
        Allow = "allow",
        /// Let the request through and report it
        Report = "report",
        /// Send the request elsewhere
        Reroute = "reroute",
        /// Refuse the request
        Block = "block",
    }
}

words! {
    /// An action that keeps a request from its upstream.
    pub enum Intervention {
        /// Send the request elsewhere
        Reroute = "reroute",
        /// Refuse the request
        Block = "block",
    }
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code
    pub code: FindingCode,
    /// The facts it rests on, in a few words without secrets or whole addresses
    pub evidence: String,
}

impl FindingCode {
    /// The action in `enforce` mode, where neither policy nor override says otherwise.
    pub fn default_action(self) -> &'static Action {
        &self.row().default_action
    }

    /// The anchor of its section in `docs/findings.md`, as GitHub makes it of the heading.
    pub fn anchor(self) -> String {
        self.as_str().replace('.', "")
    }

    /// The reason for a refused caller, in words that fit behind "this request was refused:".
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The HTTP status of a refusal for this reason; TRACE gets 405.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// Whether `mode: report` leaves its action as it is. Softening it would authenticate nobody,
    /// or give the reseller's own key away.
    pub fn guards_authentication(self) -> bool {
        self.row().traits.contains(&FindingTrait::GuardsAuthentication)
    }

    /// Whether it fires before a customer is known, so that no customer's override can concern it.
    pub fn precedes_customer(self) -> bool {
        self.row().traits.contains(&FindingTrait::PrecedesCustomer)
    }

    /// Whether this node takes it over from a verified tag. Findings about customers, owners and
    /// places hold for the request at every node. Findings about a node's register, caller or chain
    /// hold at that node only.
    pub fn is_adopted(self) -> bool {
        self.row().traits.contains(&FindingTrait::Adopted)
    }

    /// Whether it comes from a register's sharing.json: what traffic of days shows.
    pub fn is_of_sharing(self) -> bool {
        self.row().traits.contains(&FindingTrait::OfSharing)
    }

    /// Whether it is about what earlier nodes attested.
    pub fn is_of_chain(self) -> bool {
        self.row().traits.contains(&FindingTrait::OfChain)
    }
}

// === impl Action ===

impl Action {
    /// The word for it in documents, tags, events and metrics.
    pub const fn name(&self) -> ActionName {
        match self {
            Self::Allow => ActionName::Allow,
            Self::Report => ActionName::Report,
            Self::Reroute(_) => ActionName::Reroute,
            Self::Block => ActionName::Block,
        }
    }

    /// The text of [`Action::name`].
    pub const fn as_str(&self) -> &'static str {
        self.name().as_str()
    }

    /// How strong it is: allow < report < reroute < block.
    pub const fn strength(&self) -> u8 {
        self.name() as u8
    }

    /// Whether and how it keeps a request from its upstream.
    pub const fn intervention(&self) -> Option<Intervention> {
        match self {
            Self::Allow | Self::Report => None,
            Self::Reroute(_) => Some(Intervention::Reroute),
            Self::Block => Some(Intervention::Block),
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
                    let help = r#"write {"reroute": "<name of an entry in routes>"}"#;
                    problems.wrong(at, "`reroute` needs a route", help);
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
                let expected = r#"an action ("allow", "report", "block" or {"reroute": …})"#;
                wrong_type(at, expected, other, problems);
                None
            }
        }
    }

    fn write(&self, out: &mut JsonWriter) {
        match self {
            Self::Allow | Self::Report | Self::Block => out.string(self.as_str()),
            Self::Reroute(route) => {
                out.raw("{");
                out.field("\"reroute\":", route);
                out.raw("}");
            }
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"oneOf": [
            {"enum": ["allow", "report", "block"]},
            {
                "type": "object",
                "properties": {"reroute": RouteName::schema()},
                "required": ["reroute"],
                "additionalProperties": false,
            },
        ]})
    }
}
