"""The desk answers as the node does: random requests through the shipped files in a real Envoy, each asked of `waybill test` too.

The desk gets the very Envoy file that ran and what the client sent. Compared are verdict, reason, findings with their evidence, who
called and from where, and every header that reached the upstream; or the refusal. EXPLAIN_REQUESTS=5000 asks for more than a test
run's requests; EXPLAIN_SEED=1 for others.
"""

import json
import os
import random
import subprocess
import time
from collections import Counter

import chains
import fuzz
import test_arrival as arrival
import wire
from fuzz import MARK
from harness import ROOT, WAYBILL, assert_unharmed, until
from shipped import ALONE, DOORS, KEYS, Shipped
from test_scenarios import assert_same_refusal, timeless

REQUESTS = int(os.environ.get("EXPLAIN_REQUESTS", "400"))
SEED = int(os.environ.get("EXPLAIN_SEED", "20261128"))
FILES = {"edge", "transit", "ingress", "demo", "snapshot"}
OF_ENVOY = {"host", "x-request-id", "transfer-encoding"}  # made by it for the upstream, or by chance
DECIDED, ANSWERED = "decided by the node", "answered by Envoy itself"
SAMPLES = 12  # disagreements that a failure shows


def any_address(chance):
    four = ".".join(str(chance.randrange(1, 224 if place == 0 else 256)) for place in range(4))
    six = f"2{chance.choice(['001', '400', '600', '800', 'a00'])}:{chance.randrange(0x10000):x}::{chance.randrange(0x10000):x}"
    return chance.choice([four, four, six, f"::ffff:{four}", f"64:ff9b::{four}", f"2002:{chance.randrange(0x10000):x}:1::1"])


def addressed(chance, request):
    """From anywhere, in any form that the table of forms has."""
    element = chance.choice(["1.2.4.8"] * 20 + arrival.ELEMENTS).replace("10.0.0.", "127.0.0.")
    found = any_address(chance)
    lines = [["x-forwarded-for", element.replace("1.2.4.8", found)]]
    if chance.random() < 0.2:
        lines = [[name, value if isinstance(value, dict) else value.replace("1.2.4.8", found)] for name, value in chance.choice(arrival.LINES)]
    request.headers = [pair for pair in request.headers if pair[0] != "x-forwarded-for"] + lines
    return fuzz.MAY


def of_envoys(chance, request):
    """Headers that Envoy changes."""
    request.headers += [[name, value] for name, value in chance.choice(arrival.HEADERS) if name not in ("connection", "upgrade", "expect")]
    return fuzz.MAY


def path_of_table(chance, request):
    path = chance.choice([path for path in arrival.PATHS if isinstance(path, str) and path.startswith("/") and " " not in path])
    request.path = path
    return fuzz.MAY


def with_country(chance, request):
    request.headers.insert(0, [chance.choice(["x-geo-country", "X-Geo-Country", "x-user-country"]), chance.choice(["SG", "CN", "US", "zz", ""])])
    return fuzz.MAY


class Comparison(fuzz.Fuzz):
    """The fuzzer's requests and some more, each answered twice."""

    def __init__(self, lab, seed):
        super().__init__(lab, seed)
        self.agreed, self.differences, self.kinds = 0, [], Counter()
        config = json.loads((lab.folder / "envoy.json").read_text())
        self.filters = {each["name"]: number for number, each in enumerate(config["static_resources"]["listeners"], 1)}
        self.unseen = {each["name"]: written_later(each, config["static_resources"]["clusters"]) for each in config["static_resources"]["listeners"]}

    def request(self):
        made = super().request()
        for spoil in (addressed, of_envoys, path_of_table, with_country):
            if self.chance.random() < 0.25 and made.size() < fuzz.WEIGHED_FROM:
                spoil(self.chance, made)
        return made

    def batch(self):
        played = {}
        self.lab.upstream.take()
        for _ in range(fuzz.BATCH):
            request = self.request()
            second = int(time.time())
            played[str(request.number)] = [request, second, self.send(request), None, None]
        for received in self.lab.upstream.take():
            number = dict((name.lower(), value) for name, value in received["headers"]).get("x-fuzz")
            if number in played:
                played[number][3] = received
        for number, event in self.events(played).items():
            played[number][4] = json.loads(event) if event != "-" else None
        by_door = {}
        for request, *rest in played.values():
            by_door.setdefault(request.door, []).append((request, *rest))
        for door, several in by_door.items():
            self.compare(door, several)

    def events(self, played):
        """The events of a batch. Envoy writes a line for each request that it could read."""
        found = {}
        answered = {number for number, (_, _, answer, received, _) in played.items() if received or (answer and answer.header("x-waybill-reason"))}

        def are_there():
            for node in self.lab.nodes.values():
                for line in self.new_lines(node.events):
                    number, _, event = line.decode("latin-1").partition(" ")
                    if number in played:
                        found[number] = event
            return answered <= set(found)

        until(fuzz.PATIENCE, "the events", are_there, self.lab.log)
        return found

    def compare(self, door, several):
        cases = []
        for request, second, _, _, event in several:
            time_of = int(chains_time(event["time"])) if event else second
            cases.append({"name": str(request.number), "request": sent(request, time_of), "expect": {"verdict": "allow"}})
        explained = asked_of_desk(self.lab, self.filters[door], cases)
        for (request, _, answer, received, event), desk in zip(several, explained, strict=True):
            kind = self.kind(request, answer, event, desk)
            self.kinds[kind] += 1
            if kind not in (DECIDED, ANSWERED):
                continue
            faults = list(self.faults(request, answer, received, event, desk))
            if faults:
                self.differences.append(f"{request.told()}\n    " + "\n    ".join(faults))
            else:
                self.agreed += 1

    def kind(self, request, answer, event, desk):
        """Whether the node decided, or Envoy answered, or the protocol did, which the desk doesn't know."""
        if event:
            return DECIDED
        if answer is None:
            return "broken off by the protocol's rules"
        if not request.h2 and any("over HTTP/1" in note for note in desk["notes"]):
            return "refused over HTTP/1, as the desk notes"
        return "too long" if answer.status == 431 else ANSWERED

    def faults(self, request, answer, received, event, desk):
        door, method = request.door, request.method
        if event is None:
            if (desk["envoy"] or {}).get("status") != answer.status:
                yield f"Envoy answers {answer.status} by itself, the desk {desk['envoy'] or desk['verdict']}"
            return
        if desk["envoy"]:
            yield f"the node decides, the desk says {desk['envoy']}"
            return
        verdict, evidence = desk["verdict"], desk["evidence"]
        findings = [[each["code"], each["action"], each["evidence"]] for each in desk["findings"]]
        pairs = [
            ("verdict", verdict["action"], event["verdict"]), ("would_be", verdict["would_be"], event["would_be"]),
            ("reason", verdict["reason"], event["reason"]), ("customer", evidence["customer"], event["customer"]),
            ("origin", evidence["origin"], event["origin"]), ("user", evidence["user"], event["user"]),
            ("worth", (evidence["chain"] or {"worth": None})["worth"], event["chain"]),
            ("findings", findings, [[each["code"], each["action"], each["evidence"]] for each in event["findings"]]),
        ]  # fmt: skip
        for what, found, wanted in pairs:
            if found != wanted:
                yield f"{what}: the node {wanted}, the desk {found}"
        if received:
            unseen = self.unseen[door] | OF_ENVOY
            found, wanted = headers(desk["request_headers"], unseen), headers(received["headers"], unseen)
            if found != wanted:
                yield f"headers: the node beside {dict(wanted - found)}, the desk beside {dict(found - wanted)}"
            path = dict(map(tuple, desk["request_headers"]))[":path"]
            if path != received["path"]:
                yield f"path: the node {received['path']}, the desk {path}"
        elif answer and answer.header("x-waybill-reason"):
            try:
                answered = {**desk["response"], "body": ""} if method == "HEAD" else desk["response"]
                assert_same_refusal(answered, answer, event["id"])
            except AssertionError as error:
                yield f"refusal: {str(error)[:400]}"


