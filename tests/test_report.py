"""`waybill report` and an independent count say the same of one log, in JSON, in tables and on the page.

The log is made here: events in all forms of lines, other lines among them, gzip beside plain. What people named
themselves (`<script>`, a formula) harms neither the page nor a spreadsheet.
"""

import csv
import gzip
import html.parser
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import desk  # noqa: E402

WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
HOSTILE = '<script>alert(1)</script>"\'&'
FORMULA = "=HYPERLINK(1)"
VERDICTS = ["allow", "report", "reroute", "block"]
VOID = {"meta", "rect", "br", "link"}
EVENTS = 3_000


def report(*arguments, check=True):
    done = subprocess.run([WAYBILL, "report", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The files, and the events in them."""
    folder = tmp_path_factory.mktemp("log")
    events, lines = [], []
    for number, (event, text) in enumerate(desk.events(EVENTS, seed=7, customers=40, span=timedelta(days=5))):
        for old, new in (("customer-3", HOSTILE), ("customer-5", FORMULA)):
            if event["customer"] == old:
                event["customer"] = new
                text = json.dumps(event)
        events.append(event)
        forms = [desk.line(text, number), json.dumps({"status": 200, "event": event}) + "\n", text + "\n"]
        lines.append(forms[number % 3])
        if number % 100 == 0:
            lines += ['{"event": null, "status": 404}\n', "[2026-11-01] not of us\n"]
    half = len(lines) // 2
    older, newer = folder / "older it's.jsonl.gz", folder / "newer.jsonl"
    older.write_bytes(gzip.compress("".join(lines[:half]).encode()))
    newer.write_text("".join(lines[half:]))
    return [older, newer], events


def count(events):
    """What the report must say, counted by nothing of Waybill's."""
    customers = defaultdict(list)
    for event in events:
        customers[event["customer"]].append(event)
    origins = Counter(event["origin"] for event in events)
    blocked = Counter(event["origin"] for event in events if event["verdict"] == "block")
    return {
        "events": len(events),
        "by_verdict": verdicts(events),
        "by_reason": reasons(events),
        "would_be": {kind: sum(event["would_be"] == kind for event in events) for kind in ("block", "reroute")},
        "customers": {
            id: {"id": id, "events": len(its), "by_verdict": verdicts(its), "reasons": reasons(its)}
            for id, its in customers.items()
        },
        "software": dict(Counter(event["software"]["sdk"] for event in events if "software" in event)),
        "systems": dict(Counter(str(event["asn"]) for event in events if "asn" in event)),
        "countries": {it: {"country": it, "events": origins[it], "blocked": blocked[it]} for it in origins},
    }


def verdicts(events):
    return {verdict: sum(event["verdict"] == verdict for event in events) for verdict in VERDICTS}


def reasons(events):
    return dict(Counter(event["reason"] for event in events if event["reason"]))


def figures(*arguments):
    """The figures, the lists by their key, and period and faults apart."""
    found = json.loads(report(*arguments, "--json").stdout)
    schema = json.loads(subprocess.run([WAYBILL, "schema", "report"], capture_output=True, text=True).stdout)
    jsonschema.Draft202012Validator(schema).validate(found)
    rest = {name: found.pop(name) for name in ("period", "faults", "sharing")}
    for name, key in (("customers", "id"), ("countries", "country")):
        rows = found[name]
        assert [row["events"] for row in rows] == sorted((row["events"] for row in rows), reverse=True)
        found[name] = {row[key]: row for row in rows}
        assert len(found[name]) == len(rows)
    return found, rest


def test_the_figures_equal_an_independent_count(log):
    files, events = log
    found, rest = figures(*files)
    assert found == count(events)
    assert rest["period"] == {"since": plain(events[0]["time"]), "until": plain(events[-1]["time"])}


def plain(time):
    return time.replace(".000Z", "Z")


def test_since_is_inclusive_and_until_is_not(log):
    files, events = log
    since, until = events[500]["time"], events[900]["time"]
    assert events[499]["time"] < since and events[899]["time"] < until
    found, rest = figures(*files, "--since", since, "--until", until)
    assert found == count(events[500:900])
    assert rest["period"] == {"since": plain(since), "until": plain(until)}
    wrong = report(*files, "--since", until, "--until", until, "--json", check=False)
    assert wrong.returncode == 1 and "isn't before" in wrong.stderr


def test_conditions_select_and_print_the_events(log):
    files, events = log
    for conditions in ({"reason": "geo.restricted", "verdict": "block"}, {"customer": HOSTILE}, {"origin": ""}, {"asn": "64501"}):
        words = [word for name, value in conditions.items() for word in ("--where", f"{name}={value}")]
        expected = [event for event in events if all(str(event.get(name) or "") == value for name, value in conditions.items())]
        assert expected
        assert figures(*files, *words)[0] == count(expected)
        printed = report(*files, *words, "--events").stdout.splitlines()
        assert [json.loads(line) for line in printed] == expected


def test_gaps_are_counted_as_the_audit_counts_them(log, tmp_path):
    files, events = log
    whole, gap = tmp_path / "whole.jsonl", tmp_path / "gap.jsonl"
    texts = [desk.line(text, 1) for _, text in desk.events(400, seed=3)]
    whole.write_text("".join(texts))
    gap.write_text("".join(texts[:100] + texts[105:]))
    for path, least in ((whole, 0), (gap, 1)):
        audit = subprocess.run([WAYBILL, "audit", "verify", path, "--json"], capture_output=True, text=True)
        faults = len(json.loads(audit.stdout)["faults"])
        assert figures(path)[1]["faults"] == faults >= least
        assert (faults > 0) == (least > 0)


def test_nodes_that_carried_requests(log):
    files, events = log
    found, _ = figures(*files, "--by", "reseller")
    carried, signed, unproven = Counter(), Counter(), Counter()
    for event in events:
        hops = event.get("hops", [])
        carried.update({hop["node"] for hop in hops})
        signed.update(hop["node"] for hop in hops[-1:])
        unproven.update(hop["node"] for hop in hops if not hop["proven"])
    rows = {row["node"]: row for row in found["resellers"]}
    assert {node: row["events"] for node, row in rows.items()} == carried
    assert Counter({node: row["signed"] for node, row in rows.items()}) == signed
    assert Counter({node: row["unproven"] for node, row in rows.items()}) == unproven
    assert rows["reseller-b.example"]["weakest"] == "partial"


def test_tables_hold_the_same_and_no_formula(log, tmp_path):
    files, events = log
    report(*files, "--csv", tmp_path)
    expected = count(events)
    with (tmp_path / "customers.csv").open(newline="") as table:
        rows = {row["customer"]: row for row in csv.DictReader(table)}
    assert FORMULA not in rows and rows["'" + FORMULA]["events"] == str(expected["customers"][FORMULA]["events"])
    assert rows[HOSTILE]["block"] == str(expected["customers"][HOSTILE]["by_verdict"]["block"])
    assert sum(int(row["events"]) for row in rows.values()) == len(events)
    with (tmp_path / "over-time.csv").open(newline="") as table:
        spans = list(csv.DictReader(table))
    assert {verdict: sum(int(span[verdict]) for span in spans) for verdict in VERDICTS} == expected["by_verdict"]


class Page(html.parser.HTMLParser):
    """A page's elements, its text, and whatever it would load or run."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.text, self.tags, self.policy, self.style = [], [], [], Counter(), None, ""
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> isn't closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        names = [name for name, _ in attributes]
        self.wrong += [f"{tag} {name}" for name in names if name.startswith("on") or name in ("src", "href", "style")]
        if len(names) != len(set(names)):
            self.wrong.append(f"<{tag}> has a duplicate attribute")
        if ("http-equiv", "Content-Security-Policy") in attributes:
            self.policy = dict(attributes)["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> closes nothing")
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def page(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    report(*log[0], "-o", path, "--by", "reseller", "--time", "2026-11-07T00:00:00Z")
    return path.read_text()


def test_the_page_runs_nothing_and_loads_nothing(page):
    parsed = Page(page)
    assert parsed.wrong == []
    assert not parsed.tags.keys() & {"script", "img", "iframe", "link", "object", "form", "base"}
    assert not re.search(r"url\(|@import|https?:", page)
    policy = parsed.policy
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(parsed.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert HOSTILE in "".join(parsed.text), "the hostile customer isn't on the page"


def test_the_page_has_the_same_figures(page, log):
    expected = count(log[1])
    text = re.sub(r"\s+", " ", " ".join(Page(page).text))
    assert f"{expected['events']:,} events" in text
    numbers = expected["by_verdict"] | expected["by_reason"] | expected["software"]
    numbers |= {name: row["events"] for name, row in expected["countries"].items() if name}
    systems = sorted(expected["systems"].items(), key=lambda row: (-row[1], row[0]))
    numbers |= {f"AS{number}": events for number, events in systems[:10]}
    for name, number in numbers.items():
        assert re.search(rf"(^| ){re.escape(name)} [^0-9]*([0-9,]+ refused )?{number:,} ", text), name
    assert "CN (China)" in text and f"AS{systems[10][0]} " not in text and "And 11 more" in text
    refused = expected["customers"][HOSTILE]["by_verdict"]["block"]
    assert f"{HOSTILE} {refused:,} of {expected['customers'][HOSTILE]['events']:,}" in text


def test_each_number_leads_to_its_latest_events_and_to_all(page, log, tmp_path):
    files, events = log
    sections = re.findall(r'<details class="number">.*?</details>', page, re.S)
    commands = 0
    for section in sections:
        ids = re.findall(r'<td class="id">([^<]+)</td>', section)
        command = html.unescape(re.search(r"All of them: <code>(.*?)</code>", section, re.S)[1])
        if command.count("\n") or commands >= 12:
            continue
        commands += 1
        done = subprocess.run(command.replace("waybill", str(WAYBILL), 1), shell=True, capture_output=True, text=True)
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        latest = sorted(printed, key=lambda event: event["time"])[-50:]
        assert done.returncode == 0 and set(ids) == {event["id"] for event in latest}, command
        number = re.search(r'<span class="figure">([0-9,]+)', section)[1].replace(",", "")
        assert int(number) == len(printed), command
    assert commands == 12


def test_a_page_without_events_says_so(tmp_path):
    log = tmp_path / "empty.jsonl"
    log.write_text('{"event": null}\n')
    report(log, "-o", tmp_path / "page.html", "--json")
    text = (tmp_path / "page.html").read_text()
    assert Page(text).wrong == [] and "No events." in text


AT = "2026-11-07T00:00:00Z"
EVIDENCE = "412 networks on 2026-11-04, usually 38 a day; so on 3 of 7 days up to then"


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    """Signs of sharing: one that holds, one that an override silences, one that has ended, one that no node fires."""
    folder = tmp_path_factory.mktemp("register")

    def sign(customer, finding, credential=None, until="2026-11-18T00:00:00Z"):
        return {"customer": customer, "credential": credential, "finding": finding, "since": "2026-11-04T00:00:00Z",
                "until": until, "evidence": EVIDENCE, "numbers": {"networks": 412}}  # fmt: skip

    def override(finding, until, **more):
        return {"finding": finding, "action": "allow", "author": "Jo Officer", "until": until, **more}

    overrides = [
        override("relay.suspected", "2026-12-31T00:00:00Z", reason=HOSTILE, event="0123456789abcdef-4"),
        override("sharing.countries", AT),
    ]
    digest = "sha256:" + "ab" * 32
    customers = [
        {"id": "customer-0", "name": HOSTILE, "credentials": [{"digest": digest, "label": "production"}], "overrides": overrides},
        {"id": "customer-1", "kind": "reseller", "credentials": ["sha256:" + "cd" * 32]},
    ]
    signals = [
        sign("customer-0", "sharing.addresses", "production"),
        sign("customer-0", "sharing.countries", "production", until=AT),
        sign("customer-0", "relay.suspected"),
        sign("customer-1", "sharing.addresses"),
    ]
    for name, content in (("register", {"schema": 1}), ("customers", {"customers": [{**it, "ownership": "clear"} for it in customers]}), ("sharing", {"signals": signals})):
        (folder / f"{name}.json").write_text(json.dumps(content))
    expected = {
        "signals": [
            {name: value for name, value in {**signals[index], "silenced": silenced}.items() if name != "numbers"}
            for index, silenced in ((0, False), (2, True))
        ],
        "overrides": [{"customer": "customer-0", **overrides[0]}],
    }
    return folder, expected


def test_signs_of_sharing_and_overrides_in_force(log, register, tmp_path):
    files, events = log
    folder, expected = register
    assert figures(*files)[1]["sharing"] is None
    found = report(*files, "--register", folder, "--time", AT, "--json", "-o", tmp_path / "page.html", "--csv", tmp_path)
    assert json.loads(found.stdout)["sharing"] == expected
    page = (tmp_path / "page.html").read_text()
    parsed = Page(page)
    text = re.sub(r"\s+", " ", " ".join(parsed.text))
    assert parsed.wrong == []
    assert text.count(EVIDENCE) == 2 and "Signs of sharing 2" in text and "bind the credential to networks" in text
    assert "Since 2026-11-04, ends 2026-11-18. Silent until 2026-12-31 00:00:00, by an override of Jo Officer" in text
    assert f"relay.suspected allow Jo Officer 2026-12-31 00:00:00 {HOSTILE} 0123456789abcdef-4" in text
    section = page.split("Signs of sharing")[1].split("Weak chains")[0]
    for command in re.findall(r"<code>(waybill .*?)</code>", section):
        command = html.unescape(command).replace("waybill", str(WAYBILL), 1)
        assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    for name, rows in (("sharing", 2), ("overrides", 1)):
        with (tmp_path / f"{name}.csv").open(newline="") as table:
            assert len(list(csv.DictReader(table))) == rows
    assert "2 signs in force" in report(*files, "--register", folder, "--time", AT).stdout


def test_text_answers_a_question(log):
    files, events = log
    text = report(*files, "--where", "finding=geo.undeclared").stdout
    expected = count([event for event in events if "geo.undeclared" in [it["code"] for it in event["findings"]]])
    assert text.startswith(f"{expected['events']:,} events, 2026-11-")
    for verdict, number in expected["by_verdict"].items():
        assert number == 0 or re.search(rf"^verdicts .*\b{verdict} {number:,}\b", text, re.MULTILINE)
    for name, row in list(expected["customers"].items())[:1]:
        assert re.search(rf"^ +{row['events']:,} +{row['by_verdict']['block']:,}  {re.escape(name)}$", text, re.MULTILINE)
    for reason, number in expected["by_reason"].items():
        assert re.search(rf"^ +{number:,}  {re.escape(reason)}: ", text, re.MULTILINE)
    assert all(len(line) <= 80 for line in text.splitlines())
