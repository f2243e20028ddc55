"""The SQL of envoy/observability/ over the log of a real run: ClickHouse (chdb), DuckDB and plain Python give the same ten answers."""

import datetime
import decimal
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict

import duckdb
import pytest
from chdb import session

from conftest import OBSERVABILITY

QUESTIONS = range(1, 11)
COUNTRIES = ("HK", "MO")


class Tables:
    """One log in both engines. A process has one ClickHouse, so each log is a database of it."""

    server = None
    databases = 0

    def __init__(self, *files):
        self.duckdb = duckdb.connect()
        text = (OBSERVABILITY / "duckdb.sql").read_text()
        assert text.count("'dist/events.jsonl'") == 1
        self.duckdb.execute(text.replace("'dist/events.jsonl'", f"'{files[0]}'"))
        for file in files[1:]:
            self.duckdb.execute(f"INSERT INTO events FROM lines('{file}')")
        Tables.server = Tables.server or session.Session()
        Tables.databases += 1
        self.database = f"log_{Tables.databases}"
        self.server.query(f"CREATE DATABASE {self.database}")
        for statement in statements((OBSERVABILITY / "clickhouse.sql").read_text()):
            self.clickhouse(statement)
        for file in files:
            self.clickhouse(f"INSERT INTO events FROM INFILE '{file}' FORMAT JSONEachRow")

    def clickhouse(self, query, form="TSV"):
        self.server.query(f"USE {self.database}")
        return self.server.query(query, form).data()

    def ask(self, question):
        """Both engines' answer, which must be one."""
        rows = self.duckdb.execute(question)
        names = [name for name, *_ in rows.description]
        ours = [[plain(value) for value in row] for row in rows.fetchall()]
        theirs = [json.loads(line) for line in self.clickhouse(question, "JSONCompactEachRowWithNames").splitlines()]
        assert theirs[0] == names
        assert theirs[1:] == ours, question
        return ours


def statements(text):
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in re.split(r";[ \t]*(?:\n|$)", code) if statement.strip()]


