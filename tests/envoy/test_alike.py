"""Both hosts answer alike: each scenario is played on the wasm filter and on the module, in one Envoy each. They refuse the same
configurations in the same words.

Compared are the caller's answer, what the upstream received, the event, and the metrics. What a clock, chance or the host's own
start made is compared by its shape.
"""

import json
import re
from dataclasses import replace

import pytest

from bootstrap import own_name, with_own_names
from harness import HOST, assert_unharmed, configuration, node, request, until, validated
from test_scenarios import begun, case, nodes_of, play, sent, snapshots  # noqa: F401: fixtures
from test_start import BAD, publish, updates

pytestmark = pytest.mark.skipif(HOST != "module", reason="of both hosts, with the module's: WAYBILL_HOST=module")
HOSTS = ("wasm", "module")
SOON_SECONDS = 30
DIGEST = r"[0-9a-f]{64}"
SHAPES = [  # a moment, a number that chance or a start gave, a signature
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<date>"),
    (r"\b(at)=@\d{10}\b", r"\1=@<second>"),
    (r"\b(created|expires)=\d{10}\b", r"\1=<second>"),
    (r'\b(nonce)=(\\*)"[A-Za-z0-9_-]{22}\\*"', r"\1=<nonce>"),
    (r":[A-Za-z0-9+/]{86}==:", ":<signature>:"),
    (r"\b(prev)=:[A-Za-z0-9+/]{43}=:", r"\1=:<digest>:"),
]
EVENT_SHAPES = {"id": r"[0-9a-f]{16}-\d+", "vm": r"[0-9a-f]{16}", "prev": rf"{DIGEST}", "seq": r"\d+", "time": r"\d{4}-.*Z"}


@pytest.fixture(scope="module")
def labs(start, snapshots):  # noqa: F811
    """By host: its nodes by scenario, and the Envoy that they run in."""
    nodes = {host: nodes_of(snapshots, host) for host in HOSTS}
    nodes["wasm"] = {key: with_the_same_names(node) for key, node in nodes["wasm"].items()}
    return {host: (nodes[host], begun(start, nodes[host])) for host in HOSTS}


def with_the_same_names(node):
    """A wasm node whose variables are called as the module's: the digest of a policy is of their names too."""
    named = {own_name(node, name): value for name, value in node.environment.items()}
    return replace(node, config=with_own_names(node), environment=named)


def test_both_answer_alike(labs, case, sent):  # noqa: F811
    wasm, module = (play(lab, nodes, case, sent) for nodes, lab in labs.values())
    assert answer(wasm) == answer(module)
    assert arrived(wasm) == arrived(module)
    assert event(wasm) == event(module)


def test_both_count_alike(labs):
    """As Prometheus sees it: each name with each set of labels, and what it came to. All scenarios were played before."""
    wasm, module = (counted(lab) for _, lab in labs.values())
    assert module.pop("waybill_panics_total{}") == 0  # the module's alone: Envoy itself counts a VM's crashes
    assert sorted(wasm) == sorted(module) and len(wasm) > 40
    assert of_requests(wasm) == of_requests(module)
    assert sum(of_requests(wasm).values()) > 500, "the scenarios are to be played before"


def test_both_are_unharmed(labs):
    for _, lab in labs.values():
        assert_unharmed(lab)


WRONG = {
    "fields and words": BAD,
    "a version": configuration(version=2),
    "keys that aren't there": configuration(tag={"keys": [{"env": "NO_SUCH_KEY"}]}),
    "networks": configuration(client_address={"trusted_proxies": ["10.0.0.0/33", "all"]}),
    "a register and a snapshot": configuration(snapshot={"cluster": "c", "path": "/p", "trusted_keys": ["x"]}),
    "a customer": configuration(register={"customers": [{"id": "c 1", "credentials": ["sha256:00"]}]}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_both_refuse_alike_at_start(tmp_path, certificates, wrong):
    wasm, module = (validated(tmp_path, node("edge", WRONG[wrong], host), certificates) for host in HOSTS)
    assert (wasm[0], refusals(wasm[1])) == (module[0], refusals(module[1]))
    assert wasm[0] == 1 and refusals(wasm[1])


def test_both_refuse_alike_over_ecds(start, tmp_path):
    said = {}
    for host in HOSTS:
        path = tmp_path / host
        edge = node("edge", configuration(), host, discovery=path)
        publish(path, edge)
        lab = start(edge)
        for number, wrong in enumerate(WRONG.values(), 1):
            publish(path, replace(edge, config=wrong))
            until(SOON_SECONDS, "the refusal", lambda lab=lab, number=number: updates(lab, "update_rejected|config_fail") >= number, lab.log)
            assert lab.play("edge", request()).response.status == 200
        said[host] = refusals(lab.log.read_text())
    assert said["wasm"] == said["module"]
    assert len(said["wasm"]) >= len(WRONG)


def refusals(log):
    """What the filter says of a configuration, behind Envoy's own prefix."""
    return re.findall(r"(waybill: configuration refused: .*(?:\n +\S.*)*)", log)


def answer(played):
    """Status, headers in their order, and body; what the upstream answered is what it received."""
    headers = [(name, shaped(value, played)) for name, value in played.response.headers if name not in ("date", "content-length")]
    body = None if played.received else shaped(played.response.body.decode(), played)
    return played.response.status, headers, body


def arrived(played):
    if played.received is None:
        return None
    received = {name: played.received[name] for name in ("method", "path", "trailers", "body")}
    return {**received, "headers": [[name, shaped(value if isinstance(value, str) else json.dumps(value), played)] for name, value in played.received["headers"]]}


def event(played):
    """The event's text with its members in their order: a reader of logs may depend on both."""
    if played.event is None:
        return None
    told = dict(played.event)
    for name, shape in EVENT_SHAPES.items():
        if told.get(name) is not None:  # no event is before the first
            assert re.fullmatch(shape, str(told[name])), (name, told[name])
            told[name] = f"<{name}>"
    return shaped(json.dumps(told), played)


def shaped(text, played):
    if played.event:
        text = text.replace(played.event["id"], "<id>")
    for shape, name in SHAPES:
        text = re.sub(shape, name, text)
    return text


def counted(lab):
    """The filter's own metrics."""
    lines = [line.rpartition(" ") for line in lab.admin("/stats/prometheus").splitlines() if line.startswith("waybill_")]
    return {name: int(value) for name, _, value in lines}


def of_requests(metrics):
    """Without those of snapshots: many nodes here set the same gauge, and each asks in its own time."""
    return {name: value for name, value in metrics.items() if not name.startswith("waybill_snapshot_")}
