"""Plays `tests/scenarios/*.json` through a real Envoy, and asks `waybill explain` about the same requests.

The Rust tests play the same table against the pure core. Here Envoy must give the table's answer too,
in its reply, in what goes on to the upstream and in the event; and what an operator reads at the desk
(`explain`) must be what Envoy then does.
"""

import json
import os
import re
import subprocess
import time
from collections import Counter

import jsonschema
import pytest

import bootstrap
import chains
from harness import HOST, ROOT, WAYBILL, direct, node, until
from snapshots import Register, Server

SCENARIOS = ROOT / "tests" / "scenarios"
READY = "/.well-known/waybill/ready"
SCHEMA = ROOT / "docs" / "event.schema.json"
ADDED_BY_ENVOY = {"host", "x-forwarded-proto", "content-length", "x-test-cluster"}
MOMENTS = [  # what differs between two decisions on the same request: the clock and chance
    (re.compile(r"\b(at)=@\d+"), r"\1=@…"),
    (re.compile(r"\b(created|expires)=\d+"), r"\1=…"),
    (re.compile(r"\b(nonce)=\"[^\"]*\""), r"\1=…"),
    (re.compile(r"\bcmp=:[^:]*:"), "cmp=:…:"),
]


def merged(config, patch):
    """A JSON merge patch (RFC 7396) applied: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(config) if isinstance(config, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def cases():
    """Every case of every file, with its configuration written out, as pytest parameters."""
    for path in sorted(SCENARIOS.glob("*.json")):
        scenario = json.loads(path.read_text())
        for case in scenario["cases"]:
            config = merged(scenario["config"], case.get("config", {}))
            files = {member: scenario[member] for member in ("register", "made", "keys", "signs") if member in scenario}
            yield pytest.param({**files, **case, "config": config}, id=f"{path.stem}/{case['name']}")


def node_key(case):
    told = [case["config"], case.get("register"), case.get("made"), environment(case)]
    return json.dumps(told, sort_keys=True), "tls" in case["request"]


def environment(case):
    """The variable with the node's own key, where it signs."""
    return {"SIGNING_KEY": chains.Key(case["keys"][case["signs"]]["seed"]).private_jwk()} if "signs" in case else {}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """Each register of files that stands in the table, compiled and served."""
    found = {}

    def snapshot(case):
        key = json.dumps([case["register"], case["made"]])
        if key not in found:
            found[key] = Snapshot(tmp_path_factory.mktemp("register"), f"snapshots-{len(found)}", case)
        return found[key]

    return snapshot


class Snapshot:
    """A register of files as a node finds it: compiled at a given second, and served."""

    def __init__(self, folder, cluster, case):
        register = Register(folder / "register")
        for name, content in case["register"].items():
            (register.folder / name).parent.mkdir(exist_ok=True)
            (register.folder / name).write_bytes(content_of(content))
        self.file = folder / "snapshot"
        self.file.write_bytes(register.compiled(1, age=int(time.time()) - case["made"]))
        self.trusted, self.cluster, self.server = register.trusted, cluster, Server(self.file.read_bytes())

    def asked_for_by(self, config):
        return merged(config, {"snapshot": {"cluster": self.cluster, "trusted_keys": [self.trusted]}})


def content_of(content):
    """A register's file: text as it is, a file of this repository by its name, else JSON."""
    if isinstance(content, dict) and "file" in content:
        return (ROOT / content["file"]).read_bytes()
    return (content if isinstance(content, str) else json.dumps(content)).encode()


@pytest.fixture(scope="module")
def nodes(snapshots):
    return nodes_of(snapshots)


def nodes_of(snapshots, host=HOST):
    """One listener for each configuration and register that stands in the table."""
    found = {}
    for param in cases():
        case = param.values[0]
        if "core_only" in case["expect"] or node_key(case) in found:
            continue
        config, more = case["config"], {"environment": environment(case)}
        if "register" in case:
            snapshot = snapshots(case)
            config, more["clusters"] = snapshot.asked_for_by(config), {snapshot.cluster: snapshot.server.port}
        found[node_key(case)] = node(f"node-{len(found)}", config, host, tls="tls" in case["request"], **more)
    return found


@pytest.fixture(scope="module")
def lab(start, nodes):
    return begun(start, nodes)


def begun(start, nodes):
    """An Envoy with these nodes, once each has its snapshot."""
    lab = start(*nodes.values())
    for each in nodes.values():
        if each.clusters:
            until(10, "the snapshot", lambda name=each.name: lab.play(name, {"path": READY}).response.status == 200, lab.log)
    return lab


