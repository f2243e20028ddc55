"""What signing and verifying cost, in CPU time per request: `./build.sh bench chain`.

First what signing, verifying and finding a signature again take inside Envoy's V8 (`tests/modules/speed`). Then one
Envoy with one worker answers by itself behind six listeners: no filter; Waybill with an unsigned tag, with one
signed once per customer, with one signed per request; and as the node of a reseller that sends no chain (which
the policy lets through), or one whose signature was verified before. Rounds are interleaved, as in request.py.
Nothing is asserted.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "envoy"))

import wire  # noqa: E402
from bootstrap import Node  # noqa: E402
from chains import Key, carried  # noqa: E402
from harness import ENVOY, FILTER, KEY, Lab, configuration, node  # noqa: E402
from load import CONNECTIONS, HEADERS, cpu_seconds, expect, h2load, interleaved, require  # noqa: E402

SPEED = os.environ.get("SPEED", "")
ROUNDS = int(os.environ.get("ROUNDS", "7"))
REQUESTS = 20_000
WARM_UP = 10_000
UNSIGNED, CUSTOMER, REQUEST = "unsigned tag", "signed per customer", "signed per request"
NO_CHAIN, VERIFIED = "reseller, no chain", "reseller, verified before"
CALLER = {"x-api-key": KEY, "x-forwarded-for": "203.0.113.9", "x-geo-country": "SG", "x-test-direct-peer": "127.0.0.1 203.0.113.9"}
PEER = {"p": {"seed": 5, "node": "peer.example"}}


def main():
    require(ENVOY=("Envoy", ENVOY), WAYBILL=("the filter", FILTER), SPEED=("tests/modules/speed as wasm", SPEED))
    environment = {"KEY": Key(4).private_jwk()}
    signing = {"keys": [{"env": "KEY"}], "binding": "customer"}
    signs = {"direct_response": True, "log": False, "environment": environment}
    lets_pass = {"actions": {"chain.missing": "allow"}}
    nodes = [
        Node("no filter", None, FILTER, direct_response=True, log=False),
        node(UNSIGNED, configuration(), direct_response=True, log=False),
        node(CUSTOMER, configuration(tag=signing), **signs),
        node(REQUEST, configuration(tag={**signing, "binding": "request"}), **signs),
        node(NO_CHAIN, behind_a_reseller(tag=signing, policy=lets_pass), **signs),
        node(VERIFIED, behind_a_reseller(tag=signing), **signs),
    ]
    with tempfile.TemporaryDirectory() as folder, wire.Upstream() as upstream, Lab(Path(folder), nodes, upstream, None) as lab:
        print(f"{in_v8()}\n\n{table(interleaved(ROUNDS, lab, load, WARM_UP, REQUESTS))}")


def in_v8():
    """Each taken alone, in a loop: the median of some."""
    speed = Node("speed", configuration(), Path(SPEED), log=False)
    with tempfile.TemporaryDirectory() as folder, wire.Upstream() as upstream, Lab(Path(folder), [speed], upstream, None) as lab:
        with urllib.request.urlopen(f"http://127.0.0.1:{lab.nodes['speed'].port}/chain") as answer:
            took = json.load(answer)
    assert took["verified"], took
    return (
        f"in V8: signing {took['sign'] / 1e3:.1f} us, verifying {took['verify'] / 1e3:.1f} us, "
        f"a signature verified before {took['seen'] / 1e3:.1f} us (promised: less than 5)"
    )


def behind_a_reseller(**changes):
    """The harness's configuration, its customer a reseller whose node signs once per customer."""
    config = configuration(**changes)
    [customer] = config["register"]["customers"]
    peer = {"id": PEER["p"]["node"], "customer": customer["id"], "keys": [Key(5).public_jwk()], "binding": "customer"}
    register = {"customers": [{**customer, "kind": "reseller"}], "nodes": [{**peer, "screening": customer["screening"]}]}
    return {**config, "register": register}


def load(lab, name, requests):
    """Microseconds of CPU time per request."""
    headers = {**HEADERS, **CALLER}
    authority = lab.nodes[name].config["node"]["id"] if lab.nodes[name].config else "a.example"
    if name == VERIFIED:
        request = {"method": "GET", "authority": authority, "path": "/v1/messages", "headers": []}
        case = {"keys": PEER, "carried": [{"by": "p", "customer": "c-9", "binding": "customer", "expires": 240}]}
        headers |= dict(carried(case, request, int(time.time())))
    headers[":authority"] = authority
    url = f"http://127.0.0.1:{lab.nodes[name].port}/v1/messages"
    cpu = cpu_seconds(lab.process.pid)
    expect(h2load("-n", requests, "-c", CONNECTIONS, url, headers=headers), f"{requests} 2xx")
    return (cpu_seconds(lab.process.pid) - cpu) / requests * 1e6


def table(rounds):
    """Medians over the rounds; differences and ratios are taken round by round."""

    def added(name, to="no filter"):
        return statistics.median(one - other for one, other in zip(rounds[name], rounds[to], strict=True))

    lines = [f"{'':26}{'CPU us':>8}{'added':>8}"]
    lines += [f"{name:26}{statistics.median(all_):8.2f}{added(name):8.2f}" for name, all_ in rounds.items()]
    ratio = statistics.median(
        (one - none) / (other - none)
        for one, other, none in zip(rounds[CUSTOMER], rounds[UNSIGNED], rounds["no filter"], strict=True)
    )
    lines += [
        f"signed once per customer, against unsigned: {ratio:.2f}x of what the node adds (promised: at most 1.2x)",
        f"signed per request, against once per customer: {added(REQUEST, CUSTOMER):.1f} us more (one Ed25519 signing)",
        f"a signature verified before, against no chain: {added(VERIFIED, NO_CHAIN):.1f} us more, with Envoy's part of five more headers",
        f"{ROUNDS} rounds of {REQUESTS} requests, one worker",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
