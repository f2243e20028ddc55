//! The model of the ways: connection managers with their filters, routes and clusters.

use super::files::{EnvoyFile, Resource, Resources, Spot};
use super::kinds::{
    COMPOSITE_MATCHER, HTTP_CONNECTION_MANAGER, TCP_PROXY, is_injector, is_waybill,
};
use super::yaml::Yaml;

/// All that some files say of the ways of requests.
#[derive(Debug)]
pub struct Gateway<'a> {
    /// The files
    pub files: &'a [EnvoyFile],
    /// The resources in them
    pub resources: Resources<'a>,
    /// The connection managers
    pub managers: Vec<Manager<'a>>,
    /// Network filters that aren't connection managers
    pub network_filters: Vec<NetworkFilter<'a>>,
}

/// An HTTP connection manager.
#[derive(Debug)]
pub struct Manager<'a> {
    /// Where it is
    pub spot: Spot,
    /// Its settings
    pub yaml: &'a Yaml,
    /// The listener that it belongs to
    pub listener: Option<&'a Yaml>,
    /// The transport socket in front of it
    pub transport_socket: Option<&'a Yaml>,
    /// Its filters, and those of each upgrade that has filters of its own
    pub chains: Vec<FilterList<'a>>,
}

/// The HTTP filters that a request passes, in order.
#[derive(Debug)]
pub struct FilterList<'a> {
    /// The filters
    pub filters: Vec<Filter<'a>>,
    /// Where the list is
    pub spot: Spot,
}

/// An HTTP filter.
#[derive(Debug)]
pub struct Filter<'a> {
    /// Where it is
    pub spot: Spot,
    /// Its name, by which routes override it
    pub name: &'a str,
    /// Its type and settings; nothing where the files don't have them
    pub config: Option<(&'a str, &'a Yaml)>,
    /// `disabled` is set
    pub is_disabled: bool,
    /// A matcher may skip it
    pub is_matched: bool,
    /// An Envoy that doesn't know its type starts without it
    pub is_optional: bool,
    /// A configuration that counts until the discovered one is there
    pub until_discovered: Option<(&'a str, &'a Yaml)>,
}

/// A network filter that isn't a connection manager.
#[derive(Debug)]
pub struct NetworkFilter<'a> {
    /// Where it is
    pub spot: Spot,
    /// Its type and settings
    pub config: Option<(&'a str, &'a Yaml)>,
}

/// One of the places that a request's route leads to.
#[derive(Debug)]
pub struct Destination<'a> {
    /// Where the route's action is
    pub spot: Spot,
    /// Route table, virtual host, route and weighted cluster, as far as there are
    pub levels: Vec<(Spot, &'a Yaml)>,
    /// The cluster's name, or why nobody can tell it from the file
    pub cluster: Result<&'a str, &'static str>,
    /// Whether requests are copied there beside their own way
    pub is_mirror: bool,
}

impl<'a> Gateway<'a> {
    /// Reads the model out of some files.
    pub fn new(files: &'a [EnvoyFile]) -> Self {
        let resources = Resources::gather(files);
        let mut gateway =
            Self { files, resources, managers: Vec::new(), network_filters: Vec::new() };
        for listener in gateway.resources.listeners.clone() {
            gateway.take_listener(listener);
        }
        for other in gateway.resources.others.clone() {
            gateway.take_other(other);
        }
        gateway
    }

