"""Those that `./build.sh bench request` and `bench steps` compare: listeners of one Envoy, each with another way to do the job.

The job: find the customer of an API key among 100,000, refuse unknown keys and callers in restricted countries, take off the
headers that a caller may not set and the key itself, tell the provider who it is. `show` asks each way for it before anything
is measured. Lua does so as one would write it in place of Waybill: it finds the client behind trusted proxies and writes an
event too. The others don't. Waybill does more: it looks the address up by itself, and signs. Lua, ext_authz and ext_proc
read the country in a header that a load balancer wrote.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import bootstrap  # noqa: E402
import wire  # noqa: E402
from bootstrap import Node, http_filter  # noqa: E402
from chains import Key  # noqa: E402
from harness import ENVOY, ROOT, WAYBILL, Envoy, until  # noqa: E402
from load import HEADERS, require  # noqa: E402
from register import secret  # noqa: E402
from snapshot import HUNDRED_THOUSAND, SECONDS, Bench, status  # noqa: E402

WASM, MODULE = (WAYBILL.with_name(name) for name in ("waybill.wasm", "libwaybill.so"))
NOOP, EMPTY, PEERS = (Path(os.environ.get(name, "")) for name in ("NOOP", "EMPTY", "PEERS"))
COUNTRIES = ROOT / "dist" / "networks" / "dbip-country-lite.mmdb"

NONE, CONTROL = "no filter", "no filter, again"
EMPTY_WASM, EMPTY_MODULE = "empty wasm filter", "empty module"
NATIVE, LUA, LEAST_LUA, AUTHZ, PROC = "native filters", "Lua", "Lua, the least", "ext_authz", "ext_proc"
IN_WASM, AS_MODULE = "Waybill, wasm", "Waybill, module"
IDLE = (NONE, CONTROL, EMPTY_WASM, EMPTY_MODULE)

HOT = int(os.environ.get("HOT", "1000"))  # customers that call again and again
LIFETIME = 300  # seconds, of which a signature is used for three quarters: as often as a node signs that always has so much to do
ANSWERED, PASSED_ON = "/v1/messages", "/v1/models"  # by Envoy itself, while it is measured; to the upstream, when shown
UNITED_STATES, CHINA = ("73.158.64.1", "US"), ("114.114.114.114", "CN")
RESTRICTED = "AF BY CN CU ET HK IR KP LY ML MM MO NI RU SD SO SS SY VE YE".split()
REMOVED = "compliance-chain compliance-trail signature signature-input x-waybill-route x-api-key".split()
FORGED = "forged by the caller"
SCRIPT = """
local customers = {}
for line in io.lines("%(customers)s") do
  local key, id, profile = line:match("(%%S+) (%%S+) (%%S+)")
  customers[key] = {id = id, tag = 'node="gateway.example", customer="' .. id .. '", screening=passed, origin="', profile = profile}
end
local restricted, removed = {%(restricted)s}, {%(removed)s}

-- the client behind trusted proxies: of those that X-Forwarded-For names, the last one that isn't such a proxy
local function client(peer, forwarded)
  local address = peer
  while forwarded and address:find("^127%%.") do
    local rest, last = forwarded:match("^(.*),%%s*([^,]+)$")
    address, forwarded = last or forwarded, rest
  end
  return address
end

