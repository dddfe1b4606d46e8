"""Where a training is watched: TensorBoard, or Weights & Biases offline; each goes on where a stop has left it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import EXIT_MISSING, StageStopped
from registry.stage import StageOutput
from tests.training_case import ROOT, Case, curve, has_checkpoint, make_case
from train.checkpoints import MANIFEST, checkpoint_folder, find_newest
from train.stage import run

TRACK = """
import json, sys
from pathlib import Path
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error
from registry.stage import StageContext
from train.trackers import tracking
case = Path(sys.argv[1])
config = EffectiveConfig.model_validate(json.loads(case.read_text())["config"])
try:
    with tracking(StageContext(config, case.parent, case.parent, case.parent), {"method": "sft"}, 0):
        print("the tracker is there")
except Meds1Error as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
KEY = "0123456789abcdef0123456789abcdef01234567"


def stop_after_a_checkpoint(case: Case, step: int) -> None:
    """Begin the training; ask it to stop once the checkpoint of `step` is there."""
    context = case.context()

    def watch() -> None:
        while not has_checkpoint(case, 1, after=step - 1):
            time.sleep(0.005)
        context.stop.handle(signal.SIGTERM, None)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(StageStopped):
        run(context)
    watcher.join()


def lose_the_newest_checkpoint(case: Case) -> int:
    """As if it was cut short; return the step that is resumed from."""
    folder = checkpoint_folder(case.run_dir, 1)
    newest = find_newest(folder).newest
    assert newest is not None
    (newest.path / MANIFEST).unlink()
    before = find_newest(folder).newest
    assert before is not None
    assert before.step < newest.step
    return before.step


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput, int]:
    """A training that was stopped, then lost its last steps; and the step that it was resumed from."""
    case = make_case(tmp_path_factory.mktemp("tensorboard"), num_epochs=11)
    stop_after_a_checkpoint(case, 8)
    step = lose_the_newest_checkpoint(case)
    return case, run(case.context()), step


