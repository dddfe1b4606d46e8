"""What a stage's model calls cost stands in its result, however it ended, and `meds1 show` tells it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import StageFailure
from registry.spending import FOLDER, Spent, dollars, spending_field, told
from registry.stage import ENTRY_POINT, StageContext, StageOutput
from registry.store import Registry
from registry.written import Result
from tests.registry_case import curate, result_in_file, run, staged_lab

ROOT = Path(__file__).resolve().parents[1]
SUMS = {"calls": 1, "cached": 1, "prompt_tokens": 100, "completion_tokens": 10, "cost": 1.5}


def pay(context: StageContext, answer: str) -> None:
    """As a process of a stage does it, which may be killed right after."""
    folder = context.run_dir / FOLDER
    folder.mkdir(exist_ok=True)
    lines = [Spent("gpt", answer, 100, 10, 1.5), Spent("gpt", "known", cached=True)]
    (folder / f"{answer}.jsonl").write_bytes(b"".join(line.line() for line in lines))


def pay_and_curate(context: StageContext) -> StageOutput:
    pay(context, "second")
    return curate(context)


def pay_and_fail(context: StageContext) -> StageOutput:
    pay(context, "first")
    raise StageFailure("no row is left")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    return staged_lab(tmp_path, monkeypatch)


def test_failed_and_completed_results_say_what_all_attempts_have_spent(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRY_POINT, "curation", f"{__name__}:pay_and_fail")
    with pytest.raises(StageFailure):
        run(lab, ("curation",))
    failed = result_in_file(lab, stage="curation")
    assert (failed["status"], failed["spending"]) == ("failed", {**SUMS, "models": {"gpt": SUMS}})
    monkeypatch.setitem(ENTRY_POINT, "curation", f"{__name__}:pay_and_curate")
    run(lab, ("curation", "training"))
    completed = result_in_file(lab, stage="curation")
    assert (completed["status"], completed["spending"]["calls"], completed["spending"]["cost"]) == ("completed", 2, 3.0)
    assert Result.model_validate(completed).spending == completed["spending"]
    assert "spending" not in result_in_file(lab, stage="training")  # which asks no model

    assert run(lab, ("curation",), name="twin") == ["reuse"]
    twin = json.loads(lab.paths.file.read_text())["experiments"]["twin"]["results"]["curation"]
    assert twin["reused_from"] == "tuned"
    assert "spending" not in twin  # what is reused has cost nothing

    command = [sys.executable, str(ROOT / "meds1.py"), "show", "tuned", "--registry", str(lab.paths.file)]
    shown = subprocess.run([*command, "--config", str(lab.catalog_path)], capture_output=True, text=True, check=True)
    assert "curation spent: $3.00 in 2 calls, 1 from the cache" in shown.stdout


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.1, "$0.10"), (0.0123, "$0.0123"), (1e-6, "less than $0.0001")],
)
def test_amounts(amount: float, text: str) -> None:
    assert dollars(amount) == text
    assert told({**SUMS, "cost": amount}) == f"{text} in 1 call, 1 from the cache"


def test_sums_that_cannot_be_read_take_away_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).symlink_to(FOLDER)  # to itself
    with caplog.at_level(logging.WARNING):
        assert spending_field(tmp_path) == {}
    assert "what model calls have cost is not recorded" in caplog.text
