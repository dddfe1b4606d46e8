"""A small OpenAI-compatible server that answers as a test's script says, faults too, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What is sent back: `sent` bytes of `content` (null: all of it), or nothing at all before hanging up."""

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    hang_up: bool = False


# Called with the request's body and the number of times that the same body was asked before.
Script = Callable[[Body, int], Reply]


def completion(text: str | None, finish_reason: str | None = "stop", **message: Any) -> Reply:
    """A whole and valid answer of 7 prompt tokens and 3 completion tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return reply({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None, **error: Any) -> Reply:
    """An error as OpenAI words it."""
    return reply({"error": {"message": message, **error}}, status, headers)


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any JSON."""
    return Reply(json.dumps(value).encode(), status, headers or {})


def question(body: Body) -> str:
    """The text of the last turn."""
    return str(body["messages"][-1]["content"])


def echo(body: Body, _before: int) -> Reply:
    """The script of a server without faults: every answer names its question."""
    return completion(f"answer to {question(body)}")


class FaultyServer:
    """What a running server was asked, in order, and how much of it at a time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.url = ""
        self.bodies: list[Body] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._at_once = 0
        self._before: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def questions(self) -> list[str]:
        """The questions in the order in which they came."""
        return [question(body) for body in self.bodies]

    def answer(self, body: Body, key: str | None) -> Reply:
        """Note the request and ask the script."""
        same = json.dumps(body, sort_keys=True)
        with self._lock:
            self.bodies.append(body)
            self.keys.append(key)
            before = self._before[same]
            self._before[same] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self.script(body, before)
        finally:
            with self._lock:
                self._at_once -= 1


Route = Callable[[FaultyServer, str, bytes, str | None], Reply]
"""What the server says to a path, a body and an `Authorization`."""


def chat_completions(server: FaultyServer, path: str, content: bytes, key: str | None) -> Reply:
    """The route of OpenAI-compatible servers."""
    return server.answer(json.loads(content), key) if path == "/v1/chat/completions" else nothing_at(path)


def nothing_at(path: str) -> Reply:
    """There is no such page."""
    return refusal(404, f"no page {path}")


class Answering(BaseHTTPRequestHandler):
    """Sends replies, faults too."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece; two of them wait 40 ms for each other

    def send(self, answer: Reply) -> None:
        """Send the reply, or hang up."""
        if answer.hang_up:
            self.close_connection = True
            return
        self.send_response(answer.status)
        size = str(len(answer.content))
        for name, value in {"Content-Type": "application/json", "Content-Length": size, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content[: answer.sent])
        self.close_connection = answer.sent is not None

    def handle(self) -> None:
        """Serve a client that may be killed or give up, as tests make it do."""
        with suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def listening(handler: type[Answering]) -> Iterator[str]:
    """Serve on loopback until the end of the block, and yield the root's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(script: Script, route: Route = chat_completions, root: str = "/v1") -> Iterator[FaultyServer]:
    """Serve on loopback until the end of the block; `url` is the base URL."""
    faulty = FaultyServer(script)

    class Handler(Answering):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.send(route(faulty, self.path, content, self.headers["Authorization"]))

    with listening(Handler) as url:
        faulty.url = url + root
        yield faulty
