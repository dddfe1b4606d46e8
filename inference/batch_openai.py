"""OpenAI's batch API: a file of chat completions, run within 24 hours."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
from openai import APIError, APIStatusError, NotFoundError, OpenAI
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from inference.batch_service import JobState, Passing, Result, Unanswered
from inference.engine import EngineSpec
from inference.openai_engine import OPENAI, server_of
from inference.openai_faults import Server, understand
from inference.openai_wire import body, read
from inference.served_wire import Task
from registry.errors import Meds1Error, MissingError, StageFailure
from registry.fields import EngineName

if TYPE_CHECKING:
    from openai.types import Batch

log = logging.getLogger(__name__)

_PATH: Final = "/v1/chat/completions"
_PATIENCE_S = 600.0  # a file of 200 MB goes up and comes down
_CLOCKS_DIFFER_S = 3600.0
_FULL = "token_limit_exceeded"


class _Response(TypedDict):
    status_code: int
    body: Any


class _Error(TypedDict, total=False):
    code: str | None
    message: str | None


class _Line(TypedDict, total=False):
    custom_id: str
    response: _Response | None
    error: _Error | None


_LINE = TypeAdapter(_Line)


class OpenAIBatches:
    """Batches of one model; see `inference.batch_service.BatchService`."""

    name: EngineName = "openai"
    most_requests = 50_000
    most_bytes = 200_000_000

    def __init__(self, server: Server, client: OpenAI) -> None:
        self._server = server
        self._client = client
        self._heard = False
        self._unknown: set[str] = set()

    def __str__(self) -> str:
        """`model at host`."""
        return str(self._server)

    def close(self) -> None:
        """See `BatchService.close`."""
        self._client.close()

    def line(self, custom_id: str, task: Task) -> bytes:
        """See `BatchService.line`."""
        sent = body(task, self._server.model, self._unknown)
        return json.dumps({"custom_id": custom_id, "method": "POST", "url": _PATH, "body": sent}).encode() + b"\n"

    def submit(self, tag: str, lines: Sequence[bytes]) -> str:
        """See `BatchService.submit`."""
        with self._asking():
            try:
                file = self._client.files.create(file=(f"{tag}.jsonl", b"".join(lines)), purpose="batch")
                return self._client.batches.create(
                    input_file_id=file.id, endpoint=_PATH, completion_window="24h", metadata={"tag": tag}
                ).id
            except NotFoundError as error:
                raise MissingError(
                    f"{self} has no batch API ({self._server.masked(error.message)}); remove batch: true"
                ) from None

    def find(self, tag: str, since: float) -> str | None:
        """See `BatchService.find`; the newest stand first in the list."""
        with self._asking():
            for batch in self._client.batches.list(limit=100):
                if batch.created_at < since - _CLOCKS_DIFFER_S:
                    break
                if (batch.metadata or {}).get("tag") == tag:
                    return batch.id
        return None

    def look(self, job: str) -> JobState:
        """See `BatchService.look`."""
        batch = self._batch(job)
        if batch is None:
            return JobState("ended")
        counts = batch.request_counts
        done, total = (counts.completed + counts.failed, counts.total) if counts else (0, 0)
        if batch.status == "failed":
            errors = (batch.errors and batch.errors.data) or []
            text = self._server.masked("; ".join(error.message or error.code or "" for error in errors) or "no reason")
            full = any(error.code == _FULL for error in errors)
            return JobState("full" if full else "failed", text=text)
        if batch.status in ("completed", "expired"):
            return JobState("ended", done, total)
        if batch.status == "cancelled":
            return JobState("failed", done, total, "somebody has cancelled it")
        return JobState("running", done, total)

    def results(self, job: str, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Result]]:
        """See `BatchService.results`."""
        batch = self._batch(job)
        for file in (batch.output_file_id, batch.error_file_id) if batch else ():
            for number, content in enumerate(self._file(file).splitlines() if file else (), start=1):
                try:
                    line = _LINE.validate_json(content)
                except ValidationError:
                    log.warning("%s: line %d of %s is no result: its request is sent again", self, number, file)
                    continue
                custom_id = line.get("custom_id", "")
                if custom_id in tasks:
                    yield custom_id, self._result(tasks[custom_id], line)

    def _result(self, task: Task, line: _Line) -> Result:
        response = line.get("response")
        if response is None:
            error = line.get("error") or {}
            return Unanswered(self._server.masked(error.get("message") or error.get("code") or "no reason"), again=True)
        content = json.dumps(response["body"]).encode()
        if response["status_code"] != 200:
            return self._refusal(task, response)
        try:
            return read(task, content)
        except ValueError as error:
            return Unanswered(self._server.masked(str(error)), again=True)

    def _refusal(self, task: Task, response: _Response) -> Unanswered:
        """What an error that the server met the request with means, as if it had come to a request of its own."""
        said = response["body"]
        about = said.get("error", said) if isinstance(said, dict) else said
        answer = httpx2.Response(response["status_code"], request=httpx2.Request("POST", OPENAI))
        error = APIStatusError("", response=answer, body=about)
        sent = body(task, self._server.model, ())  # it may have been sent before a field was known to be unknown
        try:
            fault = understand(error, self._server, sent, heard=True)
        except Meds1Error as ends:
            return Unanswered(str(ends), again=True, ends=ends)
        if fault.kind == "unknown" and fault.field not in self._unknown:
            log.warning("%s does not know %s: it is sent without", self, fault.field)
            self._unknown.add(fault.field)
        return Unanswered(fault.text, again=fault.kind != "refused")

    def _batch(self, job: str) -> Batch | None:
        with self._asking():
            try:
                return self._client.batches.retrieve(job)
            except NotFoundError:
                log.warning("%s: batch %s is no longer there: what it lacks is sent again", self, job)
                return None

    def _file(self, file: str) -> bytes:
        with self._asking():
            try:
                return self._client.files.content(file).content
            except NotFoundError:
                log.warning("%s: file %s is no longer there: its requests are sent again", self, file)
                return b""

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the client's errors into what they mean for the stage."""
        try:
            yield
        except APIError as error:
            fault = understand(error, self._server, {}, self._heard)
            if fault.kind in ("passing", "limited"):
                raise Passing(fault.text, fault.wait) from None
            raise StageFailure(f"{self} refuses the batch ({fault.text})") from None
        self._heard = True


def open_openai_batch(spec: EngineSpec) -> OpenAIBatches:
    """The batch API of the server of `spec.model`; raises what `server_of` raises."""
    server = server_of(spec)
    # A call that is tried again by the client could create a second batch.
    client = OpenAI(api_key=server.key, base_url=server.model.base_url or OPENAI, max_retries=0, timeout=_PATIENCE_S)
    return OpenAIBatches(server, client)
