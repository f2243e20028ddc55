"""What the memory of nonces costs, in a real Envoy: `./build.sh bench`.

Two workers enter a million nonces, both of them each: one must take it for new and the other for seen. Then a flood
goes beyond the bound. Prints the process's memory at each step and what one nonce costs in wall time, and fails where a replay passed
or the bound was crossed.
"""

import http.client
import json
import os
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import bootstrap  # noqa: E402
from bootstrap import Node  # noqa: E402
from harness import ENVOY, Envoy  # noqa: E402

REPLAYS = os.environ.get("REPLAYS", "")
MILLION = 1_000_000
SLICE = 5_000  # nonces a request: the workers go through them side by side
PROMISE = 32_000_000  # bytes
NOW = 1_795_000_000
LATER = 7_200  # seconds after which all that was entered has expired
ROUNDS = 15  # gaps in the host's memory once showed in the fourteenth only


def main():
    for what, path in {"Envoy (ENVOY)": ENVOY, "tests/modules/replays as wasm (REPLAYS)": REPLAYS}.items():
        if not path or not Path(path).exists():
            sys.exit(f"missing: {what}; ./build.sh bench brings all of it")
    with tempfile.TemporaryDirectory() as folder:
        config = bootstrap.bootstrap([Node("replays", {}, Path(REPLAYS), direct_response=True, log=False)], 1, None)
        config["static_resources"]["listeners"][0]["connection_balance_config"] = {"exact_balance": {}}
        with Envoy(Path(folder), config, concurrency=2) as envoy:
            ok = measure(envoy)
    sys.exit(0 if ok else 1)


def measure(envoy):
    port = envoy.ports()["replays"]
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=600) for _ in range(2)]
    for client in clients:
        client.connect()
        for step in range(400):  # so that the engine's own first steps aren't in the figures
            enter(client, "warm-up.example", "b.example", 0, 100, NOW + step * LATER)
    empty = resident(envoy)
    report("nothing entered", empty, empty, {})

    both = side_by_side(clients, "a.example", "b.example", MILLION, NOW)
    held = resident(envoy)
    report("a million, by both workers at once", held, empty, both)
    again = side_by_side(clients, "a.example", "b.example", MILLION, NOW)
    report("the same again", resident(envoy), empty, again)
    flood = side_by_side(clients, "a.example", "c.example", 3 * MILLION, NOW)
    full = resident(envoy)
    report("three millions of another signer", full, empty, flood)
    first = side_by_side(clients, "a.example", "b.example", MILLION, NOW)
    report("the first million again", resident(envoy), empty, first)

    most = full
    for number in range(1, ROUNDS + 1):
        side_by_side(clients, "a.example", "b.example", MILLION // 20, NOW + (2 * number - 1) * LATER)
        few = resident(envoy)
        many = side_by_side(clients, "a.example", "b.example", MILLION, NOW + 2 * number * LATER)
        most = max(most, few, resident(envoy))
        report("expired, a twentieth of it", few, empty, {})
        report("expired, a million again", resident(envoy), empty, many)

    checks = {
        "each nonce passed once": both["new"] == MILLION and both["seen"] == MILLION and both["forgotten"] == both["busy"] == 0,
        "no replay passed": again["seen"] == 2 * MILLION,
        f"a million in {PROMISE:,} bytes": held - empty <= PROMISE,
        f"never more than {PROMISE:,} bytes": most - empty <= PROMISE,
    }
    for what, holds in checks.items():
        print(f"{'holds' if holds else 'FAILS'}: {what}")
    return all(checks.values())


def side_by_side(clients, node, signer, count, now):
    """Both workers enter the same nonces at the same time."""
    answers = []

    def go(client):
        answers.extend(enter(client, node, signer, start, SLICE, now) for start in range(0, count, SLICE))

    threads = [threading.Thread(target=go, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums = {what: sum(answer[what] for answer in answers) for what in ("new", "seen", "forgotten", "busy")}
    return sums | {"ns": sorted(answer["ns"] for answer in answers)[len(answers) // 2]}


def enter(client, node, signer, start, count, now):
    client.request("GET", f"/{node}/{signer}/{start}/{count}/{now}")
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"answered with {answer.status}: {body.decode()}")
    return json.loads(body)


def resident(envoy):
    return envoy.resident_kilobytes() * 1024


def report(what, bytes_now, bytes_before, counts):
    counted = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "ns")
    each = f"; {counts['ns'] / 1000:.1f} us each" if counts else ""
    print(f"{what:36} {(bytes_now - bytes_before) / 1e6:7.1f} MB  {counted}{each}", flush=True)


if __name__ == "__main__":
    main()
