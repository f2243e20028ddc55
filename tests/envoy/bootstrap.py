"""Writes the Envoy configuration of a test: one listener per node configuration.

In front of the filter stand the pieces that let a test play any caller: a header says who the direct
peer is, and a JWT is checked as an operator's Envoy would check it. The event of each request goes to
an access log of its own. Envoy takes JSON for YAML.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import wire

TYPES = "type.googleapis.com/envoy.extensions"
HTTP = f"{TYPES}.filters.http"
STATS_TAGS = [  # as the files in envoy/ have them
    {"tag_name": "verdict", "regex": r"^(?:wasmcustom\.)?waybill_requests_total(\.verdict\.([a-z]+))$"},
    {"tag_name": "action", "regex": r"^(?:wasmcustom\.)?waybill_would_be_total(\.action\.([a-z]+))$"},
    {"tag_name": "code", "regex": r"^(?:wasmcustom\.)?waybill_findings_total(\.code\.([a-z.-]+))$"},
]


@dataclass
class Node:
    """One listener: a node configuration (None: no filter at all) and how it is reached."""

    name: str
    config: dict | None
    wasm: Path  # or the .so of the module
    tls: bool = False
    environment: dict = field(default_factory=dict)
    direct_response: bool = False  # Envoy answers by itself: load without an upstream
    log: bool = True  # without it, what Envoy's access logger costs is left out
    discovery: Path | None = None  # a file that holds the filter's configuration (ECDS), see `discovered`
    clusters: dict = field(default_factory=dict)  # more clusters by name: a server's local port, another node's name, or a list
    onward: dict = field(default_factory=dict)  # what the actions of its routes have beside: a cluster, rewrites, retries
    adds: dict = field(default_factory=dict)  # headers that its routes set, as a credential injector does
    failure: dict = field(default_factory=lambda: {"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "0.1s"}}})
    events: Path = Path("/dev/null")
    port: int = 0  # once it runs


def bootstrap(nodes, upstream_port, certificates):
    """The whole configuration. Ports are chosen by the system: Envoy's admin interface tells which."""
    clusters = {name: [upstream_port] for node in nodes for name in ("default", *route_names(node))}
    pipes = {node.name: node.events.with_suffix(".pipe") for node in nodes}
    behind = set()  # nodes that stand behind others
    for node in nodes:
        for name, servers in node.clusters.items():
            servers = servers if isinstance(servers, list) else [servers]
            behind |= {server for server in servers if isinstance(server, str)}
            clusters[name] = [pipes.get(server, server) for server in servers]
    listeners = [listener(node, certificates) for node in nodes]
    inner = [listener(node, certificates, pipes[node.name]) for node in nodes if node.name in behind]
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(0)},
        "stats_config": {"stats_tags": STATS_TAGS},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": True}}]},
        "memory_allocator_manager": {"bytes_to_release": 100 << 20, "memory_release_interval": "1s"},  # as envoy/snapshot.yaml has it
        "static_resources": {
            "listeners": [*listeners, *inner],
            "clusters": [cluster(name, servers) for name, servers in sorted(clusters.items())],
        },
    }


def discovered(node):
    """What the file has to hold that `Node.discovery` names."""
    extension = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
    return {"resources": [{"@type": extension, "name": "waybill", "typed_config": typed_filter(node)}]}


def listener(node, certificates, pipe=None):
    """Where a node is called: from without, or through a pipe from another node of the same Envoy."""
    chain = {"filters": [{"name": "hcm", "typed_config": connection_manager(node)}]}
    if node.tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": tls(certificates)}
    if pipe:
        return {"name": pipe.name, "address": address(pipe), "filter_chains": [chain]}
    return {"name": node.name, "address": address(0), "filter_chains": [chain]}


def tls(certificates):
    """Takes client certificates of the test's authority, and requests without any."""
    certificate, key = certificates.server
    pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
    trusted = {"trusted_ca": {"filename": str(certificates.ca)}}
    return {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": False,
        "common_tls_context": {"tls_certificates": [pair], "validation_context": trusted},
    }


def connection_manager(node):
    router = http_filter("router.v3.Router", suppress_envoy_headers=True)
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": node.name,
        "generate_request_id": False,
        "max_request_headers_kb": 256,
        "common_http_protocol_options": {"max_headers_count": 2000},
        "http_protocol_options": {"enable_trailers": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "access_log": [{"name": "events", "typed_config": access_log(node.events)}] if node.log else [],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes(node)}]},
        "http_filters": [*callers(), *claims(node), *waybill(node), router],
    }


def access_log(path):
    text = {"inline_string": "%FILTER_STATE(wasm.waybill:PLAIN)%\n"}
    log = f"{TYPES}.access_loggers.file.v3.FileAccessLog"
    return {"@type": log, "path": str(path), "log_format": {"text_format_source": text}}


