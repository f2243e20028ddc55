"""Each kind of file that `waybill check` refuses, played in a real Envoy: what it would have let through. Beside each, a sound file.

A case alters one shipped file. `shows` is what its requests come to, in the words of `observed`; where it is empty, these
requests can't show the harm, and the case says why. `sound` is an alteration of the same kind that `check` passes, and that
changes nothing of what is observed.
"""

import contextlib
import copy
import random
import ssl
from dataclasses import dataclass, field
from typing import Callable

import pytest

import wire
from alterations import FILTER_CONFIG, HARMLESS, NONE, HTTP, camel, http
from edits import BATCH, DEFAULT_SEED, Hunt
from fuzz import Quiet
from harness import until
from shipped import DOORS, OPTIONS, OWN_KEY, SINGAPORE
from ways import (
    FILES, TYPE, Alone, Playground, Quoted, Raw, World, by_matcher, check, find, has_key, injected, node_of, scoped, set_settings, settings, split, yaml_of,
)  # fmt: skip

EDITS_SECONDS = 60
OFF, ON = {"@type": FILTER_CONFIG, "disabled": True}, {"@type": FILTER_CONFIG, "config": {}}
EVERYTHING = {"credential", "restricted", "account", "untagged"}
FORGED_NODE = "forged.example"  # in the tag that callers forge
DISABLED = "the node is disabled here, so requests to cluster"
NO_NODE = "no Waybill filter is on the way to cluster"
NO_COUNTRY = "no filter before the node sets `x-geo-country`"
SECOND_COUNTRY = "a second writer of `x-geo-country`"
LATE = "`compliance-tag` is changed after the node wrote or signed it"
OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"


@dataclass
class Case:
    """An alteration, the cause that `check` has to name, and what comes of it."""

    name: str
    alter: Callable
    cause: str
    shows: set
    sound: Callable | None = None
    of: str = "edge"
    sound_shows: set = field(default_factory=set)


CASES = []


def case(name, cause, shows, sound=None, of="edge", sound_shows=()):
    def add(alter):
        CASES.append(Case(name, alter, cause, set(shows), sound, of, set(sound_shows)))
        return alter

    return add


# === pieces that cases are made of ===


def at(filters, message):
    return filters.index(find(filters, message))


def hosts_of(file):
    return file.manager()["route_config"]["virtual_hosts"]


def first_route(file):
    return hosts_of(file)[0]["routes"][0]


def write(key, value, name="mutation"):
    append = {"header": {"key": key, "value": value}, "append_action": OVERWRITE}
    return http("header_mutation.v3.HeaderMutation", name, mutations={"request_mutations": [{"append": append}]})


def remove(key):
    return http("header_mutation.v3.HeaderMutation", "removal", mutations={"request_mutations": [{"remove": key}]})


def script(body):
    return http("lua.v3.Lua", "script", default_source_code={"inline_string": f"function envoy_on_request(h) {body} end"})


def peer(text, key="direct"):
    source = {"text_format_source": {"inline_string": text}}
    entry = {"object_key": key, "factory_key": "envoy.string", "format_string": source}
    return http("set_filter_state.v3.Config", "state", on_request_headers=[entry])


