"""Three nodes that a request goes through, and what hands it from one to the next.

    customer c-9 ──> reseller-b.example (edge) ──> acme.example (transit) ──> provider.example (ingress)

Each hop puts its own credential in and calls the next by its name, as a reseller's Envoy does.
"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import configuration, node

EDGE, TRANSIT, INGRESS = "reseller-b.example", "acme.example", "provider.example"
AUTHORITY = {EDGE: EDGE, TRANSIT: "gateway.acme.example", INGRESS: "api.provider.example"}
CREDENTIAL = {EDGE: "sk-test-customer", TRANSIT: "sk-test-reseller", INGRESS: None}
ORDER = [EDGE, TRANSIT, INGRESS]
SIGNED = ["compliance-tag", "compliance-chain", "signature-input", "signature"]
PASSED = {"status": "passed", "at": "2026-01-15T00:00:00Z", "until": "2099-12-31T00:00:00Z", "by": "test"}


def secret(name):
    """A well-known key for each node: the digest of its name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(name):
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url(secret(name).public_key().public_bytes_raw())}


def private_jwk(name):
    return {**public_jwk(name), "d": base64url(secret(name).private_bytes_raw())}


def thumbprint(name):
    """RFC 7638: of the required members, in order and without blanks."""
    jwk = public_jwk(name)
    text = json.dumps({member: jwk[member] for member in ("crv", "kty", "x")}, separators=(",", ":"))
    return base64url(hashlib.sha256(text.encode()).digest())


def register_node(name, customer):
    return {"id": name, "customer": customer, "screening": PASSED, "keys": [public_jwk(name)]}


def customer(name, kind="customer", credential=None):
    digests = ["sha256:" + hashlib.sha256(credential.encode()).hexdigest()] if credential else []
    common = {"id": name, "kind": kind, "credentials": digests, "screening": PASSED, "ownership": "clear"}
    return {**common, "declared": ["SG"]}


def signing(name, config):
    """The node's configuration with a key, and the environment that holds it."""
    return node(name, {**config, "tag": {"keys": [{"env": "KEY"}]}}, environment={"KEY": json.dumps(private_jwk(name))})


def configurations():
    """By node, from the first to the last; only the last doesn't sign."""
    edge = configuration(
        node={"id": EDGE, "upstream_authority": AUTHORITY[TRANSIT]},
        register={"customers": [customer("c-9", credential=CREDENTIAL[EDGE])]},
    )
    transit = configuration(
        node={"id": TRANSIT, "authorities": [AUTHORITY[TRANSIT]], "upstream_authority": AUTHORITY[INGRESS]},
        register={
            "customers": [customer("rb-77", "reseller", CREDENTIAL[TRANSIT])],
            "nodes": [register_node(EDGE, "rb-77")],
        },
    )
    ingress = configuration(
        node={"id": INGRESS, "authorities": [AUTHORITY[INGRESS]]},
        identity={"sources": [{"chain": True}]},
        register={
            "customers": [customer("acme", "reseller"), customer("reseller-b", "reseller")],
            "nodes": [register_node(TRANSIT, "acme"), register_node(EDGE, "reseller-b")],
        },
    )
    return {EDGE: edge, TRANSIT: transit, INGRESS: ingress}


def nodes():
    """The three listeners."""
    configs = configurations()
    return [signing(EDGE, configs[EDGE]), signing(TRANSIT, configs[TRANSIT]), node(INGRESS, configs[INGRESS])]


def request(name, headers=(), method="POST", path="/v1/messages"):
    """A request to a node: by its customer, or by the node before it, which hands `headers` on."""
    own = [["x-geo-country", "SG"], ["x-forwarded-for", "203.0.113.9"]]
    if CREDENTIAL[name]:
        own.append(["x-api-key", CREDENTIAL[name]])
    return {
        "method": method, "path": path, "authority": AUTHORITY[name], "headers": [*headers, *own], "direct_peer": "127.0.0.1",
    }  # fmt: skip


def handed_on(played, name):
    """What the next node gets of a request that one passed."""
    assert played.received, (played.response.status, played.response.body, played.event)
    headers = [pair for pair in played.received["headers"] if pair[0].lower().startswith(("compliance-", "signature"))]
    return request(name, headers, played.received["method"], played.received["path"])


def fields(headers):
    """The five headers of the chain, by name."""
    return {name.lower(): value for name, value in headers if name.lower().startswith(("compliance-", "signature"))}