function envoy_on_request(handle)
  local headers, info = handle:headers(), handle:streamInfo()
  local key = headers:get("x-api-key")
  local address = client(info:downstreamDirectRemoteAddress():match("^(.*):"), headers:get("x-forwarded-for"))
  local country, customer = headers:get("x-geo-country"), key and customers[key]
  local status, reason = "200", "none"
  if not customer then
    status, reason = "401", "identity.unknown"
  elseif not country or restricted[country] then
    status, reason = "403", "geo.restricted"
  end
  info:dynamicMetadata():set("waybill", "event", string.format(
    '{"time":"%%s","customer":"%%s","client":"%%s","origin":"%%s","method":"%%s","path":"%%s","status":%%s,"reason":"%%s"}',
    os.date("!%%Y-%%m-%%dT%%H:%%M:%%SZ"), customer and customer.id or "", address, country or "", headers:get(":method"),
    headers:get(":path"), status, reason))
  if status ~= "200" then
    handle:respond({[":status"] = status}, reason .. "\\n")
    return
  end
  -- as servers behind may read `_` as `-`, forgeries go in either spelling
  local forged = {}
  for name in pairs(headers) do
    if removed[name:gsub("_", "-")] then
      forged[#forged + 1] = name
    end
  end
  for _, name in ipairs(forged) do
    headers:remove(name)
  end
  headers:add("compliance-tag", customer.tag .. country .. '"')
  headers:add("anthropic-user-profile-id", customer.profile)
end
"""
# the least that does the job: no event, the header of the balancer taken at its word, forgeries in one spelling
LEAST_SCRIPT = """
local customers = {}
for line in io.lines("%(customers)s") do
  local key, id, profile = line:match("(%%S+) (%%S+) (%%S+)")
  customers[key] = {tag = 'node="gateway.example", customer="' .. id .. '", screening=passed, origin="', profile = profile}
end
local restricted, removed = {%(restricted)s}, {%(removed)s}

function envoy_on_request(handle)
  local headers = handle:headers()
  local key = headers:get("x-api-key")
  local customer = key and customers[key]
  if not customer then
    handle:respond({[":status"] = "401"}, "unknown key\\n")
    return
  end
  local country = headers:get("x-geo-country")
  if not country or restricted[country] then
    handle:respond({[":status"] = "403"}, "restricted country\\n")
    return
  end
  for name in pairs(removed) do
    headers:remove(name)
  end
  headers:replace("compliance-tag", customer.tag .. country .. '"')
  headers:replace("anthropic-user-profile-id", customer.profile)
end
"""


class Peers:
    """What several Envoys share: the snapshot with its server, the customers' file, and the servers of ext_authz and ext_proc."""

    def __init__(self, folder):
        require(
            ENVOY=("Envoy", ENVOY), WAYBILL=("the filter as wasm", WASM), MODULE=("the filter as a module", MODULE),
            NOOP=("tests/modules/noop", NOOP), EMPTY=("the empty module of tests/modules/peers", EMPTY), PEERS=("tests/modules/peers", PEERS),
        )  # fmt: skip
        self.folder = folder
        self.bench = Bench(folder)
        self.stack = contextlib.ExitStack()
        self.customers = folder / "customers.txt"
        rows = ((secret(number), f"c-{number:07}", f"prof_{number:012x}") for number in range(HUNDRED_THOUSAND))
        self.customers.write_text("".join(f"{' '.join(row)}\n" for row in rows))

    def __enter__(self):
        self.stack.enter_context(self.bench)
        self.bench.serve(HUNDRED_THOUSAND, 1)
        self.upstream = self.stack.enter_context(wire.Upstream())
        self.servers = {AUTHZ: self.server("authz"), PROC: self.server("proc")}
        return self

    def __exit__(self, *_):
        self.stack.close()

    def server(self, service):
        """Its process, and the port that it says."""
        process = subprocess.Popen([PEERS, service, self.customers, " ".join(RESTRICTED)], stdout=subprocess.PIPE, text=True)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        return process, int(process.stdout.readline())

    def pids(self, name):
        """The server that works for this one, if any."""
        return [self.servers[name][0].pid] if name in self.servers else []

    @contextlib.contextmanager
    def envoy(self, names):
        """An Envoy with one worker and a listener for each name, once Waybill has the snapshot and each has shown its job."""
        environment = {"KEY": Key(4).private_jwk()}
        nodes = {IN_WASM: Node(IN_WASM, self.configuration(), WASM, environment=environment), AS_MODULE: Node(AS_MODULE, self.configuration(), MODULE, environment=environment)}
        filters = {**self.others(), **{name: waybill(node) for name, node in nodes.items()}}
        config = bootstrap.bootstrap([], self.upstream.port, None)
        config["watchdogs"] = {name: NEVER for name in ("main_thread_watchdog", "worker_watchdog")}
        config["static_resources"]["listeners"] = [listener(name, filters[name]) for name in names]
        clusters = [bootstrap.cluster("upstream", [self.upstream.port]), bootstrap.cluster("snapshots", [self.bench.port])]
        config["static_resources"]["clusters"] = [*clusters, *(http2(name, port) for name, (_, port) in self.servers.items())]
        folder = Path(tempfile.mkdtemp(prefix="envoy", dir=self.folder))
        with Envoy(folder, config, 1, bootstrap.process_environment(nodes.values())) as envoy:
            ports = envoy.ports()
            for name in nodes.keys() & set(names):
                until(SECONDS, f"{name} to be ready", lambda port=ports[name]: status(port, "/.well-known/waybill/ready") == 200, envoy.log)
            for name in names:
                self.show(name, ports[name])
            yield envoy, ports

    def others(self):
        """The filters of each that isn't Waybill."""
        empty = Node(EMPTY_MODULE, {}, EMPTY)
        return {
            NONE: [],
            CONTROL: [],
            EMPTY_WASM: bootstrap.waybill(Node(EMPTY_WASM, {}, NOOP)),
            EMPTY_MODULE: bootstrap.waybill(empty),
            NATIVE: native(),
            LUA: lua(self.script(SCRIPT)),
            LEAST_LUA: lua(self.script(LEAST_SCRIPT)),
            AUTHZ: [http_filter("ext_authz.v3.ExtAuthz", transport_api_version="V3", grpc_service=grpc(AUTHZ), allowed_headers=READ)],
            PROC: [
                http_filter(
                    "ext_proc.v3.ExternalProcessor", grpc_service=grpc(PROC), message_timeout="5s", forward_rules={"allowed_headers": READ},
                    processing_mode={"request_header_mode": "SEND", "response_header_mode": "SKIP"},
                )
            ],
        }  # fmt: skip

    def script(self, text):
        restricted = ", ".join(f"{country} = true" for country in RESTRICTED)
        removed = ", ".join(f'["{name}"] = true' for name in (*REMOVED, "compliance-tag", "anthropic-user-profile-id"))
        return text % {"customers": self.customers, "restricted": restricted, "removed": removed}

    def configuration(self):
        """Waybill as `envoy/snapshot.yaml` has it, with a tag that is signed once per customer."""
        return {
            "version": 1,
            "node": {"id": "gateway.example"},
            "snapshot": {
                "cluster": "snapshots", "authority": "snapshots", "path": f"/{HUNDRED_THOUSAND}",
                "trusted_keys": [self.bench.registers.trusted],
            },
            "identity": {"sources": [{"header": "x-api-key"}, {"bearer": True}]},
            "client_address": {"trusted_proxies": ["127.0.0.0/8"], "header": "x-forwarded-for"},
            "geo": {"origin": [{"snapshot": True}]},
            "policy": {"mode": "enforce"},
            "provider": {"name": "anthropic"},
            "tag": {"keys": [{"env": "KEY"}], "binding": "customer", "lifetime_seconds": LIFETIME},
        }  # fmt: skip

    def show(self, name, port):
        """Ends unless this one does its job."""
        number = HOT // 2
        forged = [[each, FORGED] for each in (*REMOVED[:5], "compliance-tag", "anthropic-user-profile-id")]
        good = ask(port, PASSED_ON, secret(number), UNITED_STATES, forged)
        if good.status != 200 or ask(port, ANSWERED, secret(number), UNITED_STATES).body != b"ok":
            fails(name, f"it answers a good request by {good.status}")
        if name in IDLE:
            return
        received = dict(good.json()["headers"])
        if f"prof_{number:012x}" != received.get("anthropic-user-profile-id") or "screening=passed" not in received.get("compliance-tag", ""):
            fails(name, f"the upstream isn't told who calls: {received}")
        if FORGED in received.values() or "x-api-key" in received:
            fails(name, f"the upstream gets what it must not: {received}")
        for why, refused, wanted in (("unknown key", ("wb_bench_none", UNITED_STATES), 401), ("restricted country", (secret(number), CHINA), 403)):
            for path in (ANSWERED, PASSED_ON):
                if (answer := ask(port, path, *refused)).status != wanted:
                    fails(name, f"a request with {why} is answered by {answer.status}, expected {wanted}")
        if name in (IN_WASM, AS_MODULE, LUA):
            if json.loads(received.get("x-bench-event", "{}")).get("customer") != f"c-{number:07}":
                fails(name, f"no event was written: {received}")
            if name != LUA and not received.get("signature", "").startswith("cmp=:"):
                fails(name, f"the tag isn't signed: {received}")

    def requests(self):
        """A file of a request for each customer of the hot set, in random order."""
        path = self.folder / "requests.txt"
        numbers = random.Random(7).sample(hot(), HOT)
        path.write_bytes(b"".join(request(ANSWERED, secret(number), UNITED_STATES) for number in numbers))
        return path


NEVER = {"miss_timeout": "9999s", "megamiss_timeout": "9999s"}  # a watchdog wakes its thread ten times a second
READ = {"patterns": [{"exact": name} for name in ("x-api-key", "x-geo-country")]}


def hot():
    """Spread over the register."""
    return range(0, HUNDRED_THOUSAND, HUNDRED_THOUSAND // HOT)


def request(path, key, caller, headers=()):
    address, country = caller
    named = [["x-api-key", key], ["x-forwarded-for", address], ["x-geo-country", country]]
    return wire.raw_request("GET", path, "gateway.example", [*HEADERS.items(), *named, *headers])


def ask(port, path, key, caller, headers=()):
    return wire.exchange(port, request(path, key, caller, headers))


def fails(name, why):
    sys.exit(f"{name} doesn't do its job, so nothing is measured: {why}")


def waybill(node):
    """With what the wasm filter needs to know the direct peer; the module asks Envoy."""
    direct = bootstrap.filter_state("direct", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")
    before = [] if bootstrap.is_module(node) else [http_filter("set_filter_state.v3.Config", on_request_headers=[direct])]
    return [*before, *bootstrap.waybill(node)]


def lua(script):
    return [http_filter("lua.v3.Lua", default_source_code={"inline_string": script})]


def native():
    """Envoy's own filters. The profile is the client of a key."""
    provider = {
        "@type": "type.googleapis.com/envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig",
        "country_db_path": str(COUNTRIES),
        "common_provider_config": {"geo_field_keys": {"country": "x-geo-country"}},
    }
    denied = [{"header": {"name": "x-geo-country", "string_match": {"exact": country}}} for country in RESTRICTED]
    policy = {"permissions": [{"or_rules": {"rules": denied}}], "principals": [{"any": True}]}
    tag = 'node="gateway.example", customer="%REQ(anthropic-user-profile-id)%", screening=passed, origin="%REQ(x-geo-country)%"'
    set_tag = {"append": {"header": {"key": "compliance-tag", "value": tag}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    credentials = [{"key": secret(number), "client": f"prof_{number:012x}"} for number in range(HUNDRED_THOUSAND)]
    return [
        http_filter(
            "api_key_auth.v3.ApiKeyAuth", credentials=credentials, key_sources=[{"header": "x-api-key"}],
            forwarding={"header": "anthropic-user-profile-id", "hide_credentials": True},
        ),
        http_filter("geoip.v3.Geoip", xff_config={"xff_num_trusted_hops": 0}, provider={"name": "maxmind", "typed_config": provider}),
        http_filter("rbac.v3.RBAC", rules={"action": "DENY", "policies": {"restricted": policy}}),
        http_filter("header_mutation.v3.HeaderMutation", mutations={"request_mutations": [set_tag, *({"remove": name} for name in REMOVED)]}),
    ]  # fmt: skip


def grpc(cluster):
    return {"envoy_grpc": {"cluster_name": cluster}, "timeout": "5s"}


def http2(name, port):
    cluster = bootstrap.cluster(name, [port])
    [options] = cluster["typed_extension_protocol_options"].values()
    options["explicit_http_config"] = {"http2_protocol_options": {}}
    return cluster


def listener(name, filters):
    """Answers one path by itself, and passes others on with Waybill's event as a header."""
    source = "DYNAMIC_METADATA(waybill:event)" if name == LUA else "FILTER_STATE(wasm.waybill:PLAIN)"
    event = {"header": {"key": "x-bench-event", "value": f"%{source}%"}}
    routes = [
        {"match": {"prefix": ANSWERED}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}},
        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}, "request_headers_to_add": [event]},
    ]
    manager = {
        "@type": f"{bootstrap.TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, http_filter("router.v3.Router", suppress_envoy_headers=True)],
    }
    return {"name": name, "address": bootstrap.address(0), "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}
