"""The real MedQA and MedMCQA files, whole, through the eval stage with a tiny random model."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.eval.report import Report, Say
from eval.stage import run
from registry.catalog import Columns, DatasetEntry
from registry.console import Grid
from registry.errors import MissingError
from tests.stages import make_context
from tests.tiny import make_tiny_model

ROWS = {"medqa": 1_273, "medmcqa": 4_183}
MAX_LENGTH = 4_096
_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
_HEADER = ("benchmark", "rows", "questions", "accuracy %", "95 % interval", "unanswered", "errors", "flags")


def run_real_files(full: bool, say: Say) -> Report:
    """Run the stage; sound when every row of both files has been asked and counted. The long form is the same."""
    folder = Path(os.environ.get("MEDS1_REAL_DATA", _FOLDER))
    if not folder.is_dir():
        raise MissingError(f"there is no {folder}; set MEDS1_REAL_DATA to the folder of benchmark files")
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


def real_files(folder: Path) -> dict[str, DatasetEntry]:
    """The catalog entries that a user would write for the two files."""
    columns = Columns(options=("opa", "opb", "opc", "opd"), answer_idx="cop", reasoning="exp", specialty="subject_name")
    return {
        "medqa": DatasetEntry(file_path=str(folder / "medqa_usmle_test.jsonl")),
        "medmcqa": DatasetEntry(file_path=str(folder / "medmcqa_dev.jsonl"), columns=columns, answer_index_base=1),
    }
