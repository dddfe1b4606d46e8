"""A curation in shards has the outputs of one without, byte for byte, and its merge asks nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.shards import prepare
from curation.stage import run
from registry.catalog import DatasetEntry, ModelEntry
from registry.errors import StageStopped
from registry.spending import FOLDER
from registry.stage import StageContext
from registry.stopping import STOP_SIGNALS, StopFlag
from tests.batch_server import Vendor, openai_batches
from tests.faults import FORK
from tests.faulty_server import Body, Reply, completion, serving
from tests.stages import make_context, record, write_jsonl
from tests.tiny import make_tiny_model

ROOT = Path(__file__).resolve().parents[1]
ROWS, SHARDS = 60, 8
CHILD = """
import sys
from pathlib import Path
from curation.shards import prepare
from tests.test_curation_shards import SHARDS, served_context
folder, model, url, shards = sys.argv[1:]
for shard in shards.split(","):
    prepare(served_context(Path(folder), Path(model), url), int(shard), SHARDS)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def records() -> list[dict[str, Any]]:
    """Rows that a filter each removes, repeats of a question, and others."""
    made = [record(n, "ABC"[n % 3], specialty=("Cardiology", "Oncology")[n % 2]) for n in range(ROWS)]
    made[3]["reasoning"] = ""
    made[5]["reasoning"] = made[5]["reasoning"].replace("The answer is", "The answer is A, B or C, not")
    return [*made, *made[10:20], {**made[20], "answer_idx": "D", "answer": "Caffeine"}]


def context_of(folder: Path, model: Path, engine: str, **curation: Any) -> StageContext:
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows.jsonl"
    entry = DatasetEntry(file_path=str(rows if rows.exists() else write_jsonl(rows, records())))
    settings = {
        "method": "random",
        "n_samples": 12,
        "quality": {},
        "duplicates": {},
        "difficulty": {"engine": engine, "max_tokens": 8},
        **curation,
    }
    return make_context(folder / "run", model, train=entry, curation=settings)


def served_context(folder: Path, model: Path, url: str, **curation: Any) -> StageContext:
    """The base model is behind a server."""
    context = context_of(folder, model, "openai", **curation)
    entry = ModelEntry(api_model="gpt-x", base_url=url, api_key_env="LAB_KEY", max_length=512)
    config = context.config.model_copy(update={"difficulty_model_key": "gpt", "difficulty_model": entry})
    return replace(context, config=config)


def letters(body: Body, _before: int) -> Reply:
    return completion(f"The answer is {'ABCD'[len(str(body['messages'])) % 4]}")


def outputs(context: StageContext) -> dict[str, bytes]:
    """Every file that the run has written, but for what it has spent."""
    files = [path for path in context.run_dir.rglob("*") if path.is_file() and path.parent.name != FOLDER]
    return {str(path.relative_to(context.run_dir)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[dict[str, bytes], dict[str, Any], list[str]]:
    """The outputs, metrics and questions of the run without shards."""
    with serving(letters) as server:
        context = served_context(tmp_path_factory.mktemp("whole"), model, server.url)
        metrics = dict(run(context).metrics)
        return outputs(context), metrics, server.questions


def test_eight_shards_in_any_order_some_twice_one_killed_give_the_bytes_of_the_whole(
    tmp_path: Path, model: Path, whole: tuple[dict[str, bytes], dict[str, Any], list[str]]
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def script(body: Body, before: int) -> Reply:
        if len(server.bodies) == 3:
            reached.set()
            go_on.wait()
        return letters(body, before)

    with serving(script) as server:
        context = served_context(tmp_path, model, server.url)
        killed = FORK.Process(target=prepare, args=(context, 4, SHARDS))
        killed.start()
        assert reached.wait(120)
        killed.kill()
        killed.join()
        go_on.set()
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(model), server.url, "7,2,4,0"]
        with subprocess.Popen(command, cwd=ROOT) as other:
            for shard in (1, 2, 6, 5, 3):
                prepare(context, shard, SHARDS)
            assert other.wait() == 0
        asked = set(server.questions)
    assert outputs(context) == {}

    metrics = run(context).metrics  # the server is gone

    assert outputs(context) == whole[0]
    assert metrics == whole[1]
    assert asked == set(whole[2])


def test_the_merge_opens_no_model_once_all_shards_are_done(tmp_path: Path, model: Path) -> None:
    alone = context_of(tmp_path / "alone", model, "transformers")
    run(alone)
    sharded = context_of(tmp_path / "sharded", model, "transformers")
    for index in (2, 0, 1):
        prepare(sharded, index, 3)
    assert outputs(sharded) == {}
    journals = sorted((sharded.shared / "answers").glob("*/*.jsonl"))
    assert len(journals) == 3

    run(sharded)

    assert outputs(sharded) == outputs(alone)
    assert sorted((sharded.shared / "answers").glob("*/*.jsonl")) == journals


@pytest.mark.parametrize("method", [pytest.param("embedding-diversity", marks=pytest.mark.full), "novelty-answer"])
def test_the_merge_finds_every_embedding(method: str, tmp_path: Path, model: Path) -> None:
    more = {"method": method, "embedding_model": "hashing"}
    with serving(letters) as server:
        alone = served_context(tmp_path / "alone", model, server.url, **more)
        run(alone)
        sharded = served_context(tmp_path / "sharded", model, server.url, **more)
        for index in (3, 1, 2, 0, 2):
            prepare(sharded, index, 4)
    kept = sorted(sharded.shared.rglob("*"))
    assert any(path.parent.parent.name == "embeddings" for path in kept)

    run(sharded)

    assert outputs(sharded) == outputs(alone)
    assert sorted(sharded.shared.rglob("*")) == kept


def test_shards_leave_batches_to_the_merge_which_sends_one(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "k")
    labels = {"model_key": "gpt", "batch": True, "relabel": True}
    vendor = Vendor(lambda body, before: completion('{"specialty": "Neurology"}'))
    with openai_batches(vendor, "k"):
        context = context_of(tmp_path, model, "transformers", difficulty=None, labels=labels)
        entry = ModelEntry(api_model="gpt-x", base_url=vendor.url, api_key_env="LAB_KEY", max_length=8192)
        config = context.config.model_copy(update={"called_models": {"labels": entry}})
        context = replace(context, config=config)
        for index in range(3):
            prepare(context, index, 3)
        assert vendor.jobs == {}
        assert run(context).metrics["labels"]["unlabelled"] == 0
    assert len(vendor.jobs) == 1


def test_more_shards_than_rows_and_a_shard_that_keeps_nothing(tmp_path: Path, model: Path) -> None:
    with serving(lambda body, before: completion("The answer is B")) as server:
        context = served_context(tmp_path, model, server.url)
        write_jsonl(tmp_path / "rows.jsonl", [record(1, "B"), record(2, "C"), record(3, reasoning="")])
        for index in range(7):
            prepare(context, index, 7)
        assert len(server.bodies) == 2
        assert run(context).metrics["funnel"]["after_selection"] == 1
        assert len(server.bodies) == 2
        with pytest.raises(ValueError, match="no shard 7 of 7"):
            prepare(context, 7, 7)


def test_a_shard_that_is_asked_to_stop_leaves(tmp_path: Path, model: Path) -> None:
    stop = StopFlag()
    stop.handle(STOP_SIGNALS[0], None)
    with serving(letters) as server:
        context = replace(served_context(tmp_path, model, server.url), stop=stop)
        with pytest.raises(StageStopped, match="curation had not come to the step quality"):
            prepare(context, 0, 2)
        assert server.bodies == []
