"""The real MedQA and MedMCQA files, whole, through the eval stage with a tiny random model."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.parts import Report, Say
from benchmarks.real_data import real_data_folder, real_files
from eval.stage import run
from registry.console import Grid
from tests.stages import make_context
from tests.tiny import make_tiny_model

ROWS = {"medqa": 1_273, "medmcqa": 4_183}
MAX_LENGTH = 4_096
_HEADER = ("benchmark", "rows", "questions", "accuracy %", "95 % interval", "unanswered", "errors", "flags")


def run_real_files(full: bool, say: Say) -> Report:
    """Run the stage; sound when every row of both files has been asked and counted. The long form is the same."""
    folder = real_data_folder()
    say(f"asking {sum(ROWS.values()):,} questions")
    with tempfile.TemporaryDirectory(prefix="meds1-real-") as scratch:
        model = make_tiny_model(Path(scratch) / "model", max_length=MAX_LENGTH)
        settings = {"max_tokens": 16}
        files = real_files(folder)
        context = make_context(Path(scratch) / "run", model, evaluate=files, max_length=MAX_LENGTH, eval=settings)
        started = time.monotonic()
        metrics = run(context).metrics
        seconds = time.monotonic() - started
    benchmarks = metrics["benchmarks"]
    counted = {name: numbers["total_examples"] for name, numbers in benchmarks.items()}
    rows = [
        (
            name,
            str(each["total_examples"]),
            str(each["num_questions"]),
            f"{100 * each['accuracy']:.1f}",
            f"{100 * each['accuracy_ci'][0]:.1f} to {100 * each['accuracy_ci'][1]:.1f}",
            str(each["unanswered"]),
            str(each["errors"]),
            ", ".join(each["flags"]),
        )
        for name, each in benchmarks.items()
    ]
    lines = (
        Grid(_HEADER, rows, right=(1, 2, 3, 5, 6)),
        f"{sum(counted.values()):,} questions through the stage in {seconds:.1f} s, the engine's start included",
    )
    return Report({"seconds": seconds, "benchmarks": benchmarks}, lines, sound=counted == ROWS)
