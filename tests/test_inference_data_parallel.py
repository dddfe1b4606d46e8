"""Two real copies of vLLM on a CPU: one queue, the same answers as of one, and nothing that outlives the stage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from inference.engine import Engine, EngineSpec, Request, Sampling, open_engine
from inference.journal import generate_resumable
from registry.errors import StageFailure, StageStopped
from registry.stopping import StopFlag
from tests.tiny import NEEDS_VLLM, make_tiny_model

pytestmark = NEEDS_VLLM

ROOT = Path(__file__).resolve().parents[1]
# More than the copies work on at a time, so that the queue is handed out little by little.
REQUESTS = [Request(f"q{i}", ({"role": "user", "content": f"Which drug lowers {i}?"},), n=2) for i in range(500)]
SAMPLING = Sampling(max_tokens=8, temperature=1.0, seed=2)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    return EngineSpec("vllm", make_tiny_model(tmp_path_factory.mktemp("model")), 128, data_parallel=2)


@pytest.fixture(scope="module")
def engine(spec: EngineSpec) -> Iterator[Engine]:
    with open_engine(spec) as opened:
        yield opened
    assert not workers_of(os.getpid())


def workers_of(parent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(parent).children() if "inference.vllm_worker" in child.cmdline()]


def answers(engine: Engine) -> dict[tuple[str, int], str]:
    return {(g.id, g.index): g.text for g in engine.generate(REQUESTS, SAMPLING)}


def test_two_copies_give_the_answers_of_one(engine: Engine, spec: EngineSpec) -> None:
    assert len(workers_of(os.getpid())) == 2
    used = [worker.cpu_times().user for worker in workers_of(os.getpid())]
    together = answers(engine)
    assert all(w.cpu_times().user > before for w, before in zip(workers_of(os.getpid()), used, strict=True))
    with open_engine(replace(spec, data_parallel=1)) as one:
        assert answers(one) == together
    assert len(together) == 1000


def test_a_call_that_is_left_half_way_does_not_disturb_the_next(engine: Engine) -> None:
    whole = answers(engine)
    assert len(list(islice(engine.generate(REQUESTS, SAMPLING), 3))) == 3
    assert answers(engine) == whole


def test_what_one_copy_refuses_costs_its_own_answer_alone(engine: Engine) -> None:
    bad = replace(REQUESTS[0], id="bad", schema={"type": "no such type"}, n=1)
    found = {g.id: g for g in engine.generate([bad, *REQUESTS[:5]], SAMPLING)}
    assert "vLLM refuses the request" in (found.pop("bad").error or "")
    assert all(generation.error is None for generation in found.values())


def test_a_stop_leaves_in_the_middle(engine: Engine) -> None:
    flag = StopFlag()
    generations = engine.generate(REQUESTS, SAMPLING, flag)
    next(generations)
    flag.handle(signal.SIGTERM, None)
    with pytest.raises(StageStopped, match="generation left off"):
        list(generations)
    assert len(workers_of(os.getpid())) == 2


def test_a_copy_that_dies_ends_the_generation_with_its_name(engine: Engine) -> None:
    """The last test with this engine."""
    generations = engine.generate(REQUESTS, SAMPLING)
    next(generations)
    workers_of(os.getpid())[0].kill()
    with pytest.raises(
        StageFailure, match=r"copy . of 2 of the model, on the CPU, ended with code -9: .*run the stage"
    ):
        list(generations)


def test_nothing_outlives_a_parent_that_is_killed(spec: EngineSpec, tmp_path: Path) -> None:
    """And what was finished is kept: a later attempt asks only for the rest."""
    journal = tmp_path / "answers.jsonl"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from inference.engine import EngineSpec\nfrom inference.journal import generate_resumable\n"
        "from tests.test_inference_data_parallel import REQUESTS, SAMPLING\n"
        "spec = EngineSpec('vllm', Path(sys.argv[1]), 128, data_parallel=2)\n"
        "generate_resumable(spec, REQUESTS, SAMPLING, Path(sys.argv[2]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(spec.model), str(journal)], cwd=ROOT) as parent:
        while not journal.exists() or not journal.stat().st_size:
            assert parent.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
        workers = workers_of(parent.pid)
        assert len(workers) == 2
        parent.kill()
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert (len(gone), alive) == (2, [])
    kept = journal.read_bytes().split(b"\n")[:-1]
    assert 0 < len(kept) < 1000
    whole = generate_resumable(replace(spec, name="transformers", data_parallel=None), REQUESTS, SAMPLING, journal)
    assert len(whole) == 1000
    assert journal.read_bytes().split(b"\n")[: len(kept)] == kept


@pytest.mark.full
def test_copies_that_cannot_be_opened_are_one_clear_line(spec: EngineSpec, tmp_path: Path) -> None:
    assert isinstance(spec.model, Path)
    before = workers_of(os.getpid())
    model = Path(shutil.copytree(spec.model, tmp_path / "model"))
    os.truncate(model / "model.safetensors", 5000)
    with (
        pytest.raises(StageFailure, match=rf"vLLM cannot open {model}") as caught,
        open_engine(replace(spec, model=model)),
    ):
        pytest.fail("opened")
    assert "\n" not in str(caught.value)
    assert workers_of(os.getpid()) == before
