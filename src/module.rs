//! The host side as an Envoy dynamic module: shared object, no sandbox, all workers in one process.
//!
//! [`abi`] has the declarations of Envoy's header, the calls, and the hooks that Envoy finds by
//! name, each behind a [`barrier`] for panics; [`lent`] what these hand over. [`instance`] is a
//! configuration, [`exchange`] a request's port to Envoy. [`home`] and [`nonces`] are the memory
//! that all workers share. No file here decides anything itself.

pub mod abi;
pub mod barrier;
pub mod exchange;
pub mod home;
pub mod instance;
pub mod lent;
pub mod nonces;
pub mod secrets;

/// The functions that Envoy calls.
mod entry {
    super::abi::exports::export!(super::instance::ModuleInstance);
}
