"""A snapshot in a real Envoy with two workers: fetched while it runs, and kept whatever its server does."""

import ipaddress
import random
import re
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
import register_data  # of envoy/
import wire
from harness import ROOT, assert_unharmed, node, request, until
from snapshots import Register, Server, by_snapshot, customer, new_key
from test_start import publish, updates

SOON_SECONDS = 10  # for what takes a poll of a second, on a machine that may be busy
GROWTH_KILOBYTES = 1_024  # over 14 faults; measured: 12 kB
TIMEOUT_SECONDS = 20  # after which the filter gives a part up
READY = "/.well-known/waybill/ready"


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    return Register(tmp_path_factory.mktemp("register") / "register")


@pytest.fixture(scope="module")
def begin(start):
    """Starts an Envoy with two workers and nodes by name, each with its snapshot's server and its configuration."""

    def begin(nodes):
        made = [
            node(name, config, clusters={name: server.port}, direct_response=True, **options)
            for name, (server, config, options) in nodes.items()
        ]
        return start(*made, concurrency=2)

    return begin


@pytest.fixture(scope="module")
def one(begin, register):
    """A node that can't reach its server yet."""
    server = Server(listens=False)
    lab = begin({"edge": (server, by_snapshot("edge", register.trusted), {})})
    return lab, server


def calling(name, address="203.0.113.9", **more):
    """A request by a customer from an address."""
    asked = request(**more)
    changes = {"x-api-key": f"sk-{name}", "x-forwarded-for": address}
    asked["headers"] = [[field, changes.get(field, value)] for field, value in asked["headers"]]
    return asked


def ready(lab, name, path=READY):
    return lab.send(name, wire.raw_request("GET", path, "localhost")).response


def serves(lab, name, sequence=None, who="c-1"):
    """Whether a customer gets through, by the snapshot of that sequence if one is named."""
    played = lab.play(name, calling(who))
    return played.response.status == 200 and sequence in (None, played.event["snapshot"])


def by_every_worker(lab, name, condition):
    """Waits until requests that both workers took, one right after another, meet a condition."""
    seen = {}

    def met():
        played = lab.play(name, calling("c-1"))
        seen[played.event["vm"]] = condition(played)
        return len(seen) == 2 and all(seen.values())

    until(SOON_SECONDS, f"both workers of {name}", met, lab.log)


def at_sequence(sequence):
    return lambda played: played.event["snapshot"] == sequence


def gauge(lab, name):
    return max(lab.stats(rf"custom\.waybill_snapshot_{name}$").values(), default=0)


def said(lab, text):
    """How often the log has that text."""
    return lab.log.read_text().count(text)


# --- one node, its whole life: each test goes on where the one before ended --------------------------------------


def test_before_the_first_snapshot(one):
    """Nobody gets in, nobody hangs, and both the caller and the load balancer are told to come again."""
    lab, _ = one
    played = lab.play("edge", calling("c-1"))
    assert played.response.status == 503 and int(played.response.header("retry-after")) > 0
    assert "snapshot.missing" in played.response.body.decode()
    assert (played.event["reason"], played.event["snapshot"]) == ("snapshot.missing", None)
    answer = ready(lab, "edge")
    assert (answer.status, answer.header("cache-control")) == (503, "no-store")
    until(SOON_SECONDS, "the failures to be counted", lambda: gauge(lab, "failures_total") >= 2, lab.log)
    assert said(lab, "can't be reached") == 1, "however often it fails, the log says so once"


def test_the_first_snapshot(one, register):
    lab, server = one
    server.file = register.compiled(1)
    server.listen()
    by_every_worker(lab, "edge", at_sequence(1))
    assert lab.play("edge", calling("c-2")).response.status == 200
    assert lab.play("edge", calling("stranger")).response.status == 401
    assert ready(lab, "edge").status == 200
    assert (gauge(lab, "sequence"), gauge(lab, "bytes")) == (1, len(server.file))
    assert said(lab, "snapshot 1, made") == 1
    assert said(lab, "the snapshot server answers again") == 1
    spans = [asked.span for asked in server.asked if asked.status == 206]
    assert len(spans) == len(set(spans)), "each part is asked for once, by one VM for all"


