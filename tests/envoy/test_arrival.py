"""What Envoy makes of a request before any filter sees it: the table `tests/data/envoy/arrival.json`, which the desk plays.

`ENVOY=… python tests/envoy/test_arrival.py` asks a real Envoy and writes the table anew; the test asks again and compares. Each
request is sent under each setting of the HTTP connection manager, from each direct peer, which the PROXY protocol plays. An answer
is what differs from the request: the address that Envoy takes for the client's, and what the upstream received; or the status with
which Envoy answered by itself. `tests/arrival.rs` holds the desk against the same table.
"""

import json
import tempfile
from pathlib import Path

import pytest

import wire
from bootstrap import TYPES, address, cluster, http_filter
from harness import ROOT, Envoy

TABLE = ROOT / "tests" / "data" / "envoy" / "arrival.json"
HCM = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
DETECTION = f"{TYPES}.http.original_ip_detection"
OWN = "own-address"  # stands for the machine's own address, which Envoy appends for a peer on the loopback


def xff(**settings):
    return {"name": "xff", "typed_config": {"@type": f"{DETECTION}.xff.v3.XffConfig", **settings}}


def custom(**settings):
    return {"name": "custom", "typed_config": {"@type": f"{DETECTION}.custom_header.v3.CustomHeaderConfig", "header_name": "x-client", **settings}}


def cidrs(*networks):
    split = [network.split("/") for network in networks]
    return {"cidrs": [{"address_prefix": prefix, "prefix_len": int(length)} for prefix, length in split]}


def by(*extensions, **more):
    return {"original_ip_detection_extensions": list(extensions), **more}


NETWORKS = cidrs("10.0.0.0/8", "127.0.0.0/8", "2001:db8:1::/48")
INTERNAL = {"internal_address_config": {"cidr_ranges": cidrs("10.0.0.0/8", "fd00::/8")["cidrs"]}}
ADDRESSES = {
    "absent": {},
    "false": {"use_remote_address": False},
    "false, 1 hop": {"use_remote_address": False, "xff_num_trusted_hops": 1},
    "false, 2 hops": {"use_remote_address": False, "xff_num_trusted_hops": 2},
    "true": {"use_remote_address": True},
    "true, 1 hop": {"use_remote_address": True, "xff_num_trusted_hops": 1},
    "true, 2 hops": {"use_remote_address": True, "xff_num_trusted_hops": 2},
    "true, skip": {"use_remote_address": True, "skip_xff_append": True},
    "true, 1 hop, skip": {"use_remote_address": True, "xff_num_trusted_hops": 1, "skip_xff_append": True},
    "cidrs": by(xff(xff_trusted_cidrs=NETWORKS)),
    "cidrs, no skip": by(xff(xff_trusted_cidrs=NETWORKS, skip_xff_append=False)),
    "cidrs, skip": by(xff(xff_trusted_cidrs=NETWORKS, skip_xff_append=True)),
    "no cidrs": by(xff(xff_trusted_cidrs={})),
    "xff": by(xff()),
    "xff, 1 hop": by(xff(xff_num_trusted_hops=1)),
    "xff, 2 hops, no skip": by(xff(xff_num_trusted_hops=2, skip_xff_append=False)),
    "custom": by(custom()),
    "custom, trusted": by(custom(allow_extension_to_set_address_as_trusted=True), **INTERNAL),
    "custom, rejects": by(custom(reject_with_status={"code": "Forbidden"})),
    "custom, xff": by(custom(), xff(xff_trusted_cidrs=NETWORKS)),
    "xff, custom": by(xff(xff_trusted_cidrs=NETWORKS), custom()),
    "absent, internal": INTERNAL,
    "true, internal": {"use_remote_address": True, **INTERNAL},
    "true, skip, internal": {"use_remote_address": True, "skip_xff_append": True, **INTERNAL},
    "cidrs, internal": by(xff(xff_trusted_cidrs=NETWORKS), **INTERNAL),
}
PEERS = ["10.0.0.5", "203.0.113.7", "127.0.0.1", "127.0.0.5", "2001:db8::7", "2001:db8:1::7", "::1", "192.168.1.1"]


