//! The filters before the node, as far as their effect can be known from their settings.

use std::collections::BTreeMap;

use maxminddb::{PathElement, Reader};

use super::address::{EnvoyAddress, last_but};
use super::mutation::{FormatContext, mutate, print};
use super::settings::{Gaps, boolean, items, natural, text, typed};
use crate::cli::headers::HeaderList;
use crate::shape::Json;

const HEADER_MUTATION: &str = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
const SET_FILTER_STATE: &str = "envoy.extensions.filters.http.set_filter_state.v3.Config";
const GEOIP: &str = "envoy.extensions.filters.http.geoip.v3.Geoip";
const JWT: &str = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";

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
pub(super) fn database_paths(filter: &Json) -> impl Iterator<Item = &str> {
    let settings = typed(filter).filter(|(kind, _)| *kind == GEOIP);
    settings.and_then(|(_, settings)| country_database(settings)).into_iter()
}

fn country_database(settings: &Json) -> Option<&str> {
    let provider = settings.get("provider")?.get("typed_config")?;
    text(provider, "country_db_path").or(text(provider, "city_db_path"))
}

/// Plays one filter.
pub(super) fn play(
    filter: &Json,
    request: &mut RequestInEnvoy<'_>,
    databases: &Databases,
    gaps: &mut Gaps,
) {
    if boolean(filter.get("disabled")) == Some(true) {
        return;
    }
    let name = text(filter, "name").unwrap_or("?");
    let context = FormatContext { peer: request.peer, client: request.client };
    match typed(filter) {
        Some((HEADER_MUTATION, settings)) => {
            let mutations = settings.get("mutations");
            let changes = mutations.map(|it| items(it, "request_mutations")).unwrap_or_default();
            mutate(changes, &mut request.headers, &context, &format!("filter `{name}`"), gaps);
            if mutations.is_some_and(|it| it.get("query_parameter_mutations").is_some()) {
                gaps.insert(format!("`query_parameter_mutations` of `{name}` isn't played"));
            }
        }
        Some((SET_FILTER_STATE, settings)) => {
            for entry in items(settings, "on_request_headers") {
                if text(entry, "object_key") == Some("direct") {
                    set_direct(entry, request, &context, name, gaps);
                }
            }
        }
        Some((GEOIP, settings)) => look_up(settings, request, databases, name, gaps),
        Some((JWT, _)) if request.has_claims => {}
        _ => {
            gaps.insert(format!("filter `{name}` before the node isn't played"));
        }
    }
}

/// The filter state that tells the node its direct peer.
fn set_direct(
    entry: &Json,
    request: &mut RequestInEnvoy<'_>,
    context: &FormatContext<'_>,
    name: &str,
    gaps: &mut Gaps,
) {
    let Some(format) = entry.get("format_string") else { return };
    let inline = format.get("text_format_source").and_then(|it| text(it, "inline_string"));
    let omits = boolean(format.get("omit_empty_values")) == Some(true);
    let missing = if omits { "" } else { "-" };
    match inline.map(|inline| print(inline, missing, &request.headers, context)) {
        Some(Ok(value)) => {
            let skips = boolean(entry.get("skip_if_empty")) == Some(true);
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
    settings: &Json,
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
    let hops = settings.get("xff_config").and_then(|it| natural(it.get("xff_num_trusted_hops")));
    let found = match (custom, hops.filter(|hops| *hops > 0)) {
        (Some(custom), _) => header(text(custom, "header_name")),
        (None, Some(hops)) => last_but(&request.headers, hops).address,
        (None, None) => None,
    };
    let provider = settings.get("provider").and_then(|it| it.get("typed_config"));
    let common = provider.and_then(|it| it.get("common_provider_config"));
    let keys = common.and_then(|it| it.get("geo_field_keys").or(it.get("geo_headers_to_add")));
    let keys = keys.map(Json::members).unwrap_or_default();
    for (key, header) in keys.iter().filter(|(key, _)| key != "country") {
        let header = header.as_str().unwrap_or("?");
        gaps.insert(format!("`{name}` writes `{key}` into `{header}`, which isn't played"));
    }
    let written = keys.iter().find(|(key, _)| key == "country").and_then(|(_, it)| it.as_str());
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
