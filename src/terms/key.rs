//! Ed25519 keys as documents hold them: JWKs (RFC 7517, RFC 8037), and bare base64 for
//! `trusted_keys`.
//!
//! A [`SigningKey`] comes from a private JWK and leaves only by [`SigningKey::to_private_jwk`].
//! Neither its `Debug` nor any error shows a part of it. Unknown members of a JWK are ignored, as
//! RFC 7517 section 4 asks for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use sha2::Digest as _;

use crate::shape::{Json, Mismatch, Number, Word};
use crate::terms::time::LAST_SECOND;

/// A private key with its window.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    window: Window,
}

/// A public key. INVARIANT (strong): a point of the curve whose order isn't small.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// An Ed25519 public key: 32 bytes in standard base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey(VerifyingKey);

/// When a key counts, in seconds since 1970: from `nbf` on, before `exp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Not before
    pub nbf: Option<u64>,
    /// Expires
    pub exp: Option<u64>,
}

/// The length of a key, public or private, in bytes (RFC 8032).
pub const KEY_LENGTH: usize = 32;
/// The length of a signature in bytes (RFC 8032).
pub const SIGNATURE_LENGTH: usize = 64;

impl SigningKey {
    /// The key that 32 random bytes make (RFC 8032 section 5.1.5).
    pub fn new(secret: &[u8; KEY_LENGTH], window: Window) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(secret), window }
    }

    /// Reads a private JWK.
    ///
    /// # Errors
    /// A [`Mismatch`] that says why not, and repeats nothing of the text.
    pub fn from_jwk(text: &str) -> Result<Self, Mismatch> {
        let json = read_json(text)?;
        if json.get("keys").is_some() {
            return Err(wrong("expected one key, found a set of keys"));
        }
        Self::from_json(&json)
    }

    /// Reads a private JWK, or a JWK Set (RFC 7517 section 5) of private ones. Unlike a reader of
    /// other people's sets, this one skips no key: its author meant each to sign.
    ///
    /// # Errors
    /// As [`SigningKey::from_jwk`], for the first that is wrong; a set without keys.
    #[cold]
    pub fn all_from_jwk(text: &str) -> Result<Vec<Self>, Mismatch> {
        let json = read_json(text)?;
        match json.get("keys") {
            None => Ok(vec![Self::from_json(&json)?]),
            Some(Json::List(keys)) if keys.is_empty() => Err(wrong("the set is empty")),
            Some(Json::List(keys)) => {
                let read = |(i, key)| {
                    Self::from_json(key).map_err(|Mismatch { message, help }| Mismatch {
                        message: format!("`keys[{i}]`: {message}"),
                        help,
                    })
                };
                keys.iter().enumerate().map(read).collect()
            }
            Some(_) => Err(wrong("`keys` isn't a list")),
        }
    }

    fn from_json(json: &Json) -> Result<Self, Mismatch> {
        let word = |name: &str| json.get(name).and_then(Json::as_str);
        if word("kty") != Some("OKP") || word("crv") != Some("Ed25519") {
            return Err(wrong("expected `kty` `OKP` and `crv` `Ed25519`"));
        }
        let secret = word("d").ok_or_else(|| wrong("missing `d`, the private part"))?;
        let secret: [u8; KEY_LENGTH] =
            decode(secret).ok_or_else(|| wrong("`d` isn't 32 bytes in base64url"))?;
        let second = |name: &str| match json.get(name) {
            None => Ok(None),
            Some(Json::Number(Number::Natural(second @ 0..=LAST_SECOND))) => Ok(Some(*second)),
            Some(_) => Err(wrong(&format!("`{name}` isn't a whole number of seconds since 1970"))),
        };
        let window = Window { nbf: second("nbf")?, exp: second("exp")? };
        if window.is_empty() {
            return Err(wrong("it expires before it begins to count"));
        }
        let key = Self::new(&secret, window);
        if word("x").is_some_and(|public| decode(public) != Some(*key.verifying_key().as_bytes())) {
            return Err(wrong("`x` isn't the public part of `d`"));
        }
        if word("kid").is_some_and(|kid| kid != key.verifying_key().thumbprint()) {
            return Err(wrong("`kid` isn't its thumbprint (RFC 7638)"));
        }
        Ok(key)
    }

    /// The public part.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.key.verifying_key())
    }

    /// When it counts.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.key.sign(message).to_bytes()
    }

    /// The private JWK in one line: the secret itself.
    pub fn to_private_jwk(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode(self.key.as_bytes());
        self.verifying_key().jwk(&format!(r#","d":"{secret}""#), self.window, "")
    }

    /// The public JWK in one line, as a node's entry in a register has it.
    pub fn to_public_jwk(&self) -> String {
        self.verifying_key().jwk("", self.window, "")
    }

    /// The public JWK in one line, as a directory of keys for HTTP signatures has it.
    pub fn to_published_jwk(&self) -> String {
        self.verifying_key().jwk("", self.window, r#","use":"sig""#)
    }
}

/// Shows which key it is, and nothing of the secret.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.verifying_key().thumbprint())
    }
}

