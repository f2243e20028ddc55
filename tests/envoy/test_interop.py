"""What a node signs verifies with others' implementations of RFC 9421, and what they sign passes a node.

The others: http-message-signatures from PyPI, and the two npm packages of tests/interop.
"""

import base64
import datetime
import json
import subprocess
import time
import types
import uuid
from pathlib import Path

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, InvalidSignature, algorithms
from http_message_signatures.resolvers import MappingKeyResolver

import relay

PEER = Path(__file__).resolve().parent.parent / "interop" / "peer.mjs"
COMPONENTS = ["@method", "@authority", "@path", "compliance-tag", "compliance-chain"]
TAG = "llm-reseller-compliance"


class PyPI:
    """http-message-signatures of PyPI."""

    def sign(self, name, message, components, parameters):
        keys = MappingKeyResolver(public_keys={}, private_keys={parameters["keyid"]: relay.secret(name)})
        signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=keys)
        created, expires = (datetime.datetime.fromtimestamp(parameters[moment], datetime.UTC) for moment in ("created", "expires"))
        signed = types.SimpleNamespace(**{**message, "headers": dict(message["headers"])})
        signer.sign(
            signed, key_id=parameters["keyid"], created=created, expires=expires, nonce=parameters["nonce"],
            tag=parameters["tag"], label="cmp", covered_component_ids=components,
        )  # fmt: skip
        return {"signature-input": signed.headers["Signature-Input"], "signature": signed.headers["Signature"]}

    def verifies(self, name, message):
        keys = MappingKeyResolver(public_keys={relay.thumbprint(name): relay.secret(name).public_key()}, private_keys={})
        verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=keys)
        try:
            verifier.verify(types.SimpleNamespace(**message), expect_tag=TAG, require_components=COMPONENTS)
        except InvalidSignature:
            return False
        return True


class Npm:
    """A package of tests/interop."""

    def __init__(self, package):
        self.package = package

    def ask(self, **question):
        document = json.dumps({"package": self.package, **question})
        done = subprocess.run(["node", PEER], input=document, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sign(self, name, message, components, parameters):
        key = relay.private_jwk(name)
        return self.ask(sign={"private_key": key, **message, "components": components, "parameters": parameters})

    def verifies(self, name, message):
        return self.ask(verify={"public_key": relay.public_jwk(name), **message, "components": COMPONENTS})["verified"]


PEERS = {"PyPI": PyPI(), "http-message-sig": Npm("http-message-sig"), "http-message-signatures": Npm("http-message-signatures")}


@pytest.fixture(scope="module")
def lab(start):
    return start(*relay.nodes())


def as_peers_see_it(received, authority):
    """A request that left a node, with the name that its next hop is called by."""
    url = f"https://{authority}{received['path']}"
    return {"method": received["method"], "url": url, "headers": relay.fields(received["headers"])}


def altered(message):
    """The same request with each thing that is signed altered once."""
    headers = message["headers"]
    yield {**message, "method": "GET"}
    yield {**message, "url": message["url"].replace("https://", "https://x")}
    yield {**message, "url": message["url"] + "x"}
    yield {**message, "headers": {**headers, "compliance-tag": headers["compliance-tag"].replace('"SG"', '"JP"')}}
    yield {**message, "headers": {**headers, "compliance-chain": headers["compliance-chain"].replace("c-9", "c-8")}}
    yield {**message, "headers": {**headers, "signature-input": headers["signature-input"].replace("expires=1", "expires=2")}}


@pytest.mark.parametrize("peer", PEERS)
def test_what_a_node_signs_verifies_elsewhere(lab, peer):
    first = lab.play(relay.EDGE, relay.request(relay.EDGE))
    second = lab.play(relay.TRANSIT, relay.handed_on(first, relay.TRANSIT))
    for name, played, next_hop in [(relay.EDGE, first, relay.TRANSIT), (relay.TRANSIT, second, relay.INGRESS)]:
        message = as_peers_see_it(played.received, relay.AUTHORITY[next_hop])
        assert PEERS[peer].verifies(name, message), message
        for wrong in altered(message):
            assert wrong != message
            assert not PEERS[peer].verifies(name, wrong), wrong


def signed_by(peer, components=COMPONENTS, **changes):
    """A request whose tag, chain and signature were made elsewhere, as reseller-b's."""
    headers = {
        "compliance-tag": f'node="{relay.EDGE}", customer="c-9", screening=passed, origin="SG", attest=full, at=@{int(time.time())}',
        "compliance-chain": f'"{relay.EDGE}";customer="c-9";attest=full',
    }
    now = int(time.time())
    parameters = {
        "created": now, "expires": now + 60, "nonce": uuid.uuid4().hex, "alg": "ed25519",
        "keyid": relay.thumbprint(relay.EDGE), "tag": TAG, **changes,
    }  # fmt: skip
    message = {"method": "POST", "url": f"https://{relay.AUTHORITY[relay.TRANSIT]}/v1/messages", "headers": headers}
    return {**headers, **PEERS[peer].sign(relay.EDGE, message, components, parameters)}


def at_transit(lab, headers):
    return lab.play(relay.TRANSIT, relay.request(relay.TRANSIT, [[name, value] for name, value in headers.items()]))


@pytest.mark.parametrize("components", [COMPONENTS, COMPONENTS[::-1]], ids=["in our order", "in another"])
@pytest.mark.parametrize("peer", PEERS)
def test_what_is_signed_elsewhere_passes(lab, peer, components):
    played = at_transit(lab, signed_by(peer, components))
    assert played.response.status == 200, played.response.body
    assert (played.event["verdict"], played.event["chain"]) == ("allow", "full")
    assert played.event["hops"] == [{"node": relay.EDGE, "customer": "c-9", "attest": "full", "proven": True}]
    assert 'attest=partial, chain=full' in relay.fields(played.received["headers"])["compliance-tag"]


@pytest.mark.parametrize("peer", PEERS)
def test_what_is_signed_elsewhere_and_altered_is_refused(lab, peer):
    headers = signed_by(peer)
    signature = bytearray(base64.b64decode(headers["signature"].split(":")[1]))
    signature[0] ^= 1
    wrong = {
        "compliance-tag": headers["compliance-tag"].replace("SG", "JP"),
        "compliance-chain": headers["compliance-chain"].replace("c-9", "c-8"),
        "signature-input": headers["signature-input"].replace('nonce="', 'nonce="x'),
        "signature": f"cmp=:{base64.b64encode(signature).decode()}:",
    }
    for name, value in wrong.items():
        assert value != headers[name]
        played = at_transit(lab, {**headers, name: value})
        assert (played.response.status, played.event["reason"]) == (403, "chain.invalid"), name
    assert at_transit(lab, headers).response.status == 200, "refusing the others used it up"
    assert at_transit(lab, headers).event["reason"] == "chain.replayed"
