"""What one request can't show of chains: three nodes in a row, replays across workers, keys that change, what Envoy's
router does to a signed request, and hostile bytes.

    customer -> b (edge) -> a (transit) -> provider (ingress) -> upstream

Each is a listener of one Envoy; between them are real hops, over pipes. `tap-b` and `tap-a` are the same nodes, but what
they sign goes to the upstream, where a test reads it, to send it on as it likes.
"""

import hashlib
import json
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import chains
import wire
from harness import assert_unharmed, node, until

KEYS = {"b": 2, "c": 3, "d": 4, "r": 6, "a": 1}
NAMES = {name: f"reseller-{name}.example" for name in "bcdr"} | {"a": "acme.example"}
GATEWAY, PROVIDER = "gateway.acme.example", "api.provider.example"
SCREENED = {"status": "passed", "at": "2026-01-15T00:00:00Z", "until": "2099-12-31T00:00:00Z", "by": "test"}
ROTATES, WINDOW, KEYS_IN_TURN = 2, 3, 100  # a new key every 2 seconds, each for 3, for longer than these tests take
SKEW = 1  # what `a` grants other clocks, in seconds
LIFETIME = 4  # of the signatures that `c` uses again


def customer(name, **more):
    digest = "sha256:" + hashlib.sha256(f"sk-{name}".encode()).hexdigest()
    return {"id": name, "credentials": [digest], "screening": SCREENED, "ownership": "clear", "declared": ["SG"], **more}


def reseller(name):
    return customer(f"at-{name}", kind="reseller")


def known(name, **more):
    """A node as others' registers have it."""
    keys = [chains.Key(KEYS[name]).public_jwk()]
    entry = {"id": NAMES[name], "customer": f"at-{name}", "screening": SCREENED, "keys": keys, **more}
    return {member: value for member, value in entry.items() if value is not None}


def config(name, register, authority, **more):
    return {
        "version": 1,
        "node": {"id": name, "upstream_authority": authority},
        "register": register,
        "regions": {"set": "anthropic-api-179"},
        "identity": {"sources": [{"header": "x-api-key"}, {"chain": True}]},
        "geo": {"origin": [{"header": "x-geo-country"}]},
        "tag": {"keys": [{"env": "SIGNING_KEY"}]},
        **more,
    }


def signing(name):
    return {"SIGNING_KEY": chains.Key(KEYS[name]).private_jwk()}


def edge(listener, name, to="a", environment=None, onward=None, clusters=None, **more):
    """A reseller's node, with a screened customer `sk-c9`. Behind it stands another node, or the upstream."""
    register = {"customers": [customer("c9")]}
    clusters = clusters or to_node(to)
    return node(
        listener, config(NAMES[name], register, GATEWAY, **more), environment=environment or signing(name), clusters=clusters,
        onward={**{"cluster": cluster for cluster in clusters}, "host_rewrite_literal": GATEWAY, **(onward or {})},
        adds={"x-api-key": f"sk-at-{name}", **PEER},
    )  # fmt: skip


PEER = {"x-geo-country": "SG", "x-test-direct-peer": "198.51.100.7 198.51.100.7"}


def transit(listener, to="provider", rotating=(), adds=None):
    nodes = [known("b"), known("c", binding="customer"), known("d", screening=None), known("r", keys=list(rotating))]
    register = {"customers": [reseller(name) for name in "bcdr"], "nodes": [each for each in nodes if each["keys"]]}
    settings = config(NAMES["a"], register, PROVIDER, chain={"skew_seconds": SKEW})
    settings["node"]["authorities"] = [GATEWAY]
    clusters = to_node(to)
    return node(
        listener, settings, environment=signing("a"), clusters=clusters, adds={**PEER, **(adds or {})},
        onward={**{"cluster": cluster for cluster in clusters}, "host_rewrite_literal": PROVIDER},
    )  # fmt: skip


def to_node(name):
    """The cluster that another node of the same Envoy is; none where the upstream stands behind."""
    return {f"to-{name}": name} if name else {}


