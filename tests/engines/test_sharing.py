"""Daily rows for `waybill sharing`: ClickHouse, DuckDB, plain Python and `waybill` itself make the same ones of a log with all that a log
can have, and the daily job brings what they show to review."""

import datetime
import http.server
import json
import os
import random
import re
import subprocess
import threading
from collections import defaultdict

import pytest
import yaml

from conftest import OBSERVABILITY, ROOT
from test_sql import Tables

FIRST = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
DAYS = 24
AFTER = (FIRST + datetime.timedelta(days=DAYS)).date()
HIDDEN = ("hosting", "proxy", "vpn", "tor")
BOUND = ("mtls uri", "chain")  # what a credential may be instead of a key
WHO = {"banyan": [None, "production", "nobody"], "cedar": ["a", "b", *BOUND]}
MS_A_DAY = 86_400_000
SEED = 17


def people():
    software = json.loads((ROOT / "data" / "client-software.json").read_bytes())["software"]
    return [row["sdk"] for row in software if row.get("people")]


class Log:
    """A seeded log: lines of events, each with a node's own id."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines = []

    def request(self, ms, customer, duration, label=None, **members):
        """An event `ms` after the first day began."""
        time = (FIRST + datetime.timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        vm = self.random.choice(("00000000000000aa", "00000000000000bb"))
        if label == "nobody":
            credential = None
        elif label in BOUND:
            credential = {"source": label}
        else:
            credential = {"source": "header x-api-key"} | ({"label": label} if label else {})
        event = {"schema": 1, "id": f"{vm}-{len(self.lines)}", "vm": vm, "seq": len(self.lines), "time": time}
        event |= {"customer": customer, "credential": credential, "verdict": "allow", "node": "gateway-1.example"}
        event |= {"address": None, "network": None, "origin": None, "findings": []} | members
        self.lines.append({"event": json.dumps(event), "status": 200} | ({} if duration == "absent" else {"duration_ms": duration}))

    def anything(self):
        """A request of nearly anybody from nearly anywhere."""
        members = {
            "address": self.random.choice([None, *(f"203.0.{n}.0/24" for n in range(9)), "2001:db8:5::/48"]),
            "network": self.random.choice([None, None, "cdn", *HIDDEN]),
            "origin": self.random.choice([None, "DE", "FR", "US", "SG"]),
        }
        if self.random.random() < 0.9:
            members["software"] = {"sdk": self.random.choice([*people(), "openai-python", "other"])}
        if self.random.random() < 0.3:
            members |= {"address": "198.51.100.0/24", "network": "hosting", "software": {"sdk": self.random.choice(people()[:3])}}
        customer, label = self.random.choice([(None, None), *((customer, label) for customer, labels in WHO.items() for label in labels)])
        if customer != "cedar" and self.random.random() < 0.5:
            members["asn"] = self.random.choice([*range(64500, 64600), 4_294_967_295])
        duration = self.random.choice([None, "absent", 0, 1, 250, 60_000, 86_400_000, 4_294_967_295])
        near_midnight = self.random.randrange(DAYS) * MS_A_DAY + self.random.choice([0, 1, 59_999, 60_000, MS_A_DAY - 1])
        self.request(self.random.choice([self.random.randrange(DAYS * MS_A_DAY), near_midnight]), customer, duration, label, **members)

    def crowd(self):
        """Of one program from one hosting network: three at once, each ending in the millisecond in which the next three begin."""
        members = {"address": "198.51.100.0/24", "network": "hosting", "origin": "US", "software": {"sdk": people()[0]}}
        for start in range(0, 5000, 1000):
            for _ in range(3):
                self.request(start, "dogwood", 1000, **members)
        self.request(500, "dogwood", 0, **members)
        for _ in range(7):
            self.request(MS_A_DAY - 10, "dogwood", 20, **members)
            self.request(MS_A_DAY + 5, "dogwood", 20, **members)

    def signs(self):
        """Of the last five days: people behind one hosting network, and a key that is suddenly everywhere."""
        for day in range(DAYS):
            late = day >= DAYS - 5
            for n in range(80 if late else 5):
                members = {"address": f"192.{n}.{day}.0/24", "asn": 64500 + n % 20, "origin": "DE"}
                self.request(day * MS_A_DAY + n * 60_000, "fern", 5, "web", **members)
            for n in range(40 if late else 1):
                members = {"address": "198.51.101.0/24", "network": "hosting", "origin": "US", "software": {"sdk": people()[n % 10]}}
                self.request(day * MS_A_DAY + 7_200_000 + n, "fern", 30_000, "web", **members)
                self.request(day * MS_A_DAY + 9_000_000 + n * 60_000, "fern", 5, "web", origin=("DE", "BR")[n % 2])

    def write(self, file):
        """With doubles, some with a shorter duration or none, lines without an event, and in any order."""
        doubles = self.random.sample(self.lines, len(self.lines) // 10)
        shorter = [{"event": line["event"], "duration_ms": 0 if line.get("duration_ms") else None} for line in doubles[::2]]
        lines = self.lines + doubles + shorter
        lines += [{"event": None, "status": 400, "duration_ms": 0}] * 20
        self.random.shuffle(lines)
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return file


def counted(lines):
    """The same by hand, from each line once."""
    groups = defaultdict(list)
    for line in lines:
        event = json.loads(line["event"])
        if event["customer"] and event["credential"] and event["credential"]["source"] not in BOUND:
            groups[event["time"][:10], event["customer"], event["credential"].get("label")].append((event, line.get("duration_ms")))
    return {key: row(*key, events) for key, events in groups.items()}


def row(day, customer, credential, events):
    countries, minutes = defaultdict(int), defaultdict(set)
    programs, flights, without = defaultdict(set), defaultdict(list), 0
    for event, duration in events:
        hour, minute = int(event["time"][11:13]), int(event["time"][14:16])
        if event["origin"] and event["network"] not in HIDDEN:
            countries[event["origin"]] += 1
            minutes[event["origin"]].add(hour * 60 + minute)
        sdk = event.get("software", {}).get("sdk")
        if event["network"] == "hosting" and event["address"] and sdk in people():
            programs[event["address"], hour].add(sdk)
            without += duration is None
            begun = datetime.datetime.fromisoformat(event["time"])
            flights[event["address"], sdk].append((begun, begun + datetime.timedelta(milliseconds=duration or 0)))
    systems = {event["asn"] for event, _ in events if "asn" in event}
    return {
        "day": day, "customer": customer, "credential": credential, "events": len(events),
        "networks": len({event["address"] for event, _ in events} - {None}), "systems": len(systems) or None,
        "countries": countries, "minutes": {country: sorted(each) for country, each in minutes.items()},
        "programs": max(map(len, programs.values()), default=0),
        "in_flight": max((at_once(spans, begun) for spans in flights.values() for begun, _ in spans), default=0),
        "without_duration": without,
    }  # fmt: skip


def at_once(spans, moment):
    return sum(begun <= moment < ended for begun, ended in spans)


@pytest.fixture(scope="module")
def log():
    made = Log(SEED)
    for _ in range(12_000):
        made.anything()
    made.crowd()
    made.signs()
    return made


@pytest.fixture(scope="module")
def file(log, tmp_path_factory):
    return log.write(tmp_path_factory.mktemp("sharing") / "events.jsonl")


@pytest.fixture(scope="module")
def tables(file):
    return Tables(file)


def rows_of(tables, folder, since=FIRST.date(), until=AFTER):
    """The rows as each engine prints them, and that they are the same."""
    tables.duckdb.execute(f"COPY (FROM sharing_days('{since}', '{until}')) TO '{folder / 'days.jsonl'}' (FORMAT json)")
    ours = [json.loads(line) for line in (folder / "days.jsonl").read_text().splitlines()]
    theirs = tables.clickhouse(f"SELECT * FROM sharing_days(since = '{since}', until = '{until}')", "JSONEachRow")
    assert [json.loads(line) for line in theirs.splitlines()] == ours
    return ours


def test_rows_are_those_counted_by_hand(tables, log, tmp_path):
    rows = rows_of(tables, tmp_path)
    expected = counted(log.lines)
    assert {(row["day"], row["customer"], row["credential"]): row for row in rows} == expected
    assert len(rows) == len(expected) == 5 * DAYS + 2
    for name in ("programs", "in_flight", "without_duration", "countries", "minutes", "systems"):
        assert len({json.dumps(row[name]) for row in rows}) > 2, f"{name} is nearly everywhere the same: the log shows nothing"
    assert {row["systems"] is None for row in rows} == {True, False}


def test_an_end_comes_before_a_start_and_a_request_belongs_to_its_first_day(tables, tmp_path):
    rows = {row["day"]: row["in_flight"] for row in rows_of(tables, tmp_path) if row["customer"] == "dogwood"}
    assert rows == {"2026-11-21": 7, "2026-11-22": 7}


def test_days_asked_for_one_by_one_are_the_same(tables, tmp_path):
    days = [(FIRST + datetime.timedelta(days=n)).date() for n in range(DAYS + 1)]
    alone = [row for since, until in zip(days, days[1:]) for row in rows_of(tables, tmp_path, since, until)]
    assert alone == rows_of(tables, tmp_path)


@pytest.mark.parametrize("engine", ["clickhouse", "duckdb"])
def test_programs_are_those_that_people_sit_at(engine):
    [words] = re.findall(r"WHERE program IN \((.*?)\)", (OBSERVABILITY / f"{engine}.sql").read_text(), re.DOTALL)
    assert re.findall(r"'([^']*)'", words) == people()


def digest(n):
    return f"sha256:{n:064x}"


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    """Who is in the log. dogwood is in no register."""
    folder = tmp_path_factory.mktemp("register")
    keys = {"banyan": [None, "production"], "cedar": ["a", "b"], "fern": ["web"]}
    customers = []
    for number, (customer, labels) in enumerate(keys.items()):
        secrets = [{"digest": digest(10 * number + n)} | ({"label": label} if label else {}) for n, label in enumerate(labels, 1)]
        customers.append({"id": customer, "credentials": secrets} | ({} if customer == "cedar" else {"declared": ["DE"]}))
    (folder / "customers.json").write_text(json.dumps({"customers": customers}))
    few_days = {"addresses_days": 3, "countries_days": 3, "countries_requests": 20, "velocity_days": 2, "clients_days": 3}
    (folder / "register.json").write_text(json.dumps({"schema": 1, "sharing": few_days}))
    return folder


def waybill(*arguments):
    return subprocess.run([os.environ["WAYBILL"], *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def test_waybill_makes_the_same_rows_and_signals(tables, log, file, register, tmp_path):
    """From events, from either engine's rows, and from rows of the first days and events of the others."""
    rows = rows_of(tables, tmp_path)
    signals = signals_of(register, file, "--rows", tmp_path / "ours.jsonl")
    ours = [json.loads(line) for line in (tmp_path / "ours.jsonl").read_text().splitlines()]
    assert in_order(ours) == in_order(rows)
    kinds = {"sharing.addresses", "sharing.clients", "sharing.countries", "sharing.velocity", "relay.suspected"}
    assert {signal["finding"] for signal in signals if signal["customer"] == "fern"} == kinds

    assert signals_of(register, tmp_path / "days.jsonl") == signals
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text(tables.clickhouse(f"SELECT * FROM sharing_days(since = '{FIRST.date()}', until = '{AFTER}')", "JSONEachRow"))
    assert signals_of(register, theirs) == signals
    middle = str((FIRST + datetime.timedelta(days=DAYS - 3)).date())
    first, others = tmp_path / "first.jsonl", tmp_path / "others.jsonl"
    first.write_text("".join(f"{json.dumps(row)}\n" for row in rows if row["day"] < middle))
    others.write_text("".join(f"{json.dumps(line)}\n" for line in log.lines if json.loads(line["event"])["time"] >= middle))
    assert signals_of(register, others, first) == signals


