#!/usr/bin/env python3
"""The demo: a told story of thirteen requests through a real Envoy with Waybill in it, of a customer who is suspended
while others go on, and of three nodes in a row.

`./build.sh demo` runs it from the root of the repository, with ENVOY naming the Envoy binary. With WAYBILL_HOST=module
Waybill is Envoy's dynamic module, else the wasm filter. The demo compiles the register (prepare.py), starts the
providers' stand-in and Envoy, which fetches the snapshot from itself (demo.yaml), plays the load balancer that writes
X-Forwarded-For, and shows for each request what the node decided (from its event log) and what the provider saw (from
the stand-in). Then it suspends a customer in the register, compiles it again, and counts what becomes of everybody's
requests meanwhile. The second act, three nodes in a row, is in three_nodes.py. Nothing that is shown is written here:
what is written here is what ought to be shown, and the demo fails when anything else is. It takes half a minute and
leaves nothing running.
"""

import difflib
import http.client
import json
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import prepare
import three_nodes
from geo_data import ATTRIBUTION, DataError
from stage import (
    CALL,
    HOST,
    IN_FRONT,
    Failure,
    event_of,
    exchange,
    expect_free,
    get,
    last_words,
    lines_since,
    print_rows,
    print_wrapped,
    spawn,
    start_envoy,
    title,
    wait_until_ready,
)

ENVOY_CONFIG, REGISTER, SNAPSHOT = (
    Path(os.path.relpath(path))
    for path in (prepare.by_host(prepare.ENVOY_CONFIG, HOST), prepare.REGISTER, prepare.SNAPSHOT)
)
EVENTS = Path("dist/events.jsonl")
ENVOY_LOG = Path("dist/envoy.log")
METRICS = Path("dist/metrics.prom")
NODE_CONFIG = Path("dist/demo-config.json")
REQUEST = Path("dist/demo-request.json")
FILTER = {"wasm": "waybill.wasm", "module": "libwaybill.so"}
AS = {"wasm": "", "module": ", as its dynamic module"}
NEEDED = [Path("dist") / FILTER[HOST], Path("dist/waybill")]

# The ports of demo.yaml.
ADMIN, GATEWAY, SNAPSHOTS, PROVIDER = 9901, 10000, 10001, 18080
READY = "/.well-known/waybill/ready"

# Real addresses: the node looks up where they are and in what network, the demo doesn't say it.
SINGAPORE, BERLIN, BEIJING, KYOTO = "165.21.100.88", "141.20.0.1", "1.2.4.8", "130.54.0.1"
SINGAPORE_CLOUD, TOR_EXIT = "13.250.0.1", "185.220.101.1"

CHANGE_SECONDS = 20  # a poll a second, and a busy machine
CALLERS, PAUSE_SECONDS = 4, 0.02  # the load during the change: a few hundred requests a second


@dataclass(frozen=True)
class Step:
    """One request of the story, and what ought to become of it."""

    who: str
    address: str
    key: str
    verdict: str
    reason: str | None
    account: str | None  # at whose account it arrives; None: at nobody's
    method: str = "POST"
    path: str = "/v1/messages"
    headers: dict[str, str] = field(default_factory=dict)
    openai: bool = False  # an OpenAI client: bearer token, streaming
    forged: tuple[str, ...] = ()  # the client's own words that must not get through


STORY = [
    Step("merlion, a screened customer", SINGAPORE, "sk-demo-merlion-1", "allow", None, "anthropic"),
    Step(
        "merlion, OpenAI style, from a cloud",
        SINGAPORE_CLOUD,
        "sk-demo-merlion-1",
        "allow",
        None,
        "openai",
        path="/v1/chat/completions",
        openai=True,
    ),
    Step("somebody with an unknown key", SINGAPORE, "sk-demo-nobody-1", "block", "identity.unknown", None),
    Step("osprey, suspended by the reseller", SINGAPORE, "sk-demo-osprey-1", "block", "customer.suspended", None),
    Step("kestrel, screening not finished", SINGAPORE, "sk-demo-kestrel-1", "block", "customer.unscreened", None),
    Step(
        "harbour, owned from a restricted region",
        SINGAPORE,
        "sk-demo-harbour-1",
        "block",
        "ownership.restricted",
        None,
    ),
    Step("tidewater, from a restricted region", BEIJING, "sk-demo-tidewater-1", "block", "geo.restricted", None),
    Step(
        "tidewater, from an undeclared country",
        KYOTO,
        "sk-demo-tidewater-1",
        "report",
        "geo.undeclared",
        "anthropic",
    ),
    Step("tidewater, through Tor", TOR_EXIT, "sk-demo-tidewater-1", "report", "network.anonymizer", "anthropic"),
    Step(
        "tidewater, through a relay (LiteLLM)",
        BERLIN,
        "sk-demo-tidewater-1",
        "report",
        "relay.undeclared",
        "anthropic",
        headers={"user-agent": "litellm/1.80.0"},
    ),
    Step(
        "merlion, with forged tags",
        SINGAPORE,
        "sk-demo-merlion-1",
        "report",
        "tag.spoofed",
        "anthropic",
        headers={"Compliance-Tag": 'node="forged.example", screening=passed', "X-Waybill-Customer": "forged-id"},
        forged=("forged.example", "forged-id"),
    ),
    Step(
        "merlion, asking for the account API",
        SINGAPORE,
        "sk-demo-merlion-1",
        "block",
        "provider.admin-path",
        None,
        method="GET",
        path="/v1/%6frganizations",
    ),
    Step("banyan, restricted by the provider", KYOTO, "sk-demo-banyan-1", "reroute", "provider.restricted", "fallback"),
]