def ingress(rotating):
    """The provider trusts signatures alone."""
    resellers = [known("b"), known("c", binding="customer"), known("d"), known("r", keys=rotating)]
    nodes = [known("a"), *({**each, "customer": "at-a"} for each in resellers)]
    settings = config("provider.example", {"customers": [reseller("a")], "nodes": nodes}, "model.provider.example", tag={})
    settings["node"]["authorities"] = [PROVIDER]
    settings["identity"] = {"sources": [{"chain": True}]}
    return node("provider", settings)


@pytest.fixture(scope="module")
def turns():
    """Keys that follow each other: when each begins, and which."""
    begin = int(time.time()) - ROTATES
    return [(begin + ROTATES * number, chains.Key(100 + number)) for number in range(KEYS_IN_TURN)]


@pytest.fixture(scope="module")
def dead():
    """A port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def lab(start, turns, dead):
    window = [{"nbf": begin, "exp": begin + WINDOW} for begin, _ in turns]
    secret = json.dumps({"keys": [json.loads(key.private_jwk(**each)) for (_, key), each in zip(turns, window)]})
    public = [key.public_jwk(**each) for (_, key), each in zip(turns, window)]
    retries = {"retry_on": "connect-failure,refused-stream", "num_retries": 5, "retry_host_predicate": [PREVIOUS_HOSTS]}
    binding = {"keys": [{"env": "SIGNING_KEY"}], "binding": "customer", "lifetime_seconds": LIFETIME}
    lab = start(
        edge("b", "b"), edge("tap-b", "b", to=None), edge("d", "d"), edge("b-shadow", "b", policy={"mode": "report"}),
        edge("b-rewrites", "b", onward={"prefix_rewrite": "/rewritten/"}),
        edge("b-retries", "b", clusters={"flaky": [dead, "a"]}, onward={"retry_policy": retries}),
        edge("c", "c", tag=binding), edge("tap-c", "c", to=None, tag=binding),
        edge("r", "r", environment={"SIGNING_KEY": secret}), edge("tap-r", "r", to=None, environment={"SIGNING_KEY": secret}),
        transit("a", rotating=public), transit("tap-a", to=None, rotating=public),
        transit("a-altered", adds={"compliance-tag": 'node="acme.example", customer="at-b", screening=passed, attest=full'}),
        edge("b-to-altered", "b", to="a-altered"),
        ingress(public),
    )  # fmt: skip
    yield lab
    assert_unharmed(lab)


PREVIOUS_HOSTS = {
    "name": "previous_hosts",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
}


class Way:
    """What became of a request at each node that it came to."""

    def __init__(self, lab, first, sent, behind=("a", "a-altered", "provider")):
        others = [name for name in behind if name != first]
        before = {name: len(lab.events(name)) for name in others}
        played = lab.play(first, sent)
        self.status, self.received, self.response = played.response.status, played.received, played.response
        self.events = {first: played.event}
        refused_at = None
        for name in others:
            reached = lambda name=name: len(lab.events(name)) > before[name]
            if refused_at is None and self.expects(name, first):
                until(5, f"the event of {name}", reached, lab.log)
            if reached():
                self.events[name] = json.loads(lab.events(name)[before[name]])
                refused_at = name if self.events[name]["verdict"] == "block" else refused_at

    def expects(self, name, first):
        """Every request ends at the first node that refuses it, and comes to the provider unless one did."""
        if self.events[first]["verdict"] == "block" or first.startswith("tap") or first == "provider":
            return False
        return name == ("a-altered" if first == "b-to-altered" else "a") or (name == "provider" and not first == "a-altered")

    def codes(self, name):
        return [finding["code"] for finding in self.events[name]["findings"]]

    def why(self, name):
        return {finding["code"]: finding["evidence"] for finding in self.events[name]["findings"]}


def ask(key="sk-c9", country="SG", path="/v1/messages", headers=()):
    return {
        "method": "POST", "path": path, "authority": GATEWAY, "direct_peer": "203.0.113.9",
        "headers": [["x-api-key", key], ["x-geo-country", country], *headers],
    }  # fmt: skip


def signed(received):
    """The five headers as they came to the upstream, to be sent on."""
    return [[name, value] for name, value in received["headers"] if name.lower() in chains.HEADERS]


def to_provider(headers, path="/v1/messages"):
    return {"method": "POST", "path": path, "authority": PROVIDER, "direct_peer": "198.51.100.7", "headers": headers}


# --- three nodes


def test_a_screened_chain_passes(lab):
    """The provider sees through whose hands the request went, how strongly each vouches, and that each hop is proven."""
    way = Way(lab, "b", ask())
    assert way.status == 200, way.response
    assert (way.events["b"]["verdict"], way.events["a"]["verdict"]) == ("allow", "allow")
    at = way.events["provider"]
    assert (at["customer"], at["chain"], at["origin"]) == ("at-a", "full", "SG")
    assert at["hops"] == [
        {"node": "reseller-b.example", "customer": "c9", "attest": "full", "proven": True},
        {"node": "acme.example", "customer": "at-b", "attest": "partial", "proven": True},
    ]
    assert not [code for code in way.codes("provider") if code.startswith("chain.")]


def test_host_rewrite_is_what_is_signed(lab):
    """The customer called another name than the one that the next hop answers to."""
    assert Way(lab, "b", {**ask(), "authority": "anything.example"}).status == 200


def test_the_same_through_an_unscreened_reseller_is_refused(lab):
    way = Way(lab, "d", ask())
    assert (way.status, way.codes("a")) == (403, ["chain.unscreened-node"])
    assert way.events["d"]["verdict"] == "allow" and way.received is None and "provider" not in way.events


def test_without_a_node_a_reseller_is_refused(lab):
    assert Way(lab, "a", ask("sk-at-b")).codes("a") == ["chain.missing"]


def test_an_honest_label_launders_nothing(lab):
    """A reseller that only reports still says what it found: refused at the next node."""
    way = Way(lab, "b-shadow", ask(country="CN"))
    assert (way.events["b-shadow"]["verdict"], way.events["b-shadow"]["would_be"]) == ("report", "block")
    assert (way.status, way.events["a"]["reason"]) == (403, "geo.restricted")
    assert "reported by reseller-b.example" in way.why("a")["geo.restricted"]


def test_altered_on_the_way(lab):
    """Between transit and provider somebody writes another tag."""
    way = Way(lab, "b-to-altered", ask())
    assert way.events["a-altered"]["verdict"] == "allow"
    assert (way.status, way.codes("provider"), way.received) == (403, ["chain.invalid"], None)


def test_the_trail_altered_on_the_way(lab):
    """The hop is no longer proven; the rest stands."""
    headers = signed(Way(lab, "tap-b", ask()).received)
    headers = signed(Way(lab, "tap-a", ask("sk-at-b", headers=headers)).received)
    flipped = [[name, flip(value, "(:") if name == "compliance-trail" else value] for name, value in headers]
    way = Way(lab, "provider", to_provider(flipped))
    assert (way.status, way.events["provider"]["chain"]) == (200, "gateway")
    assert way.codes("provider").count("chain.unproven") == 1
    assert [hop["proven"] for hop in way.events["provider"]["hops"]] == [False, True]


def test_a_third_party_verifies(lab):
    """With the keys of the register and nothing of the node's."""
    headers = signed(Way(lab, "tap-b", ask()).received)
    received = Way(lab, "tap-a", ask("sk-at-b", headers=headers)).received
    keys = {chains.Key(KEYS[name]).keyid: (NAMES[name], chains.Key(KEYS[name]).public) for name in "ab"}
    assert chains.verify(received["headers"], keys, "POST", PROVIDER, "/v1/messages") == [True, True]
    with pytest.raises(AssertionError):
        chains.verify(received["headers"], keys, "POST", PROVIDER, "/v1/models")


