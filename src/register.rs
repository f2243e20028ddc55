//! The register: the customers that a node knows, and who stands behind a credential.
//!
//! [`Customer`] is one entry as the compliance officer writes it; [`Register`] is all of them with the
//! indices that a request needs. Credentials are held as digests only, so that nobody who reads a
//! register can use it. A date in the past is never an error here: it is a finding when a request comes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use serde::ser::SerializeMap as _;

use crate::finding::{Action, FindingCode};
use crate::key::{VerifyingKey, Window};
use crate::names::{
    CredentialDigest, CustomerId, HeaderText, LAST_SECOND, Network, NodeId, Notes, Text,
    UnixSeconds,
};
use crate::ordered;
use crate::region::{CountryCode, Residency};
use crate::shape::{Json, Path, Problems, Shape, Table, object, words};

words! {
    /// What a customer is.
    pub enum Kind {
        /// Uses the models itself
        Customer = "customer",
        /// Resells them, and is expected to run a node
        Reseller = "reseller",
    }
}

words! {
    /// Whether a customer may call.
    pub enum Status {
        /// It may
        Active = "active",
        /// It may not, for now
        Suspended = "suspended",
    }
}

words! {
    /// How screening ended.
    pub enum ScreeningStatus {
        /// Screened and accepted
        Passed = "passed",
        /// Not done yet
        Pending = "pending",
        /// Screened and turned away
        Refused = "refused",
    }
}

words! {
    /// Whether a customer is owned from a restricted region.
    pub enum Ownership {
        /// It isn't
        Clear = "clear",
        /// It is, beyond the threshold
        Restricted = "restricted",
        /// A share large enough to matter is unknown
        Unresolved = "unresolved",
    }
}

words! {
    /// How the provider treats this customer by its own enforcement.
    pub enum Enforcement {
        /// No restriction
        Unrestricted = "unrestricted",
        /// Under review
        Pending = "pending",
        /// Restricted
        Restricted = "restricted",
        /// Banned
        Banned = "banned",
    }
}

words! {
    /// What a node's signature covers.
    pub enum Binding {
        /// Each request has its own
        Request = "request",
        /// One for a customer and a window of time
        Customer = "customer",
    }
}

object! {
    /// Who was screened, when, by whom, and until when that holds.
    pub struct Screening {
        /// How it ended
        status: ScreeningStatus,
        /// When it was done
        at: Option<UnixSeconds> = None,
        /// Until when it holds; for good where left out
        until: Option<UnixSeconds> = None,
        /// Who answers for it
        by: Option<Text> = None,
    }
}

object! {
    /// The agreement that the customer accepted.
    pub struct Agreement {
        /// Its name and version
        id: Text,
        /// When it was accepted
        accepted: UnixSeconds,
        /// Until when it holds; for good where left out
        until: Option<UnixSeconds> = None,
    }
}

object! {
    /// The customer's entry at one provider.
    pub struct ProviderEntry {
        /// The profile id that the provider gave out for this customer: looked up, never derived
        profile: Option<HeaderText> = None,
        /// How the provider treats it: a status, or a status with the provider's reason and dates
        enforcement: Enforced = Enforced::default(),
    }
}

object! {
    /// A provider's enforcement against one customer, as its API tells it: Anthropic's `enforcement_actions` of a user
    /// profile, OpenAI's safety cases.
    pub struct EnforcementEntry {
        /// The status
        status: Enforcement,
        /// The provider's reason, in the provider's words: `unsupported_region`
        reason: Option<Text> = None,
        /// When the provider began it
        opened: Option<UnixSeconds> = None,
        /// From when on it no longer counts; until the provider lifts it where left out
        expires: Option<UnixSeconds> = None,
    }
}

/// What a provider's enforcement says of a customer: a bare status, or an entry.
#[derive(Debug, Clone)]
pub struct Enforced(EnforcementEntry);

object! {
    /// Another action for one finding, for this customer, for a time.
    pub struct Override {
        /// The finding
        finding: FindingCode,
        /// What is done about it instead
        action: Action,
        /// Who answers for it
        author: Text,
        /// When it ends
        until: UnixSeconds,
    }
}

object! {
    /// A credential with what belongs to it.
    pub struct CredentialEntry {
        /// The SHA-256 digest of the credential's bytes
        digest: CredentialDigest,
        /// What to call it in events
        label: Option<Text> = None,
        /// From when on it no longer counts
        expires: Option<UnixSeconds> = None,
        /// The only networks that it may come from; from anywhere where left out
        networks: Vec<Network> = Vec::new(),
    }
}

