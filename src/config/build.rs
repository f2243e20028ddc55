//! The configuration as requests need it, built from its document.

use super::checks::{check_beta, check_endpoints, check_keys, check_reroutes, check_sources};
use super::policy::Policy;
use super::settings::{
    ChainSettings, ClientAddressSettings, ConfigDocument, DisclosureSettings, EndpointSettings,
    GeoSettings, IgnoredMark, NodeSettings, SnapshotSettings, TagSettings,
};
use super::sources::{Claim, CredentialPlace, IdentitySource, UserSource};
use super::upstream::Upstream;
use crate::register::Register;
use crate::shape::{Dictionary, Json, Path, Problem, Problems};
use crate::terms::names::RouteName;
use crate::terms::region::{RegionSetId, RegionSettings, Regions};

/// The configuration of a node, ready for requests.
#[derive(Debug)]
pub struct Config {
    /// Who this node is
    pub node: NodeSettings,
    /// Where to fetch the snapshot; `None` with an inline register
    pub snapshot: Option<SnapshotSettings>,
    /// The inline register
    pub register: Option<Register>,
    /// The regions to judge by, with the inline register
    pub regions: Option<Regions>,
    /// Where credentials are looked for, in this order
    pub sources: Vec<IdentitySource>,
    source_names: Vec<String>,
    /// How the client's address is found
    pub client_address: ClientAddressSettings,
    /// Where geography comes from
    pub geo: GeoSettings,
    /// What is done about findings
    pub policy: Policy,
    /// Where requests go by default
    pub upstream: Upstream,
    /// Where else requests can be sent
    pub routes: Dictionary<RouteName, Upstream>,
    /// Marks that the operator's own proxies leave
    pub relay_ignore: Vec<IgnoredMark>,
    /// How tags are signed
    pub tag: TagSettings,
    /// What other nodes' signatures and chains may be like
    pub chain: ChainSettings,
    /// Who runs this node, and whom a refused caller can turn to
    pub disclosure: DisclosureSettings,
    /// Paths that the node answers itself
    pub endpoints: EndpointSettings,
    /// What is worth knowing about this configuration though nothing is wrong with it
    pub notices: Vec<Problem>,
}

/// The place of an identity source in [`Config::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceIndex(usize);

impl Config {
    /// Whether the servers behind this node know the caller by a credential of its own.
    pub fn forwards(&self) -> bool {
        self.sources.iter().any(|source| source.forward)
    }

    /// The identity sources, each with its index.
    pub fn indexed_sources(&self) -> impl Iterator<Item = (SourceIndex, &IdentitySource)> {
        self.sources.iter().enumerate().map(|(i, source)| (SourceIndex(i), source))
    }

    /// The name of an identity source in events and explanations.
    pub fn source_name(&self, SourceIndex(index): SourceIndex) -> &str {
        self.source_names.get(index).map_or("", String::as_str)
    }

    /// The JWT claims that this configuration reads: identities first, then users' countries.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        let identities = self.sources.iter().filter_map(|source| match &source.place {
            CredentialPlace::Jwt(claim) => Some(claim),
            _ => None,
        });
        identities.chain(self.geo.user.iter().filter_map(|source| match source {
            UserSource::Jwt(claim) => Some(claim),
            UserSource::Header(_) => None,
        }))
    }

    #[cold] // as in shape.rs
    pub(super) fn build(document: ConfigDocument, json: &Json, problems: &mut Problems) -> Self {
        let root = &Path::Root;
        let under = |name: &'static str| Path::Member(root, name);
        let inline_regions =
            document.register.as_ref().and_then(|register| register.regions.clone());
        match (json.get("snapshot"), json.get("register")) {
            (Some(_), Some(_)) => problems.wrong(
                root,
                "both `snapshot` and `register` are set",
                "keep the one that holds your customers",
            ),
            (None, None) => problems.wrong(
                root,
                "missing field `snapshot` or `register`",
                "for a first run, add an inline `register`",
            ),
            (Some(_), None) if json.get("regions").is_some() => problems.wrong(
                &under("regions"),
                "regions come from the snapshot",
                "remove them here, and set them in the register that it is compiled from",
            ),
            _ => {}
        }
        if document.snapshot.as_ref().is_some_and(|snapshot| snapshot.trusted_keys.is_empty()) {
            let message = "no key is trusted, so every snapshot would be refused";
            let help = "add the public key of the snapshot's signer, as `waybill keygen` prints it";
            problems.wrong(&Path::Member(&under("snapshot"), "trusted_keys"), message, help);
        }
        if document.regions.is_some() && inline_regions.is_some() {
            let message = "duplicate field `regions`: `register` has it too";
            problems.wrong(&under("regions"), message, "keep one of the two");
        }
        let provider_name = document.provider.as_ref().map(|provider| provider.name.as_str());
        let region_settings =
            document.regions.clone().or(inline_regions).unwrap_or_else(|| RegionSettings {
                set: RegionSetId::for_provider(provider_name),
                restricted: Vec::new(),
                unsupported: None,
            });
        let register_at = under("register");
        let regions = document.register.as_ref().and_then(|_| {
            let parent = if document.regions.is_some() { root } else { &register_at };
            Regions::new(&region_settings, &Path::Member(parent, "regions"), problems)
        });
        let register =
            document.register.map(|inline| Register::new(inline, &register_at, problems));

        let beta_is_set =
            document.provider.as_ref().is_some_and(|provider| provider.anthropic_beta.is_some());
        let upstream = Upstream::of_node(document.provider, &document.node);
        let routes = document.routes.map(|route| upstream.rerouted(route));
        check_beta(beta_is_set, &upstream, &routes, problems);
        check_reroutes(&document.policy.actions, register.as_ref(), json.get("routes"), problems);
        check_sources(&document.identity.sources, problems);
        check_keys(&document.tag.keys, problems);
        check_endpoints(&document.endpoints, problems);

        let sources = document.identity.sources;
        Self {
            node: document.node,
            snapshot: document.snapshot,
            register,
            regions,
            source_names: sources.iter().map(|source| source.place.to_string()).collect(),
            sources,
            client_address: document.client_address,
            geo: document.geo,
            policy: Policy::new(document.policy, json),
            upstream,
            routes,
            relay_ignore: document.relay.ignore,
            tag: document.tag,
            chain: document.chain,
            disclosure: document.disclosure,
            endpoints: document.endpoints,
            notices: Vec::new(),
        }
    }
}
