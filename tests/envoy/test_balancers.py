"""docs/own-envoy.md, "Behind a balancer": each section as it is written there, in a real Envoy, with what clients may forge.

The test's client writes the balancer's bytes, and the loopback is the balancer's machine; nginx is a real one. Each section is
played with countries from a snapshot (envoy/steps/3-snapshot.yaml) and from Envoy's geoip filter (envoy/edge.yaml).
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass

import pytest

import wire
from harness import ROOT, WAYBILL, assert_unharmed, until
from own import LOOPBACK, Own, configure, managers, read
from shipped import CHINA, SINGAPORE, compiled, register

PAGE = (ROOT / "docs" / "own-envoy.md").read_text()
FORGED, CLIENT = "198.51.100.1", "203.0.113.7"  # as the page calls what a client wrote, and the client
SOON_SECONDS = 20
WRITTEN = [  # by a client itself, in front of what the balancer appends
    SINGAPORE, CHINA, "10.0.0.1", "127.0.0.1", f"10.0.0.1, {SINGAPORE}", f"{SINGAPORE}, 10.0.0.1", "unknown", f"{SINGAPORE}:80", '"', "104.16.0.1",
    "34.120.5.6", "",
]  # fmt: skip
BESIDE = [["forwarded", f"for={SINGAPORE}"], ["cf-connecting-ip", SINGAPORE], ["true-client-ip", SINGAPORE], ["x-real-ip", SINGAPORE],
    ["x-geo-country", "SG"], ["x-envoy-external-address", SINGAPORE]]  # fmt: skip


@dataclass(frozen=True)
class Balancer:
    """A section of the page: the connected machine, the header that it sends, and what the node is told."""

    name: str
    machine: str
    header: str
    client_address: dict

    def __str__(self):
        return re.sub(r"[^a-z]+", "-", self.name.lower())

    def sends(self, client, written=None):
        """The header for a client, which wrote a header of its own or none."""
        if written is None:
            return re.sub(rf"{FORGED}, ?", "", self.header).replace(CLIENT, client)
        return self.header.replace(CLIENT, client).replace(FORGED, written)


def balancers():
    sections = PAGE.split("## Behind a balancer")[1].split("\n### ")[1:]
    for section in sections:
        machine, header = re.search(r"```text\nfrom (\S+)    X-Forwarded-For: (.*)\n```", section).groups()
        told = json.loads("{" + re.search(r"```json\n(.*?)```", section, re.DOTALL).group(1) + "}")
        yield Balancer(section.splitlines()[0], machine, header, told["client_address"])


BALANCERS = [*balancers()]
PORTS = next(each for each in BALANCERS if each.name.endswith("with ports"))
ALB, GOOGLE, NGINX = (next(each for each in BALANCERS if each.name.startswith(name)) for name in ("AWS", "Google", "nginx"))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("balancers") / "register")


def by_snapshot(client_address):
    """Step 3, which enforces, behind such a balancer."""
    document = read("steps/3-snapshot.yaml")
    configure(document, lambda config: config.update(client_address=client_address, policy={"mode": "enforce"}))
    return document


def by_geoip(client_address):
    """edge.yaml with the same list for Envoy, and the customers of the snapshot."""
    document = read("edge.yaml")
    for listener in document["static_resources"]["listeners"]:
        listener["filter_chains"][0].pop("transport_socket")
    cidrs = [network.rsplit("/", 1) for network in [*client_address["trusted_proxies"], LOOPBACK]]
    for manager in managers(document).values():
        trusted = {"cidrs": [{"address_prefix": prefix, "prefix_len": int(length)} for prefix, length in cidrs]}
        manager["original_ip_detection_extensions"][0]["typed_config"]["xff_trusted_cidrs"] = trusted
    configure(document, lambda config: config.update(client_address=client_address, register=register("")))
    return document


@pytest.fixture
def behind(upstream, snapshot, tmp_path):
    """Starts an Envoy behind a balancer of the page."""
    with contextlib.ExitStack() as stack:

        def behind(balancer, document=by_snapshot, **changes):
            told = {**json.loads(json.dumps(balancer.client_address)), **changes}
            envoy = stack.enter_context(Own(tmp_path, document(told), upstream, snapshot=snapshot))
            until(SOON_SECONDS, "the node", lambda: envoy.is_open("anthropic"), envoy.log)
            return envoy

        yield behind


def ask(envoy, header, beside=(), tell=wire.exchange):
    """A customer's request with that X-Forwarded-For, or several, or none: the status, and the event."""
    lines = [] if header is None else [header] if isinstance(header, str) else header
    sent = [["x-api-key", "sk-c-1"], *(["x-forwarded-for", line] for line in lines), *beside]
    played = envoy.ask("anthropic", headers=sent, tell=tell)
    assert (played.received is not None) == (played.response.status == 200)
    return played.response.status, played.event


