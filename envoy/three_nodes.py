"""The demo's second act: a request through two resellers to a provider, each with a node, and what becomes of those who
cheat.

The nodes are four listeners of an Envoy of their own (chain.yaml). They can't be made to lie, so the cheats are played
from here: somebody between A and the provider, who read what A sent (A's Envoy logs it, for this), and a reseller A
that signs what it likes with its own key. As in the first act, what is written here is what ought to become of each.
"""

import base64
import hashlib
import http.client
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import prepare
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from stage import (
    CALL,
    HOST,
    Failure,
    event_of,
    exchange,
    last_words,
    lines_since,
    print_rows,
    print_wrapped,
    start_envoy,
    title,
    wait_until_ready,
)

CONFIG = Path(os.path.relpath(prepare.by_host(prepare.CHAIN_CONFIG, HOST)))
EVENTS, SENT = Path("dist/chain-events.jsonl"), Path("dist/chain-sent.jsonl")
LOG = Path("dist/chain-envoy.log")
REQUEST = Path("dist/chain-request.json")

# The ports of chain.yaml, and which of its filters is the provider's.
ADMIN, B, C, A, PROVIDER = PORTS = 9902, 10010, 10011, 10012, 10013
PROVIDER_FILTER = 4

NODES = {"reseller-b.example": "B", "reseller-c.example": "C", "acme.example": "A", "provider.example": "provider"}
KEY_OF_A = "demo-anthropic-key"  # for its account at the provider, as chain.yaml's cluster `provider` puts it in
SINGAPORE, BEIJING = "165.21.100.88", "1.2.4.8"
COVERED = '("@method" "@authority" "@path" "compliance-tag" "compliance-chain")'


@dataclass(frozen=True)
class Scene:
    """One request of the story, and what each node that it comes to ought to decide."""

    what: str
    verdicts: dict[str, str]
    reason: str | None
    send: Callable[[dict | None], int]  # sends it, knowing what A sent on in the first scene; gives the status


@dataclass(frozen=True)
class Played:
    """What became of it: the caller's status, and the event of each node that it came to."""

    scene: Scene
    status: int
    events: dict[str, dict]

    def verdicts(self):
        return {name: event["verdict"] for name, event in self.events.items()}

    def last(self):
        """The event of the node where it ended."""
        return self.events.get("provider") or self.events.get("A") or {}

    def faults(self):
        """Every way in which this isn't what the story expects."""
        facts = [
            ("verdicts", self.verdicts(), self.scene.verdicts),
            ("reason", self.last().get("reason"), self.scene.reason),
            ("status", self.status, 403 if "block" in self.scene.verdicts.values() else 200),
        ]
        yield from (f"{name} is {is_now!r}, not {expected!r}" for name, is_now, expected in facts if is_now != expected)


def tell(running, envoy):
    for log in (EVENTS, SENT):
        log.unlink(missing_ok=True)
    process = start_envoy(running, envoy, CONFIG, LOG, prepare.chain_keys())
    with last_words(LOG) as hint:
        wait_until_ready(process, "the Envoy of three nodes", ADMIN, "/ready", hint)
    title("Who carried it: from a customer through resellers B and A to the provider, a node at each")
    sent, played = None, []
    for scene in STORY:
        played.append(play(scene, sent))
        sent = sent or what_a_sent()
    print_rows(("", "what is sent", "B or C", "A", "provider", "reason"), [row(*each) for each in enumerate(played, 1)])
    faults = [f"  {n}. {each.scene.what}: {fault}" for n, each in enumerate(played, 1) for fault in each.faults()]
    if faults:
        raise Failure("\n".join(["not what the story expects:", *faults, f"  See {EVENTS} and {LOG}."]))
    print_chain("The chain of 1, as the provider sees it", played[0].last())
    print_chain(f"The chain of {len(played)}, in the same words: A has made it up", played[-1].last())
    print_sent(sent)


def play(scene, sent):
    before, expected = EVENTS.stat().st_size, len(scene.verdicts)
    try:
        status = scene.send(sent)
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"no answer for `{scene.what}`: {error!r}. {LOG} may say why.") from None
    lines = lines_since(EVENTS, before, lambda lines: len(lines) >= expected, f"too few events of `{scene.what}`")
    events = [event_of(line) for line in lines]
    return Played(scene, status, {NODES[event["node"]]: event for event in events})


# === honest requests ===


def customer(port, address=SINGAPORE, key="sk-demo-lotus-1"):
    """A caller without a node, by its key."""

    def play(_sent):
        headers = {"x-api-key": key, "x-forwarded-for": address, "content-type": "application/json"}
        return exchange(port, "POST", "/v1/messages", CALL, headers)[0].status

    return play


def what_a_sent():
    """The last request that A sent on, as pairs of names and values."""
    lines = lines_since(SENT, 0, bool, "nothing that A sent")
    return {name: value for name, value in lines[-1].items() if value is not None}


# === cheats ===


def to_provider(request):
    headers = {name: value for name, value in request.items() if not name.startswith(":")}
    headers |= {"host": request[":authority"], "x-forwarded-for": SINGAPORE, "x-api-key": KEY_OF_A}
    return exchange(PROVIDER, request[":method"], request[":path"], CALL, headers)[0].status


def altered(sent):
    """Somebody on the way puts another customer into the chain."""
    return to_provider(sent | {"compliance-chain": sent["compliance-chain"].replace('"lotus"', '"heron"')})


