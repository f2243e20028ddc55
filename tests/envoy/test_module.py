"""What only the dynamic module has to show: a panic in any hook ends at a barrier, and another Envoy doesn't run it unseen."""

import os
import time
from pathlib import Path

import pytest

from bootstrap import Node
from harness import FILTER, HOST, configuration, request, until, validated
from snapshots import Register, Server, by_snapshot
from test_snapshot import SOON_SECONDS, calling
from test_start import publish, updates
from wire import raw_request

pytestmark = pytest.mark.skipif(HOST != "module", reason="the module's own: WAYBILL_HOST=module")
PANICS = Path(os.environ.get("PANICS", ""))  # the module with the feature `panics`
SAID = "waybill: panicked at src/module/barrier.rs"


@pytest.fixture
def panicking(start, monkeypatch):
    """Starts an Envoy whose module panics once, in that hook."""
    assert PANICS.is_file(), f"PANICS={os.environ.get('PANICS')} isn't the module with the feature `panics`: see CONTRIBUTING.md"

    def started(hook, config=None, **options):
        monkeypatch.setenv("WAYBILL_PANIC", hook)
        return start(Node("edge", config or configuration(), PANICS, **options))

    return started


def panics(lab):
    return sum(lab.stats("waybill_panics_total$").values())


@pytest.mark.parametrize("hook", ["http_filter_new", "http_filter_request_headers"])
def test_the_request_of_a_panic_is_refused(panicking, hook):
    lab = panicking(hook)
    refused = lab.play("edge", request())
    assert (refused.response.status, refused.event, refused.received) == (503, None, None)
    assert_goes_on(lab)


def test_a_panic_at_trailers_ends_the_request(panicking):
    lab = panicking("http_filter_request_trailers")
    headers = [("transfer-encoding", "chunked"), *request()["headers"], ("x-test-direct-peer", "127.0.0.1")]
    sent = raw_request("POST", "/v1/messages", "localhost", headers)
    refused = lab.send("edge", sent + b"4\r\nbody\r\n0\r\nx-api-key: forged\r\n\r\n", method="POST")
    assert refused.response.status == 503
    assert_goes_on(lab)


def test_a_panic_at_the_end_of_a_request_harms_none(panicking):
    lab = panicking("http_filter_destroy")
    assert lab.play("edge", request()).response.status == 200
    assert_goes_on(lab)


def test_a_panic_at_the_end_of_a_configuration_harms_none(panicking, tmp_path):
    """The next configuration is in force, and the old one's clock has stopped: Envoy would crash at its next tick."""
    path = tmp_path / "filter.json"
    register = Register(tmp_path / "register")
    server = Server(register.compiled(1))
    config = by_snapshot("edge", register.trusted)
    publish(path, Node("edge", config, PANICS))
    lab = panicking("http_filter_config_destroy", config, discovery=path, clusters={"edge": server.port})
    until(SOON_SECONDS, "the snapshot", lambda: lab.play("edge", calling("c-1")).response.status == 200, lab.log)
    publish(path, Node("edge", {**config, "identity": {"sources": [{"header": "x-other-key"}]}}, PANICS))
    until(SOON_SECONDS, "the update", lambda: lab.play("edge", calling("c-1")).response.status == 401, lab.log)
    time.sleep(1)
    assert_goes_on(lab, calling("c-1"), 401)


def test_no_count_is_lost_with_a_configuration(start, tmp_path):
    """Counts wait for the clock: those of the last tenth of a second are handed over when the configuration ends."""
    path = tmp_path / "filter.json"
    register = Register(tmp_path / "register")
    config = by_snapshot("edge", register.trusted)
    publish(path, Node("edge", config, FILTER))
    server = Server(register.compiled(1))
    lab = start(Node("edge", config, FILTER, discovery=path, clusters={"edge": server.port}))
    until(SOON_SECONDS, "the snapshot", lambda: lab.play("edge", calling("c-1")).response.status == 200, lab.log)
    for number in range(5):
        for _ in range(20):
            lab.play("edge", calling("c-1"))
        before = updates(lab, "update_success")
        publish(path, Node("edge", {**config, "policy": {"mode": "report" if number % 2 else "enforce"}}, FILTER))
        until(SOON_SECONDS, "the update", lambda before=before: updates(lab, "update_success") > before, lab.log)
    counted = lambda: sum(lab.stats("waybill_requests_total").values())  # noqa: E731
    until(SOON_SECONDS, "all counts", lambda: counted() == len(lab.events("edge")), lab.log)


@pytest.mark.parametrize("hook", ["http_filter_config_scheduled", "http_filter_config_http_callout_done"])
def test_the_snapshot_comes_after_a_panic(panicking, tmp_path, hook):
    register = Register(tmp_path / "register")
    server = Server(register.compiled(1))
    lab = panicking(hook, by_snapshot("edge", register.trusted), clusters={"edge": server.port})
    until(SOON_SECONDS, "the snapshot", lambda: lab.play("edge", calling("c-1")).response.status == 200, lab.log)
    assert panics(lab) == 1
    assert SAID in lab.log.read_text()


def test_a_panic_over_a_configuration_refuses_it(tmp_path, certificates):
    status, log = validated(tmp_path, Node("edge", configuration(), PANICS), certificates, WAYBILL_PANIC="http_filter_config_new")
    assert status == 1, log  # a crash would be a signal's number
    assert SAID in log


def altered(folder, old, new):
    """The module with one name in it replaced by another as long: as an Envoy of another version sees it."""
    module = FILTER.read_bytes()
    assert module.count(old) == 1 and len(old) == len(new)
    path = folder / "libaltered.so"
    path.write_bytes(module.replace(old, new))
    return Node("edge", configuration(), path)


def test_an_envoy_that_lacks_a_callback_refuses_the_module(tmp_path, certificates):
    """By the callback's name, and before it serves anything."""
    node = altered(tmp_path, b"callback_http_get_headers_size\0", b"callback_http_get_headers_soon\0")
    status, log = validated(tmp_path, node, certificates)
    assert status == 1
    assert "undefined symbol: envoy_dynamic_module_callback_http_get_headers_soon" in log


def test_an_envoy_of_another_interface_says_so(tmp_path, certificates):
    """It warns, and goes on: by its policy a callback never changes."""
    status, log = validated(tmp_path, altered(tmp_path, b"v0.2.0", b"v9.9.9"), certificates)
    assert status == 0
    assert "Dynamic module ABI version v9.9.9 is deprecated" in log
    assert "ABI version" not in validated(tmp_path, Node("edge", configuration(), FILTER), certificates)[1]


def assert_goes_on(lab, next_one=None, status=200):
    """The next request is decided, the panic is counted and said, and nothing of the request is in the log."""
    played = lab.play("edge", next_one or request())
    assert (played.response.status, played.event["verdict"]) == (status, "allow" if status == 200 else "block")
    assert panics(lab) == 1
    log = lab.log.read_text()
    assert SAID in log and "asked for a panic" not in log