def test_idle_polls_cost_little(one):
    lab, server = one
    server.take()
    begun = time.monotonic()
    until(SOON_SECONDS, "three polls", lambda: len(server.asked) >= 3, lab.log)
    assert time.monotonic() - begun > 1, "one VM asks for all"
    assert {asked.status for asked in server.asked} == {304}
    assert max(asked.size for asked in server.asked) < 1_000
    server.etag = False
    server.take()
    until(SOON_SECONDS, "polls without entity tags", lambda: len(server.asked) >= 2, lab.log)
    assert {(asked.status, asked.span) for asked in server.asked[1:]} == {(206, (0, 255))}
    assert max(asked.size for asked in server.asked) < 1_000
    server.etag = True


def test_a_customer_is_suspended_while_others_call(one, register):
    """Refused by the first poll that sees the change, on both workers, for good; nobody else's request is lost."""
    lab, server = one
    register.customers(customer("c-1"), customer("c-2", status="suspended"))
    file = register.compiled(2)
    with Load(lab, "edge", {"c-1": 2, "c-2": 2}) as load:
        time.sleep(0.5)
        server.take()
        server.file = file
        until(SOON_SECONDS, "the suspended customer to be refused", lambda: load.latest["c-2"] == 403 and load.row["c-2"] >= 50, lab.log)
        passed = load.seen["c-2"][200]
        time.sleep(0.5)
    assert set(load.seen["c-1"]) == {200} and load.seen["c-1"][200] > 100, load.seen
    assert set(load.seen["c-2"]) == {200, 403} and load.seen["c-2"][200] == passed, load.seen
    polls = [asked for asked in server.take() if (asked.status, asked.span) == (206, (0, 255))]
    assert len(polls) == 1, "whoever sees the change fetches it"
    by_every_worker(lab, "edge", at_sequence(2))
    assert said(lab, "snapshot 2, made") == 1
    assert lab.play("edge", calling("c-2")).event["reason"] == "customer.suspended"


class Load:
    """Threads that call one request after another for customers; counts statuses, and how many in a row were the same."""

    def __init__(self, lab, name, customers, everywhere=False):
        self.lab, self.name, self.everywhere = lab, name, everywhere
        self.seen = {who: {} for who in customers}
        self.latest, self.row = dict.fromkeys(customers), dict.fromkeys(customers, 0)
        self.slowest = 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(who,)) for who, count in customers.items() for _ in range(count)]

    def call(self, who):
        chance = random.Random(who)
        address = "203.0.113.9"
        while not self.ended.wait(0.005):
            if self.everywhere:
                address = str(ipaddress.ip_address(chance.getrandbits(32)))
            headers = [*calling(who, address)["headers"], ["x-test-direct-peer", "127.0.0.1"]]
            sent = wire.raw_request("GET", "/v1/messages", "localhost", headers)
            begun = time.monotonic()
            answer = wire.exchange(self.lab.nodes[self.name].port, sent)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            status = answer.status if answer else None
            self.seen[who][status] = self.seen[who].get(status, 0) + 1
            self.row[who] = self.row[who] + 1 if self.latest[who] == status else 1
            self.latest[who] = status

    def __enter__(self):
        self.before = len(self.lab.events(self.name))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        # the next event that a test reads must not be one of these
        lines = self.before + sum(count for seen in self.seen.values() for status, count in seen.items() if status)
        until(SOON_SECONDS, "the events of the load", lambda: len(self.lab.events(self.name)) >= lines, self.lab.log)


