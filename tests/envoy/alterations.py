"""Edits of a shipped file, each at random: `edited` makes one to four of them. `edits.py` plays what comes of it.

An edit gives what it changed, or `NONE` where it doesn't apply. Where it gives a promise up in so many words, it says so in
`File.waived`. After a `HARMLESS` one, the file is as good as before.
"""

import copy
import json
import re

import wire
from shipped import OWN_KEY, PROVIDERS_OWN, SINGAPORE
from ways import FILES, TYPE, Quoted, Raw, by_matcher, local, node_of, scoped, set_settings, settings

HTTP = "envoy.extensions.filters.http."
FILTER_CONFIG = TYPE + "envoy.config.route.v3.FilterConfig"
TRUE = [True, True, Raw("yes"), Raw("on"), Raw("True"), Quoted("true"), Raw("TRUE"), Raw("y"), Raw("tRUE"), Quoted("yes")]
FALSE = [False, Raw("no"), Raw("off"), Raw("False"), Quoted("false"), Raw("n"), Quoted("no")]
VALUES = ["SG", "%REQ(x-my-country)%", "%REQ(x-real-ip)%", SINGAPORE, "harmless"]
WRITES = [
    "x-geo-country",
    "x-forwarded-for",
    "x-api-key",
    "authorization",
    "compliance-tag",
    "x-waybill-route",
    "x-user-country",
    "x-harmless",
    "via",
]
APPENDS = ["OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS"]
NONE = object()  # where an edit doesn't apply to a file
HARMLESS = []


def harmless(edit):
    """Marks an edit after which the file is as good as before: `check` has to pass it."""
    HARMLESS.append(edit)
    return edit


# === what is edited ===


def filters(chance, file):
    """The filters of one of the file's connection managers."""
    return chance.choice(list(file.managers()))["http_filters"]


def a_filter(chance, file):
    """More often one of those that the node's promises rest on."""
    each = filters(chance, file)
    return chance.choice([*each, *[one for one in each if kind(one) in ("Wasm", "Geoip", "Config", "HeaderMutation")]])


def kind(one):
    return one.get("typed_config", {}).get("@type", "").rpartition(".")[2]


def node_managers(file):
    return [manager for manager in file.managers() if any(kind(one) == "Wasm" for one in manager["http_filters"])]


def a_node(chance, file):
    managers = node_managers(file)
    return chance.choice(managers) if managers else None


def tables(file):
    return [manager["route_config"] for manager in file.managers() if "route_config" in manager]


def hosts(file):
    return [host for table in tables(file) for host in table["virtual_hosts"]]


def routes(file):
    """Routes that lead to a cluster."""
    return [route for host in hosts(file) for route in host["routes"] if "route" in route]


def places(file):
    """Where overrides and headers are written: tables, virtual hosts, routes, weighted clusters."""
    weighted = [each for route in routes(file) for each in route["route"].get("weighted_clusters", {}).get("clusters", [])]
    return [*tables(file), *hosts(file), *routes(file), *weighted]


def http(message, name=None, **settings):
    return {"name": name or message.lower(), "typed_config": {"@type": f"{TYPE}{HTTP}{message}", **settings}}


def mutation(chance):
    """One change of a header."""
    if chance.random() < 0.3:
        return {"remove": chance.choice(WRITES)}
    header = {"key": chance.choice(WRITES), "value": chance.choice(VALUES)}
    return {"append": {"header": header, "append_action": chance.choice(APPENDS)}}


def insert(chance, each, one):
    """Somewhere before the router, unless chance says behind it."""
    each.insert(chance.randrange(len(each) + (chance.random() < 0.05)), one)


# === filters ===


def move_a_filter(chance, file):
    each = filters(chance, file)
    one = each.pop(chance.randrange(len(each) - 1))
    each.insert(chance.randrange(len(each)), one)
    return one["name"]


def remove_a_filter(chance, file):
    each = filters(chance, file)
    return each.pop(chance.randrange(len(each)))["name"]


def double_a_filter(chance, file):
    each = filters(chance, file)
    one = copy.deepcopy(chance.choice(each[:-1] or each))
    one["name"] = chance.choice([one["name"], one["name"] + "-again"])
    insert(chance, each, one)
    return one["name"]


def disable_a_filter(chance, file):
    one = a_filter(chance, file)
    one["disabled"] = chance.choice(TRUE)
    return f"{one['name']}: {one['disabled']!r}"


@harmless
def say_that_a_filter_is_enabled(chance, file):
    a_filter(chance, file)["disabled"] = False


def override_a_filter(chance, file):
    """Somewhere below the connection manager."""
    one, place = a_filter(chance, file), chance.choice(places(file))
    value = chance.choice(
        [
            {"@type": FILTER_CONFIG, "disabled": chance.choice(TRUE)},
            {"@type": FILTER_CONFIG, "disabled": chance.choice(TRUE)},
            {"@type": FILTER_CONFIG, "config": {}},
            {"@type": FILTER_CONFIG, "disabled": chance.choice(FALSE), "is_optional": True},
            {"@type": FILTER_CONFIG, "is_optional": True, "disabled": True},
            {"@type": TYPE + HTTP + "header_mutation.v3.HeaderMutationPerRoute", "mutations": {"request_mutations": [mutation(chance)]}},
            {"@type": TYPE + HTTP + "set_filter_state.v3.Config", "on_request_headers": [state(chance)]},
        ]
    )
    name = chance.choice([one["name"]] * 4 + ["waybill", "no-such-filter"])
    place.setdefault("typed_per_filter_config", {})[name] = value
    return f"{name}: {value['@type'].rpartition('.')[2]} {value.get('disabled')!r}"