impl VerifyingKey {
    /// The key in 32 bytes; `None` where they are no point of the curve, or one of small order,
    /// under which anybody can sign.
    pub fn from_bytes(bytes: &[u8; KEY_LENGTH]) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes).ok().filter(|key| !key.is_weak()).map(Self)
    }

    /// The key in standard base64 with padding, as `snapshot.trusted_keys` has it.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Self::from_bytes(bytes.as_slice().try_into().ok()?)
    }

    /// Its bytes (RFC 8032 section 5.1.2).
    pub fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        self.0.as_bytes()
    }

    /// Standard base64 with padding, as `snapshot.trusted_keys` has it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The SHA-256 thumbprint of its JWK in base64url (RFC 7638, RFC 8037 appendix A.3): what a
    /// `keyid` says.
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{self}"}}"#
        )))
    }

    /// Whether the signature is this key's, of this message. Strict: no signature has a second form
    /// that passes.
    pub fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }

    fn jwk(&self, private: &str, window: Window, usage: &str) -> String {
        let second = |name: &str, second: Option<u64>| {
            second.map_or_else(String::new, |second| format!(r#","{name}":{second}"#))
        };
        let (nbf, exp) = (second("nbf", window.nbf), second("exp", window.exp));
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{self}"{private},"kid":"{}"{nbf}{exp}{usage}}}"#,
            self.thumbprint()
        )
    }
}

/// As in a JWK's `x`.
impl Word for VerifyingKey {
    const WHAT: &'static str = "an Ed25519 public key: 32 bytes in base64url without padding";
    // the last digit carries 4 bits
    const PATTERN: &'static str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let help = "the `x` of a public JWK, as `waybill keygen --public` prints it";
        let wrong = |message| Mismatch::new(message, help);
        let bytes =
            decode(text).ok_or_else(|| wrong("expected 32 bytes in base64url without padding"))?;
        let unusable =
            "invalid Ed25519 public key: these 32 bytes aren't a usable point of the curve";
        Self::from_bytes(&bytes).ok_or_else(|| wrong(unusable))
    }
}

/// Base64url without padding, as in a JWK.
impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

impl Window {
    /// Whether the key counts at that second.
    pub fn contains(&self, second: u64) -> bool {
        self.nbf.is_none_or(|nbf| nbf <= second) && self.exp.is_none_or(|exp| second < exp)
    }

    /// Whether it never counts, because it expires before it begins to.
    pub fn is_empty(&self) -> bool {
        self.nbf.zip(self.exp).is_some_and(|(nbf, exp)| exp <= nbf)
    }
}

fn wrong(why: &str) -> Mismatch {
    Mismatch::new(
        format!("invalid private Ed25519 key: {why}"),
        "a private JWK, as `waybill keygen` prints it",
    )
}

fn read_json(text: &str) -> Result<Json, Mismatch> {
    // serde_json's own text may quote the input
    serde_json::from_str(text).map_err(|error| {
        wrong(&format!("not JSON from line {}, column {} on", error.line(), error.column()))
    })
}

fn decode(text: &str) -> Option<[u8; KEY_LENGTH]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.as_slice().try_into().ok()
}

impl Word for TrustedKey {
    const WHAT: &'static str = "an Ed25519 public key: 32 bytes in base64";
    const PATTERN: &'static str = "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$";

    fn parse(text: &str) -> Result<Self, Mismatch> {
        let help = "32 bytes in standard base64: 43 characters and `=`";
        let key = VerifyingKey::from_base64(text).map(Self);
        key.ok_or_else(|| Mismatch::new("not an Ed25519 public key", help))
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

impl TrustedKey {
    /// The key.
    pub fn key(&self) -> &VerifyingKey {
        &self.0
    }
}
