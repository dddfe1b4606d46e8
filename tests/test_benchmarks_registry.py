"""The storm of kills: nothing acknowledged is lost and no read is torn, whatever the lock does; and the benchmark."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.registry import storm
from benchmarks.registry.journal import Follower
from benchmarks.registry.locks import LOCKS, LockKind
from benchmarks.registry.outcome import Outcome, Sight, Spread, Weather
from benchmarks.registry.records_storm import counted, settled, storm_of_records
from benchmarks.registry.rewrite_storm import storm_of_rewrites
from benchmarks.registry.scale import measure_scale
from benchmarks.registry.storm import GoOn, Wish, blow, torn
from tests.lab import CHECKOUT
from tests.quick_lab import until

SHORT = Wish(seconds=5.0, writers=8)
COMMAND = [sys.executable, "-m", "benchmarks.registry", "--json"]


def quiet(_: float) -> None:
    """No progress bar."""


@pytest.mark.parametrize("lock", LOCKS)
def test_a_storm_of_kills_loses_nothing_acknowledged_and_tears_no_read(tmp_path: Path, lock: LockKind) -> None:
    outcomes: list[Outcome] = []
    while not _enough(outcomes):  # once, unless the machine is so busy that no fold ends between two kills
        outcomes.append(storm_of_records(tmp_path / str(len(outcomes)), lock, SHORT, quiet))
        last = outcomes[-1]
        assert (last.lost, last.torn, last.weather.broken, last.example, last.valid) == (0, 0, 0, None, True)


def _enough(outcomes: Sequence[Outcome]) -> bool:
    """Whether what a storm is to disturb has happened in these storms, and it has disturbed it."""
    readers = zip(*(outcome.weather.sights for outcome in outcomes), strict=True)
    return (
        sum(outcome.acknowledged for outcome in outcomes) > 20
        and sum(outcome.weather.killed for outcome in outcomes) > 10
        and any(outcome.folds for outcome in outcomes)
        and all(sum(sight.looks for sight in sights) > 3 for sights in readers)
    )


def test_the_originals_way_of_saving_loses_results_and_tears_reads_in_the_same_storm(tmp_path: Path) -> None:
    outcome = storm_of_rewrites(tmp_path, SHORT, quiet)

    assert outcome.acknowledged > 0
    assert outcome.lost > 0
    assert outcome.torn > 0
    assert not outcome.sound


def test_a_result_that_is_gone_is_counted_as_lost(tmp_path: Path) -> None:
    """The storm's own eyes: a registry that forgets must not pass."""
    before = storm_of_records(tmp_path, "working", Wish(1.5, 4), quiet)
    assert before.sound
    acknowledged = {line["id"] for line in Follower(tmp_path / "journals").news() if "id" in line}
    records = sorted((tmp_path / "lab" / ".registry" / "applied").iterdir())
    for path in [path for path in records if json.loads(path.read_bytes())["id"] in acknowledged][:3]:
        path.unlink()

    after = counted(tmp_path, before.what, before.weather)

    assert after.acknowledged == before.acknowledged
    assert after.lost >= 3
    assert not after.sound


def test_a_stage_is_settled_only_while_its_entry_is_that_of_the_newest_attempt() -> None:
    def stored(identity: str, attempt: int) -> dict[str, Any]:
        metrics = {"accuracy": attempt / 100}
        return {
            "experiment": "tuned",
            "stage": "eval",
            "id": identity,
            "attempt": attempt,
            "result": {"metrics": metrics},
        }

    def entry(record: str, accuracy: float) -> dict[str, Any]:
        return {"tuned": {"results": {"eval": {"record": record, "metrics": {"accuracy": accuracy}}}}}

    records = {"b": stored("b", 10), "a": stored("a", 9)}
    assert settled(records, entry("b", 0.1)) == {("tuned", "eval")}
    assert settled(records, entry("a", 0.09)) == set()
    assert settled(records, entry("b", 0.09)) == set()
    assert settled(records, {"tuned": {"results": {"eval": None}}}) == set()
    assert settled(records, {"tuned": {}}) == set()


