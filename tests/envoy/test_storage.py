"""`envoy/snapshot.yaml`, or `envoy/module.yaml`, as it is, but for addresses, files, keys and `poll_seconds`, with a server of S3's protocol (moto).

Storage and provider are asked over TLS, and each has a certificate for its own name in that file. Amazon's SDK puts the snapshot
into the bucket; the node fetches it without credentials.
"""

import json
import ssl
import threading

import boto3
import pytest
import yaml
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

import wire
from harness import FILTER, HOST, ROOT, Envoy, until
from shipped import log_line
from snapshots import Register, customer

SOON_SECONDS = 10
FILE = {"wasm": "snapshot.yaml", "module": "module.yaml"}[HOST]
HERE = {"dist/waybill.wasm": FILTER} if HOST == "wasm" else {}  # Envoy finds a module by its name
BUCKET, KEY = "acme-registers", "edge/waybill.snapshot"  # what the file's `authority` and `path` come to
STORAGE, PROVIDER = "acme-registers.objects.example", "api.anthropic.com"
POLL_BYTES = 1_000  # both ways, without TLS; measured: 544


class Storage:
    """Object storage with one bucket. `asked` has the status of each request without credentials."""

    def __init__(self, certificates):
        self.certificates, self.tls = certificates, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.show("other.objects.example")
        self.names = set()  # that TLS asked for
        self.tls.sni_callback = lambda _socket, name, _context: self.names.add(name)
        self.asked = asked = []

        class Handler(MotoRequestHandler):
            def log_request(self, code="-", size="-"):
                if "authorization" not in self.headers:
                    asked.append(int(code))

        app = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler, ssl_context=self.tls)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port
        self.owner = boto3.client(
            "s3", endpoint_url=f"https://localhost:{self.port}", verify=str(certificates.ca), region_name="us-east-1",
            aws_access_key_id="the owner's", aws_secret_access_key="secret",
        )  # fmt: skip
        self.owner.create_bucket(Bucket=BUCKET)

    def show(self, name):
        """From the next connection on, a certificate for that name (and for its owner's, who asks from here)."""
        self.tls.load_cert_chain(*self.certificates.issue(name, f"DNS:{name},DNS:localhost"))

    def put(self, file, readable_by):
        self.owner.put_object(Bucket=BUCKET, Key=KEY, Body=file, ACL=readable_by)

    def take(self):
        """The statuses since the last call."""
        taken, self.asked[:] = list(self.asked), []
        return taken


class Provider(wire.Upstream):
    """The test's upstream, over TLS."""

    def __init__(self, certificates):
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(*certificates.issue("provider", f"DNS:{PROVIDER}"))
        super().__init__()

    def get_request(self):
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True), address


