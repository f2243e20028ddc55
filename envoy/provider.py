#!/usr/bin/env python3
"""A stand-in for the model providers, so that the demo runs without an account and without the Internet.

It answers Anthropic's Messages API and OpenAI's chat completions, streamed or whole, well enough for
their own SDKs. It insists on the reseller's credential, as the real ones do: a request that gets through
shows that Envoy put it in. `GET /_received` lists what arrived, so that a demo can show the provider's
side. Bodies are read to learn whether to stream, and dropped: none is kept.

    python envoy/provider.py 18080
"""

import argparse
import json
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import urlsplit

REMEMBERED_REQUESTS = 200  # the list is for people to read; older requests fall off
MAX_BODY_BYTES = 32 << 20  # what Anthropic takes at most in one request
CREATED = 1_767_225_600  # 2026-01-01: fixed, so that two runs give the same answers
WORDS = ["Hello", " from", " the", " provider", " stand-in."]
SECONDS_BETWEEN_WORDS = 0.01  # enough to see that a stream isn't buffered on the way


class Provider(ThreadingHTTPServer):
    """One listener on the loopback for every vendor: path and credential say whose API is meant."""

    daemon_threads = True

    def __init__(self, port, accounts):
        super().__init__(("127.0.0.1", port), Handler)
        self.accounts = accounts
        self.received = deque(maxlen=REMEMBERED_REQUESTS)
        self.numbers = count(1)

    def handle_error(self, request, client_address):
        """A caller that hangs up in the middle of a stream is no news; anything else is a bug to see."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request: remember it, check the credential, answer in the vendor's shape."""

    protocol_version = "HTTP/1.1"  # keep-alive: Envoy pools its upstream connections
    server_version = "provider-stand-in"
    sys_version = ""
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Says nothing: `/_received` is the log."""

    def answer(self):
        body = self.read_body()
        if body is None:
            return
        path = urlsplit(self.path).path
        self.request_id = f"req_demo{next(self.server.numbers):06}"
        if path == "/_received":
            self.send(200, list(self.server.received))
            return
        vendor = OpenAi if is_openai(path, self.headers) else Anthropic
        account = self.server.accounts.get(vendor.credential(self.headers))
        self.remember(account)
        if account is None:
            self.send(401, vendor.unauthenticated(self))
            return
        route = vendor.ROUTES.get((self.command, path))
        if route is None:
            self.send(404, vendor.not_found(self, path))
            return
        call = parse_object(body) if self.command == "POST" else {}
        if call is None:
            self.send(400, vendor.bad_request(self))
        elif call.get("stream") is True:
            self.stream(vendor.events(self, call))
        else:
            self.send(200, route(self, call))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def remember(self, account):
        self.server.received.append(
            {
                "method": self.command,
                "path": self.path,
                "account": account,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
            }
        )

    def read_body(self):
        """The body, or None when it can't be read; then the connection ends, as its framing is lost."""
        try:
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                return self.read_chunks()
            length = int(self.headers.get("content-length", "0"))
            if not 0 <= length <= MAX_BODY_BYTES:
                raise ValueError("length out of bounds")
            return self.rfile.read(length)
        except ValueError:
            self.close_connection = True
            self.send_error(400)
            return None

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            if size < 0 or len(body) + size > MAX_BODY_BYTES:
                raise ValueError("chunk out of bounds")
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def send(self, status, answer):
        payload = json.dumps(answer).encode()
        self.send_head(status, "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def stream(self, events):
        self.send_head(200, "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events:
            payload = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
            time.sleep(SECONDS_BETWEEN_WORDS)
        self.wfile.write(b"0\r\n\r\n")

    def send_head(self, status, content_type):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("request-id", self.request_id)  # Anthropic's name
        self.send_header("x-request-id", self.request_id)  # OpenAI's name


class Anthropic:
    """Answers in the shapes of Anthropic's API."""

    @staticmethod
    def credential(headers):
        """`x-api-key` is what the API documents; the Python SDK sends the same key as a bearer token from 2.x on."""
        return headers.get("x-api-key") or bearer(headers)

    @staticmethod
    def error(request, kind, message):
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request.request_id}

    @staticmethod
    def unauthenticated(request):
        return Anthropic.error(request, "authentication_error", "invalid x-api-key")

    @staticmethod
    def not_found(request, path):
        return Anthropic.error(request, "not_found_error", f"Not found: {path}")

    @staticmethod
    def bad_request(request):
        return Anthropic.error(request, "invalid_request_error", "The request body is not valid JSON.")

    @staticmethod
    def envelope(request, call):
        """A message without content: a stream begins with it, a whole answer fills it in."""
        return {
            "id": request.request_id.replace("req_", "msg_"),
            "type": "message",
            "role": "assistant",
            "model": call.get("model", "unnamed"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 0},
        }

    @staticmethod
    def message(request, call):
        return Anthropic.envelope(request, call) | {
            "content": [{"type": "text", "text": "".join(WORDS)}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": len(WORDS)},
        }

    @staticmethod
    def events(request, call):
        texts = [{"type": "text_delta", "text": word} for word in WORDS]
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        for event in [
            {"type": "message_start", "message": Anthropic.envelope(request, call)},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            *({"type": "content_block_delta", "index": 0, "delta": text} for text in texts),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": len(WORDS)}},
            {"type": "message_stop"},
        ]:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"

    @staticmethod
    def count_tokens(_request, _call):
        return {"input_tokens": 10}

    @staticmethod
    def models(_request, _call):
        model = {
            "type": "model",
            "id": "demo-model",
            "display_name": "Demo model",
            "created_at": "2026-01-01T00:00:00Z",
        }
        return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}


class OpenAi:
    """Answers in the shapes of OpenAI's API."""

    @staticmethod
    def credential(headers):
        return bearer(headers)

    @staticmethod
    def error(message, code):
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}

    @staticmethod
    def unauthenticated(_request):
        return OpenAi.error("Incorrect API key provided.", "invalid_api_key")

    @staticmethod
    def not_found(request, path):
        return OpenAi.error(f"Invalid URL ({request.command} {path})", "unknown_url")

    @staticmethod
    def bad_request(_request):
        return OpenAi.error("We could not parse the JSON body of your request.", None)

    @staticmethod
    def envelope(request, call, kind, choice):
        return {
            "id": request.request_id.replace("req_", "chatcmpl-"),
            "object": kind,
            "created": CREATED,
            "model": call.get("model", "unnamed"),
            "choices": [{"index": 0, "logprobs": None, "finish_reason": None} | choice],
        }

    @staticmethod
    def completion(request, call):
        message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
        usage = {"prompt_tokens": 10, "completion_tokens": len(WORDS), "total_tokens": 10 + len(WORDS)}
        choice = {"message": message, "finish_reason": "stop"}
        return OpenAi.envelope(request, call, "chat.completion", choice) | {"usage": usage}

    @staticmethod
    def events(request, call):
        choices = [
            {"delta": {"role": "assistant", "content": ""}},
            *({"delta": {"content": word}} for word in WORDS),
            {"delta": {}, "finish_reason": "stop"},
        ]
        for choice in choices:
            chunk = OpenAi.envelope(request, call, "chat.completion.chunk", choice)
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    @staticmethod
    def models(_request, _call):
        model = {"id": "demo-model", "object": "model", "created": CREATED, "owned_by": "demo"}
        return {"object": "list", "data": [model]}


