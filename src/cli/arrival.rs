//! What the node sees of a request that a client sent: Envoy played up to the node.
//!
//! Played are the connection manager, and those filters before the node whose settings say all that
//! they do. What can't be played is named, so that nobody takes half an answer for a whole one.

mod address;
mod filters;
mod manager;
mod mutation;
mod path;
mod settings;

use std::net::IpAddr;

use maxminddb::Reader;

use self::address::EnvoyAddress;
use self::filters::{Databases, RequestInEnvoy, database_paths, play};
pub use self::path::EnvoyAnswer;
use self::settings::Gaps;
use super::files::bytes;
use super::headers::HeaderList;
use crate::decision::evidence::address::address_with_port;
use crate::envoy::EnvoyFile;
use crate::envoy::kinds::{HTTP_CONNECTION_MANAGER, is_waybill};
use crate::envoy::yaml::Yaml;

/// The way from a client to one node, in one Envoy file.
#[derive(Debug)]
pub struct Approach {
    manager: Yaml,
    /// The filters before the node, in order
    before: Vec<Yaml>,
    is_tls: bool,
    databases: Databases,
    /// What the file has that can't be played for any request
    gaps: Gaps,
}

/// What a client sent, as far as Envoy reads it.
#[derive(Debug)]
pub struct SentRequest<'a> {
    /// All lines, with the pseudo-headers
    pub headers: &'a HeaderList,
    /// The address of the other end of the connection
    pub peer: Option<&'a [u8]>,
    /// The address that Envoy took for the client's, where it is known
    pub client: Option<&'a [u8]>,
    /// Whether the claims that Envoy verified are known
    pub has_claims: bool,
}

/// A request at the node.
#[derive(Debug)]
pub struct Arrival {
    /// The headers that the node sees
    pub headers: HeaderList,
    /// The filter state `direct`
    pub direct: Option<Vec<u8>>,
    /// The address that Envoy takes for the client's
    pub client: Option<String>,
}

/// Where a node is in an Envoy file.
#[derive(Clone, Copy, Default)]
struct NodePlace<'y> {
    node: Option<&'y Yaml>,
    manager: Option<&'y Yaml>,
    is_tls: bool,
    listener: Option<&'y Yaml>,
}

impl Approach {
    /// Finds the way to a node: to the one with that number, from 0, in the order of the file.
    /// `None` if the file doesn't have the node's connection manager.
    pub fn find(file: &EnvoyFile, number: usize) -> Option<Self> {
        let mut found = Vec::new();
        for root in &file.documents.roots {
            search(root, NodePlace::default(), &mut found);
        }
        let place = found.get(number)?;
        let (manager, node) = place.manager.zip(place.node)?;
        let is_node = |filter: &Yaml| filter.extension().is_some_and(|(_, it)| it.is_same(node));
        let mut approach = Self::new(manager, place.is_tls, is_node);
        let filter = manager.list("http_filters").iter().find(|filter| is_node(filter));
        let name = filter.and_then(|filter| filter.str("name"));
        let gap = if filter.is_none() {
            Some("the node isn't one of the manager's `http_filters`")
        } else if filter.is_some_and(|filter| filter.may_be_true("disabled")) {
            Some("the node is disabled where no route enables it")
        } else if name.is_some_and(|name| overrides(manager, name)) {
            Some("routes override the node's filter, which isn't played")
        } else {
            None
        };
        approach.gaps.extend(gap.map(str::to_owned));
        for filter in place.listener.map(|it| it.list("listener_filters")).unwrap_or_default() {
            let kind = filter.extension().map_or("", |(kind, _)| kind);
            if !kind.contains("tls_inspector") && !kind.contains("http_inspector") {
                let name = filter.str("name").unwrap_or("?");
                approach.gaps.insert(format!("listener filter `{name}` isn't played"));
            }
        }
        Some(approach)
    }

