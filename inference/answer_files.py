"""Where answers are kept: JSONL files, one generation a line, each line whole on disk before the next answer is taken.

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
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

from inference.engine import ApiModel, EngineSpec, Generation, VertexModel
from registry.canonical import sha256
from registry.contents import Contents
from registry.durable import make_folder, mode_for
from registry.errors import StageFailure
from registry.versions import ANSWERS_VERSION

log = logging.getLogger(__name__)
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
        with _opened(self.place) as file:
            yield lambda digest, answer: _append(file, self.place, digest, answer)


@dataclass(frozen=True)
class SharedAnswers:
    """The files of all processes that asked one model; `shared_answers` makes it.

    What ended in an error is not kept, but for a prompt that leaves no room in `max_length`: it never will. A line
    that cannot be read is left out: a last one may be another process's, who is writing it now.
    """

    place: Path
    max_length: int

    def read(self) -> Lookup:
        """See `Journal.read`; each lookup goes through the files, which hold all that was ever asked.

        Of several answers to the same the one in the oldest file counts.
        """
        return self._lookup

    def _lookup(self, digests: AbstractSet[str]) -> Found:
        files = sorted(self.place.glob("*.jsonl"), reverse=True)
        return _found(answer for file in files for answer in _readable(file, digests))

    @contextmanager
    def writing(self) -> Iterator[Keep]:
        """See `Journal.writing`."""
        path = self.place / f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
        try:
            make_folder(self.place, lasting=False)
            mode = mode_for(path)  # not the umask's: others are to read it
        except OSError as error:
            raise _not_kept(self.place, error) from error
        try:
            with _opened(path) as file:
                os.fchmod(file.fileno(), mode)
                yield lambda digest, answer: self._keep(file, path, digest, answer)
        finally:
            with suppress(OSError):  # gone, or in a folder that was deleted meanwhile
                if path.stat().st_size == 0:
                    path.unlink()

    def _keep(self, file: FileIO, path: Path, digest: str, answer: Generation) -> None:
        if answer.finish_reason != "error" or answer.prompt_tokens >= self.max_length:
            _append(file, path, digest, answer)


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


_BEGINNING = b'{"request": "'
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


def _parse(line: bytes) -> tuple[str, Generation]:
    fields = json.loads(line)
    return fields.pop("request"), Generation(**fields)


def _found(answers: Iterable[tuple[str, Generation]]) -> Found:
    found: Found = defaultdict(dict)
    for digest, answer in answers:
        found[answer.id, digest][answer.index] = answer
    return found


def _readable(file: Path, digests: AbstractSet[str]) -> Iterator[tuple[str, Generation]]:
    wanted = {digest.encode() for digest in digests}
    unreadable = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n") or _is_about_others(line, wanted):
                    continue
                try:
                    yield _parse(line)
                except _UNREADABLE:
                    unreadable += 1
    except OSError as error:
        log.warning("%s cannot be read (%s): what it holds is asked again", file, error.strerror)
    if unreadable:
        log.warning("%s: %d lines are no answers: they are asked again", file, unreadable)


def _is_about_others(line: bytes, wanted: AbstractSet[bytes]) -> bool:
    """Whether a line begins with another digest, which is told without reading on."""
    start = len(_BEGINNING)
    return line.startswith(_BEGINNING) and line[start : line.find(b'"', start)] not in wanted


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """A file without a buffer: what could not be written is not tried again when it is closed."""
    try:
        file = FileIO(path, "a")
    except OSError as error:
        raise _not_kept(path, error) from error
    with file:
        yield file


def _append(file: FileIO, path: Path, digest: str, answer: Generation) -> None:
    line = json.dumps({"request": digest, **asdict(answer)}, ensure_ascii=False) + "\n"
    left = line.encode("utf-8", "surrogatepass")
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise _not_kept(path, error) from error


def _not_kept(path: Path, error: OSError) -> StageFailure:
    return StageFailure(
        f"{path}: answers cannot be kept here ({error.strerror}); mend that and run again: "
        "what is kept already is not asked again"
    )
