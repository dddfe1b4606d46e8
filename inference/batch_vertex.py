"""Batch prediction of Gemini on Vertex AI: a file of requests in Cloud Storage, and one with the answers.

An output line repeats its request, in any order. Its custom id is among the request's labels, which Vertex AI takes
for the bill and otherwise leaves alone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.genai.errors import APIError
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from inference.batch_service import JobState, Passing, Result, Unanswered
from inference.engine import EngineSpec
from inference.served_faults import Fault
from inference.served_wire import Task
from inference.vertex_engine import open_client, server_of
from inference.vertex_faults import Server, understand
from inference.vertex_wire import body, read
from registry.errors import Meds1Error, MissingError, StageFailure, UsageError
from registry.fields import EngineName

log = logging.getLogger(__name__)

_LABEL = "meds1-request"
_PATIENCE_S = 600.0
_ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED", "JOB_STATE_EXPIRED")
_FAILED = {"JOB_STATE_FAILED": "no reason is given", "JOB_STATE_CANCELLED": "somebody has cancelled it"}


class _Line(TypedDict, total=False):
    status: str
    request: dict[str, Any]
    response: dict[str, Any]


_LINE = TypeAdapter(_Line)


class VertexBatches:
    """Batch predictions of one model; see `inference.batch_service.BatchService`."""

    name: EngineName = "vertex"
    most_requests = 200_000
    most_bytes = 1_000_000_000

    def __init__(self, server: Server, place: str) -> None:
        self._server = server
        self._place = place
        # A call that is tried again by the client could create a second job.
        self._connections = httpx2.Client(timeout=_PATIENCE_S)
        self._client = open_client(server, httpx_client=self._connections)
        self._storage = storage.Client(project=server.model.project, credentials=server.credentials)
        self._heard = False

    def __str__(self) -> str:
        """`model in region of project at host`."""
        return str(self._server)

    def close(self) -> None:
        """See `BatchService.close`."""
        self._connections.close()
        self._storage.close()

    def line(self, custom_id: str, task: Task) -> bytes:
        """See `BatchService.line`."""
        sent = body(task, self._server.model) | {"labels": {_LABEL: custom_id}}
        return json.dumps({"request": sent}).encode() + b"\n"

    def submit(self, tag: str, lines: Sequence[bytes]) -> str:
        """See `BatchService.submit`; the input is written under the tag's own name."""
        folder = f"{self._place}/{tag}"
        with self._asking():
            blob = storage.Blob.from_uri(f"{folder}/input.jsonl", client=self._storage)
            blob.upload_from_string(b"".join(lines), content_type="application/jsonl", timeout=_PATIENCE_S)
            config = {"display_name": tag, "dest": f"{folder}/output"}
            job = self._client.batches.create(model=self._server.model.name, src=f"{folder}/input.jsonl", config=config)
        return str(job.name)

    def find(self, tag: str, since: float) -> str | None:
        """See `BatchService.find`."""
        with self._asking():
            jobs = self._client.batches.list(config={"filter": f'display_name="{tag}"'})
            return next((str(job.name) for job in jobs if job.display_name == tag), None)

    def look(self, job: str) -> JobState:
        """See `BatchService.look`."""
        found = self._job(job)
        if found is None:
            return JobState("ended")
        state = found.state.name if found.state else ""
        counts = found.completion_stats
        done = (counts.successful_count or 0) + (counts.failed_count or 0) if counts else 0
        total = done + max(0, counts.incomplete_count or 0) if counts else 0
        if state in _FAILED:
            said = found.error.message if found.error else None
            return JobState("failed", done, total, self._server.masked(said or _FAILED[state]))
        return JobState("ended" if state in _ENDED else "running", done, total)

    def results(self, job: str, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Result]]:
        """See `BatchService.results`."""
        found = self._job(job)
        place = found.dest.gcs_uri if found is not None and found.dest else None
        for name, content in self._files(place) if place else ():
            for number, text in enumerate(content.splitlines(), start=1):
                try:
                    line = _LINE.validate_json(text)
                except ValidationError:
                    log.warning("%s: line %d of %s is no result: its request is sent again", self, number, name)
                    continue
                custom_id = str(line.get("request", {}).get("labels", {}).get(_LABEL, ""))
                if custom_id in tasks:
                    yield custom_id, self._result(tasks[custom_id], line)

    def _files(self, place: str) -> Iterator[tuple[str, bytes]]:
        with self._asking():
            bucket, _, prefix = place.removeprefix("gs://").partition("/")
            for blob in self._storage.list_blobs(bucket, prefix=f"{prefix.rstrip('/')}/", timeout=_PATIENCE_S):
                if blob.name.endswith(".jsonl"):
                    yield blob.name, blob.download_as_bytes(timeout=_PATIENCE_S)

    def _result(self, task: Task, line: _Line) -> Result:
        if status := line.get("status"):
            return self._refusal(task, status)
        try:
            return read(task, json.dumps(line.get("response", {})))
        except ValueError as error:
            return Unanswered(self._server.masked(str(error)), again=True)

    def _refusal(self, task: Task, status: str) -> Unanswered:
        """What a line's status means: words, and behind them the error as if it had come to a request of its own."""
        said = re.search(r"\{.*\}", status, re.DOTALL)
        try:
            details = json.loads(said[0]) if said else {}
            code = int(details["error"]["code"])
        except (ValueError, TypeError, KeyError):
            return Unanswered(self._server.masked(status), again=True)
        try:
            fault = understand(APIError(code, details), self._server, body(task, self._server.model), heard=True)
        except Meds1Error as ends:
            return Unanswered(str(ends), again=True, ends=ends)
        return Unanswered(fault.text, again=fault.kind != "refused")

    def _job(self, job: str) -> Any:
        """The job; null when the vendor no longer has it."""
        with self._asking():
            try:
                return self._client.batches.get(name=job)
            except APIError as error:
                if error.code != 404:
                    raise
                log.warning("%s: batch %s is no longer there: what it lacks is sent again", self, job)
                return None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the errors of both clients into what they mean for the stage."""
        try:
            yield
        except (APIError, httpx2.TransportError, GoogleAuthError) as error:
            fault = understand(error, self._server, {"generationConfig": {}}, self._heard)
        except GoogleAPICallError as error:
            fault = self._of_storage(error)
        except (requests.exceptions.RequestException, RetryError) as error:
            fault = Fault("passing", self._server.masked(f"Cloud Storage: {error}"))
        else:
            self._heard = True
            return
        if fault.kind in ("passing", "limited"):
            raise Passing(fault.text, fault.wait)
        raise StageFailure(f"{self} refuses the batch ({fault.text})")

    def _of_storage(self, error: GoogleAPICallError) -> Fault:
        text = self._server.masked(f"HTTP {error.code}: {error.message}")
        if isinstance(error, NotFound):
            raise MissingError(f"there is no {self._place} ({text}); see the entry's vertex_bucket")
        if error.code in (401, 403):
            raise MissingError(
                f"the credentials may not use {self._place} ({text}); give the account the role "
                "roles/storage.objectAdmin on the bucket"
            )
        passing = error.code is None or error.code in (408, 429) or error.code >= 500
        return Fault("passing" if passing else "refused", text)


def open_vertex_batch(spec: EngineSpec) -> VertexBatches:
    """Batch prediction with `spec.model`; raises what `server_of` raises, and `UsageError` without a bucket."""
    server = server_of(spec)
    place = (server.model.bucket or "").rstrip("/")
    if not re.match(r"gs://[^/]+", place):
        raise UsageError(f"a batch of {server.model.name} needs vertex_bucket in its entry, such as gs://lab/batches")
    return VertexBatches(server, place)