def line(*values):
    return [["x-forwarded-for", value] for value in values]


ELEMENTS = [
    "1.2.4.8", "1.2.4.8, 5.6.7.8", "1.2.4.8,5.6.7.8", "1.2.4.8, 10.0.0.9", "1.2.4.8, 10.0.0.8, 10.0.0.9", "10.0.0.8, 10.0.0.9",
    "1.2.4.8, 5.6.7.8, 10.0.0.9", "9.9.9.9, 1.2.4.8, 5.6.7.8, 10.0.0.9", "10.0.0.9", "192.168.3.4", "127.0.0.1", "1.2.4.8, 127.0.0.9",
    "1.2.4.8:443", "1.2.4.8, 10.0.0.9:99", "1.2.4.8:443, 10.0.0.9", "[2001:db8::9]", "[2001:db8::9]:443", "2001:db8::9", "2001:DB8::9",
    "2001:0db8:0:0:0:0:0:9", "2001:db8::9, 10.0.0.9", "1.2.4.8, 2001:db8:1::9", "::ffff:1.2.4.8", "::ffff:102:408", "1.2.4.8, ::ffff:10.0.0.9",
    "::1.2.4.8", "fe80::1%1", "fe80::1%", "1.2.4.8%1", "fe80::1%25eth0", '"1.2.4.8"', '"1.2.4.8", 10.0.0.9', "unknown", "1.2.4.8, unknown", "unknown, 1.2.4.8",
    "unknown, 10.0.0.9", "_hidden", "", ",", ", ,", " ", "1.2.4.8,", "1.2.4.8, ", "1.2.4.8,,", "1.2.4.8, ,", ",1.2.4.8", ",,,,1.2.4.8",
    "1.2.4.8, , 10.0.0.9", "1.2.4.8,,10.0.0.9", "  1.2.4.8  ", "\t1.2.4.8\t", "1.2.4.8\t,\t10.0.0.9", "1.2.4.8 , 10.0.0.9 ", "1.2.4.8 5.6.7.8", "1.2. 4.8",
    "01.2.4.8", "1.2.4.008", "0x1.2.4.8", "1.2.4", "16909320", "1.2.4.8.9", "1.2.4.256", "1.2.4.8/32", "1.2.4.8;", "::", "0.0.0.0",
    "255.255.255.255", "224.0.0.1", "1::2::3", "1:2:3:4:5:6:7:8:9", "12345::", "localhost", "2002:102:408::1", "64:ff9b::102:408",
    *(", ".join(["1.2.4.8", *["10.0.0.9"] * (count - 1)]) for count in (19, 20, 21, 22)),
    *(", ".join([*["9.9.9.9"] * (count - 1), "1.2.4.8"]) for count in (19, 20, 21, 22, 60)),
    *("," * count + "1.2.4.8" for count in (18, 19, 20, 21)),
    *("1.2.4.8" + "," * count for count in (18, 19, 20, 21)), "1.2.4.8" + "," * 18 + "10.0.0.9", "1.2.4.8" + "," * 20 + "10.0.0.9",
]  # fmt: skip
HEX = [b"1.2.4.8\xff", b"\xff1.2.4.8", b"\xff, 1.2.4.8", b"1.2.4.8, \xc3\xa4", b"1.2.4.8,\xa010.0.0.9", b"1.2.4.8\x0b", b"1.2.4.8 \x0c, 10.0.0.9"]
LINES = [
    [], *(line(element) for element in ELEMENTS), *(line({"hex": value.hex()}) for value in HEX),
    line("1.2.4.8", "10.0.0.9"), line("1.2.4.8", "5.6.7.8"), line("1.2.4.8", ""), line("", "1.2.4.8"), line("", ""), line("unknown", "1.2.4.8"),
    line("1.2.4.8", "unknown"), line("1.2.4.8,", ",10.0.0.9"), line("1.2.4.8", "", "10.0.0.9"), line(*["1.2.4.8"] * 20), line(*["1.2.4.8"] * 21),
]  # fmt: skip
CLIENT = [[["x-client", value], *line("1.2.4.8")] for value in ("5.6.7.8", "5.6.7.8:9", "[2001:db8::9]", "2001:DB8::9", "10.0.0.9", "unknown", "", "5.6.7.8, 1.1.1.1", " 5.6.7.8 ")]
CLIENT += [[["x-client", "5.6.7.8"], ["x-client", "1.1.1.1"]], [["x-client", "unknown"], ["x-client", "1.1.1.1"]], [["x-client", "10.0.0.9"]]]

