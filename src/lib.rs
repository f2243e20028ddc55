//! Waybill: screens, tags and vouches for requests to model providers.
//!
//! A reseller of model APIs loads this crate into Envoy as a proxy-wasm filter. The modules stand in the
//! order that a request goes through them:
//!
//! ```text
//! host      ──> request   ──> evidence   ──> findings  ──> verdict    ──> outcome          ──> event
//! (filter)      raw facts     parsed once    stable codes   one action     header edits or      report, audit,
//!                             + lookups                     + reasons      a local reply        metrics
//! ```
//!
//! Each arrow is one function from plain data to plain data, and [`screen`] calls them in turn. Only
//! [`filter`] knows proxy-wasm and only the command line knows files.

pub mod request;
pub mod signals;

pub mod case;
pub mod chain;
pub mod evidence;
pub mod identity;
pub mod lookups;

pub mod finding;
pub mod receipt;
pub mod rules;
pub mod verdict;

pub mod outcome;
pub mod refusal;
pub mod reply;
pub mod tag;

pub mod event;
pub mod screen;

#[cfg(feature = "proxy-wasm")]
pub mod filter;

#[cfg(feature = "desk")]
pub mod capture;
#[cfg(feature = "desk")]
pub mod cli;
#[cfg(feature = "desk")]
pub mod compile;

pub mod config;
pub mod disclosure;
pub mod endpoints;
pub mod key;
pub mod keyring;
pub mod names;
pub mod ordered;
pub mod path;
pub mod region;
pub mod register;
pub mod replay;
pub mod shape;
pub mod signature;
pub mod snapshot;
