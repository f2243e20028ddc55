//! The input of verbs that look at single requests: a node with what it knows, and a request.

use std::path::{Path, PathBuf};

use super::arrival::{Approach, EnvoyAnswer};
use super::clock::now;
use super::error::CommandError;
use super::files::read;
use super::output::complain;
use super::{check, inspect, register};
use crate::chain::Signer;
use crate::chain::keyring::{Keyring, from_environment};
use crate::chain::memory::InMemory;
use crate::cli::capture::{Capture, RequestBuffer};
use crate::compile::{Order, compile};
use crate::decision::{Screen, Worker};
use crate::snapshot::Snapshot;
use crate::terms::key::{SigningKey, Window};
use crate::terms::region::{CountryCode, Place, Standing};

/// The node's configuration, and where its customers are.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArguments {
    /// The configuration: bare JSON, or an Envoy file with it. With an Envoy file, requests are
    /// what clients sent, and Envoy is played up to the node
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The number, from 1, of the Waybill filter in a file with several
    #[arg(long, value_name = "NUMBER")]
    filter: Option<usize>,
    /// The snapshot for look-ups, signed by a key that the configuration trusts
    #[arg(long, value_name = "FILE", conflicts_with = "register")]
    snapshot: Option<PathBuf>,
    /// The register's directory for look-ups, compiled in memory
    #[arg(long, value_name = "DIR")]
    register: Option<PathBuf>,
}

/// The request, and the files that it is judged by.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArguments {
    #[command(flatten)]
    node: NodeArguments,
    /// The captured request: JSON, or HTTP as text
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
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

/// A node on the desk.
pub(super) struct NodeCase {
    pub(super) screen: Screen,
    pub(super) snapshot: Option<Snapshot>,
    /// The way to the node, where the configuration is an Envoy file
    approach: Option<Approach>,
    /// What is missing here, whatever the request
    pub(super) gaps: Vec<String>,
}

/// A request and all that it is judged by.
pub(super) struct RequestCase {
    pub(super) node: NodeCase,
    pub(super) request: Result<RequestBuffer, EnvoyAnswer>,
    /// What is missing here, or can't be played
    pub(super) gaps: Vec<String>,
}

impl NodeArguments {
    pub(super) fn load(&self) -> Result<NodeCase, CommandError> {
        self.load_with(&[])
    }

    /// The node, with more restricted countries in the register's regions.
    pub(super) fn load_with(&self, restricted: &[CountryCode]) -> Result<NodeCase, CommandError> {
        let at = |error: CommandError| error.at(&self.config);
        let text = read(&self.config).map_err(at)?;
        let file = check::envoy_file(&text).map_err(at)?;
        let configuration = match &file {
            Some(file) => check::configuration_in(file, self.filter).map_err(at)?,
            None => text,
        };
        let screen =
            Screen::parse(&configuration).map_err(|problems| at(CommandError::new(problems)))?;
        let mut gaps = Vec::new();
        let approach = file.and_then(|file| {
            let approach = Approach::find(&file, self.filter.unwrap_or(1).saturating_sub(1));
            if approach.is_none() {
                let gap = "this file has no connection manager around the node, so Envoy isn't \
                           played";
                gaps.push(gap.to_owned());
            }
            approach
        });
        let has_snapshot = screen.config().snapshot.is_some();
        if !has_snapshot && (self.snapshot.is_some() || self.register.is_some()) {
            return Err(at(CommandError::new(
                "missing `snapshot`: this configuration has its customers in `register`, so \
                 neither `--snapshot` nor `--register` is used",
            )));
        }
        let snapshot = match (&self.snapshot, &self.register) {
            (Some(path), _) => Some(inspect::open(path, |key| {
                let trusted = screen.config().snapshot.iter().flat_map(|it| &it.trusted_keys);
                trusted.into_iter().any(|trusted| trusted.key() == key)
            })?),
            (None, Some(folder)) => Some(compiled(folder, restricted)?),
            (None, None) => None,
        };
        if has_snapshot && snapshot.is_none() {
            let gap = "no register: without `--snapshot FILE` or `--register DIR` every customer \
                       is unknown";
            gaps.push(gap.to_owned());
        }
        Ok(NodeCase { screen, snapshot, approach, gaps })
    }
}

/// A register as a snapshot of now. Its key signs nothing else.
fn compiled(folder: &Path, restricted: &[CountryCode]) -> Result<Snapshot, CommandError> {
    let created = now();
    let mut read = register::open(folder, created, "nothing is decided")?;
    let regions = &mut read.owners.regions;
    let before = restricted
        .iter()
        .filter(|code| regions.standing(Place::whole(**code)) == Standing::Restricted);
    let before: Vec<String> = before.map(ToString::to_string).collect();
    if !before.is_empty() {
        complain(&format!("note: restricted before too: {}", before.join(", ")));
    }
    regions.restrict(restricted);
    let key = SigningKey::new(&[0; 32], Window::default());
    let sequence = u64::try_from(created.0).unwrap_or(0);
    let compiled = compile(read, &Order { sequence, created, key: &key })
        .map_err(|error| CommandError::about(folder, error))?;
    Snapshot::read(compiled.file, |_| true).map_err(|error| CommandError::about(folder, error))
}

impl NodeCase {
    /// A request as the node sees it, and what is missing here or can't be played.
    pub(super) fn receive(
        &self,
        captured: Capture,
    ) -> (Result<RequestBuffer, EnvoyAnswer>, Vec<String>) {
        let mut gaps = self.gaps.clone();
        let request = match &self.approach {
            Some(approach) => captured.receive(approach, self.screen.config(), &mut gaps),
            None => Ok(captured.complete()),
        };
        (request, gaps)
    }

    /// A worker that has seen no request, with the keys whose variables are set here. Adds to
    /// `gaps` that some aren't.
    pub(super) fn worker(&self, gaps: &mut Vec<String>) -> Result<Worker, CommandError> {
        let draft = Keyring::gather(&self.screen.config().tag, &from_environment);
        if let Some(problem) = draft.wrong.iter().next() {
            return Err(CommandError(problem.to_string()));
        }
        if !draft.unset.is_empty() {
            let gap = "some keys of `tag.keys` aren't here, so the tag is shown unsigned";
            gaps.push(gap.to_owned());
        }
        Ok(Worker::new(Signer::new(draft.keyring), Box::new(InMemory::default())))
    }
}

impl RequestArguments {
    pub(super) fn load(&self) -> Result<RequestCase, CommandError> {
        let node = self.node.load()?;
        let captured = read(&self.request)
            .and_then(|text| Capture::parse(&text).map_err(CommandError::new))
            .map_err(|error| error.at(&self.request))?;
        let captured = captured.with(self.direct_peer.as_deref(), self.time.as_deref());
        let (request, gaps) = node.receive(captured.map_err(CommandError::new)?);
        Ok(RequestCase { node, request, gaps })
    }
}
