"""Only a checkpoint that all ranks have finished is resumed from."""

from pathlib import Path

import pytest

from train.checkpoints import MANIFEST, checkpoint_folder, find_newest, write_manifest


def make_checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "shards").mkdir(parents=True)
    (path / "shards" / "0.distcp").write_bytes(b"x" * step)
    (path / "trainer_state.json").write_text("{}")
    write_manifest(path, step)
    return path


def test_no_folder_and_an_empty_folder_have_none(tmp_path: Path) -> None:
    assert find_newest(tmp_path / "absent").newest is None
    assert find_newest(tmp_path).newest is None


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (900, 1000, 20):
        make_checkpoint(tmp_path, step)
    newest = find_newest(tmp_path).newest
    assert newest is not None
    assert (newest.step, newest.path.name) == (1000, "checkpoint-1000")


def cut_before_the_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def cut_within_the_manifest(path: Path) -> None:
    (path / MANIFEST).rename(path / f"{MANIFEST}.tmp")


def lose_a_file(path: Path) -> None:
    (path / "trainer_state.json").unlink()


def shorten_a_shard(path: Path) -> None:
    (path / "shards" / "0.distcp").write_bytes(b"x")


@pytest.mark.parametrize("damage", [cut_before_the_manifest, cut_within_the_manifest, lose_a_file, shorten_a_shard])
def test_a_damaged_newest_is_passed_over_and_named(tmp_path: Path, damage: object) -> None:
    make_checkpoint(tmp_path, 5)
    make_checkpoint(tmp_path, 10)
    damaged = make_checkpoint(tmp_path, 15)
    assert callable(damage)
    damage(damaged)
    found = find_newest(tmp_path)
    assert found.newest is not None
    assert found.newest.step == 10
    assert [path for path, _ in found.incomplete] == [damaged]


def test_sharded_and_whole_checkpoints_lie_apart(tmp_path: Path) -> None:
    assert checkpoint_folder(tmp_path, 2) == checkpoint_folder(tmp_path, 8) != checkpoint_folder(tmp_path, 1)