@dataclass(frozen=True)
class Outcome:
    """What became of a step: the customer's side, the node's event, the provider's side."""

    step: Step
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    event: dict
    received: dict | None

    def account(self):
        return self.received and self.received["account"]

    def tag(self):
        """The Compliance-Tag as the provider got it, or None."""
        pairs = self.received["headers"] if self.received else []
        return next((value for name, value in pairs if name == "compliance-tag"), None)

    def provider_saw(self):
        if self.received is None:
            return "nothing"
        members = dict(re.findall(r'(\w+)="?([^",\s]+)"?', self.tag() or ""))
        shown = [members[name] for name in ("customer", "origin", "network", "attest") if name in members]
        return f"{self.account()}: {', '.join(shown)}"

    def faults(self):
        """Every way in which this isn't what the story expects."""
        facts = [
            ("verdict", self.event.get("verdict"), self.step.verdict),
            ("reason", self.event.get("reason"), self.step.reason),
            ("the account it arrived at", self.account(), self.step.account),
            ("refused", self.status in (401, 403), self.step.account is None),
            ("answered by the provider", self.status == 200, self.step.account is not None),
            ("a stream that came to its end", self.body.endswith(b"data: [DONE]\n\n"), self.step.openai),
        ]
        if self.step.account is None:
            facts.append(("x-waybill-reason", dict(self.headers).get("x-waybill-reason"), self.step.reason))
        yield from (f"{name} is {is_now!r}, not {expected!r}" for name, is_now, expected in facts if is_now != expected)
        sent_on = json.dumps(self.received)
        yield from (f"{word!r} reached the provider" for word in (self.step.key, *self.step.forged) if word in sent_on)


def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # leaves by way of what stops the processes
    try:
        with ExitStack() as running:
            return tell(running)
    except (Failure, DataError) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1


def tell(running):
    envoy = check_before_start()
    compiled = prepare.prepare()
    start_provider(running)
    start_node(running, envoy)
    outcomes = [play(step) for step in STORY]
    print(f"\nA reseller's gateway, with Waybill in a real Envoy{AS[HOST]}: what became of thirteen requests, and why\n")
    print_table(outcomes)
    faults = [f"  {n}. {o.step.who}: {fault}" for n, o in enumerate(outcomes, 1) for fault in o.faults()]
    if faults:
        raise Failure("\n".join(["not what the story expects:", *faults, f"  See {EVENTS} and {ENVOY_LOG}."]))
    print_refusal(outcome_of(outcomes, "ownership.restricted"))
    print_screening()
    print_tag(outcomes[0])
    print_register(compiled)
    change_the_register()
    print_metrics()
    three_nodes.tell(running, envoy)
    print_where_next(envoy, outcome_of(outcomes, "ownership.restricted"))
    return 0


def outcome_of(outcomes, reason):
    return next(outcome for outcome in outcomes if outcome.step.reason == reason)


# === start and stop ===


def check_before_start():
    """Everything that would make a confusing failure later, told now. Returns the Envoy binary."""
    missing = [str(path) for path in NEEDED if not path.is_file()]
    if missing:
        raise Failure(f"not found: {', '.join(missing)}. Run `./build.sh demo`, which makes them and then runs this.")
    envoy = shutil.which(os.environ.get("ENVOY", "envoy"))
    if envoy is None:
        raise Failure("no Envoy. Name the binary in ENVOY, or run `./build.sh demo`, which gets one.")
    expect_free([ADMIN, GATEWAY, SNAPSHOTS, PROVIDER, *three_nodes.PORTS])
    return envoy


def start_provider(running):
    process = spawn(running, [sys.executable, "envoy/provider.py", str(PROVIDER)])
    wait_until_ready(process, "the provider stand-in", PROVIDER, "/_received", "It says above why.")


