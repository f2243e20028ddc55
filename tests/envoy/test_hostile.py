"""Requests written to break the node or to pass a forged header through it.

Whatever comes in: there is an answer, no worker's VM dies, Envoy's memory stays where it was, and no
value of the client's goes on in a header that only the node may set.
"""

import random
import re
import shutil
import subprocess
import time

import pytest

import wire
from harness import EVENT_SECONDS, KEY, ROOT, assert_unharmed, configuration, node, request, until

MARK = "forged-by-the-client"
READ = [  # every header that the node reads
    "x-api-key", "x-goog-api-key", "authorization", "sec-websocket-protocol", "x-forwarded-for", "forwarded",
    "compliance-tag", "compliance-chain", "compliance-trail", "signature", "signature-input",
    "x-geo-country", "x-user-country", "x-waybill-route", "x-waybill-anything", "x-request-id",
    "anthropic-user-profile-id", "anthropic-workspace-id", "anthropic-beta", "anthropic-version",
    "openai-safety-identifier", "via", "cdn-loop", "user-agent", "content-type", "cf-aig-metadata",
]  # fmt: skip
ODD = {
    "high bytes": [bytes(range(0x80, 0x100))],
    "not UTF-8": [b"\xc3\x28\xff\xfe"],
    "empty": [b""],
    "twice": [b"one", b"two"],
    "empty and twice": [b"", b"", b"x"],
    "60 kB": [b"a" * 60_000],
    "structured, cut off": [b'cmp=("@method" "@authority', b"cmp=:AAAA", b'node="a", customer='],
    "deeply nested": [b"(" * 2000],
    "many members": [b"a=1," * 2000],
    "spaces and commas": [b" , ,,\t, "],
}
FORGED = [
    ("Compliance-Tag", f'node="{MARK}", screening=passed'),
    ("COMPLIANCE_TAG", f'node="{MARK}"'),
    ("compliance_tag", f'node="{MARK}"'),
    ("Compliance-Chain", f'"{MARK}";customer="c";attest=full'),
    ("compliance_chain", f'"{MARK}";customer="c";attest=full'),
    ("Compliance-Trail", f'(:AAAA: :AAAA:);authority="{MARK}"'),
    ("x-waybill-route", "fallback"),
    ("x_waybill_route", "fallback"),
    ("X-Waybill-Anything", MARK),
    ("x_waybill-Anything", MARK),
    ("Signature-Input", f'cmp=("@method");keyid="{MARK}"'),
    ("Signature", "cmp=:Zm9yZ2Vk:"),
]
PROVIDERS = [  # a customer may send these in good faith, so they are no finding; the node decides what goes on
    ("Anthropic-User-Profile-Id", MARK),
    ("anthropic_user_profile_id", MARK),
    ("anthropic-workspace-id", MARK),
    ("Anthropic_Workspace_Id", MARK),
]
OWNED = re.compile(r"compliance-(tag|chain|trail)|x-waybill-.*|anthropic-(user-profile|workspace)-id|x-geo-country")
WAYS = {"allow": "SG", "report": "JP", "reroute": "CN"}  # what the node below does about each country
OTHERS_INPUT = 'sig1=("@authority");created=1700000000;keyid="somebody-else"'
OTHERS_SIGNATURE = "sig1=:c29tZWJvZHkgZWxzZQ==:"

JOINED = re.findall(r'^    "(.*)",$', (ROOT / "src" / "cli" / "headers.rs").read_text().split("JOINED_BY_ENVOY: &[&str] = &[")[1].split("];")[0], re.MULTILINE)

LOAD = {"warm": 20_000, "more": 100_000}
GROWTH_KILOBYTES = 1_024  # a leak of 11 bytes a request shows; measured: 12 kB, as without the filter
FUZZ_REQUESTS = 3_000
FUZZ_SECONDS = 20

needs_h2load = pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is missing (Debian: nghttp2-client)")


