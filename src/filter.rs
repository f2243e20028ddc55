//! The host side: what Envoy calls, and the only code that knows proxy-wasm.
//!
//! [`root`] takes a configuration when Envoy has one; [`http`] takes a request, has it decided by the
//! pure core, and does what the outcome says; [`keeper`] keeps the snapshot that it is decided by;
//! [`replays`] keeps the nonces that passed, both in what all workers [share](shared). None decides anything itself.

pub mod host;
pub mod http;
pub mod keeper;
pub mod node;
pub mod replays;
pub mod root;
pub mod shared;
