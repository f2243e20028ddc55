"""What the node must not disturb: streams, large bodies, WebSockets, HTTP/2."""

import hashlib
import http.client
import json
import shutil
import subprocess

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from harness import KEY, configuration, node, request, until
from snapshots import Register, Server, by_snapshot, customer

UPLOAD = bytes(range(256)) * (5 * 1024 * 4)  # 5 MiB
HEADERS = {"x-api-key": KEY, "x-geo-country": "SG", "x-test-direct-peer": "127.0.0.1", "x-forwarded-for": "203.0.113.9"}

needs_nghttp = pytest.mark.skipif(not shutil.which("nghttp"), reason="nghttp is missing (Debian: nghttp2-client)")


@pytest.fixture(scope="module")
def lab(start):
    return start(node("edge", configuration()))


def test_events_arrive_as_they_are_sent(lab):
    """Each event has to be read here before the upstream sends the next: a buffer anywhere would hang."""
    client = http.client.HTTPConnection("127.0.0.1", lab.nodes["edge"].port, timeout=10)
    client.request("GET", "/sse", headers=HEADERS)
    stream = client.getresponse()
    assert stream.status == 200
    for number in range(3):
        assert stream.readline() == b"data: %d\n" % number
        assert stream.readline() == b"\n"
        lab.upstream.gate.release()
    assert stream.read() == b""
    lab.upstream.gate.acquire(blocking=False)
    client.close()


def test_upload_arrives_whole(lab):
    played = lab.play("edge", request(method="POST"), body=UPLOAD)
    assert played.response.status == 200
    assert played.received["body"] == {"size": len(UPLOAD), "sha256": hashlib.sha256(UPLOAD).hexdigest()}


def test_upload_of_a_refused_request_is_refused(lab):
    played = lab.play("edge", request("/v1/organizations", method="POST"), body=UPLOAD[: 64 * 1024])
    assert (played.response.status, played.received) == (403, None)


def test_websocket(lab):
    """The key travels in a subprotocol, as browsers send it: it names the customer and goes no further."""
    address = f"ws://127.0.0.1:{lab.nodes['edge'].port}/v1/realtime"
    others = {name: value for name, value in HEADERS.items() if name != "x-api-key"}
    lab.upstream.take()
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(address, additional_headers=others, subprotocols=protocols) as socket:
        for text in ("hello", "and again"):
            socket.send(text)
            assert socket.recv(timeout=10) == text
        assert socket.subprotocol == "realtime"
    [received] = lab.upstream.take()
    assert KEY not in json.dumps(received)


def test_websocket_is_refused(lab):
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{lab.nodes['edge'].port}/v1/realtime"):
        pass
    assert caught.value.response.status_code == 401


def test_a_suspension_leaves_open_websockets_to_envoy(start, tmp_path):
    """The decision was made at the handshake. `max_stream_duration` bounds how long it lasts, as docs/operating.md says."""
    register = Register(tmp_path / "register")
    server = Server(register.compiled(1))
    config = by_snapshot("snapshots", register.trusted)
    bounded = {"max_stream_duration": {"max_stream_duration": "4s"}}
    lab = start(
        node("open", config, clusters={"snapshots": server.port}),
        node("bounded", config, clusters={"snapshots": server.port}, onward=bounded),
    )
    headers = {**HEADERS, "x-api-key": "sk-c-1"}

    def status(name):
        return lab.play(name, request(headers=[["x-api-key", "sk-c-1"]])).response.status

    def opened(name):
        return connect(f"ws://127.0.0.1:{lab.nodes[name].port}/v1/realtime", additional_headers=headers)

    def echoes(socket):
        try:
            socket.send("still here")
            return socket.recv(timeout=10) == "still here"
        except ConnectionClosed:
            return False

    for name in lab.nodes:
        until(10, "the snapshot", lambda name=name: status(name) == 200, lab.log)
    with opened("open") as free, opened("bounded") as bound:
        assert echoes(free) and echoes(bound)
        register.customers(customer("c-1", status="suspended"))
        server.file = register.compiled(2)
        until(10, "the suspension", lambda: status("open") == status("bounded") == 403, lab.log)
        assert echoes(free)
        until(10, "the end of the bounded one", lambda: not echoes(bound), lab.log)
        assert echoes(free)


@needs_nghttp
def test_http2_passes(lab):
    output = nghttp(lab.nodes["edge"].port, "/v1/messages?beta=true")
    assert ":status: 200" in output
    assert '"path": "/v1/messages?beta=true"' in output


@needs_nghttp
def test_http2_is_refused(lab):
    output = nghttp(lab.nodes["edge"].port, "/v1/organizations")
    assert ":status: 403" in output
    assert "x-waybill-reason: provider.admin-path" in output


def nghttp(port, path):
    """One request over HTTP/2 with prior knowledge; gives all that nghttp tells of it."""
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = ["nghttp", "-v", *headers, f"http://127.0.0.1:{port}{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
