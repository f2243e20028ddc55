//! One customer, as the compliance officer writes it.

use super::screening::{PUT_RIGHT, Screening, ScreeningStatus, check_screening};
use super::sharing::CustomerSignal;
use crate::shape::{Dictionary, Json, JsonWriter, Path, Problems, Shape, object, to_value, words};
use crate::terms::finding::{Action, FindingCode};
use crate::terms::names::{CredentialDigest, CustomerId, HeaderText, Notes, Text};
use crate::terms::network::Network;
use crate::terms::region::{CountryCode, Residency};
use crate::terms::time::UnixSeconds;

words! {
    /// What a customer is.
    pub enum CustomerKind {
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
        enforcement: ProviderEnforcement = ProviderEnforcement::default(),
    }
}

object! {
    /// A provider's enforcement against one customer, as its API tells it: Anthropic's
    /// `enforcement_actions` of a user profile, OpenAI's safety cases.
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

/// A provider's enforcement against a customer: a bare status, or an entry.
#[derive(Debug, Clone)]
pub struct ProviderEnforcement(EnforcementEntry);

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
        /// Why it was set. For the desk only, like the customer's name
        reason: Option<Text> = None,
        /// The id of the event that it answers. For the desk only too
        event: Option<Text> = None,
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
        kind: CustomerKind = CustomerKind::Customer,
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
        /// The company that it is, in the register's entities: who owns it is worked out from
        /// there. In files only
        entity: Option<Text> = None,
        /// The countries that it said it calls from
        declared: Vec<CountryCode> = Vec::new(),
        /// Whether its word on where its users are is trusted
        vouches_for_users: bool = false,
        /// Where its data must stay
        residency: Option<Residency> = None,
        /// Its entries at providers, by the provider's name
        providers: Dictionary<Text, ProviderEntry> = Dictionary::new(),
        /// Actions that differ for it
        overrides: Vec<Override> = Vec::new(),
    }
    beside {
        /// What its traffic showed: of a register of files, what its sharing.json says; in a
        /// snapshot, what of that concerns the name that led here
        signals: Vec<CustomerSignal>,
    }
}

impl Shape for Credential {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(_) => CredentialEntry::read(json, at, problems).map(Self),
            bare => {
                let digest = CredentialDigest::read(bare, at, problems)?;
                Some(Self(CredentialEntry { digest, label: None, expires: None, networks: vec![] }))
            }
        }
    }

    fn write(&self, out: &mut JsonWriter) {
        self.0.write(out);
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

impl Shape for ProviderEnforcement {
    fn read(json: &Json, at: &Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json {
            Json::Object(_) => EnforcementEntry::read(json, at, problems).map(Self),
            bare => Enforcement::read(bare, at, problems).map(Self::from),
        }
    }

    /// A bare status where there is nothing more.
    fn write(&self, out: &mut JsonWriter) {
        match &self.0 {
            EnforcementEntry { status, reason: None, opened: None, expires: None } => {
                status.write(out);
            }
            entry => entry.write(out),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({"oneOf": [Enforcement::schema(), EnforcementEntry::schema()]})
    }
}

impl From<Enforcement> for ProviderEnforcement {
    fn from(status: Enforcement) -> Self {
        Self(EnforcementEntry { status, reason: None, opened: None, expires: None })
    }
}

impl From<EnforcementEntry> for ProviderEnforcement {
    fn from(entry: EnforcementEntry) -> Self {
        Self(entry)
    }
}

impl serde::Serialize for ProviderEnforcement {
    /// As it is read: a bare status where there is nothing more.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_value(self).serialize(serializer)
    }
}

impl Default for ProviderEnforcement {
    fn default() -> Self {
        Enforcement::Unrestricted.into()
    }
}

impl std::ops::Deref for ProviderEnforcement {
    type Target = EnforcementEntry;

    fn deref(&self) -> &EnforcementEntry {
        &self.0
    }
}

impl EnforcementEntry {
    /// Whether the provider doesn't want this customer's requests: restricted or banned, and not
    /// ended.
    pub fn refuses(&self, now: UnixSeconds) -> bool {
        matches!(self.status, Enforcement::Restricted | Enforcement::Banned)
            && self.expires.is_none_or(|expires| now < expires)
    }

    /// The provider's reason and dates in words, with commas between them. Providers' APIs write
    /// reasons as `unsupported_region`.
    pub fn details(&self) -> String {
        let details = [
            self.reason.as_ref().map(|reason| reason.as_str().replace('_', " ")),
            self.opened.map(|opened| format!("since {opened}")),
            self.expires.map(|expires| format!("until {expires}")),
        ];
        details.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl std::ops::Deref for Credential {
    type Target = CredentialEntry;

    fn deref(&self) -> &CredentialEntry {
        &self.0
    }
}

impl Customer {
    /// Whether it is owned from a restricted region; `unresolved` unless the register says more.
    pub fn ownership(&self) -> Ownership {
        self.ownership.unwrap_or(Ownership::Unresolved)
    }

    /// The status of its screening, if there is one.
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

/// Notes contradictions within one customer.
pub(crate) fn check_customer(customer: &Customer, at: &Path<'_>, problems: &mut Problems) {
    check_screening(customer.screening.as_ref(), at, problems);
    if let Some(agreement) = &customer.agreement
        && agreement.until.is_some_and(|until| until <= agreement.accepted)
    {
        let at = Path::Member(&Path::Member(at, "agreement"), "until");
        problems.wrong(&at, "the agreement ends before it was accepted", PUT_RIGHT);
    }
    let providers_at = Path::Member(at, "providers");
    for (name, entry) in customer.providers.iter() {
        if let (Some(opened), Some(expires)) = (entry.enforcement.opened, entry.enforcement.expires)
            && expires <= opened
        {
            let entry_at = Path::Member(&providers_at, name.as_str());
            let at = Path::Member(&Path::Member(&entry_at, "enforcement"), "expires");
            problems.wrong(&at, "the enforcement ends before it was opened", PUT_RIGHT);
        }
    }
    let overrides_at = Path::Member(at, "overrides");
    for (i, entry) in customer.overrides.iter().enumerate() {
        let here = Path::Element(&overrides_at, i);
        let Override { finding, until, .. } = entry;
        if finding.precedes_customer() {
            let message = format!(
                "`{finding}` fires before a customer is known, \
                 so no customer's override concerns it"
            );
            let at = Path::Member(&here, "finding");
            problems.wrong(&at, &message, "use `policy.actions` for it");
        }
        let mut earlier = customer.overrides.iter().take(i);
        if earlier.any(|earlier| earlier.finding == *finding && earlier.until == *until) {
            let message = format!("duplicate override of `{finding}` for the same time");
            problems.wrong(&here, &message, "keep one of the two");
        }
    }
}
