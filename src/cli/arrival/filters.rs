//! The filters before the node, as far as their effect can be known from their settings.

use std::collections::BTreeMap;

use maxminddb::{PathElement, Reader};

use super::address::{EnvoyAddress, last_but};
use super::mutation::{FormatContext, mutate, print};
use super::settings::Gaps;
use crate::cli::headers::HeaderList;
use crate::envoy::kinds::{GEOIP, HEADER_MUTATION, JWT_AUTHN, SET_FILTER_STATE, request_mutations};
use crate::envoy::yaml::Yaml;

/// The MMDB files that geoip filters name, by their paths.
pub(super) type Databases = BTreeMap<String, Result<Reader<Vec<u8>>, String>>;

/// A request between the connection manager and the node.
#[derive(Debug)]
pub(super) struct RequestInEnvoy<'a> {
    pub(super) headers: HeaderList,
    /// The direct peer
    pub(super) peer: Option<&'a EnvoyAddress>,
    /// The address that Envoy takes for the client's
    pub(super) client: Option<&'a EnvoyAddress>,
    /// Whether the capture says which claims Envoy verified
    pub(super) has_claims: bool,
    /// The filter state `direct`
    pub(super) direct: Option<Vec<u8>>,
}

/// The paths of the MMDB files that a filter looks up.
pub(super) fn database_paths(filter: &Yaml) -> impl Iterator<Item = &str> {
    let settings = filter.extension().filter(|(kind, _)| *kind == GEOIP);
    settings.and_then(|(_, settings)| country_database(settings)).into_iter()
}

fn country_database(settings: &Yaml) -> Option<&str> {
    let provider = settings.get("provider")?.get("typed_config")?;
    provider.str("country_db_path").or(provider.str("city_db_path"))
}

/// Plays one filter.
pub(super) fn play(
    filter: &Yaml,
    request: &mut RequestInEnvoy<'_>,
    databases: &Databases,
    gaps: &mut Gaps,
) {
    if filter.is_true("disabled") {
        return;
    }
    let name = filter.str("name").unwrap_or("?");
    let context = FormatContext { peer: request.peer, client: request.client };
    match filter.extension() {
        Some((HEADER_MUTATION, settings)) => {
            let mutations = settings.get("mutations");
            let changes = request_mutations(settings);
            mutate(changes, &mut request.headers, &context, &format!("filter `{name}`"), gaps);
            if mutations.is_some_and(|it| it.get("query_parameter_mutations").is_some()) {
                gaps.insert(format!("`query_parameter_mutations` of `{name}` isn't played"));
            }
        }
        Some((SET_FILTER_STATE, settings)) => {
            for entry in settings.list("on_request_headers") {
                if entry.str("object_key") == Some("direct") {
                    set_direct(entry, request, &context, name, gaps);
                }
            }
        }
        Some((GEOIP, settings)) => look_up(settings, request, databases, name, gaps),
        Some((JWT_AUTHN, _)) if request.has_claims => {}
        _ => {
            gaps.insert(format!("filter `{name}` before the node isn't played"));
        }
    }
}

/// The filter state that tells the node its direct peer.
fn set_direct(
    entry: &Yaml,
    request: &mut RequestInEnvoy<'_>,
    context: &FormatContext<'_>,
    name: &str,
    gaps: &mut Gaps,
) {
    let Some(format) = entry.get("format_string") else { return };
    let inline = format.get("text_format_source").and_then(|it| it.str("inline_string"));
    let omits = format.is_true("omit_empty_values");
    let missing = if omits { "" } else { "-" };
    match inline.map(|inline| print(inline, missing, &request.headers, context)) {
        Some(Ok(value)) => {
            let skips = entry.is_true("skip_if_empty");
            if !(value.is_empty() && skips) {
                request.direct = Some(value);
            }
        }
        Some(Err(_)) | None => {
            gaps.insert(format!("`{name}` sets `direct` to a value that the desk can't know"));
        }
    }
}

/// Envoy's geoip filter. It leaves a header as it is where the database has nothing.
fn look_up(
    settings: &Yaml,
    request: &mut RequestInEnvoy<'_>,
    databases: &Databases,
    name: &str,
    gaps: &mut Gaps,
) {
    let header = |name: Option<&str>| {
        let value = name.and_then(|name| request.headers.first(&name.to_ascii_lowercase()));
        value.and_then(EnvoyAddress::parse)
    };
    let custom = settings.get("custom_header_config");
    let hops = settings.get("xff_config").and_then(|it| it.number("xff_num_trusted_hops"));
    let found = match (custom, hops.filter(|hops| *hops > 0)) {
        (Some(custom), _) => header(custom.str("header_name")),
        (None, Some(hops)) => last_but(&request.headers, hops).address,
        (None, None) => None,
    };
    let provider = settings.get("provider").and_then(|it| it.get("typed_config"));
    let common = provider.and_then(|it| it.get("common_provider_config"));
    let keys = common.and_then(|it| it.get("geo_field_keys").or(it.get("geo_headers_to_add")));
    let keys = keys.map(Yaml::members).unwrap_or_default();
    for (key, header) in keys.iter().filter(|(key, _)| &*key.name != "country") {
        let (key, header) = (&key.name, header.text().unwrap_or("?"));
        gaps.insert(format!("`{name}` writes `{key}` into `{header}`, which isn't played"));
    }
    let country = keys.iter().rev().find(|(key, _)| &*key.name == "country");
    let written = country.and_then(|(_, header)| header.text());
    let (Some(written), Some(path)) = (written, country_database(settings)) else { return };
    let Some(address) = found.as_ref().or(request.client) else { return };
    match databases.get(path) {
        Some(Ok(reader)) => {
            let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
            let country = reader.lookup(address.ip).and_then(|it| it.decode_path::<String>(&path));
            if let Some(country) = country.ok().flatten().filter(|country| !country.is_empty()) {
                request.headers.set(&written.to_ascii_lowercase(), country.as_bytes());
            }
        }
        Some(Err(why)) => {
            gaps.insert(format!("`{written}` isn't set: `{path}` {why}"));
        }
        None => {}
    }
}
