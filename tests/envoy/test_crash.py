"""The last good snapshot survives the crash of the VM that fetched it, and then of every worker's; so do the nonces that passed.

`tests/modules/trap` is the filter, with a trap on demand. Two Envoys, with one worker and with two: each test goes on where the
one before ended; but for the last, which has an Envoy of its own.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap import Node
from harness import until
from snapshots import Register, Server, by_snapshot, customer
from test_chain import ask, edge, signed, transit
from test_snapshot import SOON_SECONDS, calling, gauge, said

TRAP = Path(os.environ.get("TRAP", ""))
TRAPPED = "a test asked for a trap"
LEASE_SECONDS = 15  # for which a VM that crashed still counts as the one that fetches: `LEASE` in src/filter/keeper.rs


class Life:
    """What the tests hand on to each other: a server, and the Envoys by their number of workers."""

    def __init__(self, folder, start):
        self.register = Register(folder)
        self.server = Server(self.register.compiled(3))
        edge = Node("edge", by_snapshot("edge", self.register.trusted), TRAP, clusters={"edge": self.server.port})
        self.labs = {workers: start(edge, concurrency=workers) for workers in (1, 2)}
        self.first = {workers: vms(lab, workers, 3, meanwhile=None) for workers, lab in self.labs.items()}


@pytest.fixture(scope="module")
def life(start, tmp_path_factory):
    assert TRAP.is_file(), f"TRAP={os.environ.get('TRAP')} isn't tests/modules/trap as wasm: `./build.sh test` makes it, and says where it is"
    return Life(tmp_path_factory.mktemp("life") / "register", start)


def vms(lab, workers, sequence, **meanwhile):
    """Waits until each worker has decided by the snapshot of that sequence, and none by another; gives the VMs' names."""
    seen, others = set(), set(meanwhile.values())

    def met():
        played = lab.play("edge", calling("c-1"))
        if played.event is None:
            assert_refused(played)  # this worker has no VM yet
        elif played.event["snapshot"] == sequence:
            assert played.response.status == 200 and played.received
            seen.add(played.event["vm"])
        else:
            assert played.event["snapshot"] in others
        return len(seen) == workers

    until(SOON_SECONDS, f"{workers} workers to decide by {sequence}", met, lab.log)
    return seen


def assert_refused(played):
    """Envoy answers in the filter's place, and nothing passes."""
    assert (played.response.status, played.event, played.received) == (503, None, None)


def test_the_vm_that_fetches_traps(life):
    """On an answer, and so with the lease. The server is down from then on: each connection ends at once."""
    life.server.fault = "trap"
    for lab in life.labs.values():
        until(SOON_SECONDS, "the trap", lambda lab=lab: said(lab, TRAPPED) == 1, lab.log)
    life.server.cut_off()
    life.server.take()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_worker_traps(life, workers):
    """What traps doesn't pass, and the next VM decides by the same snapshot, which nobody could fetch again."""
    lab = life.labs[workers]
    running, traps = life.first[workers], 0
    while running & life.first[workers]:
        assert_refused(lab.play("edge", calling("c-1", headers=[["x-test-trap", "now"]])))
        traps += 1
        running = vms(lab, workers, 3)
    assert traps >= workers and said(lab, TRAPPED) == 1 + traps
    for who, status, reason in [("c-1", 200, None), ("c-2", 200, None), ("stranger", 401, "identity.unknown")]:
        played = lab.play("edge", calling(who))
        assert (played.response.status, played.event["reason"], played.event["snapshot"]) == (status, reason, 3), who
    assert gauge(lab, "sequence") == 3
    assert life.server.take() == [], "what the server answered since it went down"


def test_the_next_vm_fetches_on(life):
    """Once the lease has run out that went down with its VM."""
    life.register.customers(customer("c-1"), customer("c-2", status="suspended"))
    life.server.file, life.server.fault = life.register.compiled(4), None
    for workers, lab in life.labs.items():
        until(LEASE_SECONDS + SOON_SECONDS, "the newer one", lambda lab=lab: gauge(lab, "sequence") == 4, lab.log)
        vms(lab, workers, 4, meanwhile=3)
        assert lab.play("edge", calling("c-2")).event["reason"] == "customer.suspended"


def test_what_passed_before_a_crash_does_not_pass_again(start):
    lab = start(replace(transit("a", to=None), wasm=TRAP), edge("tap-b", "b", to=None))
    once, fresh = (signed(lab.play("tap-b", ask()).received) for _ in range(2))
    before = lab.play("a", ask("sk-at-b", headers=once))
    assert before.response.status == 200
    assert_refused(lab.play("a", ask("sk-at-b", headers=[["x-test-trap", "now"]])))
    until(SOON_SECONDS, "the next VM", lambda: lab.play("a", ask("sk-at-b")).event, lab.log)
    replayed, passed = (lab.play("a", ask("sk-at-b", headers=headers)) for headers in (once, fresh))
    assert (replayed.response.status, replayed.event["reason"]) == (403, "chain.replayed")
    assert passed.response.status == 200
    assert before.event["vm"] != passed.event["vm"] == replayed.event["vm"]


@pytest.mark.parametrize(
    ("failure", "after"),
    [
        ({"failure_policy": "FAIL_OPEN"}, 200),  # `waybill check` refuses it: a stranger passes for ever
        ({"failure_policy": "FAIL_CLOSED"}, 503),  # a note: nobody passes until Envoy is restarted
        ({}, 503),  # Envoy's default is the same
        ({"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "0.002s"}}}, 401),
    ],
    ids=["open", "closed", "default", "reload"],
)
def test_each_failure_policy(start, failure, after):
    """What a stranger gets after one trap: this is why `check` refuses a policy that opens."""
    lab = start(replace(edge("f", "b", to=None), wasm=TRAP, failure=failure), concurrency=1)
    assert lab.play("f", ask("nobody")).response.status == 401
    lab.play("f", ask("nobody", headers=[["x-test-trap", "now"]]))

    def answered():
        played = lab.play("f", ask("nobody"))
        assert played.response.status in (401, 503, after)
        return played.response.status == after and (after != 200) == (played.received is None)

    until(SOON_SECONDS, f"{after} after the trap", answered, lab.log)


def test_restarts_without_a_pause_end_envoy(start):
    """`check` refuses an interval below 2 ms: with this one, Envoy 1.40 ends at the first trap."""
    failure = {"failure_policy": "FAIL_RELOAD", "reload_config": {"backoff": {"base_interval": "0.001s"}}}
    lab = start(replace(edge("f", "b", to=None), wasm=TRAP, failure=failure), concurrency=1)
    assert lab.play("f", ask("nobody")).response.status == 401
    with pytest.raises((OSError, AssertionError)):
        for _ in range(200):
            lab.play("f", ask("nobody", headers=[["x-test-trap", "now"]]))
    until(SOON_SECONDS, "the end of Envoy", lambda: lab.process.poll() is not None, lab.log)