def start_node(running, envoy):
    process = start_envoy(running, envoy, ENVOY_CONFIG, ENVOY_LOG)
    with last_words(ENVOY_LOG) as hint:
        wait_until_ready(process, "Envoy", ADMIN, "/ready", hint)
        wait_until_ready(process, "the snapshot", GATEWAY, READY, hint)
    time.sleep(0.2)  # one worker has it; the others look for it ten times a second


# === one request ===


def play(step):
    """Sends one request and gathers what all three sides know about it."""
    seen_before, logged_before = len(received()), EVENTS.stat().st_size
    try:
        response, body = exchange(GATEWAY, step.method, step.path, body_of(step), headers_of(step))
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"no answer for `{step.who}`: {error!r}. {ENVOY_LOG} may say why.") from None
    arrived = received()[seen_before:]
    return Outcome(
        step=step,
        status=response.status,
        headers=[(name.lower(), value) for name, value in response.getheaders()],
        body=body,
        event=next_event(logged_before),
        received=arrived[0] if arrived else None,
    )


def headers_of(step):
    credential = {"authorization": f"Bearer {step.key}"} if step.openai else {"x-api-key": step.key}
    vendor = {} if step.openai else {"anthropic-version": "2023-06-01"}
    return {"content-type": "application/json", "x-forwarded-for": step.address} | credential | vendor | step.headers


def body_of(step):
    if step.method == "GET":
        return None
    return json.dumps(json.loads(CALL) | {"stream": True}) if step.openai else CALL


def received():
    return json.loads(get(PROVIDER, "/_received")[1])


def next_event(offset):
    """The event that Envoy writes once the request is over."""
    event = event_of(lines_since(EVENTS, offset, bool, "no event")[0])
    if event is None:
        raise Failure(f"a request passed Envoy without the node. See {EVENTS} and {ENVOY_LOG}.")
    return event


# === the register changes ===


def change_the_register():
    """Suspends tidewater in the register and compiles it again, while merlion goes on calling."""
    suspended, other = "sk-demo-tidewater-1", "sk-demo-merlion-1"
    title("A live change: tidewater is suspended in the register, while merlion goes on calling")
    before = snapshot_sequence()
    customers = REGISTER / "customers.json"
    written = customers.read_text()
    changed = written.replace('"id": "tidewater",', '"id": "tidewater",\n      "status": "suspended",')
    with Callers(other, SINGAPORE) as callers:
        time.sleep(0.5)
        status, _ = call(suspended, BERLIN)
        if status != 200:
            raise Failure(f"tidewater is refused before it is suspended: {status}")
        customers.write_text(changed)
        compiled = prepare.compile_register()
        started = time.monotonic()
        status, reason = first_refusal(suspended, BERLIN)
        waited = time.monotonic() - started
        time.sleep(0.5)
    for line in difflib.unified_diff(written.splitlines(), changed.splitlines(), str(customers), n=1, lineterm=""):
        if not line.startswith("+++"):
            print(f"  {line}")
    print("  waybill compile:")
    print(textwrap.indent(compiled.rstrip(), "    "))
    after = snapshot_sequence()
    print(f"  snapshot {before} -> {after}: tidewater gets {status} {reason}, {waited:.1f} s after the file was there")
    answered = ", ".join(f"{count} answered {outcome}" for outcome, count in sorted(callers.outcomes.items()))
    print(f"  merlion meanwhile: {callers.outcomes.total()} requests, {answered}")
    lost = callers.outcomes.total() - callers.outcomes["200"]
    if (status, reason) != (403, "customer.suspended") or after <= before or lost:
        raise Failure(f"the change didn't come through as it ought to, or requests were lost ({lost}). See {ENVOY_LOG}.")


