//! The replay memory: it knows the nonces that have passed, so that a signature passes once.
//!
//! A nonce is remembered with its signer until the signature expires. It goes into one of
//! [`BUCKETS`] small values that all workers share. [`admit`] reads a bucket, looks, and writes the
//! bucket back if no other worker wrote it meanwhile. So a nonce that two workers see at once
//! passes at one of them.
//!
//! A full bucket drops an expired entry; if it has none, an entry of the signer that has most
//! entries in it. So a signer that floods the memory loses its own nonces: with k signers at work,
//! each keeps at least a k-th of every bucket. Admit a nonce only after its signature is verified.
//! Otherwise anybody could make a node forget.
//!
//! Entries hold digests of signers and nonces under a secret of the process. Without the secret a
//! signer could choose a name with the 32 bits of another's name, or nonces that all fall into one
//! bucket. Then it could evict the other's nonces.

use std::cmp::Reverse;
#[cfg(feature = "desk")]
use std::collections::BTreeMap;

use sha2::Digest as _;

use crate::names::UnixSeconds;

/// How many buckets there are. With a million nonces a bucket holds 61 on average. In one of 3,000
/// such fillings a bucket would need more than [`MOST`] entries (Poisson).
pub const BUCKETS: u16 = 1 << 14;
/// How many entries a bucket holds: 1,404 bytes. The host's allocator has a size class of 1,408
/// bytes; the next is 1,792.
pub const MOST: usize = 108;
/// How many entries a small bucket holds. Values have one of two sizes, padded with zeros, and
/// never shrink. Values that grew by an entry at a time left gaps of every size in the host's
/// memory: it then took three times the memory in use.
const FEW: usize = 8;
/// How long an entry is, in bytes: signer, nonce, `until`.
const ENTRY: usize = 4 + 5 + 4;
/// How many seconds an expired entry stays while there is room. A clock set back by less than that
/// lets no nonce pass twice.
const GRACE: u32 = 60;
/// The longest time until an entry expires, in seconds: longer than any configuration lets a
/// signature live. An entry that lasts longer was made while the clock was ahead. It goes first, or
/// such entries would stay and push out all others.
const HORIZON: u32 = 8_000;
/// How often a bucket is read anew when another worker wrote it meanwhile.
const TRIES: u32 = 16;

/// How long the secret is, in bytes.
pub const SECRET: usize = 16;

/// The port of chains to the memory that all workers of a process share. A host implements it, by
/// [`Buckets`] where its shared memory is values under names.
pub trait ReplayMemory {
    /// Remembers a nonce, unless it is known.
    fn admit(&mut self, nonce: SignedNonce<'_>, now: UnixSeconds) -> Admission;
}

/// Values by number, which other workers write too.
pub trait Buckets {
    /// The secret of the process, which all workers know.
    fn secret(&mut self) -> [u8; SECRET];

    /// A bucket's value and the version that [`Buckets::set`] wants. An absent bucket is empty.
    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>);

    /// Writes a bucket unless another worker wrote it since [`Buckets::get`]. Returns whether it
    /// did.
    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool;
}

/// The nonce of a verified signature.
#[derive(Debug, Clone, Copy)]
pub struct SignedNonce<'a> {
    /// Who signed, without zero bytes in it: a share is this name's
    pub signer: &'a str,
    /// The signature's nonce
    pub nonce: &'a [u8],
    /// The last second in which the signature can pass
    pub until: UnixSeconds,
}

/// The answer of a replay memory to a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is new, and remembered
    New,
    /// It is new, and remembered. The memory was full, and a nonce that could still pass went for
    /// it
    Evicting,
    /// It has passed before
    Replay,
    /// Unknown: others wrote the bucket each time, or it can't be written. Counts as a replay
    Busy,
}

/// A nonce as a bucket holds it: 4 bytes for the signer, 5 for the nonce, 4 for `until`. The first
/// two are cut from SHA-256 over the secret and the name. Two nonces of a signer collide at most
/// once in 2^33 times. Among a thousand signers two collide with a chance of one in ten thousand.
/// Nobody can bring either about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BucketEntry([u8; ENTRY]);

