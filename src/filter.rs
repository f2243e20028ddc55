//! The host side: what Envoy calls, and the only code that knows proxy-wasm.
//!
//! [`root`] takes a configuration. [`http`] takes a request and is its port to Envoy. [`keeper`]
//! and [`replays`] implement the core's ports for the snapshot and for nonces, in the memory that
//! all workers [share](shared). [`vm`] has the host calls. No file here decides anything itself.

pub mod http;
pub mod instance;
pub mod keeper;
pub mod replays;
pub mod root;
pub mod shared;
pub mod vm;