    fn take_listener(&mut self, Resource { file, yaml: listener }: Resource<'a>) {
        let chains = listener.list("filter_chains").iter().enumerate();
        let chains = chains.map(|(i, chain)| (format!("filter_chains[{i}]"), chain));
        let default = listener.get("default_filter_chain");
        let default = default.map(|chain| ("default_filter_chain".to_owned(), chain));
        let chains: Vec<_> = chains.chain(default).collect();
        for (name, chain) in &chains {
            let chain_spot = Spot::new(file, chain, name.as_str());
            for (i, filter) in chain.list("filters").iter().enumerate() {
                let spot = chain_spot.element("filters", i, filter);
                let config = filter.extension();
                match config {
                    Some((kind, yaml)) if kind == HTTP_CONNECTION_MANAGER => {
                        let socket = chain.get("transport_socket");
                        self.take_manager(spot, yaml, Some(listener), socket);
                    }
                    _ => self.network_filters.push(NetworkFilter { spot, config }),
                }
            }
        }
        if let Some((kind, yaml)) =
            listener.at(&["api_listener", "api_listener"]).and_then(Yaml::typed)
            && kind == HTTP_CONNECTION_MANAGER
        {
            self.take_manager(Spot::new(file, yaml, "api_listener"), yaml, Some(listener), None);
        }
    }

    /// Connection managers in a document of another shape, such as a patch of a manifest.
    fn take_other(&mut self, Resource { file, yaml }: Resource<'a>) {
        let mut found = Vec::new();
        yaml.walk(&mut |value| {
            if let Some((HTTP_CONNECTION_MANAGER, manager)) = value.typed() {
                found.push(manager);
            }
        });
        for manager in found {
            self.take_manager(Spot::new(file, manager, ""), manager, None, None);
        }
    }

    fn take_manager(
        &mut self,
        place: Spot,
        yaml: &'a Yaml,
        listener: Option<&'a Yaml>,
        transport_socket: Option<&'a Yaml>,
    ) {
        // the line tells which manager it is: paths begin here
        let spot = Spot { path: String::new(), line: yaml.line, ..place };
        let mut lists = vec![(spot.clone(), "http_filters", yaml)];
        for (i, upgrade) in yaml.list("upgrade_configs").iter().enumerate() {
            if !upgrade.list("filters").is_empty() {
                lists.push((spot.element("upgrade_configs", i, upgrade), "filters", upgrade));
            }
        }
        let chains = lists.into_iter().map(|(spot, name, yaml)| FilterList {
            filters: self.filters(&spot, name, yaml),
            spot: spot.field(yaml, name),
        });
        let chains = chains.collect();
        self.managers.push(Manager { spot, yaml, listener, transport_socket, chains });
    }

    /// The HTTP filters of a field, with those configurations that other files have.
    pub fn filters(&self, spot: &Spot, name: &str, yaml: &'a Yaml) -> Vec<Filter<'a>> {
        let list = yaml.list(name).iter().enumerate();
        list.map(|(i, filter)| self.filter(spot.element(name, i, filter), filter)).collect()
    }

    fn filter(&self, spot: Spot, yaml: &'a Yaml) -> Filter<'a> {
        let name = yaml.str("name").unwrap_or_default();
        let mut config = yaml.extension();
        let mut until_discovered = None;
        if let Some(discovery) = yaml.get("config_discovery") {
            let named = Resources::named(&self.resources.extensions, name, spot.file);
            // of several, none can be told to be the one
            let found = if let [one] = named[..] { Some(one) } else { None };
            config = found.and_then(|it| it.yaml.extension());
            until_discovered = discovery.get("default_config").and_then(Yaml::typed);
        }
        let mut is_matched = false;
        while let Some((COMPOSITE_MATCHER, inner)) = config {
            is_matched = true;
            config = inner.get("extension_config").and_then(Yaml::extension);
        }
        let is_disabled = yaml.may_be_true("disabled");
        let is_optional = yaml.may_be_true("is_optional");
        Filter { spot, name, config, is_disabled, is_matched, is_optional, until_discovered }
    }

    /// The clusters of a name, as a file sees them.
    pub fn clusters(&self, name: &str, file: usize) -> Vec<Resource<'a>> {
        Resources::named(&self.resources.clusters, name, file).into_iter().copied().collect()
    }

    /// The filters upstream of a cluster: its own, or else those of the router.
    pub fn upstream_filters(
        &self,
        cluster: Resource<'a>,
        manager: Option<&Manager<'a>>,
    ) -> Vec<Filter<'a>> {
        let Resource { file, yaml } = cluster;
        let name = yaml.str("name").unwrap_or("?");
        let spot = Spot::new(file, yaml, format!("clusters.{name}"));
        let own = http_options(yaml).map(|options| self.filters(&spot, "http_filters", options));
        let own = own.filter(|filters| !filters.is_empty());
        own.unwrap_or_else(|| {
            let lists = manager.map(|it| it.chains.as_slice()).unwrap_or_default();
            let routers = lists.iter().filter_map(|list| list.filters.last());
            let of = |router: &Filter<'a>| {
                let (_, config) = router.config?;
                Some(self.filters(&router.spot, "upstream_http_filters", config))
            };
            routers.filter_map(of).flatten().collect()
        })
    }

    /// The route tables of a manager.
    ///
    /// # Errors
    /// Why nobody can tell them from the files, and the field that says so.
    pub fn tables(
        &self,
        manager: &Manager<'a>,
    ) -> Result<Vec<(Spot, &'a Yaml)>, (&'static str, String)> {
        for name in ["scoped_routes", "scoped_rds"] {
            if manager.yaml.get(name).is_some() {
                return Err((name, "scoped routes can't be followed".into()));
            }
        }
        if let Some(table) = manager.yaml.get("route_config") {
            return Ok(vec![(manager.spot.member("route_config", table), table)]);
        }
        let name = manager.yaml.at(&["rds", "route_config_name"]).and_then(Yaml::text);
        let name = name.unwrap_or_default();
        let found = Resources::named(&self.resources.tables, name, manager.spot.file);
        if found.is_empty() {
            return Err(("rds", format!("the route table `{name}` isn't among the files")));
        }
        let spot = |table: &Resource<'a>| {
            (Spot::new(table.file, table.yaml, format!("route table `{name}`")), table.yaml)
        };
        Ok(found.into_iter().map(spot).collect())
    }
}

