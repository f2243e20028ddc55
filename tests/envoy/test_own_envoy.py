"""docs/own-envoy.md and the README's section, played: each step runs, and ends as the page says."""

import copy
import re

import pytest
import yaml

from harness import ROOT, assert_unharmed, until
from own import EXAMPLE, Own, check, managers, read
from shipped import CHINA, OWN_KEY, SINGAPORE, compiled

SOON_SECONDS = 20
KEYS = {"anthropic": lambda key: ["x-api-key", key], "openai": lambda key: ["authorization", f"Bearer {key}"]}
PATHS = {"anthropic": "/v1/messages", "openai": "/v1/responses"}
ACCOUNT = {"anthropic": "/v1/organizations/me", "openai": "/v1/organization/users"}


@pytest.fixture
def run(upstream, tmp_path, monkeypatch):
    """Starts the Envoy of a document; a step names its file."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", OWN_KEY)
    running = []

    def run(document, **options):
        document = read(f"steps/{document}.yaml") if isinstance(document, str) else document
        running.append(Own(tmp_path, document, upstream, **options).__enter__())
        return running[0]

    yield run
    for envoy in running:
        envoy.__exit__()


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


def test_check_finds_nothing_in_the_readmes_filters(tmp_path):
    """Alone, as one configuration, and in a sound file."""
    filters, whole = tmp_path / "filters.yaml", tmp_path / "envoy.yaml"
    filters.write_text(snippet())
    whole.write_text(yaml.safe_dump(pasted("2-report"), sort_keys=False))
    for file in (filters, whole):
        status, said = check(file)
        assert status == 0, said
        assert "error" not in said, said


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
