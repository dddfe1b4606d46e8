"""What a vendor's batch API is asked for: a job of many requests, its state, and its results when it has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from inference.engine import Generation
from inference.served_wire import Task
from registry.errors import Meds1Error
from registry.fields import EngineName


class Passing(Exception):  # noqa: N818 - no error: the same call may succeed later
    """A fault that passes; `wait` is what the server asks for, in seconds."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands: `done` of `total` requests are finished.

    An "ended" job has results, though perhaps not of all requests (of none, when the vendor has removed it). A "failed"
    one may have some; what it lacks would fail again, as `text` says. A "full" one was not begun because too much of
    the account's work is waiting.
    """

    phase: Literal["running", "ended", "failed", "full"]
    done: int = 0
    total: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Why a request got no answer: for good, or one to ask `again`. `ends` is what every request would meet."""

    text: str
    again: bool
    ends: Meds1Error | None = None


Result = Generation | Unanswered


class BatchService(Protocol):
    """A vendor's batch API and one model.

    Every call raises `Passing` for a fault that passes, and `Meds1Error` for one that does not.
    """

    name: EngineName
    most_requests: int
    most_bytes: int

    def line(self, custom_id: str, task: Task) -> bytes:
        """The request as a line of the job's input."""
        ...

    def submit(self, tag: str, lines: Sequence[bytes]) -> str:
        """Create a job that carries `tag`, and return its id."""
        ...

    def find(self, tag: str, since: float) -> str | None:
        """The id of the job that carries `tag`, if there is one; it was created after `since` (Unix seconds)."""
        ...

    def look(self, job: str) -> JobState:
        """Where the job stands."""
        ...

    def results(self, job: str, tasks: Mapping[str, Task]) -> Iterator[tuple[str, Result]]:
        """The results of an ended job for the custom ids in `tasks`, those that it has."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