@pytest.fixture(scope="module")
def lab(start):
    actions = {"tag.spoofed": "allow", "geo.restricted": {"reroute": "fallback"}}
    edge = configuration(
        policy={"mode": "enforce", "actions": actions},
        routes={"fallback": {"provider": "fallback", "authority": "api.fallback.example"}},
    )
    lab = start(node("edge", edge), node("load", configuration(), direct_response=True))
    yield lab
    assert_unharmed(lab)


@pytest.fixture(scope="module")
def plain(start):
    """An Envoy without the filter."""
    return start(node("plain", None))


def assert_serves(lab):
    """A good request is still answered, by the VM that was there before."""
    played = lab.play("edge", request())
    assert (played.response.status, played.event["verdict"]) == (200, "allow")
    assert_unharmed(lab)


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_in_every_header_that_is_read(lab, odd):
    for name in READ:
        played = lab.play("edge", request(headers=[(name, value) for value in ODD[odd]]))
        assert played.response.status < 500, name
        assert played.event is not None, name
    assert_serves(lab)


HUGE = {
    "an X-Forwarded-For of 1,000 elements": request(headers=[["x-forwarded-for", ", ".join(["198.51.100.7"] * 1000)]]),
    "1,000 lines of X-Forwarded-For": request(headers=[["x-forwarded-for", "198.51.100.7"]] * 1000),
    "1,000 query parameters": request("/v1/messages?" + "&".join(f"key={i}" for i in range(1000))),
    "a Forwarded of 1,000 elements": request(headers=[["forwarded", ", ".join(['for="[2001:db8::1]:80"'] * 1000)]]),
    "1,000 headers": request(headers=[[f"x-{i}", "v"] for i in range(1000)]),
}
PATHS = ["/%", "/%2", "/%zz", "/%00", "/v1/%6frganizations/%", "/?%=%&key=%&key=%zz&%6bey=%ff", "/" + "%25" * 5000,
         "//", "/../..", "/v1/../v1/./messages", "/;;", "/?", "/?&&==&key", "*", "/" + "a/../" * 5000]  # fmt: skip


@pytest.mark.parametrize("huge", HUGE)
def test_huge(lab, huge):
    played = lab.play("edge", HUGE[huge])
    assert played.response.status < 500
    assert_serves(lab)


def test_odd_paths(lab):
    for path in PATHS:
        assert lab.play("edge", request(path)).response.status < 500, path
    assert_serves(lab)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("header", [*FORGED, *PROVIDERS], ids=lambda header: header[0])
def test_forged_header_stops_here(lab, way, header):
    """Once, and twice; on each way that a request may take."""
    for headers in ([header], [header, header]):
        played = lab.play("edge", request(country=WAYS[way], headers=headers))
        codes = [finding["code"] for finding in played.event["findings"]]
        assert ("tag.spoofed" in codes) == (header in FORGED)
        assert_nothing_forged(played.received)
        assert_went(played, way)


@pytest.mark.parametrize("way", WAYS)
def test_all_forged_headers_at_once_stop_here(lab, way):
    played = lab.play("edge", request(country=WAYS[way], headers=[*FORGED, *PROVIDERS]))
    assert_nothing_forged(played.received)
    assert_went(played, way)


TRAILERS = ["sec-websocket-protocol", "host", "cookie", "te", "connection", "content-length", "authorization", "x-api-key", "x-harmless",
            "digest_", "content_digest"]  # fmt: skip
DIGESTS = ["content-digest", "Repr-Digest", "DIGEST"]


def test_only_digests_go_on_as_trailers(lab):
    """What stands behind the body can be taken for a header by the next hop."""
    chunked = request(method="POST", headers=[["transfer-encoding", "chunked"], ["trailer", "compliance-tag"]])
    names = [*(name for name, _ in [*FORGED, *PROVIDERS]), *TRAILERS, *DIGESTS]
    trailers = b"".join(b"%s: %s\r\n" % (name.encode(), MARK.encode()) for name in names)
    sent = wire.raw_request("POST", chunked["path"], "localhost", chunked["headers"])
    played = lab.send("edge", sent + b"4\r\nbody\r\n0\r\n" + trailers + b"\r\n", method="POST")
    assert played.received["body"]["size"] == 4
    assert [name.lower() for name, _ in played.received["trailers"]] == [name.lower() for name in DIGESTS]