class Gateway(Envoy):
    """What the file makes of Envoy."""

    def __init__(self, folder, certificates, storage, provider, trusted):
        self.provider = provider
        self.client = certificates.client("")
        (folder / "provider.key").write_text("sk-of-the-reseller\n")
        (folder / "sds").mkdir()
        certificate, key = certificates.server
        for name, changes in {
            "anthropic-key": {"/etc/waybill/anthropic.key": folder / "provider.key"},
            "server-certificate": {"/etc/waybill/tls.crt": certificate, "/etc/waybill/tls.key": key},
            "provider-roots": {"/etc/ssl/certs/ca-certificates.crt": certificates.ca},
        }.items():
            (folder / "sds" / f"{name}.yaml").write_text(changed(ROOT / "envoy" / "sds" / f"{name}.yaml", changes))
        text = changed(
            ROOT / "envoy" / FILE,
            {
                **HERE,
                "port_value: 9901": "port_value: 0",
                "address: 0.0.0.0, port_value: 8443": "address: 127.0.0.1, port_value: 0",
                f"address: {STORAGE}, port_value: 443": f"address: 127.0.0.1, port_value: {storage.port}",
                f"address: {PROVIDER}, port_value: 443": f"address: 127.0.0.1, port_value: {provider.port}",
                "path: envoy/sds/": f"path: {folder}/sds/",
                "UUWBRKFziJ5YnAL2jHf/JPrqgyeBs/8FCDYF7H5kqUs=": trusted,
                '"poll_seconds": 30': '"poll_seconds": 1',
            },
        )
        super().__init__(folder, yaml.safe_load(text))

    def ask(self, key):
        """A request: its status, its event and what reached the provider."""
        before = len(self.events())
        self.provider.take()
        request = wire.raw_request("POST", "/v1/messages", "gateway.acme.example", [("x-api-key", key)], b"{}")
        response = wire.exchange(self.port, request, self.client, "POST")
        until(SOON_SECONDS, "the access log's line", lambda: len(self.events()) > before, self.log)
        return response.status, self.events()[before], self.provider.take()

    def decides(self, key, *expected):
        """Whether a request comes to that status, that reason and that snapshot."""
        status, event, _ = self.ask(key)
        return (status, event["reason"], event["snapshot"]) == expected

    def events(self):
        """The access log goes to standard output, as Envoy's own log does here."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(log_line(line)["event"]) for line in lines if line.startswith(b"{")]

    @property
    def port(self):
        return self.ports()["anthropic"]

    def counted(self, *names):
        """What Envoy counts of the cluster; some counters come with the first they count."""
        stats = self.stats("cluster.snapshots")
        return [stats.get(f"cluster.snapshots.{name}", 0) for name in names]

    def says(self, text):
        until(SOON_SECONDS, f"the log to say {text}", lambda: text in self.log.read_text(), self.log)


def changed(file, changes):
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, f"{file} no longer has {old!r}: this test puts its own there"
        text = text.replace(old, str(new))
    return text


@pytest.fixture(scope="module")
def storage(certificates):
    storage = Storage(certificates)
    yield storage
    storage.server.shutdown()


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    """Two customers, and the loopback in Singapore, whence they call."""
    register = Register(tmp_path_factory.mktemp("register") / "register")
    (register.folder / "networks").mkdir()
    (register.folder / "networks" / "here.txt").write_text("127.0.0.0/8 SG\n")
    register.networks([{"name": "here", "file": "networks/here.txt", "date": "2026-01-01T00:00:00Z"}])
    return register


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates, storage, register):
    with Provider(certificates) as provider:
        with Gateway(tmp_path_factory.mktemp("gateway"), certificates, storage, provider, register.trusted) as gateway:
            yield gateway
        provider.shutdown()


# --- one life: each test goes on where the one before ended ---------------------------------------------------------


def test_another_server(gateway, storage):
    """One whose certificate is for another name is told nothing."""
    gateway.says("the server can't be reached")
    until(SOON_SECONDS, "the reason", lambda: gateway.counted("ssl.fail_verify_san")[0] > 0, gateway.log)
    assert (storage.names, storage.take()) == ({STORAGE, "localhost"}, [])


def test_what_is_not_there_or_not_to_be_read(gateway, storage, register):
    storage.show(STORAGE)
    gateway.says("the server answers 404")
    storage.put(register.compiled(1), "private")
    gateway.says("the server answers 403")
    assert gateway.decides("sk-c-1", 503, "snapshot.missing", None)


def test_the_first_snapshot(gateway, storage, register):
    """It decides: who may go on does so under the reseller's own credential, who isn't known doesn't."""
    storage.put(register.compiled(1), "public-read")
    gateway.says("snapshot 1, made")
    until(SOON_SECONDS, "the worker to have it", lambda: gateway.decides("sk-c-1", 200, None, 1), gateway.log)
    status, event, [received] = gateway.ask("sk-c-2")
    assert (status, event["verdict"], event["origin"]) == (200, "allow", "SG")
    assert [value for name, value in received["headers"] if name == "x-api-key"] == ["sk-of-the-reseller"]
    status, event, received = gateway.ask("sk-stranger")
    assert (status, event["reason"], received) == (401, "identity.unknown", [])
    assert set(storage.take()) <= {404, 403, 206, 304}, "never the whole file"


def test_idle_polls(gateway, storage):
    until(SOON_SECONDS, "an idle poll", lambda: 304 in storage.take(), gateway.log)
    names = ["upstream_rq_304", "upstream_cx_tx_bytes_total", "upstream_cx_rx_bytes_total"]
    before = gateway.counted(*names)
    until(SOON_SECONDS, "three more", lambda: len(storage.asked) >= 3, gateway.log)
    assert set(storage.take()) == {304}
    polls, sent, received = (now - then for now, then in zip(gateway.counted(*names), before))
    assert polls >= 2 and sent + received < POLL_BYTES * polls


def test_a_newer_one(gateway, storage, register):
    register.customers(customer("c-1"), customer("c-2", status="suspended"))
    storage.put(register.compiled(2), "public-read")
    until(SOON_SECONDS, "the newer one", lambda: gateway.decides("sk-c-2", 403, "customer.suspended", 2), gateway.log)
    assert gateway.decides("sk-c-1", 200, None, 2)
    assert list(gateway.stats("waybill_snapshot_sequence$").values()) == [2]
