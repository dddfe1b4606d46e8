"""A benchmark of several parts: what each hands back, and the command that runs and prints them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.registry.report import machine
from registry.console import Grid, answering
from registry.errors import StageFailure

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """`data` for `--json` and `lines` for people; `sound` is false where a promise that any machine keeps is broken."""

    data: dict[str, Any]
    lines: tuple[str | Grid, ...]
    sound: bool = True


Part = Callable[[bool, Say], Report]


def run_parts(
    program: str, description: str | None, parts: Mapping[str, Part], arguments: Sequence[str] | None
) -> None:
    """Parse the command line, measure and print; exit code 1 when a part is not sound."""
    chosen = _parsed(program, description, parts, arguments)
    with answering(program, chosen.json) as answer:
        facts = machine()
        answer.data = {"machine": facts}
        answer.lines.append(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items()))
        unsound = []
        for name in chosen.parts or parts:
            report = parts[name](chosen.full, _say)
            answer.data[name] = report.data
            answer.lines += ["", f"{name} (load {os.getloadavg()[0]:.1f})", *report.lines]
            unsound += [] if report.sound else [name]
        if unsound:
            raise StageFailure(f"not what was promised: {', '.join(unsound)}; see MISSED")


def _parsed(
    program: str, description: str | None, parts: Mapping[str, Part], arguments: Sequence[str] | None
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)} (default: all)")
    parser.add_argument("--full", action="store_true", help="the long form")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.parts if name not in parts]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; legal: {', '.join(parts)}")
    return chosen


def _say(text: str) -> None:
    print(text, file=sys.stderr)
