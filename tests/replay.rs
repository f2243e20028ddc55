//! The replay memory: a nonce passes once, whatever else comes.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::Digest as _;
use waybill::chain::memory::InMemory;
use waybill::chain::replay::{Admission, BUCKETS, Buckets, MOST, SECRET, SignedNonce, admit};
use waybill::terms::time::UnixSeconds;

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

/// An entry's bytes: 4 of the signer's digest, 5 of the nonce's, and the last second in which it
/// passes.
const ENTRY: usize = 4 + 5 + 4;
/// The entries of a small bucket.
const FEW: usize = 8;
/// How many seconds an expired entry stays.
const GRACE: u32 = 60;
/// How often a contended bucket is read.
const TRIES: u32 = 16;

fn entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.chunks_exact(ENTRY).take_while(|entry| **entry != [0; ENTRY])
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

impl<F: FnMut(&mut InMemory, u16)> Buckets for Contended<F> {
    fn secret(&mut self) -> [u8; SECRET] {
        self.buckets.secret()
    }

    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        let read = self.buckets.get(bucket);
        if let Some(left) = self.others.checked_sub(1) {
            self.others = left;
            (self.other)(&mut self.buckets, bucket);
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
    assert_eq!(admit_at(&mut buckets, "b", b"one more", NOW + 60, NOW + 11), Admission::Evicting);
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
    let other = |buckets: &mut InMemory, _| {
        assert_eq!(admit_at(buckets, "b", b"n", NOW + 65, NOW), Admission::New)
    };
    let mut buckets = Contended { buckets: InMemory::default(), others: 1, other };
    assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 65, NOW), Admission::Replay);
}

#[test]
fn a_bucket_that_others_write_each_time_is_busy() {
    for (others, expected) in [(TRIES - 1, Admission::New), (TRIES, Admission::Busy)] {
        let other = |buckets: &mut InMemory, bucket| {
            let (value, version) = buckets.get(bucket);
            assert!(buckets.set(bucket, &value, version));
        };
        let mut buckets = Contended { buckets: InMemory::default(), others, other };
        assert_eq!(admit_at(&mut buckets, "b", b"n", NOW + 65, NOW), expected, "{others} others");
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

/// How many nonces fall into each bucket.
struct Tally(Vec<usize>);

impl Buckets for Tally {
    fn secret(&mut self) -> [u8; SECRET] {
        [0; SECRET]
    }

    fn get(&mut self, _bucket: u16) -> (Vec<u8>, Option<u32>) {
        (Vec::new(), None)
    }

    fn set(&mut self, bucket: u16, _value: &[u8], _version: Option<u32>) -> bool {
        self.0[usize::from(bucket)] += 1;
        true
    }
}

#[test]
fn a_million_nonces_fit() {
    let mut tally = Tally(vec![0; usize::from(BUCKETS)]);
    for number in 0..1_000_000_u32 {
        let signer = if number % 3 == 0 { "b.example" } else { "a.example" };
        admit_at(&mut tally, signer, &number.to_le_bytes(), NOW, NOW);
    }
    assert!(tally.0.iter().all(|count| (1..=MOST).contains(count)), "{:?}", tally.0.iter().max());
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
        let left: Vec<&[u8]> = entries(&value).map(|entry| &entry[..4]).collect();
        for (signer, nonces) in brought.iter().enumerate() {
            let name = signer.to_string();
            let digest = sha2::Sha256::digest([&[7; SECRET], name.as_bytes()].concat());
            let left = left.iter().filter(|left| ***left == digest[..4]).count();
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
