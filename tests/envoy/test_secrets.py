"""Signing keys from secrets of Envoy's, which only a module reads: over SDS a leaked key is replaced in a running node."""

import contextlib
import json
import os
import re
import subprocess
import threading
import time

import pytest

import wire
from bootstrap import TYPES, Node, bootstrap
from chains import Key, verify
from harness import FILTER, HOST, ROOT, Envoy, command_line, configuration, request, until

pytestmark = pytest.mark.skipif(HOST != "module", reason="only a module reads secrets: WAYBILL_HOST=module")
NAME = "signing-key"
NODE = "gateway.acme.example"
UPSTREAM = "api.provider.example"
LEAKED, NEXT = Key(1), Key(2)
SECONDS = 20


def secret(text):
    return {"@type": f"{TYPES}.transport_sockets.tls.v3.Secret", "name": NAME, "generic_secret": {"secret": {"inline_string": text}}}


def publish(path, text):
    """Puts a secret into place as an operator should: whole, by a rename."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"resources": [secret(text)]}))
    os.replace(new, path)


def over_sds(path):
    return {"secret": NAME, "sds_config": {"path_config_source": {"path": str(path)}}}


def signing_by(*keys):
    config = configuration(tag={"keys": list(keys)})
    config["node"]["upstream_authority"] = UPSTREAM
    return config


def sent():
    """The test's request, as bytes."""
    headers = [*request()["headers"], ("x-test-direct-peer", "127.0.0.1")]
    return wire.raw_request("GET", "/v1/messages", "localhost", headers)


def keyid(received):
    """The key that signed what reached the upstream. The signature verifies."""
    fields = dict(received["headers"])
    known = {key.keyid: (NODE, key.public) for key in (LEAKED, NEXT)}
    verify(received["headers"], known, "GET", UPSTREAM, "/v1/messages")
    return re.search(r';keyid="([^"]*)"', fields["signature-input"])[1]


def test_a_leaked_key_is_replaced_without_a_refused_request(start, tmp_path):
    """Two workers, four callers that never pause: each request is signed, first by the one key, then by the other."""
    path = tmp_path / "secret.json"
    publish(path, LEAKED.private_jwk())
    lab = start(Node("edge", signing_by(over_sds(path)), FILTER, onward={"host_rewrite_literal": UPSTREAM}), concurrency=2)
    statuses, ends = [], threading.Event()

    def call():
        while not ends.is_set():
            statuses.append(wire.exchange(lab.nodes["edge"].port, sent()).status)

    def signers():
        return {keyid(each) for each in lab.upstream.take()}

    lab.upstream.take()
    callers = [threading.Thread(target=call) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [caller.join() for caller in callers])
        stack.callback(ends.set)
        for caller in callers:
            caller.start()
        until(SECONDS, "requests", lambda: len(statuses) > 100, lab.log)
        assert signers() == {LEAKED.keyid}
        publish(path, NEXT.private_jwk())
        told = f"waybill: now signs by {NEXT.keyid}"
        until(SECONDS, "the next key in both workers", lambda: lab.log.read_text().count(told) == 2, lab.log)
        time.sleep(0.2)  # for requests that the upstream hasn't read yet
        assert signers() <= {LEAKED.keyid, NEXT.keyid}
        before = len(statuses)
        until(SECONDS, "more requests", lambda: len(statuses) > before + 400, lab.log)
        assert signers() == {NEXT.keyid}
    assert set(statuses) == {200}
    directory = wire.exchange(lab.nodes["edge"].port, wire.raw_request("GET", "/.well-known/http-message-signatures-directory", "localhost"))
    assert [key["x"] for key in directory.json()["keys"]] == [NEXT.x]


@pytest.mark.parametrize("wrong", ["{}", "not a key", ""], ids=["no key", "no JSON", "empty"])
def test_a_wrong_key_leaves_the_one_before_in_use(start, tmp_path, wrong):
    path = tmp_path / "secret.json"
    publish(path, LEAKED.private_jwk())
    lab = start(Node("edge", signing_by(over_sds(path)), FILTER, onward={"host_rewrite_literal": UPSTREAM}))
    assert keyid(lab.play("edge", request()).received) == LEAKED.keyid
    updates = f"sds.{NAME}.update_success"
    before = lab.stats(updates)[updates]
    publish(path, wrong)
    until(SECONDS, "Envoy to take it", lambda: lab.stats(updates)[updates] > before, lab.log)
    assert keyid(lab.play("edge", request()).received) == LEAKED.keyid
    log = lab.log.read_text()
    assert "waybill: new keys refused: " in log
    assert LEAKED.secret not in log
    publish(path, NEXT.private_jwk())
    until(SECONDS, "the next key", lambda: keyid(lab.play("edge", request()).received) == NEXT.keyid, lab.log)


def test_a_key_beside_it_from_the_environment_goes_on(start, tmp_path):
    """The secret has the later window, so it signs; when it goes, the other does."""
    path = tmp_path / "secret.json"
    publish(path, NEXT.private_jwk(nbf=1))
    config = signing_by({"env": "SIGNING_KEY"}, over_sds(path))
    node = Node("edge", config, FILTER, environment={"SIGNING_KEY": LEAKED.private_jwk()}, onward={"host_rewrite_literal": UPSTREAM})
    lab = start(node)
    assert keyid(lab.play("edge", request()).received) == NEXT.keyid
    publish(path, NEXT.private_jwk(nbf=1, exp=2))
    until(SECONDS, "the other key", lambda: keyid(lab.play("edge", request()).received) == LEAKED.keyid, lab.log)


def test_nothing_passes_before_the_key_came(start):
    """The server of secrets is down. Envoy opens the listener all the same, after a while."""
    source = {"api_config_source": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "sds"}}]}}
    key = {"secret": NAME, "sds_config": {**source, "initial_fetch_timeout": "0.3s", "resource_api_version": "V3"}}
    lab = start(Node("edge", signing_by(key), FILTER, clusters={"sds": 1}))
    refused = lab.play("edge", request())
    assert (refused.response.status, refused.received) == (503, None)
    ready = wire.exchange(lab.nodes["edge"].port, wire.raw_request("GET", "/.well-known/waybill/ready", "localhost"))
    assert ready.status == 503
    assert "signs by a key that is still to come" in lab.log.read_text()


def test_a_secret_of_the_bootstrap(tmp_path, upstream, certificates):
    """Without `sds_config` it is one that the bootstrap has; a name that it hasn't is refused at start."""
    node = Node("edge", signing_by({"secret": NAME}), FILTER, onward={"host_rewrite_literal": UPSTREAM})
    config = bootstrap([node], upstream.port, certificates)
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(config))
    done = subprocess.run([*command_line(path), "--mode", "validate"], capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert done.returncode == 1
    assert "no such static secret" in done.stderr
    assert f"waybill: configuration refused: $.tag.keys[0].secret: Envoy doesn't give the secret `{NAME}`" in done.stderr

    config["static_resources"]["secrets"] = [{key: value for key, value in secret(LEAKED.private_jwk()).items() if key != "@type"}]
    with Envoy(tmp_path, config) as envoy:
        upstream.take()
        assert wire.exchange(envoy.ports()["edge"], sent()).status == 200
        [received] = upstream.take()
        assert keyid(received) == LEAKED.keyid