/// The options that a cluster has for HTTP.
pub fn http_options(cluster: &Yaml) -> Option<&Yaml> {
    let all = cluster.get("typed_extension_protocol_options")?;
    let mut typed = all.members().iter().filter_map(|(_, value)| value.typed());
    typed
        .find(|(name, _)| *name == "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
        .map(|(_, options)| options)
}

/// Everything that a route table leads to.
pub fn destinations<'a>(table_spot: &Spot, table: &'a Yaml) -> Vec<Destination<'a>> {
    let mut found = Vec::new();
    let top = (table_spot.clone(), table);
    if table.get("vhds").is_some() {
        found.push(unknown(table_spot.field(table, "vhds"), &[&top], "virtual hosts come by VHDS"));
    }
    for (i, host) in table.list("virtual_hosts").iter().enumerate() {
        let host = (table_spot.element("virtual_hosts", i, host), host);
        if host.1.get("matcher").is_some() {
            let why = "its routes are in a matcher tree";
            found.push(unknown(host.0.field(host.1, "matcher"), &[&top, &host], why));
        }
        for (i, route) in host.1.list("routes").iter().enumerate() {
            let route = (host.0.element("routes", i, route), route);
            of_route(&[&top, &host, &route], &mut found);
        }
    }
    found
}

type Level<'a> = (Spot, &'a Yaml);

fn unknown<'a>(spot: Spot, levels: &[&Level<'a>], why: &'static str) -> Destination<'a> {
    let levels = levels.iter().copied().cloned().collect();
    Destination { spot, levels, cluster: Err(why), is_mirror: false }
}

