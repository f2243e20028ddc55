#!/usr/bin/env python3
"""The demo: a told story of twelve requests through a real Envoy with Waybill in it.

`./build.sh demo` runs it from the root of the repository, with ENVOY naming the Envoy binary. It starts the
providers' stand-in and Envoy (envoy/demo.yaml), plays the load balancer that writes X-Forwarded-For, and shows
for each request what the node decided (from its event log) and what the provider saw (from the stand-in).
Nothing in the table is written here: what is written here is what each row ought to show, and the demo fails
when a row shows anything else. It takes a few seconds and leaves nothing running.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

ENVOY_CONFIG = Path("envoy/demo.yaml")
EVENTS = Path("dist/events.jsonl")
ENVOY_LOG = Path("dist/envoy.log")
METRICS = Path("dist/metrics.prom")
NODE_CONFIG = Path("dist/demo-config.json")
REQUEST = Path("dist/demo-request.json")
NEEDED = [ENVOY_CONFIG, Path("dist/waybill.wasm"), Path("dist/dbip-country-lite.mmdb")]

# The ports of demo.yaml.
ADMIN, GATEWAY, PROVIDER = 9901, 10000, 18080

# Real addresses: the node looks their country up, the demo doesn't say it.
SINGAPORE, BERLIN, BEIJING, KYOTO = "165.21.100.88", "141.20.0.1", "1.2.4.8", "130.54.0.1"

START_SECONDS = 20  # Envoy compiles the module for each worker first; a slow machine takes a few seconds
EVENT_SECONDS = 5


class Failure(Exception):
    """The demo can't go on; the message says what is wrong and what to do."""


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
        "merlion, OpenAI style, streaming",
        SINGAPORE,
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
        shown = [members.get(name, "-") for name in ("customer", "origin", "attest")]
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
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1


def tell(running):
    envoy = check_before_start()
    start_provider(running)
    start_envoy(running, envoy)
    outcomes = [play(step) for step in STORY]
    print("\nA reseller's gateway, with Waybill in a real Envoy: what became of twelve requests, and why\n")
    print_table(outcomes)
    faults = [f"  {n}. {o.step.who}: {fault}" for n, o in enumerate(outcomes, 1) for fault in o.faults()]
    if faults:
        raise Failure("\n".join(["not what the story expects:", *faults, f"  See {EVENTS} and {ENVOY_LOG}."]))
    print_refusal(outcome_of(outcomes, "ownership.restricted"))
    print_tag(outcomes[0])
    print_metrics()
    print_where_next(envoy, outcome_of(outcomes, "geo.restricted"))
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
    for port in (ADMIN, GATEWAY, PROVIDER):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Failure(f"127.0.0.1:{port} isn't free ({error.strerror}). Stop what listens there.") from None
    return envoy


def start_provider(running):
    process = spawn(running, [sys.executable, "envoy/provider.py", str(PROVIDER)])
    wait_until_ready(process, "the provider stand-in", PROVIDER, "/_received", "It says above why.")


def start_envoy(running, envoy):
    log = running.enter_context(ENVOY_LOG.open("w"))
    options = ["--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "50"]
    process = spawn(running, [envoy, "-c", str(ENVOY_CONFIG), *options], stdout=log, stderr=log)
    try:
        wait_until_ready(process, "Envoy", ADMIN, "/ready", f"{ENVOY_LOG} says why; it ends:")
    except Failure as failure:
        last_words = ENVOY_LOG.read_text(errors="replace").splitlines()[-5:]
        raise Failure("\n".join([str(failure), *last_words])) from None


def spawn(running, command, **streams):
    """Starts a process that ends with the demo, however that ends."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **streams)
    running.callback(stop, process)
    return process


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_ready(process, name, port, path, hint):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"{name} ended at once, with status {process.returncode}. {hint}")
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise Failure(f"{name} isn't ready after {START_SECONDS} seconds. {hint}")


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
    call = {"model": "demo-model", "max_tokens": 16, "messages": [{"role": "user", "content": "Good morning"}]}
    return json.dumps(call | {"stream": True} if step.openai else call)


def received():
    return json.loads(get(PROVIDER, "/_received")[1])


def next_event(offset):
    """The event that Envoy writes once the request is over: the first whole line after `offset`."""
    deadline = time.monotonic() + EVENT_SECONDS
    while time.monotonic() < deadline:
        with EVENTS.open("rb") as log:
            log.seek(offset)
            line = log.readline()
        if line.endswith(b"\n"):
            event = json.loads(line)["event"]
            if event is None:
                raise Failure(f"a request passed Envoy without the node: {line.decode()}See {ENVOY_LOG}.")
            return event
        time.sleep(0.02)
    raise Failure(f"no event in {EVENTS} {EVENT_SECONDS} seconds after a request. {ENVOY_LOG} may say why.")


def get(port, path):
    response, body = exchange(port, "GET", path)
    return response.status, body.decode()


def exchange(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


# === what is shown ===


def print_table(outcomes):
    heading = ("", "who", "from", "verdict", "reason", "the provider saw (account: tag)")
    rows = [heading] + [
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if row is heading:
            print("  ".join("-" * width for width in widths))
    print("\nOf the tag, the table shows customer, origin and attest. `report` lets a request pass and records why.")


def print_refusal(outcome):
    title(f"What a refused customer gets ({outcome.step.who})")
    print(f"  HTTP {outcome.status}")
    for name, value in outcome.headers:
        print(f"  {name}: {value}")
    print()
    print_wrapped(outcome.body.decode())


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

    save_for_explain(refused)
    title("Try it yourself")
    print(f"  python3 envoy/provider.py {PROVIDER} &")
    print(f"  {min(envoy, os.path.relpath(envoy), key=len)} -c {ENVOY_CONFIG} &")
    print(f"  curl -i http://127.0.0.1:{GATEWAY}{refused.step.path} -H 'x-api-key: {refused.step.key}' \\")
    print(f"    -H 'x-forwarded-for: {refused.step.address}' \\")
    print(f"    -d '{body_of(refused.step)}'")
    print("\n  The same decision without Envoy, with all that led to it:")
    print(f"  dist/waybill explain --config {NODE_CONFIG} --request {REQUEST}")
    print("\nIP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0")


def save_for_explain(outcome):
    """The configuration that Envoy runs with, and one of the requests as the node got it, for `explain`."""
    dump = json.loads(get(ADMIN, "/config_dump")[1])
    NODE_CONFIG.write_text(next(find_node_configurations(dump)))
    step = outcome.step
    country = {"x-geo-country": outcome.event["origin"]}  # what Envoy's geoip filter found
    request = {
        "method": step.method,
        "authority": f"127.0.0.1:{GATEWAY}",
        "path": step.path,
        "headers": [list(pair) for pair in (headers_of(step) | country).items()],
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


def title(text):
    print(f"\n{text}")
    print("-" * len(text))


def print_wrapped(text):
    print(textwrap.fill(text, 116, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))


if __name__ == "__main__":
    sys.exit(main())
