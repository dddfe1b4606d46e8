"""What people change in the file and what commands change beside results: both stand, and a conflict is named."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.document import FORMAT, load, render
from registry.edits import add_note, change_tags, create, remove
from registry.errors import UsageError
from registry.fold import rebuild
from registry.json_path import ABSENT
from registry.merge import Change
from registry.store import Registry, experiments_of
from tests.registry_case import base, edit, record, result_in_file, tuned, write_lab

ME = getpass.getuser()


@pytest.fixture
def lab(tmp_path: Path) -> Registry:
    lab = write_lab(tmp_path, {"tuned": tuned(), "base": base(), "other": tuned(model_key="second")})
    lab.fold()
    return lab


def experiments(lab: Registry) -> dict[str, Any]:
    """The experiments as the file itself has them."""
    found: dict[str, Any] = json.loads(lab.paths.file.read_text())["experiments"]
    return found


def write(lab: Registry, document: dict[str, Any]) -> None:
    lab.paths.file.write_bytes(render(document))


def edited(lab: Registry, name: str = "tuned") -> list[tuple[list[str], Any, Any]]:
    """Path, old and new value of each recorded edit of an experiment."""
    edits = lab.read().state.edits.get(name, [])
    changes = [Change.from_json(body) for one in edits for body in one.get("changes", [])]
    return [(list(change.path), change.old, change.new) for change in changes]


def test_an_edit_of_the_file_is_recorded_with_its_author_once(lab: Registry) -> None:
    edit(lab, model_key="other")
    lab.fold()
    lab.fold()
    assert edited(lab) == [(["config", "model_key"], "tiny", "other")]
    (one,) = lab.read().state.edits["tuned"]
    assert (one["author"], one["by"], one["event"]) == (ME, "hand", "config")


def test_an_edit_there_and_back_is_two_edits(lab: Registry) -> None:
    for key in ("other", "tiny", "other"):
        edit(lab, model_key=key)
        lab.fold()
    assert [new for _, _, new in edited(lab)] == ["other", "tiny", "other"]
    assert experiments(lab)["tuned"]["config"]["model_key"] == "other"


def test_edits_of_two_people_from_one_buffer_both_stand(lab: Registry) -> None:
    lab.save(record(1))
    buffer, _ = load(lab.paths.file)
    lab.fold()
    edit(lab, model_key="annas")
    lab.fold()
    buffer["experiments"]["base"]["config"]["model_key"] = "bobs"
    write(lab, buffer)
    assert lab.fold().warnings == ()
    assert experiments(lab)["tuned"]["config"]["model_key"] == "annas"
    assert experiments(lab)["base"]["config"]["model_key"] == "bobs"
    assert result_in_file(lab)["status"] == "completed"


def test_one_key_changed_by_two_people_is_the_files_and_both_are_named(lab: Registry) -> None:
    lab.save(record(1))
    buffer, _ = load(lab.paths.file)
    lab.fold()
    edit(lab, model_key="annas")
    lab.fold()
    buffer["experiments"]["tuned"]["config"]["model_key"] = "bobs"
    write(lab, buffer)
    (warning,) = lab.fold().warnings
    assert warning.startswith(f'experiments.tuned.config.model_key: the file says "bobs" ({ME}), {ME} (20')
    assert warning.endswith('set "annas"; the file\'s stands')
    assert experiments(lab)["tuned"]["config"]["model_key"] == "bobs"
    assert lab.read().state.edits["tuned"][-1]["conflicts"] == [warning]


def test_an_old_buffer_keeps_an_experiment_that_somebody_else_made(lab: Registry) -> None:
    lab.save(record(1))
    buffer, _ = load(lab.paths.file)
    lab.fold()
    create(lab, {"new": base()}, "made")
    buffer["experiments"]["tuned"]["description"] = "edited in an old buffer"
    write(lab, buffer)
    lab.fold()
    assert list(experiments(lab)) == ["tuned", "base", "other", "new"]
    assert experiments(lab)["tuned"]["description"] == "edited in an old buffer"


def test_a_checkout_of_an_older_file_takes_configs_back_but_no_result(lab: Registry) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *arguments], cwd=lab.paths.file.parent, check=True, capture_output=True)

    git("init", "-q")
    git("add", "results.json")
    git("commit", "-qm", "one")
    lab.save(record(1, accuracy=0.5))
    edit(lab, model_key="newer")
    lab.fold()
    git("checkout", "results.json")
    (warning,) = lab.fold().warnings
    assert warning == "experiments.tuned.config.model_key: the file was put back to before its last change"
    assert experiments(lab)["tuned"]["config"]["model_key"] == "tiny"
    assert result_in_file(lab)["accuracy"] == 0.5


def test_an_experiment_without_results_can_be_deleted_by_hand(lab: Registry) -> None:
    document, _ = load(lab.paths.file)
    del document["experiments"]["base"]
    write(lab, document)
    (warning,) = lab.fold().warnings
    assert warning.endswith("deleted by hand: base; `meds1 history NAME` keeps what was there")
    assert "base" not in experiments(lab)
    assert edited(lab, "base")[-1][2] is ABSENT


def test_a_note_and_tags_stand_beside_edits_of_the_file(lab: Registry) -> None:
    edit(lab, model_key="other")
    add_note(lab, "tuned", "diverged at step 300")
    document, _ = load(lab.paths.file)
    document["experiments"]["tuned"]["tags"] = ["mine"]
    write(lab, document)
    change_tags(lab, ["tuned", "base"], ["ablation"], [])
    change_tags(lab, ["base"], ["b"], ["ablation"])
    body = experiments(lab)["tuned"]
    assert (body["tags"], body["config"]["model_key"]) == (["mine", "ablation"], "other")
    assert [(note["text"], note["author"]) for note in body["notes"]] == [("diverged at step 300", ME)]
    assert experiments(lab)["base"]["tags"] == ["b"]


def test_a_tag_of_a_command_stands_beside_one_from_an_older_buffer(lab: Registry) -> None:
    buffer, _ = load(lab.paths.file)
    change_tags(lab, ["tuned"], ["commands"], [])
    buffer["experiments"]["tuned"]["tags"] = ["peoples"]
    write(lab, buffer)
    lab.fold()
    assert sorted(experiments(lab)["tuned"]["tags"]) == ["commands", "peoples"]


def test_a_file_without_experiments_is_torn_and_takes_none_away(lab: Registry) -> None:
    before = lab.paths.file.read_bytes()
    lab.paths.file.write_text("{}\n")
    with pytest.raises(UsageError, match="has no experiments; an empty registry is"):
        lab.fold()
    rebuild(lab.paths)
    assert lab.paths.file.read_bytes() == before


def test_two_notes_from_one_state_of_the_file_both_stand(lab: Registry) -> None:
    inbox = lab.paths.inbox
    add_note(lab, "tuned", "one")
    first = next(lab.paths.applied.glob("*~note~*"))
    second = json.loads(first.read_text())
    assert second["result"]["changes"][0]["old"] == "[]"
    add_note(lab, "tuned", "two")
    assert [note["text"] for note in experiments(lab)["tuned"]["notes"]] == ["one", "two"]
    assert not list(inbox.iterdir())


def test_an_unfolded_edit_is_seen_by_readers(lab: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.edits.fold_or_warn", lambda registry: None)
    create(lab, {"new": base()}, "made")
    add_note(lab, "new", "soon")
    assert "new" not in experiments(lab)
    assert experiments_of(lab.read())["new"]["notes"][0]["text"] == "soon"
    lab.fold()
    assert experiments(lab)["new"]["notes"][0]["text"] == "soon"


def test_created_experiments_stand_as_they_were_given_in_their_order(lab: Registry) -> None:
    before = lab.paths.file.read_text()
    zeta = {"tags": ["z"], "description": "é", "config": {"model_key": "tiny", "eval": None}, "results": {"eval": None}}
    create(lab, {"zeta": zeta, "alpha": base()}, "made")
    whole = {**json.loads(before)["experiments"], "zeta": zeta, "alpha": base()}
    assert lab.paths.file.read_bytes() == render({"experiments": whole})


def test_create_refuses_a_name_that_is_taken_and_makes_nothing(lab: Registry) -> None:
    before = lab.paths.file.read_bytes()
    with pytest.raises(UsageError, match="tuned: there is such an experiment already"):
        create(lab, {"new": base(), "tuned": base()}, "made")
    assert lab.paths.file.read_bytes() == before


def test_a_removed_experiment_stays_away_with_all_its_results(lab: Registry) -> None:
    lab.save(record(1, accuracy=0.5))
    lab.save(record(2, "started"))
    lab.fold()
    remove(lab, "tuned")
    assert list(experiments(lab)) == ["base", "other"]
    lab.save(record(2, accuracy=0.9))  # was still in flight
    assert lab.fold().warnings == ()
    assert list(experiments(lab)) == ["base", "other"]
    create(lab, {"tuned": tuned()}, "again")
    assert "results" not in experiments(lab)["tuned"]
    lab.save(record(3, accuracy=0.7))
    lab.fold()
    assert result_in_file(lab)["accuracy"] == 0.7


def test_a_removed_result_stays_away_and_the_rest_stays(lab: Registry) -> None:
    document, _ = load(lab.paths.file)
    document["experiments"]["tuned"]["results"] = {"training": {"model_path": "elsewhere"}}
    write(lab, document)
    lab.save(record(1, accuracy=0.5))
    lab.save(record(1, stage="curation"))
    lab.fold()
    remove(lab, "tuned", ("eval", "training"))
    lab.fold()
    assert list(experiments(lab)["tuned"]["results"]) == ["curation"]
    assert [header.event for header in lab.read().state.headers("tuned", "eval")] == ["completed"]


def test_what_others_say_same_as_cannot_be_removed(lab: Registry) -> None:
    edit(lab, "other", curation="same as tuned")
    with pytest.raises(UsageError, match='tuned: other say "same as tuned"'):
        remove(lab, "tuned")
    remove(lab, "other")
    remove(lab, "tuned")
    assert list(experiments(lab)) == ["base"]


def test_edits_survive_a_lost_state_without_being_made_twice(lab: Registry) -> None:
    create(lab, {"new": base()}, "made")
    document, _ = load(lab.paths.file)
    del document["experiments"]["new"]
    write(lab, document)
    lab.fold()
    lab.paths.state.unlink()
    lab.fold()
    assert "new" not in experiments(lab)
    assert len(lab.read().state.edits["new"]) == 2


def test_a_copy_of_an_old_edit_is_not_made_again_once_the_state_is_lost(lab: Registry) -> None:
    change_tags(lab, ["tuned"], ["a"], [])
    [first] = lab.paths.applied.glob("tuned~edit~*")
    change_tags(lab, ["tuned"], [], ["a"])
    lab.paths.state.unlink()
    shutil.copy(first, lab.paths.inbox)
    assert not lab.read().document["experiments"]["tuned"].get("tags")
    lab.fold()
    assert not experiments(lab)["tuned"].get("tags")


def test_tags_that_a_person_deletes_with_their_line_stay_away_and_keep_nobody_from_editing(lab: Registry) -> None:
    change_tags(lab, ["tuned"], ["ablation"], [])
    document, _ = load(lab.paths.file)
    del document["experiments"]["tuned"]["tags"]
    write(lab, document)
    lab.fold()
    edit(lab, model_key="other")
    assert lab.fold().warnings == ()
    assert "tags" not in experiments(lab)["tuned"]
    assert experiments(lab)["tuned"]["config"]["model_key"] == "other"


def test_notes_that_a_person_wrote_as_a_text_are_kept_as_they_are(lab: Registry) -> None:
    buffer, _ = load(lab.paths.file)
    for text in ("diverged", "diverged twice"):
        document, _ = load(lab.paths.file)
        document["experiments"]["tuned"]["notes"] = text
        write(lab, document)
        lab.save(record(1, stage="curation" if text == "diverged" else "training"))
        lab.fold()
    with pytest.raises(UsageError, match="tuned: its notes are no list"):
        add_note(lab, "tuned", "again")
    buffer["experiments"]["tuned"]["notes"] = "diverged"
    write(lab, buffer)
    lab.fold()
    assert experiments(lab)["tuned"]["notes"] == "diverged"


@pytest.mark.parametrize(
    "action",
    [
        lambda lab: create(lab, {"new": base()}, "made"),
        lambda lab: add_note(lab, "tuned", "seen"),
        lambda lab: change_tags(lab, ["tuned"], ["seen"], []),
        lambda lab: remove(lab, "base"),
    ],
    ids=["create", "note", "tag", "remove"],
)
def test_a_registry_of_a_newer_format_is_only_read(lab: Registry, action: Callable[[Registry], Any]) -> None:
    document, _ = load(lab.paths.file)
    write(lab, {"format": FORMAT + 1, **document})
    before = {path: path.read_bytes() for path in lab.paths.file.parent.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"its format is newer than this code's, which only reads it; update"):
        action(lab)
    assert {path: path.read_bytes() for path in lab.paths.file.parent.rglob("*") if path.is_file()} == before
