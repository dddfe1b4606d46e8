"""What a power failure leaves: at every call of a save, a fold and a rebuild, whatever was not made durable is lost."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.document import load_registry
from registry.errors import MissingError, UsageError
from registry.fold import rebuild
from registry.paths import RegistryPaths
from registry.records import claim_attempt
from registry.store import Registry
from tests.faults import intercepted, memory_folder, without_waiting
from tests.power_loss import Disk, Keep, Recorder
from tests.registry_case import edit, record, result_in_file, write_lab


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from memory_folder()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)


RECORDS = {
    "training 1": record(1, stage="training", loss=0.1),
    "eval 1": record(1, accuracy=0.1),
    "eval 2": record(2, accuracy=0.2),
    "eval 3": record(3, "failed", error="out of memory"),
}


def _some(seed: int) -> Keep:
    draw = random.Random(seed)
    return (
        f"some ({seed})",
        lambda seen, durable: seen if draw.random() < 0.5 else durable,
        lambda _: draw.random() < 0.5,
    )


KEEPS: tuple[Keep, ...] = (
    ("nothing", lambda seen, durable: durable, lambda _: False),
    ("names", lambda seen, durable: durable, lambda _: True),
    ("cut data", lambda seen, durable: seen if seen == durable else seen[: len(seen) // 2], lambda _: True),
    ("all", lambda seen, durable: seen, lambda _: True),
    ("the oldest name", lambda seen, durable: durable, lambda number: number == 0),
    ("all names but the oldest", lambda seen, durable: seen, lambda number: number > 0),
    _some(1),
    _some(2),
)


def failures(
    lab: Registry, folder: Path, keep: Keep, action: Callable[[Callable[[str], None]], None]
) -> Iterator[tuple[Registry, set[str]]]:
    """What is left of the lab when the power fails after each call of `action`, and what it had noted by then."""
    root = lab.paths.file.parent
    before = folder / "before"
    shutil.copytree(root, before)
    recorder = Recorder()
    with intercepted(recorder):
        action(recorder.note)
    assert len(recorder.steps) > 5
    whole = Disk(root, before).play(recorder.steps).as_seen()
    assert whole == {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for count in range(len(recorder.steps) + 1):
        disk = Disk(root, before).play(recorder.steps[:count])
        left = disk.fail(keep, folder / "left")
        yield Registry(RegistryPaths(left / "results.json"), left / "config.json"), disk.notes
        shutil.rmtree(left)


def known(lab: Registry) -> set[str]:
    """The records that the registry knows, by their names in RECORDS."""
    stages = lab.read().state.history.get("tuned", {})
    identities = {header.id for headers in stages.values() for header in headers}
    return {name for name, one in RECORDS.items() if one.id in identities}


def check(lab: Registry, saved: set[str]) -> None:
    """All that was saved is there, whole, and the next fold brings it into the file."""
    load_registry(lab.paths.file)
    view = lab.read()
    assert view.warnings == ()
    assert view.document["experiments"]["tuned"]["config"]["model_key"] == "edited"
    assert saved <= known(lab)
    report = lab.fold()
    assert (report.skipped, report.warnings) == (None, ())
    assert saved <= known(lab)
    for name in saved - {"eval 3"}:
        stage, attempt = name.split()
        assert result_in_file(lab, stage=stage)["attempt"] >= int(attempt)  # type: ignore[arg-type]
    if "eval 3" in saved and {"eval 1", "eval 2"} & saved:
        assert result_in_file(lab)["last_attempt"]["attempt"] == 3
    assert lab.fold().applied == 0


@pytest.mark.parametrize("keep", KEEPS, ids=[keep[0] for keep in KEEPS])
@pytest.mark.parametrize("start", ["no record", "an archive"])
def test_what_was_saved_outlives_a_power_failure_at_any_call(tmp_path: Path, keep: Keep, start: str) -> None:
    lab = write_lab(tmp_path / "lab")
    edit(lab, model_key="edited")
    if start == "an archive":
        lab.save(record(1, stage="curation", rows=10))
        lab.fold()

    def work(note: Callable[[str], None]) -> None:
        for name, one in RECORDS.items():
            lab.save(one)
            note(name)
            if name in ("eval 1", "eval 3"):
                lab.fold()

    complete: set[str] = set()
    for left, saved in failures(lab, tmp_path, keep, work):
        check(left, saved)
        complete = saved
    assert complete == set(RECORDS)


@pytest.mark.parametrize("keep", KEEPS, ids=[keep[0] for keep in KEEPS])
def test_a_rebuild_can_be_done_again_after_a_power_failure_at_any_call(tmp_path: Path, keep: Keep) -> None:
    lab = write_lab(tmp_path / "lab")
    edit(lab, model_key="edited")
    for one in RECORDS.values():
        lab.save(one)
    lab.fold()
    torn = lab.paths.file.read_text()[:-40]
    lab.paths.file.write_text(torn)
    for left, _ in failures(lab, tmp_path, keep, lambda note: note(str(rebuild(lab.paths).done))):
        try:
            load_registry(left.paths.file)
        except (UsageError, MissingError):
            assert left.paths.file.read_text() == torn
            rebuild(left.paths)
        assert torn in [path.read_text() for path in left.paths.file.parent.glob("results.json*")]
        check(left, set(RECORDS))
        assert json.loads(left.paths.file.read_bytes())["experiments"].keys() == {"tuned"}


def test_a_number_that_was_claimed_is_not_given_out_again_after_a_power_failure(tmp_path: Path) -> None:
    lab = write_lab(tmp_path / "lab")

    def work(note: Callable[[str], None]) -> None:
        for _ in range(3):
            note(str(claim_attempt(lab.paths.attempts("tuned", "eval"))))

    claimed: set[str] = set()
    for left, claimed in failures(lab, tmp_path, KEEPS[0], work):
        assert str(claim_attempt(left.paths.attempts("tuned", "eval"))) not in claimed
    assert claimed == {"1", "2", "3"}