def signals_of(register, *arguments):
    return json.loads(waybill("sharing", *arguments, "--register", register, "--json", "--until", f"{AFTER}T00:00:00Z"))["signals"]


def in_order(rows):
    return sorted(rows, key=lambda row: (row["day"], row["customer"], row["credential"] or ""))


@pytest.fixture
def clickhouse_client(tables, tmp_path):
    """A folder with `clickhouse-client`, which asks this process's ClickHouse, and with what else the job runs."""

    class Asked(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            query = self.rfile.read(int(self.headers["content-length"])).decode()
            answer = tables.clickhouse(query).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path / "bin"
    folder.mkdir()
    client = folder / "clickhouse-client"
    client.write_text(f'#!/bin/sh\n[ "$1" = --query ] && exec curl -fsS --data-binary "$2" http://127.0.0.1:{server.server_port}/\n')
    client.chmod(0o755)
    (folder / "waybill").symlink_to(os.environ["WAYBILL"])
    (folder / "sharing.sh").symlink_to(OBSERVABILITY / "sharing.sh")
    yield folder
    server.shutdown()


def git(folder, *arguments):
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(register, tmp_path):
    """The register's repository."""
    made = tmp_path / "made"
    (made / "register").mkdir(parents=True)
    for path in register.iterdir():
        (made / "register" / path.name).write_bytes(path.read_bytes())
    git(made, "init", "--quiet", "--initial-branch", "main")
    git(made, "add", ".")
    git(made, *AUTHOR, "commit", "--quiet", "--message", "The register")
    git(tmp_path, "clone", "--quiet", "--bare", str(made), "register.git")
    return tmp_path / "register.git"


AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.com")


def test_the_job_brings_signals_to_review(clickhouse_client, repository, file, register, tmp_path):
    """The CronJob's own command, at the log's end, and once more when its branch is merged."""
    [job, _] = yaml.safe_load_all((OBSERVABILITY / "sharing.cronjob.yaml").read_text())
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    names = {name: value for name, value in environment.items() if name.startswith("GIT_") and name != "GIT_SSH_COMMAND"}
    environment = os.environ | names | {"PATH": f"{clickhouse_client}:{os.environ['PATH']}", "REPOSITORY": str(repository)}
    rows = tmp_path / "rows"
    rows.mkdir()

    def run(today):
        clone = tmp_path / f"clone-{len([*tmp_path.iterdir()])}"
        command = container["args"][0].replace("/tmp/register", str(clone)).replace("/rows", str(rows))
        assert command != container["args"][0]
        ran = subprocess.run([*container["command"], f"{command.strip()} {today}"], env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return git(repository, "rev-parse", "sharing").strip()

    first = run(AFTER)
    days = [f"{FIRST.date() + datetime.timedelta(days=n)}.jsonl" for n in range(DAYS)]
    assert sorted(path.name for path in rows.iterdir()) == days, "a day without events isn't kept: they may come later"
    expected = signals_of(register, file)
    assert json.loads(git(repository, "show", "sharing:register/sharing.json"))["signals"] == expected
    assert git(repository, "diff", "--name-only", "main", "sharing").split() == ["register/sharing.json"]
    assert git(repository, "log", "--format=%an %s", "main..sharing").strip() == f"waybill-sharing Signs of sharing until {AFTER}"
    old, oldest = (rows / f"{AFTER - datetime.timedelta(days=n)}.jsonl" for n in (36, 35))
    old.write_text("")
    oldest.write_text("")
    git(repository, "branch", "--force", "main", first)
    assert run(AFTER) == first, "the same signals aren't brought again"
    assert (old.exists(), oldest.exists()) == (False, True)
