"""Structured random requests through the shipped files: `./build.sh fuzz SECONDS [SEED]`, and for a while in the tests.

Each request begins as one that its door lets in, and is spoilt in a few ways, of which each says what it may change: nothing
(`KEEPS`), the answer (`MAY`), or that the request must be refused (`REFUSES`). Whatever comes in, these hold:

- the answer is the one expected, and never an error of the node's own; no VM dies;
- to the provider goes no header that only the node may set but the node's own, once; no credential of the caller's; no account
  of its choice; no trailer but digests; no address; and `connection` lists nothing but `upgrade`;
- each decision is an event, valid by its schema, in which no byte stands that the caller planted, nor an address uncut;
- a request costs at most 20 times the CPU of a neutral one of its size.

The same seed gives the same requests. A violation is told once for each kind, with the request; then it goes on.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema

import wire
from harness import ROOT, tail, until
from shipped import CHINA, DOORS, OWN_KEY, PROVIDERS_OWN, SINGAPORE, Shipped, asked, log_line

DEFAULT_SEED = 20261127
BATCH = 60  # requests, after which their events and what arrived are looked at
MARK = "plantedbythecaller"  # in lower case, as names of headers arrive
COST_TIMES, COST_FLOOR = 20, 0.010  # times a neutral request of that size, and seconds that no measurement tells apart
HARM = ("Function: proxy", "RuntimeError", "panicked at")  # in Envoy's log
WEIGHED_FROM = 3_000  # bytes of headers: smaller ones cost too little to be measured one by one
WAITS = [0, 0, 0, 0.1, 0.5, 1]  # seconds before each weighing: V8 compiles in the background for a while
PATIENCE = 10  # seconds

KEEPS, MAY, REFUSES = range(3)
GOOD_KEYS = {"sk-c-1", "sk-r-77"}
SIGNED = {door.name for door in DOORS if door.by}
ACCOUNTS = ["openai-organization", "openai-project", "anthropic-workspace-id", "anthropic-organization-id", "x-goog-user-project"]
CREDENTIALS = [
    "x-api-key", "api-key", "x-goog-api-key", "authorization", "proxy-authorization", "x-litellm-api-key", "x-portkey-api-key",
    "helicone-auth", "cf-aig-authorization", "ocp-apim-subscription-key", "apikey",
]  # fmt: skip
OWNED = [
    "compliance-tag", "compliance-chain", "compliance-trail", "x-waybill-route", "x-waybill-x", "anthropic-user-profile-id",
    "openai-safety-identifier",
]  # fmt: skip
SET_BY_NODE = {"compliance-tag", "compliance-chain", "compliance-trail", "anthropic-user-profile-id", "openai-safety-identifier"}
ADDRESSES = ["x-envoy-external-address", "x-envoy-original-host", "x-real-ip", "true-client-ip", "cf-connecting-ip", "forwarded"]
DIGESTS = ["content-digest", "repr-digest", "digest"]
TRAILERS = ["sec-websocket-protocol", "host", "cookie", "te", "connection", "content-length", "x-trailer", "authorization", *OWNED, *DIGESTS]
READ = [*CREDENTIALS, *OWNED, "signature", "signature-input", "x-forwarded-for", "forwarded", "x-user-country", "anthropic-beta",
        "anthropic-version", "via", "cdn-loop", "user-agent", "x-stainless-os", "sec-websocket-protocol", "http-referer", "x-geo-country"]  # fmt: skip
GRAMMARS = [b"a", b"%25", b"%", b"/", b"../", b";", b",", b", ", b'"', b"a=1,", b"(", b"127.0.0.5, ", b"for=127.0.0.5, ", b"Bearer a,",
            b'("a" "b");c=1, ', b"\\", b"key=a&", b":AAAA:, ", b"?", b"\xff", b"_", b"cmp=:AA==:, ", b"Digest a=\"b\", ", b"x, ",
            b"curl/8.5 ", b"langchain", b"mac os "]  # fmt: skip
ADMIN = ["/v1/organizations", "/v1/user_profiles/p-1", "/v1/organizations/users"]
OPENAI_ADMIN = ["/v1/organization/projects", "/v1/projects", "/v1/organization"]
UPGRADE = [["upgrade", "websocket"], ["sec-websocket-version", "13"], ["sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="]]


@dataclass
class Request:
    """What is sent, and what is expected of it."""

    door: str
    number: int
    method: str = "POST"
    path: str = "/v1/messages"
    host: str = ""
    headers: list = field(default_factory=list)
    trailers: list = field(default_factory=list)
    body: bytes = b"body"
    h2: bool = False
    upgrades: bool = False
    refused: str = ""  # why it must be
    is_open: bool = False  # either answer will do

    def expect(self, effect, why):
        if effect == REFUSES:
            self.refused = self.refused or why
        self.is_open |= effect == MAY

    def size(self):
        return len(self.path) + sum(len(wire.as_bytes(name)) + len(wire.as_bytes(value)) + 4 for name, value in self.headers)

    def told(self):
        text = f"{self.door}: {'HTTP/2 ' if self.h2 else ''}{self.method} {self.path}"[:300]
        return f"{text}\n    {str(self.headers)[:1500]}{f' trailers {self.trailers}' if self.trailers else ''}"


# === what spoils a request: each gets the generator's chance and the request, and says what it may change ===


def nested_path(chance, request):
    request.path = "/%" + "25" * chance.choice([5, 100, 1_000, chance.randrange(5, 14_000)])
    return REFUSES


def admin_path(chance, request):
    """The account API, as many servers read it, however it is spelled. Only where the node has a provider."""
    path = chance.choice(OPENAI_ADMIN if request.door == "openai" else ADMIN)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(1, len(path))
        letter = path[at]
        escape = f"%{ord(letter):02x}" if letter not in "/%" else letter
        path = chance.choice([path[:at] + escape + path[at + 1 :], path.replace("/", "//", 1), "/x/.." + path, path + "/..%2f..", path + ";x", path + "%20"])
    request.path = path
    if request.door in SIGNED - {"transit"} or request.door.startswith("chain"):
        return MAY
    return REFUSES


def odd_path(chance, request):
    request.path = "/" + "".join(chance.choice(["v1", "/", "..", ".", "%2e", "%2f", "%25", "%", "%zz", ";", "a", "?", "key=", "&", "%c3%28", "messages"]) for _ in range(chance.randrange(1, 40)))
    return MAY


def query(chance, request):
    request.path += "?" + "&".join(f"{chance.choice(['a', 'key', 'k%65y', '?key', 'alt'])}={chance.randrange(100)}" for _ in range(chance.choice([1, 3, 9, 2_000])))
    return MAY


def restricted(chance, request):
    """From China, in a form that a proxy of the operator's may write."""
    forms = [CHINA, f"{CHINA}:99", f"[::ffff:{CHINA}]:1", f"::ffff:{CHINA}", "2002:7272:7272::1", f"64:ff9b::{CHINA}", f"::ffff:0:{CHINA}"]
    address(request, own_elements(chance) + chance.choice(forms) + chance.choice(["", "", ", 127.0.0.5", ", 127.0.0.5:80", ", ::ffff:127.0.0.5"]))
    return MAY if request.door == "chain-b" else REFUSES  # which reports geo.restricted, as its configuration says


