"""Altered files of envoy/ in a real Envoy: what an unauthenticated or a restricted caller gets through, and what `waybill check` says.

`written` is a shipped file that runs here: free ports on the loopback, no TLS, registers and keys of the tests' own, the tests'
upstream behind each cluster, with the shipped injector. A test alters that document. Then `check` reads it as a file of its own,
and `Playground` plays it: many files in one Envoy, each by its listeners and clusters. So both see the same document.
"""

import contextlib
import copy
import http.client
import json
import subprocess
import time
from dataclasses import dataclass, field

import yaml

import chains
import wire
from harness import FILTER, ROOT, WAYBILL, Envoy, tail, until
from shipped import CHINA, DOORS, KEYS, OPTIONS, OWN_KEY, PROVIDERS_OWN, READY, SINGAPORE, asked, compiled, register

TYPE = "type.googleapis.com/"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
COUNTRIES = str(ROOT / "dist" / "dbip-country-lite.mmdb")
FILES = ["edge", "transit", "ingress", "demo", "snapshot", "chain"]
FORGED = [  # what an altered file may believe
    ["x-geo-country", "SG"], ["x-my-country", "SG"], ["x-real-ip", SINGAPORE], ["x-client-ip", SINGAPORE],
    ["x-waybill-route", "fallback"], ["compliance-tag", 'node="forged.example"'], ["x-bypass", "yes"],
    ["x-test-jwt", wire.jwt({"sub": "SG"})],
]  # fmt: skip
UPGRADE = [
    ["connection", "upgrade"], ["upgrade", "websocket"], ["sec-websocket-version", "13"], ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="],
]  # fmt: skip
SNAPSHOT_SECONDS, ANSWER_SECONDS, MIRROR_SECONDS = 2.5, 5, 0.01
ADMIN = ("/v1/organization", "/v1/projects", "/v1/user_profiles")


class Raw(str):
    """A value that stands in YAML as it is written here, without quotes."""


class Quoted(str):
    """A value in quotes, whatever it is."""


class Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, _data):
        return True


def written_plainly(dumper, text):
    tag = dumper.resolve(yaml.ScalarNode, text, (True, False))
    return dumper.represent_scalar(tag, str(text))


Dumper.add_representer(Raw, written_plainly)
Dumper.add_representer(Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="'"))


def yaml_of(document):
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)


@dataclass
class File:
    """One file, and by each listener's name the door that it is."""

    name: str
    document: dict
    doors: dict
    hosts: list = field(default_factory=list)  # names to call beside the door's own
    waived: set = field(default_factory=set)  # promises that the alteration gives up in so many words
    told: list = field(default_factory=list)  # what was altered

    @property
    def listeners(self):
        return self.document["static_resources"]["listeners"]

    @property
    def clusters(self):
        return self.document["static_resources"]["clusters"]

    def managers(self):
        """Each HTTP connection manager."""
        for listener in self.listeners:
            for chain in [*listener.get("filter_chains", []), *filter(None, [listener.get("default_filter_chain")])]:
                for each in chain.get("filters", []):
                    if each.get("typed_config", {}).get("@type") == TYPE + MANAGER:
                        yield each["typed_config"]

    def manager(self):
        return next(self.managers())

    def has_node(self, name):
        """Whether a listener has a node at all."""
        return "wasm.v3.Wasm" in str(next(each for each in self.listeners if each["name"] == name))


def find(filters, message):
    """The filter of this type: Wasm, Geoip, HeaderMutation, Router."""
    return next(each for each in filters if each.get("typed_config", {}).get("@type", "").endswith("." + message))


def node_of(manager):
    return find(manager["http_filters"], "Wasm")


def settings(manager):
    """The node's own configuration."""
    return json.loads(node_of(manager)["typed_config"]["config"]["configuration"]["value"])


def set_settings(manager, config):
    node_of(manager)["typed_config"]["config"]["configuration"]["value"] = json.dumps(config, indent=1)


def injected(cluster):
    """A cluster's upstream filters."""
    return cluster["typed_extension_protocol_options"][OPTIONS]["http_filters"]


