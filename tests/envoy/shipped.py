"""The files in envoy/ as they are shipped, but for what a test must change: free ports instead of TLS on fixed ones, registers and
keys of the test's own, its upstream in place of the providers, and an access log of its own for each listener, beside the file's own.

A *door* is one listener of one file. `alone` is the variant that the files' comments advise where no load balancer stands in
front; else the loopback plays the load balancer.
"""

import copy
import json
import time
from dataclasses import dataclass

import yaml

import chains
from bootstrap import Node
from harness import FILTER, HOST, ROOT, Envoy, Lab, by_host, until
from snapshots import Register, Server, customer
from wire import exchange, raw_request

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
OWN_KEY = "the-resellers-own-key"
READY = "/.well-known/waybill/ready"
CHINA, SINGAPORE = "114.114.114.114", "165.21.100.88"  # by DB-IP too, which Envoy's geoip filter looks up here
COUNTRIES = "114.114.114.0/24 CN\n165.21.100.0/24 SG\n"
KEYS = {"b": {"node": "reseller-b.example", "seed": 2}, "a": {"node": "acme.example", "seed": 1}}
FAR = "2099-12-31T00:00:00Z"
LINE = {"event": str, "status": int, "duration_ms": int, "request_id": str, "provider_request_id": str, "method": str, "path": str}


@dataclass(frozen=True)
class Door:
    """A listener of a shipped file, and who may call there."""

    name: str
    file: str
    listener: int = 0
    caller: str = "c-1"
    by: str | None = None  # the node that signed what comes
    bearer: bool = False  # the caller's key is a bearer token
    host: str = "gateway.acme.example"
    by_header: bool = True  # its country is a header of Envoy's geoip filter
    alone: bool = False


DOORS = [
    Door("edge", "edge"),
    Door("openai", "edge", 1, bearer=True),
    Door("transit", "transit", caller="r-77", by="b"),
    Door("ingress", "ingress", caller="", by="a", host="api.provider.example"),
    Door("snapshot", "snapshot", by_header=False),
    Door("demo", "demo", by_header=False),
    Door("chain-b", "chain", 0),
    Door("chain-c", "chain", 1),
    Door("chain-a", "chain", 2, caller="r-77", by="b"),
    Door("chain-provider", "chain", 3, caller="", by="a", host="api.provider.example"),
]
PROVIDERS_OWN = {"ingress", "chain-provider"}  # where a reseller's own credential and account headers go on
ALONE = [
    Door(f"{door.name}-alone", door.file, door.listener, door.caller, door.by, door.bearer, door.host, alone=True)
    for door in DOORS
    if door.file in ("edge", "transit", "ingress")
]