    /// The way through a connection manager, up to the first filter that is the node.
    pub fn new(manager: &Yaml, is_tls: bool, is_node: impl Fn(&Yaml) -> bool) -> Self {
        let filters = manager.list("http_filters");
        let before: Vec<Yaml> = filters.iter().take_while(|it| !is_node(it)).cloned().collect();
        let mut databases = Databases::new();
        for path in before.iter().flat_map(database_paths) {
            let bytes = bytes(path.as_ref()).map_err(|error| error.0);
            let reader = bytes.and_then(|bytes| {
                Reader::from_source(bytes).map_err(|error| format!("isn't a valid MMDB: {error}"))
            });
            databases.insert(path.to_owned(), reader);
        }
        let mut gaps = Gaps::new();
        for name in before.iter().filter_map(|filter| filter.str("name")) {
            if manager.get("route_config").is_some_and(|routes| overrides(routes, name)) {
                gaps.insert(format!("routes override filter `{name}`, which isn't played"));
            }
        }
        Self { manager: manager.clone(), before, is_tls, databases, gaps }
    }

    /// Plays Envoy up to the node. Adds to `gaps` what can't be played for this request.
    ///
    /// # Errors
    /// That Envoy answers by itself.
    pub fn receive(
        &self,
        sent: &SentRequest<'_>,
        gaps: &mut Vec<String>,
    ) -> Result<Arrival, EnvoyAnswer> {
        let mut headers = sent.headers.clone();
        let mut found = self.gaps.clone();
        let peer: Option<IpAddr> = sent.peer.and_then(address_with_port);
        if peer.is_none() {
            found.insert("no direct peer: give its address with --direct-peer".to_owned());
        }
        if sent.headers.first(":authority").is_none() {
            found.insert("no host: Envoy answers 400 to a request without it".to_owned());
        }
        let client = manager::receive(&self.manager, self.is_tls, peer, &mut headers, &mut found);
        let known = sent.client.and_then(address_with_port).map(EnvoyAddress::new);
        let arrived = client.map(|client| {
            let client = known.or(client);
            let peer = peer.map(EnvoyAddress::new);
            let mut request = RequestInEnvoy {
                headers,
                peer: peer.as_ref(),
                client: client.as_ref(),
                has_claims: sent.has_claims,
                direct: None,
            };
            for filter in &self.before {
                play(filter, &mut request, &self.databases, &mut found);
            }
            let RequestInEnvoy { headers, direct, .. } = request;
            if direct.is_none() && peer.is_some() {
                found.insert("no filter before the node sets `direct`: it has no peer".to_owned());
            }
            Arrival { headers, direct, client: client.map(|client| client.to_string()) }
        });
        gaps.extend(found);
        arrived
    }
}

/// Collects the places of all nodes in a document.
fn search<'y>(yaml: &'y Yaml, place: NodePlace<'y>, found: &mut Vec<NodePlace<'y>>) {
    let mut place = place;
    if yaml.get("filter_chains").is_some() {
        place.listener = Some(yaml);
    }
    if yaml.get("filters").is_some() {
        place.is_tls = yaml.get("transport_socket").is_some();
    }
    match yaml.typed() {
        Some((HTTP_CONNECTION_MANAGER, manager)) => place.manager = Some(manager),
        Some((kind, filter)) if is_waybill(kind, filter) => {
            found.push(NodePlace { node: Some(filter), ..place });
        }
        _ => {}
    }
    yaml.items().iter().for_each(|item| search(item, place, found));
    yaml.members().iter().for_each(|(_, value)| search(value, place, found));
}

/// Whether routes have settings of their own for a filter.
fn overrides(yaml: &Yaml, filter: &str) -> bool {
    let own = yaml.get("typed_per_filter_config").map(Yaml::members).unwrap_or_default();
    own.iter().any(|(key, _)| &*key.name == filter)
        || yaml.items().iter().any(|item| overrides(item, filter))
        || yaml.members().iter().any(|(_, value)| overrides(value, filter))
}
