"""What a request costs grows at most linearly with what its caller sends, whatever the grammar; nothing stays, and others' streams go on.

Measured without the bound of 32 kB that the shipped files have (`test_shipped.py`). Costs are CPU times of Envoy's worker, ratios
in one run: what else a machine does can only add to them, so the cheapest of a few counts.
"""

import contextlib
import socket
import threading
import time

import pytest

import fuzz
import wire
from shipped import DOORS, SINGAPORE, Shipped

SIZE = 60_000
TIMES = 20  # a neutral request of that size
MEGABYTES = 20  # that fifty of them may leave behind
ELEMENTS = {
    "paths": [("/" + "%25" * 20_000, []), ("/%" + "25" * 30_000, []), ("/" + "a/../" * 12_000, []), ("/" + "%2e%2e/" * 8_500, []), ("/;" * 30_000, [])],
    "queries": [("/v1/messages?" + "key=a&" * 10_000, []), ("/v1/messages?" + "k%65y=%25&" * 6_000, []), ("/v1/messages?" + ";" * SIZE, [])],
    "X-Forwarded-For": [("", [["x-forwarded-for", piece * (SIZE // len(piece)) + SINGAPORE]]) for piece in ("127.0.0.5, ", ",", "unknown, ", "[::1]:1, ", '"')],
    "Forwarded": [("", [["forwarded", piece * (SIZE // len(piece))]]) for piece in ("for=127.0.0.5, ", 'for="', "for=a;by=b;", "\\")],
    "Authorization": [("", [["authorization", piece * (SIZE // len(piece))]]) for piece in ("Bearer a,", "Basic a, ", 'Digest a="b, ', ",", ", ", "a ", '"\\')],
    "signatures": [
        ("", [["signature-input", piece * (SIZE // len(piece))], ["signature", other * (SIZE // 4 // len(other))]])
        for piece, other in (("a=(),", "a=:AA==:,"), ('cmp=("a");created=1,', "cmp=:AA==:,"), ("(", "("), ('cmp=("', ":"), ("=1,", "%"))
    ],
    "components": [("", [["signature-input", "cmp=(" + " ".join(f'"x{i}"' for i in range(8_000)) + ")"], ["signature", "cmp=:AA==:"]])],
    "labels": [("", [["signature-input", ", ".join(f"l{i}=(){tag}" for i in range(1_200))], ["signature", "l1=:AA==:"]]) for tag in ("", ';tag="llm-reseller-compliance"')],
    "structured fields": [("", [[name, piece * (SIZE // len(piece))]]) for name in ("compliance-tag", "compliance-chain", "compliance-trail")
                          for piece in ("a=1, ", '"a";b=c, ', "(:AA==: :AA==:), ", "()(", "%\"", "?1;")],
    "subprotocols": [("", [["sec-websocket-protocol", piece * (SIZE // len(piece))]]) for piece in ("openai-insecure-api-key.a, ", "a,", ", ", "openai-project.")],
    "marks": [("", [[name, piece * (SIZE // len(piece))]]) for name in ("user-agent", "via", "http-referer") for piece in ("a", "tensorzer", "a,", "github.com/veloera/veloer")],
    "many names": [("", [[f"x-waybill-{i}", ""] for i in range(1_900)]), ("", [["compliance_tag", "a=1"]] * 1_900), ("", [["x-user-country", "CN"]] * 1_900)],
    "connection": [("/v1/realtime", [["connection", "Upgrade, " + "compliance-tag, " * 3_500], *fuzz.UPGRADE])],
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(upstream, tmp_path_factory):
    doors = [door for door in DOORS if door.name in ("edge", "openai", "ingress")]
    bounds = {"max_request_headers_kb": 128, "common_http_protocol_options": {"max_headers_count": 2_000, "idle_timeout": "300s"}}
    with Shipped(tmp_path_factory.mktemp("cost"), doors, upstream, bounds) as lab:
        weigh = fuzz.Fuzz(lab, 0)
        for door in doors:
            for _ in range(100):
                weigh.send(made(door, "", []))
        yield lab


def made(door, path, headers):
    path = path or ("/v1/responses" if door.bearer else "/v1/messages")
    request = fuzz.Request(door.name, 0, host=door.host, path=path, method="GET" if any(name == "upgrade" for name, _ in headers) else "POST")
    request.body = b"" if request.method == "GET" else request.body
    kept = {name for name, _ in headers}
    request.headers = [[name, value] for name, value in fuzz.asked(door, path, []) if name not in kept] + list(headers)
    return request


def cost(weigh, request, allowed=None):
    """Seconds of the worker's CPU: the least of five, or of a few until one is allowed."""
    least = float("inf")
    for wait in fuzz.WAITS if allowed else [0] * 5:
        time.sleep(wait)
        before = weigh.cpu()
        answer = weigh.send(request)
        least = min(least, weigh.cpu() - before)
        assert answer is None or answer.status < 500, request.told()
        if allowed and least <= allowed:
            break
    return least


@pytest.mark.parametrize("door", ["edge", "openai", "ingress"])
@pytest.mark.parametrize("grammar", ELEMENTS)
def test_any_large_request_costs_little_more_than_a_neutral_one(lab, door, grammar):
    weigh, door = fuzz.Fuzz(lab, 0), lab.doors[door]
    for path, headers in ELEMENTS[grammar]:
        request = made(door, path, headers)
        if len(headers) > 100:
            neutral = made(door, "", [[f"x-neutral-{i}", "a" * 12] for i in range(len(headers))])
        else:
            neutral = made(door, "", [["x-neutral", "a" * request.size()]])
        allowed = TIMES * cost(weigh, neutral)
        found = cost(weigh, request, allowed)
        assert found <= allowed, f"{found * 1e3:.1f} ms, a neutral one {allowed / TIMES * 1e3:.1f}: {request.told()[:300]}"


def test_fifty_of_each_leave_nothing(lab):
    weigh, before = fuzz.Fuzz(lab, 0), None
    for _ in range(2):  # the first round shows how far the allocators go
        for grammar in ELEMENTS.values():
            for path, headers in grammar:
                for _ in range(25):
                    weigh.send(made(lab.doors["edge"], path, headers))
        grown = 0 if before is None else (lab.resident_kilobytes() - before) // 1024
        before = lab.resident_kilobytes()
    assert grown <= MEGABYTES, f"{grown} MB more"


def test_streams_of_others_go_on(lab):
    """One worker: while somebody sends its worst, another's events arrive, each soon after it was sent."""
    port, gaps, ended = lab.nodes["edge"].port, [], threading.Event()
    worst = [made(lab.doors["edge"], path, headers) for grammar in ELEMENTS.values() for path, headers in grammar]
    weigh = fuzz.Fuzz(lab, 0)

    def attack():
        while not ended.is_set():
            for request in worst:
                with contextlib.suppress(OSError):
                    weigh.send(request)
                if ended.is_set():
                    return

    attacker = threading.Thread(target=attack, daemon=True)
    attacker.start()
    try:
        for _ in range(3):
            sent = wire.raw_request("GET", "/sse", "gateway.acme.example", fuzz.asked(lab.doors["edge"], "/sse", []))
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(sent)
                stream = connection.makefile("rb")
                for number in range(3):
                    start = time.monotonic()
                    while stream.readline() != b"data: %d\n" % number:
                        assert time.monotonic() - start < 10
                    gaps.append(time.monotonic() - start)
                    lab.upstream.gate.release()
    finally:
        ended.set()
        attacker.join(20)
        while lab.upstream.gate.acquire(blocking=False):
            pass
    assert max(gaps) < 5, gaps  # a nested path once held a worker for nine seconds
