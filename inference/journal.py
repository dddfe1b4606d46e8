"""Generation that survives a kill: every answer is on disk before the next one is waited for.

The journal (`inference.answer_files`) is a file of the run's own or the answers that all experiments share. Only what
it lacks is asked, and several rounds of questions may use one. An answer counts only for the very request and sampling
it was made with; how many answers were asked for does not matter, because each has a random stream of its own.
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

from inference.answer_files import Found, Journal, Keep, Key, OwnFile
from inference.engine import Engine, EngineSpec, Generation, Request, Sampling, open_engine
from registry.errors import StageFailure, StageStopped
from registry.stopping import StopFlag

log = logging.getLogger(__name__)
_Keys = dict[str, Key]


def generate_resumable(
    spec: EngineSpec,
    requests: Sequence[Request],
    sampling: Sampling,
    journal: Path | Journal,
    stop: StopFlag | None = None,
) -> list[Generation]:
    """Ask one round of questions; see `Asking`."""
    with Asking(spec, journal, stop) as asking:
        return asking.ask(requests, sampling)


class Asking:
    """Rounds of questions to one model, with one journal; a path is a file of the run's own. Its end closes the engine.

    The engine is opened when something is asked that the journal does not hold. Raises what `open_engine` raises, and
    `StageFailure` for a journal that is damaged or can keep nothing.
    """

    def __init__(self, spec: EngineSpec, journal: Path | Journal, stop: StopFlag | None = None) -> None:
        self.spec = spec
        self._journal = OwnFile(journal) if isinstance(journal, Path) else journal
        self._stop = stop or StopFlag()
        self._lookup = self._journal.read()
        self._found: Found = defaultdict(dict)
        self._opened = ExitStack()
        self._engine: tuple[Engine, Keep] | None = None

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
        self._look_up(keys)
        missing = self._missing(requests, keys, sampling)
        if len(missing) < len(requests):
            answered = len(requests) - len(missing)
            log.info("%s: %d of %d requests are answered already", self._journal.place, answered, len(requests))
        if missing:
            try:
                self._generate(missing, keys, sampling)
            except StageStopped as stopped:
                answered = len(requests) - len(self._missing(requests, keys, sampling))
                kept = f"{answered} of {len(requests)} requests are answered and kept in {self._journal.place}"
                raise StageStopped(f"{stopped}; {kept}", stopped.signal_number) from None
        unanswered = len(self._missing(requests, keys, sampling))
        if unanswered:
            raise StageFailure(
                f"the {self.spec.name} engine ended without an answer to {unanswered} of {len(requests)} requests; "
                f"the others are kept in {self._journal.place}: run the stage again to ask for the rest"
            )
        return [self._found[keys[r.id]][index] for r in requests for index in r.indices(sampling)]

    def _look_up(self, keys: _Keys) -> None:
        for key, answers in self._lookup({digest for _, digest in keys.values()}).items():
            self._found[key] = {**answers, **self._found[key]}

    def _missing(self, requests: Sequence[Request], keys: _Keys, sampling: Sampling) -> list[Request]:
        """The requests that lack answers, each asking for those only."""
        asked = [replace(r, answered=r.answered | self._found[keys[r.id]].keys()) for r in requests]
        return [request for request in asked if request.indices(sampling)]

    def _generate(self, missing: Sequence[Request], keys: _Keys, sampling: Sampling) -> None:
        self._stop.check("generation had not begun")
        engine, keep = self._engine or self._open()
        for generation in engine.generate(missing, sampling, self._stop):
            request_id, digest = keys[generation.id]
            keep(digest, generation)
            self._found[request_id, digest][generation.index] = generation

    def _open(self) -> tuple[Engine, Keep]:
        keep = self._opened.enter_context(self._journal.writing())  # a full disk is met before the model is loaded
        self._engine = self._opened.enter_context(open_engine(self.spec)), keep
        return self._engine


def _digest(request: Request, sampling: Sampling) -> str:
    how = {name: value for name, value in asdict(sampling).items() if name != "n"}
    asked = json.dumps([list(request.messages), request.continuation, request.schema, how], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]