def disable_and_enable_below(chance, file):
    """As Envoy Gateway writes every wasm filter; `somewhere` may be not everywhere."""
    manager = chance.choice(list(file.managers()))
    one = chance.choice(manager["http_filters"])
    one["disabled"] = True
    table = manager.get("route_config")
    if not table:
        return NONE
    for place in chance.choice([[table], table["virtual_hosts"], table["virtual_hosts"][0]["routes"], table["virtual_hosts"][0]["routes"][:1]]):
        enabling = chance.choice([{"@type": FILTER_CONFIG, "disabled": False}, {"@type": FILTER_CONFIG, "config": {}}, {"@type": FILTER_CONFIG}])
        place.setdefault("typed_per_filter_config", {})[one["name"]] = enabling
    return one["name"]


def match_a_filter(chance, file):
    """Skipped where a header says so, or doesn't."""
    one = a_filter(chance, file)
    if "typed_config" not in one:
        return NONE
    name = chance.choice(["x-bypass", ":path", "x-forwarded-for"])
    single = {"input": {"name": "header", "typed_config": {"@type": TYPE + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": name}},
              "value_match": chance.choice([{"exact": "yes"}, {"prefix": "/v1"}, {"prefix": ""}])}  # fmt: skip
    skip = {"action": {"name": "skip", "typed_config": {"@type": TYPE + "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}}}
    on = {"matcher_list": {"matchers": [{"predicate": {"single_predicate": single}, "on_match": skip}]}}
    one["typed_config"] = {
        "@type": TYPE + "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": one["name"], "typed_config": one["typed_config"]},
        "xds_matcher": on,
    }
    return f"{one['name']} by {name}"


def write_a_header(chance, file):
    change = mutation(chance)
    insert(chance, filters(chance, file), http("header_mutation.v3.HeaderMutation", "more", mutations={"request_mutations": [change]}))
    return json.dumps(change)


def run_a_script(chance, file):
    """Lua, that does nothing or rewrites."""
    line = chance.choice(
        [
            "", "h:headers():remove('compliance-tag')", "h:headers():replace('x-geo-country', 'SG')",
            "h:headers():replace('x-geo-country', h:headers():get('x-my-country') or 'SG')", "h:headers():replace(':path', '/v1/organizations')",
            f"h:headers():replace('x-api-key', '{OWN_KEY}')", "h:clearRouteCache()",
        ]
    )  # fmt: skip
    code = {"inline_string": f"function envoy_on_request(h) {line} end"}
    insert(chance, filters(chance, file), http("lua.v3.Lua", "script", default_source_code=code))
    return line


def believe_a_token(chance, file):
    """Claims of a JWT go into headers; anybody has one of this issuer."""
    claim = {"header_name": chance.choice(WRITES), "claim_name": "sub"}
    provider = {"local_jwks": {"inline_string": wire.jwks()}, "from_headers": [{"name": "x-test-jwt"}], "claim_to_headers": [claim]}
    either = {"requires_any": {"requirements": [{"provider_name": "idp"}, {"allow_missing": {}}]}}
    one = http("jwt_authn.v3.JwtAuthentication", "jwt", providers={"idp": provider}, rules=[{"match": {"prefix": "/"}, "requires": either}])
    insert(chance, filters(chance, file), one)
    return claim["header_name"]


def a_script_for_a_route(chance, file):
    """The filter itself does nothing."""
    code = {"inline_string": "function envoy_on_request(h) end"}
    insert(chance, filters(chance, file), http("lua.v3.Lua", "quiet", default_source_code=code))
    line = chance.choice(["h:headers():replace('x-geo-country', 'SG')", "h:headers():remove('compliance-tag')"])
    override = {"@type": TYPE + HTTP + "lua.v3.LuaPerRoute", "source_code": {"inline_string": f"function envoy_on_request(h) {line} end"}}
    chance.choice(places(file)).setdefault("typed_per_filter_config", {})["quiet"] = override
    return line


def add_another_filter(chance, file):
    """None of these lets anybody in, wherever it is."""
    one = chance.choice(
        [
            http("cors.v3.Cors"),
            http("buffer.v3.Buffer", max_request_bytes=1_000_000),
            http("grpc_stats.v3.FilterConfig"),
            http("local_ratelimit.v3.LocalRateLimit", stat_prefix="limit"),
            http("fault.v3.HTTPFault"),
            http("health_check.v3.HealthCheck", pass_through_mode=False, headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}]),
        ]
    )
    insert(chance, filters(chance, file), one)
    return one["name"]


@harmless
def add_cors(chance, file):
    filters(chance, file).insert(0, http("cors.v3.Cors", "envoy.filters.http.cors"))


@harmless
def add_a_rate_limit(chance, file):
    filters(chance, file).insert(0, http("local_ratelimit.v3.LocalRateLimit", "envoy.filters.http.local_ratelimit", stat_prefix="limit"))


def state(chance):
    """An object of filter state."""
    text = chance.choice(
        [
            "%REQ(x-real-ip)%", "127.0.0.5", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(x-real-ip)%", "%REQ(x-real-ip)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", SINGAPORE,
        ]
    )  # fmt: skip
    made = {"object_key": chance.choice(["direct", "direct", "direct", "other", "wasm.direct"]), "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": text}}}  # fmt: skip
    for name, values in [("read_only", TRUE), ("shared_with_upstream", ["ONCE", "TRANSITIVE"]), ("skip_if_empty", [True])]:
        if chance.random() < 0.15:
            made[name] = chance.choice(values)
    return made


