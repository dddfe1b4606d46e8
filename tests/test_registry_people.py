"""People at `results.json` while results arrive: old buffers, two at once, one key, a checkout of an older file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.document import render
from registry.edits import add_note, change_tags
from registry.errors import StageFailure
from registry.paths import attempt_dir, records_in
from registry.records import save_record
from registry.schema import STAGES
from registry.store import Registry
from tests.faults import dying_at, in_child, memory_folder, without_waiting
from tests.registry_case import base, changed_lines, edit, entry, record, result_in_file, tuned, write_lab


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    without_waiting(monkeypatch)
    lab = write_lab(tmp_path / "lab", {"tuned": tuned(), "base": base(), "other": tuned()})
    lab.fold()
    return lab


def config(lab: Registry, name: str) -> dict[str, Any]:
    """An experiment's config as the file has it."""
    found: dict[str, Any] = json.loads(lab.paths.file.read_text(encoding="utf-8"))["experiments"][name]["config"]
    return found


def save_buffer(lab: Registry, buffer: str, name: str, **changes: Any) -> None:
    """What an editor does that was opened when the file was `buffer`: it writes all of it, with its own edit."""
    document = json.loads(buffer)
    document["experiments"][name]["config"].update(changes)
    lab.paths.file.write_bytes(render(document))


def result_arrives(lab: Registry, attempt: int, **result: Any) -> None:
    lab.save(record(attempt, **result))
    assert lab.fold().skipped is None