Anthropic.ROUTES = {
    ("POST", "/v1/messages"): Anthropic.message,
    ("POST", "/v1/messages/count_tokens"): Anthropic.count_tokens,
    ("GET", "/v1/models"): Anthropic.models,
}
OpenAi.ROUTES = {
    ("POST", "/v1/chat/completions"): OpenAi.completion,
    ("GET", "/v1/models"): OpenAi.models,
}


def is_openai(path, headers):
    """Whose API is meant. Both have /v1/models: Anthropic's clients always send `anthropic-version`."""
    return path.startswith("/v1/chat/") or (path.startswith("/v1/models") and "anthropic-version" not in headers)


def bearer(headers):
    """The token of an `Authorization: Bearer` header, or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def parse_object(body):
    """The JSON object in a body, or None."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int, help="port on 127.0.0.1")
    parser.add_argument("--anthropic-key", default="demo-anthropic-key", help="x-api-key that it accepts")
    parser.add_argument("--openai-key", default="demo-openai-key", help="bearer token that it accepts")
    parser.add_argument("--fallback-key", default="demo-fallback-key", help="x-api-key of the fallback vendor")
    options = parser.parse_args()
    accounts = {
        options.anthropic_key: "anthropic",
        options.openai_key: "openai",
        options.fallback_key: "fallback",
    }
    try:
        server = Provider(options.port, accounts)
    except OSError as error:
        parser.exit(1, f"provider.py: can't listen on 127.0.0.1:{options.port}: {error.strerror}\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