def plain(value):
    """A value as ClickHouse writes it."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "milliseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return int(value) if isinstance(value, decimal.Decimal) else value


def question(number):
    text = (OBSERVABILITY / "questions.sql").read_text()
    [found] = statements(re.search(rf"^-- {number}\. .*?(?=^-- {number + 1}\. |\Z)", text, re.MULTILINE | re.DOTALL)[0])
    return found


def test_there_are_ten_questions():
    assert re.findall(r"^-- (\d+)\. ", (OBSERVABILITY / "questions.sql").read_text(), re.MULTILINE) == [str(n) for n in QUESTIONS]


@pytest.fixture(scope="module")
def tables(fleet):
    return Tables(*fleet.logs)


def ordered(counted, *columns):
    """Groups by their count, then by the columns, where nothing comes last; as rows of group, count and more."""
    def key(row):
        return [-row[-1][0], *((row[0][column] is None, row[0][column] or "") for column in columns)]

    return [[*group, *values] for group, values in sorted(counted.items(), key=key)]


def grouped(rows):
    """Of pairs of group and time: how many, and the latest."""
    times = defaultdict(list)
    for group, time in rows:
        times[group].append(time)
    return {group: (len(each), max(each)) for group, each in times.items()}


def when(event):
    return event["time"].replace("T", " ").removesuffix("Z")


def test_why_by_each_id(tables, fleet):
    """Each line is found by each of its three ids, with its findings in words."""
    lines = [line for line in fleet.lines() if line["event"]]
    found = 0
    for line in lines:
        event = json.loads(line["event"])
        explained = "; ".join(f"{each['code']} ({each['action']}): {each['evidence']}" for each in event["findings"])
        row = [when(event), event["id"], event["node"], event["customer"], event["verdict"], event["reason"], line["status"], explained]
        for known in filter(None, (event["id"], line["request_id"], line["provider_request_id"])):
            found += 1
            assert row in tables.ask(question(1).replace("'ID'", f"'{known}'"))
    assert found > 2 * len(lines) and tables.ask(question(1)) == []


def test_undeclared_countries(tables, fleet):
    counted = grouped(
        ((event["customer"], event["origin"]), when(event))
        for event in fleet.events()
        for each in event["findings"]
        if each["code"] == "geo.undeclared"
    )
    assert tables.ask(question(2)) == ordered(counted, 0, 1) and len(counted) > 1


def test_what_enforce_would_have_refused(tables, fleet):
    counted = grouped(
        ((event["node"], event["customer"], event["would_be"], event["reason"]), when(event))
        for event in fleet.events()
        if event["would_be"] in ("block", "reroute")
    )
    assert tables.ask(question(3)) == ordered(counted, 0, 1, 3)
    assert {group[2] for group in counted} == {"block", "reroute"}


def test_the_period_day_by_day(tables, fleet):
    verdicts, customers = defaultdict(Counter), defaultdict(set)
    for event in fleet.events():
        day = event["time"][:10]
        verdicts[day][event["verdict"]] += 1
        customers[day] |= {event["customer"]} - {None}
    rows = [
        [day, each.total(), each["allow"], each["report"], each["reroute"], each["block"], len(customers[day])]
        for day, each in sorted(verdicts.items())
    ]
    assert tables.ask(question(4)) == rows and all(sum(row[column] for row in rows) for column in range(2, 6))
    assert tables.ask(question(4).replace("2026-01-01", "2099-01-01")) == []


def test_whom_we_refused(tables, fleet):
    times = defaultdict(list)
    for event in fleet.events():
        if event["verdict"] == "block":
            times[event["customer"], event["reason"]].append(when(event))
    counted = {group: (len(each), min(each), max(each)) for group, each in times.items()}
    assert tables.ask(question(5)) == ordered(counted, 0, 1) and (None, "identity.unknown") in counted


@pytest.mark.parametrize("countries", [COUNTRIES, ("CN", "JP")])
def test_who_calls_from_countries(tables, fleet, countries):
    asked = question(6)
    for old, new in zip(COUNTRIES, countries):
        asked = asked.replace(f"'{old}'", f"'{new}'")
    counted, refused = Counter(), Counter()
    for event in fleet.events():
        if event["origin"] in countries:
            counted[event["origin"], event["customer"]] += 1
            refused[event["origin"], event["customer"]] += event["verdict"] == "block"
    rows = sorted(counted.items(), key=lambda row: (row[0][0], -row[1], row[0][1] is None, row[0][1] or ""))
    assert tables.ask(asked) == [[*group, count, refused[group]] for group, count in rows]
    assert counted or countries == COUNTRIES


def test_countries(tables, fleet):
    by = defaultdict(list)
    for event in fleet.events():
        by[event["origin"],].append(event)
    counted = {
        group: (len(each), len({event["customer"] for event in each} - {None}), sum(event["verdict"] == "block" for event in each))
        for group, each in by.items()
    }
    assert tables.ask(question(7)) == ordered(counted, 0) and len(counted) > 3


def test_policies_and_snapshots(tables, fleet):
    times = defaultdict(list)
    for event in fleet.events():
        times[event["node"], event["mode"], event["policy"], event["snapshot"] or 0].append(when(event))
    rows = [[*group, len(each), min(each), max(each)] for group, each in times.items()]
    assert tables.ask(question(8)) == sorted(rows, key=lambda row: (row[0], row[5], row[2], row[3])) and len(rows) > 4


def test_resellers(tables, fleet):
    worth = ("gateway", "partial", "full")
    chains = defaultdict(list)
    for event in fleet.events():
        if event.get("hops"):
            chains[event["node"], event["hops"][-1]["node"]].append(event)
    counted = {}
    for group, events in chains.items():
        hops = [hop for event in events for hop in event["hops"]]
        weakest = min((hop["attest"] for hop in hops), key=worth.index)
        counted[group] = (len(events), sum(event["verdict"] == "block" for event in events), weakest, sum(not hop["proven"] for hop in hops))
    rows = [[*group, *values] for group, values in sorted(counted.items(), key=lambda row: (row[0][0], -row[1][0], row[0][1]))]
    assert tables.ask(question(9)) == rows and any(row[-1] for row in rows) and len(rows) > 2


def test_a_complete_log(tables, fleet):
    last = defaultdict(int)
    for event in fleet.events():
        last[event["vm"]] = max(last[event["vm"]], event["seq"])
    rows = tables.ask(question(10))
    assert [[row[0], *row[3:]] for row in rows] == [[vm, 0, seq, 0, 0, 0] for vm, seq in sorted(last.items())]
    assert sum(row[2] for row in rows) == len(fleet.events())


def test_a_log_that_was_tampered_with(fleet, tmp_path):
    """A removed, a doubled and an altered line of one VM are counted, each as what it is."""
    by_vm = defaultdict(list)
    for line in fleet.lines():
        if line["event"]:
            by_vm[json.loads(line["event"])["vm"]].append(line)
    lines = sorted(max(by_vm.values(), key=len), key=lambda line: json.loads(line["event"])["seq"])
    assert len(lines) > 10
    lines[2]["event"] = lines[2]["event"].replace('"verdict":"', '"verdict":"re', 1)
    kept = [*lines[:5], *lines[6:], lines[8]]
    log = tmp_path / "events.jsonl"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in kept))
    tables = Tables(log)
    [[*_, first, last, missing, doubled, altered]] = tables.ask(question(10))
    assert (first, last, missing, doubled, altered) == (0, len(lines) - 1, 1, 1, 1)


def test_older_and_compressed_lines(fleet, tmp_path):
    """An event as an object is kept to the byte: the digests still hold. Both engines open gzip by the name's ending."""
    older, compressed = tmp_path / "older.jsonl", tmp_path / "events.jsonl.gz"
    older.write_text("".join(f'{{"status": 200, "duration_ms": 0, "event": {text}}}\n' for text in fleet.texts()))
    compressed.write_bytes(gzip.compress(b"".join(path.read_bytes() for path in fleet.logs)))
    for log in (older, compressed):
        tables = Tables(log)
        digests = [row[0] for row in tables.ask("SELECT digest FROM events WHERE id <> '' ORDER BY digest")]
        assert digests == sorted(hashlib.sha256(text.encode()).hexdigest() for text in fleet.texts())
        assert all(row[-3:] == [0, 0, 0] for row in tables.ask(question(10)))


def test_each_column(tables, fleet):
    """Each column that a question doesn't show has what the event has."""
    rows = tables.ask("SELECT id, credential, source, mode, address, network, asn, sdk, chain, seq, prev FROM events WHERE id <> '' ORDER BY id")
    expected = [
        [
            event["id"], (event["credential"] or {}).get("label"), (event["credential"] or {}).get("source"),
            event["mode"], event["address"], event["network"], event.get("asn"),
            (event.get("software") or {}).get("sdk"), event["chain"], event["seq"], event["prev"],
        ]
        for event in fleet.events()
    ]  # fmt: skip
    assert rows == sorted(expected)


def test_lines_without_an_event(tables, fleet):
    alone = sum(line["event"] is None for line in fleet.lines())
    assert tables.ask("SELECT count(*) AS c FROM events WHERE id = ''") == [[alone]] and alone >= 2
