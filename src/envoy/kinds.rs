//! Types of Envoy's extensions, and what each filter does to a request's headers.
//!
//! The types are those of Envoy 1.40 (<https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api>). A
//! type that isn't in the lists below may do anything.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::yaml::Yaml;

macro_rules! kinds {
    ($($name:ident = $kind:literal)*) => {
        $(
            #[doc = concat!("The type `", $kind, "`")]
            pub const $name: &str = $kind;
        )*
    };
}

kinds! {
    HTTP_CONNECTION_MANAGER =
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"
    DYNAMIC_MODULE =
        "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
    SET_FILTER_STATE = "envoy.extensions.filters.http.set_filter_state.v3.Config"
    GEOIP = "envoy.extensions.filters.http.geoip.v3.Geoip"
    MAXMIND = "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig"
    HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    HEADER_MUTATION_PER_ROUTE =
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
    EARLY_HEADER_MUTATION =
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    CREDENTIAL_INJECTOR =
        "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
    AWS_REQUEST_SIGNING =
        "envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning"
    GCP_AUTHN = "envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig"
    ROUTER = "envoy.extensions.filters.http.router.v3.Router"
    JWT_AUTHN = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
    XFF_DETECTION = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"
    COMPOSITE_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
    FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
    STRING_VALUE = "google.protobuf.StringValue"
}

/// Filters that change no header of a request, or only headers that no promise is about.
const HARMLESS: &[&str] = &[
    "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
    "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
    "envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit",
    "envoy.extensions.filters.http.buffer.v3.Buffer",
    "envoy.extensions.filters.http.cdn_loop.v3.CdnLoopConfig",
    "envoy.extensions.filters.http.compressor.v3.Compressor",
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "envoy.extensions.filters.http.kill_request.v3.KillRequest",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    "envoy.extensions.filters.http.tap.v3.Tap",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    SET_FILTER_STATE,
    ROUTER,
];

/// Parts of the types of filters that run an operator's own code.
const CODE: &[&str] = &[".wasm.", ".golang.", ".ext_proc.", ".dynamic_modules.", ".lua."];

/// Whether a filter of this type runs an operator's own code.
pub fn is_code(kind: &str) -> bool {
    CODE.iter().any(|part| kind.contains(part))
}

/// What a filter does to the headers of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes<'a> {
    /// It sets or removes these, if any
    Headers(Vec<&'a str>),
    /// Nobody can tell from its settings
    Anything,
}

/// What a filter, or its override on a route, does to the headers of a request.
pub fn request_writes<'a>(kind: &str, yaml: &'a Yaml) -> Writes<'a> {
    if HARMLESS.contains(&kind) {
        return Writes::Headers(Vec::new());
    }
    let mut names = Vec::new();
    match kind {
        HEADER_MUTATION | HEADER_MUTATION_PER_ROUTE => {
            let writes = mutation_writes(request_mutations(yaml));
            let Writes::Headers(headers) = writes else { return writes };
            names.extend(headers);
            let queries = yaml.at(&["mutations", "query_parameter_mutations"]);
            names.extend(queries.filter(|it| !it.items().is_empty()).map(|_| ":path"));
        }
        EARLY_HEADER_MUTATION => return mutation_writes(yaml.list("mutations")),
        GEOIP => names.extend(geo_headers(yaml).map(|(_, header)| header)),
        JWT_AUTHN => {
            for (_, provider) in yaml.get("providers").map(Yaml::members).unwrap_or_default() {
                names.extend(provider.str("forward_payload_header"));
                let claims = provider.list("claim_to_headers").iter();
                names.extend(claims.filter_map(|claim| claim.str("header_name")));
            }
        }
        "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth" => {
            names.extend(yaml.at(&["forwarding", "header"]).and_then(Yaml::text));
        }
        "envoy.extensions.filters.http.basic_auth.v3.BasicAuth" => {
            names.extend(yaml.str("forward_username_header"));
        }
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit" => {
            let added = yaml.list("request_headers_to_add_when_not_enforced").iter();
            names.extend(added.filter_map(|added| added.at(&["header", "key"])?.text()));
        }
        "envoy.extensions.filters.http.header_to_metadata.v3.Config" => {
            let rules = yaml.list("request_rules").iter().filter(|rule| rule.may_be_true("remove"));
            names.extend(rules.filter_map(|rule| rule.str("header")));
        }
        "envoy.extensions.filters.http.ip_tagging.v3.IPTagging" => {
            names.push("x-envoy-ip-tags");
            names.extend(yaml.at(&["ip_tag_header", "header"]).and_then(Yaml::text));
        }
        _ => return Writes::Anything,
    }
    Writes::Headers(names)
}

