"""Generation that survives a kill: every answer is on disk before the next one is waited for.

The journal is a JSONL file, one generation a line. A later attempt with the same journal asks only what is missing, and
several rounds of questions may share one. A line counts only for the very request and sampling it was made with; how
many answers were asked for does not matter. What ended in an error is asked again by a later attempt. The last line
may be torn by a kill and is cut off; any other unreadable line is an error, because nothing here writes one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TextIO

from inference.engine import Engine, EngineSpec, Generation, Request, Sampling, open_engine
from registry.errors import StageFailure, StageStopped
from registry.stopping import StopFlag

log = logging.getLogger(__name__)
_Key = tuple[str, str]
"""A request's id and the digest of what it asks."""
_Keys = dict[str, _Key]


def generate_resumable(
    spec: EngineSpec, requests: Sequence[Request], sampling: Sampling, journal: Path, stop: StopFlag | None = None
) -> list[Generation]:
    """Ask one round of questions; see `Asking`."""
    with Asking(spec, journal, stop) as asking:
        return asking.ask(requests, sampling)


class Asking:
    """Rounds of questions to one model, with one journal. A context: its end closes the engine.

    The engine is opened when something is asked that the journal does not hold. Raises what `open_engine` raises, and
    `StageFailure` for a damaged journal.
    """

    def __init__(self, spec: EngineSpec, journal: Path, stop: StopFlag | None = None) -> None:
        self.spec = spec
        self._journal = journal
        self._stop = stop or StopFlag()
        self._found = _read(journal)
        self._opened = ExitStack()
        self._engine: tuple[Engine, TextIO] | None = None

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = None
        self._opened.close()

    def ask(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """Return the answers in the order of `requests`, each request's in the order of their indices.

        Request ids must be unique within a call. Raises `StageFailure` for an engine that leaves requests without an
        answer, `StageStopped` with every finished answer in the journal when a stop was asked for.
        """
        keys: _Keys = {request.id: (request.id, _digest(request, sampling)) for request in requests}
        if len(keys) != len(requests):
            raise ValueError("request ids must be unique")
        missing = self._missing(requests, keys, sampling)
        if len(missing) < len(requests):
            answered = len(requests) - len(missing)
            log.info("%s: %d of %d requests are answered already", self._journal.name, answered, len(requests))
        if missing:
            try:
                self._generate(missing, keys, sampling)
            except StageStopped as stopped:
                answered = len(requests) - len(self._missing(requests, keys, sampling))
                kept = f"{answered} of {len(requests)} requests are answered and kept in {self._journal}"
                raise StageStopped(f"{stopped}; {kept}", stopped.signal_number) from None
        unanswered = len(self._missing(requests, keys, sampling))
        if unanswered:
            raise StageFailure(
                f"the {self.spec.name} engine ended without an answer to {unanswered} of {len(requests)} requests; "
                f"the others are kept in {self._journal}: run the stage again to ask for the rest"
            )
        return [self._found[keys[r.id]][index] for r in requests for index in r.indices(sampling)]

    def _missing(self, requests: Sequence[Request], keys: _Keys, sampling: Sampling) -> list[Request]:
        """The requests that lack answers, each asking for those only."""
        asked = [replace(r, answered=r.answered | self._found[keys[r.id]].keys()) for r in requests]
        return [request for request in asked if request.indices(sampling)]

    def _generate(self, missing: Sequence[Request], keys: _Keys, sampling: Sampling) -> None:
        self._stop.check("generation had not begun")
        engine, file = self._engine or self._open()
        for generation in engine.generate(missing, sampling, self._stop):
            request_id, digest = keys[generation.id]
            line = json.dumps({"request": digest, **asdict(generation)}, ensure_ascii=False)
            file.write(line + "\n")
            file.flush()
            self._found[request_id, digest][generation.index] = generation

    def _open(self) -> tuple[Engine, TextIO]:
        file = self._opened.enter_context(self._journal.open("a", encoding="utf-8"))
        self._engine = self._opened.enter_context(open_engine(self.spec)), file
        return self._engine


def _digest(request: Request, sampling: Sampling) -> str:
    how = {name: value for name, value in asdict(sampling).items() if name != "n"}
    asked = json.dumps([list(request.messages), request.continuation, request.schema, how], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _read(journal: Path) -> defaultdict[_Key, dict[int, Generation]]:
    found: defaultdict[_Key, dict[int, Generation]] = defaultdict(dict)
    if not journal.exists():
        return found
    written = journal.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        log.warning("%s: the last line was cut short by a kill; its question is asked again", journal.name)
        with journal.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            fields = json.loads(line)
            digest = fields.pop("request")
            generation = Generation(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StageFailure(
                f"{journal}: line {number} is not a generation ({error}); remove the file to start over"
            ) from error
        if generation.finish_reason != "error":  # what failed then, a server's fault perhaps, is asked again
            found[generation.id, digest][generation.index] = generation
    return found