class World:
    """What stands around every file: the upstream, and the register as a snapshot."""

    def __init__(self, folder, upstream):
        self.folder, self.upstream = folder, upstream
        self.snapshot = compiled(folder / "register")
        self.snapshot.server.handle_error = lambda *_: None  # an altered file may send it anything
        self.shipped = {name: json.loads(json.dumps(yaml.safe_load((ROOT / "envoy" / f"{name}.yaml").read_text()))) for name in FILES}

    def written(self, name, number=0):
        """A shipped file that runs here; the number keeps its names apart from those of others in the same Envoy."""
        document, prefix = copy.deepcopy(self.shipped[name]), f"e{number}-"
        file = File(name, document, {})
        document["admin"]["address"] = local(0)
        doors = {door.listener: door for door in DOORS if door.file == name}
        names = {cluster["name"]: prefix + cluster["name"] for cluster in file.clusters}
        for at, listener in enumerate(file.listeners):
            listener["address"] = local(0)
            listener["filter_chains"][0].pop("transport_socket", None)
            manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
            for host in manager["route_config"]["virtual_hosts"]:
                for route in host["routes"]:
                    if "route" in route:
                        route["route"]["cluster"] = names[route["route"]["cluster"]]
            for log in manager.get("access_log", []):
                if "path" in log["typed_config"]:
                    log["typed_config"]["path"] = str(self.folder / "access.log")
            if at not in doors:
                listener["name"] = prefix + listener["name"]
                continue
            listener["name"] = prefix + doors[at].name
            file.doors[listener["name"]] = doors[at]
            self.here(doors[at], manager, names)
        file.document["static_resources"]["clusters"] = [self.cluster(cluster, names) for cluster in file.clusters]
        document["static_resources"]["secrets"] = [{"name": "own", "generic_secret": {"secret": {"inline_string": OWN_KEY}}}]
        return file

    def here(self, door, manager, names):
        """The node, with the loopback as its load balancer."""
        config = settings(manager)
        for extension in manager.get("original_ip_detection_extensions", []):
            extension["typed_config"]["xff_trusted_cidrs"]["cidrs"] = [{"address_prefix": "127.0.0.0", "prefix_len": 8}]
        config["client_address"]["trusted_proxies"] = ["127.0.0.0/8"]
        if "snapshot" in config:
            where = {"cluster": names[config["snapshot"]["cluster"]], "poll_seconds": 1, "trusted_keys": [self.snapshot.trusted]}
            config["snapshot"] |= where
        else:
            config["register"] = register(config["node"]["id"])
        for each in manager["http_filters"]:
            if each["name"].endswith("geoip"):
                each["typed_config"]["provider"]["typed_config"]["country_db_path"] = COUNTRIES
        environment = {each["env"]: chains.Key(KEYS["a"]["seed"]).private_jwk() for each in config.get("tag", {}).get("keys", [])}
        vm = node_of(manager)["typed_config"]["config"]["vm_config"]
        vm |= {"vm_id": door.name, "code": {"local": {"filename": str(FILTER)}}}
        vm.pop("environment_variables", None)
        if environment:
            vm["environment_variables"] = {"key_values": environment}
        set_settings(manager, config)

    def cluster(self, shipped, names):
        name = names[shipped["name"]]
        filters = shipped.get("typed_extension_protocol_options", {}).get(OPTIONS, {}).get("http_filters", [])
        for each in filters:
            if "credential" in each["typed_config"]:
                each["typed_config"]["credential"]["typed_config"]["credential"] = {"name": "own"}
        port = self.snapshot.server.port if shipped["name"] == "snapshots" else self.upstream.port
        options = {"@type": TYPE + OPTIONS, "explicit_http_config": {"http_protocol_options": {}}}
        return {
            "name": name,
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": local(port)}}]}]},
            "typed_extension_protocol_options": {OPTIONS: options | ({"http_filters": filters} if filters else {})},
        }

    def checked(self, file, name="file.yaml"):
        """What `waybill check` says of the file: its exit status, and its text."""
        path = self.folder / name
        path.write_text(yaml_of(file.document))
        return check(path)


