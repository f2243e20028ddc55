//! Ownership screening: whether a company is owned from a restricted region.
//!
//! ```text
//! entity ──> graph ──> remainder ──> indirect ──> cascade         ──> judge ──> chains
//! files'     indices   no owner to   through      multiplication      results   the largest
//! words                follow to     others       (rings)                       chains of one
//! ```
//!
//! [`Graph::new`] reads entities and holdings into indices, [`Graph::screen`] judges every entity
//! at once, [`OwnershipScreening::chains`] shows the sources of one entity's share.
//! `docs/ownership.md` has the rules for the compliance officer; in short:
//!
//! - An entity in a restricted place is *itself restricted*, whatever its owners are.
//! - **Cascade** (OFAC FAQ 401): an entity owned beyond the threshold by restricted entities counts
//!   as restricted whole. The least such set counts: a ring of companies doesn't restrict itself.
//! - **Multiplication**: shares are multiplied along each chain and added up over chains. In a ring
//!   they form a geometric series. The sum is the chance that a random walk from the company to its
//!   owners, drawn by share, ends at a restricted entity.
//! - **The unknown part** counts as not restricted for the plain values and as restricted for the
//!   worst ones. Where only the worst values are beyond the threshold, the entity is unresolved.
//! - **Indirect interests** may be declared beside the chains on file. Chain and declaration
//!   describe one holding: the part of a declaration that no chain explains counts beside the
//!   direct shares.
//! - **Contradictions** (more than the whole of a company): in the worst case any holder may hold
//!   all.
//!
//! All is iterative. All but rings and declarations is linear in the number of holdings.

pub mod bods;
mod cascade;
mod chains;
mod entity;
mod graph;
mod indirect;
mod judge;
mod multiplication;
mod remainder;
mod rings;
mod share;

pub use self::chains::{OwnershipChain, OwnershipChains};
pub(crate) use self::entity::WHOLE;
pub use self::entity::{
    Declarations, DeclaredInterest, Entity, EntityType, Holding, Interpretation, Share,
};
pub use self::graph::{EntityIndex, Graph, GraphError, HoldingEnd};
pub use self::judge::{CascadeShare, Holder, MultipliedShare, OwnershipResult, OwnershipScreening};
pub use self::share::{Percentage, basis_points};
