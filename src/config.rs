//! The configuration: one JSON document, parsed once into types.
//!
//! [`Config::parse`] takes the text that stands in Envoy's `StringValue` and gives a [`Config`] or every
//! mistake in it. What the types can't say (a reroute to a route that isn't there, two settings that
//! contradict each other) is checked here, where the whole document is in hand. Nothing later checks again.
//!
//! [`Config::notices`] tells what is allowed but worth knowing, such as a setting without effect.

mod sources;

use sha2::Digest as _;

pub use sources::{Claim, CredentialPlace, IdentitySource, OriginSource, Role, San, UserSource};

use crate::finding::{Action, FindingCode};
use crate::names::{
    Authority, HeaderName, HeaderText, Nat64Prefix, Network, NodeId, RouteName, Text, TrustedKey,
    Url, UrlPath, VariableName, hex,
};
use crate::region::{RegionSetId, RegionSettings, Regions, Residency};
use crate::register::{Binding, InlineRegister, Register};
use crate::shape::{
    Json, Mismatch, Path, Problem, Problems, Shape, Table, Whole, Word, object, read_document,
    suggestion, words,
};

/// The configuration of a node, ready for requests.
#[derive(Debug)]
pub struct Config {
    /// Who this node is
    pub node: NodeSettings,
    /// Where a snapshot comes from, where there is no inline register
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
    pub routes: Table<RouteName, Upstream>,
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

/// What is worth knowing, as it is found. Never inlined: copies of this are kilobytes of the module.
#[derive(Default)]
struct Notices(Vec<Problem>);

impl Notices {
    #[inline(never)]
    fn add(&mut self, path: &str, message: &str, help: &str) {
        self.0.push(Problem {
            path: path.into(),
            message: message.into(),
            help: Some(help.into()),
        });
    }
}

/// What is done about each finding, and under which revision.
#[derive(Debug)]
pub struct Policy {
    /// Whether findings take effect
    pub mode: Mode,
    /// The first 16 hexadecimal digits of the SHA-256 of the configuration without its register
    pub revision: String,
    // INVARIANT (actions): one for each code, in the order of `FindingCode::ALL`
    actions: Vec<Action>,
    named: Vec<FindingCode>,
}

/// A place that requests are forwarded to.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The provider's name; it also names the customer's entry in `providers`
    pub provider: Option<Text>,
    /// What is done to requests by that provider's convention
    pub convention: Convention,
    /// What it is called
    pub authority: Option<Authority>,
    /// Where it processes data
    pub residency: Option<Residency>,
    /// The provider's account and profile APIs, which customers may not call
    pub deny_paths: Vec<UrlPath>,
}

/// A provider's convention for naming the customer behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Convention {
    /// `anthropic-user-profile-id`, and the beta that allows it
    Anthropic(Option<HeaderText>),
    /// `openai-safety-identifier`
    OpenAi,
    /// None
    Other,
}

words! {
    /// Whether findings take effect.
    pub enum Mode {
        /// They do
        Enforce = "enforce",
        /// They are only reported, save where nobody would then be authenticated
        Report = "report",
    }
}

words! {
    /// The header that trusted proxies write addresses to.
    pub enum ForwardingHeader {
        /// X-Forwarded-For
        XForwardedFor = "x-forwarded-for",
        /// Forwarded (RFC 7239)
        Forwarded = "forwarded",
    }
}

object! {
    /// Who this node is.
    pub struct NodeSettings {
        /// Its name in tags, chains and refusals
        id: NodeId,
        /// The names that requests to it are addressed to; `id` where left out
        authorities: Vec<Authority> = Vec::new(),
        /// What the next hop is called
        upstream_authority: Option<Authority> = None,
        /// Where the upstream processes data
        residency: Option<Residency> = None,
    }
}

