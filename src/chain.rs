//! The chain: what earlier nodes attested, verified, and what this node adds to it.
//!
//! A library that knows nothing of requests. It is given the lines of five headers, the [`Message`]
//! that their signatures cover, and what a node knows ([`Receiver`]).
//!
//! ```text
//! header lines ──> Inbound        ──> Envelope             ──> Proof
//!                  our signature      signature, structure     register, clock and
//!                  taken out          and trail verified       replays checked
//! ```
//!
//! An envelope depends on bytes and keys alone. So it is kept in an [`EnvelopeCache`] where its
//! binding lets the same signature come again. What time and register say is checked each time.
//!
//! [`Message`]: crate::chain::signature::Message

mod cache;
mod envelope;
mod error;
pub mod hops;
pub mod keyring;
pub mod memory;
mod proof;
pub mod replay;
pub mod signature;
mod signer;
pub mod trail;

pub use cache::EnvelopeCache;
pub use error::{ChainError, Doubt};
pub use proof::{Inbound, Peers, Proof, Receiver, Rejection};
pub use signer::{Outbound, SignedParts, Signer};

use crate::shape::words;

words! {
    /// How far a node vouches for a request, in the words of STIR/SHAKEN (ATIS-1000074), from the
    /// weakest on.
    pub enum Attest {
        /// Passed on, not vouched for
        Gateway = "gateway",
        /// The customer is known, and vouches for the nodes before it
        Partial = "partial",
        /// The customer is known and screened, and the request is its own
        Full = "full",
    }
}

/// The lines of tag, chain, trail and signatures, as received.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines<'a> {
    /// `Compliance-Tag`
    pub tag: Vec<&'a [u8]>,
    /// `Compliance-Chain`
    pub chain: Vec<&'a [u8]>,
    /// `Compliance-Trail`
    pub trail: Vec<&'a [u8]>,
    /// `Signature-Input`
    pub signature_input: Vec<&'a [u8]>,
    /// `Signature`
    pub signature: Vec<&'a [u8]>,
}

impl Lines<'_> {
    /// Whether no such header came.
    pub fn is_empty(&self) -> bool {
        self.tag.is_empty()
            && self.chain.is_empty()
            && self.trail.is_empty()
            && self.signature.is_empty()
            && self.signature_input.is_empty()
    }
}
