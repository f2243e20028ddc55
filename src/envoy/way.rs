//! One way of requests: a connection manager, its node, and all that its routes lead to.

use super::credentials::{UPSTREAM_HELP, any_holder, by_route, holding, sets_credential};
use super::files::Spot;
use super::kinds::{configuration, is_injector};
use super::model::{Destination, Filter, FilterList, Gateway, Manager, destinations};
use super::report::{Promise, Report};
use super::yaml::Yaml;
use crate::config::Config;
use crate::decision::Screen;

/// One connection manager and all that its routes lead to.
#[derive(Debug)]
pub struct Way<'a, 'g> {
    /// The gateway
    pub gateway: &'g Gateway<'a>,
    /// The manager
    pub manager: &'g Manager<'a>,
    /// The route tables, with their places
    pub tables: Vec<(Spot, &'a Yaml)>,
    /// All that its routes lead to
    pub destinations: Vec<Destination<'a>>,
    /// For each destination, what a credential is put in by, if any is
    pub held: Vec<Option<String>>,
}

/// A node in a list of filters, and the list around it.
#[expect(missing_debug_implementations, reason = "a screen has no text")]
pub struct NodeInList<'a, 'g> {
    /// The list
    pub list: &'g FilterList<'a>,
    position: usize,
    screen: Screen,
}

impl<'a, 'g> Way<'a, 'g> {
    /// Follows all routes of a manager.
    pub fn new(gateway: &'g Gateway<'a>, manager: &'g Manager<'a>, report: &mut Report) -> Self {
        let tables = match gateway.tables(manager) {
            Ok(tables) => tables,
            Err((field, message)) => {
                let spot = manager.spot.field(manager.yaml, field);
                let help = "give the file with it too, or put `route_config` here: else nobody can \
                            tell where requests go";
                report.wrong(Promise::Whole, &spot, message, help);
                Vec::new()
            }
        };
        let found: Vec<_> =
            tables.iter().flat_map(|(spot, table)| destinations(spot, table)).collect();
        let mut way = Self { gateway, manager, tables, destinations: found, held: Vec::new() };
        way.held = way.destinations.iter().map(|it| held(&way, it, report)).collect();
        way
    }

    /// The destinations that a credential is put in for.
    pub fn holders(&self) -> Vec<&Destination<'a>> {
        let pairs = self.destinations.iter().zip(&self.held);
        pairs.filter(|(_, held)| held.is_some()).map(|(destination, _)| destination).collect()
    }

    /// The destinations that the promises are about: those with a credential, or else all.
    pub fn relevant(&self) -> Vec<&Destination<'a>> {
        let holders = self.holders();
        if holders.is_empty() { self.destinations.iter().collect() } else { holders }
    }
}

impl<'a, 'g> NodeInList<'a, 'g> {
    /// The first node of a list, where its configuration is valid. Mistakes in it are told already.
    pub fn in_list(list: &'g FilterList<'a>) -> Option<Self> {
        let position = list.filters.iter().position(Filter::is_node)?;
        let (_, wasm) = list.filters.get(position)?.config?;
        let screen = Screen::parse(configuration(wasm)?.text()?).ok()?;
        Some(Self { list, position, screen })
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        self.screen.config()
    }

    /// The node's own filter.
    pub fn filter(&self) -> Option<&'g Filter<'a>> {
        self.list.filters.get(self.position)
    }

    /// The filters before it.
    pub fn before(&self) -> &'g [Filter<'a>] {
        self.list.filters.get(..self.position).unwrap_or_default()
    }

    /// The filters after it.
    pub fn after(&self) -> &'g [Filter<'a>] {
        self.list.filters.get(self.position.saturating_add(1)..).unwrap_or_default()
    }
}

/// What puts a credential in for a destination, in words.
fn held<'a>(
    way: &Way<'a, '_>,
    destination: &Destination<'a>,
    report: &mut Report,
) -> Option<String> {
    let matters = || way.manager.has_node() || any_holder(way.gateway);
    let name = match destination.cluster {
        Ok(name) => name,
        Err(why) => {
            return matters().then(|| {
                let message = format!("{why}, so nobody can tell where these requests go");
                let help = "name a cluster in each route: check proves each way to a credential";
                report.wrong(Promise::Whole, &destination.spot, message, help);
                "an unknown cluster perhaps".to_owned()
            });
        }
    };
    if let Some((spot, header)) = by_route(destination) {
        if way.manager.has_node() {
            let message = format!("the route table puts in the credential `{header}`");
            report.wrong(Promise::Credential, &spot, message, UPSTREAM_HELP);
        }
        return Some(format!("the route table (`{header}`)"));
    }
    for filter in way.manager.chains.iter().flat_map(|list| &list.filters) {
        let Some((kind, config)) = filter.config else { continue };
        if is_injector(kind) {
            return Some("an injector among the filters of the connection manager".to_owned());
        }
        if let Some(header) = sets_credential(kind, config) {
            return Some(format!("the filter `{}` (`{header}`)", filter.name));
        }
    }
    let clusters = way.gateway.clusters(name, destination.spot.file);
    if clusters.is_empty() && matters() {
        let message = format!("the cluster `{name}` isn't among the files");
        let help = "give the file with it too (CDS): nobody can tell whether it has a credential";
        report.wrong(Promise::Whole, &destination.spot, message, help);
        return Some("a cluster in another file perhaps".to_owned());
    }
    clusters.iter().find_map(|cluster| holding(way.gateway, *cluster, Some(way.manager), 0))
}
