"""What the node adds to a request, in CPU time: `./build.sh bench`.

An Envoy with one worker has five listeners, and answers by itself, so that no upstream is in the
figures: without a filter; with a filter that does nothing (`tests/modules/noop`, what the SDK and the wasm host
cost); with one that makes the host calls of a plain request and nothing else; with Waybill letting a
request through; with Waybill refusing one. h2load sends each the same number of requests, in turn, several
times; the CPU time is the Envoy process's own.

What else runs on a machine takes caches away, and so only adds to CPU time; and where the system happens to
put an Envoy's memory makes it cheaper or dearer for as long as it runs. So there are several Envoys, and of
all rounds the cheapest third counts. Nothing is asserted: figures from a busy machine are not a failed build.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import wire  # noqa: E402
from bootstrap import Node  # noqa: E402
from harness import ENVOY, FILTER, KEY, Lab, configuration, node  # noqa: E402
from load import cpu_seconds, expect, h2load, interleaved, require  # noqa: E402

NOOP = os.environ.get("NOOP", "")
ENVOYS = 6
ROUNDS = 9  # with each of them
REQUESTS = 5_000
WARM_UP = 5_000
CONNECTIONS = 4
PROMISE = 3  # times what the filter that does nothing adds; docs/operating.md says how far off that is

HEADERS = {  # what Anthropic's Python SDK sends, and the load balancer before Envoy: 15 with the host ...
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "user-agent": "Anthropic/Python 0.75.0",
    "x-api-key": KEY,
    "x-forwarded-for": "203.0.113.9",
    "x-geo-country": "SG",
    "x-stainless-arch": "x64",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime-version": "3.11.2",
    "x-test-direct-peer": "127.0.0.1 203.0.113.9",  # ... as this one doesn't reach the filter, see bootstrap.callers
}


def main():
    listeners = nodes()
    rounds = {node.name: [] for node in listeners}
    with wire.Upstream() as upstream:
        for number in range(ENVOYS):
            print(f"Envoy {number + 1} of {ENVOYS}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), listeners, upstream, None) as lab:
                for name, measured in interleaved(ROUNDS, lab, load, WARM_UP, REQUESTS).items():
                    rounds[name] += measured
    print(table(rounds))


def nodes():
    require(ENVOY=("Envoy", ENVOY), WAYBILL=("the filter", FILTER), NOOP=("tests/modules/noop as wasm", NOOP))
    answers = {"direct_response": True, "log": False}
    return [
        Node("no filter", None, FILTER, **answers),
        Node("empty filter", {}, Path(NOOP), **answers),
        Node("only host calls", {"calls": True}, Path(NOOP), **answers),
        node("waybill, allowed", configuration(), **answers),
        node("waybill, refused", configuration(), **answers),
    ]


def path(name):
    return "/v1/organizations" if "refused" in name else "/v1/messages"


def load(lab, name, requests):
    """Microseconds of CPU time per request."""
    url = f"http://127.0.0.1:{lab.nodes[name].port}{path(name)}"
    cpu = cpu_seconds(lab.process.pid)
    expect(h2load("-n", requests, "-c", CONNECTIONS, url, headers=HEADERS), f"{requests} {'4xx' if 'refused' in name else '2xx'}")
    return (cpu_seconds(lab.process.pid) - cpu) / requests * 1e6


def table(rounds):
    cost = {name: statistics.mean(sorted(measured)[: len(measured) // 3]) for name, measured in rounds.items()}
    lines = [f"{'':18}{'CPU us':>8}{'added':>8}{'x empty':>9}"]
    for name in cost:
        added, by_empty = cost[name] - cost["no filter"], cost["empty filter"] - cost["no filter"]
        lines.append(f"{name:18}{cost[name]:8.2f}{added:8.2f}{added / by_empty:9.2f}")
    lines.append(f"the cheapest third of {ENVOYS} x {ROUNDS} rounds of {REQUESTS} requests, one worker; promised for allowed: at most {PROMISE} x empty")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
