"""Everything at once for a long time, on either host: `./build.sh bench mixed MINUTES`; `WAYBILL_HOST=module` for the module.

An Envoy with two workers gets ordinary requests over HTTP/1 and HTTP/2, chains that another node signed for one request (and each
tenth a second time, which must be refused), and the random requests of tests/envoy/test_hostile.py. Meanwhile each few seconds a new
snapshot replaces the one before, and a new configuration comes over ECDS; each fourth of these is wrong and must be rejected.

A request is lost if it has no answer or another than it must have; a hostile one, if it has an answer of the 500s. Envoy may end
the connection of a hostile one. The run ends with code 1 where a request was lost, a VM died, a hook panicked, or Envoy ended.
Tests call `run` for a minute.
"""

import json
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import wire  # noqa: E402
from chains import Key, carried  # noqa: E402
from harness import ENVOY, FILTER, HOST, ROOT, Lab, assert_unharmed, node, until  # noqa: E402
from load import h2load, require  # noqa: E402
from snapshots import Register, Server, by_snapshot, customer  # noqa: E402
from test_hostile import random_request  # noqa: E402
from test_start import publish, updates  # noqa: E402

CUSTOMERS = 500
RESELLER, PEER, SEED = "c-9", "peer.example", 5
AUTHORITY = "gateway.acme.example"
PER_SECOND = {"http/1": 400, "http/2": 400, "chains": 40, "hostile": 40}
EVERY = {"snapshots": 4, "configurations": 3, "memory": 1}  # seconds
AGAIN = 10  # each tenth chain comes twice
WRONG = 4  # each fourth configuration
SOON = 60  # seconds until the first snapshot, on a machine that may be busy


@dataclass
class Kind:
    """Requests of a kind: how many were sent, had the answer that they must have, and weren't lost though Envoy closed them."""

    sent: int = 0
    answered: int = 0
    closed: int = 0
    odd: list = field(default_factory=list)  # what the lost ones got

    @property
    def lost(self):
        return self.sent - self.answered - self.closed


@dataclass
class Outcome:
    kinds: dict
    changes: dict  # how often each was made: snapshots, configurations and rejected ones
    memory: list  # megabytes, each second
    harm: str = ""

    @property
    def is_well(self):
        return not self.harm and not any(kind.lost for kind in self.kinds.values())

    def table(self):
        lines = [f"{'':16}{'sent':>11}{'answered':>11}{'closed':>9}{'lost':>7}"]
        lines += [f"{name:16}{kind.sent:11,}{kind.answered:11,}{kind.closed:9,}{kind.lost:7,}" for name, kind in self.kinds.items()]
        lines.append(", ".join(f"{count:,} {what}" for what, count in self.changes.items()))
        quarter = max(1, len(self.memory) // 4)
        quarters = [statistics.median(self.memory[begin : begin + quarter]) for begin in range(0, quarter * 4, quarter) if self.memory[begin:]]
        lines.append(f"memory, the median of each quarter: {', '.join(f'{each:.1f}' for each in quarters)} MB")
        lines += [f"{name}: {each}" for name, kind in self.kinds.items() for each in kind.odd[:5]]
        return "\n".join([*lines, self.harm or "no VM died, no hook panicked, Envoy went on"])


def main():
    require(ENVOY=("Envoy", ENVOY), WAYBILL=("the filter", FILTER))
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), minutes * 60, say)
    print(f"{minutes:g} minutes on the {HOST}, two workers\n{outcome.table()}")
    sys.exit(not outcome.is_well)


def run(folder, seconds, tell=lambda _: None):
    """The load for so many seconds."""
    register = registered(folder / "register")
    server = Server(change(register, 1))
    configured = folder / "ecds.json"
    edge = node(
        "edge", configuration(register, 0), discovery=configured, clusters={"snapshots": server.port},
        direct_response=True, log=False, environment={"KEY": Key(4).private_jwk()},
    )  # fmt: skip
    publish(configured, edge)
    with wire.Upstream() as upstream, Lab(folder, [edge], upstream, None, concurrency=2) as lab:
        mixed = Mixed(lab, register, server, configured, edge)
        until(SOON, "the first snapshot", mixed.is_ready, lab.log)
        return mixed.run(seconds, tell)


def registered(folder):
    """Customers, and a reseller whose node signs each request."""
    register = Register(folder)
    key = {"id": PEER, "customer": RESELLER, "keys": [Key(SEED).public_jwk()], "screening": customer(RESELLER)["screening"]}
    (folder / "nodes.json").write_text(json.dumps({"nodes": [key]}))
    return register


def change(register, sequence):
    """The next snapshot: all customers are there again, screened by somebody else, so that their pages are new."""
    screening = {**customer("")["screening"], "by": f"team {sequence}"}
    reseller = customer(RESELLER, kind="reseller", screening=screening)
    register.customers(reseller, *(customer(f"c-{number}", screening=screening) for number in range(10, 10 + CUSTOMERS)))
    return register.compiled(sequence)


def configuration(register, number):
    """The number changes the contact, which refusals and the disclosure show."""
    disclosure = {"contact": f"compliance-{number}@acme.example"}
    tag = {"keys": [{"env": "KEY"}], "binding": "customer"}
    return by_snapshot("snapshots", register.trusted, {"disclosure": disclosure, "tag": tag})