def check(*paths):
    done = subprocess.run([WAYBILL, "check", *paths], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def local(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


# === requests, by the promise that keeps each from the provider ===


@dataclass
class Probe:
    """A request, and the promise that keeps it from the provider; `control` is what goes on."""

    promise: str
    name: str
    headers: list
    method: str = "POST"
    path: str = "/v1/messages"
    host: str = ""

    def raw(self, more):
        return wire.raw_request(self.method, self.path, self.host, [*self.headers, *more], b"" if self.method == "POST" else None)


def probes(door, hosts=()):
    """At this door, by its own name, and by these others."""
    path = "/v1/responses" if door.bearer else "/v1/messages"
    admin = "/v1/organization/projects" if door.bearer else "/v1/organizations/users"
    wrong = ["authorization", "Bearer sk-nobody"] if door.bearer else ["x-api-key", "sk-nobody"]
    at = ["x-forwarded-for", SINGAPORE]

    def mine(headers=(), method="POST", to=path, address=CHINA):
        return {"headers": asked(door, to, headers, method, address), "method": method, "path": to, "host": door.host}

    def nobody(headers, method="POST", to=path, host=door.host):
        return {"headers": [at, *headers], "method": method, "path": to, "host": host}

    yield Probe("control", "a good request", **mine(address=SINGAPORE))
    yield Probe(
        "control",
        "a good request, forged headers",
        **mine([pair for pair in FORGED if not (door.by and pair[0] == "compliance-tag")], address=SINGAPORE),
    )
    yield Probe("credential", "no credential", **nobody([]))
    yield Probe("credential", "no credential, forged headers", **nobody(FORGED))
    yield Probe("credential", "an unknown key", **nobody([wrong]))
    yield Probe("credential", "no credential, a WebSocket", **nobody(UPGRADE, "GET", "/v1/realtime"))
    yield Probe("restricted", "from China", **mine())
    yield Probe("restricted", "from China, forged headers", **mine(FORGED))
    yield Probe("restricted", "from China, Singapore in front", **mine(address=f"{SINGAPORE}, {CHINA}"))
    yield Probe("restricted", "from China, a WebSocket", **mine(UPGRADE, "GET", "/v1/realtime"))
    yield Probe("account", "the account API", **mine(to=admin, address=SINGAPORE))
    for host in hosts:
        yield Probe("credential", "no credential", **nobody([], host=host))
        yield Probe("restricted", "from China", **{**mine(), "host": host})


@dataclass
class Played:
    """What one request came to at one door."""

    door: object
    probe: Probe
    status: int | None
    arrived: list  # what the upstream got of it

    def passes(self):
        """It arrived, with the operator's own credential where the file puts one in; what a provider's node keeps is its model."""
        return any(self.door.name in PROVIDERS_OWN or has_key(each) for each in self.arrived)

    def breaks(self):
        """The promise that this broke, or None. A request to the account API has to arrive there."""
        if self.probe.promise == "account":
            return (
                "account"
                if self.door.name not in PROVIDERS_OWN and any(each["path"].startswith(ADMIN) and has_key(each) for each in self.arrived)
                else None
            )
        return self.probe.promise if self.probe.promise != "control" and self.passes() else None

    def told(self):
        return f"{self.probe.name}, to {self.probe.host}: {self.status}"


def has_key(received):
    return OWN_KEY in json.dumps(received["headers"])


class Ways:
    """What is asked of a running Envoy; `open` has the port of each of its listeners."""

    sent = 0

    def wait_for_snapshots(self):
        """Until the nodes that read one have it; a node that an alteration keeps from it isn't waited for long."""
        waiting = {name for file in self.files if file.name in ("demo", "snapshot") for name in file.doors if name in self.open}

        def all_ready():
            for name in list(waiting):
                if self.ask(name, wire.raw_request("GET", READY, "localhost"), "GET") in (200, 404):
                    waiting.discard(name)
            return not waiting

        with contextlib.suppress(AssertionError):
            until(SNAPSHOT_SECONDS, "the snapshots", all_ready, self.log)

    def ask(self, name, request, method):
        """The answer's status; None where there is none."""
        with wire.connect(self.open[name]) as connection, contextlib.suppress(OSError, http.client.HTTPException):
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return response.status
        return None

    def play(self, file):
        """Every probe at every listener of the file that has a door."""
        for name, door in file.doors.items():
            if name in self.open:
                for probe in probes(door, file.hosts):
                    yield name, self.play_one(name, door, probe, file)

    def play_one(self, name, door, probe, file):
        self.sent += 1
        more = [["x-probe", str(self.sent)], ["x-cluster", file.clusters[0]["name"]], ["x-scope", "yes"]]
        status = self.ask(name, probe.raw(more), probe.method)
        if probe.promise == "control":
            time.sleep(MIRROR_SECONDS)
        arrived = [each for each in self.world.upstream.take() if ["x-probe", str(self.sent)] in each["headers"]]
        return Played(door, probe, status, arrived)


class Playground(Ways, Envoy):
    """An Envoy with the listeners and clusters of many files, which it takes from files (LDS, CDS): it refuses each by itself."""

    def __init__(self, folder, world, files, tag=""):
        self.world, self.files = world, files
        listeners = [listener for file in files for listener in file.listeners]
        clusters = [cluster for file in files for cluster in file.clusters]
        secrets = [{"name": "own", "generic_secret": {"secret": {"inline_string": OWN_KEY}}}]
        dynamic = {}
        for kind, message, resources in [("lds", "listener.v3.Listener", listeners), ("cds", "cluster.v3.Cluster", clusters)]:
            path = folder / f"{kind}{tag}.yaml"
            path.write_text(yaml_of({"resources": [{"@type": f"{TYPE}envoy.config.{message}", **each} for each in resources]}))
            dynamic[f"{kind}_config"] = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
        config = {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": local(0)},
            "dynamic_resources": dynamic,
            "static_resources": {"secrets": secrets},
        }
        Envoy.__init__(self, folder, config)

    def __enter__(self):
        super().__enter__()
        self.open = self.ports()
        known = json.loads(self.admin("/clusters?format=json")).get("cluster_statuses", [])
        self.known = {each["name"] for each in known}
        return self

    def refused(self, file):
        """Why Envoy doesn't take this file, or None: one of its listeners or clusters isn't there."""
        names = [listener["name"] for listener in file.listeners if listener["name"] not in self.open]
        names += [cluster["name"] for cluster in file.clusters if cluster["name"] not in self.known]
        if not names:
            return None
        log = self.log.read_text(errors="replace")
        return next((line for line in log.splitlines() if any(name in line for name in names)), f"{names[0]} isn't there")

    def harm(self):
        return [line for line in tail(self.log, 20_000).splitlines() if "Function: proxy" in line or "RuntimeError" in line]


class Alone(Ways, Envoy):
    """An Envoy with one file's own bootstrap."""

    def __init__(self, folder, world, file, bootstrap):
        self.world, self.files = world, [file]
        Envoy.__init__(self, folder, bootstrap)

    def __enter__(self):
        super().__enter__()
        self.open = self.ports()
        return self


def split(file, folder):
    """The file as an operator of xDS has it: a bootstrap, and a file for listeners, clusters, each table of routes, each node's
    configuration. Gives the bootstrap and the other files by kind."""
    document, parts = copy.deepcopy(file.document), {"lds": [], "cds": [], "rds": [], "ecds": []}
    static = document["static_resources"]

    def part(kind, message, resources):
        path = folder / f"{kind}{len(parts[kind]) or ''}.yaml"
        path.write_text(yaml_of({"resources": [{"@type": TYPE + message, **each} for each in resources]}))
        parts[kind].append(path)
        return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}

    for number, manager in enumerate(File(file.name, document, {}).managers()):
        table = manager.pop("route_config")
        manager["rds"] = {"route_config_name": table["name"], "config_source": part("rds", "envoy.config.route.v3.RouteConfiguration", [table])}
        for one in manager["http_filters"]:
            if one["name"] == "waybill":
                typed, one["name"] = one.pop("typed_config"), f"waybill-{number}"
                config = {"name": one["name"], "typed_config": typed}
                source = part("ecds", "envoy.config.core.v3.TypedExtensionConfig", [config])
                one["config_discovery"] = {"config_source": source, "type_urls": [typed["@type"]]}
    document.setdefault("node", {"id": "gateway-1", "cluster": "gateway"})  # Envoy wants a name before it reads from files
    document["dynamic_resources"] = {
        "lds_config": part("lds", "envoy.config.listener.v3.Listener", static.pop("listeners")),
        "cds_config": part("cds", "envoy.config.cluster.v3.Cluster", static.pop("clusters")),
    }
    return document, parts


def scoped(manager):
    """The manager's table of routes as the only one of those that a header chooses from (SRDS)."""
    table = manager.pop("route_config")
    element = {"header_value_extractor": {"name": "x-scope", "element_separator": ",", "index": 0}}
    scopes = [{"name": each, "route_configuration": table, "key": {"fragments": [{"string_key": each}]}} for each in ("yes", "other")]
    manager["scoped_routes"] = {
        "name": "scopes",
        "scope_key_builder": {"fragments": [element]},
        "scoped_route_configurations_list": {"scoped_route_configurations": scopes},
    }


def by_matcher(host, route=None):
    """The virtual host's last route by a tree of matchers, in place of its list."""
    action = {"name": "route", "typed_config": {"@type": TYPE + "envoy.config.route.v3.Route", **(route or host["routes"][-1])}}
    host["routes"] = []
    host["matcher"] = {"on_no_match": {"action": action}}