def set_more_state(chance, file):
    one = http("set_filter_state.v3.Config", "state", on_request_headers=[state(chance)])
    insert(chance, filters(chance, file), one)
    return json.dumps(one["typed_config"]["on_request_headers"])


def set_other_state(chance, file):
    """In the filter that is there."""
    manager = a_node(chance, file)
    if not manager:
        return NONE
    each = [one for one in manager["http_filters"] if kind(one) == "Config" and "on_request_headers" in one["typed_config"]]
    if not each:
        return NONE
    entries = each[0]["typed_config"]["on_request_headers"]
    entries[:] = chance.choice([[state(chance)], [*entries, state(chance)], [state(chance), *entries]])
    return json.dumps(entries)


def set_state_of_the_connection(chance, file):
    """By a network filter: what is set here, an HTTP filter may not be able to set again."""
    listener = chance.choice(file.listeners)
    name, message = "network.set_filter_state", "envoy.extensions.filters.network.set_filter_state.v3.Config"
    text = chance.choice([SINGAPORE, "127.0.0.5", "%REQUESTED_SERVER_NAME%", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"])
    entry = {"object_key": "direct", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": text}}}
    if chance.random() < 0.3:
        entry["read_only"] = True
    one = {"name": name, "typed_config": {"@type": TYPE + message, "on_new_connection": [entry]}}
    listener["filter_chains"][0]["filters"].insert(0, one)
    return text


def other_geography(chance, file):
    each = [one for manager in file.managers() for one in manager["http_filters"] if kind(one) == "Geoip"]
    if not each:
        return NONE
    typed = chance.choice(each)["typed_config"]
    provider = typed["provider"]["typed_config"]
    keys = provider["common_provider_config"]["geo_field_keys"]
    change = chance.choice(["other", "region", "twice", "header", "hops", "none"])
    if change == "other":
        keys["country"] = chance.choice(["x-my-country", "X-Geo-Country"])
    elif change == "region":
        keys.clear()
        keys["region"] = "x-geo-country"
        provider["city_db_path"] = provider["country_db_path"]
    elif change == "twice":
        keys["city"] = "x-geo-country"
        provider["city_db_path"] = provider["country_db_path"]
    elif change == "header":
        typed["custom_header_config"] = {"header_name": "x-real-ip"}
    elif change == "hops":
        typed["xff_config"] = {"xff_num_trusted_hops": chance.choice([0, 1, 2])}
    else:
        keys["country"] = "x-other-country"
    return change


def other_clearing(chance, file):
    """In the mutation that removes the client's own country."""
    each = [one for manager in file.managers() for one in manager["http_filters"] if kind(one) == "HeaderMutation"]
    if not each:
        return NONE
    mutations = chance.choice(each)["typed_config"]["mutations"]
    old = mutations["request_mutations"]
    mutations["request_mutations"] = chance.choice([[], [mutation(chance)], [*old, mutation(chance)], [mutation(chance), *old]])
    if chance.random() < 0.2:
        mutations["response_mutations"] = mutations.pop("request_mutations")
    return json.dumps(mutations)


def upgrades_of_their_own(chance, file):
    manager = chance.choice(list(file.managers()))
    each = manager["http_filters"]
    chosen = chance.choice(
        [each[-1:], each[:], [one for one in each if kind(one) != "Wasm"], [one for one in each if kind(one) != "Geoip"], each[::-1][1:] + each[-1:]]
    )
    one = {"upgrade_type": chance.choice(["websocket", "WebSocket", "tls"]), "filters": copy.deepcopy(chosen)}
    name = chance.choice(["upgrade_configs", "upgradeConfigs"])
    manager.pop("upgrade_configs", None)
    manager[name] = [one]
    return f"{name} {[each['name'] for each in chosen]}"


def inject_before_the_cluster(chance, file):
    """A credential injector among the listener's own filters, or among the router's."""
    own = [one for cluster in file.clusters for one in cluster["typed_extension_protocol_options"].values() for one in one.get("http_filters", [])]
    injectors = [one for one in own if kind(one) == "CredentialInjector"]
    if not injectors:
        return NONE
    one, each = copy.deepcopy(chance.choice(injectors)), filters(chance, file)
    if chance.random() < 0.5:
        insert(chance, each, one)
        return "among the filters"
    codec = {"name": "codec", "typed_config": {"@type": TYPE + HTTP + "upstream_codec.v3.UpstreamCodec"}}
    each[-1].setdefault("typed_config", {})["upstream_http_filters"] = [one, codec]
    return "in the router"


# === listeners and connection managers ===


def another_listener(chance, file):
    """A copy of one, that lacks some of its filters, or leads to a key by a way of its own."""
    if not file.doors:
        return NONE
    name = chance.choice(list(file.doors))
    if file.doors[name].name in PROVIDERS_OWN:
        return NONE  # whose cluster holds nobody's credential
    old = next(each for each in file.listeners if each["name"] == name)
    made = copy.deepcopy(old)
    made["name"] = f"{name}-{len(file.listeners)}"
    file.listeners.append(made)
    file.doors[made["name"]] = file.doors[name]
    return f"{made['name']} with {thin(chance, made['filter_chains'][0]['filters'][-1]['typed_config'])}"


def thin(chance, manager):
    each = manager["http_filters"]
    each[:] = chance.choice(
        [
            each[:],
            each[-1:],
            [one for one in each if kind(one) != "Wasm"],
            [one for one in each if kind(one) != "Geoip"],
            [one for one in each if kind(one) != "Config"],
        ]
    )
    return [one["name"] for one in each]


def another_chain(chance, file):
    """In front of the one that is there, behind it, or as the default, with a match that tells them apart."""
    if not file.doors:
        return NONE
    listener = chance.choice([each for each in file.listeners if each["name"] in file.doors])
    if file.doors[listener["name"]].name in PROVIDERS_OWN:
        return NONE
    old = listener["filter_chains"][0]
    made = copy.deepcopy(old)
    kept = thin(chance, made["filters"][-1]["typed_config"])
    old["name"], made["name"] = "old", "new"
    far, near = ({"source_prefix_ranges": [{"address_prefix": net, "prefix_len": 8}]} for net in ("10.0.0.0", "127.0.0.0"))
    way = chance.choice(["default", "default, other match", "near", "far", "protocol"])
    if way.startswith("default"):
        old["filter_chain_match"] = far if "other" in way else near
        listener["default_filter_chain"] = made
    else:
        match = {"near": near, "far": far, "protocol": {"transport_protocol": "raw_buffer"}}[way]
        made["filter_chain_match"] = match
        listener["filter_chains"].insert(chance.randrange(2), made)
    return f"{way}, with {kept}"


def a_tunnel(chance, file):
    """Bytes to the provider's cluster."""
    message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    cluster = chance.choice(file.clusters)["name"]
    one = {"name": "tcp", "typed_config": {"@type": TYPE + message, "stat_prefix": "tcp", "cluster": cluster}}
    name = f"{next(iter(file.doors), 'e-')}-tcp"
    if name in [each["name"] for each in file.listeners] or not file.doors:
        return NONE
    file.listeners.append({"name": name, "address": local(0), "filter_chains": [{"filters": [one]}]})
    file.doors[name] = next(iter(file.doors.values()))
    if file.doors[name].name in PROVIDERS_OWN:
        file.doors.pop(name)
    return cluster


def other_addresses(chance, file):
    """Where Envoy takes the client's address from."""
    manager = chance.choice(list(file.managers()))
    change = chance.choice(["remote", "none", "hops", "wider", "narrower", "custom", "custom first", "one more", "append", "num hops", "internal"])
    xff = [
        each["typed_config"] for each in manager.get("original_ip_detection_extensions", []) if each["typed_config"]["@type"].endswith("XffConfig")
    ]
    everybody = {"address_prefix": "0.0.0.0", "prefix_len": 0}
    custom = {
        "name": "custom",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
            "header_name": chance.choice(["x-real-ip", "x-client-ip"]),
            "allow_extension_to_set_address_as_trusted": True,
        },
    }
    if change == "remote":
        manager["use_remote_address"] = chance.choice(TRUE)
        if chance.random() < 0.7:
            manager.pop("original_ip_detection_extensions", None)
        if file.name in ("demo", "snapshot"):
            file.waived.add("restricted")  # for a loopback's peer Envoy writes this machine's own address, which no list has here
    elif change == "none":
        manager.pop("original_ip_detection_extensions", None)
    elif change == "hops":
        manager["xff_num_trusted_hops"] = chance.choice([0, 1, 2, 3])
    elif change == "custom":
        manager["original_ip_detection_extensions"] = [custom]
    elif change == "custom first":
        manager["original_ip_detection_extensions"] = [custom, *manager.get("original_ip_detection_extensions", [])]
    elif change == "internal":
        manager["internal_address_config"] = {"cidr_ranges": [{"address_prefix": "0.0.0.0", "prefix_len": 0}]}
    elif not xff:
        return NONE
    elif change == "append":
        xff[0]["skip_xff_append"] = chance.choice([True, False])
    elif change == "num hops":
        xff[0].pop("xff_trusted_cidrs")
        xff[0]["xff_num_trusted_hops"] = chance.choice([0, 1, 2])
    else:
        nets = {"wider": [everybody], "narrower": [{"address_prefix": "127.0.0.5", "prefix_len": 32}]}
        xff[0]["xff_trusted_cidrs"]["cidrs"] = nets.get(change, [*xff[0]["xff_trusted_cidrs"]["cidrs"], everybody])
    return change


def both_lists(chance, file):
    """Other networks, the same for Envoy and for the node: the operator says so."""
    manager = a_node(chance, file)
    if not manager:
        return NONE
    net = chance.choice(["127.0.0.0/9", "10.0.0.0/8", "127.0.0.1/32"])
    prefix, _, length = net.partition("/")
    for each in manager.get("original_ip_detection_extensions", []):
        if "xff_trusted_cidrs" in each["typed_config"]:
            each["typed_config"]["xff_trusted_cidrs"]["cidrs"] = [{"address_prefix": prefix, "prefix_len": int(length)}]
    config = settings(manager)
    config["client_address"]["trusted_proxies"] = [net]
    set_settings(manager, config)
    file.waived.add("restricted")
    return net


def the_nodes_list(chance, file):
    manager = a_node(chance, file)
    if not manager:
        return NONE
    config = settings(manager)
    config["client_address"]["trusted_proxies"] = chance.choice(
        [[], ["0.0.0.0/0"], ["127.0.0.0/8", "114.0.0.0/8"], ["10.0.0.0/8"], ["127.0.0.0/9", "127.128.0.0/9"]]
    )
    set_settings(manager, config)
    if not any("header" in source for source in config.get("geo", {}).get("origin", [])):
        file.waived.add("restricted")  # nothing else in the file says what is right
    return str(config["client_address"]["trusted_proxies"])


def early_mutation(chance, file):
    manager = chance.choice(list(file.managers()))
    if chance.random() < 0.3:
        manager.pop("early_header_mutation_extensions", None)
        return "none"
    changes = [mutation(chance) for _ in range(chance.choice([1, 1, 2]))]
    kind = TYPE + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    made = {"name": "early", "typed_config": {"@type": kind, "mutations": changes}}
    manager["early_header_mutation_extensions"] = [*manager.get("early_header_mutation_extensions", []), made][-chance.choice([1, 2]) :]
    return json.dumps(changes)


def other_manager(chance, file):
    """Settings that no promise rests on, and some that look so."""
    manager = chance.choice(list(file.managers()))
    name, values = chance.choice(
        [
            ("normalize_path", [False, True]),
            ("merge_slashes", [True]),
            ("server_name", ["acme"]),
            ("skip_xff_append", [True, False]),
            ("via", ["acme"]),
            ("strip_any_host_port", [True]),
            ("path_with_escaped_slashes_action", ["KEEP_UNCHANGED", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"]),
            ("represent_ipv4_remote_address_as_ipv4_mapped_ipv6", [True]),
            ("preserve_external_request_id", [True]),
            ("proxy_100_continue", [True]),
            ("forward_client_cert_details", ["SANITIZE_SET", "ALWAYS_FORWARD_ONLY"]),
            ("append_x_forwarded_port", [True]),
            ("add_user_agent", [True]),
            ("stream_idle_timeout", ["300s"]),
            ("max_request_headers_kb", [16, 64]),
            ("codec_type", ["AUTO", "HTTP1"]),
            ("append_local_overload", [True]),
            ("http_protocol_options", [{"accept_http_10": True, "default_host_for_http_10": "a.example"}, {"enable_trailers": True}]),
            (
                "local_reply_config",
                [
                    {
                        "mappers": [
                            {
                                "filter": {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "x"}}}},
                                "status_code": 200,
                            }
                        ]
                    }
                ],
            ),
        ]
    )
    manager[name] = chance.choice(values)
    return f"{name} {manager[name]}"


@harmless
def other_timeouts(chance, file):
    manager = a_node(chance, file)
    if not manager:
        return NONE
    manager["stream_idle_timeout"] = "600s"
    manager["delayed_close_timeout"] = "2s"


# === routes ===


def another_host(chance, file):
    """A virtual host of another name, to the same clusters."""
    table = chance.choice(tables(file))
    host = copy.deepcopy(table["virtual_hosts"][0])
    host["name"], host["domains"] = f"host-{len(table['virtual_hosts'])}", [f"bare{len(table['virtual_hosts'])}.example"]
    way = chance.choice(["same", "overridden", "renamed"])
    if way == "overridden":
        host["typed_per_filter_config"] = {"waybill": {"@type": FILTER_CONFIG, "disabled": True}}
    table["virtual_hosts"].append(host)
    file.hosts.append(host["domains"][0])
    return way


def another_route(chance, file):
    """In front of the others."""
    host = chance.choice(hosts(file))
    cluster = chance.choice(file.clusters)["name"]
    made = {"match": {"prefix": chance.choice(["/", "/v1/", "/v1/realtime"])}, "route": {"cluster": cluster, "timeout": "0s"}}
    if chance.random() < 0.3:
        made["match"]["headers"] = [{"name": chance.choice(["x-bypass", "x-my-country"]), "present_match": True}]
    if chance.random() < 0.4:
        made["typed_per_filter_config"] = {"waybill": {"@type": FILTER_CONFIG, "disabled": chance.choice(TRUE)}}
    host["routes"].insert(0, made)
    return json.dumps(made, default=str)


@harmless
def a_route_that_answers(chance, file):
    host = chance.choice(hosts(file))
    host["routes"].insert(0, {"match": {"path": "/healthz"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}})


def a_route_to_a_cluster_of_its_own(chance, file):
    """Without a credential, on a path of its own: behind a node with a provider, `check` wants one."""
    if file.name in ("transit", "chain"):
        return NONE  # which sign for one next hop
    name = f"{file.clusters[0]['name']}-plain"
    if any(cluster["name"] == name for cluster in file.clusters):
        return NONE
    endpoints = file.clusters[0]["load_assignment"]["endpoints"]
    file.clusters.append({"name": name, "connect_timeout": "2s", "load_assignment": {"cluster_name": name, "endpoints": endpoints},
                          "typed_extension_protocol_options": {}})  # fmt: skip
    for table in tables(file)[:1]:
        table["virtual_hosts"][0]["routes"].insert(0, {"match": {"prefix": "/status/"}, "route": {"cluster": name}})


def routes_by_other_means(chance, file):
    """A tree of matchers, or scopes that a header chooses."""
    if chance.random() < 0.3:
        scoped(chance.choice([manager for manager in file.managers() if "route_config" in manager]))
        return "scopes"
    host = chance.choice(hosts(file))
    route = {**copy.deepcopy(host["routes"][-1])}
    if chance.random() < 0.5:
        route["typed_per_filter_config"] = {a_filter(chance, file)["name"]: {"@type": FILTER_CONFIG, "disabled": True}}
    by_matcher(host, route)
    return f"a matcher, {route.get('typed_per_filter_config')}"


def shuffle_routes(chance, file):
    for host in hosts(file):
        chance.shuffle(host["routes"])


def weigh_clusters(chance, file):
    route = chance.choice(routes(file))
    if "cluster" not in route["route"]:
        return NONE
    first = {"name": route["route"].pop("cluster"), "weight": chance.choice([1, 100])}
    second = {"name": chance.choice(file.clusters)["name"], "weight": chance.choice([0, 1, 100])}
    for each in (first, second):
        if chance.random() < 0.4:
            one = a_filter(chance, file)
            each["typed_per_filter_config"] = {one["name"]: {"@type": FILTER_CONFIG, "disabled": chance.choice(TRUE)}}
    if chance.random() < 0.2:
        first["request_headers_to_add"] = [{"header": {"key": chance.choice(WRITES), "value": chance.choice(VALUES)}}]
    route["route"]["weighted_clusters"] = {"clusters": [first, second]}
    return json.dumps([first, second], default=str)


def a_cluster_by_other_means(chance, file):
    """By a header, a mirror, a specifier, an aggregate."""
    route, target = chance.choice(routes(file))["route"], chance.choice(file.clusters)["name"]
    way = chance.choice(["header", "mirror", "mirror by name", "aggregate", "script"])
    if way == "header":
        route.pop("cluster", None)
        route["cluster_header"] = "x-cluster"
    elif way == "mirror":
        route["request_mirror_policies"] = [{"cluster": target}]
    elif way == "mirror by name":
        route["request_mirror_policies"] = [{"cluster_header": "x-cluster"}]
    elif way == "script":
        message = "envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig"
        code = {"inline_string": f"function envoy_on_route(h) return '{target}' end"}
        route.pop("cluster", None)
        route["inline_cluster_specifier_plugin"] = {
            "extension": {"name": "lua", "typed_config": {"@type": TYPE + message, "source_code": code, "default_cluster": target}}
        }
    else:
        name = f"{target}-all"
        if any(cluster["name"] == name for cluster in file.clusters) or "cluster" not in route:
            return NONE
        typed = {"@type": TYPE + "envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": [target]}
        options = copy.deepcopy(next(each for each in file.clusters if each["name"] == target)["typed_extension_protocol_options"])
        file.clusters.append(
            {
                "name": name,
                "connect_timeout": "2s",
                "lb_policy": "CLUSTER_PROVIDED",
                "cluster_type": {"name": "aggregate", "typed_config": typed},
                "typed_extension_protocol_options": chance.choice([options, {}]),
            }
        )
        route["cluster"] = name
    return f"{way} {target}"


def add_headers(chance, file):
    """At a table, a virtual host, a route or a weighted cluster."""
    key, value = chance.choice(WRITES), chance.choice([*VALUES, OWN_KEY])
    entry = {"header": {"key": key, "value": value}, "append_action": chance.choice(APPENDS)}
    chance.choice(places(file)).setdefault("request_headers_to_add", []).append(entry)
    return f"{key}: {value}"


def remove_headers(chance, file):
    place = chance.choice(places(file))
    listed = place.get("request_headers_to_remove", [])
    if listed and chance.random() < 0.5:
        return listed.pop(chance.randrange(len(listed)))
    name = chance.choice(["compliance-tag", "x-harmless", "x-geo-country", "authorization", "x-api-key"])
    place.setdefault("request_headers_to_remove", []).append(name)
    return f"+ {name}"


def rewrite(chance, file):
    """The path or the host, on its way out."""
    route = chance.choice(routes(file))["route"]
    way = chance.choice(["prefix", "regex", "host", "auto", "header", "template"])
    if way == "prefix":
        route["prefix_rewrite"] = chance.choice(["/", "/v1/organizations", "/v2"])
    elif way == "regex":
        route["regex_rewrite"] = {"pattern": {"regex": "^/v1/(messages|responses)"}, "substitution": chance.choice(["/v1/organizations", "/v2/\\1"])}
    else:
        route.pop("host_rewrite_literal", None)
        name = {"host": "host_rewrite_literal", "header": "host_rewrite_header"}.get(way)
        if name:
            route[name] = "other.example" if way == "host" else "x-my-country"
        if way == "auto":
            route["auto_host_rewrite"] = True
    return way


def other_route_settings(chance, file):
    route = chance.choice(routes(file))["route"]
    name, value = chance.choice(
        [
            ("timeout", "60s"), ("idle_timeout", "60s"), ("retry_policy", {"retry_on": "5xx", "num_retries": 2}),
            ("hash_policy", [{"header": {"header_name": "x-session"}}]), ("internal_redirect_policy", {"max_internal_redirects": 1}),
            ("upgrade_configs", [{"upgrade_type": "websocket", "enabled": chance.choice([True, False])}]), ("priority", "HIGH"),
            ("append_x_forwarded_host", True), ("include_vh_rate_limits", {"value": True}),
        ]
    )  # fmt: skip
    route[name] = value
    return f"{name} {value}"


def other_table_settings(chance, file):
    table = chance.choice(tables(file))
    name, value = chance.choice(
        [
            ("most_specific_header_mutations_wins", True), ("ignore_port_in_host_matching", True), ("validate_clusters", False),
            ("internal_only_headers", ["x-my-country"]), ("request_mirror_policies", [{"cluster": chance.choice(file.clusters)["name"]}]),
            ("ignore_path_parameters_in_path_matching", True), ("response_headers_to_add", [{"header": {"key": "x-served", "value": "yes"}}]),
        ]
    )  # fmt: skip
    table[name] = value
    return f"{name} {value}"


# === clusters ===


def upstream_filters(chance, file):
    each = [cluster["typed_extension_protocol_options"] for cluster in file.clusters if cluster["typed_extension_protocol_options"]]
    each = [options for option in each for options in option.values() if options.get("http_filters")]
    return chance.choice(each)["http_filters"] if each else None


def other_injector(chance, file):
    each = upstream_filters(chance, file)
    if not each:
        return NONE
    one = next((one for one in each if kind(one) == "CredentialInjector"), None)
    if not one:
        return NONE
    way = chance.choice(["remove", "disable", "no overwrite", "overwrite", "double", "may lack", "other header", "matched"])
    typed = one["typed_config"]
    if way == "remove":
        each.remove(one)
    elif way == "disable":
        one["disabled"] = chance.choice(TRUE)
    elif way == "no overwrite":
        typed["overwrite"] = chance.choice(FALSE)
    elif way == "overwrite":
        typed["overwrite"] = chance.choice(TRUE)
    elif way == "double":
        each.insert(0, copy.deepcopy(one))
    elif way == "may lack":
        typed["allow_request_without_credential"] = True
    elif way == "other header":
        typed["credential"]["typed_config"]["header"] = "x-other-key"
    else:
        one["typed_config"] = {
            "@type": TYPE + "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": "i", "typed_config": typed},
        }
    return way