def callers():
    """The filters before Waybill: who the direct peer is, and who the JWT says is calling."""
    peer = filter_state("direct", "%REQ(x-test-direct-peer)%")
    removed = {"request_mutations": [{"remove": "x-test-direct-peer"}]}
    provider = {
        "local_jwks": {"inline_string": wire.jwks()},
        "from_headers": [{"name": "x-test-jwt"}],
        "payload_in_metadata": "idp",
    }
    either = {"requires_any": {"requirements": [{"provider_name": "idp"}, {"allow_missing": {}}]}}
    rules = [{"match": {"prefix": "/"}, "requires": either}]
    return [
        http_filter("set_filter_state.v3.Config", on_request_headers=[peer]),
        http_filter("header_mutation.v3.HeaderMutation", mutations=removed),
        http_filter("jwt_authn.v3.JwtAuthentication", providers={"idp": provider}, rules=rules),
    ]


def filter_state(key, text):
    written = {"text_format_source": {"inline_string": text}, "omit_empty_values": True}
    return {"object_key": key, "factory_key": "envoy.string", "format_string": written, "skip_if_empty": True}


def claims(node):
    """What a module needs to read verified claims: Envoy gives it no metadata below the first name."""
    found = {f"{jwt['provider']}.{jwt['claim']}": f"{jwt['provider']}:{jwt['claim']}" for jwt in jwts(node.config)}
    if not found or not is_module(node):
        return []
    states = [filter_state(f"jwt.{key}", f"%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:{path})%") for key, path in found.items()]
    return [http_filter("set_filter_state.v3.Config", on_request_headers=states)]


def jwts(config):
    """Each `jwt` in a configuration."""
    inner = config.values() if isinstance(config, dict) else config if isinstance(config, list) else []
    own = [config["jwt"]] if isinstance(config, dict) and isinstance(config.get("jwt"), dict) else []
    return own + [jwt for each in inner for jwt in jwts(each)]


def waybill(node):
    if node.config is None:
        return []
    if node.discovery:
        source = {"path_config_source": {"path": str(node.discovery)}}
        discovery = {"config_source": source, "type_urls": [typed_filter(node)["@type"]]}
        return [{"name": "waybill", "config_discovery": discovery}]
    return [{"name": "waybill", "typed_config": typed_filter(node)}]


def typed_filter(node):
    return module(node) if is_module(node) else wasm(node)


def is_module(node):
    return node.wasm.suffix == ".so"


def module(node):
    """The filter as a dynamic module: the same configuration, in the same form."""
    return {
        "@type": f"{HTTP}.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {"module": {"local": {"filename": str(node.wasm)}}},
        "filter_name": "waybill",
        "filter_config": text(with_own_names(node)),
    }


def with_own_names(node):
    """The configuration, with the names that its variables have in the process: all modules read the same environment."""
    tag = (node.config or {}).get("tag", {})
    keys = [{"env": own_name(node, key["env"])} if key.get("env") in node.environment else key for key in tag.get("keys", [])]
    return {**node.config, "tag": {**tag, "keys": keys}} if keys else node.config


def as_played(node):
    """The configuration that the filter gets."""
    return with_own_names(node) if is_module(node) else node.config


def own_name(node, variable):
    return f"{variable}_{re.sub('[^A-Za-z0-9]', '_', node.name)}"


def process_environment(nodes):
    """What Envoy itself needs in its environment, for modules; a VM has its own."""
    return {own_name(node, key): value for node in nodes if is_module(node) for key, value in node.environment.items()}


def text(config):
    return {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(config)}


def wasm(node):
    """The filter, with a VM of the node's own, so that no node sees what another has counted."""
    return {
        "@type": f"{HTTP}.wasm.v3.Wasm",
        "config": {
            "name": node.name,
            "vm_config": {
                "vm_id": node.name,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": str(node.wasm)}},
                "environment_variables": {"key_values": node.environment},
            },
            **node.failure,
            "configuration": text(node.config),
        },
    }


def http_filter(message, **settings):
    """An HTTP filter, named by its message."""
    return {"name": message, "typed_config": {"@type": f"{HTTP}.{message}", **settings}}


def route_names(node):
    return list((node.config or {}).get("routes", {}))


def routes(node):
    """One route per entry of the node's `routes`, as an operator writes them, then the default."""
    chosen = {name: [{"name": "x-waybill-route", "string_match": {"exact": name}}] for name in route_names(node)}
    return [route(node, name, headers) for name, headers in {**chosen, "default": []}.items()]


def route(node, name, headers):
    """A route that tells the upstream which it was."""
    match = {"prefix": "/", "headers": headers}
    if node.direct_response:
        return {"match": match, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    told = {"header": {"key": "x-test-cluster", "value": name}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    added = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"} for key, value in node.adds.items()
    ]
    return {"match": match, "route": {"cluster": name, "timeout": "0s", **node.onward}, "request_headers_to_add": [told, *added]}


def cluster(name, servers):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(server)}} for server in servers]}]
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    trailers = {"explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {options: {"@type": f"type.googleapis.com/{options}", **trailers}},
    }


def address(server):
    """Of a local port, or of a pipe."""
    if isinstance(server, Path):
        return {"pipe": {"path": str(server)}}
    return {"socket_address": {"address": "127.0.0.1", "port_value": server}}
