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
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from inference.answer_files import Found, Journal, Keep, Key, Lookup, OwnFile
from inference.claims import Claims
from inference.engine import Engine, EngineSpec, Generation, Request, Sampling, open_engine
from inference.spending import Budget, Purse, Till
from registry.errors import StageFailure, StageStopped
from registry.fields import API_ENGINES
from registry.stopping import StopFlag

log = logging.getLogger(__name__)
_Keys = dict[str, Key]


def generate_resumable(
    spec: EngineSpec,
    requests: Sequence[Request],
    sampling: Sampling,
    journal: Path | Journal,
    stop: StopFlag | None = None,
    purse: Purse | None = None,
) -> list[Generation]:
    """Ask one round of questions; see `Asking`."""
    with Asking(spec, journal, stop, purse) as asking:
        return asking.ask(requests, sampling)


class Asking:
    """Rounds of questions to one model, with one journal; a path is a file of the run's own. Its end closes the engine.

    The engine is opened when something is asked that the journal does not hold, and paid for out of `purse`; without
    one nothing is counted. Raises what `open_engine` and `Till` raise, and `StageFailure` for a journal that is
    damaged or can keep nothing.
    """

    def __init__(
        self, spec: EngineSpec, journal: Path | Journal, stop: StopFlag | None = None, purse: Purse | None = None
    ) -> None:
        self.spec = spec
        self._journal = OwnFile(journal) if isinstance(journal, Path) else journal
        self._stop = stop or StopFlag()
        self._lookup = self._journal.read()
        self._found: Found = defaultdict(dict)
        self._till = Till(purse) if purse is not None else None
        self._opened = ExitStack()
        self._engine: tuple[Engine, Keep] | None = None

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = None
        self._opened.close()
        if self._till is not None:
            self._till.close()

    def ask(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """Return the answers in the order of `requests`, each request's in the order of their indices.

        Request ids must be unique within a call. Raises `StageFailure` for an engine that leaves requests without an
        answer, `StageStopped` with every finished answer in the journal when a stop was asked for, and what `Budget`
        raises when `max_cost` of the purse is too little.
        """
        keys: _Keys = {request.id: (request.id, _digest(request, sampling)) for request in requests}
        if len(keys) != len(requests):
            raise ValueError("request ids must be unique")
        self._look_up(keys)
        missing = self._missing(requests, keys, sampling)
        if len(missing) < len(requests):
            answered = len(requests) - len(missing)
            log.info("%s: %d of %d requests are answered already", self._journal.place, answered, len(requests))
        if self._till is not None:
            self._till.find(_name(key, index) for key in keys.values() for index in self._found[key])
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

    def unanswered(self, requests: Sequence[Request], sampling: Sampling) -> int:
        """Return how many answers to `requests` the journal lacks; nothing is asked."""
        keys: _Keys = {request.id: (request.id, _digest(request, sampling)) for request in requests}
        self._look_up(keys)
        return sum(len(request.indices(sampling)) for request in self._missing(requests, keys, sampling))

    def _look_up(self, keys: _Keys) -> None:
        for key, answers in self._lookup({digest for _, digest in keys.values()}).items():
            self._found[key] = {**answers, **self._found[key]}

    def _missing(self, requests: Sequence[Request], keys: _Keys, sampling: Sampling) -> list[Request]:
        """The requests that lack answers, each asking for those only."""
        asked = [replace(r, answered=r.answered | self._found[keys[r.id]].keys()) for r in requests]
        return [request for request in asked if request.indices(sampling)]

    def _generate(self, missing: Sequence[Request], keys: _Keys, sampling: Sampling) -> None:
        self._stop.check("generation had not begun")
        budget = Budget(self._till, missing, sampling) if self._till is not None else None
        engine, keep = self._engine or self._open()
        with self._claimed() as claims:
            asked = _Round(keys, self._lookup, budget, claims)
            gate = asked if budget is not None else None
            for generation in engine.generate(missing, sampling, self._stop, asked.known, gate):
                asked.settles(generation)
                key = keys[generation.id]
                if not asked.was_handed(generation):
                    keep(key[1], generation)
                    asked.given_up(generation)
                elif self._till is not None:
                    self._till.find([_name(key, generation.index)])
                self._found[key][generation.index] = generation

    def _claimed(self) -> AbstractContextManager[Claims | None]:
        """Claims of what a server is asked one by one: that is paid for, and the others' answers are waited for."""
        served = self.spec.name in API_ENGINES and self.spec.batch is None
        return (self._journal.claims(self._lookup) if served else None) or nullcontext()

    def _open(self) -> tuple[Engine, Keep]:
        keep = self._opened.enter_context(self._journal.writing())  # a full disk is met before the model is loaded
        self._engine = self._opened.enter_context(open_engine(self.spec)), keep
        return self._engine


class _Round:
    """One call of the engine: what others have got answered meanwhile, and what may be sent. The engine's `Gate`."""

    def __init__(self, keys: _Keys, lookup: Lookup, budget: Budget | None, claims: Claims | None) -> None:
        self._keys, self._lookup, self.budget, self._claims = keys, lookup, budget, claims
        self._handed: set[tuple[str, int]] = set()
        self._settled: set[tuple[str, int]] = set()

    def known(self, request: Request, index: int) -> Generation | Literal["elsewhere"] | None:
        """See `inference.engine.Known`; what is neither answered nor asked elsewhere is claimed."""
        key = self._keys[request.id]
        mine = self._claims is None or self._claims.take(_name(key, index))
        found = self._lookup({key[1]}).get(key, {}).get(index)
        if found is not None:
            self._handed.add((request.id, index))
            return found
        return None if mine else "elsewhere"

    def given_up(self, made: Generation) -> None:
        """Leave a request that ended in an error, which is not kept, to others."""
        if self._claims is not None and made.finish_reason == "error":
            self._claims.give_up(_name(self._keys[made.id], made.index))

    def admits(self, request: Request, index: int) -> bool:
        """See `inference.engine.Gate`."""
        return self.budget is None or self.budget.admits(request, index)

    def settles(self, made: Generation) -> None:
        """See `inference.engine.Gate`; for the engines that know no gate the answer is settled when it is kept."""
        if self.budget is not None and (made.id, made.index) not in self._settled:
            self._settled.add((made.id, made.index))
            self.budget.settle(made, _name(self._keys[made.id], made.index), self.was_handed(made))

    def wastes(self, made: Generation) -> None:
        """See `inference.engine.Gate`."""
        if self.budget is not None:
            self.budget.waste(made, _name(self._keys[made.id], made.index))

    def withdraws(self, request: Request, index: int) -> None:
        """See `inference.engine.Gate`."""
        if self.budget is not None:
            self.budget.withdraw(request, index)

    def told(self) -> str:
        """See `inference.engine.Gate`."""
        return "" if self.budget is None else self.budget.told()

    def was_handed(self, made: Generation) -> bool:
        """Whether the answer is another process's."""
        return (made.id, made.index) in self._handed


def _name(key: Key, index: int) -> str:
    """What an answer is called among those that were paid for."""
    return f"{key[1]}/{key[0]}/{index}"


def _digest(request: Request, sampling: Sampling) -> str:
    how = {name: value for name, value in asdict(sampling).items() if name != "n"}
    asked = json.dumps([list(request.messages), request.continuation, request.schema, how], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]
