"""What a snapshot costs: `./build.sh bench`.

Compiles registers of made-up customers with real networks, has an Envoy serve the snapshots and another Envoy use
them, and prints one table: what was measured, what is promised, whether it holds. Each figure is a ratio, or one
run's on this machine; nothing is asserted but that each request is answered as it should be. Name parts (compile,
lookups, requests, memory, swap) to measure only those.
"""

import contextlib
import itertools
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import bootstrap  # noqa: E402
from bootstrap import Node  # noqa: E402
from harness import ENVOY, FILTER, HOST, WAYBILL, Envoy, until  # noqa: E402
from load import cpu_seconds, expect, h2load, require  # noqa: E402
from register import Registers, secret  # noqa: E402

NOOP = os.environ.get("NOOP", "")
SPEED = os.environ.get("SPEED", "")
MILLION = 1_000_000
HUNDRED_THOUSAND = 100_000
TEN = 10
HOT = 1_000  # customers that call again and again
ROUNDS = 7
RUNS = 5  # of what a busy machine only adds to: the least counts
REQUESTS = 40_000
STEADY_WARM_UP = 200_000  # requests, which fill the caches
WORKERS = (1, 2, 4)
GIVEN_BACK = 345  # seconds: Envoy's allocator gives back what wasn't used for five minutes
IDLE = 0.6  # milliseconds that polls and ticks take which find nothing new
CLIENTS = 4
SUSPENDED = 7  # the customer that a swap suspends; the load leaves it out
THREADS = {"worker": "listener_manager.worker_0.dispatcher.", "main thread": "server.dispatcher."}
TURNS = {  # in microseconds
    "histogram_bucket_settings": [
        {"match": {"suffix": "loop_duration_us"}, "buckets": [*range(250, 10_001, 250), 15_000, 20_000, 50_000, 100_000, 1_000_000]}
    ]
}
FLUSHED = 3  # seconds after which Envoy shows what it counted
TAKEN = 8  # seconds in which a snapshot is fetched, handed out and shown
SECONDS = 120  # for a snapshot to become the current one, on a machine that may be busy
HEADERS = {  # a customer at home in the United States
    "x-forwarded-for": "73.158.64.1",
    "x-test-direct-peer": "127.0.0.1 127.0.0.1",
    "user-agent": "Anthropic/Python 0.75.0",
    "accept": "application/json",
}


def main():
    require(
        ENVOY=("Envoy", ENVOY), WAYBILL=("the filter", FILTER), NOOP=("tests/modules/noop as wasm", NOOP), SPEED=("tests/modules/speed as wasm", SPEED)
    )
    memory = {"wasm": memory_of_wasm, "module": memory_of_module}[HOST]
    parts = {"requests": requests, "steady": steady, "memory": memory, "swap": swap, "turns": turns}
    if HOST == "wasm":
        parts = {"compile": compile_speed, "lookups": lookups, **parts}
    wanted = sys.argv[1:] or list(parts)
    if unknown := set(wanted) - set(parts):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        rows = []
        for part in wanted:
            measured = parts[part](bench)
            say(table(measured))  # the whole takes long, and may not come to its end
            rows += measured
    print(table(rows))


