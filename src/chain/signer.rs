//! What this node signs with, and what it signed: tag and chain for the next hop.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::cache::Slots;
use crate::chain::keyring::Keyring;
use crate::chain::signature::{LABEL, Message, sign};
use crate::register::Binding;
use crate::terms::time::UnixSeconds;

/// The node's keys, the signatures that it may use again, and one worker's nonces.
#[derive(Debug, Default)]
pub struct Signer {
    keyring: Arc<Keyring>,
    nonces: NonceSource,
    signed: Arc<Slots<Arc<Outbound>>>,
    /// What the signature of this request would be kept under; one buffer for all requests
    place: Vec<u8>,
}

/// Tag and chain with their signature, as they go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// `Compliance-Tag`
    pub tag: Arc<str>,
    /// `Compliance-Chain`
    pub chain: Arc<str>,
    /// The member of `Signature-Input`
    pub signature_input: Arc<str>,
    /// The member of `Signature`
    pub signature: Arc<str>,
    /// The key that signed it
    keyid: String,
    expires: UnixSeconds,
}

/// What is signed. Tag and chain are made only where a new signature is.
pub struct SignedParts<'a> {
    /// The tag but for its time
    pub steady: &'a str,
    /// The signature before this one
    pub before: &'a [u8],
    /// The tag
    pub tag: &'a dyn Fn() -> String,
    /// The chain
    pub chain: &'a dyn Fn() -> Option<String>,
}

impl Signer {
    /// A signer that has signed nothing yet.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring: Arc::new(keyring), ..Self::default() }
    }

    /// Another worker's signer, with the same keys and signatures.
    pub fn fork(&self) -> Self {
        let (keyring, signed) = (Arc::clone(&self.keyring), Arc::clone(&self.signed));
        Self { keyring, signed, ..Self::default() }
    }

    /// Signs by other keys from now on. What the keys before signed isn't used again.
    pub fn replace(&mut self, keyring: Keyring) {
        self.keyring = Arc::new(keyring);
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Signs tag and chain. `None` where no key counts now.
    ///
    /// Bound to the customer, a signature is used again while what is steady stays the same. It is
    /// used for three quarters of its lifetime, so that the last receiver has the
    /// rest.
    pub fn sign(
        &mut self,
        (binding, lifetime): (Binding, i64),
        SignedParts { steady, before, tag, chain }: SignedParts<'_>,
        message: Message<'_>,
        now: UnixSeconds,
    ) -> Option<Arc<Outbound>> {
        let signer = self.keyring.signing(now)?;
        let reused = binding == Binding::Customer;
        if reused {
            self.place.clear();
            for part in [steady.as_bytes(), message.authority.as_bytes(), before] {
                self.place.extend_from_slice(part);
                self.place.push(b'\n');
            }
            let left = lifetime.checked_div(4).unwrap_or(0);
            let fresh = |known: &Arc<Outbound>| {
                known.keyid == signer.keyid
                    && known.expires.0.saturating_sub(left) > now.0
                    && known.expires.0.saturating_sub(lifetime) <= now.0
            };
            if let Some(known) = self.signed.get(&self.place).filter(fresh) {
                return Some(known);
            }
        }
        let (nonce, tag, chain) = (self.nonces.next()?, tag(), chain()?);
        let expires = UnixSeconds(now.0.saturating_add(lifetime));
        let values = [("compliance-tag", tag.as_bytes()), ("compliance-chain", chain.as_bytes())];
        let message = Message { values: &values, fields: &[], ..message };
        let (params, signature) =
            sign(&signer.key, &signer.keyid, (now, expires), &nonce, !reused, &message)?;
        let outbound = Arc::new(Outbound {
            signature_input: [LABEL, "=", &params].concat().into(),
            signature: [LABEL, "=:", &STANDARD.encode(signature), ":"].concat().into(),
            keyid: signer.keyid.clone(),
            expires,
            tag: tag.into(),
            chain: chain.into(),
        });
        if reused {
            self.signed.put(self.place.clone(), Arc::clone(&outbound));
        }
        Some(outbound)
    }
}

impl fmt::Debug for SignedParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedParts").field("steady", &self.steady).finish_non_exhaustive()
    }
}

/// Numbers used once, drawn from the host in one call for many.
#[derive(Debug, Default)]
struct NonceSource(Vec<u8>);

/// 128 bits: no two are ever the same by chance.
const NONCE: usize = 16;
const DRAWN: usize = 4_096;

impl NonceSource {
    fn next(&mut self) -> Option<String> {
        if self.0.len() < NONCE {
            self.0.resize(DRAWN, 0);
            if getrandom::fill(&mut self.0).is_err() {
                self.0.clear();
                return None;
            }
        }
        let rest = self.0.len().saturating_sub(NONCE);
        let nonce = URL_SAFE_NO_PAD.encode(self.0.get(rest..)?);
        self.0.truncate(rest);
        Some(nonce)
    }
}
