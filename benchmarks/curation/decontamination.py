"""Seconds and memory of looking 8,000 questions up in 25,000 rows; each figure from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.parts import Report, Say
from registry.console import Grid

SECONDS, MEGABYTES = 6.0, 600.0
ROWS, QUESTIONS = 25_000, 8_000
SIMILARITIES = {"n-grams": 0.0, "n-grams and MinHash": 0.8}
_CHECKOUT = Path(__file__).resolve().parents[2]


def measure_decontamination(full: bool, say: Say) -> Report:
    """Take the fastest of two runs (full: seven): what else runs only adds. Unsound when a row is missed."""
    data: dict[str, Any] = {}
    lines = []
    for name, similarity in SIMILARITIES.items():
        say(f"{ROWS:,} rows against {QUESTIONS:,} questions by {name}")
        runs = [_run(similarity) for _ in range(7 if full else 2)]
        best = min(runs, key=lambda run: float(run["seconds"]))
        data[name] = best | {"exact": all(run["exact"] for run in runs)}
        lines.append(
            [
                name,
                f"{best['seconds']:.1f}",
                f"{best['peak_mb']:.0f}",
                f"{best['rows_mb']:.0f}",
                _verdict(best) if not similarity else "",
            ]
        )
    words = data["n-grams"]["words"]
    columns = (f"{ROWS:,} rows of {words:.0f} words", f"core seconds (≤ {SECONDS:g})", f"peak MB (≤ {MEGABYTES:g})")
    sound = all(each["exact"] for each in data.values())
    return Report(
        data=data,
        lines=(
            Grid((*columns, "MB of the rows", ""), lines, right=(1, 2, 3)),
            f"{data['n-grams']['planted']} planted copies, and no other row: {'all found' if sound else 'MISSED'}",
        ),
        sound=sound,
    )


def _verdict(run: dict[str, Any]) -> str:
    return "met" if run["seconds"] <= SECONDS and run["peak_mb"] <= MEGABYTES else "MISSED"


def _run(similarity: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.curation.decontamination_run", str(ROWS), str(QUESTIONS)]
    done = subprocess.run([*command, str(similarity)], cwd=_CHECKOUT, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