class Bench:
    """The snapshots, compiled when a part first wants them, and the Envoy that serves them."""

    def __init__(self, folder):
        self.folder, self.compiled = folder, {}
        self.registers = Registers(folder, WAYBILL)
        self.served = folder / "served"
        self.served.mkdir()
        self.files = Envoy(new_folder(folder, "files"), file_server(self.served))

    def __enter__(self):
        self.files.__enter__()
        self.port = self.files.ports()["files"]
        return self

    def __exit__(self, *_):
        self.files.__exit__()

    def snapshot(self, customers, sequence):
        """The first of a register; the second, with one customer changed; the third, with all changed; the fourth, back again."""
        changes = [
            {},
            {"suspended": {SUSPENDED}},
            {"screened_by": "another team", "without": {"Tor", "dbip-country"}},
            {"suspended": {SUSPENDED}},
        ]
        if (customers, sequence) not in self.compiled:
            say(f"compiling {customers:,} customers, sequence {sequence}")
            compiled = self.registers.compile(str(customers), customers, sequence, **changes[sequence - 1])
            say(f"  {compiled.megabytes:.1f} MB in {compiled.seconds:.1f} s, {compiled.peak_megabytes:.0f} MB of memory")
            self.compiled[customers, sequence] = compiled
        return self.compiled[customers, sequence]

    def serve(self, customers, sequence):
        """Lets the server have it, from one moment to the next."""
        beside = self.served / "new"
        beside.unlink(missing_ok=True)  # renaming one link of a file to another does nothing
        beside.hardlink_to(self.snapshot(customers, sequence).path)
        beside.rename(self.served / str(customers))

    def node(self, customers, wasm=FILTER):
        config = {
            "version": 1,
            "node": {"id": f"gateway-{customers}.example"},
            "snapshot": {
                "cluster": "snapshots", "authority": "snapshots", "path": f"/{customers}",
                "poll_seconds": 1, "trusted_keys": [self.registers.trusted],
            },
            "identity": {"sources": [{"query": "key"}]},
            "client_address": {"trusted_proxies": ["127.0.0.0/8"], "header": "x-forwarded-for"},
            "geo": {"origin": [{"snapshot": True}]},
            "provider": {"name": "anthropic"},
        }  # fmt: skip
        environment = {"CUSTOMERS": str(customers)} if wasm != FILTER else {}
        return Node(str(customers), config, wasm, environment=environment, direct_response=True, log=False)

    def envoy(self, nodes, concurrency=1, **more):
        """An Envoy with a listener for each node; connections are spread evenly over its workers."""
        config = bootstrap.bootstrap(nodes, 1, None) | more
        config["static_resources"]["clusters"].append(bootstrap.cluster("snapshots", [self.port]))
        for listener in config["static_resources"]["listeners"]:
            listener["connection_balance_config"] = {"exact_balance": {}}
        return Envoy(new_folder(self.folder, "envoy"), config, concurrency)


def new_folder(folder, name):
    return Path(tempfile.mkdtemp(prefix=name, dir=folder))


def file_server(folder):
    """Envoy's own file server on a listener."""
    mapping = [{"request_path_prefix": "/", "file_path_prefix": f"{folder}/"}]
    files = bootstrap.http_filter(
        "file_server.v3.FileServerConfig", manager_config={"thread_pool": {"thread_count": 1}}, path_mappings=mapping
    )
    node = Node("files", None, FILTER, direct_response=True, log=False)
    config = bootstrap.bootstrap([node], 1, None)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"] = [files, *manager["http_filters"][-1:]]
    return config


# === compiling ===


def compile_speed(bench):
    compiled = bench.snapshot(MILLION, 1)
    return [
        row("compile 1,000,000 customers and the Internet", compiled.seconds, "s", 60),
        row("  memory for that", compiled.peak_megabytes, "MB", 2_000),
        ("  the snapshot", f"{compiled.megabytes:.1f} MB", "", ""),
    ]


# === lookups in Envoy's V8, and the longest callbacks ===


def lookups(bench):
    runs = [lookups_once(bench, number) for number in range(1, RUNS + 1)]
    least = {name: min(measured[name] for measured, _ in runs) for name in ("v4", "v6", "hot", "uniform")}
    # each run does the same in the same order, and a busy machine only adds to it
    answers = [max(map(min, zip(*each, strict=False))) for each in zip(*(callbacks["answer"] for _, callbacks in runs), strict=True)]
    moves = [min(map(max, each)) for each in zip(*(callbacks["tick|request"] for _, callbacks in runs), strict=True)]
    return [
        row("address lookup, IPv4", least["v4"], "ns", 100),
        row("address lookup, IPv6", least["v6"], "ns", 100),
        row("customer among 1,000,000, seen lately", least["hot"], "ns", 300),
        row("customer among 1,000,000, not seen", least["uniform"], "ns", 3_000),
        ("table of addresses", f"{runs[0][0]['table'] / 1e6:.1f} MB", "", ""),
        ("longest callback with the first snapshot: a part came", f"{answers[0]:.1f} ms", "", ""),
        ("  moving on to it", f"{moves[0]:.1f} ms", "", ""),
        row("longest callback, one customer changed: a part came", answers[1], "ms", 5),
        row("  moving on to it", moves[1], "ms", 5),
        row("longest callback, all changed: a part came", answers[2], "ms", 5),
        row("  moving on to it", moves[2], "ms", 5),
    ]


