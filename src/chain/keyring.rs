//! The keys that this node signs tags with, from environment variables, and their published form.
//!
//! A node holds several keys, each with its window, so that the next one can be prepared ahead.
//! That key is published before it counts, and signs from its `nbf` on. A running node never reads
//! the variables again. So a leaked key needs a restart.
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
}

/// A key and its name in signatures.
#[derive(Debug)]
pub struct NamedKey {
    /// The key
    pub key: SigningKey,
    /// Its thumbprint (RFC 7638)
    pub keyid: String,
}

/// The variables of a configuration as read, mistakes included.
#[derive(Debug, Default)]
pub struct KeyringDraft {
    /// The keys that could be read
    pub keyring: Keyring,
    /// Variables that aren't set
    pub unset: Problems,
    /// Variables that hold something else
    pub wrong: Problems,
}

/// The directory's media type.
pub const DIRECTORY_MEDIA_TYPE: &str = "application/http-message-signatures-directory+json";
/// How long before the last key's end the operator gets a notice, in seconds: a week, the length of
/// a holiday.
const NOTICE_SECONDS: u64 = 7 * 24 * 60 * 60;

impl Keyring {
    /// Reads the keys that `tag.keys` names. `variable` is [`std::env::var`].
    ///
    /// # Errors
    /// Every variable that isn't set or holds no keys, and every duplicate key. No error shows a
    /// secret.
    pub fn read(
        settings: &TagSettings,
        variable: &dyn Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, Problems> {
        let KeyringDraft { keyring, mut unset, wrong } = Self::gather(settings, variable);
        wrong.iter().for_each(|problem| unset.push(problem.clone()));
        if unset.is_empty() { Ok(keyring) } else { Err(unset) }
    }

    /// Reads the variables that are set, and lists the others apart: at the desk none needs to be
    /// set.
    #[cold]
    pub fn gather(
        settings: &TagSettings,
        variable: &dyn Fn(&str) -> Result<String, VarError>,
    ) -> KeyringDraft {
        let mut draft = KeyringDraft::default();
        let tag_at = Path::Member(&Path::Root, "tag");
        let keys_at = Path::Member(&tag_at, "keys");
        for (i, KeySource { env }) in settings.keys.iter().enumerate() {
            let key_at = Path::Element(&keys_at, i);
            let at = Path::Member(&key_at, "env");
            let keys = match variable(env.as_str()) {
                Ok(text) => SigningKey::all_from_jwk(&text),
                Err(VarError::NotUnicode(_)) => Err(Mismatch::new(
                    "the variable isn't UTF-8 text",
                    "a private JWK, as `waybill keygen` prints it",
                )),
                Err(VarError::NotPresent) => {
                    let help = format!(
                        "set it where Envoy starts, and name `{env}` in \
                         `vm_config.environment_variables.host_env_keys`"
                    );
                    draft.unset.note(&at, format!("the variable `{env}` isn't set"), Some(help));
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

/// Keys count from 1970 on.
fn second(now: UnixSeconds) -> u64 {
    u64::try_from(now.0).unwrap_or(0)
}
