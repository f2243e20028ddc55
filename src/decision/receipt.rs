//! What a request's tag and chain turned out to be, and what this node attests in turn.

use crate::chain::replay::ReplayMemory;
use crate::chain::signature::Message;
use crate::chain::{Attest, EnvelopeCache, Inbound, Lines, Proof, Receiver, Rejection};
use crate::config::{Config, CredentialPlace};
use crate::decision::identity::Identity;
use crate::lookups::Lookups;
use crate::register::{CustomerKind, PageGone, ScreeningStatus};
use crate::terms::time::UnixSeconds;

/// What a caller's tag and chain turned out to be.
#[derive(Debug)]
pub enum Receipt {
    /// Chains don't concern this caller
    Unconcerned,
    /// The caller owes one and sent none
    Missing,
    /// It doesn't hold
    Invalid(Rejection),
    /// It holds, but for its doubts
    Valid(Proof),
}

/// What this node vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// How far, for its own hop
    pub attest: Attest,
    /// What the whole chain is worth, where there are earlier hops
    pub chain: Option<Attest>,
}

impl Receipt {
    /// Verifies a caller's chain where chains concern the caller: a customer that is a reseller, or
    /// a caller whom nothing but the signature names.
    ///
    /// # Errors
    /// That the register can't tell, see [`Receiver::receive`].
    pub fn of(
        (config, receiver): (&Config, &Receiver<'_>),
        identity: &Identity,
        (lines, inbound, message): (&Lines<'_>, &Inbound, &Message<'_>),
        cache: &EnvelopeCache,
        memory: &mut dyn ReplayMemory,
    ) -> Result<Self, PageGone> {
        let is_reseller =
            identity.customer().map(|customer| customer.kind == CustomerKind::Reseller);
        let concerned = match (identity, is_reseller) {
            (_, Some(true)) if !inbound.any => return Ok(Self::Missing),
            (_, Some(true)) => true,
            (Identity::Missing | Identity::Unknown, _) => inbound.any && identifies(config),
            _ => false,
        };
        if !concerned {
            return Ok(Self::Unconcerned);
        }
        let proof = receiver.receive(lines, inbound, message, cache, memory)?;
        Ok(proof.map_or_else(Self::Invalid, Self::Valid))
    }

    /// The chain, where it holds.
    pub fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Valid(proof) => Some(proof),
            Self::Unconcerned | Self::Missing | Self::Invalid(..) => None,
        }
    }

    /// Whether this caller may send tag and chain.
    pub fn concerns(&self) -> bool {
        !matches!(self, Self::Unconcerned)
    }
}

/// This node as a receiver of chains.
pub fn receiver<'a>(
    config: &'a Config,
    lookups: &'a Lookups<'a>,
    now: UnixSeconds,
) -> Receiver<'a> {
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(0);
    Receiver {
        node: &config.node.id,
        authorities: &config.node.authorities,
        peers: lookups,
        max_hops: usize::try_from(config.chain.max_hops.0).unwrap_or(usize::MAX),
        skew: seconds(config.chain.skew_seconds.0),
        lifetime: seconds(config.chain.max_lifetime_seconds.0),
        now,
    }
}

/// Whether a signature may name the caller.
fn identifies(config: &Config) -> bool {
    config.sources.iter().any(|source| source.place == CredentialPlace::Chain)
}

impl Attestation {
    /// `full` for a screened customer's own request, `partial` for a reseller's whose chain was
    /// verified, `gateway` for all else.
    pub fn for_request(identity: &Identity, receipt: &Receipt) -> Self {
        let screened = identity
            .customer()
            .filter(|customer| customer.screening_status() == Some(ScreeningStatus::Passed));
        let proof = receipt.proof();
        let attest = match (screened, proof) {
            (Some(customer), Some(proof))
                if proof.is_trusted() && proof.customer() == customer.id.as_str() =>
            {
                Attest::Partial
            }
            (Some(customer), None)
                if customer.kind == CustomerKind::Customer && !receipt.concerns() =>
            {
                Attest::Full
            }
            _ => Attest::Gateway,
        };
        let most = if attest == Attest::Gateway { attest } else { Attest::Full };
        Self { attest, chain: proof.map(|proof| proof.worth().min(most)) }
    }
}
