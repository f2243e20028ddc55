"""The log lines of the files in envoy/: whatever a client writes, a line is one JSON object with these members and no others."""

import hashlib
import json
import re
import shutil
import subprocess

import pytest
import yaml

import wire
from harness import EVENT_SECONDS, ROOT, until
from shipped import ALONE, DOORS, LINE, READY, Shipped, file_log, log_line
from test_shipped import managers

SECRET = "sk-in-the-query"
EVENT = '{"schema":1,"id":"forged","verdict":"allow"}'
OF_EACH_FILE = sorted({door.file: door.name for door in reversed(DOORS)}.values())  # listeners of one file share a logger
HOSTILE = [  # what a header's value, a path or a method may hold to end a member, a line, or a character
    f'a", "event": {EVENT}, "x": "',
    f'", "event": {json.dumps(EVENT)}, "status": 200, "x": "',
    '"', '\\', '\\"', "\\u0022", '"}', "{}[]", '\\n{"event": null}', "%FILTER_STATE(wasm.waybill:PLAIN)%", "%0a%22%0d", "a\tb",
    b"\xff\xfe", b"\xc3\xa9", b"\xed\xa0\x80", b"\xc3", b'\xff"', b'\\\xff\\"', b"\xe2\x80\xa8\xc2\x85", "x" * 9000, '"' * 9000,
]  # fmt: skip
TARGETS = [
    '/v1/"}', "/v1/\\", "/v1/{}", f'/v1/x","event":{EVENT},"x":"', b"/v1/\xff", b"/v1/\xc3\xa9", "/v1/%22%5c%0a", "/v1/%ff",
    "/v1/%3fkey=" + "x", "/v1/messages#", "/v1/\t", "//v1/messages", "/./v1", "http://x/v1/messages", "*", "", "v1", f"{READY}/x", f"/x/..{READY}x",
]  # fmt: skip
METHODS = ["GET", "DELETE", 'G"T', "G\\T", "{}", b"G\xffT", "get", "TRACE", "CONNECT", "OPTIONS", "M" * 300, "M-SEARCH"]


@pytest.fixture(scope="module")
def lab(upstream, tmp_path_factory):
    at_once = {"delayed_close_timeout": "0.01s"}  # else Envoy takes a second to end a connection with a malformed request
    with Shipped(tmp_path_factory.mktemp("logs"), [*DOORS, *ALONE], upstream, at_once) as lab:
        yield lab


@pytest.mark.parametrize("door", OF_EACH_FILE)
def test_no_client_alters_a_line(lab, door):
    """Each request has its line, in order, and the line has this request's own event."""
    for sent, identified in attempts(lab, door):
        line, event = logged(lab, door, sent)
        assert line["event"] == event, sent
        assert line["path"] is None or "?" not in line["path"], sent
        if identified is not None:
            assert (line["request_id"], line["method"], line["path"]) == (as_text(identified), "POST", "/v1/messages"), sent


def attempts(lab, door):
    """Requests over HTTP/1, as bytes, and over HTTP/2, as headers; beside each the request id, where Envoy must take it."""
    for value in HOSTILE:
        hostile = [["x-request-id", value], ["user-agent", value]]
        yield lab.call(door, headers=hostile), value
        yield lab.call(door, headers=hostile, key="sk-unknown"), value
        yield [*pseudo("POST", "/v1/messages"), *hostile], value
        query = b"?key=" + SECRET.encode() + b"&" + wire.as_bytes(value)
        yield wire.raw_request("POST", b"/v1/messages" + query, "gateway.acme.example", hostile, b""), None
        yield [*pseudo("GET", b"/v1/messages" + query), *hostile], None
        yield wire.raw_request("GET", "/v1/messages", value), None
    yield from ((sent, None) for sent in misshapen())


def misshapen():
    """Targets, methods and whole heads."""
    for target in TARGETS:
        for path in (target, wire.as_bytes(target) + b"?key=" + SECRET.encode()):
            yield wire.raw_request("GET", path, "gateway.acme.example", [["x-request-id", "a"]])
            yield pseudo("GET", path)
    for method in METHODS:
        yield wire.raw_request(method, f"/v1/messages?{SECRET}", "gateway.acme.example")
        yield pseudo(method, "/v1/messages")
    yield b"\r\n\r\n{}\r\n\r\n"
    yield b'GET / HTTP/1.1\r\nhost: a\r\nx-request-id: a\r\n "folded"\r\n\r\n'
    yield b'GET / HTTP/1.1\r\nhost: a\r\nx-request-id: a\rb\r\n\r\n'
    yield b'GET / HTTP/1.1\r\nhost: a\r\nx-request-id: a\nevent: b\r\n\r\n'
    yield b'GET / HTTP/1.1\r\nhost: a\r\nx-request-id: a\0b\r\n\r\n'
    yield [*pseudo("GET", "/"), ["x-request-id", 'a\n{"event": null}']]


