//! What verbs that look at one request take: a configuration, a request, a snapshot.

use std::path::PathBuf;

use super::{Failure, complain, inspect, read};
use crate::capture::{Capture, RequestBuffer};
use crate::screen::Screen;
use crate::snapshot::Snapshot;

/// A request, what it is judged by, and how the verb prints.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration: bare JSON, or the Envoy file that holds it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Which of the file's Waybill filters, from 1, where it has several
    #[arg(long, value_name = "NUMBER")]
    filter: Option<usize>,
    /// The request: JSON, or HTTP as text
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The snapshot to look things up in, signed with a key that the configuration trusts
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The address of the machine at the other end of the connection, in place of the file's
    #[arg(long, value_name = "ADDRESS")]
    direct_peer: Option<String>,
    /// When the request came (RFC 3339), in place of the file's
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    pub(super) json: bool,
}

/// The same, read.
pub(super) struct Loaded {
    pub(super) screen: Screen,
    pub(super) request: RequestBuffer,
    pub(super) snapshot: Option<Snapshot>,
}

impl Arguments {
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let at =
            |path: &PathBuf, Failure(message)| Failure(format!("{}: {message}", path.display()));
        let text =
            read(&self.config).and_then(|text| super::check::configuration(&text, self.filter));
        let text = text.map_err(|failure| at(&self.config, failure))?;
        let screen =
            Screen::parse(&text).map_err(|problems| at(&self.config, Failure::new(problems)))?;
        let captured =
            read(&self.request).and_then(|text| Capture::parse(&text).map_err(Failure::new));
        let captured = captured.map_err(|failure| at(&self.request, failure))?;
        let captured = captured
            .with(self.direct_peer.as_deref(), self.time.as_deref())
            .map_err(Failure::new)?;
        let owned = captured.complete();
        let settings = screen.config().snapshot.as_ref();
        let snapshot = match (&self.snapshot, settings) {
            (Some(path), Some(settings)) => Some(inspect::open(path, |key| {
                settings.trusted_keys.iter().any(|trusted| trusted.key() == key)
            })?),
            (Some(_), None) => {
                return Err(at(
                    &self.config,
                    Failure("no `snapshot` is configured: its customers stand in it".into()),
                ));
            }
            (None, Some(_)) => {
                complain(
                    "note: this configuration's customers come from a snapshot: without `--snapshot FILE` nobody is known",
                );
                None
            }
            (None, None) => None,
        };
        Ok(Loaded { screen, request: owned, snapshot })
    }
}