def forwarded_elements(chance, request):
    """From Singapore, with elements of the caller's own in front."""
    address(request, own_elements(chance) + SINGAPORE)
    return MAY  # where Envoy's geoip filter is asked, a list too long for Envoy is disputed


def own_elements(chance):
    element = chance.choice(["", "unknown", "127.0.0.1", SINGAPORE, "10.1.1.1:80", "[::1]", '"', "x" * 40])
    return f"{element}, " * chance.choice([0, 1, 5, 18, 19, 20, 21, 30, 60, 700])


def unknown_address(chance, request):
    address(request, chance.choice(["unknown", "_x", f"{CHINA}:99999", "1.2.3", f'"{CHINA}"']) + ", 127.0.0.5")
    return KEEPS


def address(request, line):
    request.headers = [[name, value] for name, value in request.headers if name != "x-forwarded-for"] + [["x-forwarded-for", line]]


def trace(chance, request):
    request.method, request.body = chance.choice(["TRACE", "TRACE", "trace"]), b""
    return REFUSES


def method(chance, request):
    """A signature covers it."""
    request.method = chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
    request.body = b"" if request.method in ("GET", "HEAD") else request.body
    return MAY if request.door in SIGNED else KEEPS


def lists_in_connection(chance, request):
    names = [*OWNED, "x-api-key", "authorization", "keep-alive", "host", "x-" + MARK, "x-waybill-" + MARK]
    listed = chance.sample(names, chance.randrange(1, 5)) + [chance.choice(["upgrade", "Upgrade"])]
    chance.shuffle(listed)
    request.headers += [["connection", chance.choice([", ", ","]).join(spelled(chance, name) for name in listed)], *UPGRADE]
    request.method, request.body, request.upgrades, request.h2 = "GET", b"", True, False
    return MAY if request.door in SIGNED or request.door.startswith("chain") else KEEPS  # chain.yaml has no WebSockets