def chains_time(text):
    """Seconds since 1970 of an event's time."""
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


def sent(request, second):
    """A request as the desk takes it."""
    pairs = [[wire.as_bytes(name).decode("latin-1"), wire.as_json(wire.as_bytes(value))] for name, value in request.headers]
    if request.body and not request.trailers and not request.h2:
        pairs.append(["content-length", str(len(request.body))])
    captured = {"method": request.method, "path": request.path, "headers": pairs, "direct_peer": "127.0.0.1", "time": second}
    return captured | ({"authority": request.host} if request.host else {})


def asked_of_desk(lab, number, cases):
    """What the desk says to some requests through one filter of the Envoy file that runs."""
    file = lab.folder / "cases.json"
    file.write_text(json.dumps(cases))
    command = [WAYBILL, "test", file, "--config", lab.folder / "envoy.json", "--filter", str(number), "--json"]
    if lab.snapshot and "snapshot" in list(lab.nodes.values())[number - 1].config:
        command += ["--register", lab.snapshot.folder]
    environment = {"WAYBILL_SIGNING_KEY": chains.Key(KEYS["a"]["seed"]).private_jwk()}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    return [each["explained"] for each in json.loads(done.stdout)["cases"]]


def written_later(listener, clusters):
    """Headers that Envoy removes or sets after the node."""
    names, pending = set(), [listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            names |= {name.lower() for name in part.get("request_headers_to_remove", [])}
            pending += part.values()
    for cluster in clusters:
        for options in cluster.get("typed_extension_protocol_options", {}).values():
            for each in options.get("http_filters", []):
                if "credential" in each["typed_config"]:
                    names.add(each["typed_config"]["credential"]["typed_config"].get("header", "authorization").lower())
    return names


def headers(pairs, unseen):
    """Lines in no order, with what the clock and chance put in taken out. HTTP/2 has its cookies joined, and the desk doesn't know the protocol."""
    cookies = "; ".join(value for name, value in pairs if name.lower() == "cookie")
    pairs = [pair for pair in pairs if pair[0].lower() != "cookie"] + [["cookie", cookies]]
    return Counter((name.lower(), json.dumps(timeless(value))) for name, value in pairs if name[0] != ":" and name.lower() not in unseen)


def test_the_desk_agrees_with_the_node(tmp_path):
    doors = [door for door in [*DOORS, *ALONE] if door.file in FILES]
    changes = {"http_protocol_options": {"enable_trailers": True}}
    with fuzz.Quiet() as upstream, Shipped(tmp_path, doors, upstream, changes, line="%REQ(x-fuzz)% ") as lab:
        hunt = Comparison(lab, SEED)
        while hunt.sent < REQUESTS:
            hunt.batch()
        assert_unharmed(lab)
    told = f"{hunt.agreed} of {hunt.kinds[DECIDED] + hunt.kinds[ANSWERED]} agree; {dict(hunt.kinds)}"
    print(told)
    assert not hunt.differences, told + "\n" + "\n".join(hunt.differences[:SAMPLES])
    assert hunt.kinds[DECIDED] > 0.6 * hunt.sent, told