def skipped(one, header="x-bypass", value="yes"):
    """The filter behind a matcher that skips it."""
    seen = {"name": "header", "typed_config": {"@type": TYPE + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": header}}
    skip = {"name": "skip", "typed_config": {"@type": TYPE + "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}}
    matcher = {"predicate": {"single_predicate": {"input": seen, "value_match": {"exact": value}}}, "on_match": {"action": skip}}
    one["typed_config"] = {
        "@type": TYPE + "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": one["name"], "typed_config": one["typed_config"]},
        "xds_matcher": {"matcher_list": {"matchers": [matcher]}},
    }


def listener_beside(file, keep=lambda _filter: False):
    """A copy of the first listener, with the filters that `keep` says and the router."""
    made = copy.deepcopy(file.listeners[0])
    made["name"] += "-beside"
    filters = made["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    filters[:-1] = [each for each in filters[:-1] if keep(each)]
    file.listeners.append(made)
    file.doors[made["name"]] = file.doors[file.listeners[0]["name"]]
    return made


def chain_beside(file, keep=lambda _filter: False, default=False):
    listener = file.listeners[0]
    made = copy.deepcopy(listener["filter_chains"][0])
    filters = made["filters"][0]["typed_config"]["http_filters"]
    filters[:-1] = [each for each in filters[:-1] if keep(each)]
    near, far = ({"source_prefix_ranges": [{"address_prefix": net, "prefix_len": 8}]} for net in ("127.0.0.0", "10.0.0.0"))
    if default:
        listener["filter_chains"][0]["filter_chain_match"] = far
        listener["default_filter_chain"] = made
    else:
        listener["filter_chains"][0]["name"] = "first"
        listener["filter_chains"].append({**made, "name": "second", "filter_chain_match": near})


def change_settings(file, **changes):
    config = settings(file.manager())
    config |= changes
    set_settings(file.manager(), {name: value for name, value in config.items() if value is not None})


def trusted(file, *nets):
    xff = file.manager()["original_ip_detection_extensions"][0]["typed_config"]["xff_trusted_cidrs"]
    xff["cidrs"] = [{"address_prefix": net.partition("/")[0], "prefix_len": int(net.partition("/")[2])} for net in nets]


def everything(_filter):
    return True


# === the node stands on every way ===


def nothing_else(file):
    """The same place, with what changes nothing."""
    node_of(file.manager())["disabled"] = False


@case("the node is disabled", DISABLED, EVERYTHING, nothing_else)
def disabled(file):
    node_of(file.manager())["disabled"] = True


def spelt(value):
    def alter(file):
        node_of(file.manager())["disabled"] = value

    return alter


for value, sound in [
    (Raw("yes"), Raw("no")),
    (Raw("on"), Raw("off")),
    (Raw("True"), Raw("False")),
    (Quoted("true"), Quoted("false")),
    (Raw("y"), Raw("n")),
    (Raw("tRUE"), Raw("fALSE")),
]:
    case(f"the node is disabled: {value!r}", DISABLED, EVERYTHING, spelt(sound))(spelt(value))


@case("the node isn't there", NO_NODE, EVERYTHING)
def absent(file):
    file.manager()["http_filters"].remove(node_of(file.manager()))


def skip_another(file):
    cors = http("cors.v3.Cors", "cors")
    skipped(cors)
    file.manager()["http_filters"].insert(0, cors)


@case("a matcher skips the node", "a matcher may skip the node", {"credential", "restricted", "untagged"}, skip_another)
def matched(file):
    skipped(node_of(file.manager()))


def override(place, value, key="typed_per_filter_config", name="waybill"):
    def alter(file):
        place(file)[key] = {name: value}

    return alter


PLACES = {"table": lambda file: file.manager()["route_config"], "virtual host": lambda file: hosts_of(file)[0], "route": first_route}
for word, place in PLACES.items():
    sound = override(place, OFF, name="envoy.filters.http.cors")
    case(f"a {word} disables the node", DISABLED, EVERYTHING, sound)(override(place, OFF))
    case(f"a {word} disables the node, in camel case", DISABLED, EVERYTHING, sound)(override(place, OFF, "typedPerFilterConfig"))


def weighed(*overrides):
    def alter(file):
        route = first_route(file)["route"]
        name = route.pop("cluster")
        clusters = [{"name": name, "weight": 50} for _ in overrides]
        for each, one in zip(clusters, overrides, strict=True):
            each |= {"typed_per_filter_config": {"waybill": one}} if one else {}
        route["weighted_clusters"] = {"clusters": clusters}

    return alter


case("a weighted cluster disables the node", DISABLED, EVERYTHING, weighed(None, None))(weighed(OFF, OFF))


def enabled_below(file):
    """As Envoy Gateway writes every wasm filter."""
    node_of(file.manager())["disabled"] = True
    hosts_of(file)[0]["typed_per_filter_config"] = {"waybill": ON}


@case("a disabled node is enabled on some routes only", DISABLED, EVERYTHING, enabled_below)
def enabled_on_some(file):
    node_of(file.manager())["disabled"] = True
    routes = hosts_of(file)[0]["routes"]
    routes.append(copy.deepcopy(routes[0]))
    routes[0]["match"] = {"prefix": "/v1/other"}
    routes[0]["typed_per_filter_config"] = {"waybill": ON}


def upgrade(keep):
    def alter(file):
        manager = file.manager()
        filters = [each for each in manager["http_filters"][:-1] if keep(each)]
        manager["upgrade_configs"] = [{"upgrade_type": "websocket", "filters": copy.deepcopy([*filters, manager["http_filters"][-1]])}]

    return alter


case(
    "upgrades have filters of their own, without the node",
    "upgrade_configs[0].filters: no Waybill filter is on the way to cluster",
    {"credential", "restricted"},
    upgrade(everything),
)(upgrade(lambda _filter: False))
case("upgrades have filters of their own, without geography", NO_COUNTRY, {"restricted"}, upgrade(everything))(
    upgrade(lambda each: "geoip" not in each["name"])
)


@case("a second listener without the node", NO_NODE, EVERYTHING, lambda file: listener_beside(file, everything))
def second_listener(file):
    listener_beside(file)


@case("a second filter chain without the node", NO_NODE, EVERYTHING, lambda file: chain_beside(file, everything))
def second_chain(file):
    chain_beside(file)


@case("a default filter chain without the node", NO_NODE, EVERYTHING, lambda file: chain_beside(file, everything, default=True))
def default_chain(file):
    chain_beside(file, default=True)


def own_typed_struct(one, url=None):
    typed = one["typed_config"]
    one["typed_config"] = {"@type": TYPE + "xds.type.v3.TypedStruct", "type_url": typed.pop("@type"), "value": typed}


@case("a second listener without the node, its manager as a TypedStruct", NO_NODE, EVERYTHING)
def hidden_manager(file):
    own_typed_struct(listener_beside(file)["filter_chains"][0]["filters"][0])


@case("a second listener without the node, in camel case", NO_NODE, EVERYTHING, lambda file: file.listeners.append(camel(listener_copy(file))))
def camel_listener(file):
    file.listeners.append(camel(listener_beside(file)))
    file.listeners.pop(-2)


def listener_copy(file):
    made = listener_beside(file, everything)
    file.listeners.remove(made)
    return made


def another_host(value):
    def alter(file):
        host = {**copy.deepcopy(hosts_of(file)[0]), "name": "other", "domains": ["other.example"]}
        host["typed_per_filter_config"] = {"waybill": value} if value else {}
        hosts_of(file).append(host)
        file.hosts.append("other.example")

    return alter


case(
    "another virtual host disables the node",
    "route_config.virtual_hosts[1].typed_per_filter_config.waybill: the node is disabled here, so requests to cluster",
    {"credential", "restricted"},
    another_host(None),
)(another_host(OFF))


@case("a tunnel of bytes leads to the provider", "a TCP proxy leads to cluster", set())
def tunnel(file):
    """The key is put in by an HTTP filter, so that these bytes go on without it."""
    typed = {"@type": TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "tcp", "cluster": file.clusters[0]["name"]}
    name = file.listeners[0]["name"] + "-tcp"
    file.listeners.append(
        {"name": name, "address": file.listeners[0]["address"], "filter_chains": [{"filters": [{"name": "tcp", "typed_config": typed}]}]}
    )


# === other ways to a cluster ===


@case("a tree of matchers leads around the node", "its routes are in a matcher tree", EVERYTHING)
def matcher_tree(file):
    by_matcher(hosts_of(file)[0], {**first_route(file), "typed_per_filter_config": {"waybill": OFF}})


@case("a header of the client's chooses the table of routes", "scoped routes can't be followed", set())
def scopes(file):
    """Both tables are the shipped one. Scopes from elsewhere can't be seen, so that none are proved."""
    scoped(file.manager())


@case("a token's claim is the country", SECOND_COUNTRY, {"restricted"})
def token(file):
    provider = {"local_jwks": {"inline_string": wire.jwks()}, "from_headers": [{"name": "x-test-jwt"}]}
    provider["claim_to_headers"] = [{"header_name": "x-geo-country", "claim_name": "sub"}]
    either = {"requires_any": {"requirements": [{"provider_name": "idp"}, {"allow_missing": {}}]}}
    rules = [{"match": {"prefix": "/"}, "requires": either}]
    before_node(http("jwt_authn.v3.JwtAuthentication", "jwt", providers={"idp": provider}, rules=rules))(file)


@case("a route has a script of its own before the node", "the filter `script` may change what the node judges by", {"restricted"})
def script_of_route(file):
    before_node(script(""))(file)
    code = {"inline_string": "function envoy_on_request(h) h:headers():replace('x-geo-country', 'SG') end"}
    first_route(file)["typed_per_filter_config"] = {"script": {"@type": TYPE + HTTP + "lua.v3.LuaPerRoute", "source_code": code}}


@case("a header of the client's names the cluster", "the cluster is named by a header", set())
def by_header(file):
    """The node still stands before it; but which node's promises hold for which cluster can't be said."""
    route = first_route(file)["route"]
    del route["cluster"]
    route["cluster_header"] = "x-cluster"


@case("a script names the cluster", "a plugin chooses the cluster", set())
def by_script(file):
    route = first_route(file)["route"]
    name, message = route.pop("cluster"), "envoy.extensions.router.cluster_specifiers.lua.v3.LuaConfig"
    code = {"inline_string": f"function envoy_on_route(h) return '{name}' end"}
    typed = {"@type": TYPE + message, "source_code": code, "default_cluster": name}
    route["inline_cluster_specifier_plugin"] = {"extension": {"name": "lua", "typed_config": typed}}


def mirror(name):
    def alter(file):
        target = next(each["name"] for each in file.clusters if each["name"].endswith(name))
        first_route(file)["route"]["request_mirror_policies"] = [{"cluster": target}]

    return alter


def plain_cluster(file):
    name = file.clusters[0]["name"] + "-plain"
    endpoints = file.clusters[0]["load_assignment"]["endpoints"]
    file.clusters.append({"name": name, "connect_timeout": "2s", "load_assignment": {"cluster_name": name, "endpoints": endpoints}})
    return name


@case("requests are mirrored to another provider", "requests are copied to another cluster that holds a credential", {"twice"})
def mirrored(file):
    mirror("openai")(file)


@case("an aggregate of clusters hides the provider's", NO_NODE, EVERYTHING)
def aggregate(file):
    """A bare listener to it. The upstream filters are those of the aggregate."""
    bare, target = listener_beside(file), file.clusters[0]
    typed = {"@type": TYPE + "envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": [target["name"]]}
    name = target["name"] + "-all"
    made = {"name": name, "connect_timeout": "2s", "lb_policy": "CLUSTER_PROVIDED", "cluster_type": {"name": "aggregate", "typed_config": typed}}
    file.clusters.append({**made, "typed_extension_protocol_options": copy.deepcopy(target["typed_extension_protocol_options"])})
    manager = bare["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = name


@case("a router puts the key in for a cluster that doesn't", NO_NODE, EVERYTHING)
def router_injects(file):
    bare, name = listener_beside(file), plain_cluster(file)
    manager = bare["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = name
    find(manager["http_filters"], "Router")["typed_config"]["upstream_http_filters"] = copy.deepcopy(injected(file.clusters[0]))


@case("a listener without the node puts the key in itself", NO_NODE, EVERYTHING)
def listener_injects(file):
    bare, name = listener_beside(file), plain_cluster(file)
    manager = bare["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = name
    manager["http_filters"].insert(0, copy.deepcopy(injected(file.clusters[0])[0]))


# === a key by other means ===


def bare_to_plain(file):
    """A listener without the node, to a cluster without a credential. Gives its manager."""
    bare, name = listener_beside(file), plain_cluster(file)
    manager = bare["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = name
    return manager


@case("a route without the node writes the key", NO_NODE, EVERYTHING)
def route_writes_key(file):
    bare_to_plain(file)["route_config"]["virtual_hosts"][0]["routes"][0]["request_headers_to_add"] = [entry("x-api-key", OWN_KEY)]


@case("a filter of a listener without the node writes the key", NO_NODE, EVERYTHING)
def filter_writes_key(file):
    bare_to_plain(file)["http_filters"].insert(0, write("authorization", f"Bearer {OWN_KEY}"))


@case("a script of a listener without the node writes the key", NO_NODE, EVERYTHING)
def script_writes_key(file):
    bare_to_plain(file)["http_filters"].insert(0, script(f"h:headers():replace('x-api-key', '{OWN_KEY}')"))


@case("the node is optional", "the node is optional here", set())
def optional(file):
    """This Envoy has wasm. One without it would start, and leave the node out."""
    node_of(file.manager())["is_optional"] = True


@case("an upstream filter writes the key", NO_NODE, EVERYTHING)
def upstream_writes_key(file):
    bare_to_plain(file)
    options = {**copy.deepcopy(file.clusters[0]["typed_extension_protocol_options"][OPTIONS])}
    options["http_filters"][0] = write("x-api-key", OWN_KEY)
    file.clusters[-1]["typed_extension_protocol_options"] = {OPTIONS: options}


@case("a cluster's options are a TypedStruct", NO_NODE, EVERYTHING)
def hidden_options(file):
    listener_beside(file)
    options = file.clusters[0]["typed_extension_protocol_options"][OPTIONS]
    url = options.pop("@type")
    file.clusters[0]["typed_extension_protocol_options"][OPTIONS] = {"@type": TYPE + "xds.type.v3.TypedStruct", "type_url": url, "value": options}


@case(
    "a script sends requests to the provider by itself", "this filter can send requests to cluster", {"credential", "restricted", "twice", "untagged"}
)
def script_calls(file):
    """Its request has the caller's number, so that it is seen."""
    call = "{[':method']='POST', [':path']='/v1/messages', [':authority']='a.example', ['x-probe']=h:headers():get('x-probe')}"
    file.manager()["http_filters"].insert(0, script(f"h:httpCall('{file.clusters[0]['name']}', {call}, '', 2000)"))


# === `direct` has one writer ===


def state_of_another_key(file):
    file.manager()["http_filters"].insert(1, peer("%REQ(x-real-ip)%", "other"))


@case("`direct` is written again, from a header", "a second writer of the filter state `direct`", {"restricted"}, state_of_another_key, of="demo")
def direct_again(file):
    file.manager()["http_filters"].insert(1, peer("%REQ(x-real-ip)%"))


@case("`direct` is a header", "no filter before this one sets the filter state `direct`", {"restricted"}, of="demo")
def direct_from_header(file):
    find(file.manager()["http_filters"], "Config")["typed_config"]["on_request_headers"][0]["format_string"]["text_format_source"][
        "inline_string"
    ] = "%REQ(x-real-ip)%"


@case("nothing writes `direct`", "no filter before this one sets the filter state `direct`", {"restricted"}, of="demo")
def direct_absent(file):
    file.manager()["http_filters"].pop(0)


@case("`direct` is written behind the node", "no filter before this one sets the filter state `direct`", {"restricted"}, of="demo")
def direct_behind(file):
    filters = file.manager()["http_filters"]
    filters.insert(1, filters.pop(0))


@case("`direct` is written only for some requests", "requests can pass by the filter that sets `direct`", {"restricted"}, of="demo")
def direct_skipped(file):
    skipped(file.manager()["http_filters"][0])


def override_of_state(key):
    def alter(file):
        entries = peer("%REQ(x-real-ip)%", key)["typed_config"]
        first_route(file)["typed_per_filter_config"] = {"envoy.filters.http.set_filter_state": entries}
        for route in hosts_of(file)[0]["routes"]:
            route["typed_per_filter_config"] = {"envoy.filters.http.set_filter_state": entries}

    return alter


case("a route writes `direct` anew", "requests can pass by the filter that sets `direct`", {"restricted"}, of="demo")(override_of_state("direct"))


@case("`direct` is the connection's", "a filter in front of the connection manager writes the filter state `direct`", {"restricted"}, of="demo")
def direct_of_connection(file):
    """Of another life span: the HTTP filter can't write it again. Here it is the address of somebody in Singapore."""
    entry = peer(SINGAPORE)["typed_config"]["on_request_headers"]
    typed = {"@type": TYPE + "envoy.extensions.filters.network.set_filter_state.v3.Config", "on_new_connection": entry}
    file.listeners[0]["filter_chains"][0]["filters"].insert(0, {"name": "state", "typed_config": typed})


@case("`direct` is said to be read only, and written twice", "a second writer of the filter state `direct`", set(), of="demo")
def direct_read_only(file):
    """Envoy 1.40 writes it again all the same."""
    first = peer("%REQ(x-real-ip)%")
    first["typed_config"]["on_request_headers"][0]["read_only"] = True
    file.manager()["http_filters"].insert(0, first)


# === geography has one writer, before the node and behind the removal ===


def before_node(one):
    def alter(file):
        filters = file.manager()["http_filters"]
        filters.insert(at(filters, "Wasm"), copy.deepcopy(one))

    return alter


case("the country is written from a client's header", SECOND_COUNTRY, {"restricted"}, before_node(write("x-other", "%REQ(x-my-country)%")))(
    before_node(write("x-geo-country", "%REQ(x-my-country)%"))
)
case(
    "a script writes the country", "the filter `script` may change what the node judges by", {"restricted"}, before_node(http("cors.v3.Cors", "cors"))
)(before_node(script("h:headers():replace('x-geo-country', 'SG')")))


def limit(file):
    """Never enforced: what it would have refused gets a header."""
    all_of_them, none = ({"default_value": {"numerator": number}} for number in (100, 0))
    bucket = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"}
    rules = {"token_bucket": bucket, "filter_enabled": all_of_them, "filter_enforced": none}
    added = [entry("x-geo-country", "SG")]
    before_node(http("local_ratelimit.v3.LocalRateLimit", "limit", stat_prefix="limit", request_headers_to_add_when_not_enforced=added, **rules))(
        file
    )


case("a rate limit writes the country", SECOND_COUNTRY, {"restricted"})(limit)
case("the country is moved into metadata", SECOND_COUNTRY, {"restricted"})(
    before_node(
        http(
            "header_to_metadata.v3.Config",
            "moved",
            request_rules=[{"header": "x-geo-country", "on_header_present": {"key": "country", "type": "STRING"}, "remove": True}],
        )
    )
)
case("another filter writes who its client is into the country", SECOND_COUNTRY, {"restricted"})(
    before_node(
        http(
            "api_key_auth.v3.ApiKeyAuth",
            "keys",
            credentials=[{"key": "sk-c-1", "client": "SG"}],
            key_sources=[{"header": "x-api-key"}],
            forwarding={"header": "x-geo-country"},
        )
    )
)


@case("geography is looked up behind the node", NO_COUNTRY, {"restricted"})
def geography_behind(file):
    filters = file.manager()["http_filters"]
    filters.insert(at(filters, "Wasm"), filters.pop(at(filters, "Geoip")))


@case("nothing looks geography up", NO_COUNTRY, {"restricted"})
def geography_absent(file):
    filters = file.manager()["http_filters"]
    filters.remove(find(filters, "Geoip"))


@case("geography is disabled", NO_COUNTRY, {"restricted"})
def geography_disabled(file):
    find(file.manager()["http_filters"], "Geoip")["disabled"] = True


@case("a route disables the geography", "requests can pass by the filter that sets `x-geo-country`", {"restricted"})
def geography_overridden(file):
    first_route(file)["typed_per_filter_config"] = {"envoy.filters.http.geoip": OFF}


@case("a matcher skips the geography", "requests can pass by the filter that sets `x-geo-country`", {"restricted"})
def geography_matched(file):
    skipped(find(file.manager()["http_filters"], "Geoip"))


@case("geography goes into another header", NO_COUNTRY, {"restricted"})
def geography_elsewhere(file):
    provider = find(file.manager()["http_filters"], "Geoip")["typed_config"]["provider"]["typed_config"]
    provider["common_provider_config"]["geo_field_keys"]["country"] = "x-other-country"


@case("geography follows a header of the client's", "this filter looks up another address than the connection manager's", {"restricted"})
def geography_by_header(file):
    find(file.manager()["http_filters"], "Geoip")["typed_config"]["custom_header_config"] = {"header_name": "x-real-ip"}


@case("a client's own country isn't removed", "a client's own `x-geo-country` isn't removed", set())
def country_kept(file):
    """China is in Envoy's database. Of an address that isn't, the client's own country would count."""
    filters = file.manager()["http_filters"]
    filters.remove(find(filters, "HeaderMutation"))


@case("the removal of a client's country comes behind the geography", "a client's own `x-geo-country` isn't removed", {"restricted"})
def removal_behind(file):
    filters = file.manager()["http_filters"]
    filters.insert(2, filters.pop(1))


def origin(*sources):
    def alter(file):
        change_settings(file, geo={"origin": list(sources)})

    return alter


case("the node believes a header that nothing writes", "no filter before the node sets `x-my-country`", {"restricted"})(
    origin({"header": "x-my-country"})
)
case("the node believes another header too", "no filter before the node sets `x-my-country`", set(), origin({"header": "x-geo-country"}))(
    origin({"header": "x-geo-country"}, {"header": "x-my-country"})
)


# === trusted networks ===


def both_narrower(file):
    trusted(file, "127.0.0.0/9")
    config = settings(file.manager())
    config["client_address"]["trusted_proxies"] = ["127.0.0.0/9"]
    set_settings(file.manager(), config)


case("Envoy trusts more networks than the node", "Envoy trusts other networks than the node", set(), both_narrower)(
    lambda file: trusted(file, "0.0.0.0/0")
)
case(
    "Envoy trusts fewer networks than the node",
    "Envoy trusts other networks than the node",
    {"closed"},
    lambda file: trusted(file, "127.128.0.0/9", "127.0.0.0/9"),
)(lambda file: trusted(file, "10.0.0.0/8"))


@case("Envoy takes the address from a header of the client's", "this doesn't tell which networks Envoy trusts", {"closed"})
def custom_address(file):
    """The node sees that the addresses differ, and refuses everybody."""
    typed = {"@type": TYPE + "envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig", "header_name": "x-real-ip"}
    file.manager()["original_ip_detection_extensions"] = [{"name": "custom", "typed_config": typed}]


@case("Envoy takes the connection's address, and the node X-Forwarded-For", "Envoy takes the connected machine for the client", {"closed"})
def remote_address(file):
    del file.manager()["original_ip_detection_extensions"]
    file.manager()["use_remote_address"] = True


@case(
    "X-Forwarded-For is rewritten before the node",
    "http_filters[1]: `x-forwarded-for` is changed before the node",
    {"restricted"},
    of="snapshot",
    sound=before_node(write("x-forwarded", "1")),
)
def forwarded_rewritten(file):
    before_node(write("x-forwarded-for", "%REQ(x-real-ip)%"))(file)


@case(
    "X-Forwarded-For is rewritten before any filter",
    "early_header_mutation_extensions[0]: `x-forwarded-for` is changed before the node",
    {"restricted"},
    of="snapshot",
)
def forwarded_rewritten_early(file):
    mutations = file.manager()["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    mutations.append({"append": {"header": {"key": "x-forwarded-for", "value": "%REQ(x-real-ip)%"}, "append_action": OVERWRITE}})


@case("the caller's credential is written before the node", "`x-api-key` is changed before the node reads a credential in it", {"credential"})
def credential_written(file):
    before_node(write("x-api-key", "sk-c-1"))(file)


# === the injector ===


def injector(change):
    def alter(file):
        change(injected(file.clusters[0]))

    return alter


def say_overwrite(filters):
    filters[0]["typed_config"]["overwrite"] = Raw("yes")


case("no credential is put in", "no credential is put in for cluster", {"keyless"})(injector(lambda filters: filters.pop(0)))
case("the injector is disabled", "requests can pass this injector by", {"keyless"}, injector(lambda filters: filters[0].update(disabled=False)))(
    injector(lambda filters: filters[0].update(disabled=True))
)
# the node takes off what a caller might have there, wherever it knows the header
case("the injector doesn't overwrite", "without `overwrite: true`", set(), injector(say_overwrite))(
    injector(lambda filters: filters[0]["typed_config"].update(overwrite=False))
)


@case("the key is put in before the node", "the credential is injected before the node", {"closed"})
def injected_before(file):
    """The node takes it for the caller's, and knows nobody by it."""
    before_node(injected(file.clusters[0])[0])(file)


@case("a matcher skips the injector", "requests can pass this injector by", {"keyless"})
def injector_matched(file):
    """For requests with a header of the client's choice."""
    skipped(injected(file.clusters[0])[0])


@case("the node has no provider", "the node doesn't know which paths are the account's own API", {"account"})
def no_provider(file):
    change_settings(file, provider=None)


# === nothing behind the node writes what it owns ===


def behind_node(one):
    def alter(file):
        file.manager()["http_filters"].insert(-1, copy.deepcopy(one))

    return alter


case("a script behind the node", "the filter `script` comes after the node", {"untagged"}, behind_node(http("cors.v3.Cors", "cors")))(
    behind_node(script("h:headers():remove('compliance-tag')"))
)
case("the tag is removed behind the node", LATE, {"untagged"}, behind_node(remove("x-other")))(behind_node(remove("compliance-tag")))
case("the tag is written behind the node", LATE, {"untagged"}, behind_node(write("x-other", "1")))(behind_node(write("compliance-tag", "forged")))
case("the tag is removed upstream", LATE, {"untagged"}, injector(lambda filters: filters.insert(0, remove("x-other"))))(
    injector(lambda filters: filters.insert(0, remove("compliance-tag")))
)


def headers_of(place, **lists):
    def alter(file):
        for name, entries in lists.items():
            place(file).setdefault(name, []).extend(entries)

    return alter


def entry(key, value):
    return {"header": {"key": key, "value": value}, "append_action": OVERWRITE}


for word, place in PLACES.items():
    sound = headers_of(place, request_headers_to_add=[entry("x-other", "1")])
    case(f"a {word} writes the tag", LATE, {"untagged"}, sound)(headers_of(place, request_headers_to_add=[entry("compliance-tag", "forged")]))
    case(f"a {word} removes the tag", LATE, {"untagged"}, headers_of(place, request_headers_to_remove=["x-other"]))(
        headers_of(place, request_headers_to_remove=["compliance-tag"])
    )


@case("a route changes headers by an override of a filter behind the node", LATE, {"untagged"})
def late_override(file):
    behind_node(remove("x-other"))(file)
    mutations = {"request_mutations": [{"remove": "compliance-tag"}]}
    value = {"@type": TYPE + HTTP + "header_mutation.v3.HeaderMutationPerRoute", "mutations": mutations}
    first_route(file)["typed_per_filter_config"] = {"removal": value}


@case("the customer's address goes on", "the provider may learn a customer's address", {"address"})
def address_goes_on(file):
    listed = file.manager()["route_config"]["request_headers_to_remove"]
    listed.remove("x-forwarded-for")


@case("Envoy tells the provider the name that was called", "the provider learns the name that a customer called", {"name"})
def name_goes_on(file):
    find(file.manager()["http_filters"], "Router")["typed_config"].pop("suppress_envoy_headers")
    file.manager()["route_config"]["request_headers_to_remove"].remove("x-envoy-original-host")


# === routes ===


def retries(words):
    def alter(file):
        hosts_of(file)[0]["retry_policy"] = {"retry_on": words, "num_retries": 2}

    return alter


case("a signed route rewrites the path", "the path is rewritten after signing", {"path"}, of="transit")(
    lambda file: first_route(file)["route"].update(prefix_rewrite="/v2")
)
case("a signed route calls another name", "but the request is sent to `other.example`", {"host"}, of="transit")(
    lambda file: first_route(file)["route"].update(host_rewrite_literal="other.example")
)
case("a signed request may be sent twice", "a retry on `5xx` sends one signature twice", set(), retries("connect-failure"), of="transit")(
    retries("5xx")
)


@case("a client chooses the route", "a client's own `x-waybill-route` isn't removed", set(), of="demo")
def route_chosen(file):
    """The node takes the header off, and Envoy chooses anew; before the node, a client's choice holds for its overrides."""
    file.manager().pop("early_header_mutation_extensions")


# === the filter itself ===


def failure(**changes):
    def alter(file):
        node_of(file.manager())["typed_config"]["config"].update(changes)

    return alter


case(
    "a node that failed lets everything pass",
    "after one failure, this may let every request pass unscreened",
    set(),
    failure(failure_policy="FAIL_RELOAD"),
)(failure(failure_policy="FAIL_OPEN"))
case("a node that failed lets everything pass, by number", "after one failure, this may let every request pass unscreened", set())(
    failure(failure_policy=3)
)
case("the interval of restarts ends Envoy", "with an interval below 2 ms", set(), failure(reload_config={"backoff": {"base_interval": "0.002s"}}))(
    failure(reload_config={"backoff": {"base_interval": "0.001s"}})
)


@case("Envoy keeps the filter from deciding", "Envoy keeps functions from the filter", EVERYTHING)
def restricted_capabilities(file):
    """Without `proxy_on_request_headers`, no request comes to it."""
    allowed = "proxy_on_vm_start proxy_on_configure proxy_on_context_create proxy_log clock_time_get random_get environ_get environ_sizes_get"
    allowed += " proxy_get_buffer_bytes proxy_define_metric proxy_set_tick_period_milliseconds proxy_get_current_time_nanoseconds"
    allowed += " fd_write proc_exit proxy_get_shared_data proxy_set_shared_data proxy_increment_metric proxy_record_metric"
    failure(capability_restriction_config={"allowed_capabilities": {name: {} for name in allowed.split()}})(file)


@case("headers have no bound", "a caller may send more than 60 kB of headers", set(), lambda file: file.manager().update(max_request_headers_kb=16))
def no_bound(file):
    file.manager()["max_request_headers_kb"] = 512


# === the tests ===


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Every case and every sound file beside one, in one Envoy: what is observed of each."""
    folder = tmp_path_factory.mktemp("ways")
    with Quiet() as upstream:
        world, files = World(folder, upstream), {}
        for number, each in enumerate(CASES):
            for suffix, alter in [("", each.alter), ("s", each.sound)]:
                if alter:
                    files[each.name + suffix] = world.written(each.of, f"{number}{suffix}")
                    alter(files[each.name + suffix])
        for name in ("edge", "transit", "demo", "snapshot"):
            files[name] = world.written(name, name)
        (folder / "envoy").mkdir()
        with Playground(folder / "envoy", world, list(files.values())) as playground:
            playground.wait_for_snapshots()
            seen = {name: observed(playground, file) for name, file in files.items()}
        yield world, files, seen


def observed(playground, file):
    """What came of a file's requests: promises that broke, and what is wrong with what a good request becomes."""
    if reason := playground.refused(file):
        return {f"refused by Envoy: {reason}"}
    seen = set()
    for _, played in playground.play(file):
        if broken := played.breaks():
            seen.add(broken)
        if played.probe.promise == "control":
            seen |= faults(played)
    return seen


def faults(played):
    if not played.arrived:
        return {"closed"}
    names = {"keyless": OWN_KEY not in str(played.arrived), "twice": len(played.arrived) > 1}
    [headers] = [[tuple(pair) for pair in each["headers"]] for each in played.arrived[:1]]
    fields = dict(headers)
    tag = fields.get("compliance-tag", "")
    names |= {
        "untagged": not str(tag).startswith("node=") or FORGED_NODE in str(tag) or [name for name, _ in headers].count("compliance-tag") != 1,
        "address": SINGAPORE in str(headers),
        "name": "x-envoy-original-host" in fields,
        "fallback": fields["host"] == "api.fallback.example",
        "host": fields["host"] == "other.example",
        "path": played.arrived[0]["path"] != played.probe.path,
    }
    return {name for name, is_so in names.items() if is_so}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_altered_file_is_refused_for_what_it_would_let_through(played, case):
    world, files, seen = played
    assert seen[case.name] == case.shows
    status, text = world.checked(files[case.name])
    assert status == 1, text
    assert case.cause in text


@pytest.mark.parametrize("case", [case for case in CASES if case.sound], ids=lambda case: case.name)
def test_a_sound_file_beside_it_passes(played, case):
    world, files, seen = played
    assert seen[case.name + "s"] == case.sound_shows
    status, text = world.checked(files[case.name + "s"])
    assert status == 0, text


# === files that belong together, and what a running Envoy prints ===


@pytest.fixture
def world(tmp_path):
    with Quiet() as upstream:
        yield World(tmp_path, upstream)


def test_the_shipped_files_pass_alone_and_together():
    """From the repository's root, because they name files relatively."""
    files = [f"envoy/{name}.yaml" for name in FILES]
    for paths in [*[[file] for file in files], files]:
        status, text = check(*paths)
        assert status == 0, text


@pytest.mark.parametrize("name", FILES)
def test_parts_pass_together_and_as_a_dump(world, tmp_path, name):
    """The whole in several files runs in Envoy, as it does in one, and Envoy's own account of it passes too."""
    file = world.written(name)
    bootstrap, parts = split(file, tmp_path)
    (tmp_path / "envoy").mkdir()
    with Alone(tmp_path / "envoy", world, file, bootstrap) as envoy:
        envoy.wait_for_snapshots()
        promised = [played for _, played in envoy.play(file)]
        (tmp_path / "dump.json").write_text(envoy.admin("/config_dump"))
    assert all(played.arrived for played in promised if played.probe.promise == "control")
    assert not any(played.breaks() for played in promised if played.probe.promise == "credential")
    every = [tmp_path / "envoy" / "envoy.json", *[path for paths in parts.values() for path in paths]]
    for paths in (every, every[::-1], [tmp_path / "dump.json"]):
        status, text = check(*paths)
        assert status == 0, (paths, text)


def no_list(file):
    config = settings(file.manager())
    config["client_address"]["trusted_proxies"] = ["10.0.0.0/8"]
    set_settings(file.manager(), config)


ALTERED_PARTS = {
    "the node is disabled in LDS": ("lds", disabled),
    "a route disables the node in RDS": ("rds", override(first_route, OFF, name="waybill-0")),
    "no credential is put in, in CDS": ("cds", injector(lambda filters: filters.pop(0))),
    "the node trusts others in ECDS": ("ecds", no_list),
}


@pytest.mark.parametrize("name", ALTERED_PARTS)
def test_one_altered_part_is_refused(world, tmp_path, name):
    kind, alter = ALTERED_PARTS[name]
    sound, altered = world.written("edge"), world.written("edge")
    alter(altered)
    for file, folder in ((sound, tmp_path / "sound"), (altered, tmp_path / "altered")):
        folder.mkdir()
        bootstrap, _ = split(file, folder)
        (folder / "bootstrap.yaml").write_text(yaml_of(bootstrap))
    different = [
        path.name for path in (tmp_path / "sound").glob("*ds*.yaml") if without_folder(path) != without_folder(tmp_path / "altered" / path.name)
    ]
    assert different == [f"{kind}.yaml"]
    assert check(*sorted((tmp_path / "sound").glob("*.yaml")))[0] == 0
    status, text = check(*sorted((tmp_path / "altered").glob("*.yaml")))
    assert status == 1, text


def without_folder(path):
    return path.read_text().replace(str(path.parent), "")


@pytest.mark.parametrize("kind", ["lds", "rds", "cds", "ecds"])
def test_a_way_needs_all_its_parts(world, tmp_path, kind):
    """A part by itself is judged as far as it goes; a way that names what isn't there is refused."""
    bootstrap, parts = split(world.written("edge"), tmp_path)
    (tmp_path / "bootstrap.yaml").write_text(yaml_of(bootstrap))
    if kind != "lds":
        status, text = check(*parts[kind])
        assert status == 0, text
    others = [path for other, paths in parts.items() for path in paths if other != kind]
    for path in parts[kind]:
        path.rename(path.with_suffix(".elsewhere"))  # a local path is one that `check` may follow
    status, text = check(tmp_path / "bootstrap.yaml", *others)
    assert status == 1, text


def test_a_dump_of_an_altered_file_is_refused(world, tmp_path):
    for number, alter in enumerate([disabled, override(first_route, OFF), injector(lambda filters: filters.pop(0)), second_listener]):
        file, folder = world.written("edge"), tmp_path / str(number)
        folder.mkdir()
        alter(file)
        with Alone(folder, world, file, file.document) as envoy:
            (folder / "dump.json").write_text(envoy.admin("/config_dump"))
        status, text = check(folder / "dump.json")
        assert status == 1, (alter, text)


# === client certificates ===


NAME = "spiffe://acme.example/c-1"


def by_certificate(file, certificates, **context):
    """The first listener with TLS, where the caller's certificate says who it is."""
    certificate, key = certificates.server
    common = {"tls_certificates": [{"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}]}
    if context:
        common["validation_context"] = context
    typed = {
        "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": common,
    }
    file.listeners[0]["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": typed}
    config = settings(file.manager())
    config["identity"] = {"sources": [{"mtls": "uri_san"}]}
    config["register"]["customers"][0]["mtls"] = [NAME]
    set_settings(file.manager(), config)


@pytest.mark.parametrize(
    "context, customer, forger, status",
    [({}, 200, False, 0), ({"trust_chain_verification": "ACCEPT_UNTRUSTED"}, 200, True, 1), (None, 401, False, 1)],
    ids=["verified", "untrusted ones too", "without an authority"],
)
def test_a_client_certificate_has_to_be_verified(world, tmp_path, certificates, context, customer, forger, status):
    """A caller can make one with a customer's name. Without an authority to verify by, Envoy doesn't tell any name."""
    file, folder = world.written("edge"), tmp_path / "envoy"
    folder.mkdir()
    by_certificate(file, certificates, **({"trusted_ca": {"filename": str(certificates.ca)}, **context} if context is not None else {}))
    certificates.openssl("self-made", "-subj", "/CN=self-made", "-addext", f"subjectAltName=URI:{NAME}")
    forged = ssl.create_default_context(cafile=certificates.ca)
    forged.load_cert_chain(certificates.folder / "self-made.pem", certificates.folder / "self-made.key")
    request = wire.raw_request("POST", "/v1/messages", "localhost", [["x-forwarded-for", SINGAPORE]], b"")
    with Alone(folder, world, file, file.document) as envoy:
        port = envoy.open[file.listeners[0]["name"]]
        assert wire.exchange(port, request, certificates.client(f"URI:{NAME}"), "POST").status == customer
        world.upstream.take()
        with contextlib.suppress(OSError):
            wire.exchange(port, request, forged, "POST")
        passed = any(has_key(each) for each in world.upstream.take())
    assert passed == forger
    checked, text = world.checked(file)
    assert checked == status, text
    assert status == 0 or "certificate" in text


# === the log ===


def logged(text):
    """A log of text in front of, or beside, the event."""
    kind = TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog"
    return {"name": "events", "typed_config": {"@type": kind, "path": "", "log_format": {"text_format_source": {"inline_string": text}}}}


def test_a_caller_writes_no_event(world, tmp_path):
    """A text format prints the caller's bytes as they come: here a whole event."""
    file, folder, log = world.written("edge"), tmp_path / "envoy", tmp_path / "events.jsonl"
    folder.mkdir()
    entry = logged('{"request_id": "%REQ(x-request-id)%", "event": %FILTER_STATE(wasm.waybill:PLAIN)%}\n')
    entry["typed_config"]["path"] = str(log)
    file.manager()["access_log"] = [entry]
    forged = 'a", "event": {"customer": "somebody-else"}, "x": "'
    request = wire.raw_request("POST", "/v1/messages", "localhost", [["x-request-id", forged]], b"")
    with Alone(folder, world, file, file.document) as envoy:
        assert wire.exchange(envoy.open[file.listeners[0]["name"]], request, method="POST").status == 401
        until(5, "the line", lambda: log.exists() and log.read_text().endswith("\n"), envoy.log)
    assert '"event": {"customer": "somebody-else"}' in log.read_text()
    status, text = world.checked(file)
    assert status == 1, text
    assert "access_log" in text


def test_a_filter_that_is_not_there_is_named(world, tmp_path):
    """Envoy doesn't start either."""
    file = world.written("edge")
    node_of(file.manager())["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = str(tmp_path / "waybill.wasm")
    (tmp_path / "envoy").mkdir()
    with pytest.raises(AssertionError, match="Envoy ended"), Alone(tmp_path / "envoy", world, file, file.document):
        pass
    status, text = world.checked(file)
    assert status == 1, text
    assert str(tmp_path / "waybill.wasm") in text


# === random edits ===


@pytest.mark.parametrize("edit", HARMLESS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_harmless_edit_passes(world, name, edit):
    for seed in range(5):
        file = world.written(name)
        if edit(random.Random(seed), file) is not NONE:
            status, text = world.checked(file)
            assert status == 0, text


def test_random_edits_that_let_somebody_through_are_refused(tmp_path):
    """A minute of `./build.sh edits`."""
    with Quiet() as upstream:
        hunt = Hunt(tmp_path, World(tmp_path, upstream), DEFAULT_SEED)
        hunt.run(EDITS_SECONDS)
    print(hunt.figures())
    assert (hunt.found, hunt.too_strict) == ([], [])
    held = {promise: {door for door, each in hunt.promises if each == promise} for promise in ("credential", "restricted")}
    assert held["credential"] == {door.name for door in DOORS}
    assert held["restricted"] == held["credential"] - {"chain-b"}  # which says that it only reports
    assert hunt.count["accepted"] >= BATCH and hunt.count["let through, and refused by check"] > 0