def subprotocols(chance, request):
    names = ["realtime", "openai-insecure-api-key.sk-c-1", "openai-organization.org-1", "OpenAI-Project.p", "openai-beta.realtime-v1", MARK]
    request.headers.append(["sec-websocket-protocol", ", ".join(chance.sample(names, chance.randrange(1, 5)))])
    return KEEPS if not request.by_key() else MAY


def trailers(chance, request):
    names = chance.sample(TRAILERS, chance.randrange(1, 6))
    if request.h2 and chance.random() < 0.9:  # Envoy ends the whole connection at these, and takes a second for it
        names = [name for name in names if name not in ("connection", "te")] or ["cookie"]
    request.trailers += [[name if request.h2 else spelled(chance, name), MARK] for name in names]
    request.method, request.body = "POST", request.body or b"body"
    return MAY if request.door in SIGNED or request.h2 else KEEPS  # HTTP/2 knows no `connection`: Envoy ends the stream


def forged(chance, request):
    for name in chance.sample(OWNED, chance.randrange(1, 4)):
        value = chance.choice([MARK, f'node="{MARK}", screening=passed', f'"{MARK}";attest=full', "", "fallback"])
        request.headers += [[spelled(chance, name), value]] * chance.choice([1, 1, 2])
    return MAY if request.door in SIGNED else KEEPS


def planted_name(chance, request):
    request.headers.append([spelled(chance, chance.choice(["x-waybill-", "x_waybill_", "X-Waybill_"]) + MARK), chance.choice(["", MARK])])
    return KEEPS


def planted_host(chance, request):
    request.host = f"{MARK}.example"
    return REFUSES if request.door in SIGNED else KEEPS


def planted_signature(chance, request):
    """Somebody's credential as keyid, or as a component; with a second signature of this profile, or without."""
    covered = chance.choice([f'"@method" "{MARK}"', '"@method" "@authority" "@path" "compliance-tag" "compliance-chain"', f'"@authority" "compliance-tag" "compliance-chain" "{MARK}"'])
    now = int(time.time())
    params = f'({covered});created={now};expires={now + 30};nonce="n{request.number}";alg="ed25519";keyid="{MARK}";tag="llm-reseller-compliance"'
    request.headers += [["signature-input", f"cmp={params}"], ["signature", "cmp=:" + "A" * 86 + "==:"]]
    return REFUSES if request.door in SIGNED else KEEPS


def altered_signature(chance, request):
    """Another component covered than was signed."""
    for pair in request.headers:
        if pair[0] == "signature-input" and isinstance(pair[1], str):
            pair[1] = pair[1].replace('"compliance-chain")', f'"compliance-chain" "{MARK}")')
    return REFUSES if request.door in SIGNED else KEEPS


def known_places(chance, request):
    """Keys in places that nobody reads here."""
    names = [name for name in CREDENTIALS[1:] if name != "authorization" or request.door != "openai"]
    for name in chance.sample(names, chance.randrange(1, 4)):
        value = chance.choice(["Bearer sk-c-1", "sk-c-1", "Basic c2stYy0x"])
        request.headers.append([spelled(chance, name, underscores=True), value])
    return MAY


def accounts(chance, request):
    for name in chance.sample(ACCOUNTS, chance.randrange(1, 4)):
        request.headers.append([spelled(chance, name, underscores=True), MARK])
    return KEEPS


def more_credentials(chance, request):
    name = "authorization" if request.door == "openai" else "x-api-key"
    count = chance.choice([1, 2, 7, 9, 30])
    request.headers += [[name, f"Bearer unknown-{each}"] for each in range(count)]
    return REFUSES if count >= 9 else KEEPS


def another_customer(chance, request):
    name = "authorization" if request.door == "openai" else "x-api-key"
    other = "sk-c-1" if request.door in ("transit", "chain-a") else "sk-r-77"
    request.headers.append([name, f"Bearer {other}"])
    return MAY if request.door in PROVIDERS_OWN else REFUSES