class Shipped(Lab):
    """An Envoy with these doors; `changes` are made to each connection manager, `line` is what the access log has before each event."""

    def __init__(self, folder, doors, upstream, changes=None, concurrency=1, line=""):
        self.upstream, self.line, self.doors = upstream, line, {door.name: door for door in doors}
        self.snapshot = compiled(folder / "register") if any(not door.by_header for door in doors) else None
        self.nodes, listeners, clusters = {}, [], {}
        for door in doors:
            document = copy.deepcopy(yaml.safe_load((ROOT / "envoy" / f"{door.file}.yaml").read_text()))
            static = document["static_resources"]
            events = folder / f"{door.name}.events"
            listener, config = self.listener(door, static["listeners"][door.listener], events, changes or {})
            self.nodes[door.name] = Node(door.name, config, FILTER, events=events)
            listeners.append(listener)
            clusters |= {cluster["name"]: self.cluster(cluster) for cluster in static["clusters"]}
        secrets = [{"name": "own", "generic_secret": {"secret": {"inline_string": OWN_KEY}}}]
        config = {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": listeners, "clusters": list(clusters.values()), "secrets": secrets},
        }
        keys = signing_keys(*(node.config for node in self.nodes.values())) if HOST == "module" else {}
        Envoy.__init__(self, folder, by_host(config), concurrency, keys)

    def __enter__(self):
        super().__enter__()
        for door in self.doors.values():
            if not door.by_header:
                until(20, f"the snapshot of {door.name}", lambda name=door.name: self.is_open(name), self.log)
        return self

    def lines(self, name):
        """What the file's own logger has written, in whole lines. Only a line feed ends one: a member may hold U+2028."""
        return self.nodes[name].events.with_suffix(".log").read_bytes().split(b"\n")[:-1]

    def is_open(self, name):
        return exchange(self.nodes[name].port, raw_request("GET", READY, "localhost")).status == 200

    def listener(self, door, listener, events, changes):
        listener |= {"name": door.name, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
        listener["filter_chains"][0].pop("transport_socket", None)
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        log = {"text_format_source": {"inline_string": f"{self.line}%FILTER_STATE(wasm.waybill:PLAIN)%\n"}}
        [own] = [each for each in manager["access_log"] if "event" in each["typed_config"]["log_format"].get("json_format", {})]
        own["typed_config"] = file_log(events.with_suffix(".log"), own["typed_config"]["log_format"])
        manager["access_log"] = [own, {"name": "events", "typed_config": file_log(events, log)}]
        manager |= {"stat_prefix": door.name, **changes}
        wasm = next(each["typed_config"]["config"] for each in manager["http_filters"] if each["name"] == "waybill")
        config = json.loads(wasm["configuration"]["value"])
        self.call_from_here(door, manager, config)
        if "snapshot" in config:
            config["snapshot"] |= {"poll_seconds": 1, "trusted_keys": [self.snapshot.trusted]}
        else:
            config["register"] = register(config["node"]["id"])
        wasm["name"] = door.name
        wasm["vm_config"] |= {"vm_id": door.name, "code": {"local": {"filename": str(FILTER)}}}
        wasm["vm_config"]["environment_variables"] = {"key_values": signing_keys(config)}
        wasm["configuration"]["value"] = json.dumps(config)
        return listener, config

    def call_from_here(self, door, manager, config):
        """The loopback is the load balancer, in Envoy's list and in the node's; or there is none."""
        if door.alone:
            del manager["original_ip_detection_extensions"]
            manager["use_remote_address"] = True
            config["client_address"]["trusted_proxies"] = []
            return
        for extension in manager.get("original_ip_detection_extensions", []):
            extension["typed_config"]["xff_trusted_cidrs"]["cidrs"].append({"address_prefix": "127.0.0.0", "prefix_len": 8})
        config["client_address"]["trusted_proxies"].append("127.0.0.0/8")

    def cluster(self, shipped):
        """The shipped one with its credential injector, before the test's upstream or its server of snapshots."""
        name = shipped["name"]
        filters = shipped.get("typed_extension_protocol_options", {}).get(OPTIONS, {}).get("http_filters", [])
        for each in filters:
            if "credential" in each["typed_config"]:
                each["typed_config"]["credential"]["typed_config"]["credential"] = {"name": "own"}
        port = self.snapshot.server.port if name == "snapshots" else self.upstream.port
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        options = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        return {
            "name": name,
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "typed_extension_protocol_options": {OPTIONS: options | ({"http_filters": filters} if filters else {})},
        }

    def call(self, name, path="/v1/messages", headers=(), method="POST", address=SINGAPORE, host=None, key=None):
        """A request that this door lets in, from an address, with more headers."""
        door = self.doors[name]
        return raw_request(method, path, host or door.host, asked(door, path, headers, method, address, key), b"" if method == "POST" else None)


def signing_keys(*configs):
    """The variables with the nodes' own keys. A VM has its own; the module reads Envoy's."""
    keys = [key for config in configs for key in config.get("tag", {}).get("keys", [])]
    return {each["env"]: chains.Key(KEYS["a"]["seed"]).private_jwk() for each in keys}


def log_line(raw):
    """The members of a line that a file's own logger wrote: each once and of its type, or null where it is text."""
    pairs = json.loads(raw.decode(), object_pairs_hook=list)
    assert sorted(name for name, _ in pairs) == sorted(LINE), raw
    for name, value in pairs:
        assert type(value) is LINE[name] or (value is None and LINE[name] is str), raw
    return dict(pairs)


def file_log(path, log_format):
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    return {"@type": kind, "path": str(path), "log_format": log_format}


def asked(door, path, headers, method="POST", address=SINGAPORE, key=None):
    """The headers of such a request: credential, signature, the load balancer's address, then the others."""
    sent = [["x-forwarded-for", address]] if address else []
    if key or door.caller:
        name, scheme = ("authorization", "Bearer ") if door.bearer else ("x-api-key", "")
        sent.append([name, scheme + (key or f"sk-{door.caller}")])
    if door.by:
        request = {"method": method, "authority": door.host, "path": path, "headers": []}
        hop = {"by": door.by, "says": 'screening=passed, origin="SG"'}
        sent += chains.carried({"keys": KEYS, "carried": [hop]}, request, int(time.time()))
    return [*sent, *headers]


def register(own):
    """Everybody who calls at one of the doors. A provider knows resellers by their nodes alone."""
    screened = {"screening": {"status": "passed", "until": FAR, "by": "test"}}
    customers = [
        customer("c-1", providers={"anthropic": {"profile": "prof_c-1"}}),
        customer("r-77", kind="reseller"),
        customer("acme", kind="reseller"),
    ]
    if own == "provider.example":
        customers = [{**each, "credentials": []} for each in customers[1:]]
    of = {"reseller-b.example": "r-77", "acme.example": "acme"}
    nodes = [
        {"id": each["node"], "customer": of[each["node"]], **screened, "keys": [chains.Key(each["seed"]).public_jwk()]}
        for each in KEYS.values()
        if each["node"] != own
    ]
    return {"customers": customers, "nodes": nodes}


def compiled(folder):
    """The same customers as a snapshot, with a small table of addresses, and a server that has it."""
    made = Register(folder)
    made.customers(*register("")["customers"])
    (folder / "networks").mkdir()
    (folder / "networks" / "countries.txt").write_text(COUNTRIES)
    made.networks([{"name": "countries", "file": "networks/countries.txt", "role": "decides", "date": "2026-11-01T00:00:00Z"}])
    made.server = Server(made.compiled(1))
    return made