/// A credential of the register: a bare digest, or an entry.
#[derive(Debug, Clone)]
pub struct Credential(CredentialEntry);

object! {
    /// A customer of the reseller.
    pub struct Customer {
        /// Its pseudonym, which tags carry
        id: CustomerId,
        /// What people call it. For the desk only: it goes into no snapshot, tag or event
        name: Option<Text> = None,
        /// What people want to remember of it. For the desk only, like the name
        notes: Option<Notes> = None,
        /// What it is
        kind: Kind = Kind::Customer,
        /// Whether it may call
        status: Status = Status::Active,
        /// Its keys, as digests
        credentials: Vec<Credential> = Vec::new(),
        /// Names in its client certificates (URI or DNS subject alternative names)
        mtls: Vec<Text> = Vec::new(),
        /// Values of the JWT claims that identify it
        jwt: Vec<Text> = Vec::new(),
        /// Its screening; unscreened where left out
        screening: Option<Screening> = None,
        /// The agreement that it accepted
        agreement: Option<Agreement> = None,
        /// Who owns it; unresolved where left out. In files `entity` says it instead
        ownership: Option<Ownership> = None,
        /// The company that it is, in the register's entities: who owns it is worked out from there. In files only
        entity: Option<Text> = None,
        /// The countries that it said it calls from
        declared: Vec<CountryCode> = Vec::new(),
        /// Whether its word on where its users are is trusted
        vouches_for_users: bool = false,
        /// Where its data must stay
        residency: Option<Residency> = None,
        /// Its entries at providers, by the provider's name
        providers: Table<Text, ProviderEntry> = Table::new(),
        /// Actions that differ for it
        overrides: Vec<Override> = Vec::new(),
    }
}

words! {
    /// A JWK's key type.
    pub enum KeyType {
        /// Octet key pair (RFC 8037)
        Okp = "OKP",
    }
}

words! {
    /// A JWK's curve.
    pub enum Curve {
        /// Ed25519 (RFC 8037)
        Ed25519 = "Ed25519",
    }
}

words! {
    /// What a JWK is for.
    pub enum KeyUse {
        /// Signatures
        Signature = "sig",
    }
}

object! {
    /// A node's public key: a JWK (RFC 7517, RFC 8037) with its window of validity.
    pub struct NodeKey {
        /// Key type
        kty: KeyType,
        /// Curve
        crv: Curve,
        /// The public key: 32 bytes in base64url without padding
        x: VerifyingKey,
        /// Its thumbprint (RFC 7638), so that a person can tell keys apart; worked out where left out
        kid: Option<Text> = None,
        /// What it is for, as published directories of keys say it
        r#use: Option<KeyUse> = None,
        /// Never here: the private part of a key
        d: Option<PrivatePart> = None,
        /// Not before, in seconds since 1970
        nbf: Option<crate::shape::Whole<0, LAST_SECOND>> = None,
        /// Expires, in seconds since 1970
        exp: Option<crate::shape::Whole<0, LAST_SECOND>> = None,
    }
}

/// What never stands in a register: the private part of a key. There is no such value.
#[derive(Debug, Clone)]
pub enum PrivatePart {}

object! {
    /// Another reseller's node.
    pub struct Node {
        /// Its name, as its tags say
        id: NodeId,
        /// The customer that runs it
        customer: CustomerId,
        /// Its screening
        screening: Option<Screening> = None,
        /// Its public keys
        keys: Vec<NodeKey> = Vec::new(),
        /// What its signatures cover
        binding: Binding = Binding::Request,
    }
}

object! {
    /// A small register that stands in the configuration itself.
    pub struct InlineRegister {
        /// The customers
        customers: Vec<Customer>,
        /// Other resellers' nodes
        nodes: Vec<Node> = Vec::new(),
        /// The regions to judge by; may stand beside the register instead
        regions: Option<crate::region::RegionSettings> = None,
    }
}

/// Other resellers' nodes, with what leads to them. Few, next to customers.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: Vec<Node>,
    // INVARIANT (sorted): by thumbprint, so that they can be searched; values are indices into `nodes` and its `keys`
    by_thumbprint: Vec<(String, (usize, usize))>,
}

impl Nodes {
    /// Works out the thumbprints of their keys (RFC 7638).
    pub fn new(nodes: Vec<Node>) -> Self {
        let places = nodes
            .iter()
            .enumerate()
            .flat_map(|(i, node)| (0..node.keys.len()).map(move |k| (i, k)));
        let thumbprints =
            places.filter_map(|(i, k)| Some((nodes.get(i)?.keys.get(k)?.x.thumbprint(), (i, k))));
        let by_thumbprint = ordered::sorted(thumbprints);
        Self { nodes, by_thumbprint }
    }

