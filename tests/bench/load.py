"""What the benchmarks share: the load, the CPU time of a process, and the table of results."""

import shutil
import subprocess
import sys
from pathlib import Path

CONNECTIONS = 4
HEADERS = {  # what Anthropic's Python SDK sends, and the load balancer before Envoy
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "user-agent": "Anthropic/Python 0.75.0",
    "x-stainless-arch": "x64",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime-version": "3.11.2",
}


def cpu_seconds(pid):
    """CPU time of the whole process: the first number, in nanoseconds, of each thread's schedstat in /proc (Linux's sched-stats.rst)."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def require(**wanted):
    """Ends with one clear line when something is missing."""
    missing = [f"{what} ({name})" for name, (what, path) in wanted.items() if not path or not Path(path).exists()]
    if not shutil.which("h2load"):
        missing.append("h2load (Debian: nghttp2-client)")
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; ./build.sh bench brings all of it")


def h2load(*arguments, headers=None, over_h1=True):
    """Starts h2load."""
    parts = [part for header in (headers or {}).items() for part in ("-H", ": ".join(header))]
    command = ["h2load", *(["--h1"] if over_h1 else []), *map(str, arguments), *parts]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def expect(load, answers):
    """Waits for h2load; ends when not all requests were answered like that (`40000 2xx`)."""
    printed = load.communicate()[0]
    if load.returncode or answers not in printed:
        sys.exit(f"not all requests were answered as expected ({answers}):\n{printed}")


def interleaved(rounds, lab, load, warm_up, requests):
    """What `load` measures of each listener in each round: in turn, so that a busy moment of the machine hits them alike."""
    measured = {name: [] for name in lab.nodes}
    for name in lab.nodes:
        load(lab, name, warm_up)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for name in lab.nodes:
            measured[name].append(load(lab, name, requests))
    return measured