def as_text(value):
    """As Envoy writes bytes into JSON: UTF-8 as it is, of anything else each byte as a character."""
    value = wire.as_bytes(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def pseudo(method, path):
    return [[":method", method], [":scheme", "http"], [":authority", "gateway.acme.example"], [":path", path]]


def logged(lab, door, sent):
    """The line of a request, checked, and its event's text as the test's own logger has it."""
    raw, event = written(lab, door, sent)
    return checked(raw), None if event == "-" else event


def written(lab, door, sent):
    lines, events = len(lab.lines(door)), len(lab.events(door))
    ask = wire.exchange_h2 if isinstance(sent, list) else wire.exchange
    ask(lab.nodes[door].port, sent)
    until(EVENT_SECONDS, f"the log's line of {sent}", lambda: len(lab.events(door)) > events and len(lab.lines(door)) > lines, lab.log)
    new = lab.lines(door)[lines:]
    assert len(new) == len(lab.events(door)) - events == 1, (sent, new)
    return new[0], lab.events(door)[events]


def checked(raw):
    """A line's members, and none of a query in them."""
    assert SECRET.encode() not in raw
    return log_line(raw)


@pytest.fixture(scope="module")
def texts(upstream, tmp_path_factory):
    """A file that writes the same members as text, as anybody may write it by hand."""
    text = """{"event": %FILTER_STATE(wasm.waybill:PLAIN)%, "status": %RESPONSE_CODE%, "request_id": "%REQ(X-REQUEST-ID)%"}\n"""
    folder = tmp_path_factory.mktemp("texts")
    logger = file_log(folder / "edge.log", {"text_format_source": {"inline_string": text}})
    events = file_log(folder / "edge.events", {"text_format_source": {"inline_string": "%FILTER_STATE(wasm.waybill:PLAIN)%\n"}})
    changes = {"access_log": [{"name": "text", "typed_config": logger}, {"name": "events", "typed_config": events}]}
    with Shipped(folder, DOORS[:1], upstream, changes) as lab:
        yield lab


def test_a_text_format_is_altered(texts):
    """What the shipped files avoid: a later member of the same name counts, for most readers; or the line is no JSON."""
    raw, event = written(texts, "edge", texts.call("edge", headers=[["x-request-id", f'a", "event": {EVENT}, "x": "']]))
    assert json.loads(raw)["event"] == json.loads(EVENT) != json.loads(event)
    raw, _ = written(texts, "edge", texts.call("edge", headers=[["x-request-id", '"']]))
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw)


@pytest.mark.parametrize("door", [door.name for door in DOORS])
def test_the_providers_own_id(lab, door):
    """By the header of Anthropic or of OpenAI. A refusal has an id under the same name, which isn't the provider's."""
    for header in ("request-id: req_1", "x-request-id: req_1", "Request-Id: req_1"):
        line, event = logged(lab, door, lab.call(door, headers=[["x-test-answer", header]]))
        assert (line["status"], line["provider_request_id"]) == (200, "req_1") and json.loads(event)["verdict"] != "block"
    line, _ = logged(lab, door, lab.call(door, headers=[["x-test-answer", 'request-id: "\\{}']]))
    assert line["provider_request_id"] == '"\\{}'
    line, _ = logged(lab, door, lab.call(door))
    assert (line["status"], line["provider_request_id"]) == (200, None)
    refused = lab.call(door, method="TRACE", headers=[["x-request-id", "mine"]])
    answer = wire.exchange(lab.nodes[door].port, refused)
    assert {"request-id", "x-request-id"} & {name for name, _ in answer.headers}
    until(EVENT_SECONDS, "the log's line", lambda: checked(lab.lines(door)[-1])["status"] == 405, lab.log)
    line = checked(lab.lines(door)[-1])
    assert (line["provider_request_id"], line["request_id"], line["method"]) == (None, "mine", "TRACE")


@pytest.mark.parametrize("door", [door.name for door in [*DOORS, *ALONE]])
def test_whose_request_id(lab, door):
    """Without a load balancer Envoy takes none from outside."""
    line, _ = logged(lab, door, lab.call(door, headers=[["x-request-id", "mine"]]))
    assert (line["request_id"] == "mine") == (not lab.doors[door].alone)
    line, _ = logged(lab, door, lab.call(door))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", line["request_id"])


