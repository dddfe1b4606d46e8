"""Where answers are kept: JSONL files, one generation a line, each line whole in its file before the next is taken.

A file of a run's own (`OwnFile`) is resumed by the run's next attempt. In the store of all experiments
(`SharedAnswers`) every process writes a file of its own, under a name nobody else has, and reads all of them: many jobs
on NFS use it without a lock, and an answer that two of them paid for at the same time costs only space.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from inference.appending import Appending, appending, not_kept
from inference.claims import FOLDER, Claims
from inference.engine import WITHHELD, ApiModel, EngineSpec, Generation, VertexModel
from registry.canonical import sha256
from registry.contents import Contents
from registry.durable import make_folder, mode_for
from registry.errors import StageFailure
from registry.tail import NewLines
from registry.versions import ANSWERS_VERSION

log = logging.getLogger(__name__)
_FRESH_S = 0.2
_BEGINNING = b'{"request": "'
Key = tuple[str, str]
"""A request's id and the digest of what it asks."""
Found = defaultdict[Key, dict[int, Generation]]
"""Answers by key and index."""
Lookup = Callable[[AbstractSet[str]], Found]
Keep = Callable[[str, Generation], None]
"""Takes the digest of a request and an answer to it."""


class Journal(Protocol):
    """A place for the answers of one model."""

    @property
    def place(self) -> Path:
        """The file or folder, for messages."""
        ...

    def read(self) -> Lookup:
        """What finds the usable answers to the requests of some digests; it may give others too."""
        ...

    def writing(self) -> AbstractContextManager[Keep]:
        """Open it for more answers; `StageFailure` where none can be kept."""
        ...

    def claims(self, lookup: Lookup) -> Claims | None:
        """Who asks what at this moment, to be used with the `lookup` of `read`; null where nobody else does."""
        ...


@dataclass(frozen=True)
class OwnFile:
    """One file for the attempts of one run.

    What ended in an error is asked again by a later attempt. The last line may be torn by a kill and is cut off; any
    other unreadable line is a `StageFailure`, because nothing here writes one.
    """

    place: Path

    def read(self) -> Lookup:
        """See `Journal.read`; all is read at once."""
        found = self._read()
        return lambda digests: found

    def _read(self) -> Found:
        if not self.place.exists():
            return _found(())
        written = self.place.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            log.warning("%s: the last line was cut short by a kill; its question is asked again", self.place.name)
            with self.place.open("r+b") as file:
                file.truncate(len(whole))
        answers = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                answers.append(_parse(line))
            except _UNREADABLE as error:
                raise StageFailure(
                    f"{self.place}: line {number} is not a generation ({error}); remove the file to start over"
                ) from error
        return _found((digest, answer) for digest, answer in answers if answer.finish_reason != "error")

    @contextmanager
    def writing(self) -> Iterator[Keep]:
        """See `Journal.writing`."""
        with appending(self.place) as file:
            yield file.add

    def claims(self, lookup: Lookup) -> None:
        """See `Journal.claims`."""


@dataclass(frozen=True)
class SharedAnswers:
    """The files of all processes that asked one model; `shared_answers` makes it.

    What ended in an error is not kept, but for a prompt that leaves no room in `max_length` and for an answer that the
    server withheld, which was paid for: both would come to the same again. A line that cannot be read is left out: a
    last one may be another process's, who is writing it now.
    """

    place: Path
    max_length: int

    def read(self) -> Lookup:
        """See `Journal.read`; what others write meanwhile is found too."""
        return _Index(self.place)

    @contextmanager
    def writing(self) -> Iterator[Keep]:
        """See `Journal.writing`."""
        path = self.place / f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
        try:
            make_folder(self.place)
            mode = mode_for(path)  # not the umask's: others are to read it
        except OSError as error:
            raise not_kept(self.place, error) from error
        try:
            with appending(path) as file:
                os.fchmod(file.fileno(), mode)
                yield lambda digest, answer: self._keep(file, digest, answer)
        finally:
            with suppress(OSError):  # gone, or in a folder that was deleted meanwhile
                if path.stat().st_size == 0:
                    path.unlink()

    def claims(self, lookup: Lookup) -> Claims:
        """See `Journal.claims`."""
        assert isinstance(lookup, _Index)
        return Claims(self.place / FOLDER, lookup.look)

    def _keep(self, file: Appending, digest: str, answer: Generation) -> None:
        lasting = answer.prompt_tokens >= self.max_length or (answer.error or "").startswith(WITHHELD)
        if answer.finish_reason != "error" or lasting:
            file.add(digest, answer)