@pytest.mark.parametrize("name", [*JOINED, "x-api-key", "x-goog-api-key", "x-user-country", "compliance-tag", "x-title"])
def test_the_desk_joins_the_lines_that_envoy_joins(plain, name):
    """`waybill explain` reads a captured request as Envoy hands it to the filter."""
    sent = wire.raw_request("GET", "/", "localhost", [(name, "one"), (name, "two")])
    plain.upstream.take()
    wire.exchange(plain.nodes["plain"].port, sent)
    [received] = plain.upstream.take()
    values = [value for other, value in received["headers"] if other.lower() == name]
    assert values == (["one,two"] if name in JOINED else ["one", "two"])


def assert_went(played, way):
    """The node alone chose the route, whatever the client wrote."""
    assert played.event["verdict"] == way
    cluster = dict(map(tuple, played.received["headers"]))["x-test-cluster"]
    assert cluster == ("fallback" if way == "reroute" else "default")


def assert_nothing_forged(received):
    """No value of the client's in what goes on; each header of the node's at most once, in one spelling."""
    names = [name.lower() for name, _ in received["headers"]]
    for name, value in received["headers"]:
        text = wire.as_bytes(value).decode("latin-1")
        assert MARK not in text and "Zm9yZ2Vk" not in text, f"{name}: {text}"
        assert KEY not in text, f"the customer's key went on in {name}"
    owned = [name for name in names if OWNED.fullmatch(name.replace("_", "-"))]
    assert len(owned) == len(set(owned)) and not [name for name in owned if "_" in name], owned
    assert KEY not in received["path"]


@pytest.mark.parametrize("ours", [
    'cmp=("@method");created=1;keyid="forged-by-the-client"',
    'other=("@method");created=1;tag="llm-reseller-compliance";keyid="forged-by-the-client"',
    'cmp=("@method");created=1;tag="llm-reseller-compliance";keyid="forged-by-the-client"',
])  # fmt: skip
@pytest.mark.parametrize("way", WAYS)
def test_others_signatures_pass(lab, ours, way):
    """A signature under somebody else's label stands beside one that only a node may make."""
    label = ours.split("=")[0]
    headers = [
        ["signature-input", f"{OTHERS_INPUT}, {ours}"],
        ["signature", f"{OTHERS_SIGNATURE}, {label}=:Zm9yZ2Vk:"],
    ]
    received = lab.play("edge", request(country=WAYS[way], headers=headers)).received
    assert_nothing_forged(received)
    headers = dict(map(tuple, received["headers"]))
    assert headers["signature-input"].startswith(OTHERS_INPUT)
    assert headers["signature"].startswith(OTHERS_SIGNATURE)


def test_random_requests(lab):
    """Seeded, so that a failure comes again; bounded in time, as machines differ."""
    chance = random.Random(20260115)
    end = time.monotonic() + FUZZ_SECONDS
    before = len(lab.events("edge"))
    lab.upstream.take()
    count = 0
    while count < FUZZ_REQUESTS and time.monotonic() < end:
        sent = random_request(chance)
        response = wire.exchange(lab.nodes["edge"].port, sent)
        assert response is None or response.status < 500, f"request {count}: {sent!r}: {response}"
        count += 1
    for received in lab.upstream.take():
        assert_nothing_forged(received)
    # Envoy writes a request's line some milliseconds late: `assert_serves` must not read one of these
    until(EVENT_SECONDS, "a line of each", lambda: len(lab.events("edge")) - before >= count, lab.log)
    assert len(lab.events("edge")) - before == count
    assert_serves(lab)


