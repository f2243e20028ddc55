//! The host side: what Envoy calls, and the only code that knows proxy-wasm.
//!
//! [`root`] takes a configuration. [`http`] takes a request, has the core decide it, and does what
//! the outcome says. [`keeper`] and [`replays`] implement the core's ports for the snapshot and for
//! nonces, in the memory that all workers [share](shared). No file here decides anything itself.

pub mod host;
pub mod http;
pub mod instance;
pub mod keeper;
pub mod replays;
pub mod root;
pub mod shared;