/// Remembers a nonce, unless it is known.
pub fn admit(buckets: &mut dyn Buckets, what: SignedNonce<'_>, now: UnixSeconds) -> Admission {
    let (bucket, new) = BucketEntry::new(what, &buckets.secret());
    let now = short(now);
    for _ in 0..TRIES {
        let (value, version) = buckets.get(bucket);
        if entries(&value).any(|known| known.is_same(&new) && known.until() >= now) {
            return Admission::Replay;
        }
        let stays = |known: &BucketEntry| {
            known.until().saturating_add(GRACE) >= now && !known.is_same(&new)
        };
        let mut kept = Vec::with_capacity(MOST);
        entries(&value).filter(stays).for_each(|known| kept.push(known));
        let given_up = if kept.len() < MOST { None } else { least_missed(&kept, &new, now) };
        kept.retain(|known| Some(*known) != given_up);
        kept.push(new);
        if buckets.set(bucket, &written(&kept, value.len()), version) {
            return if given_up.is_some_and(|entry| entry.can_pass(now)) {
                Admission::Evicting
            } else {
                Admission::New
            };
        }
    }
    Admission::Busy
}

/// The entry of a full bucket that goes for a new one: an expired one. If there is none: of the
/// signer that has most entries, the new one included, the entry that expires first. Of equals the
/// new entry's signer gives way.
fn least_missed(full: &[BucketEntry], new: &BucketEntry, now: u32) -> Option<BucketEntry> {
    let held = |signer| full.iter().chain([new]).filter(|entry| entry.signer() == signer).count();
    let missed = |entry: &&BucketEntry| {
        (
            !entry.can_pass(now),
            held(entry.signer()),
            entry.signer() == new.signer(),
            Reverse(entry.until()),
        )
    };
    full.iter().max_by_key(missed).copied()
}

/// The entries of a value, up to its padding. Other code may have written the value: any bytes are
/// read, at most [`MOST`] entries of them.
fn entries(value: &[u8]) -> impl Iterator<Item = BucketEntry> {
    let (entries, _rest) = value.as_chunks();
    entries
        .iter()
        .take(MOST)
        .map(|bytes| BucketEntry(*bytes))
        .take_while(|entry| *entry != BucketEntry([0; ENTRY]))
}

/// The entries as a value that is no smaller than the one before.
fn written(entries: &[BucketEntry], before: usize) -> Vec<u8> {
    let size = if entries.len() <= FEW && before <= const { FEW * ENTRY } {
        const { FEW * ENTRY }
    } else {
        const { MOST * ENTRY }
    };
    let mut value = Vec::with_capacity(size);
    entries.iter().for_each(|entry| value.extend_from_slice(&entry.0));
    value.resize(size, 0);
    value
}

/// A time in 32 bits, which last until 2106.
fn short(time: UnixSeconds) -> u32 {
    u32::try_from(time.0.max(0)).unwrap_or(u32::MAX)
}

impl BucketEntry {
    fn new(what: SignedNonce<'_>, secret: &[u8; SECRET]) -> (u16, Self) {
        let [s0, s1, s2, s3, ..] =
            <[u8; 32]>::from(sha2::Sha256::digest([secret, what.signer.as_bytes()].concat()));
        let nonce =
            sha2::Sha256::digest([secret, what.signer.as_bytes(), &[0], what.nonce].concat());
        let [n0, n1, n2, n3, n4, b0, b1, ..] = <[u8; 32]>::from(nonce);
        let [u0, u1, u2, u3] = short(what.until).to_le_bytes();
        let entry = Self([s0, s1, s2, s3, n0, n1, n2, n3, n4, u0, u1, u2, u3]);
        (u16::from_le_bytes([b0, b1]) % BUCKETS, entry)
    }

    fn signer(&self) -> u32 {
        let [s0, s1, s2, s3, ..] = self.0;
        u32::from_le_bytes([s0, s1, s2, s3])
    }

    fn until(&self) -> u32 {
        let [.., u0, u1, u2, u3] = self.0;
        u32::from_le_bytes([u0, u1, u2, u3])
    }

    fn is_same(&self, other: &Self) -> bool {
        self.0.first_chunk::<9>() == other.0.first_chunk()
    }

    fn can_pass(&self, now: u32) -> bool {
        (now..=now.saturating_add(HORIZON)).contains(&self.until())
    }
}

/// Buckets of one process alone: what the desk and tests use.
#[cfg(feature = "desk")]
#[derive(Debug, Default)]
pub struct InMemory(BTreeMap<u16, (Vec<u8>, u32)>);