@pytest.fixture(scope="module")
def wandb(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput]:
    """A training that was stopped and resumed."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WANDB_PROJECT", "med-s1-tests")
        case = make_case(tmp_path_factory.mktemp("wandb"), num_epochs=10)
        stop_after_a_checkpoint(case, 4)
        return case, run(case.context())


class TestTensorBoard:
    def test_every_step_is_shown_once_with_what_the_log_holds(self, tensorboard: tuple[Case, StageOutput, int]) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        case, output, _ = tensorboard
        shown = EventAccumulator(str(case.run_dir / "tensorboard"))
        shown.Reload()
        rows = curve(output.artifacts)
        for name, column in {"train/loss": "loss", "train/tokens": "tokens", "eval/loss": "eval_loss"}.items():
            logged = [(row["step"], row[column]) for row in rows if row[column] is not None]
            seen = shown.Scalars(name)
            assert [event.step for event in seen] == [step for step, _ in logged]
            assert [event.value for event in seen] == pytest.approx([value for _, value in logged], rel=1e-6)

    def test_the_log_is_whole_and_counts_over_both_attempts(self, tensorboard: tuple[Case, StageOutput, int]) -> None:
        _, output, step = tensorboard
        rows, metrics = curve(output.artifacts), output.metrics
        assert [row["step"] for row in rows] == list(range(1, 45))
        assert [row["attempt"] for row in rows] == [1] * step + [2] * (44 - step)
        assert (metrics["attempts"], metrics["steps_this_attempt"]) == (2, 44 - step)
        assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
        assert metrics["seconds"] >= rows[-1]["seconds"]
        assert rows[-1]["tokens"] == metrics["tokens"] == 11 * metrics["tokens_per_epoch"]

    def test_a_training_from_the_start_shows_nothing_of_an_earlier_one(self, tmp_path: Path) -> None:
        case = make_case(tmp_path, rows=8, num_epochs=1)
        stale = case.run_dir / "tensorboard" / "events.out.tfevents.1.host.1.0"
        stale.parent.mkdir()
        stale.touch()
        run(case.context())
        assert not stale.exists()
        assert any(stale.parent.iterdir())


class TestWandb:
    def test_both_attempts_are_one_run(self, wandb: tuple[Case, StageOutput]) -> None:
        case, output = wandb
        runs = [next(record.run for record in attempt if record.run.run_id) for attempt in attempts(case)]
        assert len(runs) == 2
        assert len({run.run_id for run in runs}) == 1
        for one in runs:
            assert (one.display_name, one.run_group, one.project) == ("tiny", "tiny", "med-s1-tests")
            assert list(one.tags) == ["sft", "all"]
        steps = [
            row["train/global_step"] for attempt in attempts(case) for row in history(attempt) if "train/loss" in row
        ]
        assert steps == [row["step"] for row in curve(output.artifacts)] == list(range(1, 41))

    def test_it_has_the_resolved_values_and_the_log(self, wandb: tuple[Case, StageOutput]) -> None:
        case, output = wandb
        first, last = attempts(case)
        settings = {
            item.key: json.loads(item.value_json)
            for record in first
            for item in [*record.run.config.update, *record.config.update]
        }
        assert settings["experiment"] == "tiny"
        assert settings["training"] == output.metrics["resolved"]
        shown = {row["train/global_step"]: row["train/loss"] for row in history(last) if "train/loss" in row}
        assert shown == {row["step"]: row["loss"] for row in curve(output.artifacts) if row["attempt"] == 2}
        assert [row["eval/loss"] for row in history(last) if "eval/loss" in row][-1] == output.metrics[
            "validation_loss"
        ]

    def test_a_stop_is_told_from_an_end(self, wandb: tuple[Case, StageOutput]) -> None:
        case, _ = wandb
        first, last = attempts(case)
        assert [any(record.HasField("preempting") for record in attempt) for attempt in (first, last)] == [True, False]
        assert [record.exit.exit_code for record in last if record.HasField("exit")] == [0]

    def test_training_again_is_another_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_PROJECT", "med-s1-tests")
        case = make_case(tmp_path, rows=8, num_epochs=1)
        run(case.context())
        run(case.context())
        assert len({path.name.rpartition("-")[2] for path in run_folders(case)}) == 2
        assert not (case.run_dir / "tensorboard").exists()

    @pytest.mark.parametrize(("key", "why"), [("", "No API key configured"), (KEY, "")])
    def test_without_an_account_or_a_server_it_ends_in_one_line(self, tmp_path: Path, key: str, why: str) -> None:
        case = make_case(tmp_path, rows=8, num_epochs=1)
        online = {"WANDB_PROJECT": "p", "WANDB_MODE": "online", "WANDB_INIT_TIMEOUT": "2", "WANDB_API_KEY": key}
        elsewhere = {"HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}
        done = subprocess.run(
            [sys.executable, "-c", TRACK, str(case.file)],
            env={**os.environ, **online, **elsewhere},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == EXIT_MISSING, done.stderr
        said = next(line for line in done.stderr.splitlines() if line.startswith("tiny: "))
        assert said.startswith(f"tiny: WANDB_PROJECT is set, but Weights & Biases cannot be used ({why}")
        assert said.endswith("; run `wandb login`, set WANDB_MODE=offline or unset WANDB_PROJECT")
        assert KEY not in done.stdout + done.stderr


def run_folders(case: Case) -> list[Path]:
    """Where wandb has kept each attempt, in their order."""
    return sorted(case.run_dir.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_ctime)


def attempts(case: Case) -> list[list[Any]]:
    """What wandb would send to its server, for each attempt."""
    return [list(records(next(folder.glob("run-*.wandb")))) for folder in run_folders(case)]


def history(attempt: list[Any]) -> Iterator[dict[str, Any]]:
    """The rows that were logged."""
    for record in attempt:
        if record.history.item:
            yield {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}


def records(file: Path) -> Iterator[Any]:
    """The records of wandb's file: LevelDB's log format (blocks of 32 KiB) behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768  # a block's rest that no header fits in
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""