    /// The node that has a key of this thumbprint, and the key.
    pub fn by_thumbprint(&self, thumbprint: &str) -> Option<(&Node, &NodeKey)> {
        let place = self
            .by_thumbprint
            .binary_search_by(|(known, _)| known.as_str().cmp(thumbprint))
            .ok()?;
        let (_, (node, key)) = self.by_thumbprint.get(place)?;
        let node = self.nodes.get(*node)?;
        Some((node, node.keys.get(*key)?))
    }

    /// The node of that name.
    pub fn by_id(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id.as_str() == id)
    }
}

/// A name by which a customer is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// A secret; only its digest is kept
    Secret(CredentialDigest),
    /// A name in a client certificate that Envoy verified
    Certificate(&'a str),
    /// A claim in a JWT that Envoy verified
    Claim(&'a str),
    /// The customer's own id. A snapshot has ids of those customers only that run nodes
    Id(&'a str),
}

/// A customer that a name led to.
#[derive(Debug)]
pub struct Match {
    /// The customer
    pub customer: Rc<Customer>,
    /// The index of the secret's entry in the customer's `credentials`; `None` for other names
    pub entry: Option<usize>,
}

/// All customers, with what leads to them.
#[derive(Debug)]
pub struct Register {
    nodes: Nodes,
    customers: Vec<Rc<Customer>>,
    // INVARIANT (indices): every value is an index into `customers`, and into its `credentials`
    by_secret: HashMap<CredentialDigest, (usize, usize), BuildHasherDefault<DigestHasher>>,
    by_certificate: HashMap<String, usize>,
    by_claim: HashMap<String, usize>,
}

/// A digest is spread evenly by itself: its first eight bytes are its hash. Nobody can choose what is in
/// the table but the operator, so collisions can't be forced either.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

impl Shape for Credential {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(_) => CredentialEntry::read(json, at, problems).map(Self),
            bare => CredentialDigest::read(bare, at, problems).map(|digest| {
                Self(CredentialEntry { digest, label: None, expires: None, networks: Vec::new() })
            }),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"oneOf": [CredentialDigest::schema(), CredentialEntry::schema()]})
    }
}

impl From<CredentialEntry> for Credential {
    fn from(entry: CredentialEntry) -> Self {
        Self(entry)
    }
}

impl Shape for Enforced {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(_) => EnforcementEntry::read(json, at, problems).map(Self),
            bare => Enforcement::read(bare, at, problems).map(Self::from),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"oneOf": [Enforcement::schema(), EnforcementEntry::schema()]})
    }
}

impl From<Enforcement> for Enforced {
    fn from(status: Enforcement) -> Self {
        Self(EnforcementEntry { status, reason: None, opened: None, expires: None })
    }
}

impl From<EnforcementEntry> for Enforced {
    fn from(entry: EnforcementEntry) -> Self {
        Self(entry)
    }
}

impl serde::Serialize for Enforced {
    /// As it is read: a bare status where there is nothing more.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let EnforcementEntry { status, reason, opened, expires } = &self.0;
        if reason.is_none() && opened.is_none() && expires.is_none() {
            return status.serialize(serializer);
        }
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("status", status)?;
        reason.iter().try_for_each(|reason| members.serialize_entry("reason", reason))?;
        opened.iter().try_for_each(|opened| members.serialize_entry("opened", opened))?;
        expires.iter().try_for_each(|expires| members.serialize_entry("expires", expires))?;
        members.end()
    }
}

impl Default for Enforced {
    fn default() -> Self {
        Enforcement::Unrestricted.into()
    }
}

impl std::ops::Deref for Enforced {
    type Target = EnforcementEntry;

    fn deref(&self) -> &EnforcementEntry {
        &self.0
    }
}

impl EnforcementEntry {
    /// Whether the provider doesn't want this customer's requests: restricted or banned, and not ended.
    pub fn refuses(&self, now: UnixSeconds) -> bool {
        matches!(self.status, Enforcement::Restricted | Enforcement::Banned)
            && self.expires.is_none_or(|expires| now < expires)
    }

    /// The provider's reason and dates in words, with commas between; empty where there are none. Providers' APIs write
    /// `unsupported_region`.
    pub fn details(&self) -> String {
        let details = [
            self.reason.as_ref().map(|reason| reason.as_str().replace('_', " ")),
            self.opened.map(|opened| format!("since {opened}")),
            self.expires.map(|expires| format!("until {expires}")),
        ];
        details.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Shape for PrivatePart {
    fn read(_json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        problems.wrong(
            at,
            "this is a private key: whoever reads it can sign as this node",
            "its owner replaces the key; `waybill keygen --public` prints what belongs here",
        );
        None
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"not": {}})
    }
}

