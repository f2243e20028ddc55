//! The reasons against a chain: one enum for a chain that doesn't hold, one for doubts about a
//! chain that does. Each reason leads to one finding.

use thiserror::Error;

use super::hops::FormatError;
use crate::chain::signature::SignatureError;
use crate::register::ScreeningStatus;
use crate::terms::finding::FindingCode;
use crate::terms::time::UnixSeconds;

/// Why a chain doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The signature headers hold no signature that can be verified
    #[error("{0}")]
    Unsigned(SignatureError),
    /// No node has the key
    #[error("no node in the register has the key that signed")]
    UnknownKey,
    /// The node's signature has a fault
    #[error("signed by {node}: {error}")]
    Signature {
        /// The node
        node: String,
        /// The fault
        error: SignatureError,
    },
    /// The key's window begins later
    #[error("the key of {0} doesn't count yet")]
    EarlyKey(String),
    /// The key's window has ended
    #[error("the key of {0} no longer counts")]
    EndedKey(String),
    /// It covers no single request, though the node binds each
    #[error("it isn't bound to the request, and {0} signs each")]
    Unbound(String),
    /// It was sent to another node
    #[error("it is addressed to a name that this node doesn't answer to")]
    Misaddressed,
    /// Tag or chain can't be read
    #[error("{0}")]
    Format(#[from] FormatError),
    /// The last hop names another node than the key
    #[error("the last hop is {hop}, signed by {node}")]
    OthersHop {
        /// The last hop
        hop: String,
        /// The node that has the key
        node: String,
    },
    /// The tag is another node's, or about another customer
    #[error("tag and last hop name different nodes or customers")]
    OthersTag,
    /// This node has carried the request already
    #[error("this node stands in it already: a loop")]
    Loop,
    /// The nonce has passed before
    #[error("signed by {0}, and seen before")]
    Replayed(String),
    /// The replay memory didn't answer
    #[error("whether it was seen before can't be told: too many at once")]
    ReplayUnknown,
}

/// What speaks against a chain that verifies, by the register and the clock.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Doubt {
    /// A hop's node isn't in the register
    #[error("{0} isn't in the register")]
    UnknownNode(String),
    /// A node has no screening
    #[error("{0} has no screening on record")]
    NoScreening(String),
    /// A node's screening isn't passed
    #[error("{node}: screening {status}")]
    Screening {
        /// The node
        node: String,
        /// Its screening
        status: ScreeningStatus,
    },
    /// A node's screening has ended
    #[error("{node}: screened until {until}")]
    ScreeningEnded {
        /// The node
        node: String,
        /// When
        until: UnixSeconds,
    },
    /// The customer that runs a node is suspended
    #[error("{node}: its customer {customer} is suspended")]
    Suspended {
        /// The node
        node: String,
        /// Its customer
        customer: String,
    },
    /// The customer that runs a node is owned from a restricted region
    #[error("{node}: its customer {customer} is owned from a restricted region")]
    RestrictedOwner {
        /// The node
        node: String,
        /// Its customer
        customer: String,
    },
    /// A hop says `gateway`
    #[error("{0} doesn't vouch for what came before it")]
    Gateway(String),
    /// The signer says that the chain is worth `gateway`
    #[error("{0} says that the chain is worth no more than `gateway`")]
    Worthless(String),
    /// Earlier hops without proof, each with the reason
    #[error("{0}")]
    Unproven(String),
}

impl ChainError {
    /// The finding that it leads to.
    pub fn code(&self) -> FindingCode {
        match self {
            Self::UnknownKey => FindingCode::ChainUnknownNode,
            Self::Signature { error: SignatureError::Expired, .. } | Self::EndedKey(_) => {
                FindingCode::ChainExpired
            }
            Self::Replayed(_) | Self::ReplayUnknown => FindingCode::ChainReplayed,
            Self::Unsigned(_)
            | Self::Signature { .. }
            | Self::EarlyKey(_)
            | Self::Unbound(_)
            | Self::Misaddressed
            | Self::Format(_)
            | Self::OthersHop { .. }
            | Self::OthersTag
            | Self::Loop => FindingCode::ChainInvalid,
        }
    }
}

impl Doubt {
    /// The finding that it leads to.
    pub fn code(&self) -> FindingCode {
        match self {
            Self::UnknownNode(_) => FindingCode::ChainUnknownNode,
            Self::NoScreening(_)
            | Self::Screening { .. }
            | Self::ScreeningEnded { .. }
            | Self::Suspended { .. }
            | Self::RestrictedOwner { .. } => FindingCode::ChainUnscreenedNode,
            Self::Gateway(_) | Self::Worthless(_) => FindingCode::ChainIncomplete,
            Self::Unproven(_) => FindingCode::ChainUnproven,
        }
    }
}
