"""`waybill sharing` over a small seed of made traffic: who is named, who never, and what doesn't change the answer.

The traffic is that of `./build.sh bench sharing`, with a sixth of its credentials: tests/bench/kinds.py says what each is.
"""

import gzip
import json
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import kinds  # noqa: E402
import traffic  # noqa: E402

WAYBILL = Path(os.environ.get("WAYBILL", ROOT / "dist" / "waybill")).resolve()
SEED = 1
# a sixth of each kind
KINDS = [(group, kind, strength, max(1, number // 6), play) for group, kind, strength, number, play in kinds.KINDS]
# what must be found of what hides, and by which sign
FOUND = {
    ("relay, marks passed on", "8 programs"): "sharing.clients", ("relay, marks passed on", "12 programs"): "sharing.clients",
    ("relay, marks passed on", "32 in flight"): "sharing.clients",
    ("relay, marks passed on", "64 in flight"): "sharing.clients",
    ("relay, marks ironed out", "from homes"): "sharing.addresses", ("resold", "10 times"): "sharing.addresses",
    ("leaked", "5 days"): "sharing.countries", ("leaked", "5 days, 20 to 40 requests"): "sharing.countries",
    ("leaked", "5 days, two countries"): "sharing.countries",
}
# what can't be found: docs/sharing.md says so
UNSEEN = {
    ("relay, marks passed on", "4 programs"), ("relay, marks passed on", "16 in flight"),
    ("relay, marks ironed out", "from one network"), ("resold", "from the first day on"),
    ("resold", "from 3 networks to 30"), ("leaked", "1 day"), ("leaked", "5 days, through a VPN"),
}


def run(*arguments, stdin=None):
    """The document of `waybill sharing --json`, as text."""
    done = subprocess.run([WAYBILL, "sharing", *map(str, arguments), "--json"], input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def signals(text):
    """Who is named, by which signs."""
    named = {}
    for signal in json.loads(text)["signals"]:
        named.setdefault((signal["customer"], signal["credential"]), set()).add(signal["finding"])
    return named


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Traffic with its lines, its register, and what the verb says after each of five weeks."""
    class Made:
        folder = tmp_path_factory.mktemp("sharing")
        of_seed = traffic.Traffic(SEED, KINDS)
        lines = {node: [] for node in traffic.NODES}
        register, rows = folder / "register", folder / "rows.jsonl"

    for day in range(traffic.DAYS):
        for node, line in Made.of_seed.day(day):
            Made.lines[node].append(line)
    traffic.write_register(Made.register, Made.of_seed.keys)
    Made.files = []
    for number, (node, lines) in enumerate(Made.lines.items()):
        opened, name = (gzip.open, f"{node}.jsonl.gz") if number == 1 else (open, f"{node}.jsonl")
        with opened(Made.folder / name, "wt") as out:
            out.writelines(lines)
        Made.files.append(Made.folder / name)
    Made.answer = run(*Made.files, "--register", Made.register, "--rows", Made.rows)
    Made.weeks = [weekly(Made, "--register", Made.register, "--until", moment(week * 7)) for week in (2, 3, 4, 5)]
    Made.named = {}
    for week in Made.weeks:
        for who, signs in signals(week).items():
            Made.named.setdefault(who, set()).update(signs)
    return Made


def weekly(made, *arguments):
    return run(made.rows, *arguments)


def moment(days):
    return f"{traffic.START + timedelta(days=days)}T00:00:00Z"


def of(made, group):
    """The credentials of a group, each with its signs."""
    return [(key, made.named.get((key.customer, key.label), set())) for key in made.of_seed.keys if key.group == group]


def test_those_that_hide_are_named_where_it_shows(made):
    for key, signs in of(made, "hiding"):
        wanted = FOUND.get((key.kind, key.strength))
        if wanted:
            assert wanted in signs, (key.kind, key.strength, signs)
        if (key.kind, key.strength) in UNSEEN:
            assert not signs, f"now seen, so docs/sharing.md says too little: {key.kind}, {key.strength}: {signs}"


def test_honest_customers_are_not_named(made):
    named = [(key.kind, sorted(signs)) for key, signs in of(made, "honest") if signs]
    assert named == []


def test_what_is_exempt_is_not_named_and_would_be_otherwise(made):
    assert [(key.kind, signs) for key, signs in of(made, "exempt") if signs] == []
    customers = json.loads((made.register / "customers.json").read_text())
    for customer in customers["customers"]:
        customer.pop("kind", None)
        for credential in customer["credentials"]:
            credential.pop("networks", None)
    plain = made.folder / "plain"
    plain.mkdir()
    (plain / "customers.json").write_text(json.dumps(customers))
    (plain / "register.json").write_text((made.register / "register.json").read_text())
    named = signals(weekly(made, "--register", plain))
    for key, _ in of(made, "exempt"):
        if not key.certificate:
            assert "sharing.clients" in named[key.customer, key.label], key.kind


def test_the_order_of_files_and_lines_does_not_matter(made):
    every = [line for lines in made.lines.values() for line in lines]
    random.Random(3).shuffle(every)
    assert run("-", "--register", made.register, stdin="".join(every)) == made.answer
    assert run(*reversed(made.files), "--register", made.register) == made.answer


def test_daily_rows_say_what_their_events_say(made):
    answer, rows = json.loads(made.answer), json.loads(weekly(made, "--register", made.register))
    assert rows["signals"] == answer["signals"] != []


def test_what_was_looked_at_is_counted(made):
    looked_at, counts = json.loads(made.answer)["looked_at"], made.of_seed.counts
    assert looked_at["events"] == counts["events"] and counts["lost"] > 0
    assert looked_at["doubles"] == counts["doubles"] > 0
    assert looked_at["without_event"] == counts["null"] > 0
    assert looked_at["other_lines"] == 0
    assert looked_at["days"] == traffic.DAYS


def test_doubles_change_nothing_but_their_count(made):
    twice = json.loads(run(*made.files, *made.files, "--register", made.register))
    once, counts = json.loads(made.answer), made.of_seed.counts
    assert twice["signals"] == once["signals"]
    assert twice["looked_at"]["events"] == counts["events"]
    assert twice["looked_at"]["doubles"] == counts["events"] + 2 * counts["doubles"]


def test_lines_without_a_duration_count_as_nothing_in_flight(made):
    lines = []
    for line in (line for lines in made.lines.values() for line in lines):
        head, found, tail = line.partition('"duration_ms":')
        lines.append(head + tail.partition(",")[2] if found else line)
    answer = json.loads(run("-", "--register", made.register, stdin="".join(lines)))
    named = {(signal["customer"], signal["credential"]) for signal in answer["signals"]
             if signal["finding"] == "sharing.clients"}
    for key, _ in of(made, "hiding"):
        if key.strength in ("32 in flight", "64 in flight"):
            assert (key.customer, key.label) not in named, key.strength
        if key.strength in ("8 programs", "12 programs"):
            assert (key.customer, key.label) in named, key.strength
    before = json.loads(made.answer)["looked_at"]["without_duration"]
    assert answer["looked_at"]["without_duration"] > 100 * max(1, before)
