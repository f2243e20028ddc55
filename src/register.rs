//! The register: a node's customers, other resellers' nodes, and what leads to both.
//!
//! It has digests of credentials only, so that its readers can't use them. A date in the past is
//! never an error here: it is a finding when a request comes.

mod customer;
mod index;
mod node;
mod screening;
mod sharing;

#[cfg(feature = "desk")]
pub(crate) use customer::check_customer;
pub use customer::{
    Agreement, Credential, CredentialEntry, Customer, CustomerKind, Enforcement, EnforcementEntry,
    Override, Ownership, ProviderEnforcement, ProviderEntry, Status,
};
pub use index::{InlineRegister, Match, Name, PageGone, Register};
#[cfg(feature = "desk")]
pub(crate) use node::check_node;
pub use node::{Binding, Curve, KeyType, KeyUse, Node, NodeKey, Nodes, PrivatePart};
pub use screening::{Screening, ScreeningStatus};
pub use sharing::{CustomerSignal, LookedAt, SharingCount, SharingFile, SharingSignal};
