"""What goes wrong under a training: full disks, processes killed while saving, damaged files, losses that are none."""

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import DatasetDict, load_from_disk

from registry.errors import EXIT_FAILED, StageFailure
from registry.stage import StageOutput
from tests import training_case
from tests.test_train_fsdp import ranks_of
from tests.training_case import Case, conversation, has_checkpoint, losses, make_case, start, wait_for
from train.checkpoints import CHECKED_BYTES, MANIFEST, checkpoint_folder, find_newest
from train.stage import run
from train.task import prepare

SHORT = {"num_epochs": 3}  # 12 steps, a checkpoint after every fourth
# Runs a case as `tests/training_case.py` does, and dies of SIGKILL at the nth call that names a part of one checkpoint.
DYING = """
import os, runpy, signal, sys
program, case, folder, moment = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
seen = 0

def hook(event, arguments):
    global seen
    if event.split(".")[0] in ("open", "os", "shutil") and any(folder in str(each) for each in arguments[:2]):
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.argv = [program, case]
runpy.run_path(program, run_name="__main__")
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StageOutput:
    return run(make_case(tmp_path_factory.mktemp("undisturbed"), **SHORT).context())


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """Bytes of a checkpoint and of the model."""
    case = make_case(tmp_path_factory.mktemp("sizes"), num_epochs=1, time_budget="0:00:00")
    with pytest.raises(Exception, match="its time budget is used up"):
        run(case.context())
    newest = newest_of(case)
    assert newest is not None
    return size_of(newest), size_of(Path(str(case.config.model.file_path)))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def newest_of(case: Case, processes: int = 1) -> Path | None:
    newest = find_newest(checkpoint_folder(case.run_dir, processes)).newest
    return newest.path if newest else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that mounts a disk of so many bytes, or gives it another size."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")

    def resize(size: int) -> Path:
        again = "remount," if os.path.ismount(folder) else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "none", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
        return folder

    yield resize
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on(disk: Path, case: Case) -> Case:
    """The case with its run directory on another disk."""
    run_dir = disk / "run"
    run_dir.mkdir()
    moved = replace(case, run_dir=run_dir)
    shutil.copy(case.file, moved.file)
    return moved


@pytest.mark.parametrize("fits", [1.1, 1.6, 1.97])
def test_a_disk_that_is_full_while_saving_leaves_the_old_checkpoint(
    fits: float, tmp_path: Path, small_disk: Callable[[int], Path], sizes: tuple[int, int], undisturbed: StageOutput
) -> None:
    """The second checkpoint does not fit: not its weights, not its optimizer's state, not the small files after it."""
    case = on(small_disk(int(fits * sizes[0])), make_case(tmp_path, **SHORT))
    with pytest.raises(StageFailure, match="tiny: checkpoint-8 could not be saved in ") as raised:
        run(case.context())
    message = str(raised.value)
    assert f"saved in {checkpoint_folder(case.run_dir, 1)}: " in message
    assert "GiB were free); free space there and run again" in message
    assert "\n" not in message
    assert [path.name for path in checkpoint_folder(case.run_dir, 1).glob("checkpoint-*")] == ["checkpoint-4"]

    small_disk(10 * sizes[0])
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] == 8
    assert losses(output.artifacts) == losses(undisturbed.artifacts)