fn of_route<'a>(levels: &[&Level<'a>], found: &mut Vec<Destination<'a>>) {
    let Some((spot, route)) = levels.last() else { return };
    let known = ["redirect", "direct_response", "non_forwarding_action"];
    let Some(action) = route.get("route") else {
        if !known.iter().any(|name| route.get(name).is_some()) {
            found.push(unknown(
                spot.clone(),
                levels,
                "its action is of a kind that check can't follow",
            ));
        }
        return;
    };
    let spot = spot.member("route", action);
    let all = || levels.iter().copied().cloned().collect::<Vec<_>>();
    let to =
        |spot: Spot, levels, cluster, is_mirror| Destination { spot, levels, cluster, is_mirror };
    let by_header = "the cluster is named by a header";
    let mut targets = 0_usize;
    if let Some(name) = action.str("cluster") {
        targets = targets.saturating_add(1);
        found.push(to(spot.field(action, "cluster"), all(), Ok(name), false));
    }
    for (name, why) in [
        ("cluster_header", by_header),
        ("cluster_specifier_plugin", "a plugin chooses the cluster"),
        ("inline_cluster_specifier_plugin", "a plugin chooses the cluster"),
    ] {
        if action.get(name).is_some() {
            targets = targets.saturating_add(1);
            found.push(to(spot.field(action, name), all(), Err(why), false));
        }
    }
    if let Some(weighted) = action.get("weighted_clusters") {
        let weighted_spot = spot.member("weighted_clusters", weighted);
        for (i, cluster) in weighted.list("clusters").iter().enumerate() {
            targets = targets.saturating_add(1);
            let spot = weighted_spot.element("clusters", i, cluster);
            let mut levels = all();
            levels.push((spot.clone(), cluster));
            let name = cluster.str("name").filter(|_| cluster.get("cluster_header").is_none());
            found.push(to(spot, levels, name.ok_or(by_header), false));
        }
    }
    if targets == 0 {
        found.push(to(spot.clone(), all(), Err("it names no cluster"), false));
    }
    // a route's mirrors replace those of its virtual host and table
    let mirrors = |(spot, yaml): &Level<'a>| {
        let yaml = yaml.get("route").unwrap_or(yaml);
        let list = yaml.list("request_mirror_policies").iter().enumerate();
        list.map(|(i, policy)| (spot.element("request_mirror_policies", i, policy), policy))
            .collect::<Vec<_>>()
    };
    for (spot, policy) in levels.iter().flat_map(|level| mirrors(level)) {
        found.push(to(spot, all(), policy.str("cluster").ok_or(by_header), true));
    }
}

/// The request headers that a level of a route table adds.
pub fn added_headers<'a>(spot: &Spot, level: &'a Yaml) -> Vec<(Spot, &'a str)> {
    let added = level.list("request_headers_to_add").iter().enumerate();
    let key = |(i, added): (usize, &'a Yaml)| {
        let key = added.at(&["header", "key"])?;
        Some((spot.element("request_headers_to_add", i, key), key.text()?))
    };
    added.filter_map(key).collect()
}

/// The field of a manager with what is done to headers before the route is chosen.
pub const EARLY_MUTATIONS: &str = "early_header_mutation_extensions";

impl<'a> Manager<'a> {
    /// The extensions that change headers before the route is chosen, in order.
    pub fn early_mutations(&self) -> impl Iterator<Item = (Spot, &'a Yaml)> {
        let list = self.yaml.list(EARLY_MUTATIONS).iter().enumerate();
        list.map(|(i, extension)| (self.spot.element(EARLY_MUTATIONS, i, extension), extension))
    }

    /// Whether a Waybill filter is in one of its lists.
    pub fn has_node(&self) -> bool {
        self.chains.iter().any(|chain| chain.filters.iter().any(Filter::is_node))
    }
}

impl<'a> Filter<'a> {
    /// Whether it puts a credential in.
    pub fn is_injector(&self) -> bool {
        self.config.is_some_and(|(kind, _)| is_injector(kind))
    }

    /// Whether its type is this one.
    pub fn is(&self, kind: &str) -> bool {
        self.config.is_some_and(|(name, _)| name == kind)
    }

    /// Whether it is a Waybill filter.
    pub fn is_node(&self) -> bool {
        self.config.is_some_and(|(kind, settings)| is_waybill(kind, settings))
    }
}

impl NetworkFilter<'_> {
    /// Whether it forwards a connection without looking into it.
    pub fn is_tcp_proxy(&self) -> bool {
        self.config.is_some_and(|(kind, _)| kind == TCP_PROXY)
    }
}