object! {
    /// Where the signed register file comes from.
    pub struct SnapshotSettings {
        /// The Envoy cluster of the server that has it
        cluster: Text,
        /// The server's name
        authority: Authority,
        /// The file's path there
        path: UrlPath,
        /// How often to ask for a newer one, in seconds
        poll_seconds: Whole<1, 86_400> = Whole(30),
        /// From which age on it is stale, in seconds since its creation
        max_age_seconds: Whole<1, 31_536_000> = Whole(86_400),
        /// The keys that may have signed it
        trusted_keys: Vec<TrustedKey>,
        /// The lowest sequence that is taken
        min_sequence: Whole<0, { i64::MAX as u64 }> = Whole(0),
    }
}

object! {
    /// Who is calling.
    pub struct IdentitySettings {
        /// Where credentials are looked for; an event names the first that agrees
        sources: Vec<IdentitySource>,
    }
}

object! {
    /// How the client's address is found.
    pub struct ClientAddressSettings {
        /// The networks of proxies whose word on the address counts
        trusted_proxies: Vec<Network> = Vec::new(),
        /// The header that they write it to
        header: ForwardingHeader = ForwardingHeader::XForwardedFor,
        /// The operator's own NAT64 prefixes: an address behind one is judged as the IPv4 address in it
        nat64: Vec<Nat64Prefix> = Vec::new(),
    }
}

object! {
    /// Where geography comes from.
    pub struct GeoSettings {
        /// For the client's address
        origin: Vec<OriginSource> = Vec::new(),
        /// For the person who uses the model
        user: Vec<UserSource> = Vec::new(),
    }
}

object! {
    /// What is done about findings.
    pub struct PolicySettings {
        /// Whether findings take effect
        mode: Mode = Mode::Enforce,
        /// Actions that differ from the catalogue's defaults
        actions: Table<FindingCode, Action> = Table::new(),
    }
}

object! {
    /// Another upstream, which the route table chooses by the header x-waybill-route.
    pub struct RouteSettings {
        /// The provider there; the node's where left out
        provider: Option<Text> = None,
        /// What it is called
        authority: Option<Authority> = None,
        /// Where it processes data
        residency: Option<Residency> = None,
    }
}

object! {
    /// What to make of marks of relay software.
    pub struct RelaySettings {
        /// Marks that the operator's own load balancer or CDN leaves
        ignore: Vec<IgnoredMark> = Vec::new(),
    }
}

object! {
    /// A mark that is no finding here.
    pub struct IgnoredMark {
        /// The header
        header: HeaderName,
        /// The value, whole; any where left out
        value: Option<Text> = None,
    }
}

object! {
    /// Where a signing key is.
    pub struct KeySource {
        /// The environment variable that holds a private JWK or JWK Set
        env: VariableName,
    }
}

object! {
    /// How tags are signed.
    pub struct TagSettings {
        /// The keys; tags go unsigned where there is none
        keys: Vec<KeySource> = Vec::new(),
        /// How long a signature holds, in seconds; other nodes take no more than their `chain.max_lifetime_seconds`
        lifetime_seconds: Whole<1, 3_600> = Whole(60),
        /// What a signature covers
        binding: Binding = Binding::Request,
    }
}

object! {
    /// What other nodes' signatures and chains may be like.
    pub struct ChainSettings {
        /// How many nodes a request may have come through
        max_hops: Whole<2, 32> = Self::default().max_hops,
        /// How far other clocks may be ahead of or behind this one, in seconds
        skew_seconds: Whole<0, 60> = Self::default().skew_seconds,
        /// The longest time that a signature may hold, in seconds from `created` to `expires`
        max_lifetime_seconds: Whole<1, 3_600> = Self::default().max_lifetime_seconds,
    }
}

object! {
    /// The model provider behind this node.
    pub struct ProviderSettings {
        /// anthropic, openai, gemini, or one's own: the convention, and the customer's entry in providers
        name: Text,
        /// The Anthropic beta that user profiles need, for the header anthropic-beta
        anthropic_beta: Option<HeaderText> = None,
        /// The account and profile APIs that customers may not call; the provider's own where left out
        deny_paths: Option<Vec<UrlPath>> = None,
    }
}

