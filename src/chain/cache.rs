//! What all workers remember of signatures that may come again: a fixed number of places.

use std::sync::{Arc, OnceLock};

use super::Lines;
use super::envelope::Envelope;
use crate::chain::signature::{self, Signatures};
use crate::lock::Lock;
use crate::terms::names::mixed;

/// Envelopes that were verified before, by the lines that they came in.
#[derive(Debug, Default)]
pub struct EnvelopeCache(Slots<(Arc<Signatures>, Arc<Envelope>)>);

impl EnvelopeCache {
    /// The envelope of the very same lines, sent to the same authority.
    pub(super) fn get(
        &self,
        lines: &Lines<'_>,
        authority: &str,
    ) -> Option<(Arc<Signatures>, Arc<Envelope>)> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&flat(lines)).filter(|(_, envelope)| envelope.authority == authority)
    }

    /// Keeps an envelope whose signature and trail cover nothing of their own request: it may come
    /// again.
    pub(super) fn put(
        &self,
        lines: &Lines<'_>,
        signatures: &Arc<Signatures>,
        envelope: &Arc<Envelope>,
    ) {
        if envelope.is_of_any_request() {
            self.0.put(flat(lines), (Arc::clone(signatures), Arc::clone(envelope)));
        }
    }
}

/// All lines in one piece. A zero byte, which no header value has, separates the fields.
fn flat(lines: &Lines<'_>) -> Vec<u8> {
    let fields = [&lines.signature, &lines.signature_input, &lines.tag, &lines.chain, &lines.trail];
    fields.map(|lines| signature::joined(lines)).join(&0)
}

/// A fixed number of places, made at the first use. Each holds what was put there last.
#[derive(Debug)]
pub(super) struct Slots<V>(OnceLock<Box<[KeyedSlot<V>]>>);

type KeyedSlot<V> = Lock<Option<(Vec<u8>, V)>>;

/// How many signatures of each direction are remembered: some 2 MB where tags and chains are long.
const SLOTS: usize = 1_024;
/// The longest key in bytes: twice what a trail of eight hops takes. A longer one is verified each
/// time, so that nobody fills memory by it.
const KEY_AT_MOST: usize = 16 * 1_024;

impl<V> Default for Slots<V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<V: Clone> Slots<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<V> {
        let slot = self.0.get()?.get(place(key))?.hold();
        slot.as_ref().filter(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    pub(super) fn put(&self, key: Vec<u8>, value: V) {
        if key.len() > KEY_AT_MOST {
            return;
        }
        let slots = self.0.get_or_init(|| (0..SLOTS).map(|_| Lock::default()).collect());
        if let Some(slot) = slots.get(place(&key)) {
            // freed behind the lock
            let _before = slot.hold().replace((key, value));
        }
    }
}

fn place(key: &[u8]) -> usize {
    usize::try_from(mixed(key) >> 40).unwrap_or(0) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_isnt_kept() {
        let slots = Slots::default();
        for (length, kept) in [(KEY_AT_MOST, true), (KEY_AT_MOST + 1, false)] {
            slots.put(vec![7; length], length);
            assert_eq!(slots.get(&vec![7; length]).is_some(), kept);
        }
    }
}
