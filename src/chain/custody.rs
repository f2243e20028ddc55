//! What signing and verifying need beside the request: keys, numbers used once, and what was seen before.
//!
//! Everything here is bounded: two tables of fixed size in each worker, and the replay cache's buckets.

use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Lines, Opened};
use crate::config::TagSettings;
use crate::keyring::Keyring;
use crate::names::UnixSeconds;
use crate::register::Binding;
#[cfg(feature = "desk")]
use crate::replay::InMemory;
use crate::replay::{Buckets, Entered, Remembered, enter};
use crate::request::Request;
use crate::signature::{self, LABEL, Message, Signatures, sign};

/// The keys, caches and nonces of one worker.
pub struct Custody {
    keyring: Keyring,
    nonces: Nonces,
    replays: Box<dyn Buckets>,
    /// The nonces that the request in hand has entered: it may have to be decided again
    entered: Vec<(String, String)>,
    /// Whether another one's had to go for it
    forgot: bool,
    opened: Slots<Kept>,
    signed: Slots<Rc<Outgoing>>,
}

/// Tag and chain with their signature, as they go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
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

/// What was opened, and of which lines.
#[derive(Debug)]
struct Kept {
    authority: Vec<u8>,
    signatures: Rc<Signatures>,
    opened: Rc<Opened>,
}

