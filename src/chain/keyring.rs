//! The keys that this node signs tags with, and their published form. They come from environment
//! variables, or from secrets of Envoy's where the host can read these.
//!
//! A node holds several keys, each with its window, so that the next one can be prepared ahead.
//! That key is published before it counts, and signs from its `nbf` on. A running node never reads
//! a variable again, so a leaked key there needs a restart. A secret may change at any time.
//!
//! The published form is the HTTP Message Signatures Directory
//! (draft-meunier-webbotauth-httpsig-directory-00): a JWK Set at a well-known path. The draft
//! recommends to sign the response. This one isn't signed: receivers take keys from their register,
//! never from here.

use std::env::VarError;

use crate::config::{KeySource, TagSettings};
use crate::shape::{Mismatch, Path, Problem, Problems};
use crate::terms::key::{SigningKey, Window};
use crate::terms::time::UnixSeconds;

/// All keys of a configuration.
#[derive(Debug, Default)]
pub struct Keyring {
    // in the order of the configuration
    signers: Vec<NamedKey>,
    awaits: bool,
}

/// Why the text of a key is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAbsence {
    /// The variable isn't set
    Unset,
    /// The variable isn't UTF-8
    NotText,
    /// No secrets can be read here
    NoSecrets,
    /// Envoy refuses the secret
    Refused,
    /// The secret isn't there yet
    Awaited,
}

/// A key and its name in signatures.
#[derive(Debug)]
pub struct NamedKey {
    /// The key
    pub key: SigningKey,
    /// Its thumbprint (RFC 7638)
    pub keyid: String,
}

/// The keys of a configuration as read, mistakes included.
#[derive(Debug, Default)]
pub struct KeyringDraft {
    /// The keys that could be read
    pub keyring: Keyring,
    /// Keys that aren't there
    pub unset: Problems,
    /// Variables and secrets that hold something else
    pub wrong: Problems,
}

/// The directory's media type.
pub const DIRECTORY_MEDIA_TYPE: &str = "application/http-message-signatures-directory+json";
/// How long before the last key's end the operator gets a notice, in seconds: a week, the length of
/// a holiday.
const NOTICE_SECONDS: u64 = 7 * 24 * 60 * 60;

impl Keyring {
    /// Reads the keys that `tag.keys` names. `text` gives the text of each.
    ///
    /// # Errors
    /// Every key that isn't there, every text without keys, and every duplicate key. No error shows
    /// a private key.
    pub fn read(
        settings: &TagSettings,
        text: &dyn Fn(&KeySource) -> Result<String, KeyAbsence>,
    ) -> Result<Self, Problems> {
        let KeyringDraft { keyring, mut unset, wrong } = Self::gather(settings, text);
        wrong.iter().for_each(|problem| unset.push(problem.clone()));
        if unset.is_empty() { Ok(keyring) } else { Err(unset) }
    }

    /// Reads the keys that are there, and lists the others apart: at the desk none needs to be.
    #[cold]
    pub fn gather(
        settings: &TagSettings,
        text: &dyn Fn(&KeySource) -> Result<String, KeyAbsence>,
    ) -> KeyringDraft {
        let mut draft = KeyringDraft::default();
        let tag_at = Path::Member(&Path::Root, "tag");
        let keys_at = Path::Member(&tag_at, "keys");
        for (i, source) in settings.keys.iter().enumerate() {
            let key_at = Path::Element(&keys_at, i);
            let at = Path::Member(&key_at, source.kind());
            let keys = match text(source) {
                Ok(text) => SigningKey::all_from_jwk(&text),
                Err(KeyAbsence::NotText) => Err(Mismatch::new(
                    "the variable isn't UTF-8 text",
                    "a private JWK, as `waybill keygen` prints it",
                )),
                Err(KeyAbsence::Awaited) => {
                    draft.keyring.awaits = true;
                    continue;
                }
                Err(absence) => {
                    let (message, help) = told(source, absence);
                    draft.unset.note(&at, message, Some(help));
                    continue;
                }
            };
            match keys {
                Ok(keys) => {
                    for key in keys {
                        draft.keyring.add(key, &at, &mut draft.wrong);
                    }
                }
                Err(mismatch) => draft.wrong.mismatch(&at, mismatch),
            }
        }
        draft
    }

    fn add(&mut self, key: SigningKey, at: &Path<'_>, problems: &mut Problems) {
        let keyid = key.verifying_key().thumbprint();
        if self.signers.iter().any(|signer| signer.keyid == keyid) {
            problems.wrong(at, &format!("duplicate key `{keyid}`"), "name each key once");
        } else {
            self.signers.push(NamedKey { key, keyid });
        }
    }

