"""Slurm's commands, counted: stand-ins on the PATH that note each call and become the real one."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.lab import Lab

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")


def counted(lab: Lab) -> Lab:
    """The lab, whose commands find the stand-ins first."""
    tools = lab.folder / "tools"
    tools.mkdir()
    for command in COMMANDS:
        real = shutil.which(command)
        if real is not None:
            (tools / command).write_text(f'#!/bin/sh\necho {command} >>"{_log(lab)}"\nexec {real} "$@"\n')
            (tools / command).chmod(0o755)
    return replace(lab, environment={**lab.environment, "PATH": f"{tools}{os.pathsep}{lab.environment['PATH']}"})


def calls_since_asked(lab: Lab) -> Counter[str]:
    """How often each was called since the last time that this was asked."""
    if not _log(lab).exists():
        return Counter()
    calls = Counter(_log(lab).read_text().split())
    _log(lab).unlink()
    return calls


def _log(lab: Lab) -> Path:
    return lab.folder / "calls"