def test_each_fault_leaves_the_last_good_one(one, register, tmp_path):
    """What a server may do to the next snapshot. The one that is there serves on; the log says once why; then all is well again."""
    lab, server = one
    register.customers(customer("c-1"))
    stranger, trusted = new_key(tmp_path / "other.jwk")
    sequence, before = 2, lab.resident_kilobytes()

    def good():
        register.customers(customer("c-1"), customer(f"changed-{sequence}"))
        return register.compiled(sequence + 1)

    def altered(at):
        file = bytearray(good())
        file[at] ^= 1
        return bytes(file)

    faults = [
        ("gone", good, r"can't be reached"),
        (500, good, r"answers 500"),
        ("cut", good, r"answer breaks off"),
        (None, lambda: good()[:-100], r"ends too early"),
        (None, lambda: b"<html>none here</html>" * 20, r"doesn't begin with `WAYBILL`"),
        (None, lambda: altered(40), r"invalid signature"),
        (None, lambda: good()[:100], r"ends too early"),
        (None, lambda: altered(300), r"head isn't what was signed"),
        (None, lambda: good().replace(b"changed", b"changes"), r"page \d+ isn't what was signed"),
        (None, lambda: b"", r"ends too early"),
        (None, lambda: altered(9), r"unknown format version 258"),
        (None, lambda: register.compiled(1), r"sequence 1 is older than \d+"),
        (None, lambda: register.compiled(sequence, age=9), r"the sequence \d+ of another snapshot"),
        (None, lambda: register.compiled(sequence + 1, key=stranger), re.escape(trusted)),
    ]
    for number, (fault, file, why) in enumerate(faults):
        # only what wasn't said last is said, so each line is the new fault's
        failures, begun, bad = gauge(lab, "failures_total"), len(lab.log.read_text()), file()

        def lines():
            return [line for line in lab.log.read_text()[begun:].splitlines() if "no new snapshot" in line and re.search(why, line)]

        if fault == "gone":
            server.cut_off()
        server.fault = fault
        server.file = bad
        until(SOON_SECONDS, f"the log to say {why}", lines, lab.log)
        if number == 0:
            until(SOON_SECONDS, "more failures", lambda: gauge(lab, "failures_total") >= failures + 3, lab.log)
        assert gauge(lab, "failures_total") > failures
        assert len(lines()) == 1 and f"({sequence} stays)" in lines()[0], lines()
        assert serves(lab, "edge", sequence) and ready(lab, "edge").status == 200
        if fault or number + 1 == len(faults):
            sequence, server.file, server.fault = sequence + 1, good(), None
            until(SOON_SECONDS, "recovery", lambda: serves(lab, "edge", sequence), lab.log)
    by_every_worker(lab, "edge", at_sequence(sequence))
    assert gauge(lab, "sequence") == sequence
    grown = lab.resident_kilobytes() - before
    assert grown < GROWTH_KILOBYTES, f"{grown} kB more after {len(faults)} faults"


def test_another_file_in_the_middle(begin, register):
    """The server's file is replaced between two parts: nothing is mixed, and the newer one is there soon."""
    server = Server(register.compiled(1))
    lab = begin({"middle": (server, by_snapshot("middle", register.trusted), {})})
    until(SOON_SECONDS, "the first", lambda: serves(lab, "middle", 1), lab.log)
    many = [customer(f"c-{number}") for number in range(100)]
    register.customers(*many)
    server.then = register.compiled(3)
    register.customers(*many[:50])
    server.file = register.compiled(2)
    until(SOON_SECONDS, "the newer one", lambda: serves(lab, "middle", 3, who="c-99"), lab.log)
    assert server.then is None
    assert said(lab, "snapshot 2, made") == 0 and said(lab, "isn't what was signed") == 1


def test_pages_without_customers(begin, register):
    """Three customers with long records make four pages, so one has nobody in it. It has no place in shared data either."""
    far = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(4_000)]
    credential = {"networks": ["203.0.113.0/24", *far]}
    three = [customer(f"c-{number}") for number in (1, 2, 3)]
    three = [{**each, "credentials": [{"digest": each["credentials"][0], **credential}]} for each in three]
    register.customers(*three)
    server = Server(register.compiled(1))
    lab = begin({"few": (server, by_snapshot("few", register.trusted), {})})
    until(SOON_SECONDS, "the first", lambda: serves(lab, "few", 1), lab.log)
    register.customers(*({**each, "declared": ["SG", "MY"]} for each in three))
    server.file = register.compiled(2)
    for name in ("c-1", "c-2", "c-3"):
        until(SOON_SECONDS, f"{name} by the second", lambda name=name: serves(lab, "few", 2, who=name), lab.log)
    assert_unharmed(lab)


# --- many nodes in one Envoy: each another server or other settings -----------------------------------------------


