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

use sha2::Digest as _;

use crate::terms::time::UnixSeconds;

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

/// The entries as a value of at least the size before.
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
