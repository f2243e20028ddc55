//! What this node signs with, and what it signed: tag and chain for the next hop.

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
}

/// Tag and chain with their signature, as they go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// `Compliance-Tag`
    pub tag: String,
    /// `Compliance-Chain`
    pub chain: String,
    /// The member of `Signature-Input`
    pub signature_input: String,
    /// The member of `Signature`
    pub signature: String,
    /// The key that signed it
    keyid: String,
    expires: UnixSeconds,
}

impl Signer {
    /// A signer that has signed nothing yet.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring: Arc::new(keyring), ..Self::default() }
    }

    /// Another worker's signer, with the same keys and signatures.
    pub fn fork(&self) -> Self {
        let (keyring, signed) = (Arc::clone(&self.keyring), Arc::clone(&self.signed));
        Self { keyring, signed, nonces: NonceSource::default() }
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
    /// `chain` makes the chain out of the tag and of the signature `before`.
    ///
    /// Bound to the customer, a signature is used again while everything in the tag but `at` stays
    /// the same. It is used for three quarters of its lifetime, so that the last receiver has the
    /// rest.
    pub fn sign(
        &mut self,
        (binding, lifetime): (Binding, i64),
        tag: &str,
        (before, chain): (&[u8], &dyn Fn() -> Option<String>),
        message: Message<'_>,
        now: UnixSeconds,
    ) -> Option<Arc<Outbound>> {
        let signer = self.keyring.signing(now)?;
        let reused = binding == Binding::Customer;
        let mut place = Vec::new();
        if reused {
            let steady = tag.rsplit_once(", at=").map_or(tag, |(steady, _)| steady);
            place =
                [steady.as_bytes(), b"\n", message.authority.as_bytes(), b"\n", before].concat();
            let left = lifetime.checked_div(4).unwrap_or(0);
            let fresh = |known: &Arc<Outbound>| {
                known.keyid == signer.keyid
                    && known.expires.0.saturating_sub(left) > now.0
                    && known.expires.0.saturating_sub(lifetime) <= now.0
            };
            if let Some(known) = self.signed.get(&place).filter(fresh) {
                return Some(known);
            }
        }
        let (nonce, chain) = (self.nonces.next()?, chain()?);
        let expires = UnixSeconds(now.0.saturating_add(lifetime));
        let values = [("compliance-tag", tag.as_bytes()), ("compliance-chain", chain.as_bytes())];
        let message = Message { values: &values, fields: &[], ..message };
        let (params, signature) =
            sign(&signer.key, &signer.keyid, (now, expires), &nonce, !reused, &message)?;
        let outbound = Arc::new(Outbound {
            signature_input: [LABEL, "=", &params].concat(),
            signature: [LABEL, "=:", &STANDARD.encode(signature), ":"].concat(),
            keyid: signer.keyid.clone(),
            expires,
            tag: tag.to_owned(),
            chain,
        });
        if reused {
            self.signed.put(place, Arc::clone(&outbound));
        }
        Some(outbound)
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
