//! What puts a credential of the reseller's into requests.

use super::files::{Resource, Spot};
use super::kinds::{HEADER_MUTATION, Writes, is_injector, request_mutations, request_writes};
use super::model::{Destination, Gateway, Manager, added_headers};
use super::yaml::Yaml;

/// Headers that carry a provider's credential (data/credential-headers.json has the sources).
const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization"];

/// What to do about a credential that is put in elsewhere.
pub const UPSTREAM_HELP: &str = "make it an upstream filter of each cluster \
     (typed_extension_protocol_options, http_filters), with `overwrite: true`";

/// The first header of a credential that the route table adds.
pub fn by_route<'a>(destination: &Destination<'a>) -> Option<(Spot, &'a str)> {
    destination.levels.iter().find_map(|(spot, level)| {
        added_headers(spot, level).into_iter().find(|(_, key)| is_credential_header(key))
    })
}

fn is_credential_header(name: &str) -> bool {
    CREDENTIAL_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The header of a credential that a header mutation or a script sets.
pub fn sets_credential<'a>(kind: &str, config: &'a Yaml) -> Option<&'a str> {
    if kind.contains(".lua.") {
        let mut found = None;
        config.walk(&mut |value| found = found.or(value.text().and_then(set_by_script)));
        return found;
    }
    let mut keys = request_mutations(config)
        .iter()
        .filter_map(|it| it.at(&["append", "header", "key"])?.text());
    keys.find(|key| kind == HEADER_MUTATION && is_credential_header(key))
}

/// The header of a credential that a Lua script sets, as in `headers:replace("x-api-key", …)`.
fn set_by_script(script: &str) -> Option<&'static str> {
    let calls = [":replace(", ":add("].into_iter().flat_map(|call| script.split(call).skip(1));
    let names = calls.filter_map(|rest| rest.trim_start().strip_prefix(['"', '\'']));
    names.into_iter().find_map(|name| {
        CREDENTIAL_HEADERS.iter().copied().find(|header| {
            let start = name.get(..header.len()).unwrap_or_default();
            let end = name.get(header.len()..).unwrap_or_default();
            start.eq_ignore_ascii_case(header) && end.starts_with(['"', '\''])
        })
    })
}

/// Whether any cluster of the files holds a credential.
pub fn any_holder(gateway: &Gateway<'_>) -> bool {
    gateway.resources.clusters.iter().any(|it| holding(gateway, *it, None, 0).is_some())
}

/// What puts a credential in upstream of a cluster, in words.
pub fn holding<'a>(
    gateway: &Gateway<'a>,
    cluster: Resource<'a>,
    manager: Option<&Manager<'a>>,
    level: usize,
) -> Option<String> {
    for filter in gateway.upstream_filters(cluster, manager) {
        let Some((kind, config)) = filter.config else {
            return Some("an upstream filter that isn't among the files perhaps".to_owned());
        };
        if is_injector(kind) {
            return Some("its injector".to_owned());
        }
        if let Some(header) = sets_credential(kind, config) {
            return Some(format!("an upstream header mutation (`{header}`)"));
        }
        if request_writes(kind, config) == Writes::Anything {
            return Some(format!("the upstream filter `{}` perhaps", filter.name));
        }
    }
    // a cluster of clusters, such as envoy.clusters.aggregate
    let inner = cluster.yaml.get("cluster_type").filter(|_| level < 8)?;
    let mut others = gateway.resources.clusters.iter().filter(|other| {
        let name = other.yaml.str("name");
        name != cluster.yaml.str("name") && name.is_some_and(|name| inner.mentions(name))
    });
    others.find_map(|other| holding(gateway, *other, manager, level.saturating_add(1)))
}

/// The names of the clusters that hold a credential.
pub fn holders<'a>(gateway: &Gateway<'a>) -> Vec<&'a str> {
    let clusters = gateway.resources.clusters.iter();
    clusters
        .filter(|cluster| holding(gateway, **cluster, None, 0).is_some())
        .filter_map(|cluster| cluster.yaml.str("name"))
        .collect()
}