object! {
    /// Where events go beside the access log.
    pub struct ReportSettings {
        /// An OpenTelemetry collector
        otlp: Option<OtlpSettings> = None,
    }
}

object! {
    /// An OpenTelemetry collector (OTLP/HTTP).
    pub struct OtlpSettings {
        /// Its Envoy cluster
        cluster: Text,
        /// The path that takes logs; /v1/logs where left out
        path: Option<UrlPath> = None,
    }
}

const READY_PATH: &str = "/.well-known/waybill/ready";
const DIRECTORY_PATH: &str = "/.well-known/http-message-signatures-directory";
const DISCLOSURE_PATH: &str = "/.well-known/waybill/disclosure";

object! {
    /// Paths that the node answers itself, whoever asks.
    pub struct EndpointSettings {
        /// Whether the node has a register, for load balancers and Kubernetes: 200, or 503 until then
        ready: Endpoint = Endpoint::at(READY_PATH),
        /// The public keys that it signs with, a JWK Set (draft-meunier-webbotauth-httpsig-directory)
        directory: Endpoint = Endpoint::at(DIRECTORY_PATH),
        /// Who runs the node, what it reads, and where to appeal
        disclosure: Endpoint = Endpoint::at(DISCLOSURE_PATH),
    }
}

/// A path that the node answers itself, unless it is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Option<UrlPath>);

object! {
    /// Who runs this node, and whom a refused caller can turn to.
    pub struct DisclosureSettings {
        /// The legal name of whoever runs the node
        operator: Option<Text> = None,
        /// Who answers questions
        contact: Option<Text> = None,
        /// Where a refusal is appealed
        appeal_url: Option<Url> = None,
        /// Where the operator's rules for customers stand
        policy_url: Option<Url> = None,
        /// How long what is recorded of a request is kept, in the operator's words
        retention: Option<Text> = None,
    }
}

object! {
    /// Waybill's configuration. It stands as JSON in the StringValue of the filter's configuration.
    pub struct Document {
        /// The version of this format
        version: Whole<1, 1>,
        /// Who this node is
        node: NodeSettings,
        /// Where the signed register file comes from; this or register
        snapshot: Option<SnapshotSettings> = None,
        /// A small register that stands here; this or snapshot
        register: Option<InlineRegister> = None,
        /// The regions to judge by, with an inline register
        regions: Option<RegionSettings> = None,
        /// Who is calling
        identity: IdentitySettings,
        /// How the client's address is found
        client_address: ClientAddressSettings = ClientAddressSettings { trusted_proxies: Vec::new(), header: ForwardingHeader::XForwardedFor, nat64: Vec::new() },
        /// Where geography comes from
        geo: GeoSettings = GeoSettings { origin: Vec::new(), user: Vec::new() },
        /// What is done about findings
        policy: PolicySettings = PolicySettings { mode: Mode::Enforce, actions: Table::new() },
        /// Other upstreams, by name
        routes: Table<RouteName, RouteSettings> = Table::new(),
        /// What to make of marks of relay software
        relay: RelaySettings = RelaySettings { ignore: Vec::new() },
        /// How tags are signed
        tag: TagSettings = TagSettings { keys: Vec::new(), lifetime_seconds: Whole(60), binding: Binding::Request },
        /// What other nodes' signatures and chains may be like
        chain: ChainSettings = ChainSettings::default(),
        /// The model provider behind this node
        provider: Option<ProviderSettings> = None,
        /// Where events go beside the access log
        reports: ReportSettings = ReportSettings { otlp: None },
        /// Paths that the node answers itself
        endpoints: EndpointSettings = EndpointSettings::default(),
        /// Who runs this node, and whom a refused caller can turn to
        disclosure: DisclosureSettings = DisclosureSettings { operator: None, contact: None, appeal_url: None, policy_url: None, retention: None },
    }
}