@pytest.mark.parametrize("door", [door.name for door in DOORS])
def test_what_has_no_event(lab, door):
    """A request that Envoy refuses has a line; one to the readiness path has none."""
    line, event = logged(lab, door, b"nonsense\r\n\r\n")
    assert (line["event"], event, line["status"], line["path"]) == (None, None, 400, None)
    before, events = len(lab.lines(door)), len(lab.events(door))
    assert lab.is_open(door)
    until(EVENT_SECONDS, "the test's own line", lambda: len(lab.events(door)) > events, lab.log)
    line, event = logged(lab, door, wire.raw_request("GET", f"{READY}/more", "localhost"))
    assert len(lab.lines(door)) == before + 1 and line["event"] == event is not None


def test_a_client_that_hangs_up(lab):
    """Envoy prints a status all the same: 0, a number."""
    lines = len(lab.lines("edge"))
    with wire.connect(lab.nodes["edge"].port) as connection:
        connection.sendall(lab.call("edge").replace(b"content-length: 0", b"content-length: 9"))
        until(EVENT_SECONDS, "the request", lambda: lab.stats("http.edge.downstream_rq_active")["http.edge.downstream_rq_active"], lab.log)
    until(EVENT_SECONDS, "the log's line", lambda: len(lab.lines("edge")) > lines, lab.log)
    line = checked(lab.lines("edge")[-1])
    assert line["status"] == 0 and json.loads(line["event"])["verdict"] == "allow"


def test_all_files_write_the_same_lines():
    """One format and one filter, at each listener with a node."""
    files = sorted((ROOT / "envoy").rglob("*.yaml"))
    documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    formats = [logger for document in documents for manager in managers(document) for logger in loggers(manager)]
    assert len(formats) == sum(len([*managers(document)]) for document in documents) > len(DOORS)
    assert all(each == formats[0] for each in formats)
    assert sorted(formats[0][1]["json_format"]) == sorted(LINE)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq isn't installed")
def test_the_documents_ways_to_read_lines(lab, tmp_path):
    """Each command with jq, on lines of today's form and of the one before."""
    for door in ("edge", "demo"):
        logged(lab, door, lab.call(door))
        logged(lab, door, b"nonsense\r\n\r\n")
    texts = [event.replace('"would_be":null', '"would_be":"block"') for event in lab.events("edge") + lab.events("demo") if event != "-"]
    now = [json.dumps({"event": text, "status": 200}) for text in texts]
    before = [f'{{"status": 200, "duration_ms": 0, "event": {text}}}' for text in texts]
    (tmp_path / "events.jsonl").write_text("".join(f"{line}\n" for line in [*now, *before, '{"event": null, "status": 400}']))
    found = "".join((ROOT / "docs" / name).read_text() for name in ("operating.md", "upgrading.md")).replace("dist/events", "events")
    commands = re.findall(r"(?:^|`)(jq [^`\n]*)", found, re.MULTILINE)
    answers = {command: subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True) for command in commands}
    assert len(answers) == 3 and all(each.returncode == 0 and not each.stderr for each in answers.values()), answers
    alone, counted, back = sorted(answers.items(), key=lambda pair: ("|=" in pair[0], "select" in pair[0]))
    assert alone[1].stdout.split("\n")[:-1] == texts * 2
    assert sum(int(line.split()[0]) for line in counted[1].stdout.splitlines()) == len(texts) * 2
    assert [json.loads(line)["event"] for line in back[1].stdout.splitlines()] == [*map(json.loads, texts * 2), None]


@pytest.mark.parametrize("door", OF_EACH_FILE)
def test_the_string_is_what_the_next_event_digests(lab, door):
    for _ in range(3):
        logged(lab, door, lab.call(door))
    events = {event["seq"]: (event, text) for text in (checked(raw)["event"] for raw in lab.lines(door)) if text for event in [json.loads(text)]}
    followed = [(text, events[number + 1][0]["prev"]) for number, (_, text) in events.items() if number + 1 in events]
    assert len(followed) >= 2 and all(hashlib.sha256(text.encode()).hexdigest() == prev for text, prev in followed)


def loggers(manager):
    """Filter and format of each logger that prints an event."""
    for logger in manager["access_log"]:
        if "wasm.waybill" in json.dumps(logger["typed_config"].get("log_format")):
            yield logger["filter"], logger["typed_config"]["log_format"]
