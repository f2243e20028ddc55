"""What the tests with heavy engines share: a real run of two gateways and a chain of nodes, whose events and metrics the engines read.

`./build.sh test-engines` runs them. The Envoys are those of envoy/demo.yaml and envoy/chain.yaml as `./build.sh prepare` writes them
to dist/, on free ports and with logs of their own. The requests are the demo's.
"""

import contextlib
import json
import os
import re
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "envoy")]
os.chdir(ROOT)  # dist/ is named relatively, in the files and by the demo

import demo  # noqa: E402: both need the paths above
import stage  # noqa: E402
import three_nodes  # noqa: E402
from harness import START_SECONDS, Envoy, until  # noqa: E402

OBSERVABILITY = ROOT / "envoy" / "observability"
OTLP = OBSERVABILITY / "otlp.yaml"
REPORTING = "gateway-2.acme.example"
ROUNDS = 3


@dataclass
class Fleet:
    """A real run: where the nodes' metrics are, what was asked, and the lines that they wrote."""

    admins: dict[str, str] = field(default_factory=dict)  # host and port by name
    logs: list[Path] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)  # of the requests to the gateways
    provider: int = 0  # the port of the providers' stand-in
    again: object = None  # plays the gateways' requests once more

    def lines(self):
        return [json.loads(line) for path in self.logs for line in path.read_bytes().split(b"\n")[:-1]]

    def texts(self):
        """The texts of all events."""
        return [line["event"] for line in self.lines() if line["event"]]

    def events(self):
        return [json.loads(text) for text in self.texts()]


@dataclass
class Provider:
    port: int


@pytest.fixture(scope="session")
def provider():
    """The demo's stand-in."""
    with contextlib.ExitStack() as running:
        port = free_port()
        process = stage.spawn(running, [sys.executable, "envoy/provider.py", str(port)])
        stage.wait_until_ready(process, "the provider stand-in", port, "/_received", "")
        yield Provider(port)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory, provider):
    """Two gateways, of which the second only reports, and four nodes in a row."""
    run = Fleet(provider=provider.port)
    with contextlib.ExitStack() as running:
        gateways = []
        for name, change in (("gateway-1", {}), ("gateway-2", {"node": REPORTING})):
            folder = tmp_path_factory.mktemp(name)
            config, ports = here("dist/demo.yaml", folder, provider.port, (9901, 10000, 10001))
            if change:
                report_only(config)
            envoy = running.enter_context(Envoy(folder, config, concurrency=2))
            wait_for_snapshot(envoy, ports[10000])
            run.admins[name] = f"127.0.0.1:{ports[9901]}"
            run.logs.append(folder / "events.jsonl")
            gateways.append((ports[10000], envoy))
        run.again = lambda: play(run, gateways)
        run.again()
        chain(running, run, tmp_path_factory.mktemp("chain"), provider.port)
        yield run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def here(file, folder, provider, fixed):
    """A prepared file with free ports and logs in a folder, and which port is which."""
    text = Path(file).read_text()
    ports = {18080: provider} | {port: free_port() for port in fixed}
    for port, free in ports.items():
        assert f"port_value: {port}" in text, f"{file} no longer has port {port}"
        text = text.replace(f"port_value: {port}", f"port_value: {free}")
    return yaml.safe_load(re.sub(r"path: dist/(\S+\.jsonl)", rf"path: {folder}/\1", text)), ports


def report_only(config):
    """A gateway of another name that only reports."""
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    [wasm] = [each["typed_config"]["config"] for each in manager["http_filters"] if each["name"] == "waybill"]
    node = json.loads(wasm["configuration"]["value"])
    node["node"]["id"] = REPORTING
    node["policy"] = node.get("policy", {}) | {"mode": "report"}
    wasm["configuration"]["value"] = json.dumps(node)


def wait_for_snapshot(envoy, port):
    until(START_SECONDS, "the snapshot", lambda: stage.get(port, demo.READY)[0] == 200, envoy.log)
    time.sleep(0.3)  # one worker has it; the others look for it ten times a second


def play(run, gateways):
    """The demo's requests at each gateway, a few times over, and one that Envoy answers before the node."""
    for port, envoy in gateways:
        log = envoy.folder / "events.jsonl"
        before = log.read_bytes().count(b"\n") if log.exists() else 0
        for _ in range(ROUNDS):
            for step in demo.STORY:
                response, _ = stage.exchange(port, step.method, step.path, demo.body_of(step), demo.headers_of(step))
                run.statuses[str(response.status)] += 1
        with socket.create_connection(("127.0.0.1", port)) as malformed:
            malformed.sendall(b"nonsense\r\n\r\n")
            assert malformed.recv(100).startswith(b"HTTP/1.1 400")
        wanted = before + ROUNDS * len(demo.STORY) + 1
        until(START_SECONDS, "the log's lines", lambda: log.read_bytes().count(b"\n") >= wanted, envoy.log)


def chain(running, run, folder, provider):
    """The demo's second act: honest and forged requests through resellers to a provider."""
    config, ports = here("dist/chain.yaml", folder, provider, three_nodes.PORTS)
    with mock.patch.dict(os.environ, demo.prepare.chain_keys()):
        running.enter_context(Envoy(folder, config, concurrency=2))

    def exchange(port, *request):
        return stage.exchange(ports[port], *request)

    patches = {"exchange": exchange, "EVENTS": folder / "chain-events.jsonl", "SENT": folder / "chain-sent.jsonl"}
    with mock.patch.multiple(three_nodes, **patches):
        sent = None
        for scene in three_nodes.STORY:
            played = three_nodes.play(scene, sent)
            assert not [*played.faults()], (scene.what, [*played.faults()])
            sent = sent or three_nodes.what_a_sent()
    run.admins["chain"] = f"127.0.0.1:{ports[three_nodes.ADMIN]}"
    run.logs.append(folder / "chain-events.jsonl")


@contextlib.contextmanager
def otlp_gateway(folder, provider):
    """The file with free ports and a provider of the test's; the collector isn't there yet."""
    config = yaml.safe_load(OTLP.read_text())
    ports = {name: free_port() for name in ("admin", "gateway", "collector")}
    config["admin"]["address"]["socket_address"]["port_value"] = ports["admin"]
    [listener] = config["static_resources"]["listeners"]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": ports["gateway"]}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    file, _ = manager["access_log"]
    log = folder / "events.jsonl"
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    file["typed_config"] = {"@type": kind, "path": str(log), "log_format": file["typed_config"]["log_format"]}
    clusters = {cluster["name"]: cluster for cluster in config["static_resources"]["clusters"]}
    del clusters["anthropic"]["transport_socket"]
    for name, port in (("anthropic", provider), ("collector", ports["collector"])):
        [endpoint] = clusters[name]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    options = clusters["anthropic"]["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    del options["auto_config"], options["upstream_http_protocol_options"]
    options["explicit_http_config"] = {"http_protocol_options": {}}
    sds = options["http_filters"][0]["typed_config"]["credential"]["typed_config"]["credential"]["sds_config"]
    sds["path_config_source"]["path"] = str(secret(folder))
    with Envoy(folder, config, concurrency=2) as envoy:
        yield envoy, ports, log


def secret(folder):
    text = (ROOT / "envoy" / "sds" / "anthropic-key.yaml").read_text()
    (folder / "anthropic.key").write_text("demo-anthropic-key")
    (folder / "sds.yaml").write_text(text.replace("/etc/waybill", str(folder)))
    return folder / "sds.yaml"