@pytest.mark.parametrize("document", [by_snapshot, by_geoip])
@pytest.mark.parametrize("balancer", BALANCERS, ids=str)
def test_the_verdict_is_the_clients_own(behind, balancer, document):
    """Whatever it forges: from Singapore it passes, from China it doesn't."""
    envoy = behind(balancer, document)
    lost = document is by_geoip and balancer is PORTS  # Envoy looks up the balancer
    for written in (None, *WRITTEN):
        status, event = ask(envoy, balancer.sends(SINGAPORE, written))
        assert event["address"] == "165.21.100.0/24", written
        expected = (403, None, "geo.disputed") if lost else (200, "SG", None)
        assert (status, event["origin"], event["reason"]) == expected, written
        for beside in ([], BESIDE):
            status, event = ask(envoy, balancer.sends(CHINA, written), beside)
            assert event["address"] == "114.114.114.0/24", written
            assert (status, event["reason"]) == (403, "geo.disputed" if lost else "geo.restricted"), written
    for own in (SINGAPORE, "104.16.0.1", "unknown"):  # a client's own line, in front of the balancer's
        status, event = ask(envoy, [own, balancer.sends(CHINA)])
        assert (status, event["address"]) == (403, "114.114.114.0/24")
    for count in (19, 21, 60):  # Envoy reads no more than 20 addresses
        status, event = ask(envoy, balancer.sends(CHINA, ",".join([SINGAPORE] * count)))
        assert status == 403 and event["reason"] in ("geo.restricted", "geo.disputed")
    assert_unharmed(envoy)


@pytest.mark.parametrize("balancer", [each for each in BALANCERS if each is not PORTS], ids=str)
def test_a_client_by_ipv6(behind, balancer):
    envoy = behind(balancer)
    for written in (None, SINGAPORE, "::1", "2001:db8:9::1"):
        status, event = ask(envoy, balancer.sends("2001:db8:7::9", written))
        assert (status, event["address"]) == (200, "2001:db8:7::/48"), written


@pytest.mark.parametrize("balancer", BALANCERS, ids=str)
def test_explain_shows_the_clients_address(balancer, tmp_path):
    """The page's way to see at the desk that a list is right."""
    config = tmp_path / "node.json"
    node = {"version": 1, "node": {"id": "gateway.acme.example"}, "register": {"customers": []}, "identity": {"sources": [{"bearer": True}]}}
    config.write_text(json.dumps({**node, "client_address": balancer.client_address}))
    captured = tmp_path / "captured.http"
    captured.write_text(f"POST /v1/messages HTTP/1.1\nHost: gateway.acme.example\nX-Forwarded-For: {balancer.header}\n\n")
    command = [WAYBILL, "explain", "--config", config, "--request", captured, "--direct-peer", balancer.machine]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"client address   {CLIENT}\n" in done.stdout


@pytest.mark.parametrize("settings", [{"use_remote_address": True}, {"use_remote_address": True, "xff_num_trusted_hops": 2}, {"use_remote_address": False}], ids=str)
def test_with_a_snapshot_envoys_own_address_does_not_matter(upstream, snapshot, tmp_path, settings):
    document = by_snapshot(json.loads(json.dumps(ALB.client_address)))
    for manager in managers(document).values():
        for name in ("use_remote_address", "xff_num_trusted_hops"):
            manager.pop(name, None)
        manager |= settings
    with Own(tmp_path, document, upstream, snapshot=snapshot) as envoy:
        until(SOON_SECONDS, "the node", lambda: envoy.is_open("anthropic"), envoy.log)
        assert ask(envoy, ALB.sends(SINGAPORE, CHINA))[0] == 200
        assert ask(envoy, ALB.sends(CHINA, SINGAPORE))[0] == 403


def test_with_geoip_envoys_own_address_does(upstream, snapshot, tmp_path):
    """Without the list Envoy looks up the balancer."""
    document = by_geoip(json.loads(json.dumps(ALB.client_address)))
    for manager in managers(document).values():
        manager |= {"use_remote_address": True, "original_ip_detection_extensions": []}
    with Own(tmp_path, document, upstream, snapshot=snapshot) as envoy:
        for client in (SINGAPORE, CHINA):
            status, event = ask(envoy, ALB.sends(client))
            assert (status, event["reason"]) == (403, "geo.disputed")


