"""envoy/observability/otlp.yaml sends its events to a collector: a gRPC server made of OpenTelemetry's published protobuf."""

import hashlib
import json
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service

import demo
import stage
from conftest import OTLP, otlp_gateway
from harness import START_SECONDS, WAYBILL, until

ATTRIBUTES = ["status", "duration_ms", "request_id", "provider_request_id", "method", "path"]
KEY = "sk-example"


class Collector(service.LogsServiceServicer):
    """Keeps the records that come."""

    def __init__(self, port):
        self.records, self.resources, self.batches = [], [], 0
        self.lock = threading.Lock()
        self.server = grpc.server(ThreadPoolExecutor(4))
        service.add_LogsServiceServicer_to_server(self, self.server)
        assert self.server.add_insecure_port(f"127.0.0.1:{port}") == port

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait(5)

    def Export(self, request, context):  # noqa: N802: the service's own name
        with self.lock:
            self.batches += 1
            for resource in request.resource_logs:
                self.resources.append({each.key: each.value.string_value for each in resource.resource.attributes})
                self.records += [record for scope in resource.scope_logs for record in scope.log_records]
        return messages.ExportLogsServiceResponse()

    def texts(self):
        return [record.body.string_value for record in self.records]


class Full(Collector):
    asked = 0

    def Export(self, request, context):  # noqa: N802
        self.asked += 1
        context.abort(grpc.StatusCode.UNAVAILABLE, "full")


@pytest.fixture
def gateway(tmp_path, provider):
    with otlp_gateway(tmp_path, provider.port) as running:
        yield running


def call(port, key=KEY, path="/v1/messages?beta=sk-in-the-query"):
    headers = {"x-api-key": key, "content-type": "application/json", "anthropic-version": "2023-06-01"}
    return stage.exchange(port, "POST", path, demo.CALL, headers)[0].status


def lines(log):
    return [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]]


def test_check_passes():
    checked = subprocess.run([WAYBILL, "check", OTLP], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, f"{OTLP}: ok\n"), checked.stderr


def test_the_collector_gets_what_the_file_has(gateway):
    """Each event's text to the byte, so that its digest is the next one's `prev`; beside it a line's other members, as text."""
    envoy, ports, log = gateway
    with Collector(ports["collector"]) as collector:
        statuses = [call(ports["gateway"], key) for key in (KEY, 'sk-"unknown\\', KEY) for _ in range(5)]
        assert set(statuses) == {200, 401}
        assert stage.get(ports["gateway"], "/.well-known/waybill/ready")[0] == 200
        until(START_SECONDS, "the records", lambda: len(collector.records) >= len(statuses), envoy.log)
        until(START_SECONDS, "the log", lambda: len(lines(log)) >= len(statuses), envoy.log)
    by_text = {line["event"]: line for line in lines(log)}
    assert sorted(collector.texts()) == sorted(by_text) and len(by_text) == len(statuses)
    for record in collector.records:
        line = by_text[record.body.string_value]
        attributes = {each.key: each.value.string_value for each in record.attributes}
        assert [*attributes] == ATTRIBUTES and all(each.value.WhichOneof("value") == "string_value" for each in record.attributes)
        shown = {name: "-" if line[name] is None else str(line[name]) for name in ATTRIBUTES}
        assert attributes["path"] == "/v1/messages" and attributes | {"provider_request_id": ""} == shown | {"provider_request_id": ""}
        assert attributes["provider_request_id"] == shown["provider_request_id"] or line["provider_request_id"] is None
    events = {(event["vm"], event["seq"]): (event, text) for text in by_text for event in [json.loads(text)]}
    followed = [(events[vm, seq - 1][1], event["prev"]) for (vm, seq), (event, _) in events.items() if seq]
    assert len(followed) >= len(statuses) - 2
    assert all(hashlib.sha256(text.encode()).hexdigest() == prev for text, prev in followed)
    assert collector.resources[0]["service.name"] == "waybill" and collector.batches < len(statuses)


def test_without_a_collector(gateway):
    """Requests go on, the file has the events, and those that didn't arrive are counted. A collector that comes back gets the next ones."""
    envoy, ports, log = gateway
    assert [call(ports["gateway"]) for _ in range(20)] == [200] * 20
    until(START_SECONDS, "lost events", lambda: dropped(envoy) > 0, envoy.log)
    until(START_SECONDS, "the log", lambda: len(lines(log)) == 20, envoy.log)
    with Collector(ports["collector"]) as collector:
        until(START_SECONDS, "the next events", lambda: call(ports["gateway"]) and collector.records, envoy.log)
        assert len(lines(log)) >= len(collector.records)


def test_a_collector_that_refuses(gateway):
    """What it refuses is lost, and counted to the last event."""
    envoy, ports, log = gateway
    with Full(ports["collector"]) as collector:
        assert [call(ports["gateway"]) for _ in range(20)] == [200] * 20
        until(START_SECONDS, "lost events", lambda: dropped(envoy) == 20, envoy.log)
        assert collector.asked and not collector.records


def dropped(envoy):
    return sum(envoy.stats(r"access_logs\..*logs_dropped").values())
