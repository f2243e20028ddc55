//! What a check of Envoy's files found, with the promise and the place of each mistake.

use std::env::VarError;

use super::files::Spot;
use crate::terms::time::UnixSeconds;

/// The mistakes and notes of some files.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong, or can't be proved
    pub errors: Vec<Diagnostic>,
    /// What is worth knowing
    pub notices: Vec<Diagnostic>,
}

/// A mistake or a note.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The promise that it is about
    pub promise: Promise,
    /// Where
    pub spot: Spot,
    /// What is wrong
    pub message: String,
    /// What to do
    pub help: String,
}

/// What a check looks at beside the files.
#[expect(missing_debug_implementations, reason = "functions have no text")]
pub struct Surroundings<'a> {
    /// The time
    pub now: UnixSeconds,
    /// The environment, for signing keys
    pub variable: &'a dyn Fn(&str) -> Result<String, VarError>,
    /// Whether a local file is there
    pub local_file: &'a dyn Fn(&str) -> LocalFile,
}

/// Whether a file is on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFile {
    /// It is there
    Present,
    /// It is there, and isn't a module of Waybill
    Foreign,
    /// Its folder is there, or belongs to the working directory, and it isn't
    Missing,
    /// Not even its folder is there: another machine's file
    Elsewhere,
}

macro_rules! promises {
    ($($name:ident = $id:literal, $text:literal)*) => {
        /// A promise that a check proves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Promise {
            $(#[doc = $text] $name,)*
        }

        impl Promise {
            /// All promises.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, for machines.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// The promise in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

promises! {
    Readable = "readable", "Envoy and people read the files alike"
    Whole = "whole", "all that a way needs is among the files"
    Configuration = "configuration", "the configuration of each node is valid"
    Failure = "failure", "a filter that fails lets no request pass, and comes back"
    Module = "module", "the code of the filter is there"
    Node = "node", "each way to a credential passes a node"
    DirectPeer = "direct-peer", "the node knows the connected machine"
    Geography = "geography", "the country of an address has one writer, which no client can be"
    TrustedNetworks = "trusted-networks", "Envoy and the node trust the same proxies"
    Inputs = "inputs", "nothing before the node changes what it judges by"
    Outputs = "outputs", "nothing after the node changes what it wrote"
    Credential = "credential", "the reseller's credential is put in upstream, and overwrites"
    AccountApi = "account-api", "customers can't call the account's own API"
    Routes = "routes", "a client can't choose its own route"
    Signature = "signature", "a signed request arrives as it was signed, once"
    Certificates = "certificates", "certificates that name a caller are verified"
    HeaderBounds = "header-bounds", "headers have a bound"
    Privacy = "privacy", "the provider doesn't learn a customer's address"
    Log = "log", "a client can't forge an event"
}

impl Report {
    /// Adds a mistake.
    pub fn wrong(
        &mut self,
        promise: Promise,
        spot: &Spot,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        push(&mut self.errors, Diagnostic::new(promise, spot, message, help));
    }

    /// Adds a note.
    pub fn note(
        &mut self,
        promise: Promise,
        spot: &Spot,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        push(&mut self.notices, Diagnostic::new(promise, spot, message, help));
    }
}

/// One mistake is told once, though several ways lead over it.
fn push(list: &mut Vec<Diagnostic>, remark: Diagnostic) {
    let same = |known: &Diagnostic| {
        known.message == remark.message
            && known.spot.file == remark.spot.file
            && known.spot.line == remark.spot.line
            && known.spot.path == remark.spot.path
    };
    if !list.iter().any(same) {
        list.push(remark);
    }
}

impl Diagnostic {
    fn new(
        promise: Promise,
        spot: &Spot,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { promise, spot: spot.clone(), message: message.into(), help: help.into() }
    }
}
