"""Runs a real Envoy, sends it exact requests and says what became of them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import wire
from bootstrap import Node, bootstrap, is_module, process_environment

ROOT = Path(__file__).resolve().parents[2]
ENVOY = os.environ.get("ENVOY", "")
WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
HOST = os.environ.get("WAYBILL_HOST", "wasm")  # or `module`: the same tests, over Envoy's dynamic modules
FILTERS = {"wasm": WAYBILL.with_name("waybill.wasm"), "module": WAYBILL.with_name("libwaybill.so")}
FILTER = FILTERS[HOST]

sys.path.insert(0, str(ROOT / "envoy"))
import hosts  # noqa: E402

KEY = "sk-test-good"
APPEAL = "https://acme.example/appeal"
START_SECONDS = 60  # V8 compiles the module, on a machine that may be busy
EVENT_SECONDS = 5  # the access log is flushed every few milliseconds


class Envoy:
    """An Envoy process, from `with` to the end of the block."""

    running: list["Envoy"] = []  # whose logs a failing test shows

    def __init__(self, folder, config, concurrency=1, environment=None):
        self.folder = folder
        self.log = folder / "envoy.log"
        self.concurrency = concurrency
        self.environment = environment or {}
        (folder / "envoy.json").write_text(json.dumps(config, indent=1))

    def __enter__(self):
        command = [*command_line(self.folder / "envoy.json"), "--concurrency", str(self.concurrency)]
        command += ["--component-log-level", "wasm:info,dynamic_modules:info"]
        command += ["--admin-address-path", self.folder / "admin", "--file-flush-interval-msec", "10"]
        with self.log.open("w") as log:
            environment = {**os.environ, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(FILTER.parent), **self.environment}
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        self.running.append(self)
        try:
            until(START_SECONDS, "Envoy to be ready", self.is_ready, self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.running.remove(self)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def is_ready(self):
        assert self.process.poll() is None, f"Envoy ended with code {self.process.returncode}:\n{tail(self.log)}"
        try:
            return self.admin("/ready").strip() == "LIVE"
        except OSError:
            return False

    def admin(self, path):
        address = (self.folder / "admin").read_text()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.read().decode()

    def ports(self):
        """The port of each listener by its name; pipes have none."""
        listeners = json.loads(self.admin("/listeners?format=json")).get("listener_statuses", [])
        addresses = {each["name"]: each["local_address"].get("socket_address") for each in listeners}
        return {name: address["port_value"] for name, address in addresses.items() if address}

    def stats(self, pattern):
        """Counters and gauges whose name matches."""
        lines = (line.partition(": ") for line in self.admin(f"/stats?filter={pattern}").splitlines())
        return {name: int(value) for name, _, value in lines if value.isdigit()}

    def resident_kilobytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@dataclass
class Played:
    """What became of one request."""

    response: wire.Response
    event: dict | None  # None: the filter wrote none
    received: dict | None  # None: it never reached the upstream


class Lab(Envoy):
    """An Envoy with nodes in it, between the test's client and the test's upstream."""

    def __init__(self, folder, nodes, upstream, certificates, concurrency=1):
        self.upstream, self.certificates = upstream, certificates
        self.nodes = {node.name: replace(node, events=folder / f"{node.name}.events") for node in nodes}
        config = bootstrap(self.nodes.values(), upstream.port, certificates)
        super().__init__(folder, config, concurrency, process_environment(self.nodes.values()))

    def __enter__(self):
        super().__enter__()
        ports = self.ports()
        for node in self.nodes.values():
            node.port = ports[node.name]
        return self

    def events(self, name):
        """A node's access log: an event a line, or `-` where the filter wrote none."""
        written = self.nodes[name].events.read_text()
        return written[: written.rfind("\n") + 1].splitlines()  # the last line may still be on its way

    def play(self, name, request, body=None):
        """Sends a request in the shape that `waybill explain` takes."""
        headers = list(request.get("headers", []))
        if "direct_peer" in request:
            headers.append(("x-test-direct-peer", direct(request)))
        for claims in request.get("jwt", {}).values():
            headers.append(("x-test-jwt", wire.jwt(claims)))
        method = request.get("method", "GET")
        sent = wire.raw_request(method, request.get("path", "/"), request.get("authority", "localhost"), headers, body)
        tls = self.certificates.client(sans(request.get("tls", {}))) if self.nodes[name].tls else None
        return self.send(name, sent, tls, method)

    def send(self, name, request, tls=None, method="GET"):
        """Sends exact bytes, one request at a time, so that the next event is this request's."""
        before = len(self.events(name))
        self.upstream.take()
        response = self.exchange(name, lambda port: wire.exchange(port, request, tls, method))
        line = self.events(name)[before]
        received = self.upstream.take()
        assert len(received) <= 1, f"one request became several at the upstream: {received}"
        return Played(response, None if line == "-" else json.loads(line), received[0] if received else None)

    def exchange(self, name, ask):
        """Asks a node's port once and waits for the log's line, which a later request would take for its own."""
        before = len(self.events(name))
        response = ask(self.nodes[name].port)
        until(EVENT_SECONDS, "the access log's line", lambda: len(self.events(name)) > before, self.log)
        return response