@pytest.fixture(scope="module")
def variants(begin, register):
    register.customers(customer("c-1"))
    first = register.compiled(5)
    whole = dict(etag=False, ranges=False)
    block = {"policy": {"mode": "enforce", "actions": {"snapshot.stale": "block"}}}
    off, moved = ({"endpoints": {"ready": path}} for path in ("off", "/healthz"))
    servers = {
        "no-etags": (Server(first, etag=False), {}, {}),
        "no-ranges": (Server(first, **whole), {}, {}),
        "too-large": (Server(bytes(5 << 20), **whole), {}, {}),
        "hangs": (Server(first), {}, {}),
        "drips": (Server(first), {}, {}),
        "minimum": (Server(register.compiled(6)), {}, {"min_sequence": 7}),
        "stale": (Server(register.compiled(5, age=100)), {}, {"max_age_seconds": 60}),
        "stale-block": (Server(register.compiled(5, age=100)), block, {"max_age_seconds": 60}),
        "moved": (Server(first), moved, {}),
        "off": (Server(first), off, {}),
    }
    nodes = {
        name: (server, by_snapshot(name, register.trusted, changes, **settings), {})
        for name, (server, changes, settings) in servers.items()
    }
    lab = begin(nodes)
    servers = {name: server for name, (server, _, _) in servers.items()}
    for name in ("hangs", "drips"):
        until(SOON_SECONDS, f"the first snapshot of {name}", lambda: serves(lab, name, 5), lab.log)
        servers[name].fault = name.removesuffix("s")
        servers[name].file = register.compiled(6)
    return lab, servers, time.monotonic()


@pytest.mark.parametrize("name", ["no-etags", "no-ranges", "moved", "off"])
def test_servers_and_settings_that_serve(variants, name):
    lab, _, _ = variants
    by_every_worker(lab, name, at_sequence(5))


def test_the_readiness_path(variants):
    lab, _, _ = variants
    for name, path, status in [("moved", "/healthz", 200), ("too-large", READY, 503), ("no-etags", READY + "?probe=1", 200)]:
        assert ready(lab, name, path).status == status, name
    for name, path in [("moved", READY), ("off", READY), ("off", "/off"), ("no-etags", READY + "/")]:
        assert ready(lab, name, path).status == 401, f"{name}: an ordinary path, which takes a credential"


def test_a_large_file_needs_ranges(variants):
    lab, _, _ = variants
    until(SOON_SECONDS, "the reason", lambda: said(lab, "ignores `Range` and sends all 5242880 bytes") == 1, lab.log)
    assert lab.play("too-large", calling("c-1")).event["reason"] == "snapshot.missing"


def test_the_lowest_sequence_holds_across_restarts(variants, register):
    """This process never had a snapshot, and yet takes none that is older than the operator says."""
    lab, servers, _ = variants
    until(SOON_SECONDS, "the reason", lambda: said(lab, "sequence 6 is older than 7") == 1, lab.log)
    assert lab.play("minimum", calling("c-1")).event["reason"] == "snapshot.missing"
    servers["minimum"].file = register.compiled(7)
    until(SOON_SECONDS, "the lowest that is taken", lambda: serves(lab, "minimum", 7), lab.log)


def test_an_old_snapshot_is_reported_or_blocked(variants, register):
    lab, servers, _ = variants
    until(SOON_SECONDS, "the report", lambda: serves(lab, "stale", 5), lab.log)
    played = lab.play("stale", calling("c-1"))
    assert (played.event["verdict"], played.event["reason"]) == ("report", "snapshot.stale")
    until(SOON_SECONDS, "its refusal", lambda: lab.play("stale-block", calling("c-1")).event["reason"] == "snapshot.stale", lab.log)
    assert lab.play("stale-block", calling("c-1")).response.status == 503
    for name in ("stale", "stale-block"):
        servers[name].file = register.compiled(6)
        by_every_worker(lab, name, lambda played: played.event["verdict"] == "allow")