class Callers:
    """A small load of one customer's requests over kept connections, from `with` to the end of the block."""

    def __init__(self, key, address):
        self.headers = {"x-api-key": key, "x-forwarded-for": address, "content-type": "application/json"}
        self.outcomes = Counter()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.go_on, daemon=True) for _ in range(CALLERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def go_on(self):
        connection = http.client.HTTPConnection("127.0.0.1", GATEWAY, timeout=10)
        counted = Counter()
        while not self.over.is_set():
            try:
                connection.request("POST", "/v1/messages", CALL, self.headers)
                response = connection.getresponse()
                response.read()
                counted[str(response.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                counted[type(error).__name__] += 1
                connection.close()
            time.sleep(PAUSE_SECONDS)
        connection.close()
        self.outcomes += counted


def first_refusal(key, address):
    deadline = time.monotonic() + CHANGE_SECONDS
    while time.monotonic() < deadline:
        status, reason = call(key, address)
        if status != 200:
            return status, reason
        time.sleep(0.05)
    raise Failure(f"no refusal {CHANGE_SECONDS} seconds after the register changed. {ENVOY_LOG} may say why.")


def call(key, address):
    headers = {"x-api-key": key, "x-forwarded-for": address, "content-type": "application/json"}
    response, _ = exchange(GATEWAY, "POST", "/v1/messages", CALL, headers)
    return response.status, response.getheader("x-waybill-reason")


def snapshot_sequence():
    lines = get(ADMIN, "/stats?filter=waybill_snapshot_sequence")[1].split()
    return int(lines[-1])


# === what is shown ===


def print_table(outcomes):
    heading = ("", "who", "from", "verdict", "reason", "the provider saw (account: tag)")
    rows = [
        (
            str(number),
            outcome.step.who,
            outcome.event.get("origin") or "?",
            outcome.event.get("verdict") or "?",
            outcome.event.get("reason") or "",
            outcome.provider_saw(),
        )
        for number, outcome in enumerate(outcomes, 1)
    ]
    print_rows(heading, rows)
    print("\nOf the tag, the table shows customer, origin, network and attest. `report` lets a request pass and records why.")


def print_refusal(outcome):
    title(f"What a refused customer gets ({outcome.step.who})")
    print(f"  HTTP {outcome.status}")
    for name, value in outcome.headers:
        print(f"  {name}: {value}")
    print()
    print_wrapped(outcome.body.decode())


def print_screening():
    title("Why harbour is refused: `waybill screen harbour` on the register")
    print(textwrap.indent(prepare.waybill("screen", "harbour", "--register", REGISTER).rstrip(), "  "))


def print_register(compiled):
    title("Where the customers come from: `waybill compile` on the register, fetched by the node")
    print(textwrap.indent(compiled.rstrip(), "  "))
    print("  among its sources: countries by two deciding tables and a hint, AS numbers, and lists of clouds, CDNs, VPNs, Tor")


def print_tag(outcome):
    title(f"The tag that the provider gets ({outcome.step.who})")
    print_wrapped(f"compliance-tag: {outcome.tag()}")


def print_metrics():
    metrics = [line for line in get(ADMIN, "/stats/prometheus")[1].splitlines() if line.startswith("waybill_")]
    METRICS.write_text("\n".join(metrics) + "\n")
    title("What the metrics say (Prometheus, from Envoy's admin port)")
    for line in metrics:
        if not line.endswith(" 0"):
            print(f"  {line}")


def print_where_next(envoy, refused):
    title("Where it is written down")
    print(f"  {EVENTS}: one line a request, each with the node's event and its findings")
    print(f"  {METRICS}: all metrics, those at zero too; {ENVOY_LOG}: Envoy's own log")
    print(f"  {three_nodes.EVENTS}, {three_nodes.LOG}: the same of the three nodes")

    save_for_explain(refused)
    title("Try it yourself")
    print(f"  python3 envoy/provider.py {PROVIDER} &")
    print(f"  {IN_FRONT}{min(envoy, os.path.relpath(envoy), key=len)} -c {ENVOY_CONFIG} --disable-hot-restart &")
    print(f"  curl -i http://127.0.0.1:{GATEWAY}{refused.step.path} -H 'x-api-key: {refused.step.key}' \\")
    print(f"    -H 'x-forwarded-for: {refused.step.address}' \\")
    print(f"    -d '{body_of(refused.step)}'")
    print("\n  The same decision without Envoy, with all that led to it:")
    print(f"  dist/waybill explain --config {NODE_CONFIG} --request {REQUEST} --snapshot {SNAPSHOT}")
    print("\n  What is in the snapshot, and what it says of an address:")
    print(f"  dist/waybill inspect {SNAPSHOT} --trusted-key {prepare.trusted_key()}")
    print(f"  dist/waybill inspect {SNAPSHOT} --address {TOR_EXIT}")
    print(f"\n  Change the register in {REGISTER}, and let a running Envoy have it:")
    print("  .build/venv/bin/python envoy/prepare.py --compile")
    print(f"\n{ATTRIBUTION}")


def save_for_explain(outcome):
    """The configuration that Envoy runs with, and one of the requests as the node got it, for `explain`."""
    dump = json.loads(get(ADMIN, "/config_dump")[1])
    NODE_CONFIG.write_text(next(find_node_configurations(dump)))
    step = outcome.step
    request = {
        "method": step.method,
        "authority": f"127.0.0.1:{GATEWAY}",
        "path": step.path,
        "headers": [list(pair) for pair in headers_of(step).items()],
        "direct_peer": "127.0.0.1",
        "time": int(time.time()),
    }
    REQUEST.write_text(json.dumps(request, indent=2) + "\n")


def find_node_configurations(value):
    """The JSON in every StringValue of Envoy's configuration, wherever it stands."""
    if isinstance(value, dict):
        if value.get("@type") == "type.googleapis.com/google.protobuf.StringValue":
            yield value["value"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from find_node_configurations(member)


if __name__ == "__main__":
    sys.exit(main())