ENVOYS_OWN = [
    "x-envoy-external-address", "x-envoy-internal", "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response", "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace", "x-envoy-ip-tags", "x-envoy-original-url", "x-envoy-hedge-on-per-try-timeout", "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names", "x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
    "x-envoy-original-path", "x-envoy-original-host", "x-envoy-peer-metadata", "x-envoy-peer-metadata-id", "x-envoy-attempt-count", "x-envoy-is-timeout-retry",
    "x-envoy-stream-duration-ms", "x-forwarded-client-cert", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id", "x-client-trace-id",
    "te", "keep-alive", "proxy-connection", "early-data", "grpc-timeout", "x-odd_name", "x-anything", "proxy-authorization", "priority", "date", "server", "status",
]  # fmt: skip
UPGRADE = [["upgrade", "websocket"], ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="]]
HEADERS = [[[name, "1"]] for name in ENVOYS_OWN]
HEADERS += [
    [["connection", value]] for value in ("close", "keep-alive", "x-anything", "te", "upgrade")
] + [
    [["te", "trailers"]], [["te", "gzip, trailers"]], [["te", "trailers;q=1"]], [["expect", "100-continue"]], [["expect", "other"]],
    [["referer", "https://a.example/x"]], [["referer", "/x"]], [["referer", "nonsense"]], [["referer", "https://a.example/"], ["referer", "https://b.example/"]],
    [["x-empty", ""]], [["x-blank", " \t a \t "]], [["x-twice", "1"], ["x-twice", "2"]], [["accept", "a"], ["accept", ""]], [["accept", ""], ["accept", "b"]],
    [["accept", "a"], ["accept", ""], ["accept", "b"]], [["accept", "a"], ["ACCEPT", "b"]], [["authorization", "a"], ["authorization", "b"]],
    [["cookie", "a=1"], ["cookie", "b=2"]], [["x-forwarded-proto", "https"]], [["x-forwarded-proto", "ws"]], [["user-agent", ""]], [["via", "1.1 a"]],
    [*UPGRADE, ["connection", "upgrade"]], [*UPGRADE, ["connection", "Upgrade, x-anything"], ["x-anything", "1"]],
    UPGRADE, [["upgrade", "other"], ["connection", "upgrade"]], [["content-type", "a"], ["content-type", "b"]], [["x-envoy-retry-on", "5xx"], *line("10.0.0.9")],
    [["via", "1.1 a"], ["via", "1.1 b"]], [["x-request-id", "a"], ["x-request-id", "b"]], [["http2-settings", "a"], ["connection", "http2-settings"]],
]
# what a client lists in `connection`, and the lines that Envoy's reader of HTTP/1 treats in a way of its own
LISTED = [["x-anything", "1"], ["x-twice", "1"], ["x-twice", "2"], ["te", "trailers"], ["x-forwarded-host", "a"], ["accept", "b"]]
LISTS = [
    "x-anything", "X-Anything", " x-anything ,close", "x-twice", "te", "TE, x-anything", "connection", "connection, x-anything", "keep-alive, x-anything",
    "x-forwarded-for", "X-Forwarded-Host", "x-forwarded-proto", "x-forwarded-port", ":path", "host", "accept", "content-length", "x-absent", "", ",", "x-anything,,accept",
    ", ".join(["x-anything"] * 9), ", ".join(["x-anything"] * 10), ",".join(f"x-{number}" for number in range(9)), ",".join(f"x-{number}" for number in range(10)),
    "," * 12 + "x-anything", "upgrade, x-anything", "http2-settings, x-anything", "close, x-anything", "x-anything;q=1", '"x-anything"', "x-envoy-external-address",
]  # fmt: skip
CONNECTIONS = [[["connection", value], *LISTED] for value in LISTS]
CONNECTIONS += [[*UPGRADE, ["connection", value], *LISTED] for value in ("upgrade", "Upgrade,x-anything", "te, upgrade", "upgrade, x-forwarded-for", ",".join(["upgrade"] * 12))]
CONNECTIONS += [
    [["connection", "x-anything"], ["connection", "accept"], *LISTED], [*UPGRADE, ["connection", "upgrade"], ["connection", "x-anything"], *LISTED],
    [*UPGRADE, ["connection", "x-anything"], ["connection", "upgrade"], *LISTED], [["upgrade", "websocket"], ["upgrade", "other"], ["connection", "upgrade"]],
    [["upgrade", "WebSocket"], *UPGRADE[1:], ["connection", "upgrade"]], [["upgrade", "h2c"], ["connection", "upgrade, http2-settings"], ["http2-settings", "a"]],
    [*UPGRADE, ["connection", "upgrade"], ["te", "gzip"], ["te", "trailers"]], [*UPGRADE, ["connection", "upgrade"], ["keep-alive", "1"], ["te", "gzip"]],
    [["te", "trailers"], ["te", "gzip"]], [["te", "gzip"], ["te", "trailers"]], [["te", "Trailers"]], [["te", ""]], [["te", "gzip"], ["te", ""]], [["host", ""]], [["upgrade", "h2c"], ["connection", "upgrade"]], [["upgrade", "H2C"], ["connection", "upgrade"], ["te", "x"]], [["te", "trailers"], ["connection", "te"]], [["te", "gzip"], ["connection", "te"]],
    [["keep-alive", "1"], ["keep-alive", "2"]], [["transfer-encoding", "identity"]], [["transfer-encoding", "gzip, chunked"]], [["transfer-encoding", "identity"], ["content-length", "0"]], [["content-length", "0"]], [["content-length", "0"], ["content-length", ""]], [["content-length", "x"]], [["host", "other.example"]], [["proxy-connection", "1"], ["proxy-connection", "2"]],
    [["expect", "100-Continue"]], [["expect", "100-continue"], ["expect", "other"]], [["content-length", "0"], ["content-length", "0"]], [["set-cookie", "a"], ["set-cookie", "b"]],
]  # fmt: skip
MANAGERS = {
    **{name: ADDRESSES[name] for name in ("absent", "true", "cidrs", "absent, internal", "true, internal")},
    "underscores dropped": {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
    "underscores refused": {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
    "via": {"via": "1.1 gateway"},
    "forwards certificates": {"forward_client_cert_details": "ALWAYS_FORWARD_ONLY"},
    "websocket": {"upgrade_configs": [{"upgrade_type": "websocket"}]},
    "scheme": {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
    "mutated": {"early_header_mutation_extensions": [{"name": "early", "typed_config": {
        "@type": f"{TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [
            {"remove": "x-anything"},
            {"append": {"header": {"key": "x-anything", "value": "%REQ(x-odd_name)%-%REQ(nobody?x-odd_name)%%%"}}},
            {"append": {"header": {"key": "x-twice", "value": "3"}, "append_action": "OVERWRITE_IF_EXISTS"}},
            {"append": {"header": {"key": "x-empty", "value": "a"}, "append_action": "ADD_IF_ABSENT"}},
            {"append": {"header": {"key": "x-blank", "value": "b"}}},
            {"append": {"header": {"key": "accept", "value": "c"}}},
            {"append": {"header": {"key": "x-set", "value": "a %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}},
            {"append": {"header": {"key": "x-forwarded-for", "value": "5.6.7.8"}, "append_action": "ADD_IF_ABSENT"}},
        ],
    }}]},
}  # fmt: skip
MMDB = "tests/data/mmdb"


def geoip(database, path_key="country_db_path", **settings):
    keys = {"geo_field_keys": {"country": "X-Geo-Country"}}
    kind = f"{TYPES}.geoip_providers.maxmind.v3.MaxMindConfig"
    provider = {"name": "maxmind", "typed_config": {"@type": kind, path_key: f"{MMDB}/{database}", "common_provider_config": keys}}
    return filtered(http_filter("geoip.v3.Geoip", provider=provider, **settings))


def filtered(*filters):
    """A connection manager with these before its router."""
    return {"http_filters": [*filters, http_filter("router.v3.Router", suppress_envoy_headers=True)]}


EARLY = MANAGERS["mutated"]["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
FILTERS = {
    "geoip": geoip("GeoIP2-Country-Test.mmdb"),
    "geoip of cities": geoip("GeoIP2-City-Test.mmdb", "city_db_path"),
    "geoip without countries": geoip("MaxMind-DB-test-ipv4-24.mmdb"),
    "geoip by xff": geoip("GeoIP2-Country-Test.mmdb", xff_config={"xff_num_trusted_hops": 1}),
    "geoip by xff, no hops": geoip("GeoIP2-Country-Test.mmdb", xff_config={}),
    "geoip by header": geoip("GeoIP2-Country-Test.mmdb", custom_header_config={"header_name": "X-Client"}),
    "header mutation": filtered(http_filter("header_mutation.v3.HeaderMutation", mutations={"request_mutations": EARLY})),
}
PLACES = [
    "81.2.69.160", "89.160.20.112", "2001:218::1", "::ffff:81.2.69.160", "::81.2.69.160", "2002:5102:45a0::1", "2001:0:5102:45a0::", "64:ff9b::5102:45a0",
    "67.43.156.1", "127.0.0.1", "202.196.224.1", "2a02:d280::1", "214.78.120.0", "1.1.1.1", "175.16.199.0", "unknown", "81.2.69.160:4711",
]  # fmt: skip
LOCATED = [[["x-geo-country", "ZZ"], ["x-client", place], *line(*elements)] for place in PLACES for elements in ([place], [place, "2001:218::1"])]
PATHS = [
    "/v1/messages", "/v1//messages", "//v1/messages", "/v1/./messages", "/v1/../v2", "/../v1", "/v1/%2e%2e/v2", "/v1/%2E/x", "/a%2Fb", "/a%2fb?c=%2f", "/a%5cb", "/a\\b",
    "/%41bc", "/%7euser", "/%zz", "/%", "/a%00b", "/a;b/../c", "/a b", "/a?b=../c", "/a?b//c", "/a#frag", "/a?b#frag", "/a%23b", "/a/..", "/a/.", "/.", "/..", "/a//..//b",
    "/%2f%2fa", "/a%252fb", "/a%c3%a4", "/A/B", "/a/%2e%2e%2fb", "*", "http://other.example/x/../y", "https://other.example", "http://other.example:81?x", "x", "",
    "/v1/messages?a=%41&key=1", "/a/../../../b", "/%2e%2e/a", "/a%20b", "/a%2db", "/a|b", "/a^b{}", "/a\"b<>`", "/a?\"<>^`{|}\\", "/a?%2e%2f%41", "/v1/messages/", "/a%2", "/a%2e%2e/b", "/%2e", "/a/%2e.", "/a/.;x/b", "/a/..;x/b", "/.;", "/a/..;/b", "/a/.;x", "/.a;b", "/..;a=b/../c", "/%2e;x/y", "/a/.%3bx", "/a/%2e%2e;x", "/a/b/..;x/c",
    "/;x", "/a/...;x", "/.;a/.;b/c", "/a/.;x?q=1", "/.;;x", "/a/.;%2fx/b", "/.;v1%", "/.&", "/..;x/", "/a/..;%", "/.%2e;x/y", "/a\\..;x\\b", "/a/..;x\\b/c", "/a/..;x\\..\\b", "/a\\..\\b",
]  # fmt: skip
BYTES = [{"hex": (b"/a" + bytes([byte]) + b"b").hex()} for byte in range(256) if byte not in b"\r\n "] + [f"/a%{byte:02x}b" for byte in range(256)]
METHODS = """
    GET POST PUT DELETE PATCH HEAD OPTIONS TRACE get Post trace FOO ACL BIND CHECKOUT COPY LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE M-SEARCH MSEARCH
    NOTIFY PROPFIND PROPPATCH PURGE REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE QUERY PRI BREW G@T
""".split()
HOSTS = ["gateway.example", "Gateway.Example", "gateway.example:80", "gateway.example:81", "gateway.example.", "gateway.example.:81", "[::1]:80", "a,b", ""]
NORMALIZERS = {
    "absent": {},
    "normalized": {"normalize_path": True},
    "merged": {"merge_slashes": True},
    "both": {"normalize_path": True, "merge_slashes": True},
    "refused": {"normalize_path": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
    "refused alone": {"normalize_path": False, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
    "redirected": {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"},
    "unescaped": {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
    "kept": {"normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "host's port": {"strip_any_host_port": True},
    "host's own port": {"strip_matching_host_port": True},
    "host's dot": {"strip_trailing_host_dot": True},
}


def form(headers=(), path="/", host="gateway.example", method="GET"):
    return {"method": method, "path": path, "authority": host, "headers": list(headers)}


def parts():
    """Settings, direct peers and requests, all of each with all of the others."""
    lines = [form(headers) for headers in [*LINES, *CLIENT]]
    few = [form(headers) for headers in [[], line("1.2.4.8"), line("1.2.4.8, 10.0.0.9"), line("1.2.4.8, 2001:db8:1::9"), line("unknown"), line("10.0.0.9")]]
    return [
        {"managers": ADDRESSES, "peers": PEERS[:2], "requests": lines},
        {"managers": ADDRESSES, "peers": PEERS[2:], "requests": few},
        {"managers": MANAGERS, "peers": PEERS[:2], "requests": [form(headers) for headers in HEADERS]},
        {"managers": {name: MANAGERS[name] for name in ("absent", "websocket", "mutated")}, "peers": PEERS[:1], "requests": [form(headers) for headers in CONNECTIONS]},
        {"managers": FILTERS, "peers": PEERS[:1], "requests": [form(headers) for headers in [*LOCATED, *HEADERS]]},
        {"managers": {name: NORMALIZERS[name] for name in ("absent", "normalized")}, "peers": PEERS[1:2], "requests": [form(path=path) for path in BYTES]},
        {"managers": NORMALIZERS, "peers": PEERS[1:2], "requests": [form(path=path) for path in PATHS] + [form(host=host) for host in HOSTS] + [form(method=method) for method in METHODS]},
    ]


class Bare(Envoy):
    """An Envoy without Waybill: a listener for each setting, whose answers tell the client's address."""

    def __init__(self, folder, managers, upstream):
        managers = {**managers, OWN: {"use_remote_address": True}}
        self.upstream = upstream
        listeners = [self.listener(name, settings) for name, settings in managers.items()]
        resources = {"listeners": listeners, "clusters": [cluster("upstream", [upstream.port])]}
        super().__init__(folder, {"admin": {"address": address(0)}, "static_resources": resources})

    def listener(self, name, settings):
        told = {"header": {"key": "x-told-client", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
        everything = {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}
        manager = {
            "@type": HCM, "stat_prefix": "x", "max_request_headers_kb": 96,
            "route_config": {"response_headers_to_add": [told], "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [everything]}]},
            "http_filters": [http_filter("router.v3.Router", suppress_envoy_headers=True)],
            **settings,
        }  # fmt: skip
        proxy = {"name": "proxy", "typed_config": {"@type": f"{TYPES}.filters.listener.proxy_protocol.v3.ProxyProtocol"}}
        chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
        return {"name": name, "address": address(0), "listener_filters": [proxy], "filter_chains": [chain]}

    def __enter__(self):
        super().__enter__()
        self.by_name = self.ports()
        self.own = dict(map(tuple, self.ask(OWN, "127.0.0.1", form())[1]["headers"]))["x-forwarded-for"]
        return self

    def ask(self, name, peer, request):
        """The client's address and what went on; or the status of Envoy's own answer."""
        family, local = ("TCP6", "::1") if ":" in peer else ("TCP4", "127.0.0.1")
        raw = wire.raw_request(request["method"], request["path"], request["authority"], request["headers"])
        answer = wire.exchange(self.by_name[name], f"PROXY {family} {peer} {local} 4711 80\r\n".encode() + raw, method=request["method"])
        received = self.upstream.take()
        if not received:
            return answer.status if answer else None, None
        return answer.header("x-told-client"), received[0]

    def seen(self, name, peer, request):
        """What differs from the request."""
        client, received = self.ask(name, peer, request)
        if not received:
            return {"status": client}
        arrived = [[name.lower(), value] for name, value in received["headers"]]
        host = next(value for name, value in arrived if name == "host")
        adds = [[name, self.known(value)] for name, value in arrived if name != "host" and not (name == "x-request-id" and len(value) == 36)]
        drops = [[name.lower(), value] for name, value in request["headers"]]
        for pair in [*adds]:
            if pair in drops:
                adds.remove(pair)
                drops.remove(pair)
        seen = {"client": client, "path": received["path"], "authority": host, "adds": sorted(adds), "drops": sorted(drops, key=str)}
        usual = {"client": peer, "path": request["path"], "authority": request["authority"], "adds": [["x-forwarded-proto", "http"]], "drops": []}
        return {member: value for member, value in seen.items() if value != usual[member]}

    def known(self, value):
        return value.replace(self.own, OWN) if isinstance(value, str) and hasattr(self, "own") else value


def asked(part):
    """What Envoy answers to the requests of a part now."""
    with tempfile.TemporaryDirectory() as folder, wire.Upstream() as upstream, Bare(Path(folder), part["managers"], upstream) as envoy:
        for name, settings in part["managers"].items():
            for peer in part["peers"]:
                yield {"name": name, "manager": settings, "peer": peer, "answers": [envoy.seen(name, peer, request) for request in part["requests"]]}
        upstream.shutdown()


@pytest.mark.parametrize("number", range(len(parts())))
def test_envoy_answers_as_the_table_says(number):
    part, table = parts()[number], json.loads(TABLE.read_text())["parts"][number]
    assert table["requests"] == part["requests"], "the table isn't this one's: write it anew"
    for found, wanted in zip(asked(part), table["rows"], strict=True):
        assert (found["name"], found["manager"], found["peer"]) == (wanted["name"], wanted["manager"], wanted["peer"])
        for request, answer, expected in zip(part["requests"], found["answers"], wanted["answers"], strict=True):
            assert answer == expected, (found["name"], found["peer"], request)


def write():
    """A request and an answer a line."""

    def block(values):
        return "[\n" + ",\n".join(json.dumps(value, ensure_ascii=True) for value in values) + "\n]"

    def row(found):
        head = json.dumps({member: found[member] for member in ("name", "manager", "peer")})
        return f'{head[:-1]}, "answers": {block(found["answers"])}}}'

    written = [f'{{"requests": {block(part["requests"])},\n"rows": [\n' + ",\n".join(map(row, asked(part))) + "\n]}" for part in parts()]
    TABLE.write_text('{"parts": [\n' + ",\n".join(written) + "\n]}\n")


if __name__ == "__main__":
    write()
