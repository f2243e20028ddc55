"""What a node with a snapshot needs beside Envoy: a register that is compiled, and a server that may fail in every way."""

import contextlib
import hashlib
import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

from harness import WAYBILL, configuration

PATH = "/waybill.snapshot"
DRIP_SECONDS = 0.5  # between two bytes


class Register:
    """A register's directory with the key that signs it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "register.json").write_text('{"schema": 1}')
        self.key, self.trusted = new_key(folder / ".key.jwk")
        self.customers(customer("c-1"), customer("c-2"))

    def customers(self, *customers):
        (self.folder / "customers.json").write_text(json.dumps({"customers": customers}))

    def networks(self, sources):
        (self.folder / "register.json").write_text(json.dumps({"schema": 1, "networks": sources}))

    def compiled(self, sequence, key=None, age=0):
        """A snapshot's bytes, made so many seconds ago."""
        output = self.folder / ".snapshot"
        command = [WAYBILL, "compile", self.folder, "-o", output, "--sign-key", key or self.key, "--sequence", str(sequence)]
        made = {"SOURCE_DATE_EPOCH": str(int(time.time()) - age)}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **made})
        assert done.returncode == 0, done.stderr
        return output.read_bytes()


def new_key(path):
    """Makes a key; gives its file and its public part as `trusted_keys` has it."""
    path.write_bytes(subprocess.run([WAYBILL, "keygen"], capture_output=True, check=True).stdout)
    trusted = subprocess.run([WAYBILL, "keygen", "--trusted-key", path], capture_output=True, text=True, check=True)
    return path, trusted.stdout.strip()


def customer(name, **changes):
    """A screened customer in Singapore, whose credential is `sk-` and its id."""
    entry = {
        "id": name,
        "credentials": ["sha256:" + hashlib.sha256(f"sk-{name}".encode()).hexdigest()],
        "screening": {"status": "passed", "at": "2026-01-15T00:00:00Z", "by": "test"},
        "ownership": "clear", "declared": ["SG"],
    }  # fmt: skip
    return {**entry, **changes}


def by_snapshot(cluster, trusted, changes=None, **settings):
    """The harness's configuration with a snapshot in place of the register, asked for once a second."""
    config = configuration(**(changes or {}))
    del config["register"], config["regions"]
    where = {"cluster": cluster, "authority": "snapshots", "path": PATH}
    config["snapshot"] = {**where, "poll_seconds": 1, "trusted_keys": [trusted], **settings}
    return config


class Server(socketserver.ThreadingTCPServer):
    """Serves one file over HTTP/1.1 and counts what for. Each fault is an attribute that a test sets while it runs."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, file=b"", etag=True, ranges=True, listens=True):
        super().__init__(("127.0.0.1", 0), Connection, bind_and_activate=False)
        self.file, self.etag, self.ranges = file, etag, ranges
        self.fault = None  # "gone", "hang", "drip", "cut", "trap" (for tests/modules/trap), or a status
        self.then = None  # the file from the next request for pages on
        self.asked = []
        self.released = threading.Event()
        self.connections = set()
        self.server_bind()
        self.port = self.server_address[1]
        if listens:
            self.listen()

    def listen(self):
        """Until then connections are refused."""
        self.server_activate()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def cut_off(self):
        """From now on each connection ends at once."""
        self.fault = "gone"
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self):
        """The requests since the last call."""
        taken, self.asked = self.asked, []
        return taken


class Asked:
    """One request: its first and last byte, the status, and how many bytes went over the wire for it, both ways."""

    def __init__(self, span, status, size):
        self.span, self.status, self.size = span, status, size

    def __repr__(self):
        return f"{self.span}: {self.status}, {self.size} bytes"


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        server = self.server
        if server.fault == "gone":
            return
        server.connections.add(self.connection)
        with contextlib.suppress(OSError):
            while (head := self.read_head()) and server.fault != "gone":
                self.answer(head)
        server.connections.discard(self.connection)

    def read_head(self):
        lines = []
        while line := self.rfile.readline():
            if line == b"\r\n":
                return b"".join(lines)
            lines.append(line)
        return None

    def answer(self, head):
        server = self.server
        fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        first, last = (int(number) for number in fields["range"].removeprefix("bytes=").split("-"))
        if server.then is not None and first > 256:
            server.file, server.then = server.then, None
        file = server.file
        etag = f'"{hashlib.sha256(file).hexdigest()[:16]}"'
        status, body = 206, file[first : last + 1]
        if isinstance(server.fault, int):
            status, body = server.fault, b"error\n"
        elif server.etag and fields.get("if-none-match") == etag:
            status, body = 304, b""
        elif not server.ranges:
            status, body = 200, file
        elif not body:
            status = 416
        reply = f"HTTP/1.1 {status} X\r\ncontent-type: application/octet-stream\r\n"
        reply += f"etag: {etag}\r\n" if server.etag else ""
        reply += "x-test-trap: now\r\n" if server.fault == "trap" else ""
        reply += "\r\n" if status == 304 else f"content-length: {len(body)}\r\n\r\n"
        server.asked.append(Asked((first, last), status, len(head) + 2 + len(reply) + len(body)))
        if server.fault == "hang":
            server.released.wait(60)
        self.wfile.write(reply.encode())
        if server.fault == "drip":
            while body and not server.released.wait(DRIP_SECONDS):
                self.wfile.write(body[:1])
                body = body[1:]
            self.wfile.write(body)
        elif server.fault == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body)
