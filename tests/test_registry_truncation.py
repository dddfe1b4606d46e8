"""Files cut at any byte: a record, `results.json` and `state.json` are named, and never lead to a wrong result."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.document import load_registry
from registry.errors import UsageError
from registry.fold import rebuild
from registry.store import Registry
from tests.faults import memory_folder, without_waiting
from tests.registry_case import edit, entry, record, result_in_file, tuned, write_lab


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


@pytest.fixture
def lab(tmp_path: Path) -> Registry:
    lab = write_lab(tmp_path / "lab")
    lab.save(record(1, accuracy=0.123, text="25 µg"))
    lab.save(record(2, "failed", error="out of memory"))
    lab.fold()
    return lab


def every_cut(file: Path, step: int = 1) -> Iterator[int]:
    """Cut `file` at every `step`-th byte in turn, from its end on; it is whole again at the end."""
    whole = file.read_bytes()
    for end in reversed(range(0, len(whole), step)):
        if file.stat().st_size <= end:  # somebody has mended it
            file.write_bytes(whole)
        os.truncate(file, end)
        yield end
    file.write_bytes(whole)


def test_a_waiting_record_cut_at_any_byte_is_named_and_changes_no_result(lab: Registry) -> None:
    expected = entry(lab)
    waiting = lab.save(record(3, accuracy=0.999))
    for _ in every_cut(waiting):
        view = lab.read()
        assert [str(waiting) in warning for warning in view.warnings] == [True]
        assert view.document["experiments"]["tuned"]["results"]["eval"] == expected
    assert entry(lab)["accuracy"] == 0.999


def test_a_fold_of_a_cut_record_leaves_it_where_it_is(lab: Registry) -> None:
    expected = entry(lab)
    waiting = lab.save(record(3, accuracy=0.999))
    for end in every_cut(waiting, 50):
        assert any(str(waiting) in warning for warning in lab.fold().warnings)
        assert waiting.stat().st_size == end
        assert result_in_file(lab) == expected
    assert lab.fold().warnings == ()
    assert result_in_file(lab)["accuracy"] == 0.999


def test_an_archived_record_cut_at_any_byte_costs_nothing_while_the_state_is_there(lab: Registry) -> None:
    expected = entry(lab)
    (archived,) = lab.paths.applied.glob("*~completed~*")
    for _ in every_cut(archived, 7):
        assert entry(lab) == expected
        assert lab.fold().skipped is None
        assert result_in_file(lab) == expected


def test_an_archived_record_that_is_cut_is_named_where_the_state_is_lost_too(lab: Registry) -> None:
    expected = entry(lab)
    (archived,) = lab.paths.applied.glob("*~completed~*")
    state = lab.paths.state.read_bytes()
    for _ in every_cut(archived, 7):
        lab.paths.state.unlink()
        view = lab.read()
        assert any(str(archived) in warning for warning in view.warnings)
        assert view.document["experiments"]["tuned"]["results"]["eval"].get("accuracy") in (None, 0.123)
        lab.paths.state.write_bytes(state)
    assert entry(lab) == expected


def test_a_state_cut_at_any_byte_is_rebuilt_and_says_so(lab: Registry) -> None:
    lab.save(record(3, stage="training", loss=0.1))
    expected = lab.read().document
    file, history = lab.paths.file.read_bytes(), lab.read().state.history
    for _ in every_cut(lab.paths.state):
        view = lab.read()
        assert view.warnings == (f"{lab.paths.state}: damaged; rebuilt from the records",)
        assert view.document == expected
        assert view.state.history == history
    for _ in every_cut(lab.paths.state, 100):
        lab.fold()
        assert lab.read().warnings == ()
        assert json.loads(lab.paths.file.read_bytes()) == expected
        lab.paths.file.write_bytes(file)


def test_a_registry_cut_at_any_byte_is_refused_by_line_and_column(lab: Registry) -> None:
    lab.save(record(3, stage="training", loss=0.1))
    expected = lab.read().document
    for end in every_cut(lab.paths.file):
        before = lab.paths.file.read_bytes()
        if before.count(b"{") == before.count(b"}") > 0:  # all but the newline at the end is there
            assert lab.read().document == expected
            continue
        with pytest.raises(UsageError) as refused:
            load_registry(lab.paths.file)
        message = str(refused.value)
        assert str(lab.paths.file) in message
        assert "meds1 rebuild" in message or "not UTF-8 at byte" in message
        assert "\n" not in message
        assert "line " in message or end == 0 or "not UTF-8 at byte" in message
    for _ in every_cut(lab.paths.file, 100):
        before = lab.paths.file.read_bytes()
        with pytest.raises(UsageError):
            lab.fold()
        assert lab.paths.file.read_bytes() == before


def test_a_registry_cut_anywhere_is_rebuilt_in_full(lab: Registry) -> None:
    edit(lab, model_key="édité")
    lab.fold()
    lab.save(record(3, stage="training", loss=0.1))
    expected = lab.read().document
    for _ in every_cut(lab.paths.file, 40):
        torn = lab.paths.file.read_bytes()
        rebuilt = rebuild(lab.paths)
        assert rebuilt.done
        assert rebuilt.aside is not None
        assert rebuilt.aside.read_bytes() == torn
        assert json.loads(lab.paths.file.read_bytes()) == expected
        assert lab.fold().skipped is None
        assert json.loads(lab.paths.file.read_bytes()) == expected


def test_a_large_registry_cut_at_every_percent_is_rebuilt_in_full(tmp_path: Path) -> None:
    lab = write_lab(tmp_path / "lab", {f"tuned-{number}": tuned(model_key="µ") for number in range(200)})
    for number in range(0, 200, 4):
        lab.save(record(1, experiment=f"tuned-{number}", accuracy=number / 200))
    lab.fold()
    expected = json.loads(lab.paths.file.read_bytes())
    step = max(1, lab.paths.file.stat().st_size // 100)
    for _ in every_cut(lab.paths.file, step):
        with pytest.raises(UsageError):
            lab.read()
        assert rebuild(lab.paths).done
        assert json.loads(lab.paths.file.read_bytes()) == expected


def test_with_the_registry_and_its_state_both_cut_nothing_is_overwritten(lab: Registry) -> None:
    torn = lab.paths.file.read_bytes()[:-30]
    for _ in every_cut(lab.paths.state, 50):
        lab.paths.file.write_bytes(torn)
        with pytest.raises(UsageError, match="there is no last good state"):
            rebuild(lab.paths)
        assert lab.paths.file.read_bytes() == torn
