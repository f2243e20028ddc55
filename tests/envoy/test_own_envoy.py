"""docs/own-envoy.md and the README's section, played: each step runs, and ends as the page says."""

import contextlib
import copy
import difflib
import hashlib
import http.client
import json
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from harness import ROOT, WAYBILL, assert_unharmed, command_line, until
from own import EXAMPLE, Discovered, Own, check, configure, managers, read, within
from shipped import CHINA, OWN_KEY, SINGAPORE, compiled

SOON_SECONDS = 20
KEYS = {"anthropic": lambda key: ["x-api-key", key], "openai": lambda key: ["authorization", f"Bearer {key}"]}
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/responses"}
ACCOUNT = {"anthropic": "/v1/organizations/me", "openai": "/v1/organization/users"}

RESOURCES = ["envoy/ecds/anthropic.yaml", "envoy/ecds/openai.yaml"]


@pytest.fixture
def run(upstream, tmp_path, monkeypatch):
    """Starts the Envoy of a document; a step names its file."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", OWN_KEY)
    with contextlib.ExitStack() as stack:

        def run(document, **options):
            document = read(f"steps/{document}.yaml") if isinstance(document, str) else document
            return stack.enter_context(Own(tmp_path, document, upstream, **options))

        yield run


def call(envoy, provider, key=None, address=SINGAPORE, path=None, headers=()):
    """A request as the balancer passes it on."""
    sent = [*headers, ["x-forwarded-for", address]] + ([KEYS[provider](key)] if key else [])
    return envoy.ask(provider, path or PATHS[provider], sent)


def outcome(played):
    """The status, the reason, and whether the provider got the reseller's key."""
    return played.response.status, (played.event or {}).get("reason"), own_key(played.received)


def own_key(received):
    sent = {name.lower(): value for name, value in (received or {"headers": []})["headers"]}
    assert EXAMPLE not in str(sent)
    return OWN_KEY in (sent.get("x-api-key"), sent.get("authorization", "").removeprefix("Bearer "))


def snippet():
    """The filters that README.md tells a newcomer to paste, as text."""
    section = (ROOT / "README.md").read_text().split("## Load it into your own Envoy")[1]
    return re.search(r"```yaml\n(.*?)```", section, re.DOTALL).group(1)


def pasted(step):
    """A step's file with the README's filters before the router of its first listener, in place of its own node."""
    document = read(f"steps/{step}.yaml")
    manager = managers(document)["anthropic"]
    kept = [each for each in manager["http_filters"] if each["name"] not in ("waybill", "account-api")]
    manager["http_filters"] = [*kept[:-1], *yaml.safe_load(snippet()), kept[-1]]
    return document


@pytest.mark.parametrize("step", ["1-credential", "2-report"])
def test_the_readmes_filters_are_safe_as_they_are_pasted(run, step):
    envoy = run(pasted(step))
    assert outcome(call(envoy, "anthropic"))[::2] == (401, False)
    assert outcome(call(envoy, "anthropic", "sk-unknown"))[::2] == (401, False)
    assert outcome(call(envoy, "anthropic", EXAMPLE))[::2] == (200, True)
    for path in ("/v1/organizations", "/v1/organizations/me", "//v1/%6frganizations/x", "/v1/user_profiles", "/v1/messages/../organizations"):
        for key in (None, EXAMPLE):
            played = call(envoy, "anthropic", key, path=path)
            assert played.response.status in (401, 403) and played.received is None, path
    forged = [["compliance-tag", 'findings=("provider.admin-path")']]
    assert call(envoy, "anthropic", EXAMPLE, headers=forged).response.status == 200  # the node replaces it
    assert_unharmed(envoy)


# what check tells of a first run: no country, countries that pass, report mode, shared objects, and what it doesn't see
FACTS = ["$.geo.origin: no source", "$.regions: ", "$.policy.mode: mode `report`", "`provider.shared-state` only reports", ": note: this is a part: "]


def test_check_finds_nothing_in_the_readmes_filters(tmp_path):
    """Alone, as one configuration, and in a sound file."""
    filters, whole = tmp_path / "filters.yaml", tmp_path / "envoy.yaml"
    filters.write_text(snippet())
    whole.write_text(yaml.safe_dump(pasted("2-report"), sort_keys=False))
    for file in (filters, whole):
        status, said = check(file)
        assert status == 0, said
        notes = [line for line in said.splitlines() if not line.startswith("  help: ") and not line.endswith(": ok")]
        assert [line for line in notes if not any(fact in line for fact in FACTS)] == []