def write_upstream(chance, file):
    each = upstream_filters(chance, file)
    if not each:
        return NONE
    change = mutation(chance)
    each.insert(chance.randrange(len(each)), http("header_mutation.v3.HeaderMutation", "upstream", mutations={"request_mutations": [change]}))
    return json.dumps(change)


def copy_a_cluster(chance, file):
    """With its credential or without; a route leads there."""
    made = copy.deepcopy(chance.choice(file.clusters))
    made["name"] += f"-{len(file.clusters)}"
    made["load_assignment"]["cluster_name"] = made["name"] if "load_assignment" in made else None
    if chance.random() < 0.4:
        made["typed_extension_protocol_options"] = {}
    file.clusters.append(made)
    route = chance.choice(routes(file))["route"]
    if "cluster" in route:
        route["cluster"] = made["name"]
    return made["name"]


# === the node's own configuration ===


def other_settings(chance, file):
    manager = a_node(chance, file)
    if not manager:
        return NONE
    config = settings(manager)
    way = chance.choice(
        [
            "report",
            "action",
            "no provider",
            "other provider",
            "paths",
            "header",
            "origin",
            "no origin",
            "forward",
            "source",
            "forwarded",
            "authority",
            "residency",
        ]
    )
    if way == "report":
        config.setdefault("policy", {})["mode"] = "report"
        file.waived |= {"restricted", "account"}
    elif way == "action":
        code = chance.choice(["geo.restricted", "geo.disputed", "identity.missing", "identity.unknown", "provider.path-denied", "geo.unknown"])
        config.setdefault("policy", {}).setdefault("actions", {})[code] = chance.choice(["report", "allow", "block"])
        file.waived |= {"restricted", "account", "credential"}
    elif way == "no provider":
        config.pop("provider", None)
    elif way == "other provider":
        config["provider"] = {"name": chance.choice(["gemini", "mine", "openai", "anthropic"])}
        if config["provider"]["name"] != "mine":
            file.waived.add("account")  # of another vendor, whose account API is elsewhere
        if "regions" not in config:
            file.waived.add("restricted")  # the provider's set of regions comes with its name: OpenAI's restricts no country by itself
    elif way == "paths":
        config.setdefault("provider", {"name": "mine"})["deny_paths"] = chance.choice([[], ["/v1/other"]])
        file.waived.add("account")
    elif way == "header":
        config["geo"] = {"origin": [{"header": chance.choice(["x-my-country", "x-geo-city"])}]}
    elif way == "origin":
        config.setdefault("geo", {}).setdefault("origin", []).append({"header": "x-my-country", **chance.choice([{}, {"role": "hints"}])})
    elif way == "no origin":
        config.pop("geo", None)
        file.waived.add("restricted")
    elif way == "forward":
        for source in config["identity"]["sources"]:
            if "chain" not in source:
                source["forward"] = True
    elif way == "source":
        config["identity"]["sources"].append(
            chance.choice([{"header": "x-my-key"}, {"query": "key"}, {"mtls": "uri_san"}, {"jwt": {"provider": "idp", "claim": "sub"}}])
        )
    elif way == "forwarded":
        config["client_address"]["header"] = "forwarded"
        file.waived.add("restricted")
    elif way == "authority":
        config["node"]["upstream_authority"] = "other.example"
    else:
        config["node"].pop("residency", None)
    set_settings(manager, config)
    return way


