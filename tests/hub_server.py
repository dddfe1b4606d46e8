"""A Hugging Face hub at HTTP level, as far as a download asks it: repositories with one commit, gated ones too."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(revision|tree)/([^/?]+)")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)")
REVISIONS = ("main", COMMIT)


@dataclass(frozen=True)
class Repository:
    """The files of a repository; who asks for one of a gated repository is refused, as the hub does without a token."""

    files: Mapping[str, bytes]
    gated: bool = False


@contextmanager
def serving(repositories: Mapping[str, Repository]) -> Iterator[str]:
    """Serve repositories, keyed `models/owner/name` or `datasets/owner/name`, and yield the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*_answer(repositories, self.path))

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Answer = tuple[int, bytes, dict[str, str]]


def _answer(repositories: Mapping[str, Repository], path: str) -> Answer:
    if asked := API.match(path):
        kind, name, what, revision = asked.groups()
    elif wanted := FILE.match(path):
        kind, name, what, revision = "datasets" if wanted[1] else "models", wanted[2], "file", wanted[3]
    else:
        return _refusal(404, "EntryNotFound", "no such page")
    repository = repositories.get(f"{kind}/{name}")
    if repository is None:
        return _refusal(401, "RepoNotFound", "Repository Not Found")
    if revision not in REVISIONS:
        return _refusal(404, "RevisionNotFound", "Invalid rev id")
    if what == "revision":
        return _json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in repository.files]})
    if what == "tree":
        return _json([_entry(file, data) for file, data in repository.files.items()])
    if repository.gated:
        return _refusal(403, "GatedRepo", f"Access to model {name} is restricted")
    data = repository.files[path.split("/resolve/")[1].split("/", 1)[1]]
    return 200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{_oid(data)}"'}


def _entry(file: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": file, "size": len(data), "oid": _oid(data)}


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _json(value: object) -> Answer:
    return 200, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _refusal(status: int, code: str, message: str) -> Answer:
    return status, b"", {"X-Error-Code": code, "X-Error-Message": message}
