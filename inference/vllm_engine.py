"""The vLLM engine: continuous batching, bfloat16 on GPUs, float32 in this very process on a CPU.

vLLM changes its process: environment variables, torch's thread setters, the process group. `close` undoes what a
later stage in the same process would stumble over.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inference.checkpoint import Checkpoint, load_checkpoint, opening
from inference.engine import EngineSpec, Generation, Request, Sampling, model_folder
from inference.progress import track
from inference.samples import Sample, finish, prepare
from registry.errors import MissingError, UsageError
from registry.schema import EngineName
from registry.stopping import StopFlag

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

_QUIET: Mapping[str, str] = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
# Several threads made the throughput on a CPU unstable, and the worker processes cost 12 s per start.
_ON_CPU: Mapping[str, str] = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
}


class VllmEngine:
    """An opened vLLM engine; made by `open_vllm`."""

    name: EngineName = "vllm"

    def __init__(self, spec: EngineSpec, checkpoint: Checkpoint, llm: LLM, process: _Process) -> None:
        self._spec = spec
        self._checkpoint = checkpoint
        self._llm: LLM | None = llm
        self._process = process

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, stop: StopFlag | None = None
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`."""
        samples, errors = prepare(self._checkpoint, requests, sampling, self._spec.max_length)
        answers = self._run(samples, errors, sampling, stop or StopFlag())
        yield from track(answers, len(samples) + len(errors), self.name)

    def _run(
        self, samples: list[Sample], errors: list[Generation], sampling: Sampling, stop: StopFlag
    ) -> Iterator[Generation]:
        from vllm.inputs.engine import tokens_input

        assert self._llm is not None, "the engine is closed"
        yield from errors
        engine = self._llm.llm_engine
        running: dict[str, tuple[str, Sample]] = {}
        try:
            for number, sample in enumerate(samples):
                prompt = tokens_input(sample.prompt_ids)
                internal = engine.add_request(str(number), prompt, self._params(sample, sampling))
                running[str(number)] = (internal, sample)
            while running:
                stop.check("generation left off")
                for output in engine.step():
                    if output.finished:
                        _, sample = running.pop(output.request_id)
                        yield finish(self._checkpoint, sample, list(output.outputs[0].token_ids))
        finally:
            # The consumer may stop half-way: what still runs would go on in the next call.
            if running:
                engine.abort_request([internal for internal, _ in running.values()], internal=True)

    def _params(self, sample: Sample, sampling: Sampling) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=sample.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sample.seed if sampling.temperature > 0 else None,
            stop_token_ids=sorted(self._checkpoint.stop_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def close(self) -> None:
        """See `inference.engine.Engine.close`."""
        if self._llm is None:
            return
        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        self._process.restore()


class _Process:
    """What vLLM changes in the process, as it was before."""

    def __init__(self) -> None:
        import torch

        self._environment = dict(os.environ)
        self._set_num_threads = torch.set_num_threads
        self._threads = torch.get_num_threads()

    def prepare(self, *, on_gpu: bool) -> None:
        """Set what the user has not set; vLLM reads most of it when it is imported."""
        import torch

        for name, value in {**_QUIET, **({} if on_gpu else _ON_CPU)}.items():
            os.environ.setdefault(name, value)
        if not on_gpu:
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"].split(",")[0]))

    def restore(self) -> None:
        """Give the memory back and put everything as it was, also after an engine that failed to open."""
        import torch
        from vllm.distributed import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        torch.set_num_threads = self._set_num_threads
        torch.set_num_threads(self._threads)


def open_vllm(spec: EngineSpec) -> VllmEngine:
    """Open vLLM on a model folder. For the errors see `inference.engine.open_engine`."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingError(
            "the package vllm is not installed (on a Mac it cannot be): install it, "
            'or set "engine" to "transformers" (eval.engine, curation.difficulty.engine)'
        )
    checkpoint = load_checkpoint(model_folder(spec), spec.max_length)
    import torch

    gpus = torch.cuda.device_count()
    _check_gpus(spec, gpus)
    process = _Process()
    process.prepare(on_gpu=gpus > 0)
    with contextlib.ExitStack() as unless_opened:
        unless_opened.callback(process.restore)
        llm = _load(spec, on_gpu=gpus > 0)
        unless_opened.pop_all()
    return VllmEngine(spec, checkpoint, llm, process)


def _check_gpus(spec: EngineSpec, gpus: int) -> None:
    if spec.tensor_parallel > max(gpus, 1):
        raise UsageError(
            f"tensor_parallel {spec.tensor_parallel} needs as many GPUs, {gpus} are visible here; "
            "lower it, or ask Slurm for the GPUs"
        )


def _load(spec: EngineSpec, *, on_gpu: bool) -> LLM:
    from vllm import LLM

    # On a CPU a prompt must not be split over two steps: vLLM 0.32 would rewind the generator of a seeded sample, and
    # torch's CPU generator cannot ("CPU Generator does not use offset").
    on_cpu = {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
    arguments: dict[str, Any] = {"dtype": "bfloat16"} if on_gpu else on_cpu
    with opening(model_folder(spec), "vLLM"), warnings.catch_warnings():
        # vLLM looks into every module on its way and trips over torch's deprecated names.
        warnings.simplefilter("ignore", FutureWarning)
        return LLM(
            model=str(spec.model),
            max_model_len=spec.max_length,
            tensor_parallel_size=spec.tensor_parallel,
            seed=spec.seed,
            **arguments,
        )
