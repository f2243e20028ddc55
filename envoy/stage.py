"""What both acts of the demo stand on: processes that end with it, requests, what Envoy logs, and tables."""

import http.client
import json
import os
import socket
import subprocess
import textwrap
import time
from contextlib import contextmanager

HOST = os.environ.get("WAYBILL_HOST", "wasm")  # or `module`: the same story, by Envoy's dynamic module
IN_FRONT = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH=dist " if HOST == "module" else ""  # of Envoy's command
START_SECONDS = 60  # Envoy compiles the module for each node and worker first; mostly a few seconds
EVENT_SECONDS = 5
CALL = json.dumps({"model": "demo-model", "max_tokens": 16, "messages": [{"role": "user", "content": "Good morning"}]})


class Failure(Exception):
    """The demo can't go on; the message says what is wrong and what to do."""


# === processes ===


def expect_free(ports):
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Failure(f"127.0.0.1:{port} isn't free ({error.strerror}). Stop what listens there.") from None


def spawn(running, command, **settings):
    """Starts a process that ends with the demo, however that ends."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **settings)
    running.callback(stop, process)
    return process


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_envoy(running, envoy, config, log, variables=None):
    """An Envoy with two workers, so that what they ought to share shows."""
    options = ["--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "50"]
    output = running.enter_context(log.open("w"))
    environment = os.environ | (variables or {}) | {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": "dist"}
    return spawn(running, [envoy, "-c", str(config), *options], stdout=output, stderr=output, env=environment)


@contextmanager
def last_words(log):
    """What Envoy said at last, where it doesn't come up."""
    try:
        yield f"{log} says why; it ends:"
    except Failure as failure:
        raise Failure("\n".join([str(failure), *log.read_text(errors="replace").splitlines()[-5:]])) from None


def wait_until_ready(process, name, port, path, hint):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failure(f"{name} ended at once, with status {process.returncode}. {hint}")
        try:
            if get(port, path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise Failure(f"{name} isn't ready after {START_SECONDS} seconds. {hint}")


# === requests ===


def get(port, path):
    response, body = exchange(port, "GET", path)
    return response.status, body.decode()


def exchange(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


# === what Envoy logs ===


def lines_since(log, offset, enough, missing):
    """The lines that Envoy has written since, once there are enough; it writes them when a request is over."""
    deadline = time.monotonic() + EVENT_SECONDS
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(offset)
            lines = [json.loads(line) for line in file if line.endswith(b"\n")]
        if enough(lines):
            return lines
        time.sleep(0.02)
    raise Failure(f"{missing} in {log} {EVENT_SECONDS} seconds after a request.")


def event_of(line):
    """The event in a line of the shipped log format, where it is text, or of a format that prints it as an object."""
    event = line["event"]
    return json.loads(event) if isinstance(event, str) else event


# === what is shown ===


def title(text):
    print(f"\n{text}")
    print("-" * len(text))


def print_rows(heading, rows):
    rows = [heading, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if row is heading:
            print("  ".join("-" * width for width in widths))


def print_wrapped(text):
    print(textwrap.fill(text, 116, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))
