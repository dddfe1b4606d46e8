"""The progress of a training: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

import pytest


def drive(steps: int, first: int = 0, rank: int = 0) -> None:
    """A training of `steps` steps with 100 tokens each, as its callback sees it."""
    from transformers import TrainerControl, TrainerState

    from train.progress import ShowProgress

    progress, control = ShowProgress(), TrainerControl()
    state = TrainerState(max_steps=steps, global_step=first, is_world_process_zero=rank == 0)
    state.log_history = [{"tokens": 100 * first}] if first else []
    progress.on_train_begin(None, state, control)
    for step in range(first + 1, steps + 1):
        state.global_step = step
        progress.on_step_end(None, state, control)
        logs = {"loss": 1.0 / step, "tokens": 100 * step}
        state.log_history.append(logs)
        progress.on_log(None, state, control, logs)
    progress.on_log(None, state, control, {"eval_loss": 0.25})
    progress.on_train_end(None, state, control)


def test_a_quick_training_leaves_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    drive(50)
    said = capsys.readouterr().err
    line = r"training: 50 of 50 steps in 0:00:0\d, loss 0\.0200, validation loss 0\.2500, [\d,]+ tokens/s\n"
    assert re.fullmatch(line, said), said


def test_a_line_comes_when_its_time_has_come_and_says_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.progress.LOG_SECONDS", 0.0)
    drive(12, first=9)
    lines = capsys.readouterr().err.splitlines()
    assert [re.match(r"training: (\d+) of 12 steps", line)[1] for line in lines] == ["10", "11", "12", "12", "12"]  # type: ignore[index]
    assert [re.search(r", \d:\d\d:\d\d left$", line) is not None for line in lines] == [True, True, False, False, False]


def test_the_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    drive(3, rank=1)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_the_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_terminal(lambda: drive(40, first=10), monkeypatch)
    assert re.search(r"training: +\d+%\|", shown), shown
    assert "40/40" in shown
    assert re.search(r"loss 0\.0250.*tokens/s", shown)
    assert "training: 40 of 40 steps" in shown


def on_terminal(action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the action writes to stderr where that is a terminal."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    parts: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while part := os.read(master, 1 << 16):
                parts.append(part)

    reader = threading.Thread(target=read)  # a terminal takes in a few kilobytes, no more, until somebody reads
    reader.start()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        action()
        monkeypatch.undo()
    reader.join()
    os.close(master)
    return b"".join(parts).decode()
