//! The files that belong together: which Envoy resources are in them, and where.

use super::yaml::{Yaml, YamlDocuments, parse};
use crate::shape::Problem;

/// A file of Envoy's.
#[derive(Debug)]
pub struct EnvoyFile {
    /// Its name, as the messages have it
    pub name: String,
    /// Its documents
    pub documents: YamlDocuments,
}

/// A place in a file.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The file's index
    pub file: usize,
    /// The line, counted from 1
    pub line: usize,
    /// The short path, such as `http_filters[3]`
    pub path: String,
}

/// A resource of Envoy's: a listener, a cluster, a route table, a filter's configuration, a secret.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// The file's index
    pub file: usize,
    /// The resource
    pub yaml: &'a Yaml,
}

/// All resources in some files.
#[derive(Debug, Default)]
pub struct Resources<'a> {
    /// Bootstraps
    pub bootstraps: Vec<Resource<'a>>,
    /// Listeners
    pub listeners: Vec<Resource<'a>>,
    /// Clusters
    pub clusters: Vec<Resource<'a>>,
    /// Route tables
    pub tables: Vec<Resource<'a>>,
    /// Named filter configurations (ECDS)
    pub extensions: Vec<Resource<'a>>,
    /// Secrets
    pub secrets: Vec<Resource<'a>>,
    /// YamlDocuments of other shapes: a manifest, a filter alone
    pub others: Vec<Resource<'a>>,
}

impl EnvoyFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The line and the mistake.
    pub fn parse(name: &str, text: &str) -> Result<Self, (usize, Problem)> {
        let problem = |line, message: String, help: &str| {
            (line, Problem { path: String::new(), message, help: Some(help.to_owned()) })
        };
        let documents = parse(text).map_err(|error| {
            let message = format!("can't be read as one YAML or JSON document: {}", error.message);
            problem(error.line, message, "mend the file: Envoy reads no file with such a mistake")
        })?;
        let is_manifest = |root: &Yaml| root.get("apiVersion").is_some();
        if let [_, second, ..] = documents.roots.as_slice()
            && !documents.roots.iter().all(is_manifest)
        {
            return Err(problem(
                second.line,
                "a second document: Envoy reads the first document of a file only".into(),
                "put each document into a file of its own",
            ));
        }
        Ok(Self { name: name.to_owned(), documents })
    }

    /// The local files of filter configurations and secrets that this file names.
    pub fn references(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for root in &self.documents.roots {
            root.walk(&mut |value| {
                let sources = ["config_discovery", "sds_config"].iter().filter_map(|name| {
                    let source = value.get(name)?;
                    Some(source.get("config_source").unwrap_or(source))
                });
                paths.extend(sources.filter_map(|source| Some(source_path(source)?.to_owned())));
            });
        }
        paths
    }
}

/// The local file of a config source.
pub fn source_path(source: &Yaml) -> Option<&str> {
    source.at(&["path_config_source", "path"]).or(source.get("path")).and_then(Yaml::text)
}

impl<'a> Resources<'a> {
    /// Finds the resources in some files.
    pub fn gather(files: &'a [EnvoyFile]) -> Self {
        let mut resources = Self::default();
        for (file, EnvoyFile { documents, .. }) in files.iter().enumerate() {
            for root in &documents.roots {
                resources.take(Resource { file, yaml: root });
            }
        }
        resources
    }