def other_failure(chance, file):
    """What becomes of requests when the filter fails. No request here makes it fail."""
    manager = a_node(chance, file)
    if not manager or "config" not in node_of(manager)["typed_config"]:
        return NONE
    config = node_of(manager)["typed_config"]["config"]
    name, value = chance.choice(
        [
            ("failure_policy", "FAIL_CLOSED"),
            ("failure_policy", "FAIL_OPEN"),
            ("failure_policy", 2),
            ("fail_open", True),
            ("name", "other"),
            ("root_id", "other"),
            ("allow_on_headers_stop_iteration", True),
            ("capability_restriction_config", {"allowed_capabilities": {}}),
        ]
    )
    if name == "fail_open":
        config.pop("failure_policy", None)
        config.pop("reload_config", None)
    config[name] = value
    return f"{name} {value}"


# === spelling ===


def camel(value):
    """Keys as protobuf's JSON has them."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    names = ("typed_per_filter_config", "typed_extension_protocol_options", "typedPerFilterConfig")  # whose members are names
    return {
        re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), key): {name: camel(each) for name, each in member.items()}
        if key in names
        else camel(member)
        for key, member in value.items()
    }


@harmless
def spell_in_camel_case(chance, file):
    """A filter, a route or a cluster."""
    each = chance.choice(
        [*[filters for manager in file.managers() for filters in [manager["http_filters"]]], *[host["routes"] for host in hosts(file)]]
    )
    at = chance.randrange(len(each))
    if "route" in each[at] or "direct_response" in each[at]:
        file.last = True
    each[at] = camel(each[at])


def disable_in_camel_case(chance, file):
    """By an override that is spelt otherwise."""
    one, place = a_filter(chance, file), chance.choice(places(file))
    place["typedPerFilterConfig"] = {one["name"]: {"@type": FILTER_CONFIG, "disabled": chance.choice(TRUE)}}
    return one["name"]


def wrap_in_a_struct(chance, file):
    """xDS's other spelling of a typed configuration."""
    one = a_filter(chance, file)
    if "typed_config" not in one:
        return NONE
    typed = one["typed_config"]
    url = typed.pop("@type", "")
    one["typed_config"] = {"@type": TYPE + chance.choice(["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"]), "type_url": url, "value": typed}
    return one["name"]