#[cfg(feature = "desk")]
impl ReplayMemory for InMemory {
    fn admit(&mut self, nonce: SignedNonce<'_>, now: UnixSeconds) -> Admission {
        admit(self, nonce, now)
    }
}

#[cfg(feature = "desk")]
impl Buckets for InMemory {
    fn secret(&mut self) -> [u8; SECRET] {
        [0; SECRET] // nobody else is here
    }

    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        self.0
            .get(&bucket)
            .map_or_else(Default::default, |(value, version)| (value.clone(), Some(*version)))
    }

    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
        let current = self.0.get(&bucket).map(|(_, version)| *version);
        let is_current = current == version;
        if is_current {
            self.0.insert(bucket, (value.to_vec(), current.unwrap_or(0).wrapping_add(1)));
        }
        is_current
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn remembered<'a>(signer: &'a str, nonce: &'a [u8], until: i64) -> SignedNonce<'a> {
        SignedNonce { signer, nonce, until: UnixSeconds(until) }
    }

    fn admit_at(
        buckets: &mut dyn Buckets,
        signer: &str,
        nonce: &[u8],
        until: i64,
        now: i64,
    ) -> Admission {
        admit(buckets, remembered(signer, nonce, until), UnixSeconds(now))
    }

    fn nonces() -> impl Iterator<Item = Vec<u8>> {
        (0_u32..).map(|number| number.to_le_bytes().to_vec())
    }

    /// Entries and bytes.
    fn sizes(buckets: &mut OneBucket) -> (usize, usize) {
        let value = buckets.get(0).0;
        (entries(&value).count(), value.len())
    }

    /// All in one, so that a test fills it.
    #[derive(Default)]
    struct OneBucket(InMemory);

    impl Buckets for OneBucket {
        fn secret(&mut self) -> [u8; SECRET] {
            [7; SECRET]
        }

        fn get(&mut self, _bucket: u16) -> (Vec<u8>, Option<u32>) {
            self.0.get(0)
        }

        fn set(&mut self, _bucket: u16, value: &[u8], version: Option<u32>) -> bool {
            self.0.set(0, value, version)
        }
    }

    /// Another worker writes between each read and each write, so many times.
    struct Contended<F> {
        buckets: InMemory,
        others: u32,
        other: F,
    }

    impl<F: FnMut(&mut InMemory)> Buckets for Contended<F> {
        fn secret(&mut self) -> [u8; SECRET] {
            self.buckets.secret()
        }

        fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
            let read = self.buckets.get(bucket);
            if let Some(left) = self.others.checked_sub(1) {
                self.others = left;
                (self.other)(&mut self.buckets);
            }
            read
        }

        fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool {
            self.buckets.set(bucket, value, version)
        }
    }

    #[test]
    fn a_nonce_is_its_signers_own() {
        let mut buckets = InMemory::default();
        let cases: [(&str, &[u8], Admission); 7] = [
            ("b.example", b"n1", Admission::New),
            ("b.example", b"n1", Admission::Replay),
            ("b.example", b"n2", Admission::New),
            ("a.example", b"n1", Admission::New),
            ("b.example", b"", Admission::New),
            ("b.examplen1", b"", Admission::New),
            ("b.example", b"n1", Admission::Replay),
        ];
        for (signer, nonce, expected) in cases {
            assert_eq!(
                admit_at(&mut buckets, signer, nonce, NOW + 65, NOW),
                expected,
                "{signer} {nonce:?}"
            );
        }
    }

    #[test]
    fn a_nonce_is_known_until_its_signature_is_past() {
        let mut buckets = InMemory::default();
        assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 65, NOW), Admission::New);
        assert_eq!(
            admit_at(&mut buckets, "b", b"n", NOW + 165, NOW + 65),
            Admission::Replay,
            "the last second"
        );
        assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 165, NOW + 66), Admission::New);
        assert_eq!(
            admit_at(&mut buckets, "b", b"n", NOW + 165, NOW + 100),
            Admission::Replay,
            "by the second signature"
        );
    }

    #[test]
    fn expired_entries_leave() {
        let mut buckets = OneBucket::default();
        admit_at(&mut buckets, "b", b"first", NOW, NOW - 2 * i64::from(GRACE));
        assert_eq!(sizes(&mut buckets), (1, FEW * ENTRY));
        for nonce in nonces().take(50) {
            admit_at(&mut buckets, "b", &nonce, NOW + 65, NOW);
        }
        assert_eq!(sizes(&mut buckets), (51, MOST * ENTRY));
        admit_at(&mut buckets, "b", b"later", NOW + 300, NOW + 65 + i64::from(GRACE));
        assert_eq!(sizes(&mut buckets), (51, MOST * ENTRY), "still kept");
        admit_at(&mut buckets, "b", b"last", NOW + 300, NOW + 66 + i64::from(GRACE));
        assert_eq!(sizes(&mut buckets), (2, MOST * ENTRY), "a bucket that was large stays so");
    }

    #[test]
    fn what_is_past_goes_before_what_can_pass() {
        let mut buckets = OneBucket::default();
        for nonce in nonces().take(MOST) {
            assert_eq!(admit_at(&mut buckets, "b", &nonce, NOW + 10, NOW), Admission::New);
        }
        for nonce in nonces().skip(MOST).take(MOST) {
            assert_eq!(admit_at(&mut buckets, "b", &nonce, NOW + 60, NOW + 11), Admission::New);
        }
        assert_eq!(
            admit_at(&mut buckets, "b", b"one more", NOW + 60, NOW + 11),
            Admission::Evicting
        );
        assert_eq!(sizes(&mut buckets), (MOST, MOST * ENTRY));
    }

    #[test]
    fn a_clock_set_back_by_less_than_the_grace_lets_nothing_pass_twice() {
        let mut buckets = OneBucket::default();
        admit_at(&mut buckets, "b", b"n", NOW + 5, NOW);
        // others are written while the clock is ahead
        admit_at(&mut buckets, "c", b"other", NOW + 60, NOW + 5 + i64::from(GRACE));
        assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 5, NOW), Admission::Replay);
    }

    #[test]
    fn what_a_wrong_clock_left_does_not_push_out_the_rest() {
        let mut buckets = OneBucket::default();
        let years = 10 * 365 * 86_400;
        for nonce in nonces().take(MOST) {
            assert_eq!(
                admit_at(&mut buckets, "b", &nonce, NOW + years, NOW + years - 60),
                Admission::New
            );
        }
        for nonce in nonces().skip(MOST).take(MOST) {
            assert_eq!(admit_at(&mut buckets, "b", &nonce, NOW + 60, NOW), Admission::New);
        }
        for nonce in nonces().skip(MOST).take(MOST) {
            assert_eq!(admit_at(&mut buckets, "b", &nonce, NOW + 60, NOW), Admission::Replay);
        }
    }

    #[test]
    fn two_workers_at_once_let_a_nonce_pass_once() {
        let other = |buckets: &mut InMemory| {
            assert_eq!(admit_at(buckets, "b", b"n", NOW + 65, NOW), Admission::New)
        };
        let mut buckets = Contended { buckets: InMemory::default(), others: 1, other };
        assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 65, NOW), Admission::Replay);
    }

    #[test]
    fn a_bucket_that_others_write_each_time_is_busy() {
        for (others, expected) in [(TRIES - 1, Admission::New), (TRIES, Admission::Busy)] {
            let (bucket, _) = BucketEntry::new(remembered("b", b"n", NOW), &[0; SECRET]);
            let other = move |buckets: &mut InMemory| {
                let (value, version) = buckets.get(bucket);
                assert!(buckets.set(bucket, &value, version));
            };
            let mut buckets = Contended { buckets: InMemory::default(), others, other };
            assert_eq!(
                admit_at(&mut buckets, "b", b"n", NOW + 65, NOW),
                expected,
                "{others} others"
            );
        }
    }

    /// Two names whose plain digests share 32 bits (out of some 80,000 names a pair turns up) keep
    /// a share each.
    #[test]
    fn no_name_can_be_chosen_that_evicts_anothers() {
        let mut seen = BTreeMap::new();
        let (victim, twin) = (0_u32..)
            .map(|number| format!("n{number}.example"))
            .find_map(|name| {
                let bits: [u8; 4] = *sha2::Sha256::digest(&name).first_chunk().unwrap();
                seen.insert(bits, name.clone()).map(|earlier| (earlier, name))
            })
            .unwrap();
        let mut buckets = OneBucket::default();
        assert_eq!(admit_at(&mut buckets, &victim, b"n", NOW + 10, NOW), Admission::New);
        for nonce in nonces().take(3 * MOST) {
            admit_at(&mut buckets, &twin, &nonce, NOW + 300, NOW);
        }
        assert_eq!(admit_at(&mut buckets, &victim, b"n", NOW + 10, NOW), Admission::Replay);
    }

    #[test]
    fn a_million_nonces_fit() {
        let mut held = vec![0; usize::from(BUCKETS)];
        for number in 0..1_000_000_u32 {
            let signer = if number % 3 == 0 { "b.example" } else { "a.example" };
            let (bucket, _) =
                BucketEntry::new(remembered(signer, &number.to_le_bytes(), NOW), &[0; SECRET]);
            held[usize::from(bucket)] += 1;
        }
        assert!(held.iter().all(|held| (1..=MOST).contains(held)), "{:?}", held.iter().max());
    }

    fn time() -> impl Strategy<Value = i64> {
        prop_oneof![NOW..NOW + 400, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
    }

    proptest! {
        // a full bucket costs a millisecond a nonce in a build for tests
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Below the bound a nonce is seen exactly while the one that passed could pass again,
        /// whatever else comes.
        #[test]
        fn seen_while_it_could_pass(
            steps in prop::collection::vec((0..4_u8, 0..8_u8, 1..90_i64, 0..20_i64), 1..300),
        ) {
            let mut buckets = InMemory::default();
            let mut passed = BTreeMap::new();
            let mut now = NOW;
            for (signer, nonce, lifetime, wait) in steps {
                now += wait;
                let until = now + lifetime;
                let admission = admit_at(&mut buckets, &signer.to_string(), &[nonce], until, now);
                let last = passed.entry((signer, nonce)).or_insert(i64::MIN);
                let is_known = *last >= now;
                let expected = if is_known { Admission::Replay } else { Admission::New };
                prop_assert_eq!(admission, expected);
                if admission == Admission::New {
                    *last = until;
                }
            }
        }

        /// However many nonces each signer brings, in whatever order and with whatever lifetimes,
        /// none is left with less than its share, or than it brought.
        #[test]
        fn nobody_loses_below_the_share(
            order in prop::collection::vec((0..5_usize, 1..300_i64), 1..300),
            floods in 0..5_usize,
        ) {
            let mut buckets = OneBucket::default();
            let mut brought = vec![Vec::new(); 5];
            let flood = (0..200).map(|number| (floods, 1 + number % 300));
            for (number, (signer, lifetime)) in order.into_iter().chain(flood).enumerate() {
                let nonce = number.to_le_bytes();
                let (signer_name, until) = (signer.to_string(), NOW + lifetime);
                let admission = admit_at(&mut buckets, &signer_name, &nonce, until, NOW);
                prop_assert!(matches!(admission, Admission::New | Admission::Evicting));
                brought[signer].push((until, nonce));
            }
            let value = buckets.get(0).0;
            prop_assert!(value.len() <= MOST * ENTRY);
            let signers = brought.iter().filter(|nonces| !nonces.is_empty()).count();
            let left: Vec<u32> = entries(&value).map(|entry| entry.signer()).collect();
            for (signer, nonces) in brought.iter().enumerate() {
                let name = signer.to_string();
                let (_, of_signer) = BucketEntry::new(remembered(&name, b"", NOW), &[7; SECRET]);
                let left = left.iter().filter(|left| **left == of_signer.signer()).count();
                let share = nonces.len().min(MOST / signers);
                prop_assert!(left >= share, "signer {signer}: {left} of {}", nonces.len());
            }
        }

        /// A bucket may hold anything: another version's value, half of one, or noise.
        #[test]
        fn any_value_is_survived(
            value in prop::collection::vec(any::<u8>(), 0..3_000),
            now in time(),
            until in time(),
        ) {
            let mut buckets = OneBucket::default();
            prop_assert!(buckets.set(0, &value, None));
            let admission = admit_at(&mut buckets, "b", b"n", until, now);
            prop_assert_ne!(admission, Admission::Busy);
            prop_assert!(buckets.get(0).0.len() <= value.len().max(MOST * ENTRY));
            if until >= now {
                prop_assert_eq!(admit_at(&mut buckets, "b", b"n", until, now), Admission::Replay);
            }
        }
    }
}
