"""A vendor's batch API on loopback, as the vendor's own client speaks it, and what it was asked to do.

The lines of a batch are answered by a script, as those of `tests.faulty_server` are. What happens to a batch is up to
the test: it may be held back, cut short, or end in another way.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from urllib.parse import parse_qs, urlsplit

from registry.stopping import StopFlag
from tests.faulty_server import Answering, Body, Reply, Script, echo, listening, refusal, reply


@dataclass
class Job:
    """One batch: its input lines, and how it ends. `answered` is how many lines are answered (null: all)."""

    id: str
    tag: str
    lines: list[Body]
    ends: str = "completed"
    answered: int | None = None
    text: str = ""
    code: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Vendor:
    """What the server holds, and what a test may change: `plan` is called with each batch when it is created.

    While `held` is set, batches stay in progress. `before` may answer a request (method and path) in the vendor's
    place; `created` is called when a batch is there and its creator does not know yet.
    """

    script: Script = echo
    plan: Callable[[Job], None] = lambda job: None
    before: Callable[[str, str], Reply | None] = lambda method, path: None
    created: Callable[[Job], None] = lambda job: None
    url: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)
    looks: Counter[str] = field(default_factory=Counter)
    looked: threading.Event = field(default_factory=threading.Event)
    asked: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def questions(self) -> Counter[str]:
        """How often each question was in a batch."""
        return Counter(str(line["body"]["messages"][-1]["content"]) for job in self.jobs.values() for line in job.lines)

    def keep(self, content: bytes) -> str:
        """Keep a file and return its id."""
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def answer(self, body: Body) -> Reply:
        """Ask the script."""
        same = json.dumps(body, sort_keys=True)
        before, self.asked[same] = self.asked[same], self.asked[same] + 1
        return self.script(body, before)


class _OpenAI:
    """The pages of OpenAI's files and batches."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    def page(self, method: str, target: str, content: bytes, headers: Message) -> Reply:
        vendor, path = self.vendor, urlsplit(target).path.removeprefix("/v1")
        if method == "POST" and path == "/files":
            return reply({"id": vendor.keep(_uploaded(content, headers)), "object": "file", "purpose": "batch"})
        if method == "POST" and path == "/batches":
            return self._create(json.loads(content))
        if path == "/batches":
            return self._listed(parse_qs(urlsplit(target).query))
        if found := re.fullmatch(r"/batches/([^/]+)", path):
            job = vendor.jobs.get(found[1])
            if job is None:
                return refusal(404, f"no batch {found[1]}")
            vendor.looks[job.id] += 1
            vendor.looked.set()
            return reply(self._shown(job))
        if found := re.fullmatch(r"/files/([^/]+)/content", path):
            return Reply(vendor.files[found[1]]) if found[1] in vendor.files else refusal(404, "no such file")
        return refusal(404, f"no page {path}")

    def _create(self, asked: Body) -> Reply:
        lines = [json.loads(line) for line in self.vendor.files[asked["input_file_id"]].splitlines()]
        job = Job(f"batch-{len(self.vendor.jobs)}", asked["metadata"]["tag"], lines)
        assert asked["endpoint"] == lines[0]["url"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        self.vendor.plan(job)
        self.vendor.jobs[job.id] = job
        self.vendor.created(job)
        return reply(self._shown(job))

    def _listed(self, query: Mapping[str, list[str]]) -> Reply:
        """Two at a time, so that the client must turn the page."""
        jobs = [*self.vendor.jobs.values()][::-1]
        if "after" in query:
            jobs = jobs[[job.id for job in jobs].index(query["after"][0]) + 1 :]
        shown = [self._shown(job) for job in jobs[:2]]
        return reply(
            {"object": "list", "data": shown, "has_more": len(jobs) > 2, "last_id": (shown or [{}])[-1].get("id")}
        )

    def _shown(self, job: Job) -> Body:
        vendor, held = self.vendor, self.vendor.held.is_set()
        shown = {
            "id": job.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": "file-0",
            "completion_window": "24h",
            "created_at": int(time.time()),
            "metadata": {"tag": job.tag},
            "status": "in_progress" if held else job.ends,
            "request_counts": {"total": len(job.lines), "completed": 0, "failed": 0},
        }
        if held:
            return shown
        if job.ends == "failed":
            return shown | {"errors": {"object": "list", "data": [{"code": job.code, "message": job.text}]}}
        if not job.files:
            good, bad = self._run(job)
            job.files = {"output_file_id": vendor.keep(good), "error_file_id": vendor.keep(bad)}
        counts = {"total": len(job.lines), "completed": len(vendor.files[job.files["output_file_id"]].splitlines())}
        return shown | job.files | {"request_counts": {**counts, "failed": len(job.lines) - counts["completed"]}}

    def _run(self, job: Job) -> tuple[bytes, bytes]:
        good: list[bytes] = []
        bad: list[bytes] = []
        for number, line in enumerate(job.lines):
            result: Body = {"id": f"r{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if job.answered is not None and number >= job.answered:
                result["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
                bad.append(json.dumps(result).encode() + b"\n")
                continue
            said = self.vendor.answer(line["body"])
            result["response"] = {"status_code": said.status, "request_id": "x", "body": json.loads(said.content)}
            (good if said.status == 200 else bad).append(json.dumps(result).encode() + b"\n")
        return b"".join(reversed(good)), b"".join(bad)  # in another order than they were sent


def _uploaded(content: bytes, headers: Message) -> bytes:
    """The file in a multipart form."""
    form = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + content)
    parts = {
        part.get_param("name", header="content-disposition"): part for part in form.walk() if not part.is_multipart()
    }
    assert parts["purpose"].get_payload() == "batch"
    uploaded = parts["file"].get_payload(decode=True)
    assert isinstance(uploaded, bytes)
    return uploaded


def openai_batches(vendor: Vendor, key: str) -> AbstractContextManager[Vendor]:
    """Serve OpenAI's batch API on loopback until the end of the block; `vendor.url` is the base URL."""
    pages = _OpenAI(vendor)

    def page(method: str, target: str, content: bytes, headers: Message) -> Reply:
        if headers["Authorization"] != f"Bearer {key}":
            return refusal(401, "Incorrect API key provided", code="invalid_api_key")
        return pages.page(method, target, content, headers)

    return served(vendor, page, "/v1")


Page = Callable[[str, str, bytes, Message], Reply]
"""Answers a request: method, target, content, headers."""


@contextmanager
def served(vendor: Vendor, page: Page, root: str) -> Iterator[Vendor]:
    """Serve the vendor's pages, one request at a time; `vendor.url` ends with `root`."""

    class Handler(Answering):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with vendor.lock:
                instead = vendor.before(self.command, self.path)
                self.send(instead or page(self.command, self.path, content, self.headers))

        do_POST = do_GET  # noqa: N815 - the library's name

    with listening(Handler) as url:
        vendor.url = url + root
        yield vendor


@contextmanager
def stopped_while_waiting(vendor: Vendor) -> Iterator[StopFlag]:
    """Hold the batch back, and ask for a stop as soon as it has been looked at."""
    vendor.held.set()
    stop = StopFlag()

    def leave() -> None:
        vendor.looked.wait(60)
        stop.handle(signal.SIGUSR1, None)

    thread = threading.Thread(target=leave)
    thread.start()
    yield stop
    thread.join()
