//! What is known of one request, step by step: each stage reads the steps before it.

use crate::chain::Inbound;
use crate::config::Config;
use crate::decision::evidence::Evidence;
use crate::decision::geography::{AddressProfile, Geography};
use crate::decision::identity::Identity;
use crate::decision::receipt::Receipt;
use crate::terms::time::UnixSeconds;

/// A request as far as it is understood, before any finding. The fields are in the order in which
/// they become known.
#[derive(Debug)]
pub struct Case<'a> {
    /// When the request came
    pub now: UnixSeconds,
    /// The configuration
    pub config: &'a Config,
    /// What the request itself shows
    pub evidence: Evidence<'a>,
    /// The register's knowledge of the client's address
    pub origin: AddressProfile<'a>,
    /// Tag, chain and signatures, not verified
    pub inbound: Inbound,
    /// What tag and chain turned out to be
    pub receipt: Receipt,
    /// The caller
    pub identity: Identity,
    /// The countries of the request
    pub geography: Geography,
}
