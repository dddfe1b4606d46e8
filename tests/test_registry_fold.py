"""Folding records into `results.json`: what changes, what stays, and what a person is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import registry.fold
from registry.document import render
from registry.errors import StageFailure, UsageError
from registry.fold import FoldReport, rebuild
from registry.history import header_of
from registry.reading import load_record
from registry.records import Record
from registry.store import Registry
from tests.registry_case import base, changed_lines, edit, record, result_in_file, tuned, write_lab


@pytest.fixture
def lab(tmp_path: Path) -> Registry:
    return write_lab(tmp_path, {"tuned": tuned(), "base": base()})


def save(lab: Registry, *records: Record) -> None:
    for one in records:
        lab.save(one)


def text(lab: Registry) -> str:
    return lab.paths.file.read_text(encoding="utf-8")


def test_a_saved_result_is_seen_before_and_after_the_fold(lab: Registry) -> None:
    save(lab, record(accuracy=0.5))
    assert lab.read().document["experiments"]["tuned"]["results"]["eval"]["accuracy"] == 0.5
    assert "results" not in json.loads(text(lab))["experiments"]["tuned"]
    assert lab.fold() == FoldReport(1, None, ())
    assert result_in_file(lab)["accuracy"] == 0.5
    assert os.listdir(lab.paths.inbox) == []


def test_a_second_fold_touches_nothing(lab: Registry) -> None:
    save(lab, record(1, b=1, a=2, metrics={"z": 1, "c": 2}), record(1, "failed", stage="training", error="x"))
    lab.fold()
    files = [lab.paths.file, lab.paths.state]
    before = [(file.read_bytes(), file.stat().st_ino) for file in files]
    assert lab.fold() == FoldReport(0, None, ())
    assert [(file.read_bytes(), file.stat().st_ino) for file in files] == before


def test_a_fold_changes_only_the_lines_of_what_it_adds(lab: Registry) -> None:
    save(lab, record(1, b=1, a=2, metrics={"z": 1, "c": 2}))
    lab.fold()
    before = text(lab)
    save(lab, record(1, stage="training", loss=0.1))
    lab.fold()
    gone, new = changed_lines(before, text(lab))
    assert gone == []
    assert any('"loss": 0.1' in line for line in new)
    assert not any("metrics" in line for line in new)
    before = text(lab)
    save(lab, record(2, "failed", error="out of memory"))
    lab.fold()
    gone, new = changed_lines(before, text(lab))
    assert [f"{line}," in new for line in gone] == [True]  # the comma after what was the last field
    assert any('"last_attempt"' in line for line in new)


def test_the_order_that_a_person_gave_a_results_keys_stays(lab: Registry) -> None:
    save(lab, record(1, b=1, a=2))
    lab.fold()
    document = json.loads(text(lab))
    document["experiments"]["tuned"]["results"]["eval"] = dict(reversed(result_in_file(lab).items()))
    lab.paths.file.write_bytes(render(document))
    before = text(lab)
    lab.fold()
    assert text(lab) == before


def test_the_first_fold_of_a_file_in_another_form_says_so_once(lab: Registry) -> None:
    lab.paths.file.write_text(json.dumps(json.loads(text(lab)), indent=4))
    report = lab.fold()
    assert [warning for warning in report.warnings if "canonical form" in warning] == [
        f"{lab.paths.file}: brought into canonical form (two-space indent) once"
    ]
    assert lab.fold().warnings == ()


def test_a_fold_without_news_leaves_a_canonical_file_alone(lab: Registry) -> None:
    inode = lab.paths.file.stat().st_ino
    assert lab.fold() == FoldReport(0, None, ())
    assert lab.paths.file.stat().st_ino == inode


def test_edits_between_two_folds_survive(lab: Registry) -> None:
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    edit(lab, model_key="other")
    document = json.loads(text(lab))
    document["experiments"]["new"] = {"config": {"model_key": "tiny"}}
    document["$schema"] = "schema.json"
    del document["experiments"]["base"]
    lab.paths.file.write_bytes(render(document))
    save(lab, record(2, accuracy=0.6))
    lab.fold()
    after = json.loads(text(lab))
    assert after["$schema"] == "schema.json"
    assert list(after["experiments"]) == ["tuned", "new"]
    assert after["experiments"]["tuned"]["config"]["model_key"] == "other"
    assert result_in_file(lab)["accuracy"] == 0.6


def test_an_edit_while_the_fold_works_is_not_overwritten(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    save(lab, record(1, accuracy=0.5))
    read, edits = registry.fold.reading, iter(["other"])

    def read_while_someone_edits(*arguments: Any) -> Any:
        found = read(*arguments)
        for key in edits:
            edit(lab, model_key=key)
        return found

    monkeypatch.setattr(registry.fold, "reading", read_while_someone_edits)
    assert lab.fold().skipped is None
    assert json.loads(text(lab))["experiments"]["tuned"]["config"]["model_key"] == "other"
    assert result_in_file(lab)["accuracy"] == 0.5


def test_an_edit_while_the_fold_writes_is_not_overwritten(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    save(lab, record(1, accuracy=0.5))
    flush, edits = os.fsync, iter(["other"])

    def flush_while_someone_edits(file: int) -> None:
        for key in edits:
            edit(lab, model_key=key)
        flush(file)

    monkeypatch.setattr(os, "fsync", flush_while_someone_edits)
    assert lab.fold().skipped is None
    assert json.loads(text(lab))["experiments"]["tuned"]["config"]["model_key"] == "other"
    assert result_in_file(lab)["accuracy"] == 0.5


def test_results_deleted_by_hand_come_back(lab: Registry) -> None:
    save(lab, record(1, accuracy=0.5), record(1, stage="training"))
    lab.fold()
    before = text(lab)
    document = json.loads(before)
    document["experiments"]["tuned"]["results"] = {"eval": None}
    lab.paths.file.write_bytes(render(document))
    lab.fold()
    assert json.loads(text(lab)) == json.loads(before)


def test_an_old_checkout_of_the_file_takes_no_result_away(lab: Registry) -> None:
    old = text(lab)
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    lab.paths.file.write_text(old)
    assert lab.read().document["experiments"]["tuned"]["results"]["eval"]["accuracy"] == 0.5
    lab.fold()
    assert result_in_file(lab)["accuracy"] == 0.5


def test_an_experiment_with_results_comes_back_and_says_so(lab: Registry) -> None:
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    document = json.loads(text(lab))
    removed = document["experiments"].pop("tuned")
    lab.paths.file.write_bytes(render(document))
    assert lab.fold().warnings == (
        "tuned: was gone from the registry but has results; brought back; `meds1 rm` removes",
    )
    assert json.loads(text(lab))["experiments"]["tuned"] == removed
    assert lab.fold().warnings == ()


def test_results_of_an_experiment_that_was_never_there_wait_for_it(lab: Registry) -> None:
    save(lab, record(1, experiment="stranger", accuracy=0.5))
    assert lab.fold().warnings == ("stranger: has results but no entry in the registry; they show once it is added",)
    document = json.loads(text(lab))
    document["experiments"]["stranger"] = base()
    lab.paths.file.write_bytes(render(document))
    lab.fold()
    assert result_in_file(lab, "stranger")["accuracy"] == 0.5


def test_results_of_another_program_are_kept(lab: Registry) -> None:
    document = json.loads(text(lab))
    legacy = {
        "curation": None,
        "training": {"model_path": "ckpts/x", "timestamp": "2025-01-01", "metrics": None},
        "eval": {"outputs_path": "a", "metrics_path": "b", "summary_file": "c", "own": [1]},
    }
    document["experiments"]["tuned"]["results"] = legacy
    lab.paths.file.write_bytes(render(document))
    before = text(lab)
    lab.fold()
    assert text(lab) == before
    save(lab, record(1, stage="curation", rows=5))
    lab.fold()
    results = json.loads(text(lab))["experiments"]["tuned"]["results"]
    assert (results["training"], results["eval"]) == (legacy["training"], legacy["eval"])
    assert results["curation"]["rows"] == 5


@pytest.mark.parametrize("damage", ["cut", "digit", "shape", "gone"])
def test_a_damaged_state_is_rebuilt_from_the_records(lab: Registry, damage: str) -> None:
    save(lab, record(1, accuracy=0.25), record(2, "failed", error="x"))
    lab.fold()
    before, state = text(lab), lab.paths.state.read_text()
    broken = {"cut": state[:-30], "digit": state.replace("0.25", "0.95"), "shape": "[]", "gone": ""}[damage]
    lab.paths.state.write_text(broken)
    assert lab.read().warnings == (f"{lab.paths.state}: damaged; rebuilt from the records",)
    lab.fold()
    assert text(lab) == before
    again, once = (
        [json.loads(line) for line in known.splitlines()[1:]] for known in (lab.paths.state.read_text(), state)
    )
    assert [*again[1:], again[0]["history"]] == [*once[1:], once[0]["history"]]
    assert lab.read().warnings == ()


def test_a_damaged_record_is_named_and_spoils_nothing_else(lab: Registry) -> None:
    save(lab, record(1, accuracy=0.5))
    torn = lab.save(record(2, accuracy=0.9))
    torn.write_bytes(torn.read_bytes()[:-9])
    report = lab.fold()
    assert report.applied == 1
    assert len(report.warnings) == 1
    assert str(torn) in report.warnings[0]
    assert result_in_file(lab)["accuracy"] == 0.5
    assert torn.exists()


def test_a_damaged_record_of_the_archive_is_named_where_it_lies(lab: Registry) -> None:
    one = record(1, accuracy=0.5)
    save(lab, one)
    lab.fold()
    archived = lab.paths.applied / one.file_name
    archived.write_bytes(b"{}")
    with pytest.raises(StageFailure, match=rf"{archived}: .*; restore it from a backup"):
        load_record(lab.paths, "tuned", "eval", header_of(one))
    lab.paths.state.unlink()
    assert [warning for warning in lab.read().warnings if str(archived) in warning]
    assert result_in_file(lab)["accuracy"] == 0.5


def test_reading_works_where_nothing_can_be_written(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    save(lab, record(2, accuracy=0.6))
    folder = lab.paths.file.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system", str(folder))

    for call in ("replace", "rename", "mkdir", "fsync", "chmod"):  # root, as in a container, may write anywhere
        monkeypatch.setattr(os, call, refuse)
    assert lab.read().document["experiments"]["tuned"]["results"]["eval"]["accuracy"] == 0.6
    assert lab.statuses(lab.read(), "base")["eval"].status == "missing"
    report = lab.fold()
    assert report.skipped is not None
    assert "Read-only file system" in report.skipped
    assert {path: path.read_bytes() for path in before} == before


def test_a_lock_that_is_held_leaves_the_records_to_the_next_fold(
    lab: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(lab, record(1, accuracy=0.5))
    before = text(lab)
    monkeypatch.setattr(registry.fold, "LOCK_SECONDS", 0.1)
    with FileLock(lab.paths.lock):
        assert lab.fold() == FoldReport(0, f"{lab.paths.lock} was held for 0.1 s", ())
    assert text(lab) == before
    assert lab.fold().applied == 1


def test_a_file_of_newer_code_is_only_read(lab: Registry) -> None:
    document = json.loads(text(lab))
    lab.paths.file.write_bytes(render({"format": 2, **document}))
    save(lab, record(1, accuracy=0.5))
    before = text(lab)
    assert lab.fold().skipped == f"{lab.paths.file} has a newer format: update the checkout"
    assert text(lab) == before
    assert lab.read().document["experiments"]["tuned"]["results"]["eval"]["accuracy"] == 0.5


def test_a_torn_file_is_named_by_line_and_rebuilt_in_full(lab: Registry) -> None:
    document = json.loads(text(lab))
    lab.paths.file.write_bytes(render({"format": 1, "$schema": "schema.json", **document}))
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    whole = text(lab)
    torn = whole[: len(whole) // 2]
    lab.paths.file.write_text(torn)
    save(lab, record(2, accuracy=0.6))
    with pytest.raises(UsageError, match=rf"{lab.paths.file}: line \d+, column \d+: .*`meds1 rebuild`"):
        lab.read()
    with pytest.raises(UsageError, match="line"):
        lab.fold()
    aside = rebuild(lab.paths).aside
    assert aside is not None
    assert aside.read_text() == torn
    assert result_in_file(lab)["accuracy"] == 0.6
    assert list(json.loads(text(lab))) == ["format", "$schema", "experiments"]
    assert lab.fold().skipped is None
    assert not rebuild(lab.paths).done


def test_a_file_that_is_gone_is_rebuilt_with_the_results_of_other_programs(lab: Registry) -> None:
    legacy = {"training": {"model_path": "ckpts/x", "timestamp": "2025-01-01", "metrics": None}}
    document = json.loads(text(lab))
    document["experiments"]["base"]["results"] = legacy
    lab.paths.file.write_bytes(render(document))
    save(lab, record(1, accuracy=0.5))
    lab.fold()
    before = text(lab)
    lab.paths.file.unlink()
    rebuilt = rebuild(lab.paths)
    assert (rebuilt.done, rebuilt.aside) == (True, None)
    assert json.loads(text(lab)) == json.loads(before)


def test_a_torn_file_without_a_good_state_is_left_to_a_person(lab: Registry) -> None:
    lab.paths.file.write_text("{")
    with pytest.raises(UsageError, match="there is no last good state"):
        rebuild(lab.paths)
    assert text(lab) == "{"