/// Anthropic's Admin API (<https://platform.claude.com/docs/en/api/admin-api>) and user profiles.
const ANTHROPIC_ADMIN_PATHS: &[&str] = &["/v1/organizations", "/v1/user_profiles"];
/// OpenAI's Administration API (<https://platform.openai.com/docs/api-reference/administration>).
const OPENAI_ADMIN_PATHS: &[&str] = &["/v1/organization", "/v1/projects"];

/// The JSON Schema of the configuration (draft 2020-12), generated from the types above.
pub fn schema() -> serde_json::Value {
    let mut schema = Document::schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".into(), "Waybill configuration, version 1".into());
        members.insert(
            "oneOf".into(),
            serde_json::json!([{"required": ["snapshot"]}, {"required": ["register"]}]),
        );
    }
    schema
}

impl Config {
    /// Parses the text of a configuration.
    ///
    /// # Errors
    /// Every mistake in it, each with its JSON path and, where there is one, a hint.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let document = read_document::<Document>(text, &mut problems);
        let config = document.map(|(document, json)| Self::build(document, &json, &mut problems));
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

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
    fn build(document: Document, json: &Json, problems: &mut Problems) -> Self {
        let root = &Path::Root;
        let under = |name: &'static str| Path::Member(root, name);
        let inline_regions =
            document.register.as_ref().and_then(|register| register.regions.clone());
        match (json.get("snapshot"), json.get("register")) {
            (Some(_), Some(_)) => problems.wrong(
                root,
                "`snapshot` and `register` exclude each other",
                "keep the one that holds your customers",
            ),
            (None, None) => problems.wrong(
                root,
                "neither `snapshot` nor `register` is there",
                "a first run wants an inline `register`",
            ),
            (Some(_), None) if json.get("regions").is_some() => {
                problems.wrong(
                    &under("regions"),
                    "regions come from the snapshot",
                    "set them in the register that it is compiled from",
                );
            }
            _ => {}
        }
        if document.snapshot.as_ref().is_some_and(|snapshot| snapshot.trusted_keys.is_empty()) {
            let snapshot_at = under("snapshot");
            let help = "the public part of the key that compiles it, as `waybill keygen` prints it";
            problems.wrong(
                &Path::Member(&snapshot_at, "trusted_keys"),
                "no key is trusted, so no snapshot can be taken",
                help,
            );
        }
        if document.regions.is_some() && inline_regions.is_some() {
            problems.wrong(
                &under("regions"),
                "regions stand here and in `register`",
                "keep one of the two",
            );
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
            let beside = document.regions.is_some();
            Regions::new(
                &region_settings,
                &Path::Member(if beside { root } else { &register_at }, "regions"),
                problems,
            )
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

        let config = Self {
            node: document.node,
            snapshot: document.snapshot,
            register,
            regions,
            source_names: document
                .identity
                .sources
                .iter()
                .map(|source| source.place.to_string())
                .collect(),
            sources: document.identity.sources,
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
        };
        let notices = config.find_notices(document.reports.otlp.is_some());
        Self { notices, ..config }
    }

    /// Notes what has no effect, or more effect than it seems.
    fn find_notices(&self, otlp: bool) -> Vec<Problem> {
        let mut notices = Notices::default();
        if !self.tag.keys.is_empty() {
            self.find_signing_notices(&mut notices);
        }
        if otlp {
            notices.add(
                "$.reports.otlp",
                "this version doesn't send events to a collector yet",
                "Envoy's access loggers can: see docs/configuration.md",
            );
        }
        if self.register.is_some() && self.geo.origin.iter().any(|source| source.header.is_none()) {
            notices.add(
                "$.geo.origin",
                "there is no snapshot, so its address table knows no country",
                "set a header by Envoy's geoip filter",
            );
        }
        if self.geo.origin.is_empty() {
            notices.add(
                "$.geo.origin",
                "no source says where calls come from: every request is `geo.unknown`",
                "set a header by Envoy's geoip filter and name it here",
            );
        }
        if let Some(regions) = &self.regions {
            let unlisted: Vec<String> = regions.unlisted().map(|code| code.to_string()).collect();
            if !unlisted.is_empty() {
                let message = format!(
                    "these are neither supported nor restricted, so requests from there get through with a report: {}",
                    unlisted.join(" ")
                );
                notices.add(
                    "$.regions",
                    &message,
                    "name those in `restricted` that the provider's terms exclude",
                );
            }
        }
        if self.policy.mode == Mode::Report {
            notices.add(
                "$.policy.mode",
                "report: only callers that nobody can identify are refused",
                "`enforce` makes findings take effect",
            );
        }
        if self.sources.iter().any(|source| source.place == CredentialPlace::Chain) {
            let proofs = [
                FindingCode::ChainInvalid,
                FindingCode::ChainExpired,
                FindingCode::ChainReplayed,
                FindingCode::ChainUnknownNode,
            ];
            for code in
                proofs.into_iter().filter(|code| *self.policy.action(*code) != Action::Block)
            {
                notices.add(
                    &format!("$.policy.actions.{code}"),
                    "a signature may name the caller, so whoever sends one that doesn't hold gets in, and is nobody",
                    "`block`, or take `{\"chain\": true}` out of `identity.sources`",
                );
            }
        }
        if self.disclosure.appeal_url.is_none() {
            notices.add(
                "$.disclosure.appeal_url",
                "refused callers aren't told where to appeal",
                "give an address",
            );
        }
        notices.0
    }

    /// Notes signatures that the next node may not take.
    fn find_signing_notices(&self, notices: &mut Notices) {
        if self.node.upstream_authority.is_none() {
            notices.add(
                "$.node.upstream_authority",
                "tags are signed for whatever name the client asked for, which the next hop may not answer to",
                "what the next hop is called, as the route's `host_rewrite_literal` sets it",
            );
        }
        for (name, _) in self.routes.iter().filter(|(_, route)| route.authority.is_none()) {
            notices.add(
                &format!("$.routes.{name}.authority"),
                "tags are signed for whatever name the client asked for, which the next hop may not answer to",
                "what the next hop is called there, as the route's `host_rewrite_literal` sets it",
            );
        }
        let ChainSettings { max_lifetime_seconds: Whole(usual), .. } = ChainSettings::default();
        if self.tag.lifetime_seconds.0 > usual {
            notices.add(
                "$.tag.lifetime_seconds",
                &format!("other nodes take signatures that hold {usual} seconds at most, unless theirs say otherwise"),
                "a minute is enough: a node signs each request anew",
            );
        }
    }
}

impl GeoSettings {
    /// Whether a header of Envoy's says where the client's address is.
    pub fn reads_headers(&self) -> bool {
        self.origin.iter().any(|source| source.header.is_some())
    }
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self { max_hops: Whole(8), skew_seconds: Whole(5), max_lifetime_seconds: Whole(300) }
    }
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            ready: Endpoint::at(READY_PATH),
            directory: Endpoint::at(DIRECTORY_PATH),
            disclosure: Endpoint::at(DISCLOSURE_PATH),
        }
    }
}

