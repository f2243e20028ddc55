"""What Envoy does with a configuration: a bad one never serves, a bad update changes nothing."""

import hashlib
import json
import os
import re
import subprocess

import pytest

from bootstrap import discovered
from harness import KEY, WAYBILL, configuration, node, request, until, validated

BAD = configuration(identity={"sources": [{"header": "x-api-key"}], "sauces": []}, policy={"mode": "enforced"})
PLACES = ["$.identity.sauces", "$.policy.mode"]
DEADLINE_SECONDS = 30


@pytest.mark.parametrize("mode", ["serve", "validate"])
def test_bad_configuration_stops_envoy_and_says_why(tmp_path, certificates, mode):
    status, log = validated(tmp_path, node("edge", BAD), certificates, mode)
    assert status != 0
    assert_says_why(log)


def test_the_module_is_small():
    """What docs/operating.md promises."""
    assert WAYBILL.with_name("waybill.wasm").stat().st_size <= 650_000


def assert_says_why(log):
    """Every mistake with its place, and what to do about it."""
    for place in PLACES:
        assert place in log
    assert "help: did you mean" in log


def test_updates(start, tmp_path):
    """A bad update is refused and said; the old configuration serves on; a good one takes effect."""
    path = tmp_path / "waybill.json"
    edge = node("edge", configuration(), discovery=path)
    publish(path, edge)
    lab = start(edge)
    assert lab.play("edge", request()).response.status == 200

    publish(path, node("edge", BAD))
    until(DEADLINE_SECONDS, "the bad update's end", lambda: updates(lab, "update_rejected|config_fail") > 0, lab.log)
    assert_says_why(lab.log.read_text())
    assert lab.play("edge", request()).response.status == 200

    before = updates(lab, "update_success")
    publish(path, node("edge", configuration(identity={"sources": [{"header": "x-other-key"}]})))
    until(DEADLINE_SECONDS, "the update to be taken", lambda: updates(lab, "update_success") > before, lab.log)
    assert lab.play("edge", request()).response.status == 401
    assert lab.play("edge", request(headers=[["x-other-key", KEY]])).response.status == 200


def publish(path, node):
    """Puts a configuration into place as an operator should: whole, by a rename."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(discovered(node)))
    os.replace(new, path)


def updates(lab, kind):
    return sum(lab.stats(f"extension_config_discovery.*({kind})").values())


def test_two_nodes_and_their_metrics(start):
    """Two nodes in one process don't mix; Prometheus sees labels, and only codes of the catalogue."""
    strict = configuration(policy={"mode": "enforce", "actions": {"geo.undeclared": "block"}})
    soft = configuration(policy={"mode": "report", "actions": {"geo.undeclared": "block"}})
    lab = start(node("plain", configuration()), node("strict", strict), node("soft", soft))
    japan = request(country="JP")
    softened = lab.play("soft", japan).event
    assert (softened["verdict"], softened["would_be"]) == ("report", "block")
    assert lab.play("plain", japan).event["verdict"] == "report"
    assert lab.play("strict", japan).event["verdict"] == "block"
    assert lab.play("strict", request()).event["verdict"] == "allow"

    metrics = lab.admin("/stats/prometheus?filter=waybill")
    for line in (
        'waybill_requests_total{verdict="allow"} 1',
        'waybill_requests_total{verdict="report"} 2',
        'waybill_requests_total{verdict="block"} 1',
        'waybill_would_be_total{action="block"} 1',
        'waybill_would_be_total{action="reroute"} 0',
        'waybill_findings_total{code="geo.undeclared"} 3',
    ):
        assert line in metrics.splitlines()
    codes = re.findall(r'waybill_findings_total\{code="([^"]+)"\}', metrics)
    assert [code for code in codes if code not in catalogue()] == []


def test_events_are_chained(start):
    """Each event carries the digest of the line before, so a missing or altered line shows."""
    lab = start(node("edge", configuration()))
    for country in ("SG", "JP", "CN", "SG"):
        lab.play("edge", request(country=country))
    lines = lab.events("edge")
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 4))
    assert len({event["vm"] for event in events}) == 1
    assert [event["prev"] for event in events[1:]] == [hashlib.sha256(line.encode()).hexdigest() for line in lines[:-1]]


def catalogue():
    """All codes, as the configuration's schema publishes it."""
    done = subprocess.run([WAYBILL, "schema"], capture_output=True, text=True, check=True)
    schema = json.loads(done.stdout)
    return schema["properties"]["policy"]["properties"]["actions"]["propertyNames"]["enum"]
