"""Numbers kept by the content of their texts: right and computed once, whoever writes, dies or fails beside it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import array_store
from data.array_store import computed_once
from registry.errors import StageFailure
from tests.faults import DEAD, DISK_ERRORS, FORK, Call, Failing, dying_at, in_child, intercepted, memory_folder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


class Lengths:
    """The function whose values are kept: a text's length and its double; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 2 * len(text)] for text in texts], dtype=np.int32)


def expected(texts: Sequence[str]) -> list[list[int]]:
    return [[len(text), 2 * len(text)] for text in texts]


def asked_for(texts: Sequence[str], folder: Path) -> list[str]:
    """What the store has to compute for `texts`; the values must be right."""
    lengths = Lengths()
    assert computed_once(texts, folder, lengths, 2).tolist() == expected(texts)
    return lengths.asked


def test_each_text_is_computed_once_and_in_its_order(tmp_path: Path) -> None:
    texts = ["bb", "a", "bb", "", "ccc", "\ud800", "a"]
    assert asked_for(texts, tmp_path / "lengths" / "x") == ["bb", "a", "", "ccc", "\ud800"]
    assert asked_for([*texts[::-1], "new"], tmp_path / "lengths" / "x") == ["new"]
    assert asked_for(texts[:2], tmp_path / "lengths" / "y") == ["bb", "a"]
    assert asked_for([], tmp_path / "lengths" / "z") == []


def test_values_keep_their_type(tmp_path: Path) -> None:
    for _ in range(2):
        values = computed_once(["a", "b"], tmp_path, lambda texts: np.ones((len(texts), 3), dtype=np.float16))
        assert (str(values.dtype), values.shape) == ("float16", (2, 3))


def test_too_few_values_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 values for 2 texts"):
        computed_once(["a", "b"], tmp_path / "x", lambda texts: np.ones(1))
    assert asked_for(["a"], tmp_path / "x") == ["a"]


def test_a_file_that_is_torn_or_turned_is_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a", "bb"]
    asked_for(texts, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    monkeypatch.setattr(array_store, "_write", lambda *written: None)  # so that nothing but this file is read
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert asked_for(texts, tmp_path) == texts, size
    assert len(caplog.records) == len(whole)
    assert str(file) in caplog.text
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert asked_for(texts, tmp_path) == texts, place
    file.write_bytes(whole)
    assert asked_for(texts, tmp_path) == []


@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "replace"])
def test_a_disk_that_takes_nothing_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, call: str, error: int
) -> None:
    folder, texts = tmp_path / "lengths" / "x", ["a", "bb", "ccc", "dddd"]
    fault = Failing(error, lambda made, number: made.name == call and not _reads(made))
    with intercepted(fault), pytest.raises(StageFailure, match=r"lengths/x: what was computed cannot be kept here"):
        asked_for(texts, folder)
    assert fault.failed
    assert [path.name for path in folder.glob("*")] == []
    assert asked_for(texts, folder) == texts
    assert asked_for(texts, folder) == []


def _reads(call: Call) -> bool:
    return call.name == "open" and len(call.arguments) > 1 and not int(call.arguments[1]) & os.O_CREAT


def test_a_process_that_dies_at_any_moment_leaves_what_it_had_finished(tmp_path: Path) -> None:
    texts = ["a", "bb", "ccc", "dddd"]
    lost = []
    for moment in itertools.count(1):
        folder = tmp_path / str(moment) / "lengths"
        code = in_child(partial(asked_for, texts, folder), dying_at(moment))
        left = asked_for(texts, folder)
        assert left in (texts, texts[2:], []), moment
        lost.append(len(left))
        assert asked_for(texts, folder) == []
        if code == 0:
            break
        assert code == DEAD
    assert lost == sorted(lost, reverse=True)
    assert set(lost) == {4, 2, 0}


def test_a_chunk_that_is_killed_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    def killed(texts: Sequence[str]) -> Any:
        if "ccc" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return Lengths()(texts)

    texts = ["a", "bb", "ccc", "dddd"]
    assert in_child(lambda: computed_once(texts, tmp_path, killed, 2)) == -signal.SIGKILL
    assert asked_for(texts, tmp_path) == ["ccc", "dddd"]


def test_processes_that_write_at_once_spoil_nothing(tmp_path: Path) -> None:
    texts = [f"{'x' * number}" for number in range(12)]
    writers = [FORK.Process(target=asked_for, args=(texts[start:] + texts[:start], tmp_path)) for start in (0, 3, 6, 9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert asked_for(texts, tmp_path) == []
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz"}


@pytest.mark.parametrize(
    ("seconds", "lines"), [("0", [r"tokens: 2 of 3 texts in 0:00:00, 0:00:00 left", r"tokens: 3 of 3 .*"]), ("99", [])]
)
def test_a_log_says_how_far_a_long_computation_is(tmp_path: Path, seconds: str, lines: list[str]) -> None:
    code = f"""
import numpy as np
from pathlib import Path
from data import array_store
from registry import progress
progress.LOG_SECONDS = {seconds}
folder = Path({str(tmp_path)!r}) / "tokens" / "x"
array_store.computed_once(["a", "b", "c"], folder, lambda texts: np.ones(len(texts)), 2)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    assert len(said) == len(lines)
    assert all(re.fullmatch(line, one) for line, one in zip(lines, said, strict=True)), said