def lookups_once(bench, number):
    """What the module measured with the first snapshot; the milliseconds of its callbacks, by kind and snapshot."""
    bench.snapshot(MILLION, 2), bench.snapshot(MILLION, 3)
    bench.serve(MILLION, 1)
    callbacks = {"answer": [], "tick|request": []}
    with bench.envoy([bench.node(MILLION, Path(SPEED))]) as envoy:
        seen = 0
        for sequence in (1, 2, 3):
            bench.serve(MILLION, sequence)
            await_sequence(envoy, sequence)
            time.sleep(1)  # for workers to move on
            if sequence == 1:
                say(f"timing lookups in V8, {number} of {RUNS}")
                until(SECONDS, "a worker to be ready", lambda: status(envoy.ports()[str(MILLION)], "/") == 200, envoy.log)
                measured = json.loads(get(envoy, MILLION))
            text = envoy.log.read_text()
            for kind, each in callbacks.items():
                took = [int(us) / 1000 for us in re.findall(rf"speed: (?:{kind}) took (\d+) us", text[seen:])]
                busy = [number for number, ms in enumerate(took) if ms >= IDLE]
                each.append(took[busy[0] : busy[-1] + 1] if busy else [IDLE])
            seen = len(text)
    if measured["found"] != [measured["found"][2]] * 3:
        sys.exit(f"not all customers were found: {measured}")
    return measured, callbacks


# === requests ===