def shared_answers(spec: EngineSpec, shared: Path) -> SharedAnswers:
    """The answers of this model, by content, in the folder `shared` of all experiments.

    Raises `MissingError` for a folder that holds no model.
    """
    if isinstance(spec.model, ApiModel):
        model: dict[str, str | None] = {"api_model": spec.model.name, "base_url": spec.model.base_url}
    elif isinstance(spec.model, VertexModel):
        model = {"vertex_model": spec.model.name}
    else:
        model = {"content": Contents.from_environment().model(str(spec.model))}
    how = {"engine": spec.name, "max_length": spec.max_length, "seed": spec.seed}
    digest = sha256({"model": model, "version": ANSWERS_VERSION, **how})
    return SharedAnswers(shared / "answers" / digest[:16], spec.max_length)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    file: Path
    offset: int
    size: int
    digest: str


class _Index:
    """Where the answers to each digest lie. Every file is read once; a lookup reads what has been added since."""

    def __init__(self, place: Path) -> None:
        self._lines = NewLines(place)
        self._places: defaultdict[str, list[_Place]] = defaultdict(list)
        self._unreadable: Counter[Path] = Counter()
        self._next_look = 0.0

    def __call__(self, digests: AbstractSet[str]) -> Found:
        """Of several answers to the same the one in the oldest file counts."""
        if time.monotonic() >= self._next_look:
            self.look()
        found: Found = defaultdict(dict)
        wanted = [place for digest in digests for place in self._places.get(digest, ())]
        for path, places in groupby(sorted(wanted, reverse=True), key=lambda place: place.file):
            for place, line in _lines_at(path, list(places)):
                try:
                    digest, answer = _parse(line)
                except _UNREADABLE:
                    self._unreadable[path] += 1
                    self._places[place.digest].remove(place)
                else:
                    found[answer.id, digest][answer.index] = answer
        for path, lines in self._unreadable.items():
            log.warning("%s: %d lines are no answers: they are asked again", path, lines)
        self._unreadable.clear()
        return found

    def look(self) -> None:
        """Take in what is new."""
        began = time.monotonic()
        for line in self._lines.read():
            digest = _digest_of(line.content)
            if digest is None:
                self._unreadable[line.file] += 1
            else:
                self._places[digest].append(_Place(line.file, line.offset, len(line.content), digest))
        ended = time.monotonic()
        # Every request looks just before it is sent: hundreds of files on NFS must not take most of the time.
        self._next_look = ended + max(_FRESH_S, 4 * (ended - began))


def _lines_at(path: Path, places: Sequence[_Place]) -> Iterator[tuple[_Place, bytes]]:
    try:
        with path.open("rb") as file:
            for place in places:
                yield place, os.pread(file.fileno(), place.size, place.offset)
    except OSError as error:
        log.warning("%s cannot be read (%s): what it holds is asked again", path, error.strerror)


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


def _parse(line: bytes) -> tuple[str, Generation]:
    fields = json.loads(line)
    return fields.pop("request"), Generation(**fields)


def _found(answers: Iterable[tuple[str, Generation]]) -> Found:
    found: Found = defaultdict(dict)
    for digest, answer in answers:
        found[answer.id, digest][answer.index] = answer
    return found


def _digest_of(line: bytes) -> str | None:
    """What a line says that it answers, which is told without reading on."""
    if not line.startswith(_BEGINNING):
        return None
    start = len(_BEGINNING)
    return line[start : line.find(b'"', start)].decode(errors="replace")