    fn take(&mut self, root: Resource<'a>) {
        let Resource { file, yaml } = root;
        let each = |list: &mut Vec<Resource<'a>>, items: &'a [Yaml]| {
            list.extend(items.iter().map(|yaml| Resource { file, yaml }));
        };
        if yaml.get("configs").is_some() {
            yaml.list("configs").iter().for_each(|yaml| self.take_dump(Resource { file, yaml }));
        } else if yaml.get("resources").is_some() {
            for yaml in yaml.list("resources") {
                let inner = yaml.get("resource").filter(|inner| inner.type_name().is_some());
                self.take_typed(Resource { file, yaml: inner.unwrap_or(yaml) });
            }
        } else if ["static_resources", "dynamic_resources", "admin"]
            .iter()
            .any(|name| yaml.get(name).is_some())
        {
            self.bootstraps.push(root);
            if let Some(resources) = yaml.get("static_resources") {
                each(&mut self.listeners, resources.list("listeners"));
                each(&mut self.clusters, resources.list("clusters"));
                each(&mut self.secrets, resources.list("secrets"));
            }
        } else {
            self.take_typed(root);
        }
    }

    fn take_typed(&mut self, resource: Resource<'a>) {
        match resource.yaml.type_name().and_then(|name| name.rsplit('.').next()) {
            Some("Bootstrap") => self.bootstraps.push(resource),
            Some("Listener") => self.listeners.push(resource),
            Some("Cluster") => self.clusters.push(resource),
            Some("RouteConfiguration") => self.tables.push(resource),
            Some("TypedExtensionConfig") => self.extensions.push(resource),
            Some("Secret") => self.secrets.push(resource),
            _ => self.others.push(resource),
        }
    }

    /// One part of `/config_dump`. The bootstrap's own lists come again in the other parts.
    fn take_dump(&mut self, Resource { file, yaml }: Resource<'a>) {
        let wrapped = |list: &'static str, states: &'static [&'static str], name: &'static str| {
            yaml.list(list).iter().flat_map(move |entry| {
                let states = states.iter().filter_map(|state| entry.get(state));
                let alone = states.clone().next().is_none().then_some(entry);
                states.chain(alone).filter_map(|entry| entry.get(name)).collect::<Vec<_>>()
            })
        };
        let (live, none) = (&["active_state", "warming_state"][..], &[][..]);
        let to_resource = |yaml: &'a Yaml| Resource { file, yaml };
        for (lists, states, name, target) in [
            (["static_listeners", "dynamic_listeners"].as_slice(), live, "listener", 0),
            (
                &["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"],
                none,
                "cluster",
                1,
            ),
            (&["static_route_configs", "dynamic_route_configs"], none, "route_config", 2),
            (&["ecds_filters"], none, "ecds_filter", 3),
            (
                &["static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"],
                none,
                "secret",
                4,
            ),
        ] {
            let found = lists.iter().flat_map(|list| wrapped(list, states, name)).map(to_resource);
            let target = match target {
                0 => &mut self.listeners,
                1 => &mut self.clusters,
                2 => &mut self.tables,
                3 => &mut self.extensions,
                _ => &mut self.secrets,
            };
            target.extend(found);
        }
    }

    /// The resources of a name: those of the same file, or else those of all others.
    pub fn named<'b>(
        list: &'b [Resource<'a>],
        name: &'b str,
        file: usize,
    ) -> Vec<&'b Resource<'a>> {
        let all = || list.iter().filter(|it| it.yaml.str("name") == Some(name));
        let own: Vec<_> = all().filter(|it| it.file == file).collect();
        if own.is_empty() { all().collect() } else { own }
    }
}

impl Spot {
    /// A place of a value.
    pub fn new(file: usize, yaml: &Yaml, path: impl Into<String>) -> Self {
        Self { file, line: yaml.line, path: path.into() }
    }

    /// The place of a value in this one.
    pub fn member(&self, name: &str, yaml: &Yaml) -> Self {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { file: self.file, line: yaml.line, path }
    }

    /// The place of a field in a value, or of the value where the field isn't set.
    pub fn field(&self, yaml: &Yaml, name: &str) -> Self {
        self.member(name, yaml.get(name).unwrap_or(yaml))
    }

    /// The place of an element of a field's list.
    pub fn element(&self, name: &str, index: usize, yaml: &Yaml) -> Self {
        self.member(&format!("{name}[{index}]"), yaml)
    }
}