impl Endpoint {
    #[inline(never)]
    fn at(path: &str) -> Self {
        Self(UrlPath::parse(path).ok())
    }

    /// The path, unless it is off.
    pub fn path(&self) -> Option<&UrlPath> {
        self.0.as_ref()
    }

    /// Whether a request's path, without its query, is this one.
    pub fn is(&self, path: &[u8]) -> bool {
        let path = path.split(|b| *b == b'?').next().unwrap_or_default();
        self.0.as_ref().is_some_and(|own| own.as_str().as_bytes() == path)
    }
}

impl Word for Endpoint {
    const WHAT: &'static str = "a path that starts with a slash, or off";
    const PATTERN: &'static str = r"^(/[!-~]{0,1000}|off)$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        if text == "off" {
            Ok(Self(None))
        } else {
            UrlPath::parse(text).map(|path| Self(Some(path)))
        }
    }
}

impl Policy {
    fn new(settings: PolicySettings, json: &Json) -> Self {
        // who the customers are isn't policy: a new customer leaves the revision as it is
        let inline_regions = json.get("register").and_then(|register| register.get("regions"));
        let policy = json.members().iter().filter(|(name, _)| name != "register").cloned();
        let policy =
            policy.chain(inline_regions.map(|regions| ("regions".to_owned(), regions.clone())));
        let mut canonical = String::new();
        Json::Object(policy.collect()).write_canonical(&mut canonical);
        let mut revision = hex(&sha2::Sha256::digest(canonical));
        revision.truncate(16);
        let named = settings.actions.iter().map(|(code, _)| *code).collect();
        let action = |code: &FindingCode| {
            settings.actions.get(code).cloned().unwrap_or_else(|| code.default_action().clone())
        };
        let actions = FindingCode::ALL.iter().map(action).collect();
        Self { mode: settings.mode, revision, actions, named }
    }