def telling(chance, request):
    """Headers that tell who the customer is, as balancers write them."""
    request.headers += [[name, SINGAPORE] for name in chance.sample(ADDRESSES, chance.randrange(1, 4))]
    return KEEPS


def odd_value(chance, request):
    for _ in range(chance.randrange(1, 4)):
        value = bytes(chance.choice([9, *range(0x20, 0x7F), *range(0x80, 0x100)]) for _ in range(chance.randrange(80)))
        # in front of what the load balancer writes
        request.headers.insert(0, [spelled(chance, chance.choice(READ)), value.strip(b" \t")])
    return MAY


def heavy(chance, request):
    """One piece of some grammar, again and again, in a place that is parsed."""
    piece = chance.choice(GRAMMARS)
    value = (piece * (24_000 // len(piece)))[: chance.choice([4_000, 12_000, 24_000])].strip(b" \t")
    if chance.random() < 0.3:
        request.path = "/" + value.replace(b" ", b"").decode("latin-1").encode("ascii", "ignore").decode()
    else:
        request.headers.insert(0, [chance.choice(READ), value])
    return MAY


SPOILERS = [
    nested_path, admin_path, odd_path, query, restricted, forwarded_elements, unknown_address, trace, method, lists_in_connection,
    subprotocols, trailers, forged, planted_name, planted_host, planted_signature, altered_signature, known_places, accounts,
    more_credentials, another_customer, telling, odd_value, heavy,
]  # fmt: skip
ONE_OF = [  # one undoes another
    {nested_path, admin_path, odd_path, query, heavy},
    {heavy, restricted, forwarded_elements, unknown_address},
    {trace, method, lists_in_connection, trailers},
]


def spelled(chance, name, underscores=False):
    letters = "".join(letter.upper() if chance.random() < 0.2 else letter for letter in name)
    return "".join("_" if letter == "-" and underscores and chance.random() < 0.2 else letter for letter in letters)


class Fuzz:
    """Requests out of one seed, and what was found."""

    def __init__(self, lab, seed):
        self.lab, self.chance = lab, random.Random(seed)
        self.sent, self.found, self.costs = 0, {}, {}
        schema = json.loads((ROOT / "docs" / "event.schema.json").read_text())
        self.schema = jsonschema.Draft202012Validator(schema)
        self.read = {}  # bytes of each log
        self.memory = lab.resident_kilobytes()
        tasks = Path(f"/proc/{lab.process.pid}/task").iterdir()
        [self.worker] = [task for task in tasks if (task / "comm").read_text().startswith("wrk:")]

    def run(self, seconds, most=None):
        end = time.monotonic() + seconds
        while time.monotonic() < end and (most is None or self.sent < most):
            self.batch()
        return self.found

    def batch(self):
        requests = {}
        self.lab.upstream.take()
        for _ in range(BATCH):
            request = self.request()
            answer = self.exchange(request)
            requests[str(request.number)] = (request, answer)
            self.check_answer(request, answer)
        for received in self.lab.upstream.take():
            fields = {name.lower(): value for name, value in received["headers"]}
            request, answer = requests.get(fields.get("x-fuzz"), (None, None))
            if request:
                self.check_arrived(request, received)
        self.check_events(requests)
        if harm := [line for line in tail(self.lab.log, 20_000).splitlines() if any(sign in line for sign in HARM)]:
            self.violation("a VM died, or a hook panicked", None, harm[0])

    def request(self):
        """The next request; what it may be called is seen in its header x-fuzz."""
        chance, door = self.chance, self.lab.doors[self.chance.choice(list(self.lab.doors))]
        self.sent += 1
        made = Request(door.name, self.sent, host=door.host, h2=chance.random() < 0.3)
        made.by_key = lambda: door.name in PROVIDERS_OWN
        made.path = "/v1/responses" if door.bearer else "/v1/messages"
        made.headers = [["x-fuzz", str(self.sent)], ["content-type", "application/json"], *asked(door, made.path, [])]
        chosen = chance.sample(SPOILERS, chance.choice([0, 1, 1, 1, 2, 2, 3, 4]))
        for group in ONE_OF:
            undone = [each for each in chosen if each in group][1:]
            chosen = [each for each in chosen if each not in undone]
        for spoil in chosen:
            made.expect(spoil(chance, made), spoil.__name__)
        if door.by and (made.method != "POST" or made.path.partition("?")[0] != ("/v1/messages")):
            made.is_open = True  # the signature was for another request
        # spoilers may overlap: what one keeps another may have made too many of
        if sum(name.lower().replace("_", "-") in ("x-api-key", "authorization", "x-goog-api-key") for name, _ in made.headers) > 6:
            made.is_open = True
        return made

    def exchange(self, request):
        if request.size() < WEIGHED_FROM:
            return self.send(request)
        # what else runs can only add to the cost: the cheapest of a few counts
        allowed, cost = self.allowed(request.size(), request.h2), None
        for wait in WAITS:
            time.sleep(wait)
            before = self.cpu()
            answer = self.send(request)
            cost = min(filter(None, [cost, self.cpu() - before]))
            if cost <= allowed:
                return answer
        self.violation("cost", request, f"{cost * 1e3:.1f} ms of CPU for {request.size():,} bytes; {allowed * 1e3:.1f} would be allowed")
        return answer

    def send(self, request):
        port = self.lab.nodes[request.door].port
        try:
            if request.h2:
                pseudo = [(":method", request.method), (":scheme", "http"), (":authority", request.host), (":path", request.path)]
                headers = [(wire.as_bytes(name).lower(), value) for name, value in request.headers]
                return wire.exchange_h2(port, [*pseudo, *headers], request.body, request.trailers)
            return wire.exchange(port, self.raw(request), method=request.method)
        except (TimeoutError, ConnectionError):
            return None

    def raw(self, request):
        headers = list(request.headers)
        if not request.trailers:
            return wire.raw_request(request.method, request.path, request.host, headers, request.body or None)
        head = wire.raw_request(request.method, request.path, request.host, [*headers, ["transfer-encoding", "chunked"]])
        fields = b"".join(wire.as_bytes(name) + b": " + wire.as_bytes(value) + b"\r\n" for name, value in request.trailers)
        return head + b"%x\r\n%s\r\n0\r\n" % (len(request.body), request.body) + fields + b"\r\n"

    def cpu(self):
        """What Envoy's worker has used, in seconds: neither V8's compiler threads nor whatever else the process does meanwhile."""
        return int((self.worker / "schedstat").read_text().split()[0]) / 1e9

    def allowed(self, size, h2):
        """What a neutral request of that size costs over the same protocol, times the promise; measured once for each class."""
        size = -(-size // 4_000) * 4_000
        if (size, h2) not in self.costs:
            door = next(iter(self.lab.doors.values()))
            neutral = Request(door.name, 0, host=door.host, path="/v1/messages", h2=h2)
            neutral.headers = [*asked(door, neutral.path, []), ["x-neutral", "a" * min(size, 28_000)]]
            costs = []
            for _ in range(5):
                before = self.cpu()
                self.send(neutral)
                costs.append(self.cpu() - before)
            self.costs[size, h2] = max(COST_TIMES * min(costs), COST_FLOOR)
        return self.costs[size, h2]

    def check_answer(self, request, answer):
        status = answer.status if answer else None
        if status is not None and status >= 500:
            self.violation(f"status {status}", request, answer.body[:200])
        elif request.refused:
            if status is not None and status < 400:
                self.violation(f"passed: {request.refused}", request, f"status {status}")
        elif not request.is_open and (status is None or status >= 400):
            self.violation("refused, though nothing is wrong with it", request, answer and (status, answer.body[:300]))

    def check_arrived(self, request, received):
        """What the provider got."""
        names = [name.lower() for name, _ in received["headers"]]
        fields = dict(zip(names, (wire.as_bytes(value).decode("latin-1") for _, value in received["headers"]), strict=True))
        if request.refused:
            self.violation(f"passed: {request.refused}", request, "it reached the provider")
        for name in names:
            plain = name.replace("_", "-")
            if plain in OWNED and (plain not in SET_BY_NODE or names.count(name) > 1 or name != plain):
                self.violation("an owned header goes on", request, name)
            if plain in ACCOUNTS and request.door not in PROVIDERS_OWN:
                self.violation("an account header goes on", request, name)
            if plain in CREDENTIALS and request.door not in PROVIDERS_OWN and fields[name].removeprefix("Bearer ") != OWN_KEY:
                self.violation("a credential header goes on", request, f"{name}: {fields[name]}")
            if plain in ADDRESSES or (plain == "x-forwarded-for" and not request.door.startswith("chain")):
                self.violation("an address goes on", request, name)
        whole = json.dumps(received)
        if request.door not in PROVIDERS_OWN and any(key in whole for key in GOOD_KEYS):
            self.violation("the caller's key goes on", request, whole[:600])
        for name in ("compliance-tag", "compliance-chain", "anthropic-user-profile-id", "openai-safety-identifier"):
            if MARK in fields.get(name, ""):
                self.violation("a forged value goes on", request, f"{name}: {fields[name]}")
        listed = [each.strip().lower() for each in fields.get("connection", "").split(",")]
        if [each for each in listed if each not in ("", "upgrade")]:
            self.violation("connection lists more than upgrade", request, fields["connection"])
        if more := [name for name, _ in received["trailers"] if name.lower() not in DIGESTS]:
            self.violation("a trailer goes on", request, str(more))

    def check_events(self, requests):
        """Each answer of the filter's has an event; Envoy's own, to what it can't read, has none."""
        answered = {number for number, (_, answer) in requests.items() if answer and (answer.status < 400 or answer.header("x-waybill-reason"))}
        events = {}

        def are_there():
            for node in self.lab.nodes.values():
                for line in self.new_lines(node.events):
                    number, _, event = line.decode("latin-1").partition(" ")
                    events[number] = event
            return answered <= set(events)

        until(PATIENCE, "the events", are_there, self.lab.log)
        for number in answered:
            self.check_event(*requests[number], events[number])
        for node in self.lab.nodes.values():
            for line in self.new_lines(node.events.with_suffix(".log")):
                self.check_line(line)

    def new_lines(self, path):
        """The whole lines since the last call."""
        with path.open("rb") as log:
            log.seek(self.read.get(path, 0))
            *lines, _ = log.read().split(b"\n")
        self.read[path] = self.read.get(path, 0) + sum(len(line) + 1 for line in lines)
        return lines

    def check_line(self, line):
        try:
            event, path = (log_line(line)[name] for name in ("event", "path"))
            assert event is None or json.loads(event)["seq"] >= 0
            assert path is None or "?" not in path
        except (AssertionError, ValueError, KeyError) as fault:
            self.violation("a log line isn't well-formed", None, f"{fault!r}: {line[:600]}")

    def check_event(self, request, answer, text):
        if text == "-":
            if answer.status < 400:
                self.violation("passed without an event", request, str(answer.status))
            return
        try:
            event = json.loads(text)
        except ValueError:
            return self.violation("an event isn't JSON", request, text[:300])
        if fault := jsonschema.exceptions.best_match(self.schema.iter_errors(event)):
            self.violation("an event isn't valid by its schema", request, f"{fault.message[:200]}: {text[:300]}")
        if MARK in text.lower():
            self.violation("an event repeats what the caller sent", request, text[:900])
        cut = event["address"] or ""
        if cut and not (cut.endswith(".0/24") or cut.endswith("::/48")) or cut.startswith(("2002:", "64:ff9b", "2001:0:")):
            self.violation("an event has an address uncut", request, cut)

    def violation(self, kind, request, detail):
        if kind not in self.found:
            number = request.number if request else self.sent
            self.found[kind] = number
            print(f"VIOLATION {kind} (request {number})\n    {detail}\n    {request.told() if request else ''}", flush=True)


class Quiet(wire.Upstream):
    """Callers break off in the middle of what they say: that is no news."""

    def handle_error(self, *_):
        pass


def doors():
    return [door for door in DOORS if door.file in ("edge", "transit", "ingress", "snapshot", "chain")]


def lab(folder, upstream):
    """The doors, with trailers over HTTP/1 too."""
    changes = {"http_protocol_options": {"enable_trailers": True}}
    return Shipped(folder, doors(), upstream, changes, line="%REQ(x-fuzz)% ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=DEFAULT_SEED)
    parser.add_argument("--requests", type=int, help="end after so many")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, Quiet() as upstream, lab(Path(folder), upstream) as running:
        fuzz, start = Fuzz(running, arguments.seed), time.monotonic()
        end = start + arguments.seconds
        while time.monotonic() < end and (not arguments.requests or fuzz.sent < arguments.requests):
            fuzz.run(min(30, end - time.monotonic()), arguments.requests)
            grown = (running.resident_kilobytes() - fuzz.memory) // 1024
            print(f"{fuzz.sent:,} requests in {time.monotonic() - start:.0f} s, {len(fuzz.found)} kinds of violations, memory {grown:+} MB", flush=True)
    for kind, number in fuzz.found.items():
        print(f"  request {number:>7}: {kind}")
    sys.exit(1 if fuzz.found else 0)


if __name__ == "__main__":
    main()