def test_the_age_is_counted_from_creation(begin, register):
    server = Server(register.compiled(1, age=3_600))
    lab = begin({"age": (server, by_snapshot("age", register.trusted), {})})
    until(SOON_SECONDS, "the age", lambda: 3_600 <= gauge(lab, "age_seconds") < 3_700, lab.log)


# --- updates of the configuration -----------------------------------------------------------------------------------


def test_updates_of_the_configuration(begin, register, tmp_path):
    """The last good one survives, though its server is down; then one VM fetches on; another key drops it."""
    register.customers(customer("c-1"))
    server = Server(register.compiled(4))
    path = tmp_path / "waybill.json"
    config = by_snapshot("reload", register.trusted)
    put = lambda config: publish(path, node("reload", config))  # noqa: E731
    put(config)
    lab = begin({"reload": (server, config, {"discovery": path})})
    by_every_worker(lab, "reload", at_sequence(4))

    server.cut_off()
    with Load(lab, "reload", {"c-1": 2}) as load:
        update(lab, lambda: put({**config, "policy": {"actions": {"geo.undeclared": "block"}}}))
        time.sleep(0.5)
    assert set(load.seen["c-1"]) == {200}, load.seen
    by_every_worker(lab, "reload", at_sequence(4))
    japan = calling("c-1", country="JP")
    until(SOON_SECONDS, "the new policy", lambda: lab.play("reload", japan).event["verdict"] == "block", lab.log)

    server.fault, server.file = None, register.compiled(5)
    until(SOON_SECONDS, "a newer one under the new configuration", lambda: serves(lab, "reload", 5), lab.log)
    server.take()
    time.sleep(3)
    assert 2 <= len(server.take()) <= 5, "the old configuration's contexts go on ticking, and don't ask"

    other, trusted = new_key(tmp_path / "other.jwk")
    update(lab, lambda: put(by_snapshot("reload", trusted)))
    by_every_worker(lab, "reload", lambda played: played.event["reason"] == "snapshot.missing")
    assert ready(lab, "reload").status == 503
    server.file = register.compiled(1, key=other)
    by_every_worker(lab, "reload", at_sequence(1))


def update(lab, put):
    before = updates(lab, "update_success")
    put()
    until(SOON_SECONDS, "the update to be taken", lambda: updates(lab, "update_success") > before, lab.log)


# --- network addresses ----------------------------------------------------------------------------------------------


def test_networks(begin, register, tmp_path):
    """What the snapshot's sources say of the client's address, each named."""
    folder = tmp_path / "networks"
    networks = Register(folder)
    networks.customers(customer("c-1"))
    (folder / "networks").mkdir()
    (folder / "networks" / "tor.txt").write_text("198.51.100.7\n2001:db8:7::/48\n")
    (folder / "networks" / "cloud.txt").write_text("203.0.113.0/24\n")
    for name in ("where", "hint"):
        shutil.copy(ROOT / "tests" / "data" / "mmdb" / "GeoLite2-Country-Test.mmdb", folder / "networks" / f"{name}.mmdb")
    date = "2026-01-01T00:00:00Z"
    lists = [
        {"name": "exits", "file": "networks/tor.txt", "class": "tor", "date": date},
        {"name": "cloud", "file": "networks/cloud.txt", "class": "hosting", "date": date},
    ]
    decides = {"name": "where", "file": "networks/where.mmdb", "date": date}
    nodes = {}
    for name, role in [("decides", {}), ("hints", {"role": "hints"})]:
        networks.networks([*lists, {**decides, **role}])
        geo = {"geo": {"origin": [{"snapshot": True}]}}
        nodes[name] = (Server(networks.compiled(1)), by_snapshot(name, networks.trusted, geo), {})
    (folder / "networks" / "hint.mmdb").unlink()
    lab = begin(nodes)
    for name in nodes:
        by_every_worker(lab, name, at_sequence(1))

    def findings(name, address):
        event = lab.play(name, calling("c-1", address)).event
        return event, {finding["code"]: finding["evidence"] for finding in event["findings"]}

    for address in ("198.51.100.7", "2001:db8:7::1", "::ffff:198.51.100.7"):
        event, found = findings("decides", address)
        assert (event["network"], found["network.anonymizer"]) == ("tor", "tor (exits)"), address
    event, found = findings("decides", "203.0.113.200")
    assert (event["network"], found["network.hosting"]) == ("hosting", "hosting (cloud)")
    assert found["geo.unknown"] == "no source knows"
    china = "2001:250::1"  # CN in that file, which MaxMind makes for tests
    event, found = findings("decides", china)
    assert (event["verdict"], event["reason"], event["origin"]) == ("block", "geo.restricted", "CN")
    assert found["geo.restricted"] == "origin CN (where)"
    event, found = findings("hints", china)
    assert event["verdict"] == "report" and found["geo.conflict"].startswith("origin CN (where, a hint)")
    event, found = findings("decides", "2001:218::1")  # JP, which the customer didn't declare
    assert "geo.undeclared" in found and event["origin"] == "JP"