class Mixed:
    """The threads that send, change and look, and what they count."""

    def __init__(self, lab, register, server, configured, edge):
        self.lab, self.register, self.server, self.configured, self.edge = lab, register, server, configured, edge
        self.port = lab.nodes["edge"].port
        self.kinds = {name: Kind() for name in (*PER_SECOND, "replays")}
        self.changes = {"snapshots": 0, "configurations": 0, "rejected": 0}
        self.memory, self.broken = [], []
        self.ends = threading.Event()
        self.chance = random.Random(18)

    def is_ready(self):
        return wire.exchange(self.port, wire.raw_request("GET", "/.well-known/waybill/ready", "localhost")).status == 200

    def run(self, seconds, tell):
        loads = [self.h2load("http/1", seconds), self.h2load("http/2", seconds)]
        regular = {
            self.send_chain: 1 / PER_SECOND["chains"],
            self.send_hostile: 1 / PER_SECOND["hostile"],
            self.swap: EVERY["snapshots"],
            self.configure: EVERY["configurations"],
            lambda: self.look(tell): EVERY["memory"],
        }
        threads = [threading.Thread(target=self.repeat, args=each) for each in regular.items()]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        self.ends.wait(seconds)
        for name, count, load in loads:
            left = begun + seconds + SOON - time.monotonic()
            self.finish(name, count, load, left)
        self.ends.set()
        for thread in threads:
            thread.join()
        return Outcome(self.kinds, self.changes, self.memory, self.harm())

    def repeat(self, work, every):
        """Until the end, at a steady rate."""
        due = time.monotonic()
        while not self.ends.wait(max(0, due - time.monotonic())):
            due = max(due + every, time.monotonic() - 1)
            try:
                work()
            except Exception as error:
                self.broken.append(f"{type(error).__name__}: {error}")
                self.ends.set()

    def h2load(self, name, seconds):
        clients = 8
        rate = PER_SECOND[name] // clients
        count = int(rate * clients * seconds)
        sent = {"x-api-key": "sk-c-11", "x-geo-country": "SG", "x-forwarded-for": "203.0.113.9", "x-test-direct-peer": "127.0.0.1 203.0.113.9"}
        url = f"http://127.0.0.1:{self.port}/v1/messages"
        streams = 1 if name == "http/1" else 4  # Envoy ends a connection with more than two answers that nobody reads
        return name, count, h2load("-n", count, "-c", clients, "-m", streams, "--rps", rate, url, headers=sent, over_h1=name == "http/1")

    def finish(self, name, count, load, seconds):
        """What h2load says of its requests, in the end."""
        kind = self.kinds[name]
        timer = threading.Timer(max(1, seconds), load.kill)
        timer.start()
        printed = load.communicate()[0]
        timer.cancel()
        kind.sent = count
        found = re.search(r"status codes: (\d+) 2xx", printed)
        kind.answered = int(found[1]) if found else 0
        if kind.lost:
            kind.odd.append(" ".join(re.findall(r"^(?:requests|status codes): .*", printed, re.MULTILINE)) or printed[-300:])

    def send(self, name, request, expected):
        kind = self.kinds[name]
        kind.sent += 1
        try:
            answer = wire.exchange(self.port, request)
        except OSError as error:
            kind.odd.append(repr(error))
            return
        status = answer and answer.status
        if name == "hostile" and answer is None:
            kind.closed += 1
        elif status and (status < 500 if name == "hostile" else status == expected):
            kind.answered += 1
        else:
            kind.odd.append(f"{status}: {answer and answer.body[:200]}")

    def send_chain(self):
        asked = {"method": "GET", "authority": AUTHORITY, "path": "/v1/messages", "headers": []}
        case = {"keys": {"p": {"seed": SEED, "node": PEER}}, "carried": [{"by": "p", "customer": "c-of-the-peer"}]}
        signed = carried(case, asked, int(time.time()))
        more = [["x-api-key", f"sk-{RESELLER}"], ["x-geo-country", "SG"], ["x-forwarded-for", "203.0.113.9"], ["x-test-direct-peer", "127.0.0.1 203.0.113.9"]]
        request = wire.raw_request("GET", asked["path"], AUTHORITY, [*more, *signed])
        self.send("chains", request, 200)
        if self.kinds["chains"].sent % AGAIN == 0:
            self.send("replays", request, 403)

    def send_hostile(self):
        self.send("hostile", random_request(self.chance), None)

    def swap(self):
        self.changes["snapshots"] += 1
        self.server.file = change(self.register, self.changes["snapshots"] + 1)

    def configure(self):
        """A right configuration, or one with a typing mistake."""
        number = self.changes["configurations"] + self.changes["rejected"] + 1
        config = configuration(self.register, number)
        kind = "rejected" if number % WRONG == 0 else "configurations"
        if kind == "rejected":
            config["polcy"] = {}
        self.changes[kind] += 1
        publish(self.configured, node("edge", config, discovery=self.configured, environment=self.edge.environment))

    def look(self, tell):
        self.memory.append(self.lab.resident_kilobytes() * 1024 / 1e6)
        if len(self.memory) % 60 == 0:
            lost = sum(kind.lost for name, kind in self.kinds.items() if name not in ("http/1", "http/2"))
            tell(f"{len(self.memory)} s: {self.memory[-1]:.1f} MB, {self.changes}, {lost} lost of those that are sent one by one")

    def harm(self):
        """What went wrong beside lost requests; empty where nothing did."""
        if self.lab.process.poll() is not None:
            return f"Envoy ended with code {self.lab.process.returncode}"
        if self.broken:
            return f"the load broke off: {self.broken[0]}"
        try:
            assert_unharmed(self.lab)
        except AssertionError as error:
            return f"a VM died, or a hook panicked: {error}"
        taken, rejected = updates(self.lab, "update_success"), updates(self.lab, "update_rejected|config_fail")
        if not taken or bool(rejected) != bool(self.changes["rejected"]):
            return f"configurations: {taken} taken and {rejected} rejected, {self.changes} made"
        return ""


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