    /// Whether keys are still to come. Until then nothing may be sent, as it would go unsigned.
    pub fn awaits(&self) -> bool {
        self.awaits
    }

    /// Whether the node has no key and sends its tags unsigned.
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }

    /// The key that signs at that second. Of the keys whose window holds the second, it is the one
    /// whose window began last. Of several such keys it is the last in the configuration.
    pub fn signing(&self, now: UnixSeconds) -> Option<&NamedKey> {
        let now = second(now);
        self.signers
            .iter()
            .filter(|signer| signer.key.window().contains(now))
            .max_by_key(|signer| signer.key.window().nbf)
    }

    /// The keys that are published at that second: all whose window hasn't ended. A future key is
    /// among them.
    pub fn published(&self, now: UnixSeconds) -> impl Iterator<Item = &NamedKey> {
        let now = second(now);
        self.signers
            .iter()
            .filter(move |signer| signer.key.window().exp.is_none_or(|exp| now < exp))
    }

    /// The directory: a JWK Set (RFC 7517 section 5) of the published keys. It has no `alg`: the
    /// draft wants a name of HTTP signatures there, and readers of JWKs know only the names of
    /// JOSE.
    #[cold]
    pub fn directory(&self, now: UnixSeconds) -> String {
        let keys: Vec<String> =
            self.published(now).map(|signer| signer.key.to_published_jwk()).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// Notices for the operator: that no key counts now, or when the last one ends.
    #[cold]
    pub fn notices(&self, now: UnixSeconds) -> Vec<Problem> {
        if self.is_empty() {
            return Vec::new();
        }
        let help = "make the next one by `waybill keygen`: docs/operating.md, \"Keys\"";
        let message = match self.uncovered_from(second(now)) {
            Some(end) if end <= second(now) => "no key counts now: tags go unsigned".to_owned(),
            Some(end) if end.saturating_sub(second(now)) < NOTICE_SECONDS => {
                let end = UnixSeconds(i64::try_from(end).unwrap_or(i64::MAX));
                format!("no key counts from {end} on: tags go unsigned then")
            }
            _ => return Vec::new(),
        };
        vec![Problem { path: "$.tag.keys".into(), message, help: Some(help.into()) }]
    }

    /// The first second from `now` on at which no key counts.
    fn uncovered_from(&self, now: u64) -> Option<u64> {
        let mut covered = now;
        // each round ends one window, so there are no more rounds than keys
        for _ in 0..=self.signers.len() {
            let windows = self
                .signers
                .iter()
                .map(|signer| signer.key.window())
                .filter(|window| window.contains(covered));
            match windows.map(|Window { exp, .. }| exp.unwrap_or(u64::MAX)).max() {
                None => return Some(covered),
                Some(u64::MAX) => return None,
                Some(end) => covered = end,
            }
        }
        Some(covered)
    }
}

/// Reads variables by [`std::env::var`] or alike, and no secrets.
pub fn from_variables(
    variable: &dyn Fn(&str) -> Result<String, VarError>,
) -> impl Fn(&KeySource) -> Result<String, KeyAbsence> {
    move |source| match source {
        KeySource::Env(name) => variable(name.as_str()).map_err(|why| match why {
            VarError::NotPresent => KeyAbsence::Unset,
            VarError::NotUnicode(_) => KeyAbsence::NotText,
        }),
        KeySource::Secret { .. } => Err(KeyAbsence::NoSecrets),
    }
}

/// Reads the process's own variables, and no secrets.
///
/// # Errors
/// Why the source gives no text.
pub fn from_environment(source: &KeySource) -> Result<String, KeyAbsence> {
    from_variables(&|name| std::env::var(name))(source)
}

/// What is wrong with a source that gives no text, and what to do.
fn told(source: &KeySource, absence: KeyAbsence) -> (String, String) {
    match (source, absence) {
        (KeySource::Env(name), _) => (
            format!("the {source} isn't set"),
            format!(
                "set it where Envoy starts, and name `{name}` in \
                 `vm_config.environment_variables.host_env_keys`"
            ),
        ),
        (KeySource::Secret { .. }, KeyAbsence::Refused) => (
            format!("Envoy doesn't give the {source}; a line of Envoy's above says why"),
            "name one of `static_resources.secrets`, or say in `sds_config` where it comes from"
                .to_owned(),
        ),
        (KeySource::Secret { .. }, _) => (
            format!("the {source} can't be read"),
            "only the dynamic module reads secrets of Envoy's; else use `env`".to_owned(),
        ),
    }
}

/// Keys count from 1970 on.
fn second(now: UnixSeconds) -> u64 {
    u64::try_from(now.0).unwrap_or(0)
}