@pytest.fixture(scope="module", params=cases())
def case(request):
    if reason := request.param["expect"].get("core_only"):
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def sent(case):
    """The request as it is sent: what other nodes signed is signed now."""
    return signed(case, int(time.time())) if "carried" in case else case["request"]


def signed(case, now):
    """Signed again in the same second, what has a nonce of its own in the table stays the same, byte by byte."""
    request = case["request"]
    return {**request, "headers": [*request["headers"], *chains.carried(case, request, now)], "time": now}


@pytest.fixture(scope="module")
def played(lab, nodes, case, sent):
    return play(lab, nodes, case, sent)


def play(lab, nodes, case, sent):
    name = nodes[node_key(case)].name
    for patch in case.get("before", []):
        lab.play(name, {**(signed(case, sent["time"]) if case.get("signed_anew") else sent), **patch})
    return lab.play(name, sent)


def test_the_table_is_there():
    assert list(cases()), f"no scenarios in {SCENARIOS}"


def test_answer(case, played):
    expect = case["expect"]
    if expect["status"] is None:
        assert played.received is not None, f"not forwarded, but answered: {played.response}"
        check_forwarded(expect, played.received)
        if "signs" in case and not expect.get("unsigned"):
            check_signed(case, played.received, played.event)
    else:
        assert played.received is None, f"forwarded, though it should get {expect['status']}: {played.received}"
        assert played.response.status == expect["status"], played.response
    check_response(expect.get("response", {}), played.response)


def check_signed(case, received, event):
    """What goes on verifies by code that isn't the node's: the signature, each `prev`, each member of the trail."""
    cluster = dict(map(tuple, received["headers"]))["x-test-cluster"]
    authority = {"default": "api.provider.example", "fallback": "api.fallback.example"}[cluster]
    proven = chains.verify(received["headers"], chains.public_keys(case), received["method"], authority, received["path"])
    if event["chain"] is None:
        assert proven == [True], "what didn't verify goes on"
    else:
        assert proven == [*(hop["proven"] for hop in event["hops"]), True]


def test_event(case, played):
    expect, event = case["expect"], played.event
    assert event is not None, "the access log has no event"
    if SCHEMA.exists():
        jsonschema.validate(event, json.loads(SCHEMA.read_text()))
    assert [finding["code"] for finding in event["findings"]] == expect["findings"]
    for name in ("verdict", "would_be", "reason", "customer", "user", "origin", "chain", "address"):
        if name in expect:
            assert event[name] == expect[name], name
    for name in ("software", "asn"):  # left out where there is none
        if name in expect:
            assert event.get(name) == expect[name], name
    for code, why in expect.get("because", {}).items():
        assert [why in finding["evidence"] for finding in event["findings"] if finding["code"] == code] == [True], event
    if "hops" in expect:
        assert [[hop["node"], hop["customer"], hop["attest"], hop["proven"]] for hop in event["hops"]] == expect["hops"]


@pytest.mark.parametrize("form", ["bare", "in Envoy's file"])
def test_desk_agrees(case, sent, played, snapshots, lab, nodes, form, tmp_path):
    if case.get("before"):
        pytest.skip("the desk sees one request alone")
    if HOST != "wasm" and form == "bare":
        pytest.skip("a configuration by itself is of no host")
    snapshot = snapshots(case) if "register" in case else None
    played_by = nodes[node_key(case)]
    if form == "bare":
        explained = explain(played_by, sent, bootstrap.as_played(played_by), snapshot, tmp_path)
    else:
        listener = bootstrap.listener(lab.nodes[played_by.name], lab.certificates)
        explained = explain(played_by, as_its_client_sent_it(sent), {"static_resources": {"listeners": [listener]}}, snapshot, tmp_path)
    event = played.event
    verdict = explained["verdict"]
    assert (verdict["action"], verdict["would_be"], verdict["reason"]) == (
        event["verdict"], event["would_be"], event["reason"],
    )  # fmt: skip
    codes = [(finding["code"], finding["action"]) for finding in explained["findings"]]
    assert codes == [(finding["code"], finding["action"]) for finding in event["findings"]]
    for name in ("customer", "user", "origin"):
        assert explained["evidence"][name] == event[name], name
    assert (explained["evidence"]["chain"] or {"worth": None})["worth"] == event["chain"]
    if played.received:
        assert explained["response"] is None
        assert owned(explained["request_headers"]) == owned(played.received["headers"])
        assert dict(map(tuple, explained["request_headers"]))[":path"] == played.received["path"]
    else:
        assert_same_refusal(explained["response"], played.response, event["id"])


