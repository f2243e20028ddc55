//! Reading Envoy's documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::shape::{Json, Path};

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const EARLY_HEADER_MUTATION: &str =
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
pub(super) const HEADER_MUTATION: &str =
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

/// The document with its fields' names in protobuf's spelling: Envoy reads `failurePolicy` as
/// `failure_policy`. Names that are data (types, extensions) have dots or capitals and are kept.
pub(super) fn as_envoy_reads(json: &Json) -> Json {
    let snake = |name: &str| {
        let is_field = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_field {
            return name.to_owned();
        }
        let part = |c: char| {
            if c.is_ascii_uppercase() {
                format!("_{}", c.to_ascii_lowercase())
            } else {
                c.to_string()
            }
        };
        name.chars().map(part).collect()
    };
    match json {
        Json::List(items) => Json::List(items.iter().map(as_envoy_reads).collect()),
        Json::Object(members) => Json::Object(
            members.iter().map(|(name, value)| (snake(name), as_envoy_reads(value))).collect(),
        ),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => json.clone(),
    }
}

/// Calls `see` for a value and all values in it.
pub(super) fn walk(json: &Json, at: &Path<'_>, see: &mut dyn FnMut(&Json, &Path<'_>)) {
    see(json, at);
    match json {
        Json::List(items) => {
            items.iter().enumerate().for_each(|(i, item)| walk(item, &Path::Element(at, i), see))
        }
        Json::Object(members) => {
            members.iter().for_each(|(name, value)| walk(value, &Path::Member(at, name), see))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

/// The settings, if they are those of a Waybill filter.
pub(super) fn waybill(json: &Json) -> Option<&Json> {
    if !is_type(json, WASM) {
        return None;
    }
    let named =
        |json: &Json| any(json, |it| it.as_str().is_some_and(|text| text.contains("waybill")));
    let config = json.get("config")?;
    let by_name = text(config.get("name")).is_some_and(|name| name.contains("waybill"))
        || config.get("vm_config").is_some_and(named);
    let holds_ours =
        |bytes: &[u8]| serde_json::from_slice::<Json>(bytes).is_ok_and(|inner| is_ours(&inner));
    let by_content = || {
        let value = config.get("configuration").and_then(|wrapper| wrapper.get("value"));
        value.is_some_and(|value| match value.as_str() {
            Some(text) => {
                let decoded = STANDARD.decode(text);
                holds_ours(text.as_bytes()) || decoded.is_ok_and(|bytes| holds_ours(&bytes))
            }
            None => is_ours(value),
        })
    };
    (by_name || by_content()).then_some(json)
}

/// Whether a value looks like this filter's configuration.
fn is_ours(configuration: &Json) -> bool {
    configuration.get("node").is_some() && configuration.get("identity").is_some()
}

pub(super) fn configuration_text(wasm: &Json) -> Option<&str> {
    let configuration = wasm.get("config")?.get("configuration")?;
    text(configuration.get("value"))
        .filter(|_| is_type(configuration, "google.protobuf.StringValue"))
}

pub(super) fn text(json: Option<&Json>) -> Option<&str> {
    json.and_then(Json::as_str)
}

pub(super) fn items(json: Option<&Json>) -> &[Json] {
    json.map(Json::items).unwrap_or_default()
}

pub(super) fn is_type(json: &Json, name: &str) -> bool {
    text(json.get("@type")).and_then(|url| url.rsplit('/').next()) == Some(name)
}

pub(super) fn is_typed(extension: &Json, name: &str) -> bool {
    extension.get("typed_config").is_some_and(|config| is_type(config, name))
}

/// Whether a value, or any value in it, is such a one.
fn any(json: &Json, is: impl Fn(&Json) -> bool) -> bool {
    let mut found = false;
    walk(json, &Path::Root, &mut |json, _| found |= is(json));
    found
}

pub(super) fn mentions(json: &Json, word: &str) -> bool {
    any(json, |json| json.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word)))
}

pub(super) fn mentions_key(json: &Json, key: &str) -> bool {
    any(json, |json| json.get(key).is_some())
}

/// Whether a header mutation's settings remove that header.
pub(super) fn removes(extension: &Json, header: &str) -> bool {
    let is = |name: &str| name.eq_ignore_ascii_case(header);
    any(extension, |json| text(json.get("remove")).is_some_and(is))
}

pub(super) fn removes_early(manager: &Json, header: &str) -> bool {
    let removes = |it: &Json| is_typed(it, EARLY_HEADER_MUTATION) && removes(it, header);
    items(manager.get("early_header_mutation_extensions")).iter().any(removes)
}

pub(super) fn clusters(document: &Json) -> &[Json] {
    items(document.get("static_resources").and_then(|resources| resources.get("clusters")))
}

pub(super) fn upstream_filters(cluster: &Json) -> &[Json] {
    items(http_options(cluster).and_then(|http| http.get("http_filters")))
}

pub(super) fn http_options(cluster: &Json) -> Option<&Json> {
    cluster
        .get("typed_extension_protocol_options")?
        .get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
}