def test_an_editor_that_saves_an_old_buffer_over_three_fresh_results_takes_none_away(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    for number, stage in enumerate(STAGES, 1):
        lab.save(record(number, stage=stage, value=number))
        lab.fold()
    save_buffer(lab, buffer, "tuned", model_key="edited")
    assert [entry(lab, stage)["value"] for stage in STAGES] == [1, 2, 3]
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    assert [result_in_file(lab, stage=stage)["value"] for stage in STAGES] == [1, 2, 3]
    assert config(lab, "tuned")["model_key"] == "edited"


def test_two_people_who_edit_two_configs_from_one_buffer_both_keep_their_edit(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    save_buffer(lab, buffer, "tuned", model_key="from A")
    result_arrives(lab, 1, accuracy=0.1)
    save_buffer(lab, buffer, "other", model_key="from B")
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    assert (config(lab, "tuned")["model_key"], config(lab, "other")["model_key"]) == ("from A", "from B")
    assert result_in_file(lab)["accuracy"] == 0.1


def test_two_people_who_edit_two_keys_of_one_config_both_keep_their_edit(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    save_buffer(lab, buffer, "tuned", model_key="from A")
    result_arrives(lab, 1, accuracy=0.1)
    save_buffer(lab, buffer, "tuned", prompting="step")
    lab.fold()
    assert (config(lab, "tuned")["model_key"], config(lab, "tuned")["prompting"]) == ("from A", "step")


def test_of_two_edits_of_one_key_the_files_stands_and_both_values_and_authors_are_named(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    save_buffer(lab, buffer, "tuned", model_key="from A")
    result_arrives(lab, 1, accuracy=0.1)
    save_buffer(lab, buffer, "tuned", model_key="from B")
    if os.geteuid() == 0:
        os.chown(lab.paths.file, 54301, -1)
    (warning,) = lab.fold().warnings
    assert config(lab, "tuned")["model_key"] == "from B"
    for part in ("experiments.tuned.config.model_key", '"from A"', '"from B"'):
        assert part in warning
    if os.geteuid() == 0:
        assert "root" in warning
        assert "54301" in warning
    assert lab.fold().warnings == ()


def test_an_experiment_that_one_added_stays_when_another_saves_an_old_buffer(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    document = json.loads(buffer)
    document["experiments"]["new"] = base()
    lab.paths.file.write_bytes(render(document))
    result_arrives(lab, 1, accuracy=0.1)
    save_buffer(lab, buffer, "tuned", model_key="from B")
    lab.fold()
    assert list(json.loads(lab.paths.file.read_bytes())["experiments"]) == ["tuned", "base", "other", "new"]
    assert config(lab, "tuned")["model_key"] == "from B"


def test_notes_and_tags_of_commands_outlive_an_editors_old_buffer(lab: Registry) -> None:
    buffer = lab.paths.file.read_text()
    add_note(lab, "tuned", "too good to be true")
    change_tags(lab, ["tuned"], ["suspicious"], [])
    result_arrives(lab, 1, accuracy=0.1)
    save_buffer(lab, buffer, "tuned", model_key="from B")
    lab.fold()
    body = json.loads(lab.paths.file.read_bytes())["experiments"]["tuned"]
    assert [note["text"] for note in body["notes"]] == ["too good to be true"]
    assert body["tags"] == ["suspicious"]
    assert body["config"]["model_key"] == "from B"


def test_a_note_is_there_once_wherever_the_fold_that_brings_it_dies(lab: Registry, tmp_path: Path) -> None:
    for moment in range(1, 1_000):
        copy = write_lab(tmp_path / str(moment))
        copy.fold()
        code = in_child(lambda copy=copy: add_note(copy, "tuned", "seen"), dying_at(moment))  # type: ignore[misc]
        copy.fold()
        body = json.loads(copy.paths.file.read_bytes())["experiments"]["tuned"]
        texts = [note["text"] for note in body.get("notes", [])]
        saved = [change["by"] for change in copy.read().state.edits.get("tuned", [])]
        assert (texts, saved) in ((["seen"], ["command"]), ([], [])), f"moment {moment}"
        if code == 0:
            assert texts == ["seen"]
            return
    raise AssertionError("the command does not end")


WRITTEN_BY_HAND = """{
  "experiments": {
    "tuned": {
      "description": "25 µg of Müller's β-blocker, 中文",
      "tags": [],
      "config": {
        "model_key": "tiny",
        "datasets": {
          "curate": "train",
          "eval": "exam"
        },
        "curation": {
          "method": "random",
          "n_samples": 10,
          "perturbation": {}
        },
        "training_params": {
          "learning_rate": 1e-5,
          "weight_decay": 1.50,
          "num_epochs": 2,
          "min_lr": 5E-06,
          "decay": 5e-06,
          "scale": 1E+2,
          "zero": -0.0,
          "large": 123456789012345678901234567890,
          "exact": 0.1000000000000000055511151231257827
        }
      },
      "results": {
        "training": {
          "model_path": "ckpts/µ",
          "loss": 1.0e-3,
          "metrics": null
        }
      }
    },
    "base": {
      "config": {
        "model_key": "tiny",
        "datasets": {
          "eval": "exam"
        }
      }
    }
  }
}
"""


def test_a_fold_that_adds_one_result_changes_no_other_line_however_people_write_theirs(lab: Registry) -> None:
    lab.paths.file.write_text(WRITTEN_BY_HAND, encoding="utf-8")
    (warning,) = lab.fold().warnings
    assert "deleted by hand: other" in warning
    assert lab.paths.file.read_text(encoding="utf-8") == WRITTEN_BY_HAND
    lab.save(record(1, accuracy=1e-5, text="µ"))
    report = lab.fold()
    assert (report.applied, report.warnings) == (1, ())
    after = lab.paths.file.read_text(encoding="utf-8")
    gone, new = changed_lines(WRITTEN_BY_HAND, after)
    assert {line.strip() for line in gone} <= {"}"}  # it gets a comma, because "eval" follows
    assert '        "eval": {' in new
    before = after
    lab.save(record(1, experiment="base", accuracy=0.5))
    lab.fold()
    gone, new = changed_lines(before, lab.paths.file.read_text(encoding="utf-8"))
    assert {line.strip() for line in gone} <= {"}"}
    assert '            "accuracy": 0.5,' in [f"  {line}" for line in new]


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_git_checkout_of_an_older_file_takes_no_result_away(lab: Registry) -> None:
    folder = lab.paths.file.parent
    (folder / ".gitignore").write_text(".registry/\n")
    _git(folder, "init", "-q")
    _git(folder, "add", "results.json", ".gitignore")
    _git(folder, "commit", "-q", "-m", "before any result")
    result_arrives(lab, 1, accuracy=0.1)
    edit(lab, model_key="edited")
    document = json.loads(lab.paths.file.read_bytes())
    document["experiments"]["new"] = base()
    lab.paths.file.write_bytes(render(document))
    lab.fold()
    lab.save(record(1, experiment="new", accuracy=0.2))
    lab.fold()
    _git(folder, "commit", "-q", "-a", "-m", "with results")
    _git(folder, "checkout", "-q", "HEAD~1", "--", "results.json")
    assert "results" not in json.loads(lab.paths.file.read_bytes())["experiments"]["tuned"]
    assert entry(lab)["accuracy"] == 0.1
    assert entry(lab, name="new")["accuracy"] == 0.2
    assert lab.fold().skipped is None
    assert result_in_file(lab)["accuracy"] == 0.1
    assert result_in_file(lab, "new")["accuracy"] == 0.2
    assert config(lab, "tuned")["model_key"] == "tiny"
    _git(folder, "checkout", "-q", "HEAD", "--", "results.json")
    lab.fold()
    assert config(lab, "tuned")["model_key"] == "edited"
    assert result_in_file(lab)["accuracy"] == 0.1


def test_a_record_that_the_registry_cannot_take_is_kept_with_its_run_and_found_by_the_fold(
    lab: Registry, tmp_path: Path
) -> None:
    run_dir = tmp_path / "runs" / "tuned"
    lab.save(record(7, "intent", run_dir=str(run_dir)))
    lab.fold()
    kept = records_in(attempt_dir(run_dir, 7))
    lab.paths.inbox.rmdir()
    lab.paths.inbox.write_text("in the way")
    with pytest.raises(StageFailure, match=rf"^tuned: .* could not be saved in {lab.paths.inbox}: .*kept in {kept}"):
        save_record(record(7, accuracy=0.7), lab.paths.inbox, kept)
    assert len(list(kept.iterdir())) == 1
    lab.paths.inbox.unlink()
    assert entry(lab)["accuracy"] == 0.7
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    assert result_in_file(lab)["accuracy"] == 0.7
    assert list(kept.iterdir()) == []
    assert len(list(lab.paths.applied.glob("tuned~eval~00007-000~completed~*"))) == 1
    assert lab.fold().applied == 0


def test_a_record_that_is_nowhere_to_be_saved_names_both_folders(lab: Registry, tmp_path: Path) -> None:
    for folder in (lab.paths.inbox, tmp_path / "kept"):
        folder.parent.mkdir(exist_ok=True)
        if folder.exists():
            folder.rmdir()
        folder.write_text("in the way")
    with pytest.raises(StageFailure) as failure:
        save_record(record(7, accuracy=0.7), lab.paths.inbox, tmp_path / "kept")
    assert str(lab.paths.inbox) in str(failure.value)
    assert str(tmp_path / "kept") in str(failure.value)
