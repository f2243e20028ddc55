"""The two ends of the wire: a client that sends exact bytes, and an upstream that says what it received.

Ordinary HTTP libraries tidy what they send and merge what they receive. A filter that must strip
forged headers has to be shown requests as hostile clients write them, so both ends work on bytes.
"""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import socketserver
import ssl
import subprocess
import threading
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

TIMEOUT_SECONDS = 10
JWT_KEY = b"the key of the test's own identity provider"
CLOSE = 8  # the opcode, RFC 6455, section 11.8
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@dataclass
class Response:
    """What the client got. Header names are in lower case, values decoded byte by byte."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name):
        return dict(self.headers).get(name)

    def json(self):
        return json.loads(self.body)


def raw_request(method, target, authority, headers=(), body=None):
    """One HTTP/1.1 request as bytes. Nothing is added but `host` and, with a body, its length."""
    lines = [b"%s %s HTTP/1.1" % (as_bytes(method), as_bytes(target)), b"host: " + as_bytes(authority)]
    lines += [as_bytes(name) + b": " + as_bytes(value) for name, value in headers]
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def connect(port, tls=None):
    """A connection to Envoy; `tls` is an `ssl.SSLContext` or None."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(connection, server_hostname="localhost") if tls else connection


def exchange(port, request, tls=None, method="GET"):
    """Sends bytes on a connection of their own and reads one response, or None if there is none."""
    with connect(port, tls) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=method)
        try:
            response.begin()
            body = response.read()
        except (http.client.BadStatusLine, ConnectionResetError):
            return None
        return Response(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)


def exchange_h2(port, headers, body=b"", trailers=()):
    """The same over HTTP/2, with prior knowledge: headers and trailers as they are, also such as no client would send."""
    exact = {"header_encoding": None, "validate_outbound_headers": False, "normalize_outbound_headers": False}
    client = h2.connection.H2Connection(h2.config.H2Configuration(**exact, validate_inbound_headers=False))
    client.initiate_connection()
    stream = client.get_next_available_stream_id()
    client.send_headers(stream, [(as_bytes(name), as_bytes(value)) for name, value in headers], end_stream=not body and not trailers)
    if body:
        client.send_data(stream, body, end_stream=not trailers)
    if trailers:
        client.send_headers(stream, [(as_bytes(name), as_bytes(value)) for name, value in trailers], end_stream=True)
    status, fields, content = None, [], b""
    with connect(port) as connection:
        connection.sendall(client.data_to_send())
        while received := connection.recv(1 << 16):
            for event in client.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
                    status, fields = int(dict(decoded)[":status"]), [pair for pair in decoded if not pair[0].startswith(":")]
                elif isinstance(event, h2.events.DataReceived):
                    content += event.data
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return None if status is None else Response(status, fields, content)
            connection.sendall(client.data_to_send())
    return None


def as_bytes(value):
    """Text, bytes, or the `{"hex": …}` by which JSON files write what isn't text."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return value if isinstance(value, bytes) else value.encode()


def as_json(value):
    """The reverse of `as_bytes`."""
    return value.decode() if value.isascii() else {"hex": value.hex()}


def jwt(claims):
    """A JWT of the test's identity provider (HS256)."""
    parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(JWT_KEY, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64url(signature)]).decode()


def jwks():
    """The key set with which Envoy checks `jwt`."""
    return json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": base64url(JWT_KEY).decode()}]})


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Certificates:
    """A certificate authority made for one test run by the openssl command (3.0 or later)."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.openssl("ca", "-subj", "/CN=test CA", "-addext", "basicConstraints=critical,CA:true")
        self.server = self.issue("server", "DNS:localhost")
        self.clients = {}

    def client(self, sans):
        """A TLS context that presents a certificate with these names, such as `URI:spiffe://…`."""
        if sans not in self.clients:
            self.clients[sans] = self.client_context(f"client-{len(self.clients)}", sans)
        return self.clients[sans]

    def client_context(self, name, sans):
        context = ssl.create_default_context(cafile=self.ca)
        if sans:
            context.load_cert_chain(*self.issue(name, sans))
        return context

    def issue(self, name, sans):
        self.openssl(
            name, "-subj", f"/CN={name}", "-addext", f"subjectAltName={sans}",
            "-CA", self.ca, "-CAkey", self.folder / "ca.key",
        )  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def openssl(self, name, *arguments):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem"]
        done = subprocess.run([*command, *files, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"openssl could not make the certificate {name!r}:\n{done.stderr}"


class Upstream(socketserver.ThreadingTCPServer):
    """Stands where the model provider would be, and answers each request with what it received.

    A request's `x-test-answer` is one more header of the answer, whole. `/sse` streams three events and
    waits for `gate` before the second and the third; an upgrade to WebSocket echoes frames. Every request
    is also kept in `received`, which shows, when the answer can't, whether something got through.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Connection)
        self.port = self.server_address[1]
        self.received = []
        self.gate = threading.Semaphore(0)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        """The requests received since the last call."""
        taken, self.received = self.received, []
        return taken


class Connection(socketserver.StreamRequestHandler):
    """One connection from Envoy, kept alive over many requests."""

    disable_nagle_algorithm = True

    def handle(self):
        while (received := self.read_head()) is not None:
            headers = {name.lower(): as_bytes(value) for name, value in received["headers"]}
            body, received["trailers"] = self.read_body(headers)
            received["body"] = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            self.server.received.append(received)
            if headers.get("upgrade", b"").lower() == b"websocket":
                return self.echo_frames(headers)
            if received["path"].startswith("/sse"):
                self.stream_events()
            else:
                self.answer(received, headers.get("x-test-answer"))

    def read_head(self):
        line = self.rfile.readline()
        if not line:
            return None
        method, path, _version = line.rstrip(b"\r\n").split(b" ", 2)
        return {"method": method.decode("latin-1"), "path": path.decode("latin-1"), "headers": self.read_fields()}

    def read_fields(self):
        """Name and value of each header or trailer, in order, up to the empty line."""
        fields = []
        while (line := self.rfile.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.partition(b":")
            fields.append([name.decode("latin-1"), as_json(value.strip(b" \t"))])
        return fields

    def read_body(self, headers):
        """The body and the trailers behind it."""
        if headers.get("transfer-encoding") != b"chunked":
            return self.rfile.read(int(headers.get("content-length", 0))), []
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body, self.read_fields()

    def answer(self, received, more=None):
        body = b"" if received["method"] == "HEAD" else json.dumps(received).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.wfile.write(head + (more + b"\r\n" if more else b"") + b"\r\n" + body)

    def stream_events(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            if number and not self.server.gate.acquire(timeout=TIMEOUT_SECONDS):
                return
            event = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def echo_frames(self, headers):
        """Answers the handshake, then sends each short masked frame back unmasked (RFC 6455, section 5.2)."""
        accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"] + WEBSOCKET_GUID).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        if "sec-websocket-protocol" in headers:
            head += b"sec-websocket-protocol: %s\r\n" % headers["sec-websocket-protocol"].split(b",")[0].strip()
        self.wfile.write(head + b"sec-websocket-accept: %s\r\n\r\n" % accept)
        while len(start := self.rfile.read(2)) == 2:
            size = start[1] & 0x7F
            mask = self.rfile.read(4)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(size)))
            self.wfile.write(bytes([start[0], size]) + payload)
            if start[0] & 0x0F == CLOSE:
                return
