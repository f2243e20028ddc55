"""What the node adds to a request, in CPU time: `./build.sh bench`.

One Envoy with one worker has five listeners, and answers by itself, so that no upstream is in the
figures: without a filter; with a filter that does nothing (`tests/noop`, what the SDK and the wasm host
cost); with one that makes the host calls of a plain request and nothing else; with Waybill letting a
request through; with Waybill refusing one. h2load sends each the same number of requests, in turn, several
times; the CPU time is the Envoy process's own. Nothing is asserted: figures from a busy machine are not a
failed build.
"""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import wire  # noqa: E402
from bootstrap import Node  # noqa: E402
from harness import ENVOY, FILTER, KEY, Lab, configuration, node  # noqa: E402
from load import cpu_seconds, expect, h2load, interleaved, require  # noqa: E402

NOOP = os.environ.get("NOOP", "")
ROUNDS = 7
REQUESTS = 40_000
WARM_UP = 10_000
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


@dataclass
class Round:
    """One listener's share of a round."""

    microseconds: float  # of CPU time, per request
    per_second: float


def main():
    require(ENVOY=("Envoy", ENVOY), WAYBILL=("the filter", FILTER), NOOP=("tests/noop as wasm", NOOP))
    nodes = [
        Node("no filter", None, FILTER, direct_response=True, log=False),
        Node("empty filter", {}, Path(NOOP), direct_response=True, log=False),
        Node("only host calls", {"calls": True}, Path(NOOP), direct_response=True, log=False),
        node("waybill, allowed", configuration(), direct_response=True, log=False),
        node("waybill, refused", configuration(), direct_response=True, log=False),
    ]
    with tempfile.TemporaryDirectory() as folder, wire.Upstream() as upstream:
        folder = Path(folder)
        with Lab(folder, nodes, upstream, None) as lab:
            print(table(interleaved(ROUNDS, lab, load, WARM_UP, REQUESTS)))


def load(lab, name, requests):
    path = "/v1/organizations" if "refused" in name else "/v1/messages"
    url = f"http://127.0.0.1:{lab.nodes[name].port}{path}"
    cpu, clock = cpu_seconds(lab.process.pid), time.perf_counter()
    expect(h2load("-n", requests, "-c", CONNECTIONS, url, headers=HEADERS), f"{requests} {'4xx' if 'refused' in name else '2xx'}")
    cpu, clock = cpu_seconds(lab.process.pid) - cpu, time.perf_counter() - clock
    return Round(cpu / requests * 1e6, requests / clock)


def table(rounds):
    """Medians over the rounds; what a filter adds is taken round by round, then its median."""
    lines = [f"{'':18}{'CPU us':>8}{'added':>8}{'x empty':>9}{'requests/s':>12}"]
    for name, measured in rounds.items():
        cpu = statistics.median(each.microseconds for each in measured)
        speed = statistics.median(each.per_second for each in measured)
        over_none = added(rounds, name)
        ratio = over_none / added(rounds, "empty filter")
        lines.append(f"{name:18}{cpu:8.2f}{over_none:8.2f}{ratio:9.2f}{speed:12.0f}")
    lines.append(f"{ROUNDS} rounds of {REQUESTS} requests, one worker; promised for allowed: at most {PROMISE} x empty")
    return "\n".join(lines)


def added(rounds, name):
    pairs = zip(rounds[name], rounds["no filter"], strict=True)
    return statistics.median(one.microseconds - none.microseconds for one, none in pairs)


if __name__ == "__main__":
    main()