def test_a_writer_that_dies_by_itself_and_what_a_reader_finds_wrong_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storm, "KILL_EVERY", (0.2, 0.2))  # the first comes once the writer has died

    def writer(number: int, go_on: GoOn) -> None:
        if number == 0:
            (tmp_path / "dies").touch()
            os._exit(1)
        while go_on():
            time.sleep(0.01)

    def once_it_dies(_seconds: float) -> None:
        until((tmp_path / "dies").exists, "the writer dies")

    weather = blow(Wish(0.1, 2), writer, [lambda: lambda: torn(tmp_path / "results.json")], once_it_dies)

    assert weather.broken == 1
    assert weather.sights[0].wrong == weather.sights[0].looks > 0
    assert "FileNotFoundError" in str(weather.sights[0].first)


def test_a_storm_holds_no_more_files_open_the_longer_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm, "KILL_EVERY", (0.0, 0.0))  # as many as the machine can

    def writer(number: int, go_on: GoOn) -> None:
        while go_on():
            time.sleep(0.01)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/dev/null", os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 30, hard))  # each process that is not buried holds two
    try:
        weather = blow(Wish(3.0, 4), writer, [], quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert weather.killed > 15
    assert weather.broken == 0


def test_a_spread_is_the_median_and_the_99th_percentile_and_ratios_are_of_like_with_like() -> None:
    spread = Spread.of([float(i) for i in range(101)])
    assert (spread.p50, spread.p99) == (50.0, 99.0)
    sights = (Sight(10, 0, None), Sight(5, 2, "torn"), Sight(5, 1, "empty"))
    outcome = Outcome("storm", Weather(7, 0, sights), 100, 0, True, 3, Spread(4.0, 30.0), Spread(2.0, 20.0))
    assert outcome.ratios == Spread(2.0, 1.5)
    assert (outcome.reads, outcome.torn, outcome.example, outcome.sound) == (20, 3, "torn", False)


def test_the_times_of_a_small_lab_are_those_of_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold of other than the records it should apply, or a wrong status, would be an error."""
    monkeypatch.setenv("CACHE_DIR", "as it was")
    scale = measure_scale(2, lambda text: None, experiments=20)

    names = [timed.what for timed in scale.times]
    assert {"fold that adds one result", "meds1 status", "meds1 --help"} <= set(names)
    assert all(second > 0 for timed in scale.times for second in timed.seconds)
    assert scale.sizes["results.json"] > 20 * 1_000
    assert os.environ["CACHE_DIR"] == "as it was"


def test_the_command_prints_every_storm_as_json() -> None:
    short = ["--only", "storm", "--seconds", "1", "--rounds", "2", "--writers", "4"]
    done = subprocess.run([*COMMAND, *short], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    data = json.loads(done.stdout)["data"]
    assert [storm["what"].rpartition(" lock ")[2] for storm in data["storms"]] == [*LOCKS, *LOCKS]
    assert all(storm["lost"] == storm["torn_reads"] == 0 and storm["ratio"]["p50"] > 0 for storm in data["storms"])
    assert data["scale"] is None
    assert data["machine"]["cores"] >= 1


def test_a_number_that_makes_no_storm_is_refused() -> None:
    done = subprocess.run([*COMMAND, "--writers", "0"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--writers must be above 0" in done.stderr


def test_no_writer_outlives_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    endless = ["--only", "storm", "--seconds", "600", "--writers", "3"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # nobody clears up after a SIGKILL
    benchmark = psutil.Popen([*COMMAND, *endless], cwd=CHECKOUT, env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(benchmark.children()) >= 4, "there are writers")
    finally:
        orphans = benchmark.children()
        benchmark.kill()
        benchmark.wait()
    try:
        until(lambda: not any(orphan.is_running() for orphan in orphans), "no writer is left")
    finally:
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_the_long_storms_lose_nothing_and_the_figures_are_there() -> None:
    done = subprocess.run(COMMAND, cwd=CHECKOUT, capture_output=True, text=True, check=True)

    data = json.loads(done.stdout)["data"]
    ours = [storm for storm in data["storms"] if storm["save"]]
    assert len(ours) == 9
    assert all(storm["lost"] == storm["torn_reads"] == storm["broken"] == 0 for storm in ours)
    assert all(storm["valid_at_end"] and storm["acknowledged"] > 1_000 for storm in ours)
    assert data["scale"]["bytes"]["results.json"] > 0
