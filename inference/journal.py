"""Generation that survives a kill: every answer is on disk before the next one is waited for.

The journal is a JSONL file, one generation a line. A later attempt with the same journal asks only what is missing.
A line counts only for the very messages and sampling it was made with. The last line may be torn by a kill and is
cut off; any other unreadable line is an error, because nothing here writes one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from inference.engine import EngineSpec, Generation, Request, Sampling, open_engine
from registry.errors import StageFailure, StageStopped
from registry.stopping import StopFlag

log = logging.getLogger(__name__)
_Found = dict[str, dict[int, Generation]]


def generate_resumable(
    spec: EngineSpec, requests: Sequence[Request], sampling: Sampling, journal: Path, stop: StopFlag | None = None
) -> list[Generation]:
    """Return `sampling.n` generations per request (one where it ended in an error), in the order of `requests`.

    The engine is opened only when something is missing from the journal. Request ids must be unique. Raises
    `StageFailure` for a damaged journal and for an engine that leaves requests without an answer, `StageStopped` with
    every finished answer in the journal when `stop` asks for it.
    """
    digests = {request.id: _digest(request, sampling) for request in requests}
    if len(digests) != len(requests):
        raise ValueError("request ids must be unique")
    found = _read(journal, digests)
    missing = [request for request in requests if not _complete(found[request.id], sampling)]
    if len(missing) < len(requests):
        log.info(
            "%s: %d of %d requests are answered already", journal.name, len(requests) - len(missing), len(requests)
        )
    if missing:
        try:
            _ask(spec, missing, sampling, (journal, found), stop or StopFlag())
        except StageStopped as stopped:
            answered = sum(_complete(found[request.id], sampling) for request in requests)
            kept = f"{answered} of {len(requests)} requests are answered and kept in {journal}"
            raise StageStopped(f"{stopped}; {kept}", stopped.signal_number) from None
    unanswered = sum(not _complete(found[request.id], sampling) for request in requests)
    if unanswered:
        raise StageFailure(
            f"the {spec.name} engine ended without an answer to {unanswered} of {len(requests)} requests; "
            f"the others are kept in {journal}: run the stage again to ask for the rest"
        )
    return [found[request.id][index] for request in requests for index in sorted(found[request.id])]


def _digest(request: Request, sampling: Sampling) -> str:
    asked = json.dumps([list(request.messages), asdict(sampling)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _complete(generations: dict[int, Generation], sampling: Sampling) -> bool:
    return len(generations) >= sampling.n or any(g.finish_reason == "error" for g in generations.values())


def _read(journal: Path, digests: dict[str, str]) -> _Found:
    found: _Found = {request_id: {} for request_id in digests}
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
        if digests.get(generation.id) == digest:
            found[generation.id][generation.index] = generation
    return found


def _ask(
    spec: EngineSpec, missing: Sequence[Request], sampling: Sampling, kept: tuple[Path, _Found], stop: StopFlag
) -> None:
    journal, found = kept
    digests = {request.id: _digest(request, sampling) for request in missing}
    stop.check("generation had not begun")
    with journal.open("a", encoding="utf-8") as file, open_engine(spec) as engine:
        for generation in engine.generate(missing, sampling, stop):
            line = json.dumps({"request": digests[generation.id], **asdict(generation)}, ensure_ascii=False)
            file.write(line + "\n")
            file.flush()
            found[generation.id][generation.index] = generation