/// What a header mutation does to requests, in order.
pub fn request_mutations(settings: &Yaml) -> &[Yaml] {
    settings.get("mutations").map(|it| it.list("request_mutations")).unwrap_or_default()
}

/// The headers that a list of header mutations sets or removes.
fn mutation_writes(mutations: &[Yaml]) -> Writes<'_> {
    let mut names = Vec::new();
    for mutation in mutations {
        let set = mutation.at(&["append", "header", "key"]).and_then(Yaml::text);
        match mutation.str("remove").or(set) {
            Some(name) => names.push(name),
            None => return Writes::Anything,
        }
    }
    Writes::Headers(names)
}

/// The headers that a geoip filter sets: the kind of each, and its name.
pub fn geo_headers(geoip: &Yaml) -> impl Iterator<Item = (&str, &str)> {
    let common = geoip.at(&["provider", "typed_config", "common_provider_config"]);
    let lists = ["geo_field_keys", "geo_headers_to_add"].into_iter();
    lists.filter_map(move |list| common?.get(list)).flat_map(|list| {
        let named = list.members().iter();
        named.filter_map(|(key, header)| Some((&*key.name, header.text()?)))
    })
}

/// A network of Envoy's. One without `prefix_len` is all of the Internet.
pub fn network(range: &Yaml) -> Option<IpNet> {
    let address: IpAddr = range.str("address_prefix")?.parse().ok()?;
    let prefix = u8::try_from(range.number("prefix_len").unwrap_or(0)).ok()?;
    IpNet::new(address, prefix).ok().map(|network| network.trunc())
}

/// Whether filters of this type put a credential in.
pub fn is_injector(kind: &str) -> bool {
    [CREDENTIAL_INJECTOR, AWS_REQUEST_SIGNING, GCP_AUTHN].contains(&kind)
}

/// Whether a filter of this type, with these settings, is Waybill, on whichever host.
pub fn is_waybill(kind: &str, settings: &Yaml) -> bool {
    let named = |yaml: &Yaml| {
        let mut found = false;
        yaml.walk(&mut |value| found |= value.text().is_some_and(|it| it.contains("waybill")));
        found
    };
    let (config, name, code, configuration) = match kind {
        WASM => (settings.get("config"), "name", "vm_config", &["configuration", "value"]),
        DYNAMIC_MODULE => {
            (Some(settings), "filter_name", "dynamic_module_config", &["filter_config", "value"])
        }
        _ => return false,
    };
    let Some(config) = config else { return false };
    let by_name = config.str(name).is_some_and(|name| name.contains("waybill"))
        || config.get(code).is_some_and(named);
    by_name || config.at(configuration).is_some_and(is_configuration)
}

/// Whether a value looks like a node's configuration, in whatever it is wrapped.
fn is_configuration(value: &Yaml) -> bool {
    let holds_ours = |bytes: &[u8]| {
        let json = serde_json::from_slice::<serde_json::Value>(bytes);
        json.is_ok_and(|json| json.get("node").is_some() && json.get("identity").is_some())
    };
    match value.text() {
        Some(text) => {
            holds_ours(text.as_bytes())
                || STANDARD.decode(text).is_ok_and(|decoded| holds_ours(&decoded))
        }
        None => value.get("node").is_some() && value.get("identity").is_some(),
    }
}

/// The configuration of a Waybill filter, where it is text.
pub fn configuration(settings: &Yaml) -> Option<&Yaml> {
    let of_wasm = settings.at(&["config", "configuration"]);
    let configuration = of_wasm.or_else(|| settings.get("filter_config"))?;
    let (kind, wrapper) = configuration.typed()?;
    wrapper.get("value").filter(|value| kind == STRING_VALUE && value.text().is_some())
}