impl std::ops::Deref for Credential {
    type Target = CredentialEntry;

    fn deref(&self) -> &CredentialEntry {
        &self.0
    }
}

impl Customer {
    /// Whether it is owned from a restricted region; never clear where nobody says so.
    pub fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or(Ownership::Unresolved)
    }

    /// How far its screening got; nobody who wasn't screened has passed.
    pub fn screening_status(&self) -> Option<ScreeningStatus> {
        self.screening.as_ref().map(|screening| screening.status)
    }

    /// Its entry at the provider of that name.
    pub fn at_provider(&self, provider: &str) -> Option<&ProviderEntry> {
        self.providers.get(provider)
    }

    /// The override for a finding that is in force.
    pub fn override_for(&self, code: FindingCode, now: UnixSeconds) -> Option<&Override> {
        self.overrides.iter().find(|entry| entry.finding == code && now < entry.until)
    }
}

impl NodeKey {
    /// When it counts.
    pub fn window(&self) -> Window {
        Window { nbf: self.nbf.map(|second| second.0), exp: self.exp.map(|second| second.0) }
    }
}

impl Register {
    /// Indexes the customers. Notes ids, credentials and names that lead to two of them, dates that
    /// contradict each other, and what can never take effect.
    #[cold] // as in shape.rs
    pub fn new(inline: InlineRegister, at: &Path<'_>, problems: &mut Problems) -> Self {
        let customers_at = Path::Member(at, "customers");
        let mut ids: HashMap<String, usize> = HashMap::new();
        let mut register = Self {
            nodes: Nodes::default(),
            customers: Vec::new(),
            by_secret: HashMap::default(),
            by_certificate: HashMap::new(),
            by_claim: HashMap::new(),
        };
        for (i, customer) in inline.customers.iter().enumerate() {
            let here = Path::Element(&customers_at, i);
            if let Some(first) = ids.insert(customer.id.to_string(), i) {
                let help = format!("the first is $.register.customers[{first}]");
                problems.wrong(
                    &Path::Member(&here, "id"),
                    &format!("`{}` stands twice", customer.id),
                    &help,
                );
            }
            check_customer(customer, &here, problems);
            if customer.entity.is_some() {
                let help = "say `ownership` here; entities belong to a register of files, which `waybill compile` screens";
                problems.wrong(
                    &Path::Member(&here, "entity"),
                    "an inline register has no entities",
                    help,
                );
            }
            let mut claim = |twice: bool, list: &str, n: usize| {
                if twice {
                    let place = Path::Member(&here, list);
                    problems.wrong(
                        &Path::Element(&place, n),
                        "this leads to two customers, or twice to one",
                        "a credential names one customer; remove it from the other",
                    );
                }
            };
            for (n, credential) in customer.credentials.iter().enumerate() {
                claim(
                    register.by_secret.insert(credential.digest, (i, n)).is_some(),
                    "credentials",
                    n,
                );
            }
            for (n, name) in customer.mtls.iter().enumerate() {
                claim(register.by_certificate.insert(name.as_str().into(), i).is_some(), "mtls", n);
            }
            for (n, value) in customer.jwt.iter().enumerate() {
                claim(register.by_claim.insert(value.as_str().into(), i).is_some(), "jwt", n);
            }
        }
        let nodes_at = Path::Member(at, "nodes");
        for (i, node) in inline.nodes.iter().enumerate() {
            let here = Path::Element(&nodes_at, i);
            if !ids.contains_key(node.customer.as_str()) {
                let known: Vec<&str> =
                    inline.customers.iter().map(|customer| customer.id.as_str()).collect();
                let help = crate::shape::suggestion(node.customer.as_str(), &known);
                problems.wrong(
                    &Path::Member(&here, "customer"),
                    &format!("no customer `{}` is in the register", node.customer),
                    &help,
                );
            }
            if inline.nodes.iter().take(i).any(|earlier| earlier.id == node.id) {
                problems.note(
                    &Path::Member(&here, "id"),
                    format!("`{}` stands twice", node.id),
                    None,
                );
            }
            let keys_at = Path::Member(&here, "keys");
            for (k, key) in node.keys.iter().enumerate() {
                let earlier = inline
                    .nodes
                    .iter()
                    .take(i)
                    .flat_map(|earlier| &earlier.keys)
                    .chain(node.keys.iter().take(k));
                if earlier.into_iter().any(|earlier| earlier.x == key.x) {
                    problems.wrong(
                        &Path::Element(&keys_at, k),
                        "this key stands twice",
                        "each node has its own keys, each of them once",
                    );
                }
            }
            check_node(node, &here, problems);
        }
        register.customers = inline.customers.into_iter().map(Rc::new).collect();
        register.nodes = Nodes::new(inline.nodes);
        register
    }