def random_request(chance):
    """Mostly a good request, so that it gets far, with some of what the node reads spoilt."""
    headers = list(request(country=chance.choice([*WAYS.values(), "??", ""]))["headers"])
    headers.append(["x-test-direct-peer", chance.choice(["127.0.0.1", "192.0.2.7", "::1", "nonsense", ""])])
    for _ in range(chance.randrange(6)):
        if chance.random() < 0.5:
            headers.append(list(chance.choice([*FORGED, *PROVIDERS])))
        else:
            headers.append([spelled(chance, chance.choice(READ)), random_value(chance)])
    if chance.random() < 0.2:
        headers.pop(0)
    chance.shuffle(headers)
    path = chance.choice([*PATHS, "/v1/messages", "/v1/messages?key=" + KEY, "/v1/models", "/v1/chat/completions"])
    return wire.raw_request(chance.choice(["GET", "POST", "DELETE", "OPTIONS"]), path, "localhost", headers)


def random_value(chance):
    """Bytes of any kind that a header may hold, or a good value with a byte or two changed."""
    kind = chance.randrange(3)
    if kind == 0:
        return bytes(chance.choice(HEADER_BYTES) for _ in range(chance.randrange(200)))
    value = bytearray(chance.choice(SAMPLES), "ascii")
    for _ in range(kind):
        value[chance.randrange(len(value))] = chance.choice(HEADER_BYTES)
    return bytes(value)


HEADER_BYTES = [9, *range(0x20, 0x7F), *range(0x80, 0x100)]
SAMPLES = [
    'node="a.example", customer="c-1", screening=passed, until=@1830000000, declared=("SG" "JP"), user="SG"',
    '"a.example";customer="c-9";attest=full, "b.example";customer="c-1";attest=partial;prev=:AAAA:',
    'cmp=("@method" "@authority" "@path" "compliance-tag" "compliance-chain");created=1;expires=2;nonce="n"',
    "cmp=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==:",
    "203.0.113.9, 198.51.100.7:443, [2001:db8::1]:80",
    'for=192.0.2.60;proto=http;by="[2001:db8::1]", for="_hidden"',
    "Bearer sk-sample",
    "realtime, openai-insecure-api-key.sk-sample",
    "1.1 relay.example (one-api)",
]


def spelled(chance, name):
    """The name in some case, with some hyphens as underscores."""
    letters = (letter.upper() if chance.random() < 0.3 else letter for letter in name)
    return "".join("_" if letter == "-" and chance.random() < 0.1 else letter for letter in letters)


@needs_h2load
def test_memory_stays(lab):
    """100,000 more requests, allowed and refused in turn, leave Envoy's memory where 20,000 left it. What Envoy gave back to the
    system after the tests before comes back once; a leak comes each time."""
    h2load(lab.nodes["load"].port, LOAD["warm"])
    grown = []
    while not grown or (grown[-1] >= GROWTH_KILOBYTES and len(grown) < 3):
        before = lab.resident_kilobytes()
        h2load(lab.nodes["load"].port, LOAD["more"])
        grown.append(lab.resident_kilobytes() - before)
    assert grown[-1] < GROWTH_KILOBYTES, f"{grown} kB more after {LOAD['more']} requests each"
    assert_serves(lab)


def h2load(port, requests):
    """Requests in turn: one that passes, one for the provider's account API."""
    sent = [*request()["headers"], ["x-test-direct-peer", "127.0.0.1"]]
    headers = [part for name, value in sent for part in ("-H", f"{name}: {value}")]
    paths = [f"http://127.0.0.1:{port}{path}" for path in ("/v1/messages", "/v1/organizations")]
    command = ["h2load", "-n", str(requests), "-c", "4", "-m", "10", *headers, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    half = requests // 2
    assert f"status codes: {half} 2xx, 0 3xx, {half} 4xx, 0 5xx" in done.stdout, done.stdout
