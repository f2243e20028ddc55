"""The vendors' own SDKs through the shipped demo configuration, to the providers' stand-in.

A refusal has to be one that an SDK understands: its typed error, the reason in it, and no retries.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import anthropic
import openai
import pytest
import yaml

from harness import APPEAL, HOST, ROOT, Envoy, until

MERLION = "sk-demo-merlion-1"  # the demo's good customer
KESTREL = "sk-demo-kestrel-1"  # not screened yet
# envoy/demo.yaml with the key of dist/served/waybill.snapshot
CONFIG = ROOT / "dist" / {"wasm": "demo.yaml", "module": "demo-module.yaml"}[HOST]
SINGAPORE = {"x-forwarded-for": "165.21.100.88"}  # a country that the customer declared
MESSAGE = {"model": "demo-model", "messages": [{"role": "user", "content": "Hello"}]}


class Demo:
    """The demo's Envoy on a free port."""

    def __init__(self, envoy):
        self.envoy = envoy
        self.address = f"http://127.0.0.1:{envoy.ports()['customers']}"

    def anthropic(self, key):
        return anthropic.Anthropic(api_key=key, base_url=self.address, default_headers=SINGAPORE)

    def openai(self, key):
        return openai.OpenAI(api_key=key, base_url=f"{self.address}/v1", default_headers=SINGAPORE)

    def is_ready(self):
        """Whether the worker that is asked has the snapshot."""
        try:
            with urllib.request.urlopen(f"{self.address}/.well-known/waybill/ready", timeout=10) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def requests(self):
        """How many requests there were."""
        return self.envoy.stats("http.customers.downstream_rq_total")["http.customers.downstream_rq_total"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert CONFIG.exists(), f"{CONFIG} is missing: run ./build.sh prepare"
    with provider() as port, Envoy(folder, demo_config(folder, port)) as envoy:
        demo = Demo(envoy)
        until(10, "the snapshot", demo.is_ready, envoy.log)
        yield demo


def demo_config(folder, provider_port):
    """The demo's file as it is, but for its ports and its log."""
    text = CONFIG.read_text()
    for old, new in (
        ("port_value: 9901", "port_value: 0"),
        ("port_value: 10000", "port_value: 0"),
        ("port_value: 10001", f"port_value: {free_port()}"),
        ("port_value: 18080", f"port_value: {provider_port}"),
        ("dist/events.jsonl", str(folder / "events.jsonl")),
    ):
        assert old in text, f"{CONFIG} no longer has {old!r}: this test puts its own there"
        text = text.replace(old, new)
    return yaml.safe_load(text)


@contextlib.contextmanager
def provider():
    """The stand-in, on a free port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, ROOT / "envoy" / "provider.py", str(port)])
    try:
        wait_for_port(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_port(process, port):
    end = time.monotonic() + 10
    while True:
        assert process.poll() is None and time.monotonic() < end, "envoy/provider.py didn't start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)


def test_anthropic(demo):
    message = demo.anthropic(MERLION).messages.create(**MESSAGE, max_tokens=16)
    assert message.content[0].text


def test_anthropic_stream(demo):
    with demo.anthropic(MERLION).messages.stream(**MESSAGE, max_tokens=16) as stream:
        parts = list(stream.text_stream)
    assert len(parts) > 1


def test_openai(demo):
    completion = demo.openai(MERLION).chat.completions.create(**MESSAGE)
    assert completion.choices[0].message.content


def test_openai_stream(demo):
    chunks = list(demo.openai(MERLION).chat.completions.create(**MESSAGE, stream=True))
    assert len(chunks) > 1


REFUSALS = [
    (KESTREL, "PermissionDeniedError", "customer.unscreened"),
    ("sk-nobody", "AuthenticationError", "identity.unknown"),
]


@pytest.mark.parametrize("key, error, reason", REFUSALS)
def test_anthropic_refusal(demo, key, error, reason):
    before = demo.requests()
    with pytest.raises(getattr(anthropic, error)) as caught:
        demo.anthropic(key).messages.create(**MESSAGE, max_tokens=16)
    assert_told(caught.value, reason)
    assert demo.requests() == before + 1, "the SDK tried again"


@pytest.mark.parametrize("key, error, reason", REFUSALS)
def test_openai_refusal(demo, key, error, reason):
    before = demo.requests()
    with pytest.raises(getattr(openai, error)) as caught:
        demo.openai(key).chat.completions.create(**MESSAGE)
    assert_told(caught.value, reason)
    assert demo.requests() == before + 1, "the SDK tried again"


def assert_told(error, reason):
    """The error says why, by whom, and where to appeal."""
    told = f"{error.message} {json.dumps(error.body)}"
    for part in (reason, "gateway.acme.example", APPEAL):
        assert part in told