def invented(sent):
    """A says that B stood before it, and shows a signature of B's that B never made. A's own signature is good."""
    made_up = secrets.token_bytes(64)
    now = int(time.time())
    prev = encoded(hashlib.sha256(made_up).digest())
    chain = '"reseller-b.example";customer="heron";attest=full, '
    chain += f'"acme.example";customer="rb-77";attest=partial;prev=:{prev}:'
    tag = sent["compliance-tag"].rpartition(", at=")[0] + f", at=@{now}"
    b_tag = f'node="reseller-b.example", customer="heron", screening=passed, attest=full, findings=(), at=@{now}'
    b_params = escaped(parameters(now, prepare.public_key("WAYBILL_KEY_B")["kid"]))
    trail = f'(:{encoded(b_tag.encode())}: :{encoded(made_up)}:);authority="gateway.acme.example";params="{b_params}"'
    request = sent | {"compliance-tag": tag, "compliance-chain": chain, "compliance-trail": trail}
    return to_provider(signed(request, now, json.loads(prepare.chain_keys()["WAYBILL_KEY_A"])))


def signed(request, now, key):
    """RFC 9421, as docs/chain.md describes this profile."""
    params = parameters(now, key["kid"])
    values = [("@method", ":method"), ("@authority", ":authority"), ("@path", ":path")]
    values += [(name, name) for name in ("compliance-tag", "compliance-chain")]
    base = "".join(f'"{component}": {request[name]}\n' for component, name in values) + f'"@signature-params": {params}'
    secret = base64.urlsafe_b64decode(key["d"] + "=")
    signature = Ed25519PrivateKey.from_private_bytes(secret).sign(base.encode())
    return request | {"signature-input": f"cmp={params}", "signature": f"cmp=:{encoded(signature)}:"}


def parameters(now, keyid):
    times = f'created={now};expires={now + 60};nonce="{secrets.token_urlsafe(16)}"'
    return f'{COVERED};{times};alg="ed25519";keyid="{keyid}";tag="llm-reseller-compliance"'


def encoded(data):
    return base64.b64encode(data).decode()


def escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


STORY = [
    Scene(
        "lotus, from Singapore, through B",
        {"B": "allow", "A": "allow", "provider": "allow"},
        None,
        customer(B),
    ),
    Scene(
        "the same through C, whose screening A hasn't seen",
        {"C": "allow", "A": "block"},
        "chain.unscreened-node",
        customer(C),
    ),
    Scene(
        "from D, a reseller without a node",
        {"A": "block"},
        "chain.missing",
        customer(A, key="sk-demo-reseller-d-1"),
    ),
    Scene(
        "lotus, from China: B says so and lets it pass",
        {"B": "report", "A": "block"},
        "geo.restricted",
        customer(B, BEIJING),
    ),
    Scene("what A sent in 1, altered on the way", {"provider": "block"}, "chain.invalid", altered),
    Scene("what A sent in 1, once more", {"provider": "block"}, "chain.replayed", to_provider),
    Scene("A says that this came through B", {"provider": "report"}, "chain.unproven", invented),
]


# === what is shown ===


def row(number, played):
    verdicts = played.verdicts()
    at = [verdicts.get("B") or verdicts.get("C") or "", verdicts.get("A", ""), verdicts.get("provider", "")]
    return (str(number), played.scene.what, *at, played.last().get("reason") or "")


def print_chain(heading, event):
    title(heading)
    hops = event["hops"]
    rows = []
    for place, hop in enumerate(hops, 1):
        if place == len(hops):
            proof = "signed this request"
        elif hop["proven"]:
            proof = "proven: its own signature is in the trail, and verifies"
        else:
            proof = f"not proven: the word of {hops[-1]['node']}, nothing else"
        rows.append((str(place), hop["node"], hop["customer"] or "", hop["attest"], proof))
    print_rows(("", "node", "carried it for", "attest", "and that is"), rows)
    worth = {
        "full": "the first node knows the customer and has screened it",
        "partial": "the first node knows the customer, not what stands behind it",
        "gateway": "nobody vouches for where it began",
    }[event["chain"]]
    print(f"\n  worth as a whole: {event['chain']} ({worth}); origin: {event['origin']}; verdict: {event['verdict']}")
    for finding in event["findings"]:
        print(f"  {finding['code']}: {finding['evidence']}")


def print_sent(sent):
    title("How it looked on the way from A to the provider in 1")
    for name in ("compliance-tag", "compliance-chain", "compliance-trail", "signature-input", "signature"):
        value = sent[name]
        print_wrapped(f"{name}: {value if len(value) < 400 else f'{value[:120]} … {value[-60:]}'}")
    headers = [[name, value] for name, value in sent.items() if not name.startswith(":")]
    request = {name: sent[f":{name}"] for name in ("method", "authority", "path")}
    # the country as Envoy's geoip filter would put it in
    request["headers"] = [*headers, ["x-forwarded-for", SINGAPORE], ["x-geo-country", "SG"]]
    request |= {"direct_peer": "127.0.0.1", "time": int(time.time())}
    REQUEST.write_text(json.dumps(request, indent=2, ensure_ascii=False) + "\n")
    print("\n  What of it holds, verified at the desk with the provider's register; and what its node decided, and why:")
    print(f"  dist/waybill verify-tag --config {CONFIG} --filter {PROVIDER_FILTER} --request {REQUEST}")
    print(f"  dist/waybill explain --config {CONFIG} --filter {PROVIDER_FILTER} --request {REQUEST}")