def requests(bench):
    bench.serve(TEN, 1), bench.serve(MILLION, 1)
    with bench.envoy([bench.node(TEN), bench.node(MILLION)]) as envoy:
        await_ready(envoy, [TEN, MILLION])
        chance = random.Random(4)
        variants = {
            "10": files(bench, envoy, TEN, lambda: chance.randrange(TEN)),
            "hot": files(bench, envoy, MILLION, lambda: chance.randrange(HOT) * (MILLION // HOT)),
            "uniform": files(bench, envoy, MILLION, lambda: chance.randrange(MILLION)),
        }
        rounds = {name: [] for name in variants}
        for number in range(ROUNDS + 1):  # the first warms up
            say(f"requests: round {number} of {ROUNDS}")
            for name, paths in variants.items():
                rounds[name].append(cpu_per_request(envoy, paths))
    rounds = {name: measured[1:] for name, measured in rounds.items()}
    typical = {name: statistics.median(measured) for name, measured in rounds.items()}

    def ratio(name):
        return statistics.median(one / ten for one, ten in zip(rounds[name], rounds["10"], strict=True))

    return [
        ("a request with 10 customers", f"{typical['10']:.1f} us", "", ""),
        ("  with 1,000,000, a hot set of 1,000", f"{typical['hot']:.1f} us", "", ""),
        ("  with 1,000,000, uniformly at random", f"{typical['uniform']:.1f} us", "", ""),
        row("hot set, against 10 customers", ratio("hot"), "x", 1.1),
        row("uniformly at random, against 10 customers", ratio("uniform"), "x", 1.3),
    ]


def steady(bench):
    """Requests by all customers leave the process's memory where others left it."""
    bench.serve(MILLION, 1)
    with bench.envoy([bench.node(MILLION)]) as envoy:
        await_ready(envoy, [MILLION])
        chance = random.Random(8)
        paths = files(bench, envoy, MILLION, lambda: chance.randrange(MILLION))
        for _ in range(STEADY_WARM_UP // REQUESTS):
            cpu_per_request(envoy, paths)
        before = resident(envoy)
        for number in range(MILLION // REQUESTS):
            say(f"steady: {number * REQUESTS:,} of {MILLION:,} requests")
            cpu_per_request(envoy, paths)
        return [row("1,000,000 requests: memory grows by", resident(envoy) - before, "MB", 1)]


def files(bench, envoy, customers, choose):
    """A file of requests for each client. h2load can't vary headers, so the key is in the query."""
    port = envoy.ports()[str(customers)]
    folder = new_folder(bench.folder, "uris")
    paths = [folder / str(client) for client in range(CLIENTS)]
    for path in paths:
        keys = (secret(choose()) for _ in range(REQUESTS // CLIENTS))
        path.write_text("".join(f"http://127.0.0.1:{port}/v1/messages?key={key}\n" for key in keys))
    return paths


def cpu_per_request(envoy, paths):
    """Microseconds; each client has its own requests, so that none profits from what another just asked."""
    before = cpu_seconds(envoy.process.pid)
    count = REQUESTS // CLIENTS
    for load in [h2load("-n", count, "-c", 1, "-i", path, headers=HEADERS) for path in paths]:
        expect(load, f"{count} 2xx")
    return (cpu_seconds(envoy.process.pid) - before) / REQUESTS * 1e6


# === memory ===


def memory_of_wasm(bench):
    """Above an empty filter: what a worker takes, and what all share."""
    promises, rows = {HUNDRED_THOUSAND: 40, MILLION: 250}, []
    for (customers, when), megabytes in memory(bench, list(promises), {}, Path(NOOP)).items():
        per_worker, once = line(megabytes)
        if "just" in when:
            rows.append((f"memory a worker, {customers:,} customers{when}", f"{per_worker:.1f} MB", "", ""))
            rows.append(("  once per process", f"{once:.1f} MB", "", ""))
        else:
            rows.append(row(f"memory a worker, {customers:,} customers{when}", per_worker, "MB", 24))
            rows.append(row("  once per process", once, "MB", promises[customers]))
    return rows


def memory_of_module(bench):
    """Above an Envoy without a filter: the workers share all of it."""
    measured, rows = memory(bench, [HUNDRED_THOUSAND, MILLION], None, FILTER), []
    for (customers, when), megabytes in measured.items():
        for workers, each in megabytes.items():
            what = f"memory, {customers:,} customers, workers: {workers}{when}"
            if when == "":
                rows.append(row(what, each, "MB", 150))
            elif "just" in when:
                rows.append((what, f"{each:.1f} MB", "", ""))
            else:
                rows.append(row(f"{what}: more", each - measured[customers, ""][workers], "MB", 20))
    return rows


def memory(bench, sizes, config, wasm):
    """What Envoys take above those with another configuration, by customers and moment, for each number of workers.

    All Envoys run at once, since most of the time is waiting.
    """
    empty = {workers: resident_empty(bench, workers, config, wasm) for workers in WORKERS}
    chance = random.Random(5)
    for customers, sequence in itertools.product(sizes, range(1, 5)):
        bench.snapshot(customers, sequence)
    with contextlib.ExitStack() as stack:
        for customers in sizes:
            bench.serve(customers, 1)
        envoys = {each: stack.enter_context(bench.envoy([bench.node(each[0])], each[1])) for each in itertools.product(sizes, WORKERS)}
        for (customers, _), envoy in envoys.items():
            await_ready(envoy, [customers])
        paths = {
            each: files(bench, envoy, each[0], lambda customers=each[0]: chance.randrange(SUSPENDED + 1, customers))
            for each, envoy in envoys.items()
        }

        def move_on(sequence):
            say(f"memory: sequence {sequence}")
            for customers in sizes:
                bench.serve(customers, sequence)
            for each, envoy in envoys.items():
                await_sequence(envoy, sequence)
                ask_all_workers(envoy, paths[each])

        def above(seconds):
            say(f"memory: in {seconds} s")
            time.sleep(seconds)
            return {each: resident(envoy) - empty[each[1]] for each, envoy in envoys.items()}

        move_on(1)
        measured = {"": above(GIVEN_BACK)}
        for sequence in (2, 3, 4):
            move_on(sequence)
        measured[", just after three swaps"] = above(1)
        measured[", after three swaps"] = above(GIVEN_BACK)
    return {
        (customers, when): {workers: megabytes[customers, workers] for workers in WORKERS}
        for customers, (when, megabytes) in itertools.product(sizes, measured.items())
    }


def resident_empty(bench, workers, config, wasm):
    with bench.envoy([Node("empty", config, wasm, direct_response=True, log=False)], workers) as envoy:
        ask_all_workers(envoy, files(bench, envoy, "empty", lambda: 0))
        time.sleep(3)
        return resident(envoy)


def ask_all_workers(envoy, paths):
    """Connections are spread evenly, so 16 of them reach all workers."""
    for path in paths:
        expect(h2load("-n", REQUESTS, "-c", 16, "-i", path, headers=HEADERS), f"{REQUESTS} 2xx")


def resident(envoy):
    return envoy.resident_kilobytes() * 1024 / 1e6


def line(points):
    """The slope and the height of the line with the least squares."""
    mean_x, mean_y = statistics.mean(points), statistics.mean(points.values())
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points.items()) / sum((x - mean_x) ** 2 for x in points)
    return slope, mean_y - slope * mean_x


# === a swap under load ===


def swap(bench):
    per_second, clients, seconds = 2_000, 20, 40
    bench.serve(MILLION, 1)
    bench.snapshot(MILLION, 2), bench.snapshot(MILLION, 3)
    with bench.envoy([bench.node(MILLION)]) as envoy:
        await_ready(envoy, [MILLION])
        chance = random.Random(6)
        path = files(bench, envoy, MILLION, lambda: chance.randrange(SUSPENDED + 1, MILLION))[0]
        say(f"swap: {per_second:,} requests a second for {seconds} s")
        log = bench.folder / "requests.log"
        start = time.time()
        load = h2load(
            "-n", per_second * seconds, "-c", clients, "--rps", per_second // clients, "-i", path, f"--log-file={log}", headers=HEADERS
        )
        time.sleep(8)
        before_swaps = time.time()
        took = []
        for sequence, reason in ((2, "customer.suspended"), (3, None)):
            begin = time.time()
            bench.serve(MILLION, sequence)
            until(SECONDS, f"snapshot {sequence} in force", lambda reason=reason: refusal(envoy) == reason, envoy.log)
            took.append(time.time() - begin)
        after_swaps = time.time() + 1
        if load.poll() is not None:
            sys.exit("the swaps took longer than the load: give it more seconds")
        load.communicate()
        requests = [list(map(int, line.split("\t"))) for line in log.read_text().splitlines()]
    failed = sum(status != 200 for _, status, _ in requests)
    missing = per_second * seconds - len(requests)

    def longest(begin, end):
        return max(us for at, _, us in requests if begin <= at / 1e6 < end) / 1000

    return [
        row(f"swaps under {per_second:,} requests/s: requests that failed", failed + missing, "", 0),
        ("  a customer suspended: in force after", f"{took[0]:.1f} s", "", ""),
        ("  all pages new: in force after", f"{took[1]:.1f} s", "", ""),
        ("  longest latency while swapping", f"{longest(before_swaps, after_swaps):.1f} ms", "", ""),
        ("  longest latency before", f"{longest(start + 1, before_swaps):.1f} ms", "", ""),
    ]


# === how long a swap holds a thread ===


def turns(bench):
    """The longest turn of an event loop while a snapshot is fetched and handed out: no callback takes longer.

    Envoy measures each turn (`enable_dispatcher_stats`), without the wait for events, in wall time. What else runs on the machine
    can only make one longer, so the least of several swaps counts. Requests come meanwhile, as in a worker's ordinary life.
    """
    for sequence in (1, 2, 3):
        bench.snapshot(MILLION, sequence)
    kinds = {"nothing changed": 1, "one customer changed": 2, "all changed": 3}
    longest = {(kind, thread): [] for kind in kinds for thread in THREADS}
    for number in range(RUNS):
        say(f"turns: {number + 1} of {RUNS}")
        bench.serve(MILLION, 1)
        with bench.envoy([bench.node(MILLION)], enable_dispatcher_stats=True, stats_config=TURNS, stats_flush_interval="1s") as envoy:
            await_ready(envoy, [MILLION])
            chance = random.Random(6)
            path = files(bench, envoy, MILLION, lambda: chance.randrange(SUSPENDED + 1, MILLION))[0]
            with h2load("-D", 3_600, "-c", 4, "--rps", 100, "-i", path, headers=HEADERS) as load:
                time.sleep(FLUSHED)
                for kind, sequence in kinds.items():
                    before = turn_counts(envoy)
                    bench.serve(MILLION, sequence)
                    time.sleep(TAKEN)  # asking whether it was taken would itself hold the main thread
                    await_sequence(envoy, sequence)
                    after = turn_counts(envoy)
                    for thread in THREADS:
                        longest[kind, thread].append(longest_turn(before[thread], after[thread]))
                load.kill()
    rows = []
    for (kind, thread), each in longest.items():
        what = f"longest turn of the {thread}, {kind}"
        rows.append(row(what, min(each), "ms", 5) if thread == "worker" else (what, f"{min(each):.2f} ms", "", ""))
    return rows


def turn_counts(envoy):
    """How many turns of each thread took at most so many microseconds."""
    stats = json.loads(envoy.admin("/stats?format=json&histogram_buckets=cumulative&filter=loop_duration_us"))
    found = {}
    for histogram in stats["stats"][0]["histograms"]:
        thread = next((thread for thread, prefix in THREADS.items() if histogram["name"].startswith(prefix)), None)
        if thread:
            found[thread] = {bucket["upper_bound"]: bucket["cumulative"] for bucket in histogram["buckets"]}
    return found


def longest_turn(before, after):
    """Milliseconds: the upper bound of the last bucket in which a turn is new."""
    total = {bound: count - before[bound] for bound, count in after.items()}
    return next(bound for bound in sorted(total) if total[bound] == max(total.values())) / 1000


# === small things ===


def await_sequence(envoy, sequence):
    until(SECONDS, f"snapshot {sequence}", lambda: sequence in envoy.stats("custom.waybill_snapshot_sequence").values(), envoy.log)


def await_ready(envoy, nodes):
    for name, port in envoy.ports().items():
        if name in map(str, nodes):
            until(SECONDS, f"{name} to be ready", lambda port=port: status(port, "/.well-known/waybill/ready") == 200, envoy.log)


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def get(envoy, name, path="/"):
    port = envoy.ports()[str(name)]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def refusal(envoy):
    """Why the customer that is suspended in the second snapshot is refused, if it is."""
    request = urllib.request.Request(f"http://127.0.0.1:{envoy.ports()[str(MILLION)]}/v1/messages?key={secret(SUSPENDED)}", headers=HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=60):
            return None
    except urllib.error.HTTPError as error:
        return error.headers["x-waybill-reason"]


def row(what, measured, unit, promise):
    """A row with a promise: at most that much."""
    digits = 0 if measured >= 1_000 or isinstance(measured, int) else 2 if measured < 10 else 1
    return what, f"{measured:,.{digits}f} {unit}".strip(), f"{promise:,} {unit}".strip(), "holds" if measured <= promise else "DOESN'T HOLD"


def table(rows):
    head = ("", "measured", "at most", "")
    lines = (f"{what:56}{measured:>12}{promise:>12}  {holds}".rstrip() for what, measured, promise, holds in (head, *rows))
    return "\n".join(lines)


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
