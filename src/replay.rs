//! Replays: which nonces have passed, so that a signature passes once.
//!
//! A nonce is remembered with its signer until the signature can't pass any more. It goes into one of
//! [`BUCKETS`] buckets, a small value each, which all workers share: [`enter`] reads a bucket, looks, and
//! writes it back if nobody wrote it meanwhile. So a nonce that two workers see at once passes at one of them.
//!
//! A full bucket gives up what can't pass any more; else an entry of the signer that holds most of it. Who floods
//! forgets its own nonces: with k signers at work, each keeps at least a k-th of every bucket.
//! Enter a nonce only once its signature is verified, or anybody can make a node forget.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sha2::Digest as _;

use crate::names::UnixSeconds;

/// How many buckets there are. With a million nonces each holds 61 on average, and none of them
/// is full but once in many thousand fillings (Poisson).
pub const BUCKETS: u16 = 1 << 14;
/// How many entries a bucket holds: its 1,512 bytes are the most that fit, with the host's own, into 1,536 bytes of its allocator.
pub const MOST: usize = 108;
/// How long an entry is, in bytes: signer, nonce, `until`.
const ENTRY: usize = 4 + 6 + 4;
/// For how many seconds more an entry is kept where there is room. A clock set back by less lets nothing pass twice.
const GRACE: u32 = 60;
/// In how many seconds every signature that passed is past: longer than a configuration lets any live. What lasts
/// longer was entered under a clock that was ahead; it is the first to go, or it would stay and push out all others.
const HORIZON: u32 = 7_200;
/// How often a bucket is read anew when another worker wrote it meanwhile.
const TRIES: u32 = 16;

/// Values by number, shared with others that write them too.
pub trait Buckets {
    /// A bucket's value, empty where there is none yet, and the version that [`Buckets::set`] wants.
    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>);

    /// Writes a bucket that is still as [`Buckets::get`] gave it; says whether it was.
    fn set(&mut self, bucket: u16, value: &[u8], version: Option<u32>) -> bool;
}

/// What is to be remembered of a verified signature.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// Who signed, without zero bytes in it: a share is this name's
    pub signer: &'a str,
    /// The signature's nonce
    pub nonce: &'a [u8],
    /// The last second in which the signature can pass
    pub until: UnixSeconds,
}

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// It is new, and remembered
    New,
    /// It is new, and remembered; another one that could still pass had to go for it
    Forgotten,
    /// It has passed before
    Seen,
    /// It can't be told: others wrote the bucket each time, or it can't be written. To be treated as seen
    Busy,
}

/// A remembered nonce. Both names are cut from SHA-256: a bucket of others' nonces takes a new one for
/// known once in 2^41 times, and only for one of the same signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    signer: [u8; 4],
    nonce: [u8; 6],
    until: u32,
}

/// Remembers a nonce, unless it is known.
pub fn enter(buckets: &mut dyn Buckets, what: Remembered<'_>, now: UnixSeconds) -> Entered {
    let (bucket, new) = Entry::new(what);
    let now = short(now);
    for _ in 0..TRIES {
        let (value, version) = buckets.get(bucket);
        let mut entries = read(&value);
        if entries.iter().any(|known| known.is_same(&new) && known.until >= now) {
            return Entered::Seen;
        }
        entries.retain(|known| known.until.saturating_add(GRACE) >= now && !known.is_same(&new));
        let given_up = if entries.len() < MOST { None } else { least_missed(&entries, &new, now) };
        entries.retain(|known| Some(*known) != given_up);
        entries.push(new);
        if buckets.set(bucket, &written(&entries), version) {
            return if given_up.is_some_and(|entry| entry.can_pass(now)) { Entered::Forgotten } else { Entered::New };
        }
    }
    Entered::Busy
}

/// The entry of a full bucket that goes for a new one: one that can't pass any more; else, of the signer that
/// holds most with the new one, the one that can pass for the shortest time. Of equals the new one's signer gives way.
fn least_missed(entries: &[Entry], new: &Entry, now: u32) -> Option<Entry> {
    let held = |signer| entries.iter().chain([new]).filter(|entry| entry.signer == signer).count();
    let missed = |entry: &&Entry| (!entry.can_pass(now), held(entry.signer), entry.signer == new.signer, Reverse(entry.until));
    entries.iter().max_by_key(missed).copied()
}

/// The entries of a value. A value of other code is read as what it may be, and bounded.
fn read(value: &[u8]) -> Vec<Entry> {
    let (entries, _rest) = value.as_chunks::<ENTRY>();
    entries.iter().take(MOST).map(Entry::read).collect()
}

fn written(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.written()).collect()
}

/// A time in 32 bits, which last until 2106.
fn short(time: UnixSeconds) -> u32 {
    u32::try_from(time.0.max(0)).unwrap_or(u32::MAX)
}

impl Entry {
    fn new(what: Remembered<'_>) -> (u16, Self) {
        let signer = sha2::Sha256::new().chain_update(what.signer);
        let [s0, s1, s2, s3, ..] = <[u8; 32]>::from(signer.clone().finalize());
        let nonce = signer.chain_update([0]).chain_update(what.nonce).finalize();
        let [n0, n1, n2, n3, n4, n5, b0, b1, ..] = <[u8; 32]>::from(nonce);
        let entry = Self { signer: [s0, s1, s2, s3], nonce: [n0, n1, n2, n3, n4, n5], until: short(what.until) };
        (u16::from_le_bytes([b0, b1]) % BUCKETS, entry)
    }

    fn read(bytes: &[u8; ENTRY]) -> Self {
        let [s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, u0, u1, u2, u3] = *bytes;
        Self { signer: [s0, s1, s2, s3], nonce: [n0, n1, n2, n3, n4, n5], until: u32::from_le_bytes([u0, u1, u2, u3]) }
    }

    fn written(self) -> [u8; ENTRY] {
        let [s0, s1, s2, s3] = self.signer;
        let [n0, n1, n2, n3, n4, n5] = self.nonce;
        let [u0, u1, u2, u3] = self.until.to_le_bytes();
        [s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, u0, u1, u2, u3]
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.signer, self.nonce) == (other.signer, other.nonce)
    }

    fn can_pass(&self, now: u32) -> bool {
        (now..=now.saturating_add(HORIZON)).contains(&self.until)
    }
}

/// Buckets of one process alone: what the desk and tests use.
#[derive(Debug, Default)]
pub struct InMemory(BTreeMap<u16, (Vec<u8>, u32)>);

impl Buckets for InMemory {
    fn get(&mut self, bucket: u16) -> (Vec<u8>, Option<u32>) {
        self.0.get(&bucket).map_or_else(Default::default, |(value, version)| (value.clone(), Some(*version)))
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
