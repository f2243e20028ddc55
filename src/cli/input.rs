//! The input of verbs that look at one request: a configuration, a request, a snapshot.

use std::path::PathBuf;

use super::error::CommandError;
use super::files::read;
use super::output::complain;
use super::{check, inspect};
use crate::cli::capture::{Capture, RequestBuffer};
use crate::decision::Screen;
use crate::snapshot::Snapshot;

/// The request, and the files that it is judged by.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArguments {
    /// The configuration: bare JSON, or an Envoy file with it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The number, from 1, of the Waybill filter in a file with several
    #[arg(long, value_name = "NUMBER")]
    filter: Option<usize>,
    /// The captured request: JSON, or HTTP as text
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The snapshot for look-ups, signed by a key that the configuration trusts
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The address of the direct peer (the other end of the connection); overrides the file's
    #[arg(long, value_name = "ADDRESS")]
    direct_peer: Option<String>,
    /// The time of the request (RFC 3339); overrides the file's
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    pub(super) json: bool,
}

/// A request and all that it is judged by.
pub(super) struct RequestCase {
    pub(super) screen: Screen,
    pub(super) request: RequestBuffer,
    pub(super) snapshot: Option<Snapshot>,
}

impl RequestArguments {
    pub(super) fn load(&self) -> Result<RequestCase, CommandError> {
        let screen = read(&self.config)
            .and_then(|text| check::configuration(&text, self.filter))
            .and_then(|text| Screen::parse(&text).map_err(CommandError::new))
            .map_err(|error| error.at(&self.config))?;
        let captured = read(&self.request)
            .and_then(|text| Capture::parse(&text).map_err(CommandError::new))
            .map_err(|error| error.at(&self.request))?;
        let captured = captured.with(self.direct_peer.as_deref(), self.time.as_deref());
        let request = captured.map_err(CommandError::new)?.complete();
        let snapshot = match (&self.snapshot, screen.config().snapshot.as_ref()) {
            (Some(path), Some(settings)) => Some(inspect::open(path, |key| {
                settings.trusted_keys.iter().any(|trusted| trusted.key() == key)
            })?),
            (Some(_), None) => {
                return Err(CommandError::about(
                    &self.config,
                    "missing `snapshot`: this configuration has its customers in `register`, so \
                     `--snapshot` isn't used",
                ));
            }
            (None, Some(_)) => {
                complain(
                    "note: this configuration reads customers from a snapshot: without \
                     `--snapshot FILE` every customer is unknown",
                );
                None
            }
            (None, None) => None,
        };
        Ok(RequestCase { screen, request, snapshot })
    }
}