def flip(text, after):
    at = text.index(after) + len(after)
    return text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]


# --- replays


def test_a_replay_is_refused(lab):
    headers = signed(Way(lab, "tap-b", ask()).received)
    first, second = (Way(lab, "a", ask("sk-at-b", headers=headers)) for _ in range(2))
    assert (first.status, second.status, second.codes("a")) == (200, 403, ["chain.replayed"])


@pytest.fixture(scope="module")
def workers(start):
    lab = start(transit("a", to=None), edge("tap-b", "b", to=None), concurrency=2)
    yield lab
    assert_unharmed(lab)


def test_a_replay_on_another_worker_is_refused(workers):
    """Of one signature sent on many connections at once exactly one passes, whichever worker each comes to."""
    for _ in range(5):
        headers = signed(Way(workers, "tap-b", ask(), behind=()).received)
        sent = wire.raw_request("POST", "/v1/messages", GATEWAY, request_headers(headers))
        barrier = threading.Barrier(16)

        def send(_number):
            with wire.connect(workers.nodes["a"].port) as connection:
                barrier.wait(5)
                connection.sendall(sent)
                return connection.recv(12)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(send, range(16)))
        assert answers.count(b"HTTP/1.1 200") == 1, answers
        assert answers.count(b"HTTP/1.1 403") == 15, answers
    accepted = workers.stats(r"listener\..*worker_.*downstream_cx_total")
    assert sum(1 for count in accepted.values() if count > 1) >= 2, f"one worker took all: {accepted}"