def test_a_disk_that_is_full_when_the_model_is_saved_leaves_the_last_checkpoint(
    tmp_path: Path, small_disk: Callable[[int], Path], sizes: tuple[int, int]
) -> None:
    checkpoint, model = sizes
    case = on(small_disk(checkpoint + model // 2), make_case(tmp_path, num_epochs=1))
    with pytest.raises(StageFailure, match=f"tiny: the model could not be saved in {case.run_dir}: "):
        run(case.context())
    assert not any("model" in path.name for path in case.run_dir.iterdir())
    assert newest_of(case) is not None

    small_disk(10 * checkpoint)
    output = run(case.context())
    assert output.metrics["steps_this_attempt"] == 0
    assert (case.run_dir / "model" / "model.safetensors").is_file()


def test_two_ranks_say_alike_that_the_disk_is_full(
    tmp_path: Path, small_disk: Callable[[int], Path], sizes: tuple[int, int]
) -> None:
    case = on(small_disk(int(1.5 * sizes[0])), make_case(tmp_path, **SHORT))
    launcher = start(case, processes=2)
    _, errors = launcher.communicate(timeout=300)
    assert errors.count("StageFailure: tiny: checkpoint-8 could not be saved in") == 2, errors[-4000:]
    newest = newest_of(case, 2)
    assert newest is not None
    assert newest.name == "checkpoint-4"


MOMENTS = [1, 9, *(pytest.param(moment, marks=pytest.mark.full) for moment in (2, 3, 5, 7, 11, 13, 16, 20, 24, 28, 32))]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_is_killed_while_it_saves_loses_no_more_than_this_checkpoint(
    moment: int, tmp_path: Path, undisturbed: StageOutput
) -> None:
    case = make_case(tmp_path, **SHORT)
    program = [sys.executable, "-c", DYING, training_case.__file__, str(case.file), "whole/checkpoint-8", str(moment)]
    died = subprocess.run(program, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    newest = newest_of(case)
    assert newest is not None
    assert newest.name in ("checkpoint-4", "checkpoint-8")  # 8: it was killed after the manifest was written
    output = run(case.context())
    assert losses(output.artifacts) == losses(undisturbed.artifacts)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A training with two checkpoints, which was stopped after its second epoch."""
    case = make_case(tmp_path_factory.mktemp("saved"), num_epochs=2)
    process = start(case)
    wait_for(lambda: has_checkpoint(case, 1, after=7), process)
    process.kill()
    process.communicate()
    return case


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, empty, flip, Path.unlink])
def test_a_checkpoint_with_any_file_damaged_is_passed_over(
    damage: Callable[[Path], None], saved: Case, tmp_path: Path
) -> None:
    folder = checkpoint_folder(saved.run_dir, 1)
    names = [path.name for path in (folder / "checkpoint-8").iterdir()]
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", MANIFEST} <= {
        *names
    }
    for name in names:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        file = copy / "checkpoint-8" / name
        if damage is flip and file.stat().st_size > CHECKED_BYTES:
            continue
        damage(file)
        found = find_newest(copy)
        assert found.newest is not None
        assert found.newest.step == 4, name
        ((path, defect),) = found.incomplete
        assert path.name == "checkpoint-8"
        assert name in defect or name == MANIFEST


def test_a_checkpoint_of_another_number_of_processes_is_named_and_not_taken(
    saved: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = make_case(tmp_path, num_epochs=0.25)
    shutil.copytree(checkpoint_folder(saved.run_dir, 1), checkpoint_folder(case.run_dir, 2))
    assert run(case.context()).metrics["steps_this_attempt"] == 1
    assert "checkpoint-8 was saved by several processes, and 1 cannot resume from it" in capfd.readouterr().err


def poisoned(case: Case, number: int) -> Case:
    """The case with a token in one row whose embedding is no number."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(case.config.model.file_path)
    model = AutoModelForCausalLM.from_pretrained(path)
    (token,) = AutoTokenizer.from_pretrained(path)("~", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = math.nan
    model.save_pretrained(path)
    splits = load_from_disk(str(case.dataset))
    row = conversation(number)
    row["prompt"][0]["content"] += "~"
    train = splits["train"].map(lambda one: row if one["id"] == row["id"] else one)
    dataset = case.run_dir.parent / "poisoned"
    DatasetDict({**splits, "train": train}).save_to_disk(str(dataset))
    changed = replace(case, dataset=dataset)
    case.file.write_text(case.file.read_text().replace(str(case.dataset), str(dataset)))
    return changed


def step_of(case: Case, number: int) -> int:
    """The optimizer step that reads the row first."""
    layout = prepare(case.context()).layout
    place = next(at for at, element in enumerate(layout.elements[0]) if number in element)
    return 1 + place // (layout.accumulation * layout.per_device)


def test_a_loss_that_is_no_number_stops_the_run_with_the_row_that_it_comes_from(tmp_path: Path) -> None:
    case = poisoned(make_case(tmp_path, per_device_batch_size=1), 13)
    message = rf"tiny: the training loss is nan at step {step_of(case, 13)}, in these of its rows: row13; look at"
    with pytest.raises(StageFailure, match=message):
        run(case.context())
    assert newest_of(case) is None


def test_packed_rows_are_named_together(tmp_path: Path) -> None:
    case = make_case(tmp_path, packing=True)
    number = prepare(case.context()).layout.elements[0][0][0]  # of the first step, which has several sequences
    case = poisoned(case, number)
    with pytest.raises(StageFailure, match=rf"at step 1, in these of its rows: .*row{number}\b") as raised:
        run(case.context())
    (together,) = [element for element in prepare(case.context()).layout.elements[0] if number in element]
    named = str(raised.value).split("rows: ")[1].split(";")[0].split(", ")
    assert sorted(named) == sorted(f"row{row}" for row in together)


def test_two_ranks_stop_together_at_a_loss_of_one_of_them(tmp_path: Path) -> None:
    case = poisoned(make_case(tmp_path, per_device_batch_size=1), 13)
    launcher = start(case, processes=2)
    _, errors = launcher.communicate(timeout=300)
    assert errors.count("StageFailure: tiny: the training loss is nan at step") == 2, errors[-4000:]
    assert errors.count("in these of its rows: row13;") == 2


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path) -> None:
    case = make_case(tmp_path, learning_rate=1e38, checkpoints_per_epoch=4, warmup_ratio=0.5)
    with pytest.raises(StageFailure, match=r"tiny: .*lower training_params.learning_rate"):
        run(case.context())
    from safetensors.torch import load_file

    kept = newest_of(case)
    assert kept is not None
    assert all(bool(weight.isfinite().all()) for weight in load_file(kept / "model.safetensors").values())
    assert not (case.run_dir / "model").exists()


def test_a_rank_that_dies_ends_the_others_and_is_named(tmp_path: Path) -> None:
    case = make_case(tmp_path, num_epochs=40)
    launcher = start(case, processes=2)
    wait_for(lambda: has_checkpoint(case, 2), launcher)
    first, second = ranks_of(launcher)
    second.kill()
    _, errors = launcher.communicate(timeout=60)  # more than the issue allows would be an error of this test
    assert launcher.returncode == EXIT_FAILED
    assert not first.is_running()
    assert f"exitcode  : -9 (pid: {second.pid})" in errors, errors[-4000:]
    assert newest_of(case, 2) is not None
