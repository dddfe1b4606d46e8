"""Which result counts: by attempt and restart, in whatever order the records arrive."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.history import Header, State, absorb, header_of, overlay, that_count
from registry.paths import RegistryPaths
from registry.records import EVENTS, TERMINAL, Record
from registry.schema import STAGES, Stage
from registry.state import load_state, state_bytes
from tests.registry_case import record

RECORDS = st.lists(
    st.builds(
        record,
        attempt=st.integers(1, 3),
        event=st.sampled_from(EVENTS),
        restart=st.integers(0, 2),
        experiment=st.sampled_from(["a", "b"]),
        stage=st.sampled_from(STAGES),
        fingerprint=st.sampled_from("xy"),
        overrides=st.sampled_from([{}, {}, {"eval.limit": 1}]),
    ),
    max_size=12,
)


def settled(batches: Iterable[Sequence[Record]], every: Sequence[Record]) -> State:
    """The state after absorbing the batches; payloads of earlier batches are read again, as from the archive."""
    by_id = {one.id: one for one in every}
    state = State()

    def load(experiment: str, stage: Stage, header: Header) -> Record:
        return by_id[header.id]

    for batch in batches:
        absorb(state, batch, load)
    return state


def counted(*records: Record) -> dict[str, Any]:
    """The entry of the one stage that the records are of."""
    return settled([records], records).results["tuned"]["eval"]


@given(RECORDS, st.data())
def test_no_order_and_no_repetition_changes_what_counts(records: list[Record], data: st.DataObject) -> None:
    order = data.draw(st.permutations(records))
    repeated = [one for one in order for _ in range(data.draw(st.integers(1, 2)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(repeated)), max_size=3)))
    batches = [repeated[start:end] for start, end in zip([0, *cuts], [*cuts, len(repeated)], strict=True)]
    assert settled(batches, records) == settled([records], records)


@given(RECORDS)
def test_what_counts_is_the_last_own_end_of_the_last_restart(records: list[Record]) -> None:
    headers = [header_of(one) for one in records if (one.experiment, one.stage) == ("a", "eval")]
    best, last = that_count(headers)
    own = [header for header in headers if header.event in TERMINAL and not header.overridden]
    alive = [h for h in own if all(o.restart <= h.restart for o in headers if o.attempt == h.attempt)]
    assert (last is None) == (not alive)
    assert (best is None) == (not any(header.event == "completed" for header in alive))
    for header in alive:
        assert last is not None
        assert header.order <= last.order
        assert header.event != "completed" or (best is not None and header.order <= best.order)


@given(RECORDS)
def test_a_state_survives_its_file(records: list[Record]) -> None:
    state = settled([records], records)
    with tempfile.TemporaryDirectory() as folder:
        paths = RegistryPaths(Path(folder) / "results.json")
        paths.root.mkdir()
        paths.state.write_bytes(state_bytes(state))
        assert load_state(paths, {}, b"another file") == (state, [])


def test_a_later_attempt_wins_whenever_it_arrives() -> None:
    old, new = record(1, accuracy=0.1), record(2, accuracy=0.2)
    assert counted(old, new)["accuracy"] == counted(new, old)["accuracy"] == 0.2


def test_a_zombie_that_completes_late_is_history() -> None:
    zombie, requeued = record(1, restart=0, accuracy=0.1), record(1, "started", restart=1)
    assert "tuned" not in {name for name, stages in settled([[zombie, requeued]], []).results.items() if stages}
    end = record(1, restart=1, accuracy=0.2)
    state = settled([[requeued, end], [zombie]], [zombie, requeued, end])
    assert state.results["tuned"]["eval"]["accuracy"] == 0.2
    assert [header.restart for header in state.headers("tuned", "eval")] == [0, 1, 1]


def test_a_result_is_taken_back_when_a_later_restart_turns_up() -> None:
    early, requeued = record(1, restart=0), record(1, "started", restart=1)
    state = settled([[early], [requeued]], [early, requeued])
    assert state.results["tuned"] == {}


def test_a_run_with_overrides_is_history() -> None:
    own, other = record(1, accuracy=0.1), record(2, accuracy=0.9, overrides={"eval.limit": 5})
    state = settled([[own, other]], [own, other])
    assert state.results["tuned"]["eval"]["accuracy"] == 0.1
    assert "last_attempt" not in state.results["tuned"]["eval"]
    assert [header.overridden for header in state.headers("tuned", "eval")] == [False, True]


@pytest.mark.parametrize("event", ["failed", "cancelled"])
def test_a_later_failure_keeps_the_result_and_is_named(event: Any) -> None:
    entry = counted(record(1, accuracy=0.1), record(2, event, restart=1, error="out of memory", log="logs/2"))
    assert (entry["status"], entry["accuracy"], entry["attempt"]) == ("completed", 0.1, 1)
    assert entry["last_attempt"] == {
        "status": event,
        "attempt": 2,
        "restart": 1,
        "timestamp": "2026-11-20T17:00:00Z",
        "error": "out of memory",
        "log": "logs/2",
    }
    assert "last_attempt" not in counted(record(1), record(2, "failed"), record(3))


def test_a_failure_alone_is_the_result_until_something_completes() -> None:
    assert counted(record(1, "failed", error="x"))["status"] == "failed"
    assert counted(record(1, "failed", error="x"), record(2, "cancelled"))["status"] == "cancelled"
    assert "error" not in counted(record(1, "failed", error="x"), record(2))


def test_what_has_only_begun_is_no_result() -> None:
    begun = [record(1, event) for event in ("intent", "submitted", "started")]
    assert settled([begun], begun).results == {"tuned": {}}


def test_results_stand_in_the_order_of_the_stages() -> None:
    records = [record(stage=stage) for stage in reversed(STAGES)]
    whole = overlay({"tuned": {}}, {"tuned": {}}, settled([records], records))
    assert list(whole["tuned"]["results"]) == list(STAGES)
