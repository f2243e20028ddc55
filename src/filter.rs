//! The host side: what Envoy calls, and the only code that knows proxy-wasm.
//!
//! [`root`] takes a configuration when Envoy has one; [`http`] takes a request, has it decided by the
//! pure core, and does what the outcome says. Neither decides anything itself.

pub mod host;
pub mod http;
pub mod node;
pub mod root;
