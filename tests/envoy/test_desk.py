"""docs/desk.md, played over the log of a demo: each command exits 0 and answers in the shape that the page shows.

Ids, times and numbers differ in each run, so shapes are compared: numbers and digests become one letter each.
"""

import gzip
import json
import os
import re
import shutil
import subprocess

import jsonschema
import pytest

from harness import ENVOY, ROOT, WAYBILL
from test_commands import tree  # noqa: F401, a fixture

PAGE = (ROOT / "docs" / "desk.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ANSWERS = [(command, answer) for (kind, command), (_, answer) in zip(BLOCKS, BLOCKS[1:]) if kind == "sh" and command.startswith("dist/waybill")]
EXAMPLE = re.search(r"event ([0-9a-f]{16}-\d+) ", PAGE)[1]
LETTERS = 6


@pytest.fixture(scope="module")
def run(tree):  # noqa: F811
    """A tree in which the demo was played."""
    done = subprocess.run([ROOT / ".build/venv/bin/python", "envoy/demo.py"], cwd=tree, capture_output=True, text=True,
                          env={**os.environ, "ENVOY": str(ENVOY), "WAYBILL": "dist/waybill"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    return tree


def shell(command, folder, **environment):
    environment = {"PATH": f"{WAYBILL.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(["bash", "-euc", command], cwd=folder, capture_output=True, text=True, env=environment, timeout=180)


def shape(line):
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16}(-\d+)?", "H", line)
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,]*", "N", line)).rstrip()


def missing(shown, printed):
    """The first part of a shown answer that isn't in the printed one, in order; `…` stands for any lines."""
    lines = [shape(line) for line in printed.splitlines()]
    start = 0
    for number, part in enumerate(re.split(r"^…\n", shown, flags=re.MULTILINE)):
        part = [shape(line) for line in part.splitlines()]
        places = [place for place in range(start, len(lines) + 1) if lines[place : place + len(part)] == part]
        if not places or (number == 0 and places[0] != 0):
            return part
        start = places[0] + len(part)
    return None if shown.endswith("…\n") or start == len(lines) else lines[start:]


@pytest.mark.parametrize(("command", "answer"), ANSWERS, ids=[command.split("\n")[0][13:60] for command, _ in ANSWERS])
def test_the_pages_commands_answer_as_it_shows(run, command, answer):
    events = [json.loads(json.loads(line)["event"]) for line in (run / "dist" / "events.jsonl").read_text().splitlines()]
    [own] = [event["id"] for event in events if event["reason"] == "geo.restricted"]
    shutil.rmtree(run / "letters", ignore_errors=True)
    done = shell(command.replace(EXAMPLE, own), run)
    assert done.returncode == 0, done.stderr
    assert missing(answer, done.stdout) is None, done.stdout
    if "--restrict HK,MO" in command:
        assert re.search(r"`(note: .*?)`", PAGE)[1] in done.stderr


def test_the_page_answers_ten_questions():
    """Each question of the table has its own section, and that a command and its output."""
    questions = re.findall(r"^\| \[(.*?)\]\(#(.*?)\)", PAGE, re.MULTILINE)
    assert len(questions) == 10
    for question, anchor in questions:
        assert anchor == re.sub(r"[^a-z0-9 ]", "", question.lower()).replace(" ", "-")
        section = PAGE.split(f"\n## {question}\n")[1].split("\n## ")[0]
        assert re.match(r"\n```sh\ndist/waybill [^`]+```\n\n```text\n", section), question


def test_a_part_that_is_not_printed_is_missed():
    """The comparison itself."""
    assert missing("a 1\n…\nc\n", "a 22\nb\nc\n") is None
    for shown in ("b\n…\n", "a 1\n…\nd\n", "a 1\n", "a 1\nc\n…\n", "a 1\n…\nb\n"):
        assert missing(shown, "a 22\nb\nc\n"), shown


@pytest.fixture
def morning(run, tmp_path):
    """The page's script and the log of yesterday and today, in folders of this test. Replaces the page's in a text."""
    here = {"/srv/waybill": str(tmp_path / "srv"), "/var/log/envoy": str(tmp_path / "log"), "/etc/systemd/system": str(tmp_path)}

    def moved(text):
        for old, new in here.items():
            text = text.replace(old, new)
        return text

    (tmp_path / "srv").mkdir()
    (tmp_path / "log").mkdir()
    (tmp_path / "srv" / "register").symlink_to(run / "dist" / "register")
    (tmp_path / "srv" / "envoy.yaml").symlink_to(run / "dist" / "demo.yaml")
    lines = (run / "dist" / "events.jsonl").read_text().splitlines(keepends=True)
    older, newer = tmp_path / "log" / "access.log.1.gz", tmp_path / "log" / "access.log"
    older.write_bytes(gzip.compress("".join(lines[:300]).encode()))
    os.utime(older, (1, 1))
    newer.write_text("".join(lines[300:]))
    [script] = [text for kind, text in BLOCKS if kind == "sh" and text.startswith("#!/bin/sh")]
    path = tmp_path / "srv" / "morning"
    path.write_text(moved(script))
    path.chmod(0o755)
    return moved


def test_the_morning_job_of_cron(morning, tmp_path):
    [line] = [text for _, text in BLOCKS if text.startswith("30 5 ")]
    command = morning(line).split(maxsplit=6)[6]
    desk = tmp_path / "srv" / "desk"
    for morning_number in range(2):
        done = shell(command, tmp_path)
        assert done.returncode == 0, done.stderr
        new = LETTERS if morning_number == 0 else 0
        assert f"{new} new drafts, {LETTERS - new} there before" in done.stdout
        drafts = list((desk / "letters").iterdir())
        assert len(drafts) == LETTERS and all(path.name.endswith(" draft.html") for path in drafts)
        assert {path.name for path in desk.iterdir()} == {"page.html", "tables", "letters", "due.txt"}
        assert (desk / "due.txt").read_text().startswith("due until ")
        page = (desk / "page.html").read_text()
        assert "Customers refused" in page and 'Gaps in the log<span class="tag">0<' in page
        drafts[0].write_text("edited")
    assert "edited" in {path.read_text() for path in drafts}


def test_the_units_of_systemd(morning, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is missing")
    units = [text for kind, text in BLOCKS if kind == "ini"]
    paths = []
    for unit in units:
        name = re.match(r"# /etc/systemd/system/(\S+)\n", unit)[1]
        paths.append(tmp_path / name)
        paths[-1].write_text(morning(unit))
    assert [path.suffix for path in paths] == [".service", ".timer"]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    [command] = re.findall(r"^ExecStart=(.*)$", paths[0].read_text(), re.MULTILINE)
    assert shell(command, tmp_path).returncode == 0


ANSWERS_OF_VERBS = json.loads((ROOT / "docs" / "answers.schema.json").read_text())
REGISTER, CONFIG = "dist/register", ["--config", "dist/demo.yaml", "--register", "dist/register"]
JSON_COMMANDS = [
    ("check", ["dist/demo.yaml", REGISTER]),
    ("diff", [REGISTER, "envoy/register"]),
    ("due", ["--register", REGISTER, "--within", "99999d"]),
    ("explain", [*CONFIG, "--request", "dist/demo-request.json"]),
    ("inspect", ["dist/served/waybill.snapshot"]),
    ("inspect", ["dist/served/waybill.snapshot", "--address", "185.220.101.1", "--customer", "tidewater"]),
    ("screen", ["--all", "--register", REGISTER]),
    ("screen", ["harbour", "--register", REGISTER]),
    ("test", ["cases.json", *CONFIG]),
    ("verify-tag", ["--config", "dist/chain.yaml", "--filter", "4", "--request", "dist/chain-request.json"]),
]


@pytest.mark.parametrize(("verb", "arguments"), JSON_COMMANDS, ids=[f"{verb} {words[0]}" for verb, words in JSON_COMMANDS])
def test_json_answers_fit_the_published_schema(run, verb, arguments):
    request = json.loads((run / "dist" / "demo-request.json").read_text())
    (run / "cases.json").write_text(json.dumps([{"name": "owned", "request": request, "expect": {"verdict": "allow"}}]))
    done = subprocess.run([WAYBILL, verb, *arguments, "--json"], cwd=run, capture_output=True, text=True)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    schema = {"$ref": f"#/$defs/{verb}", **ANSWERS_OF_VERBS}
    jsonschema.Draft202012Validator(schema).validate(json.loads(done.stdout))


def test_every_verb_with_json_has_a_schema():
    """In answers.schema.json, or one of its own that the page names."""
    verbs = re.findall(r"^  ([a-z-]+) ", shell("waybill --help", ROOT).stdout.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    with_json = {verb for verb in verbs if "--json" in shell(f"waybill {verb} --help", ROOT).stdout}
    own = {"event", "replay", "report", "sharing"} & with_json
    assert with_json - own == set(ANSWERS_OF_VERBS["$defs"]) & set(verbs)
    for verb in own:
        assert f"[`{verb}`](" in PAGE
    statuses = PAGE.split("## Exit statuses")[1]
    assert [verb for verb in verbs if verb not in ("help",) and f"`{verb}" not in statuses] == []