    /// How many customers there are.
    pub fn len(&self) -> usize {
        self.customers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.customers.is_empty()
    }

    /// All customers, in the order of the register.
    pub fn customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.iter().map(|customer| &**customer)
    }

    /// The customer of a name.
    pub fn customer(&self, name: Name<'_>) -> Option<Match> {
        let (index, entry) = match name {
            Name::Secret(digest) => {
                self.by_secret.get(&digest).map(|(index, entry)| (*index, Some(*entry)))?
            }
            Name::Certificate(name) => (*self.by_certificate.get(name)?, None),
            Name::Claim(value) => (*self.by_claim.get(value)?, None),
            // a list is enough: an inline register is small, and only a chain asks
            Name::Id(id) => {
                (self.customers.iter().position(|customer| customer.id.as_str() == id)?, None)
            }
        };
        Some(Match { customer: self.customers.get(index).map(Rc::clone)?, entry })
    }

    /// Other resellers' nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }
}

/// Notes what contradicts itself within one customer.
pub(crate) fn check_customer(customer: &Customer, at: &Path<'_>, problems: &mut Problems) {
    check_screening(customer.screening.as_ref(), at, problems);
    if let Some(agreement) = &customer.agreement
        && agreement.until.is_some_and(|until| until <= agreement.accepted)
    {
        let here = Path::Member(at, "agreement");
        problems.wrong(
            &Path::Member(&here, "until"),
            "the agreement ends before it was accepted",
            "put the dates right",
        );
    }
    let providers_at = Path::Member(at, "providers");
    for (name, entry) in customer.providers.iter() {
        if let (Some(opened), Some(expires)) = (entry.enforcement.opened, entry.enforcement.expires)
            && expires <= opened
        {
            let entry_at = Path::Member(&providers_at, name.as_str());
            let here = Path::Member(&entry_at, "enforcement");
            problems.wrong(
                &Path::Member(&here, "expires"),
                "the enforcement ends before it was opened",
                "put the dates right",
            );
        }
    }
    let overrides_at = Path::Member(at, "overrides");
    for (i, entry) in customer.overrides.iter().enumerate() {
        let here = Path::Element(&overrides_at, i);
        if entry.finding.precedes_customer() {
            problems.wrong(
                &Path::Member(&here, "finding"),
                &format!("`{}` fires before a customer is known, so no customer's override can concern it", entry.finding),
                "use `policy.actions` for it",
            );
        }
        if customer
            .overrides
            .iter()
            .take(i)
            .any(|earlier| earlier.finding == entry.finding && earlier.until == entry.until)
        {
            problems.wrong(
                &here,
                &format!("`{}` is overridden twice for the same time", entry.finding),
                "keep one of the two",
            );
        }
    }
}

/// Notes what contradicts itself within one node.
pub(crate) fn check_node(node: &Node, at: &Path<'_>, problems: &mut Problems) {
    check_screening(node.screening.as_ref(), at, problems);
    let keys_at = Path::Member(at, "keys");
    for (i, key) in node.keys.iter().enumerate() {
        let here = Path::Element(&keys_at, i);
        if key.window().is_empty() {
            problems.wrong(
                &Path::Member(&here, "exp"),
                "the key expires before it begins to count",
                "`exp` comes after `nbf`",
            );
        }
        if key.kid.as_ref().is_some_and(|kid| *kid != *key.x.thumbprint()) {
            let help = format!("leave it out, or write `{}`", key.x.thumbprint());
            problems.wrong(
                &Path::Member(&here, "kid"),
                "this isn't the key's thumbprint (RFC 7638)",
                &help,
            );
        }
    }
}

/// Notes a screening that ended before it began.
fn check_screening(screening: Option<&Screening>, at: &Path<'_>, problems: &mut Problems) {
    if let Some(Screening { at: Some(done), until: Some(until), .. }) = screening
        && until <= done
    {
        let here = Path::Member(at, "screening");
        problems.wrong(
            &Path::Member(&here, "until"),
            "the screening ends before it was done",
            "put the dates right",
        );
    }
}