def request_headers(headers):
    return [["x-api-key", "sk-at-b"], ["x-geo-country", "SG"], ["x-test-direct-peer", "198.51.100.7 198.51.100.7"], *headers]


# --- keys


def test_keys_change_in_a_running_node(lab, turns):
    """A new key every two seconds, and no request is refused."""
    seen, end = set(), time.monotonic() + 2 * ROTATES + 1
    assert time.time() + 30 < turns[-1][0], "these tests took so long that the keys ran out"
    while time.monotonic() < end:
        way = Way(lab, "r", ask())
        assert way.status == 200, [event["findings"] for event in way.events.values()]
        received = dict(map(tuple, Way(lab, "tap-r", ask()).received["headers"]))
        seen.add(received["signature-input"].split(';keyid="')[1].split('"')[0])
        time.sleep(0.05)
    assert len(seen) >= 3 and seen <= {key.keyid for _, key in turns}, seen


def test_an_ended_key_is_refused(lab, turns):
    """From the tolerance after its window on; within it, a clock may be behind."""
    until(30, "the first keys to end", lambda: time.time() > turns[1][0] + WINDOW + SKEW + 1, lab.log)
    now = time.time()
    ended = [(begin, key) for begin, key in turns if begin + WINDOW + SKEW <= now]
    way = Way(lab, "a", ask("sk-at-r", headers=by(ended[-1][1], "r")))
    assert (way.status, way.codes("a")) == (403, ["chain.expired"])
    current = [key for begin, key in turns if begin <= now + 0.2 < begin + WINDOW]
    assert Way(lab, "a", ask("sk-at-r", headers=by(current[-1], "r"))).status == 200
    to_come = [key for begin, key in turns if begin > now + SKEW + 5]
    assert Way(lab, "a", ask("sk-at-r", headers=by(to_come[0], "r"))).codes("a") == ["chain.invalid"]


def by(key, name):
    """Headers that a node's key signs now, by other code than the node's."""
    keys = {"one": {"node": NAMES[name], "seed": key.private.private_bytes_raw()[0]}}
    return chains.carried({"keys": keys, "carried": [{"by": "one", "says": 'screening=passed, origin="SG"'}]}, ask(), int(time.time()))


def test_one_signature_for_a_customer(lab):
    """It comes again, tag and all, until three quarters of its lifetime; then a new one does, and none is refused."""
    nonces, tags, begun = [], {}, time.monotonic()
    while time.monotonic() < begun + LIFETIME + 1:
        received = dict(map(tuple, Way(lab, "tap-c", ask()).received["headers"]))
        nonce = received["signature-input"].split(';nonce="')[1].split('"')[0]
        tags.setdefault(nonce, set()).add(received["compliance-tag"])
        nonces.append(nonce)
        assert Way(lab, "c", ask()).status == 200
        time.sleep(0.1)
    lifetimes = (time.monotonic() - begun) / (LIFETIME * 3 / 4)  # more on a machine that is busy
    assert len(nonces) > len(tags) and 2 <= len(tags) <= 2 + lifetimes, tags
    assert all(len(same) == 1 for same in tags.values()), "another tag under the same signature"
    assert nonces == sorted(nonces, key=list(tags).index), "a signature came back"


