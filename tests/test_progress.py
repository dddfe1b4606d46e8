"""Progress on a terminal and in a log."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
CODE = """
from inference.engine import Generation
from inference.progress import track
from registry import progress
progress.LOG_SECONDS = 0.0
answers = [Generation(str(i), 0, "text", "stop", 3, 1_000) for i in range(4)]
assert list(track(answers, 4, "engine")) == answers
"""


def test_a_log_gets_whole_lines_with_the_time_left() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"engine: 2 of 4 answers in 0:00:\d\d, [\d,]+ tokens/s, 0:00:\d\d left", lines[1])
    assert re.fullmatch(r"engine: 4 of 4 answers in 0:00:\d\d, [\d,]+ tokens/s", lines[3])


def test_a_line_comes_when_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(1, "report", "step") as steps:
        steps.more(2)
        steps.advance()
        steps.tell()
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("registry.progress.LOG_SECONDS", 0.0)
        steps.advance()
        steps.tell("all is well")

    assert capsys.readouterr().err == "report: 2 of 3 steps in 0:00:00, all is well, 0:00:00 left\n"


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    with subprocess.Popen([sys.executable, "-c", CODE], cwd=ROOT, stderr=theirs) as process:
        os.close(theirs)
        shown = "".join(_read(ours))
    os.close(ours)
    assert process.returncode == 0
    assert re.search(r"engine: 100%.* 4/4 .*tokens/s", shown)


def _read(terminal: int) -> Iterator[str]:
    try:
        while text := os.read(terminal, 10_000).decode():
            yield text
    except OSError:  # how Linux says that nobody writes any more
        return