EDITS = [
    move_a_filter,
    move_a_filter,
    remove_a_filter,
    remove_a_filter,
    double_a_filter,
    disable_a_filter,
    disable_a_filter,
    say_that_a_filter_is_enabled,
    override_a_filter,
    override_a_filter,
    override_a_filter,
    disable_and_enable_below,
    match_a_filter,
    write_a_header,
    write_a_header,
    run_a_script,
    believe_a_token,
    a_script_for_a_route,
    routes_by_other_means,
    add_another_filter,
    add_cors,
    add_a_rate_limit,
    set_more_state,
    set_other_state,
    set_state_of_the_connection,
    other_geography,
    other_clearing,
    upgrades_of_their_own,
    upgrades_of_their_own,
    inject_before_the_cluster,
    another_listener,
    another_listener,
    another_chain,
    another_chain,
    a_tunnel,
    other_addresses,
    other_addresses,
    both_lists,
    the_nodes_list,
    early_mutation,
    early_mutation,
    other_manager,
    other_timeouts,
    another_host,
    another_route,
    another_route,
    a_route_that_answers,
    a_route_to_a_cluster_of_its_own,
    shuffle_routes,
    weigh_clusters,
    a_cluster_by_other_means,
    add_headers,
    remove_headers,
    rewrite,
    other_route_settings,
    other_table_settings,
    other_injector,
    write_upstream,
    copy_a_cluster,
    other_settings,
    other_settings,
    other_failure,
    spell_in_camel_case,
    disable_in_camel_case,
    wrap_in_a_struct,
]


def edited(chance, world, number):
    """A shipped file with one to four edits."""
    file = world.written(chance.choice(FILES), number)
    file.edits = []
    for _ in range(chance.choice([1, 1, 2, 2, 3, 4])):
        edit = chance.choice(EDITS)
        try:
            detail = edit(chance, file)
        except (KeyError, IndexError, StopIteration, ValueError, TypeError):
            continue  # another edit took away, or spelt otherwise, what this one looks for
        if detail is not NONE:
            file.edits.append(edit)
            file.told.append(f"{edit.__name__}: {detail}" if detail else edit.__name__)
    if any(manager.get("use_remote_address") and trusts_none(manager) for manager in node_managers(file)):
        file.waived.add("restricted")  # both say that no balancer is there: then the loopback is the client
    return file


def trusts_none(manager):
    try:
        return not settings(manager)["client_address"]["trusted_proxies"]
    except (KeyError, StopIteration):
        return False
