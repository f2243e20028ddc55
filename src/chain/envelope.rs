//! An envelope: a signature that verified, with the tag, chain and trail that it covers.

use super::hops::{Claims, Hop};
use super::trail::TrailEntry;
use crate::chain::signature::Signed;

/// A verified signature with what it covers. Nothing in it depends on the register's screening or
/// on the time.
#[derive(Debug)]
pub(super) struct Envelope {
    /// The signature, as received
    pub(super) signed: Signed,
    /// Whether the signature covers the one request
    pub(super) bound: bool,
    /// Everyone who carried the request before the signer, in order
    pub(super) earlier: Vec<Earlier>,
    /// The signer's hop
    pub(super) signer: Hop,
    /// What the signer's tag says
    pub(super) claims: Claims,
    /// The chain's bytes
    pub(super) chain: Vec<u8>,
    /// The tag's bytes
    pub(super) tag: Vec<u8>,
    /// The name by which the signer addressed this node
    pub(super) authority: String,
}

/// An earlier hop, and what the trail shows of it.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) hop: Hop,
    pub(super) entry: TrailEntry,
}

impl Envelope {
    /// Whether another request could have brought the very same lines.
    pub(super) fn is_of_any_request(&self) -> bool {
        self.signed.input.is_of_any_request()
            && self.earlier.iter().all(|earlier| earlier.entry.is_of_any_request())
    }

    /// Everyone who carried the request, the signer last.
    pub(super) fn hops(&self) -> impl Iterator<Item = &Hop> {
        self.earlier.iter().map(|earlier| &earlier.hop).chain([&self.signer])
    }

    pub(super) fn first(&self) -> &Hop {
        self.earlier.first().map_or(&self.signer, |earlier| &earlier.hop)
    }
}
