"""A third party reads a chain: the verifier that stands in docs/chain.md, on requests that went through three nodes."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import time

import pytest

import relay
from harness import ROOT, WAYBILL
from relay import AUTHORITY, EDGE, INGRESS, TRANSIT

DOCUMENT = (ROOT / "docs" / "chain.md").read_text()
PROVEN = [f"{EDGE} for c-9, full: proven", f"{TRANSIT} for rb-77, partial: proven"]


def block(language, start):
    """The document's code block in that language that begins so."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    [found] = [text for text in blocks if text.startswith(start)]
    return found


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    """Runs the document's verifier; gives its exit code and its lines."""
    folder = tmp_path_factory.mktemp("verifier")
    (folder / "verify_chain.py").write_text(block("python", '"""Who carried'))

    def run(request, nodes, name=AUTHORITY[INGRESS]):
        (folder / "request.json").write_text(json.dumps(request))
        (folder / "nodes.json").write_text(json.dumps(nodes))
        done = subprocess.run(
            [sys.executable, "verify_chain.py", "request.json", "nodes.json", name],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def lab(start):
    return start(*relay.nodes())


@pytest.fixture
def arrived(lab):
    """What reaches the provider of a request that went through both resellers."""
    first = lab.play(EDGE, relay.request(EDGE))
    return relay.handed_on(lab.play(TRANSIT, relay.handed_on(first, TRANSIT)), INGRESS)


NODES = {"nodes": [relay.register_node(EDGE, "reseller-b"), relay.register_node(TRANSIT, "acme")]}


def changed(request, **changes):
    """The request with headers replaced by what a function makes of each, or left out where that is nothing."""
    headers = [[name, changes.get(name.replace("-", "_"), str)(value)] for name, value in request["headers"]]
    return {"time": int(time.time()), **request, "headers": [pair for pair in headers if pair[1] is not None]}


def test_a_whole_chain_is_proven(lab, arrived, verifier):
    assert verifier(changed(arrived), NODES) == (0, PROVEN)
    event = lab.play(INGRESS, arrived).event
    assert (event["verdict"], event["chain"], [hop["proven"] for hop in event["hops"]]) == ("allow", "full", [True, True])


def flip(text, at):
    """The text with the first byte of one of its byte sequences altered."""
    sequence = re.findall(r":([A-Za-z0-9+/]{8,}=*):", text)[at]
    data = bytearray(base64.b64decode(sequence))
    data[0] ^= 1
    return text.replace(sequence, base64.b64encode(data).decode())


# what is done to the trail; what is said of the first hop
TRAILS = {
    "no trail": (lambda text: None, "nothing was shown of it"),
    "a hop left empty": (lambda text: "()", "nothing was shown of it"),
    "one member too many": (lambda text: f"(), {text}", "nothing was shown of it"),
    "another tag": (lambda text: flip(text, 0), None),
    "another signature": (lambda text: flip(text, 1), "the next hop names another signature"),
    "another authority": (lambda text: text.replace("gateway.", "gatewax."), "its signature doesn't verify"),
    "another nonce": (lambda text: text.replace('nonce=\\"', 'nonce=\\"x'), "its signature doesn't verify"),
    "another time": (lambda text: re.sub(r"created=\d+", lambda at: f"created={int(at[0][8:]) - 1}", text), "its signature doesn't verify"),
    "a longer life": (lambda text: re.sub(r"created=\d+", "created=1700000000", text), "it is to last too long"),
    "another node's key": (lambda text: text.replace(relay.thumbprint(EDGE), relay.thumbprint(TRANSIT)), "its key isn't this node's"),
}


@pytest.mark.parametrize("name", TRAILS)
def test_an_altered_trail_leaves_its_hop_unproven(lab, arrived, verifier, name):
    change, why = TRAILS[name]
    request = changed(arrived, compliance_trail=change)
    code, [first, second] = verifier(request, NODES)
    assert code == 1
    assert first.startswith(f"{EDGE} for c-9, full: UNPROVEN, {why or ''}")
    assert second == PROVEN[1]
    # the node says the same of the same bytes
    played = lab.play(INGRESS, {**arrived, "headers": request["headers"]})
    assert "chain.unproven" in [finding["code"] for finding in played.event["findings"]]
    assert [hop["proven"] for hop in played.event["hops"]] == [False, True]


def test_an_altered_signature_proves_nothing_of_the_signer(arrived, verifier):
    altered = {
        "the tag": {"compliance_tag": lambda text: text.replace('"SG"', '"JP"')},
        "the chain": {"compliance_chain": lambda text: text.replace("c-9", "c-8")},
        "the signature": {"signature": lambda text: flip(text, 0)},
        "its parameters": {"signature_input": lambda text: text.replace('nonce="', 'nonce="x')},
    }
    for what, change in altered.items():
        code, lines = verifier(changed(arrived, **change), NODES)
        assert (code, lines[1]) == (1, f"{TRANSIT} for rb-77, partial: UNPROVEN, its signature doesn't verify"), what
    for other in ({"method": "GET"}, {"path": "/v1/other"}):
        code, lines = verifier(changed({**arrived, **other}), NODES)
        assert code == 1 and all(line.endswith("UNPROVEN, its signature doesn't verify") for line in lines), other
    for seconds in (-60, 120):
        code, lines = verifier({**changed(arrived), "time": int(time.time()) + seconds}, NODES)
        assert (code, lines[1]) == (1, f"{TRANSIT} for rb-77, partial: UNPROVEN, it was signed at another time")
    code, lines = verifier(changed(arrived), {"nodes": NODES["nodes"][:1]})
    assert (code, lines[1]) == (1, f"{TRANSIT} for rb-77, partial: UNPROVEN, its key isn't this node's")
    code, lines = verifier(changed(arrived), NODES, "other.example")
    assert (code, lines) == (1, ["nothing of it holds: it is addressed to somebody else"])


def test_an_invented_hop_is_told_from_a_proven_one(arrived, verifier):
    """acme puts a customer of its own choice behind reseller-b, and signs that."""
    invented = hashlib.sha256(b"nothing").digest()
    chain = (
        f'"{EDGE}";customer="c-1";attest=full, '
        f'"{TRANSIT}";customer="rb-77";attest=partial;prev=:{base64.b64encode(invented).decode()}:'
    )
    request = changed(arrived, compliance_chain=lambda _: chain)
    fields = relay.fields(request["headers"])
    params = fields["signature-input"].removeprefix("cmp=")
    base = [
        f'"@method": {request["method"]}', f'"@authority": {AUTHORITY[INGRESS]}', f'"@path": {request["path"]}',
        f'"compliance-tag": {fields["compliance-tag"]}', f'"compliance-chain": {chain}', f'"@signature-params": {params}',
    ]  # fmt: skip
    signature = base64.b64encode(relay.secret(TRANSIT).sign("\n".join(base).encode())).decode()
    code, lines = verifier(changed(request, signature=lambda _: f"cmp=:{signature}:"), NODES)
    assert (code, lines) == (1, [f"{EDGE} for c-1, full: UNPROVEN, the next hop names another signature", PROVEN[1]])


def test_the_documents_example_holds(verifier):
    """It stands there whole, so it can be tried; it is still what three nodes make."""
    request, nodes = json.loads(block("json", '{"method"')), json.loads(block("json", '{"nodes"'))
    assert verifier(request, nodes) == (0, PROVEN)
    assert "".join(f"{line}\n" for line in PROVEN) == block("text", PROVEN[0])
    code, lines = verifier(changed(request, compliance_trail=lambda text: flip(text, 1)), nodes)
    assert code == 1 and "UNPROVEN" in lines[0] and lines[1] == PROVEN[1]


def test_the_desk_says_the_same(tmp_path):
    request = json.loads(block("json", '{"method"'))
    config = tmp_path / "provider.json"
    config.write_text(json.dumps(relay.configurations()[INGRESS]))
    for change, proven in [(str, [True, True]), (lambda text: flip(text, 1), [False, True])]:
        captured = tmp_path / "request.json"
        captured.write_text(json.dumps(changed(request, compliance_trail=change)))
        command = [WAYBILL, "verify-tag", "--config", config, "--request", captured, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == (0 if all(proven) else 1), done.stderr
        assert [hop["proven"] for hop in json.loads(done.stdout)["hops"]] == proven


def test_the_documents_example_is_what_nodes_make(arrived):
    shown = json.loads(block("json", '{"method"'))
    assert sorted(relay.fields(shown["headers"])) == sorted(relay.fields(arrived["headers"]))
    for name, value in relay.fields(shown["headers"]).items():
        assert shape(value) == shape(relay.fields(arrived["headers"])[name]), name


def shape(value):
    """A header's value without what differs each time."""
    value = re.sub(r':[A-Za-z0-9+/]{8,}=*:', ":…:", value)
    value = re.sub(r'(nonce|policy)=(\\?)"[^"]+"', r'\1=\2"…\2"', value)
    return re.sub(r"((?:created|expires)=|@)\d{10}", r"\1…", value)
