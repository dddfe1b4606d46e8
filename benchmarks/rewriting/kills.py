"""Sixteen writers on one cache, each killed while it writes: all that it had handed out can be read afterwards."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from benchmarks.parts import Report, Say
from inference.answer_files import SharedAnswers
from inference.engine import Generation

WRITERS: Final = 16
_MAX_LENGTH: Final = 4096


def measure_kills(full: bool, say: Say) -> Report:
    """One round (full: ten): every answer that a writer has said to be kept is found afterwards."""
    rounds = 10 if full else 1
    say(f"kills: {rounds * WRITERS} writers")
    kept = lost = 0
    for number in range(rounds):
        one_kept, one_lost = _round(number)
        kept, lost = kept + one_kept, lost + one_lost
    said = f"{rounds * WRITERS} writers killed while writing: {kept:,} answers handed out, {lost} of them lost"
    line = f"{said}: {'MISSED' if lost else 'met'}"
    return Report(data={"kept": kept, "lost": lost}, lines=(line,), sound=not lost and kept > 0)


def _round(seed: int) -> tuple[int, int]:
    drawn = random.Random(seed)
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        store = SharedAnswers(Path(folder) / "answers", _MAX_LENGTH)
        writers = []
        for number in range(WRITERS):
            ours, theirs = fork.Pipe(duplex=False)
            process = fork.Process(target=_write, args=(store, number, theirs))
            process.start()
            theirs.close()
            writers.append((process, ours))
        handed: list[str] = []
        for process, ours in writers:
            handed.append(ours.recv())  # it writes
            time.sleep(drawn.uniform(0.0, 0.05))
            process.kill()
        for process, ours in writers:
            handed += _rest(ours)
            process.join()
        found = store.read()(set(handed))
    return len(handed), len(set(handed) - {digest for _, digest in found})


def _write(store: SharedAnswers, writer: int, said: Connection) -> None:
    drawn = random.Random(writer)
    with store.writing() as keep:
        for number in range(1_000_000):
            digest = f"{writer:04x}{number:012x}"
            text = "x" * drawn.randrange(20_000)
            keep(digest, Generation("q", 0, text, "stop", 10, 10))
            said.send(digest)


def _rest(ours: Connection) -> list[str]:
    """What was said before the end; a last word may be cut off."""
    said = []
    try:
        while True:
            said.append(ours.recv())
    except (EOFError, OSError):
        return said