def by_host(part):
    """A file of envoy/, or a part of one, that names the wasm filter, as it is for the host under test."""
    return part if HOST == "wasm" else hosts.as_module(part, {"module": {"local": {"filename": str(FILTER)}}})


def node(name, config, host=HOST, **options):
    """A listener with the filter that was built, for the host under test or another."""
    return Node(name, config, FILTERS[host], **options)


def configuration(**changes):
    """A node with one screened customer in Singapore, `KEY`; members are replaced by name."""
    customer = {
        "id": "c-1", "kind": "customer", "status": "active",
        "credentials": ["sha256:" + hashlib.sha256(KEY.encode()).hexdigest()],
        "screening": {"status": "passed", "at": "2026-01-15T00:00:00Z", "until": "2099-12-31T00:00:00Z", "by": "test"},
        "ownership": "clear", "declared": ["SG"],
    }  # fmt: skip
    sources = [{"header": "x-api-key"}, {"bearer": True}, {"query": "key"}]
    config = {
        "version": 1,
        "node": {"id": "gateway.acme.example"},
        "register": {"customers": [customer]},
        "regions": {"set": "anthropic-api-179"},
        "identity": {"sources": [*sources, {"websocket_protocol": "openai-insecure-api-key."}]},
        "client_address": {"trusted_proxies": ["127.0.0.0/8"], "header": "x-forwarded-for"},
        "geo": {"origin": [{"header": "x-geo-country"}], "user": [{"header": "x-user-country"}]},
        "provider": {"name": "anthropic", "deny_paths": ["/v1/organizations"]},
        "disclosure": {"contact": "compliance@acme.example", "appeal_url": APPEAL},
    }
    return {**config, **changes}


def request(path="/v1/messages", country="SG", headers=(), **more):
    """A request by that customer, as its load balancer would pass it on."""
    ordinary = [["x-api-key", KEY], ["x-geo-country", country], ["x-forwarded-for", "203.0.113.9"]]
    return {"path": path, "headers": [*ordinary, *headers], "direct_peer": "127.0.0.1", **more}


def command_line(config):
    return [ENVOY, "-c", config, "--disable-hot-restart", "--log-level", "warning"]


def validated(folder, node, certificates, mode="validate", **variables):
    """What Envoy says of a file with that node, which it only reads: its exit status, and its log."""
    path = folder / "envoy.json"
    path.write_text(json.dumps(bootstrap([node], 1, certificates)))
    command = [*command_line(path), "--mode", mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, cwd=ROOT, env={**os.environ, **variables})
    return done.returncode, done.stderr


def direct(request):
    """Filter state `direct`: the peer, and behind a space the client's address as Envoy has it, unless its own will do."""
    forwarded = any(name.lower() in ("x-forwarded-for", "forwarded") for name, _ in request.get("headers", []))
    client = request.get("envoy_client") or (None if forwarded else request["direct_peer"])
    return " ".join(filter(None, [request["direct_peer"], client]))


def sans(tls):
    """The names in a request's `tls`, as openssl writes them."""
    kinds = {"uri_san": "URI", "dns_san": "DNS"}
    return ",".join(f"{kinds[kind]}:{name}" for kind, names in sorted(tls.items()) for name in names)


def assert_unharmed(lab):
    """No VM died or was started anew (Envoy 1.40 counts that as `vm_reload_backoff` and `vm_reload_success`); no hook panicked."""
    modules = any(is_module(node) for node in lab.nodes.values())
    harm = lab.stats("waybill_panics_total$" if modules else r"wasm\..*vm_reload_")
    assert harm and not any(harm.values()), harm
    log = lab.log.read_text()
    for sign in ("panicked", "Uncaught RuntimeError", KEY):
        assert sign not in log


def until(seconds, what, condition, log):
    """Waits for a condition; when it doesn't come, says for what, and shows Envoy's log."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}; Envoy's log ends:\n{tail(log)}"
        time.sleep(0.005)


def tail(log, lines=30):
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
