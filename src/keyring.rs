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
use crate::key::{SigningKey, Window};
use crate::names::UnixSeconds;
use crate::shape::{Mismatch, Path, Problem, Problems};

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

    /// Whether there is no key, so that tags go unsigned.
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::config::Config;
    use crate::key::KEY_LENGTH;

    const NOW: u64 = 1_795_000_000;
    const DAY: u64 = 86_400;

    fn key(secret: u8, nbf: Option<u64>, exp: Option<u64>) -> SigningKey {
        SigningKey::new(&[secret; KEY_LENGTH], Window { nbf, exp })
    }

    fn jwk(secret: u8, nbf: Option<u64>, exp: Option<u64>) -> String {
        key(secret, nbf, exp).to_private_jwk()
    }

    fn at(second: u64) -> UnixSeconds {
        UnixSeconds(i64::try_from(second).unwrap())
    }

    /// Reads keys from `K0`, `K1` and so on.
    fn read(variables: &[Result<String, VarError>]) -> Result<Keyring, String> {
        let names: Vec<String> =
            (0..variables.len()).map(|i| format!(r#"{{"env":"K{i}"}}"#)).collect();
        let text = format!(
            r#"{{"version":1,"node":{{"id":"acme.example"}},"register":{{"customers":[]}},
                "identity":{{"sources":[{{"bearer":true}}]}},"tag":{{"keys":[{}]}}}}"#,
            names.join(",")
        );
        let config = Config::parse(&text).unwrap();
        let variable =
            |name: &str| variables[name.trim_start_matches('K').parse::<usize>().unwrap()].clone();
        Keyring::read(&config.tag, &variable).map_err(|problems| problems.to_string())
    }

    fn read_all(texts: &[String]) -> Keyring {
        read(&texts.iter().cloned().map(Ok).collect::<Vec<_>>()).unwrap()
    }

    fn signs(keyring: &Keyring, second: u64) -> Option<String> {
        keyring.signing(at(second)).map(|signer| signer.keyid.clone())
    }

    #[test]
    fn a_key_hands_over_to_the_next() {
        let (old, new) =
            (key(1, Some(NOW), Some(NOW + 30 * DAY)), key(2, Some(NOW + 20 * DAY), None));
        let [old_id, new_id] = [&old, &new].map(|key| Some(key.verifying_key().thumbprint()));
        for order in [[&old, &new], [&new, &old]] {
            let keyring = read_all(&order.map(SigningKey::to_private_jwk));
            let expected = [
                (NOW - 1, None, 2),
                (NOW, old_id.clone(), 2),
                (NOW + 20 * DAY - 1, old_id.clone(), 2),
                (NOW + 20 * DAY, new_id.clone(), 2),
                (NOW + 30 * DAY - 1, new_id.clone(), 2),
                (NOW + 30 * DAY, new_id.clone(), 1),
                (NOW + 9_000 * DAY, new_id.clone(), 1),
            ];
            for (second, signer, published) in expected {
                assert_eq!(signs(&keyring, second), signer, "{second}");
                assert_eq!(keyring.published(at(second)).count(), published, "{second}");
            }
        }
    }

    #[test]
    fn the_newest_signs_and_of_equals_the_last() {
        let thumbprint = |secret| Some(key(secret, None, None).verifying_key().thumbprint());
        let open = read_all(&[jwk(1, None, None), jwk(2, Some(5), None), jwk(3, None, None)]);
        assert_eq!(signs(&open, NOW), thumbprint(2));
        assert_eq!(signs(&open, 4), thumbprint(3));
        assert_eq!(
            signs(&read_all(&[jwk(1, Some(5), None), jwk(2, Some(5), None)]), NOW),
            thumbprint(2)
        );
        // a newer one that has ended leaves the older one to sign
        assert_eq!(
            signs(&read_all(&[jwk(1, Some(5), None), jwk(2, Some(6), Some(NOW))]), NOW),
            thumbprint(1)
        );
        assert_eq!(signs(&Keyring::default(), NOW), None);
    }

    #[test]
    fn a_set_is_as_good_as_its_keys() {
        let set = format!(r#"{{"keys":[{},{}]}}"#, jwk(1, None, None), jwk(2, Some(5), None));
        assert_eq!(
            signs(&read_all(&[set]), NOW),
            signs(&read_all(&[jwk(1, None, None), jwk(2, Some(5), None)]), NOW)
        );
    }

    #[test]
    fn mistakes_are_all_named_and_no_secret_is() {
        let set = |keys: &[String]| Ok(format!(r#"{{"keys":[{}]}}"#, keys.join(",")));
        let good = jwk(1, None, None);
        let variables = [
            Ok(good.clone()),
            Err(VarError::NotPresent),
            Err(VarError::NotUnicode(OsString::from_vec(vec![0xff]))),
            Ok(String::new()),
            Ok(good.replace("\"d\"", "\"e\"")),
            set(&[]),
            set(&[jwk(2, None, None), good.clone(), jwk(2, None, None)]),
            set(&[jwk(3, None, None), good.replace("OKP", "EC"), "7".into()]),
            Ok(r#"{"keys":7}"#.into()),
            Ok(format!(r#"{{"keys":[{{"keys":[{good}]}}]}}"#)),
        ];
        let told = read(&variables).unwrap_err();
        let thumbprint = |secret| key(secret, None, None).verifying_key().thumbprint();
        let invalid = |key: usize, member: &str, why: &str| {
            format!("$.tag.keys[{key}].env: {member}invalid private Ed25519 key: {why}")
        };
        let expected = [
            "$.tag.keys[1].env: the variable `K1` isn't set".to_owned(),
            "$.tag.keys[2].env: the variable isn't UTF-8 text".to_owned(),
            invalid(3, "", "not JSON from line 1, column 0 on"),
            invalid(4, "", "missing `d`, the private part"),
            invalid(5, "", "the set is empty"),
            format!("$.tag.keys[6].env: duplicate key `{}`", thumbprint(1)),
            format!("$.tag.keys[6].env: duplicate key `{}`", thumbprint(2)),
            invalid(7, "`keys[1]`: ", "expected `kty` `OKP` and `crv` `Ed25519`"),
            invalid(8, "", "`keys` isn't a list"),
            invalid(9, "`keys[0]`: ", "expected `kty` `OKP` and `crv` `Ed25519`"),
        ];
        let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with("  help: ")).collect();
        assert_eq!(lines, expected);
        assert_eq!(told.lines().count(), 2 * lines.len(), "each has a hint: {told}");
        let secret = good.split(r#""d":""#).nth(1).unwrap().split('"').next().unwrap();
        assert!(!told.contains(secret) && !format!("{:?}", read(&variables[..1])).contains(secret));
    }

    #[test]
    fn what_is_published_is_what_a_register_reads() {
        let keyring = read_all(&[
            jwk(1, Some(NOW), Some(NOW + DAY)),
            jwk(2, None, Some(NOW)),
            jwk(3, Some(NOW + DAY), None),
        ]);
        let set: serde_json::Value = serde_json::from_str(&keyring.directory(at(NOW))).unwrap();
        let published = key(1, Some(NOW), Some(NOW + DAY));
        assert_eq!(
            set["keys"][0],
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "x": published.verifying_key().to_string(),
                "kid": published.verifying_key().thumbprint(), "nbf": NOW, "exp": NOW + DAY,
                "use": "sig",
            })
        );
        assert_eq!(
            set["keys"].as_array().unwrap().len(),
            2,
            "the one that has ended is gone, the one to come is there"
        );
        assert_eq!(Keyring::default().directory(at(NOW)), r#"{"keys":[]}"#);
        // the keys of the directory, as they are, are a node's keys in somebody's register
        let nodes = serde_json::json!({
            "version": 1, "node": {"id": "b.example"},
            "identity": {"sources": [{"bearer": true}]},
            "register": {
                "customers": [{"id": "r", "kind": "reseller"}],
                "nodes": [{"id": "acme.example", "customer": "r", "keys": set["keys"]}],
            },
        });
        assert!(Config::parse(&nodes.to_string()).is_ok());
    }

    #[test]
    fn the_operator_is_told_in_time() {
        let told = |keys: &[String], now: u64| {
            let notices = read_all(keys).notices(at(now));
            notices.iter().map(|notice| notice.message.clone()).collect::<String>()
        };
        let ends = [jwk(1, Some(NOW), Some(NOW + 10 * DAY))];
        assert!(told(&ends, NOW - 1).starts_with("no key counts now"));
        assert_eq!(told(&ends, NOW + 3 * DAY), "");
        assert_eq!(
            told(&ends, NOW + 3 * DAY + 1),
            "no key counts from 2026-11-28T11:06:40Z on: tags go unsigned then"
        );
        assert!(told(&ends, NOW + 10 * DAY).starts_with("no key counts now"));
        // one that takes over in time, one that does so too late, one that stays
        let next = |nbf| [ends[0].clone(), jwk(2, Some(nbf), Some(NOW + 90 * DAY))];
        assert_eq!(told(&next(NOW + 10 * DAY), NOW + 9 * DAY), "");
        assert_ne!(told(&next(NOW + 10 * DAY + 1), NOW + 9 * DAY), "");
        assert_eq!(told(&[ends[0].clone(), jwk(2, None, None)], NOW + 9 * DAY), "");
        assert_eq!(Keyring::default().notices(at(NOW)), []);
    }
}