# --- Envoy's router


def test_a_safe_retry_still_verifies(lab):
    """One of two endpoints refuses connections: the request goes out again, and nobody saw it before."""
    assert [Way(lab, "b-retries", ask()).status for _ in range(6)] == [200] * 6
    assert sum(lab.stats(r"cluster\.flaky\.upstream_rq_retry$").values()) > 0, "no retry took place"


def test_a_path_rewrite_breaks_the_signature(lab):
    """What `waybill check` refuses, shown."""
    way = Way(lab, "b-rewrites", ask())
    assert (way.status, way.codes("a")) == (403, ["chain.invalid"])
    assert "doesn't verify" in way.why("a")["chain.invalid"]


# --- hostile bytes

AT_MOST = 45_000  # five of these are within what Envoy takes here
LIST = '"reseller-b.example";customer="c9";attest=full'
ODD = {
    "bytes": bytes(range(0x80, 0x100)),
    "60 kB": b"a" * 60_000,
    "60 kB of a string": b'"' + b"a" * 60_000,
    "1,000 hops": ", ".join(f'"n{i}.example";customer="c";attest=partial;prev=:{"A" * 43}=:' for i in range(1_000)),
    "1,000 times the same hop": ", ".join([LIST] * 1_000),
    "deep lists": "(" * 30_000,
    "deep lists that end": "cmp=" + "(" * 10_000 + ")" * 10_000,
    "many members": ", ".join(f"k{i}=1" for i in range(8_000)),
    "many parameters": "cmp=()" + "".join(f";p{i}=1" for i in range(8_000)),
    "many components": "cmp=(" + " ".join(f'"x-{i}"' for i in range(5_000)) + ')',
    "commas": "," * 60_000,
    "one quote": '"',
    "escapes": '"' + "\\\\" * 20_000,
    "base64": "cmp=:" + "A" * 60_000 + ":",
    "numbers": "cmp=();created=999999999999999;expires=-999999999999999",
    "too large a number": "cmp=();created=99999999999999999999999",
    "nothing": "",
    "blanks": " \t ",
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_never_pass(lab, odd):
    """In each of the five headers, in place of the true one, beside it, and in all of them."""
    good = signed(Way(lab, "tap-b", ask()).received)
    good.insert(2, ["compliance-trail", "()"])
    spoilt = []
    for name in chains.HEADERS:
        others = [header for header in good if header[0] != name]
        spoilt += [([name], [*others, [name, ODD[odd]]]), ([name], [[name, ODD[odd]], *good])]
    spoilt.append((chains.HEADERS, [[name, ODD[odd][:AT_MOST]] for name in chains.HEADERS]))
    for changed, headers in spoilt:
        way = Way(lab, "tap-a", ask("sk-at-b", headers=headers))
        if way.status == 200:  # a trail isn't covered, and a line without content adds nothing
            assert changed == ["compliance-trail"] or not wire.as_bytes(ODD[odd]).strip(b" \t"), changed
            good = signed(Way(lab, "tap-b", ask()).received)
        else:
            assert way.status == 403 and way.events["tap-a"]["reason"].startswith("chain."), (changed, way.response)
    assert_unharmed(lab)


def test_spoilt_bytes_never_pass(lab):
    """Seeded: one to three bytes of what is signed are changed."""
    chance = random.Random(20260115)
    good = signed(Way(lab, "tap-b", ask()).received)
    covered = [number for number, (name, _) in enumerate(good) if name != "compliance-trail"]
    for _ in range(300):
        headers = [[name, bytearray(value, "ascii")] for name, value in good]
        value = headers[chance.choice(covered)][1]
        for _ in range(chance.randrange(1, 4)):
            value[chance.randrange(len(value))] = chance.choice([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
        headers = [[name, bytes(value)] for name, value in headers]
        sent = wire.raw_request("POST", "/v1/messages", GATEWAY, request_headers(headers))
        response = lab.exchange("tap-a", lambda port: wire.exchange(port, sent))
        harmless = [text.strip(b" \t") for _, text in headers] == [value.encode() for _, value in good]
        assert response.status == 403 or harmless, headers
    assert_unharmed(lab)
