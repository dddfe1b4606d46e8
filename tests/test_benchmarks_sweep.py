"""The benchmark of a sweep, in a short form: it runs, and it refuses what makes no sweep."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.lab import CHECKOUT

COMMAND = [sys.executable, "-m", "benchmarks.sweep", "--json"]


@pytest.mark.full
@pytest.mark.slurm
def test_a_short_sweep_is_measured_with_every_call_of_slurm() -> None:
    short = ["--experiments", "12", "--singles", "2", "--repeats", "1"]
    done = subprocess.run([*COMMAND, *short], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    data = json.loads(done.stdout)["data"]
    calls = [figure["calls"] for figure in data["figures"]]
    assert [(call["sbatch"], call["squeue"], call["sacct"]) for call in calls[:6]] == [
        (6, 0, 0),  # a script is tried before it is submitted
        (12, 0, 0),  # two experiments, by a command each
        (6, 0, 0),
        (6, 0, 0),
        (0, 1, 0),
        (0, 0, 0),
    ]
    assert all((call["squeue"], call["sacct"]) == (1, 1) for call in calls[6:])
    assert all(figure["median"] > 0 for figure in data["figures"])
    assert [figure["jobs"] for figure in data["figures"][:4]] == [36, 6, 6, 6]
    assert all(figure["times_the_sweep"] > 0 for figure in data["figures"][:4])


def test_a_number_that_makes_no_sweep_is_refused() -> None:
    done = subprocess.run([*COMMAND, "--experiments", "1"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--experiments must be above 1" in done.stderr