def test_replay_changes_nothing(lab, nodes, snapshots, tmp_path):
    """The events of this run, decided again by the policy and the register that made them; then by one that suspends all."""
    seen = suspended = 0
    for case in {node_key(param.values[0]): param.values[0] for param in cases()}.values():
        if node_key(case) not in nodes or ("register" not in case and "register" not in case["config"]):
            continue  # the desk has no customers to judge by
        log = lab.nodes[nodes[node_key(case)].name].events
        snapshot = snapshots(case) if "register" in case else None
        config = snapshot.asked_for_by(case["config"]) if snapshot else case["config"]
        found = replay(config, snapshot, log, tmp_path)
        assert found["changed"] == [] == found["summary"], case["name"]
        seen += found["events"]
        if not snapshot:
            customers = [{**customer, "status": "suspended"} for customer in config["register"]["customers"]]
            policy = {**config.get("policy", {}), "mode": "enforce"}
            config = {**config, "policy": policy, "register": {**config["register"], "customers": customers}}
            suspended += len(replay(config, None, log, tmp_path)["changed"])
    assert seen > 400 and suspended > 50, "the scenarios are to be played before"


def replay(config, snapshot, log, folder):
    (folder / "config.json").write_text(json.dumps(config))
    command = [WAYBILL, "replay", log, "--config", folder / "config.json", "--json"]
    command += ["--snapshot", snapshot.file] if snapshot else []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((ROOT / "docs" / "replay.schema.json").read_text()))
    return found


def assert_same_refusal(explained, response, request_id):
    """The same answer but for the request's id, which is the desk's own there."""
    assert explained["status"] == response.status
    assert explained["body"] == response.body.decode().replace(request_id, "explain")
    headers = {(name, value.replace(request_id, "explain")) for name, value in response.headers}
    assert {(name.lower(), value) for name, value in explained["headers"]} <= headers


def as_its_client_sent_it(request):
    """The peer is a header, as `Lab.play` sends it, and the desk reads what Envoy's filters make of it."""
    told = [["x-test-direct-peer", direct(request)]] if "direct_peer" in request else []
    sent = {**request, "headers": [*request.get("headers", []), *told], "direct_peer": "127.0.0.1"}
    sent.pop("envoy_client", None)
    return sent


def explain(node, sent, config_file, snapshot, folder):
    """What `waybill explain` says about a request to the node."""
    config, request = folder / "config.json", folder / "request.json"
    config.write_text(json.dumps(config_file))
    request.write_text(json.dumps(sent))
    command = [WAYBILL, "explain", "--config", config, "--request", request, "--json"]
    command += ["--snapshot", snapshot.file] if snapshot else []
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **node.environment, **bootstrap.process_environment([node])})
    assert done.returncode == 0, f"waybill explain failed:\n{done.stderr}"
    return json.loads(done.stdout)


def owned(headers):
    """All headers but Envoy's own, in no order, with what the clock and chance put in taken out."""
    kept = Counter()
    for name, value in headers:
        if not name.startswith(":") and name.lower() not in ADDED_BY_ENVOY:
            kept[name.lower(), timeless(value)] += 1
    return kept


def timeless(value):
    if isinstance(value, dict):
        return json.dumps(value)
    for pattern, replacement in MOMENTS:
        value = pattern.sub(replacement, value)
    return value


def check_forwarded(expect, received):
    forwarded = [(name.lower(), value) for name, value in received["headers"]]
    if "path" in expect:
        assert received["path"] == expect["path"]
    for name, wanted in expect.get("headers", {}).items():
        check_header(name, [value for other, value in forwarded if other == name.lower()], wanted)
    absent = {spelled(name) for name in expect.get("absent", [])}
    assert not [name for name, _ in forwarded if spelled(name) in absent]


def spelled(name):
    """A header's name in the one spelling that stands for all that receivers treat alike."""
    return name.lower().replace("_", "-")


def check_header(name, values, wanted):
    """A node sets each of its headers once: two copies are as wrong as none."""
    assert len(values) == 1, f"{name}: {len(values)} values: {values}"
    if isinstance(wanted, dict) and "contains" in wanted:
        for part in wanted["contains"]:
            assert part in values[0], f"{name} lacks {part!r}"
    else:
        assert values[0] == wanted, name


def check_response(expect, response):
    for name, wanted in expect.get("headers", {}).items():
        check_header(name, [value for other, value in response.headers if other == name.lower()], wanted)
    if "body" in expect:
        check_contained(expect["body"], response.json())


def check_contained(wanted, found, path="$"):
    """Every member of `wanted` stands in `found`, which may have more."""
    if isinstance(wanted, dict) and "contains" in wanted:
        for part in wanted["contains"]:
            assert part in found, f"{path} lacks {part!r}"
    elif isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{path}.{key} is missing"
            check_contained(value, found[key], f"{path}.{key}")
    else:
        assert found == wanted, path
