//! Waybill: screens, tags and vouches for requests to model providers.
//!
//! A reseller of model APIs loads this crate into Envoy as a filter. A request takes one way:
//!
//! ```text
//! host ──> request ──> evidence ──> identity, chain ──> rules ──> verdict ──> outcome ──> event
//! filter   raw facts   parsed       look-ups, proof     findings  one action  edits or    audit
//!          once        once                                                   a reply
//! ```
//!
//! [`decision`] has the whole way on one page. The result of each step depends on nothing but its
//! arguments. Only [`filter`] knows proxy-wasm, only [`module`] knows Envoy's dynamic modules, and
//! only the command line opens files.
//!
//! The rooms, each below those that use it:
//!
//! - [`filter`]: Envoy over proxy-wasm; [`module`]: Envoy's dynamic modules
//! - [`host`]: what both of these do alike; [`cli`]: the desk, one file a verb
//! - [`envoy`]: Envoy's files around a node, and the proof of each way to a credential
//! - [`journal`]: events read back from logs; [`sharing`]: what many of them show over days
//! - [`decision`]: one request; [`compile`]: a register becomes a snapshot
//! - [`chain`]: tags, chains and trails, signed and verified, without any request
//! - [`lookups`]: what a request asks of the register; [`snapshot`]: its compiled form
//! - [`config`], [`register`]: what operators and officers write
//! - [`terms`]: the vocabulary; [`shape`]: JSON with errors, schema and writer from one declaration
//! - [`lock`]: for what threads share; [`ticker`]: a clock for hosts without one

#[cfg(feature = "proxy-wasm")]
pub mod filter;
#[cfg(any(feature = "proxy-wasm", feature = "module"))]
pub mod host;
#[cfg(feature = "module")]
pub mod module;

#[cfg(feature = "desk")]
pub mod cli;
#[cfg(feature = "desk")]
pub mod compile;
#[cfg(feature = "desk")]
pub mod envoy;
#[cfg(feature = "desk")]
pub mod journal;
#[cfg(feature = "desk")]
pub mod sharing;

pub mod decision;

pub mod chain;
pub mod lookups;

pub mod snapshot;

pub mod config;
pub mod register;

pub mod lock;
pub mod shape;
pub mod terms;
pub mod ticker;