impl Custody {
    /// The custody of a worker, whose replays are seen by all that share `replays`.
    pub fn new(keyring: Keyring, replays: Box<dyn Buckets>) -> Self {
        Self {
            keyring,
            nonces: Nonces::default(),
            replays,
            entered: Vec::new(),
            forgot: false,
            opened: Slots::default(),
            signed: Slots::default(),
        }
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A new request: what is entered from now on is its own.
    pub fn next_request(&mut self) {
        self.entered.clear();
        self.forgot = false;
    }

    /// Whether the replay cache was full, and forgot a nonce that could still pass for the one of this request.
    pub fn forgot(&self) -> bool {
        self.forgot
    }

    /// Enters a nonce.
    pub(super) fn enter(
        &mut self,
        signer: &str,
        nonce: &str,
        until: UnixSeconds,
        now: UnixSeconds,
    ) -> Entered {
        if self.entered.iter().any(|(by, known)| by == signer && known == nonce) {
            return Entered::New;
        }
        let entered =
            enter(&mut *self.replays, Remembered { signer, nonce: nonce.as_bytes(), until }, now);
        if matches!(entered, Entered::New | Entered::Forgotten) {
            self.entered.push((signer.to_owned(), nonce.to_owned()));
            self.forgot |= entered == Entered::Forgotten;
        }
        entered
    }

    /// What was opened before of the very same lines.
    pub(super) fn opened(
        &self,
        lines: &Lines<'_>,
        request: &Request<'_>,
    ) -> Option<(Rc<Signatures>, Rc<Opened>)> {
        if self.opened.is_empty() {
            return None;
        }
        let kept = self.opened.get(&flat(lines))?;
        let same = kept.authority == request.first(":authority").unwrap_or_default();
        same.then(|| (Rc::clone(&kept.signatures), Rc::clone(&kept.opened)))
    }

    /// Keeps what may come again: a signature that covers nothing of its request, on a trail that doesn't either.
    pub(super) fn keep(
        &mut self,
        lines: &Lines<'_>,
        request: &Request<'_>,
        signatures: &Rc<Signatures>,
        opened: &Rc<Opened>,
    ) {
        if opened.is_of_any_request() {
            let authority = request.first(":authority").unwrap_or_default().to_vec();
            self.opened.put(
                flat(lines),
                Kept { authority, signatures: Rc::clone(signatures), opened: Rc::clone(opened) },
            );
        }
    }

    /// Signs tag and chain. `None` where no key counts now.
    ///
    /// `chain` makes the chain out of what the tag says and of the signature `before`.
    ///
    /// Bound to the customer, a signature is used again while everything in the tag but `at` stays the same, for
    /// three quarters of its lifetime: whoever receives it last has the rest.
    pub fn sign(
        &mut self,
        settings: &TagSettings,
        tag: &str,
        (before, chain): (&[u8], &dyn Fn() -> Option<String>),
        message: Message<'_>,
        now: UnixSeconds,
    ) -> Option<Rc<Outgoing>> {
        let signer = self.keyring.signing(now)?;
        let lifetime = i64::try_from(settings.lifetime_seconds.0).unwrap_or(0);
        let reused = settings.binding == Binding::Customer;
        let mut place = Vec::new();
        if reused {
            let steady = tag.rsplit_once(", at=").map_or(tag, |(steady, _)| steady);
            place =
                [steady.as_bytes(), b"\n", message.authority.as_bytes(), b"\n", before].concat();
            let left = lifetime.checked_div(4).unwrap_or(0);
            let fresh = |known: &&Rc<Outgoing>| {
                known.keyid == signer.keyid
                    && known.expires.0.saturating_sub(left) > now.0
                    && known.expires.0.saturating_sub(lifetime) <= now.0
            };
            if let Some(known) = self.signed.get(&place).filter(fresh) {
                return Some(Rc::clone(known));
            }
        }
        let (nonce, chain) = (self.nonces.next()?, chain()?);
        let expires = UnixSeconds(now.0.saturating_add(lifetime));
        let values = [("compliance-tag", tag.as_bytes()), ("compliance-chain", chain.as_bytes())];
        let message = Message { values: &values, fields: &[], ..message };
        let (params, signature) =
            sign(&signer.key, &signer.keyid, (now, expires), &nonce, !reused, &message)?;
        let outgoing = Rc::new(Outgoing {
            signature_input: [LABEL, "=", &params].concat(),
            signature: [LABEL, "=:", &STANDARD.encode(signature), ":"].concat(),
            keyid: signer.keyid.clone(),
            expires,
            tag: tag.to_owned(),
            chain,
        });
        if reused {
            self.signed.put(place, Rc::clone(&outgoing));
        }
        Some(outgoing)
    }
}

/// The custody of the desk and of tests: nothing to sign with, and nothing seen before.
#[cfg(feature = "desk")]
impl Default for Custody {
    fn default() -> Self {
        Self::new(Keyring::default(), Box::new(InMemory::default()))
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").field("keyring", &self.keyring).finish_non_exhaustive()
    }
}

/// All lines in one piece; a zero byte, which no header value has, stands between fields.
fn flat(lines: &Lines<'_>) -> Vec<u8> {
    let fields = [&lines.signature, &lines.signature_input, &lines.tag, &lines.chain, &lines.trail];
    fields.map(|lines| signature::joined(lines)).join(&0)
}

/// Numbers used once, drawn from the host in one call for many.
#[derive(Debug, Default)]
struct Nonces(Vec<u8>);

/// 128 bits: no two are ever the same by chance.
const NONCE: usize = 16;
const DRAWN: usize = 4_096;

impl Nonces {
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

/// A fixed number of places; in each what was put there last.
#[derive(Debug)]
struct Slots<V>(Vec<Option<(Vec<u8>, V)>>);

/// How many signatures of each direction a worker remembers: some 2 MB where tag and chain are long.
const SLOTS: usize = 1_024;
/// How many bytes of tag, chain and the like are remembered at most: twice what a trail of eight hops takes. Whoever signs longer
/// ones has them verified each time, and fills no memory by them.
const KEPT_AT_MOST: usize = 16 * 1_024;

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Slots<V> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        self.0.get(place(key))?.as_ref().filter(|(known, _)| known == key).map(|(_, value)| value)
    }

    fn put(&mut self, key: Vec<u8>, value: V) {
        if key.len() > KEPT_AT_MOST {
            return;
        }
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, || None);
        }
        if let Some(slot) = self.0.get_mut(place(&key)) {
            *slot = Some((key, value));
        }
    }
}

/// A place by all bytes of a key, eight at a time (the multiplier is FxHash's). Whoever forces two into one place
/// only makes them take turns.
fn place(key: &[u8]) -> usize {
    let mut hash = 0_u64;
    let (words, rest) = key.as_chunks::<8>();
    for word in words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain(rest.iter().map(|byte| u64::from(*byte)))
    {
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    usize::try_from(hash >> 40).unwrap_or(0) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_isnt_kept() {
        let mut slots = Slots::default();
        for (length, kept) in [(KEPT_AT_MOST, true), (KEPT_AT_MOST + 1, false)] {
            slots.put(vec![7; length], length);
            assert_eq!(slots.get(&vec![7; length]).is_some(), kept);
        }
    }
}