PAGE = (ROOT / "docs" / "own-envoy.md").read_text()
DIFFS = re.findall(r"```diff\n--- (\S+)\n(?:\+\+\+ (\S+)\n)?(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("old", "new", "lines"), DIFFS, ids=[new or "enforce" for _, new, _ in DIFFS])
def test_the_page_shows_lines_of_the_files(old, new, lines):
    """Each line of a step's diff is one that `diff` has for these files."""
    before = (ROOT / old).read_text()
    after = (ROOT / new).read_text() if new else before.replace('"mode": "report"', '"mode": "enforce"')
    real = [line for line in difflib.ndiff(before.splitlines(), after.splitlines())]
    real = {line[0] + line[2:] for line in real if line[0] in "+-"}
    shown = [line for line in lines.splitlines() if line[0] in "+-"]
    assert shown and [line for line in shown if line not in real] == []


@pytest.mark.parametrize(("files", "status"), [
    (["envoy/steps/0-before.yaml"], 1),
    (["envoy/steps/1-credential.yaml"], 1),
    (["envoy/steps/2-report.yaml"], 0),
    (["envoy/steps/3-snapshot.yaml"], 0),
    (["envoy/ecds.yaml"], 0),
    (["envoy/ecds.yaml", *RESOURCES], 0),
    (["envoy/ecds/anthropic.yaml"], 0),
])  # fmt: skip
def test_check_says_what_the_page_says(files, status):
    found, said = check(*files)
    assert found == status, said


def test_check_asks_for_the_nodes_configuration(tmp_path):
    """In a folder where the files that envoy/ecds.yaml names aren't."""
    assert check(ROOT / "envoy" / "ecds.yaml", folder=tmp_path)[0] == 1


def test_each_step_with_a_node_hides_the_same_headers():
    hidden = [managers(read(file))["anthropic"]["route_config"]["request_headers_to_remove"]
        for file in ("edge.yaml", "steps/2-report.yaml", "steps/3-snapshot.yaml", "ecds.yaml")]  # fmt: skip
    assert all(each == hidden[0] for each in hidden)


def blocks(start):
    """The page's blocks of commands that begin so, in order."""
    return [each for each in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if each.startswith(start)]


@pytest.mark.parametrize(("step", "block"), [("0-before", 0), ("2-report", 1)])
def test_the_pages_requests_end_as_it_says(run, step, block):
    if not shutil.which("curl"):
        pytest.skip("curl is missing")
    envoy = run(step)
    lines = blocks("curl http://gateway:8080")[block].splitlines()
    for line in lines:
        command, status = line.replace("gateway:8080", f"127.0.0.1:{envoy.listeners['anthropic']}").split("# ")
        done = subprocess.run([*shlex.split(command), "-s", "-w", "\n%{http_code}"], capture_output=True, text=True, timeout=SOON_SECONDS)
        assert done.stdout.splitlines()[-1] == status.strip(), line


def test_the_pages_count_of_what_enforce_would_refuse(run, tmp_path):
    if not shutil.which("jq"):
        pytest.skip("jq is missing")
    envoy = run("2-report")
    for key in (None, EXAMPLE, "sk-unknown", EXAMPLE):
        call(envoy, "anthropic", key)
    envoy.ask("anthropic", "/v1/%2fmessages")  # without an event
    (tmp_path / "events.jsonl").symlink_to(envoy.events["anthropic"])
    [command] = blocks("jq")
    assert shell(command, tmp_path).split() == ["2", "c-1042", "customer.unscreened"]


def test_the_pages_commands_at_the_desk(tmp_path):
    for name, target in {"dist": WAYBILL.parent, "envoy": ROOT / "envoy", "my-register": ROOT / "envoy" / "register"}.items():
        (tmp_path / name).symlink_to(target)
    said = [shell(each, tmp_path) for start in ("cat > captured", "dist/waybill keygen") for each in blocks(start)]
    assert len(said) == 2
    assert "client address   203.0.113.7" in said[0] and "report (would be block in mode enforce)" in said[0]
    assert (tmp_path / "waybill.snapshot").stat().st_size > 1000


def shell(commands, folder):
    done = subprocess.run(["bash", "-euc", commands], capture_output=True, text=True, cwd=folder, timeout=SOON_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_before_the_node_anybody_uses_the_key(run):
    envoy = run("0-before")
    for provider in KEYS:
        played = call(envoy, provider, "sk-unknown")
        assert (played.response.status, own_key(played.received)) == (200, True)


def test_the_key_belongs_to_the_cluster(run):
    envoy = run("1-credential")
    for provider in KEYS:
        played = call(envoy, provider, "sk-unknown")
        assert (played.response.status, own_key(played.received)) == (200, True)


def test_report_mode_lets_known_callers_pass(run):
    envoy = run("2-report")
    for provider in KEYS:
        assert outcome(call(envoy, provider)) == (401, "identity.missing", False)
        assert outcome(call(envoy, provider, "sk-unknown")) == (401, "identity.unknown", False)
        played = call(envoy, provider, EXAMPLE)
        assert outcome(played) == (200, "customer.unscreened", True)
        assert (played.event["would_be"], played.event["customer"]) == ("block", "c-1042")
        assert SINGAPORE not in str(played.received["headers"])
        closed = call(envoy, provider, EXAMPLE, path=ACCOUNT[provider])
        assert (closed.response.status, closed.received) == (403, None)
        assert "provider.admin-path" in [each["code"] for each in closed.event["findings"]]
    assert_unharmed(envoy)


def test_a_request_without_an_event_has_null(run):
    """Envoy refuses it before the node: the log's line is JSON all the same."""
    envoy = run("2-report")
    played = envoy.ask("anthropic", "/v1/%2fmessages", [["x-api-key", EXAMPLE]])
    assert (played.response.status, played.event) == (400, None)


def test_enforce_begins_with_some_findings_and_customers(run):
    """The page's two blocks: findings that only report, and an override that makes one customer an exception."""
    policy, override = (json.loads("{" + re.search(rf'```json\n("{name}": .*?)```', PAGE, re.DOTALL).group(1) + "}") for name in ("policy", "overrides"))
    strict = json.loads(json.dumps(override).replace("geo.restricted", "customer.unscreened"))
    document = read("steps/2-report.yaml")

    def change(config):
        [usual] = config["register"]["customers"]
        digest = "sha256:" + hashlib.sha256(b"sk-other").hexdigest()
        config["register"]["customers"] = [usual, {**usual, "id": "c-2", "credentials": [digest], **strict}]
        config |= policy

    configure(document, change)
    envoy = run(document)
    assert outcome(call(envoy, "anthropic", EXAMPLE)) == (200, "customer.unscreened", True)
    assert outcome(call(envoy, "anthropic", "sk-other")) == (403, "customer.unscreened", False)
    assert outcome(call(envoy, "anthropic", EXAMPLE, path=ACCOUNT["anthropic"])) == (403, "provider.admin-path", False)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("own") / "register")


def test_a_snapshot_brings_customers_and_countries(run, snapshot):
    envoy = run("3-snapshot", snapshot=snapshot)
    for provider in KEYS:
        until(SOON_SECONDS, "the snapshot", lambda name=provider: envoy.is_open(name), envoy.log)
        assert outcome(call(envoy, provider, EXAMPLE)) == (401, "identity.unknown", False)
        played = call(envoy, provider, "sk-c-1")
        assert outcome(played) == (200, None, True)
        assert played.event["origin"] == "SG"
        played = call(envoy, provider, "sk-c-1", CHINA)
        assert outcome(played) == (200, "geo.restricted", True)
        assert played.event["would_be"] == "block"
    assert_unharmed(envoy)


def test_until_the_first_snapshot_nobody_passes(run, snapshot):
    away = copy.copy(snapshot)
    document = read("steps/3-snapshot.yaml")
    away.server = type("Nobody", (), {"port": 1})  # a port where nobody listens
    envoy = run(document, snapshot=away)
    for provider in KEYS:
        assert outcome(call(envoy, provider, "sk-c-1")) == (503, "snapshot.missing", False)


@pytest.fixture
def discovered(upstream, tmp_path, snapshot):
    """An Envoy with envoy/ecds.yaml, not yet started."""
    return lambda document=None: Discovered(tmp_path, document or read("ecds.yaml"), upstream, snapshot=snapshot)


def enforce(config):
    config["policy"]["mode"] = "enforce"


def test_a_new_configuration_takes_effect_while_streams_go_on(discovered):
    """The node changes from report to enforce under an open stream, and a wrong configuration changes nothing."""
    envoy = discovered()
    for provider in KEYS:
        envoy.publish(provider)
    with envoy:
        for provider in KEYS:
            until(SOON_SECONDS, "the snapshot", lambda name=provider: envoy.is_open(name), envoy.log)
            assert outcome(call(envoy, provider, "sk-c-1", CHINA)) == (200, "geo.restricted", True)
        with stream(envoy, "anthropic") as lines:
            assert next(lines) == b"data: 0\n"

            envoy.publish("anthropic", lambda config: config["policy"].update(mode="enforced"))
            until(SOON_SECONDS, "the refusal", lambda: envoy.updates("update_rejected|config_fail"), envoy.log)
            assert "did you mean `enforce`?" in envoy.log.read_text()
            assert outcome(call(envoy, "anthropic", "sk-c-1", CHINA)) == (200, "geo.restricted", True)
            envoy.upstream.gate.release()
            assert next(lines) == b"data: 1\n"

            before = envoy.updates("update_success")
            envoy.publish("anthropic", enforce)
            until(SOON_SECONDS, "the update", lambda: envoy.updates("update_success") > before, envoy.log)
            assert outcome(call(envoy, "anthropic", "sk-c-1", CHINA)) == (403, "geo.restricted", False)
            assert outcome(call(envoy, "anthropic", "sk-c-1")) == (200, None, True)
            assert outcome(call(envoy, "openai", "sk-c-1", CHINA)) == (200, "geo.restricted", True)  # has its own file
            logged = len(envoy.lines("anthropic"))
            envoy.upstream.gate.release()
            assert [*lines] == [b"data: 2\n"]
            until(SOON_SECONDS, "the stream's event", lambda: len(envoy.lines("anthropic")) > logged, envoy.log)

            (envoy.resources / "anthropic.yaml").unlink()
            assert outcome(call(envoy, "anthropic", "sk-c-1", CHINA)) == (403, "geo.restricted", False)
        assert_unharmed(envoy)


@contextlib.contextmanager
def stream(envoy, provider):
    """The lines of a stream that the upstream's gate holds open."""
    client = http.client.HTTPConnection("127.0.0.1", envoy.listeners[provider], timeout=SOON_SECONDS)
    name, value = KEYS[provider]("sk-c-1")
    client.request("GET", "/sse", headers={name: value, "x-forwarded-for": SINGAPORE})
    answer = client.getresponse()
    assert answer.status == 200
    yield (line for line in answer if line.strip())
    client.close()


def test_without_its_configuration_envoy_does_not_start(discovered):
    envoy = discovered()
    envoy.publish("anthropic")
    assert "openai.yaml' does not exist" in refused_start(envoy)


@pytest.mark.parametrize("content", ["resources: []", "resources: [{}]", "invalid"])
def test_before_a_first_configuration_every_request_is_refused(discovered, content):
    envoy = discovered()
    envoy.publish("openai")
    if content == "invalid":
        envoy.publish("anthropic", lambda config: config.update(version=2))
    else:
        (envoy.resources / "anthropic.yaml").write_text(content)
    with envoy:
        for key in (None, "sk-unknown", "sk-c-1"):
            assert outcome(call(envoy, "anthropic", key)) == (500, None, False)
        until(SOON_SECONDS, "the other listener", lambda: envoy.is_open("openai"), envoy.log)
        envoy.publish("anthropic", enforce)
        until(SOON_SECONDS, "the first configuration", lambda: envoy.is_open("anthropic"), envoy.log)
        assert outcome(call(envoy, "anthropic", "sk-c-1")) == (200, None, True)


def test_without_warming_envoy_asks_for_a_default(discovered):
    document = read("ecds.yaml")
    without_warming(document)
    envoy = discovered(document)
    for provider in KEYS:
        envoy.publish(provider)
    assert "applied without warming but has no default config" in refused_start(envoy)


def test_a_default_that_lets_pass_is_why_the_file_has_none(discovered, tmp_path):
    """A filter that does nothing in the node's place gives the reseller's key to anybody: `check` must refuse it."""
    document = read("ecds.yaml")
    kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    for each in without_warming(document):
        each["default_config"] = {"@type": kind}
        each["type_urls"].append(kind)
    altered = tmp_path / "altered.yaml"
    altered.write_text(yaml.safe_dump(document))
    assert check(altered, *RESOURCES)[0] == 1
    envoy = discovered(document)
    for provider in KEYS:
        envoy.publish(provider, lambda config: config.update(version=2))
    with envoy:
        assert outcome(call(envoy, "anthropic", "sk-unknown"))[::2] == (200, True)


def without_warming(document):
    found = [each["config_discovery"] for each in within(document) if "config_discovery" in each]
    for each in found:
        each["apply_default_config_without_warming"] = True
    return found


def refused_start(envoy):
    command = [*command_line(envoy.folder / "envoy.json"), "--admin-address-path", envoy.folder / "admin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SOON_SECONDS, cwd=ROOT)
    assert done.returncode == 1
    return done.stderr
