"""Any sequence of saves, folds, edits, commands, crashes, repeats and late arrivals leaves what a dict would hold."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from registry.edits import add_note, change_tags, remove
from registry.records import Event, Record
from registry.schema import STAGES, Stage
from registry.store import Registry
from tests.faults import dying_at, in_child, without_waiting
from tests.registry_case import base, edit, record, tuned, write_lab

NAMES = ("tuned", "base")
TERMINAL = ("cancelled", "failed", "completed")
names = st.sampled_from(NAMES)
stages = st.sampled_from(STAGES)
moments = st.integers(1, 130)
events: st.SearchStrategy[Event] = st.sampled_from(["intent", "started", "completed", "completed", "failed"])
numbers = st.tuples(st.integers(1, 4), st.integers(0, 2))
words = st.sampled_from(["a", "b", "µ"])


@dataclass
class Model:
    """One experiment: what is in its config, notes and tags, and its records by stage."""

    model_key: str = "tiny"
    notes: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    records: dict[Stage, dict[str, Record]] = field(default_factory=dict)
    removed: dict[Stage, int] = field(default_factory=dict)

    def add(self, new: Record) -> None:
        assert new.stage is not None
        self.records.setdefault(new.stage, {})[new.id] = new

    def known(self, stage: Stage) -> list[Record]:
        return list(self.records.get(stage, {}).values())

    def result(self, stage: Stage) -> tuple[Record | None, Record | None]:
        """The completed record that counts, and the last one that ended; by brute force."""
        living = [one for one in self.known(stage) if one.attempt > self.removed.get(stage, 0)]
        ended = [
            one
            for one in living
            if one.event in TERMINAL
            and not any(other.attempt == one.attempt and other.restart > one.restart for other in living)
        ]
        ended.sort(key=lambda one: (one.attempt, one.restart, TERMINAL.index(one.event), one.id))
        completed = [one for one in ended if one.event == "completed"]
        return (completed[-1] if completed else None, ended[-1] if ended else None)


class RegistryMachine(RuleBasedStateMachine):
    """A registry beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        without_waiting(self.patch)
        shared = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="meds1-", dir=shared if shared.is_dir() else None))
        self.lab: Registry = write_lab(self.folder / "lab", {"tuned": tuned(), "base": base()})
        self.model = {name: Model() for name in NAMES}
        self.late: list[Record] = []
        self.state_lost = False
        self.lab.fold()

    def teardown(self) -> None:
        self.lab.fold()
        self.state_lost = False
        self.lab.fold()
        self.holds_what_the_model_holds()
        assert json.loads(self.lab.paths.file.read_bytes()) == self.lab.read().document
        self.patch.undo()
        shutil.rmtree(self.folder)

    def new(self, name: str, stage: Stage, number: tuple[int, int], event: Event) -> Record:
        attempt, restart = number
        return record(attempt, event, restart if event != "intent" else 0, name, stage)

    @rule(name=names, stage=stages, number=numbers, event=events)
    def save(self, name: str, stage: Stage, number: tuple[int, int], event: Event) -> None:
        one = self.new(name, stage, number, event)
        self.lab.save(one)
        self.model[name].add(one)

    @rule(name=names, stage=stages, number=numbers, event=events)
    def save_elsewhere(self, name: str, stage: Stage, number: tuple[int, int], event: Event) -> None:
        """Its arrival is delayed."""
        self.late.append(self.new(name, stage, number, event))

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 9))
    def arrive(self, which: int) -> None:
        one = self.late.pop(which % len(self.late))
        self.lab.save(one)
        self.model[one.experiment].add(one)

    @rule(name=names, stage=stages, number=numbers, event=events, moment=st.integers(1, 40))
    def crash_in_a_save(self, name: str, stage: Stage, number: tuple[int, int], event: Event, moment: int) -> None:
        one = self.new(name, stage, number, event)
        code = in_child(lambda: self.lab.save(one), dying_at(moment))
        there = (self.lab.paths.inbox / one.file_name).exists()
        assert there or code != 0
        if there:
            self.model[name].add(one)

    @rule()
    def fold(self) -> None:
        report = self.lab.fold()
        assert report.skipped is None
        self.state_lost = False

    @rule(moment=moments)
    def crash_in_a_fold(self, moment: int) -> None:
        if in_child(self.lab.fold, dying_at(moment)) == 0:
            self.state_lost = False

    @rule(which=st.integers(0, 99))
    def repeat_a_record(self, which: int) -> None:
        """A copy of a record comes again under its own name."""
        saved = sorted(self.lab.paths.applied.glob("*.json")) + sorted(self.lab.paths.inbox.glob("*.json"))
        if saved:
            chosen = saved[which % len(saved)]
            self.lab.paths.inbox.mkdir(exist_ok=True)
            if chosen.parent != self.lab.paths.inbox:
                shutil.copy(chosen, self.lab.paths.inbox)

    @rule(name=names, word=words)
    def edit_by_hand(self, name: str, word: str) -> None:
        edit(self.lab, name, model_key=word)
        self.model[name].model_key = word

    @rule(name=names)
    def delete_results_by_hand(self, name: str) -> None:
        document = json.loads(self.lab.paths.file.read_bytes())
        document["experiments"][name].pop("results", None)
        self.lab.paths.file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    @rule()
    def lose_the_state(self) -> None:
        """After a fold: what only the state knows is which edits it has seen."""
        self.fold()
        self.lab.paths.state.unlink()
        self.state_lost = True

    @rule(name=names)
    def note(self, name: str) -> None:
        text = f"note {len(self.model[name].notes)}"
        add_note(self.lab, name, text)
        self.model[name].notes.append(text)

    @rule(name=names, add=st.sets(words), remove=st.sets(words))
    def tag(self, name: str, add: set[str], remove: set[str]) -> None:
        change_tags(self.lab, [name], sorted(add), sorted(remove))
        self.model[name].tags = (self.model[name].tags - remove) | add

    @rule(name=names, stage=stages)
    def remove_results(self, name: str, stage: Stage) -> None:
        remove(self.lab, name, (stage,))
        model = self.model[name]
        model.removed[stage] = max([one.attempt for one in model.known(stage)], default=model.removed.get(stage, 0))

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        view = self.lab.read()
        assert view.warnings == ()
        for name, model in self.model.items():
            body = view.document["experiments"][name]
            assert body["config"]["model_key"] == model.model_key
            assert [note["text"] for note in body.get("notes") or []] == model.notes
            assert set(body.get("tags") or []) == model.tags
            for stage in STAGES:
                headers = view.state.headers(name, stage)
                assert {header.id for header in headers} == {one.id for one in model.known(stage)}
                self.shows(body.get("results") or {}, stage, *model.result(stage))

    @staticmethod
    def shows(results: dict[str, Any], stage: Stage, best: Record | None, last: Record | None) -> None:
        entry = results.get(stage)
        chosen = best or last
        assert (entry or {}).get("record") == (chosen.id if chosen else None)
        if best and last and best is not last and entry:
            assert entry["last_attempt"]["attempt"] == last.attempt
        elif entry:
            assert "last_attempt" not in entry


LIMITS = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=25)


def test_any_sequence_of_what_can_happen_leaves_what_a_dict_would_hold() -> None:
    run_state_machine_as_test(RegistryMachine, settings=settings(LIMITS, max_examples=60, derandomize=True))


@pytest.mark.full
def test_many_long_sequences_of_what_can_happen_leave_what_a_dict_would_hold() -> None:
    run_state_machine_as_test(RegistryMachine, settings=settings(LIMITS, max_examples=300, stateful_step_count=50))
