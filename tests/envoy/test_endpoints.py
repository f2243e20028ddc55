"""What a node answers itself, to anybody: its public keys, and what it is. Bad keys stop Envoy at start."""

import json
import subprocess
import time

import jsonschema
import pytest

from bootstrap import process_environment
from harness import ROOT, WAYBILL, configuration, node, request, validated

DIRECTORY = "/.well-known/http-message-signatures-directory"
DISCLOSURE = "/.well-known/waybill/disclosure"
SIGNING = {"keys": [{"env": "SIGNING_KEY"}, {"env": "NEXT_KEY"}]}


def keygen(*arguments):
    return subprocess.run([WAYBILL, "keygen", *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def keys():
    """One that signs, one that will, and one that no longer does."""
    future = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 30 * 86400))
    return {"now": keygen(), "next": keygen("--not-before", future), "gone": keygen("--expires", "2020-01-01T00:00:00Z")}


@pytest.fixture(scope="module")
def lab(start, keys):
    later = json.dumps({"keys": [json.loads(keys["next"]), json.loads(keys["gone"])]})
    environment = {"SIGNING_KEY": keys["now"], "NEXT_KEY": later}
    disclosure = {"operator": "Acme Pte. Ltd.", "appeal_url": "https://acme.example/appeal", "retention": "90 days"}
    endpoints = {"ready": "off", "directory": "/keys", "disclosure": "off"}
    return start(
        node("signing", configuration(tag=SIGNING, disclosure=disclosure), environment=environment),
        node("moved", configuration(endpoints=endpoints)),
    )


def test_directory(lab, keys):
    """The keys that count now or will, nothing private, for anybody; the upstream never hears of it."""
    played = lab.play("signing", {"path": DIRECTORY})
    assert (played.response.status, played.received, played.event) == (200, None, None)
    headers = dict(played.response.headers)
    assert headers["content-type"] == "application/http-message-signatures-directory+json"
    assert headers["cache-control"] == "public, max-age=3600"
    published = json.loads(played.response.body)["keys"]
    assert [key["x"] for key in published] == [json.loads(keys[name])["x"] for name in ("now", "next")]
    assert all("d" not in key and key["use"] == "sig" for key in published)
    assert lab.play("signing", {"method": "HEAD", "path": DIRECTORY}).response.body == b""


def test_disclosure(lab):
    """Who a refused caller has to do with."""
    refused = lab.play("signing", {"path": "/v1/messages"})
    assert refused.response.status == 401
    played = lab.play("signing", {"path": f"{DISCLOSURE}?from=refusal"})
    assert (played.response.status, played.received) == (200, None)
    document = json.loads(played.response.body)
    jsonschema.validate(document, json.loads((ROOT / "docs" / "disclosure.schema.json").read_text()))
    assert document["policy"] == refused.event["policy"]
    assert (document["operator"], document["contact"], document["retention"]) == ("Acme Pte. Ltd.", None, "90 days")
    assert document["directory"] == DIRECTORY


def test_moved_and_off(lab):
    """A path that is off is a request like any other."""
    assert lab.play("moved", {"path": "/keys"}).response.body == b'{"keys":[]}'
    for path in (DIRECTORY, DISCLOSURE, "/.well-known/waybill/ready"):
        assert lab.play("moved", {"path": path}).response.status == 401


def test_the_key_is_announced(lab, keys):
    log = lab.log.read_text()
    assert json.loads(keys["now"])["kid"] in log
    assert not any(json.loads(key)["d"] in log for key in keys.values())


@pytest.mark.parametrize("environment", [{}, {"SIGNING_KEY": "very-secret", "NEXT_KEY": '{"keys": []}'}])
def test_bad_keys_stop_envoy_and_say_why(tmp_path, certificates, environment):
    edge = node("edge", configuration(tag=SIGNING), environment=environment)
    status, log = validated(tmp_path, edge, certificates, **process_environment([edge]))
    assert status != 0
    assert "$.tag.keys[0].env" in log and "$.tag.keys[1].env" in log
    assert "very-secret" not in log


def test_requests_go_on(lab):
    assert lab.play("signing", request()).response.status == 200
