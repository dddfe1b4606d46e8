"""The benchmarks of training in short forms: both ways train the same, layouts are counted, the GPU one runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.train.gpu_settings import SETTINGS
from benchmarks.train.packing import BARE, PACKED, SINGLE, explanations, measure_packing, readings, report
from benchmarks.train.sharding import measure_gaps
from benchmarks.train.throughput import compare
from benchmarks.train.throughput import report as report_speeds
from benchmarks.train_gpu import measure, table
from tests.training_case import conversation

ROOT = Path(__file__).resolve().parents[1]


def quiet(text: str) -> None:
    """Nobody looks on."""


def test_both_ways_take_the_same_optimizer_steps() -> None:
    rounds = list(compare("rows of many lengths", 1, 3, quiet))
    assert [(each.ours.steps, each.bare.steps) for each in rounds] == [(2, 2)]
    assert report_speeds({"rows of many lengths": rounds}, 3).data["rows of many lengths"]["ratio"] > 0


def test_sorting_rows_of_a_step_spares_padding_and_packing_spares_all() -> None:
    found = readings([10, 200, 30, 400] * 40, 4)
    assert found[PACKED].padding == 0.0 < found[SINGLE].padding < found[BARE].padding
    assert found[PACKED].passes < found[SINGLE].passes == found[BARE].passes == 4.0


def test_a_row_in_a_pass_of_its_own_has_no_padding() -> None:
    found = readings([10, 200, 30, 400] * 40, 1)
    assert found[SINGLE].padding == found[BARE].padding == 0.0
    assert found[SINGLE].passes == 16.0


def test_packing_is_measured_at_each_size_per_device() -> None:
    rows = [conversation(number) for number in range(32)]
    data = report(rows, 32, quiet).data
    assert {size: list(ways) for size, ways in data.items()} == {size: [BARE, SINGLE, PACKED] for size in "148"}


def test_without_the_real_file_packing_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDS1_REAL_DATA", str(tmp_path / "nowhere"))
    lines = measure_packing(False, quiet).lines
    assert lines == (
        f"not run: there is no {tmp_path / 'nowhere'}; set MEDS1_REAL_DATA to the folder of benchmark files",
    )


@pytest.mark.real_data
def test_every_real_explanation_becomes_a_row(real_data: Path) -> None:
    rows = explanations(real_data)
    assert len(rows) > 2_000
    assert all(row["completion"][0]["content"].startswith("## Thinking\n\n") for row in rows)


@pytest.mark.full
def test_two_processes_train_what_one_does() -> None:
    assert measure_gaps((2,), 4, quiet)[2].met


@pytest.mark.full
def test_two_processes_train_what_one_does_for_fifty_steps() -> None:
    assert measure_gaps((2,), 50, quiet)[2].met


def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, "-m", "benchmarks.train_gpu"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "not run: no GPU is visible here\n"


def check_measured(settings: list[str]) -> None:
    found = measure("tiny", settings, 256)
    assert {name: one.get("not_run") for name, one in found.items()} == dict.fromkeys(settings)
    assert all(one["tokens_per_second"] > 0 and one["peak_bytes"] > 0 for one in found.values())
    assert [row[0] for row in table("tiny", found).rows] == settings


def test_a_setting_is_measured_in_a_process_of_its_own() -> None:
    check_measured(["ours"])


@pytest.mark.full
def test_every_setting_is_measured_or_says_why_not() -> None:
    flash = ["flash-attention-3", "flash-attention-2"]
    found = measure("tiny", flash, 256)
    assert [one["not_run"] for one in found.values()] == [
        "flash_attn_interface is not installed here",
        "flash_attn is not installed here",
    ]
    check_measured([name for name in SETTINGS if name not in (*flash, "torch-compile")])
