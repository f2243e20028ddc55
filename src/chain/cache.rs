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

/// A fixed number of places, made at the first use, in sets. A set holds what was put there lately.
#[derive(Debug)]
pub(super) struct Slots<V>(OnceLock<Box<[KeyedSet<V>]>>);

type KeyedSet<V> = Lock<[Option<(Vec<u8>, V)>; WAYS]>;

/// How many sets there are, for signatures of each direction.
const SETS: usize = 1_024;
/// Places of a set. With one place, of 1,000 customers that call in turn 620 would share theirs and
/// be signed each time; with four 18 do. A signature takes less than 1 KB, so all take 4 MB.
const WAYS: usize = 4;
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
        let set = self.0.get()?.get(place(key))?.hold();
        set.iter().flatten().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }

    pub(super) fn put(&self, key: Vec<u8>, value: V) {
        if key.len() > KEY_AT_MOST {
            return;
        }
        let sets = self.0.get_or_init(|| (0..SETS).map(|_| Lock::default()).collect());
        let Some(set) = sets.get(place(&key)) else { return };
        let mut set = set.hold();
        let is_known = |slot: &Option<(Vec<u8>, V)>| slot.as_ref().is_some_and(|it| it.0 == key);
        let replaced = set.iter().position(is_known).unwrap_or(WAYS - 1);
        if let Some(younger) = set.get_mut(..=replaced) {
            younger.rotate_right(1);
        }
        let before = set.first_mut().and_then(|first| first.replace((key, value)));
        drop(set);
        drop(before); // freed behind the lock
    }
}

fn place(key: &[u8]) -> usize {
    usize::try_from(mixed(key) >> 40).unwrap_or(0) % SETS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as the signer makes them: all but the customer is alike.
    #[test]
    fn a_thousand_customers_have_room() {
        let slots = Slots::default();
        let key = |customer: usize| {
            let says = "screening=passed, declared=(\"US\" \"SG\"), origin=\"US\", attest=full";
            let tag = format!("node=\"gateway.example\", customer=\"c-{customer:07}\", {says}");
            [tag.as_bytes(), b"\ngateway.example\n"].concat()
        };
        let customers = || (0..100_000).step_by(100);
        customers().for_each(|customer| slots.put(key(customer), customer));
        let kept = customers().filter(|customer| slots.get(&key(*customer)) == Some(*customer));
        assert!(kept.count() >= 990);
    }

    #[test]
    fn a_key_has_one_place() {
        let slots = Slots::default();
        for value in 0..2 * WAYS {
            slots.put(b"key".to_vec(), value);
            assert_eq!(slots.get(b"key"), Some(value));
        }
        let sets = slots.0.get().unwrap();
        assert_eq!(sets.iter().map(|set| set.hold().iter().flatten().count()).sum::<usize>(), 1);
    }

    #[test]
    fn a_long_key_isnt_kept() {
        let slots = Slots::default();
        for (length, kept) in [(KEY_AT_MOST, true), (KEY_AT_MOST + 1, false)] {
            slots.put(vec![7; length], length);
            assert_eq!(slots.get(&vec![7; length]).is_some(), kept);
        }
    }
}