def test_a_missing_address_of_the_balancer_is_every_client(behind):
    """The page's first mistake, with Google's own address: it shows as `address`."""
    networks = [each for each in GOOGLE.client_address["trusted_proxies"] if not each.startswith("34.")]
    envoy = behind(GOOGLE, trusted_proxies=networks)
    for client in (SINGAPORE, CHINA):
        assert ask(envoy, GOOGLE.sends(client))[1]["address"] == "34.120.5.0/24"


def test_a_balancer_that_does_not_append_lets_clients_choose(behind):
    """The page's second mistake: `preserve` with clients that reach the balancer directly."""
    envoy = behind(ALB)
    status, event = ask(envoy, SINGAPORE)  # written by a client in China
    assert (status, event["origin"]) == (200, "SG")
    status, event = ask(envoy, None)  # with `remove`, or without a header: the client is the balancer
    assert (event["reason"], event["origin"]) == ("geo.unknown", None)


def test_who_goes_round_cloudflare_gains_nothing(behind):
    """The balancer appends that caller's own address behind a forged one of Cloudflare's."""
    both = next(each for each in BALANCERS if each.name.startswith("Cloudflare in front") and each.header.endswith("104.16.0.9"))
    envoy = behind(both)
    assert ask(envoy, f"{SINGAPORE},104.16.0.9, {CHINA}")[0] == 403


HERE = "127.0.9.1"  # the address from which the client connects to nginx
NGINX_FILE = """
daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
    server {{
        listen 127.0.0.1:{port};
        {more}
        location / {{
            proxy_pass http://127.0.0.1:{envoy};
            proxy_bind 127.0.0.5;
            {page}
        }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path):
    """Starts an nginx with the page's lines before a port; gives its own port."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is missing (Debian: nginx-light)")
    running = []

    def nginx(envoy, more=""):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        lines = re.search(r"```nginx\n(.*?)```", PAGE, re.DOTALL).group(1)
        file, log = tmp_path / "nginx.conf", tmp_path / "nginx.log"
        file.write_text(NGINX_FILE.format(folder=tmp_path, port=port, envoy=envoy, page=lines, more=more))
        with log.open("w") as output:
            running.append(subprocess.Popen(["nginx", "-p", tmp_path, "-c", file, "-e", "stderr"], stdout=output, stderr=output))

        def listens():
            assert running[0].poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(SOON_SECONDS, "nginx", listens, log)
        return port

    yield nginx
    for process in running:
        process.terminate()
        process.wait(10)


def through(port):
    """Sends to nginx in place of Envoy."""

    def tell(_envoy, request):
        with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(HERE, 0)) as connection:
            connection.sendall(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return wire.Response(int(answer.split(b" ")[1]), [], answer)

    return tell


class OneProxy(Own):
    """The list has nginx alone, so that the rest of the loopback may be clients."""

    def node(self, config):
        super().node(config)
        config["client_address"]["trusted_proxies"] = ["127.0.0.5/32"]


@pytest.mark.parametrize("real_ip", [False, True])
def test_a_real_nginx(upstream, snapshot, tmp_path, nginx, real_ip):
    """The client is the loopback itself, or with real_ip whom a balancer before nginx names."""
    more = f"set_real_ip_from {LOOPBACK}; real_ip_header X-Forwarded-For; real_ip_recursive on;" if real_ip else ""
    with OneProxy(tmp_path, by_snapshot(NGINX.client_address), upstream, snapshot=snapshot) as envoy:
        until(SOON_SECONDS, "the node", lambda: envoy.is_open("anthropic"), envoy.log)
        tell = through(nginx(envoy.listeners["anthropic"], more))
        if real_ip:
            for written in WRITTEN[:-1]:
                assert ask(envoy, f"{written}, {CHINA}", BESIDE, tell)[0] == 403, written
                status, event = ask(envoy, f"{written}, {SINGAPORE}", BESIDE, tell)
                assert (status, event["origin"]) == (200, "SG"), written
            return
        for written in (None, *WRITTEN, [SINGAPORE, CHINA], [f"{CHINA}, {SINGAPORE}", "10.0.0.1"]):
            status, event = ask(envoy, written, BESIDE, tell)
            assert (status, event["address"], event["reason"]) == (200, "127.0.9.0/24", "geo.unknown"), written
