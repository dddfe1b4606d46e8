"""The journal of generations: what is answered is never asked again, whatever a kill leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from inference.engine import EngineSpec, Generation, Request, Sampling
from inference.journal import Asking, generate_resumable
from registry.errors import MissingError, StageFailure
from tests.tiny import make_tiny_model

REQUESTS = [Request(name, ({"role": "user", "content": f"Question {name}?"},)) for name in ("a", "b", "c", "d")]
SAMPLING = Sampling(max_tokens=6)
RANDOM = Sampling(max_tokens=6, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    """Greedy answers of the transformers engine: it opens in a moment, and the journal is the same for both."""
    return EngineSpec("transformers", make_tiny_model(tmp_path_factory.mktemp("tiny")), max_length=64)


@pytest.fixture
def unopenable(tmp_path: Path) -> EngineSpec:
    return EngineSpec("transformers", tmp_path / "no model", max_length=64)


def test_answers_come_back_in_the_order_of_the_requests_and_are_not_asked_again(
    spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path
) -> None:
    journal = tmp_path / "answers.jsonl"
    first = generate_resumable(spec, REQUESTS, SAMPLING, journal)
    assert [generation.id for generation in first] == ["a", "b", "c", "d"]
    written = journal.read_bytes()
    assert generate_resumable(unopenable, REQUESTS[::-1], SAMPLING, journal) == first[::-1]
    assert journal.read_bytes() == written


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_last_line_costs_one_answer(cut: int, spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    whole = generate_resumable(spec, REQUESTS, SAMPLING, journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:-cut])
    with pytest.raises(MissingError):  # only the engine can answer what was lost
        generate_resumable(unopenable, REQUESTS, SAMPLING, journal)
    assert journal.read_bytes() == b"".join(lines[:3])
    assert generate_resumable(spec, REQUESTS, SAMPLING, journal) == whole
    assert journal.read_bytes().splitlines(keepends=True)[:3] == lines[:3]
    assert len(journal.read_bytes().splitlines()) == 4


def test_an_answer_counts_only_for_the_messages_and_the_sampling_it_was_made_with(
    spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path
) -> None:
    journal = tmp_path / "answers.jsonl"
    generate_resumable(spec, REQUESTS, SAMPLING, journal)
    reworded = [Request("a", ({"role": "user", "content": "Another question?"},))]
    for requests, sampling in ((reworded, SAMPLING), (REQUESTS, Sampling(max_tokens=7))):
        with pytest.raises(MissingError):
            generate_resumable(unopenable, requests, sampling, journal)


def test_only_the_answers_that_are_missing_are_asked_for(spec: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    sampling = Sampling(max_tokens=6, temperature=1.0, seed=3, n=3)
    whole = generate_resumable(spec, REQUESTS[:2], sampling, journal)
    assert [(generation.id, generation.index) for generation in whole] == [(i, n) for i in "ab" for n in range(3)]
    lines = [line for line in journal.read_text().splitlines(keepends=True) if json.loads(line)["index"] != 1]
    journal.write_text("".join(lines))
    assert generate_resumable(spec, REQUESTS[:2], sampling, journal) == whole
    assert len(journal.read_text().splitlines()) == 6
    more = generate_resumable(spec, REQUESTS[:2], replace(sampling, n=4), journal)
    assert [answer for answer in more if answer.index < 3] == whole
    assert len(journal.read_text().splitlines()) == 8


def test_rounds_with_one_model_share_a_journal(spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"

    def rounds(spec: EngineSpec) -> list[Generation]:
        with Asking(spec, journal) as asking:
            first = asking.ask(REQUESTS, SAMPLING)
            held = [replace(r, continuation=g.text) for r, g in zip(REQUESTS, first, strict=True)]
            return first + asking.ask(held, SAMPLING) + asking.ask([replace(REQUESTS[0], n=2)], RANDOM)

    whole = rounds(spec)
    assert [(g.id, g.index) for g in whole] == [(i, 0) for i in "abcdabcd"] + [("a", 0), ("a", 1)]
    assert whole[:4] != whole[4:8]
    assert rounds(unopenable) == whole


def test_answers_survive_a_kill_and_none_is_asked_twice(spec: EngineSpec, tmp_path: Path) -> None:
    journal, many = tmp_path / "answers.jsonl", [replace(r, n=400) for r in REQUESTS]
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from inference.engine import EngineSpec\nfrom inference.journal import generate_resumable\n"
        "from tests.test_inference_journal import RANDOM, REQUESTS, replace\n"
        "spec = EngineSpec('transformers', Path(sys.argv[1]), max_length=64)\n"
        "generate_resumable(spec, [replace(r, n=400) for r in REQUESTS], RANDOM, Path(sys.argv[2]))\n"
    )
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", code, str(spec.model), str(journal)], cwd=root) as process:
        while not journal.exists() or not journal.stat().st_size:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.kill()
    kept = journal.read_bytes().split(b"\n")[:-1]
    assert 0 < len(kept) < 1600
    whole = generate_resumable(spec, many, RANDOM, journal)
    lines = journal.read_bytes().split(b"\n")[:-1]
    assert lines[: len(kept)] == kept
    assert len(lines) == len(whole) == 1600
    assert whole == generate_resumable(spec, many, RANDOM, tmp_path / "undisturbed.jsonl")


def test_an_error_is_an_answer_until_a_later_attempt_asks_again(spec: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    long = Request("long", ({"role": "user", "content": "word " * 30},))
    answers = generate_resumable(spec, [*REQUESTS, long], SAMPLING, journal)
    assert [generation.finish_reason == "error" for generation in answers] == [False] * 4 + [True]
    roomier = replace(spec, max_length=256)
    again = generate_resumable(roomier, [*REQUESTS, long], SAMPLING, journal)
    assert (again[:4], again[4].finish_reason == "error") == (answers[:4], False)


def test_a_damaged_line_inside_is_not_passed_over(unopenable: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    journal.write_text('{"request": "x"\n{}\n')
    with pytest.raises(StageFailure, match=r"answers.jsonl: line 1 is not a generation .*remove the file"):
        generate_resumable(unopenable, REQUESTS, SAMPLING, journal)
