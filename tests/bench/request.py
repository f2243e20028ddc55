"""What a request costs, beside other ways to do the same: `./build.sh bench request`.

Each way is a listener of one Envoy with one worker (peers.py), and shows first that it does its job. Envoy answers by itself, so
no upstream is in the figures. A client sends each listener the same requests, of 1,000 customers among 100,000, in turn, many
times. CPU time is that of the Envoy process and of the server behind ext_authz or ext_proc.

What else runs on a machine takes caches away; and where the system puts an Envoy's memory makes it cheaper or dearer as long as
it runs. So each ratio is taken within a round, over several Envoys. One listener without a filter is there twice. What it seems
to add is what the machine adds. Nothing is asserted: figures from a busy machine are not a failed build.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers
from load import cpu_seconds
from peers import AS_MODULE, AUTHZ, CONTROL, EMPTY_MODULE, EMPTY_WASM, IN_WASM, LEAST_LUA, LUA, NATIVE, NONE, PEERS, PROC

ALL = [NONE, EMPTY_WASM, EMPTY_MODULE, NATIVE, LUA, LEAST_LUA, CONTROL, AUTHZ, PROC, IN_WASM, AS_MODULE]
ENVOYS = int(os.environ.get("ENVOYS", "5"))
ROUNDS = 8  # with each of them
MINUTES = 30  # no round begins later
REQUESTS = 10_000
WARM_UP = 10_000
LIMITS = [  # what the module adds, against what another adds
    (LUA, 1.0, "limit"),
    (AUTHZ, 0.25, "limit"),
    (IN_WASM, 0.45, "limit"),
    (PROC, 0.25, "aim"),
    (EMPTY_WASM, 1.0, "aim"),
    (LUA, 0.5, "aim"),
    (LEAST_LUA, 1.0, "aim"),
]


def main():
    started = time.monotonic()
    rounds = []
    with tempfile.TemporaryDirectory() as folder, peers.Peers(Path(folder)) as setting:
        requests = setting.requests()
        for number in range(ENVOYS):
            say(f"Envoy {number + 1} of {ENVOYS}")
            with setting.envoy(ALL) as (envoy, ports):
                measure = {name: Measure([envoy.process.pid, *setting.pids(name)], ports[name], requests) for name in ALL}
                for each in measure.values():
                    each.load(WARM_UP)
                for _ in range(ROUNDS):
                    if time.monotonic() - started < MINUTES * 60:
                        rounds.append({name: each.load(REQUESTS) for name, each in measure.items()})
    print(report(rounds))


class Measure:
    """One listener, and the processes that work for it."""

    def __init__(self, pids, port, requests):
        self.pids, self.port, self.requests = pids, port, requests

    def load(self, count):
        """Microseconds of CPU time per request."""
        before = sum(map(cpu_seconds, self.pids))
        done = subprocess.run([PEERS, "load", str(self.port), str(count), self.requests], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"not all requests were let through: {done.stderr}")
        return (sum(map(cpu_seconds, self.pids)) - before) / count * 1e6


def report(rounds):
    added = {name: [each[name] - base(each) for each in rounds] for name in ALL}
    control = farthest([each[CONTROL] - each[NONE] for each in rounds])
    lines = [f"{'':20}{'CPU us':>8}{'added':>8}{'10 %':>8}{'90 %':>8}"]
    for name in ALL:
        cpu = statistics.median(each[name] for each in rounds)
        spread = "" if name in (NONE, CONTROL) else f"{statistics.median(added[name]):8.2f}{tenths(added[name])[0]:8.2f}{tenths(added[name])[1]:8.2f}"
        lines.append(f"{name:20}{cpu:8.2f}{spread}")
    ours = statistics.median(added[AS_MODULE])
    lines += [
        f"{len(rounds)} rounds of {REQUESTS:,} requests, {ENVOYS} Envoys, one worker, {peers.HOT:,} customers of 100,000",
        f"the control, no filter against no filter: at most {control:.2f} us off, {control / ours:.0%} of what the module adds",
        "",
        f"{'the module adds, against':30}{'median':>8}{'10 %':>8}{'90 %':>8}   at most",
    ]
    for name, limit, kind in LIMITS:
        ratios = [mine / other for mine, other in zip(added[AS_MODULE], added[name], strict=True)]
        low, high = tenths(ratios)
        lines.append(f"{name:30}{statistics.median(ratios):8.2f}{low:8.2f}{high:8.2f}   {limit:.2f} {kind}: {judged(statistics.median(ratios), limit, control > ours / 10)}")
    return "\n".join(lines)


def base(measured):
    """What no filter costs in a round: both listeners."""
    return (measured[NONE] + measured[CONTROL]) / 2


def judged(ratio, limit, is_undecided):
    return "undecided" if is_undecided else "holds" if ratio <= limit else "misses"


def tenths(values):
    """The 10th and the 90th percentile."""
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return cuts[0], cuts[-1]


def farthest(differences):
    """How far from nothing the median of the control may be: the farther end of its 95 % interval.

    The median itself may be near zero by chance. The interval is the sign test's: it goes from the k-th smallest difference to
    the k-th largest, and assumes nothing about how they are spread.
    """
    ordered, count = sorted(differences), len(differences)
    k = max(0, int(count / 2 - 0.98 * count**0.5))
    return max(abs(ordered[k]), abs(ordered[count - 1 - k]))


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