    /// What is done about a finding where no customer's override says otherwise.
    pub fn action(&self, code: FindingCode) -> &Action {
        self.actions.get(code as usize).unwrap_or(&Action::Block)
    }

    /// Whether the configuration names this finding's action.
    pub fn names(&self, code: FindingCode) -> bool {
        self.named.contains(&code)
    }
}

impl Upstream {
    fn of_node(provider: Option<ProviderSettings>, node: &NodeSettings) -> Self {
        let (authority, residency) = (node.upstream_authority.clone(), node.residency);
        let Some(provider) = provider else {
            return Self {
                provider: None,
                convention: Convention::Other,
                authority,
                residency,
                deny_paths: Vec::new(),
            };
        };
        let convention = Convention::of(&provider.name, provider.anthropic_beta);
        let deny_paths = provider.deny_paths.unwrap_or_else(|| convention.admin_paths());
        Self { provider: Some(provider.name), convention, authority, residency, deny_paths }
    }

    /// The upstream that a route leads to: what its entry says in place of the node's.
    fn rerouted(&self, route: RouteSettings) -> Self {
        let Some(provider) = route.provider.filter(|name| Some(name) != self.provider.as_ref())
        else {
            return Self {
                authority: route.authority,
                residency: route.residency.or(self.residency),
                ..self.clone()
            };
        };
        let convention = Convention::of(&provider, None);
        // another vendor's data centre: the node's residency says nothing about it
        Self {
            deny_paths: convention.admin_paths(),
            provider: Some(provider),
            convention,
            authority: route.authority,
            residency: route.residency,
        }
    }

    /// The provider's name, or nothing.
    pub fn provider_name(&self) -> &str {
        self.provider.as_ref().map_or("", Text::as_str)
    }
}

impl Convention {
    fn of(name: &Text, anthropic_beta: Option<HeaderText>) -> Self {
        match name.as_str() {
            "anthropic" => Self::Anthropic(anthropic_beta),
            "openai" => Self::OpenAi,
            _ => Self::Other,
        }
    }

    fn admin_paths(&self) -> Vec<UrlPath> {
        let paths = match self {
            Self::Anthropic(_) => ANTHROPIC_ADMIN_PATHS,
            Self::OpenAi => OPENAI_ADMIN_PATHS,
            Self::Other => &[],
        };
        paths.iter().filter_map(|path| UrlPath::parse(path).ok()).collect()
    }
}

