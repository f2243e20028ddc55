"""The files of docs/own-envoy.md as they are, but for what a test must change: free ports, the test's upstream in place of the
providers and without TLS, one secret, a snapshot of the test's own, and the access log in a file. The loopback is the balancer.
"""

import json
import os
import subprocess
from pathlib import Path

import yaml

import shipped
from harness import FILTER, ROOT, WAYBILL, Envoy, Played, by_host, until
from wire import exchange, raw_request

EXAMPLE = "sk-example"  # the key of the customer in the files' own register
EVENT_SECONDS = 5
LOOPBACK = "127.0.0.0/8"


def read(file):
    """One of the files in envoy/."""
    return yaml.safe_load((ROOT / "envoy" / file).read_text())


def managers(document):
    """The connection managers by the names of their listeners."""
    listeners = document["static_resources"]["listeners"]
    return {each["name"]: each["filter_chains"][0]["filters"][0]["typed_config"] for each in listeners}


def within(part):
    """All objects of a document, the outer ones first."""
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from within(each)


def configurations(document):
    """Each node's configuration: the object that has it as text."""
    return [each for each in within(document) if each.get("@type", "").endswith("google.protobuf.StringValue")]


def configure(document, change):
    """Changes each node's configuration."""
    for each in configurations(document):
        config = json.loads(each["value"])
        change(config)
        each["value"] = json.dumps(config)


def check(*files, folder=ROOT):
    """What `waybill check` says: its exit status, and all text."""
    done = subprocess.run([WAYBILL, "check", *files], capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout + done.stderr


class Own(Envoy):
    """An Envoy with such a document."""

    cluster = shipped.Shipped.cluster

    def __init__(self, folder, document, upstream, snapshot=None, concurrency=1):
        self.upstream, self.snapshot, self.events = upstream, snapshot, {}
        self.folder = folder
        self.adapt(document)
        document["admin"]["address"]["socket_address"]["port_value"] = 0
        static = document["static_resources"]
        for listener in static["listeners"]:
            listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
        static["clusters"] = [self.cluster(each) for each in static["clusters"]]
        static["secrets"] = [{"name": "own", "generic_secret": {"secret": {"inline_string": shipped.OWN_KEY}}}]
        for name, manager in managers(document).items():
            manager["skip_xff_append"] = True  # for a peer on the loopback Envoy would append the machine's own address
            if "access_log" in manager:
                manager["access_log"] = [self.access_log(name, each) for each in manager["access_log"]]
        super().__init__(folder, by_host(document), concurrency)

    def __enter__(self):
        super().__enter__()
        self.listeners = self.ports()
        return self

    def access_log(self, name, shipped):
        """The same lines, in a file."""
        self.events[name] = self.folder / f"{name}.log"
        kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        typed = {**shipped["typed_config"], "@type": kind, "path": str(self.events[name])}
        return {**shipped, "name": "envoy.access_loggers.file", "typed_config": typed}

    def adapt(self, document):
        """What may stand anywhere, in a resource of ECDS too."""
        for each in within(document):
            if "filename" in each and each["filename"] == "dist/waybill.wasm":
                each["filename"] = str(FILTER)
            if "sds_config" in each:
                each |= {"name": "own"}
                del each["sds_config"]
        configure(document, self.node)

    def node(self, config):
        proxies = config.get("client_address", {}).get("trusted_proxies", [])
        if proxies:
            proxies.append(LOOPBACK)
        if "snapshot" in config:
            config["snapshot"] |= {"poll_seconds": 1, "trusted_keys": [self.snapshot.trusted]}

    def lines(self, name):
        written = self.events[name].read_text()
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]

    def ask(self, name, path="/v1/messages", headers=(), method="POST", tell=exchange):
        """One request, and what became of it; `event` is absent where the listener writes no log."""
        before = len(self.lines(name)) if name in self.events else 0
        self.upstream.take()
        body = b"{}" if method == "POST" else None
        response = tell(self.listeners[name], raw_request(method, path, "gateway.acme.example", headers, body))
        event = None
        if name in self.events:
            until(EVENT_SECONDS, "the access log's line", lambda: len(self.lines(name)) > before, self.log)
            event = self.lines(name)[before]["event"]
            event = json.loads(event) if isinstance(event, str) else event
        received = self.upstream.take()
        return Played(response, event, received[0] if received else None)

    def is_open(self, name):
        return exchange(self.listeners[name], raw_request("GET", shipped.READY, "localhost")).status == 200


class Discovered(Own):
    """An Envoy with envoy/ecds.yaml, whose resources stand in a folder of the test's."""

    def __init__(self, folder, document, upstream, **options):
        self.resources = folder / "ecds"
        self.resources.mkdir()
        super().__init__(folder, document, upstream, **options)
        for each in within(document):
            if source := each.get("path_config_source"):
                file = Path(source["path"]).name
                source |= {"path": str(self.resources / file), "watched_directory": {"path": str(self.resources)}}
        (folder / "envoy.json").write_text(json.dumps(by_host(document), indent=1))

    def publish(self, provider, change=lambda config: None):
        """Puts a resource of envoy/ecds/ into place as the page says: a new file, renamed."""
        document = read(f"ecds/{provider}.yaml")
        configure(document, change)
        self.adapt(document)
        new = self.resources / f".{provider}.new"
        new.write_text(json.dumps(by_host(document)))
        os.replace(new, self.resources / f"{provider}.yaml")

    def updates(self, kind):
        return sum(self.stats(f"extension_config_discovery.*({kind})").values())