# --- memory -----------------------------------------------------------------------------------------------------------


def test_swaps_leave_memory_where_it_was(begin, tmp_path):
    """Three swaps of a snapshot with the whole Internet, under requests from everywhere."""
    sources = register_data.prepare(register_data.TARGET)
    # a list more or less moves the runs behind it, so that hardly a page is as it was
    fewer = [source for source in sources if source.get("class") != "hosting"]
    registers = []
    for name, networks in [("all", sources), ("fewer", fewer)]:
        register = Register(tmp_path / name)
        (register.folder / "networks").symlink_to(register_data.TARGET)
        register.networks(networks)
        registers.append(register)
    every, without = registers
    with ThreadPoolExecutor() as pool:
        odd = pool.submit(lambda: [every.compiled(sequence) for sequence in (1, 3)])
        even = pool.submit(lambda: [without.compiled(sequence, key=every.key) for sequence in (2, 4)])
    files = [file for pair in zip(odd.result(), even.result()) for file in pair]

    server = Server(files[0], listens=False)
    geo = {"geo": {"origin": [{"snapshot": True}]}}
    lab = begin({"internet": (server, by_snapshot("internet", every.trusted, geo), {})})
    lab.play("internet", calling("c-1"))
    sizes = [lab.resident_kilobytes()]
    server.listen()
    for sequence, file in enumerate(files, 1):
        server.take()
        with Load(lab, "internet", {"c-1": 4}, everywhere=True) as load:
            server.file, begun = file, time.monotonic()
            until(SOON_SECONDS, "the gauge", lambda: gauge(lab, "sequence") == sequence, lab.log)
            seconds, asked = time.monotonic() - begun, server.take()
            time.sleep(1)
        by_every_worker(lab, "internet", at_sequence(sequence))
        sizes.append(lab.resident_kilobytes())
        if sequence > 1:
            assert set(load.seen["c-1"]) == {200, 403}, "of restricted regions, the latter"
        fetched, slowest = sum(each.size for each in asked), 1_000 * load.slowest
        print(f"\nsnapshot {sequence}: {len(file)} bytes, {fetched} in {len(asked)} requests, in use after {seconds:.1f} s;", end=" ")
        print(f"the slowest of {sum(load.seen['c-1'].values())} requests meanwhile took {slowest:.0f} ms;", end=" ")
        print(f"Envoy takes {sizes[-1] - sizes[0]} kB more than without a snapshot ({sizes[0]} kB)")
    assert sizes[4] - sizes[0] < 1.1 * (sizes[2] - sizes[0]), sizes


# --- last, since it takes the filter's whole timeout --------------------------------------------------------------------


def test_slow_servers(variants, register):
    """A server that hangs, or drips, is down after a while; the last good one serves on."""
    lab, servers, since = variants
    for name in ("hangs", "drips"):
        left = max(0, since + TIMEOUT_SECONDS - time.monotonic())
        what = {"hangs": "server doesn't answer in time", "drips": "server's answer breaks off, or comes too slowly"}[name]
        why = f"cluster `{name}`, snapshots/waybill.snapshot: the {what}"
        until(left + SOON_SECONDS, f"{name} to be given up", lambda: said(lab, why) == 1, lab.log)
        assert serves(lab, name, 5)
        servers[name].fault = None
        servers[name].released.set()
        until(SOON_SECONDS, "recovery", lambda: serves(lab, name, 6), lab.log)