/// Notes a beta for Anthropic where no request goes there.
fn check_beta(
    is_set: bool,
    upstream: &Upstream,
    routes: &Table<RouteName, Upstream>,
    problems: &mut Problems,
) {
    let used = std::iter::once(upstream)
        .chain(routes.iter().map(|(_, route)| route))
        .any(|to| matches!(to.convention, Convention::Anthropic(_)));
    if is_set && !used {
        let at = Path::Member(&Path::Root, "provider");
        problems.wrong(
            &Path::Member(&at, "anthropic_beta"),
            "the provider isn't `anthropic`",
            "leave it out",
        );
    }
}

/// Notes reroutes to entries of `routes` that aren't there.
fn check_reroutes(
    actions: &Table<FindingCode, Action>,
    register: Option<&Register>,
    routes: Option<&Json>,
    problems: &mut Problems,
) {
    let known: Vec<&str> = routes
        .map(Json::members)
        .unwrap_or_default()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let mut check = |action: &Action, at: &Path<'_>| {
        if let Action::Reroute(name) = action
            && !known.contains(&name.as_str())
        {
            let help = suggestion(name.as_str(), &known);
            problems.wrong(
                &Path::Member(at, "reroute"),
                &format!("`routes` has no entry `{name}`"),
                &help,
            );
        }
    };
    let policy_at = Path::Member(&Path::Root, "policy");
    let actions_at = Path::Member(&policy_at, "actions");
    for (code, action) in actions.iter() {
        check(action, &Path::Member(&actions_at, code.as_str()));
    }
    let register_at = Path::Member(&Path::Root, "register");
    let customers_at = Path::Member(&register_at, "customers");
    for (i, customer) in register.into_iter().flat_map(Register::customers).enumerate() {
        let customer_at = Path::Element(&customers_at, i);
        let overrides_at = Path::Member(&customer_at, "overrides");
        for (n, entry) in customer.overrides.iter().enumerate() {
            check(&entry.action, &Path::Member(&Path::Element(&overrides_at, n), "action"));
        }
    }
}

/// Notes that no place is given, or one place twice.
fn check_sources(sources: &[IdentitySource], problems: &mut Problems) {
    let identity_at = Path::Member(&Path::Root, "identity");
    let at = Path::Member(&identity_at, "sources");
    if sources.is_empty() {
        problems.wrong(
            &at,
            "without a source nobody can be identified",
            r#"such as [{"header": "x-api-key"}, {"bearer": true}]"#,
        );
    }
    for (i, source) in sources.iter().enumerate() {
        if sources.iter().take(i).any(|earlier| earlier.place.same(&source.place)) {
            problems.wrong(&Path::Element(&at, i), "this place stands twice", "remove one");
        }
    }
}

/// Notes a variable that stands twice.
fn check_keys(keys: &[KeySource], problems: &mut Problems) {
    let tag_at = Path::Member(&Path::Root, "tag");
    let at = Path::Member(&tag_at, "keys");
    for (i, key) in keys.iter().enumerate() {
        if keys.iter().take(i).any(|earlier| earlier.env == key.env) {
            let key_at = Path::Element(&at, i);
            problems.wrong(
                &Path::Member(&key_at, "env"),
                "this variable stands twice",
                "name each key once",
            );
        }
    }
}

/// Notes a path that would have two answers.
fn check_endpoints(endpoints: &EndpointSettings, problems: &mut Problems) {
    let at = Path::Member(&Path::Root, "endpoints");
    let EndpointSettings { ready, directory, disclosure } = endpoints;
    let all = [("ready", ready), ("directory", directory), ("disclosure", disclosure)];
    for (i, (name, Endpoint(path))) in all.iter().enumerate() {
        if path.is_some() && all.iter().take(i).any(|(_, Endpoint(earlier))| earlier == path) {
            problems.wrong(
                &Path::Member(&at, name),
                "this path stands twice",
                "give each its own, or turn one `off`",
            );
        }
    }
}
