"""One vLLM in this process: samples in, token ids out; bfloat16 on GPUs, float32 on a CPU.

vLLM changes its process: environment variables, torch's thread setters, the process group. `close` undoes what a
later stage in the same process would stumble over.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, get_args

from inference.adapter import Adapter, read_adapter
from inference.checkpoint import opening
from inference.engine import EngineSpec, model_folder
from inference.samples import Sample
from registry.errors import UsageError
from registry.stopping import StopFlag

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

Outcome = list[int] | str
"""The tokens that were generated, or why there are none."""

_QUIET: Mapping[str, str] = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
# Several threads made the throughput on a CPU unstable, and the worker processes cost 12 s per start.
# Threads that are bound to cores would be bound to the same ones in every process.
_ON_CPU: Mapping[str, str] = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
}


class VllmCore:
    """An opened vLLM; made by `open_core`. `capacity` is how many samples it works on at a time."""

    def __init__(self, llm: LLM, adapter: Adapter | None, stop_ids: frozenset[int], process: _Process) -> None:
        from vllm.lora.request import LoRARequest

        self._llm: LLM | None = llm
        self._adapter = LoRARequest("adapter", 1, str(adapter.folder)) if adapter else None
        self._stop_ids = sorted(stop_ids)
        self._process = process
        self._running: dict[str, tuple[str, int]] = {}
        self.capacity = int(llm.llm_engine.vllm_config.scheduler_config.max_num_seqs)

    def run(self, samples: Sequence[Sample], stop: StopFlag) -> Iterator[tuple[Sample, Outcome]]:
        """Yield what becomes of each sample, as they finish; leaves with `StageStopped` when `stop` asks for it."""
        try:
            for number, sample in enumerate(samples):
                refused = self.add(number, sample)
                if refused is not None:
                    yield sample, refused
            while self.busy:
                stop.check("generation left off")
                for number, outcome in self.step():
                    yield samples[number], outcome
        finally:
            # The consumer may stop half-way: what still runs would go on in the next call.
            self.abort()

    @property
    def busy(self) -> bool:
        """Whether a sample is being worked on."""
        return bool(self._running)

    def add(self, number: int, sample: Sample) -> str | None:
        """Queue a sample under a number that no running one has. Returns why vLLM refuses it, if it does."""
        from vllm.exceptions import VLLMClientError
        from vllm.inputs.engine import tokens_input

        assert self._llm is not None, "the engine is closed"
        try:
            internal = self._llm.llm_engine.add_request(
                str(number),
                tokens_input(sample.prompt_ids),
                self._params(sample),
                lora_request=self._adapter,
            )
        except (VLLMClientError, ValueError) as error:
            return f"vLLM refuses the request: {error}"
        self._running[str(number)] = (internal, number)
        return None

    def step(self) -> list[tuple[int, Outcome]]:
        """Generate the next tokens; returns what has finished."""
        assert self._llm is not None, "the engine is closed"
        finished: list[tuple[int, Outcome]] = []
        for output in self._llm.llm_engine.step():
            if output.finished:
                _, number = self._running.pop(output.request_id)
                answer = output.outputs[0]
                whole = answer.finish_reason in ("stop", "length")
                finished.append((number, list(answer.token_ids) if whole else f"vLLM: {answer.finish_reason}"))
        return finished

    def abort(self) -> None:
        """Drop what is being worked on."""
        if self._running and self._llm is not None:
            self._llm.llm_engine.abort_request([internal for internal, _ in self._running.values()], internal=True)
        self._running.clear()

    def _params(self, sample: Sample) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        sampling, schema = sample.sampling, sample.request.schema
        return SamplingParams(
            max_tokens=sample.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sample.seed if sampling.temperature > 0 else None,
            stop=sampling.stop_text,
            stop_token_ids=self._stop_ids,
            structured_outputs=None if schema is None else StructuredOutputsParams(json=dict(schema)),
            detokenize=sampling.stop_text is not None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def shut_down(self) -> None:
        """End vLLM's own processes: enough for a process that ends itself."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None

    def close(self) -> None:
        """Give all memory back."""
        if self._llm is not None:
            self.shut_down()
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


def open_core(spec: EngineSpec, stop_ids: frozenset[int], load_format: str = "auto") -> VllmCore:
    """Open one copy of the model on the GPUs that this process sees. Raises `StageFailure` when vLLM cannot.

    `load_format` is vLLM's; with "dummy" the weights are random, and the folder needs none.
    """
    import torch

    on_gpu = torch.cuda.device_count() > 0
    process = _Process()
    process.prepare(on_gpu=on_gpu)
    adapter = read_adapter(model_folder(spec))
    with ExitStack() as unless_opened:
        unless_opened.callback(process.restore)
        llm = _load(spec, adapter, load_format, on_gpu=on_gpu)
        unless_opened.pop_all()
    return VllmCore(llm, adapter, stop_ids, process)


def check_adapter(adapter: Adapter) -> None:
    """Raise `UsageError` for an adapter that vLLM cannot run on top of its base."""
    from vllm.config.lora import MaxLoRARanks

    remedy = 'set "engine" to "transformers", or train with training_params.lora.merge true'
    if adapter.modules_to_save:
        saved = ", ".join(adapter.modules_to_save)
        raise UsageError(f"vLLM cannot run adapters that replace whole layers ({saved}), as {adapter.folder}; {remedy}")
    if adapter.rank > max(get_args(MaxLoRARanks)):
        raise UsageError(f"vLLM cannot run adapters of rank {adapter.rank}, as {adapter.folder}; {remedy}")


def _lora_arguments(adapter: Adapter) -> dict[str, Any]:
    from vllm.config.lora import MaxLoRARanks

    return {"enable_lora": True, "max_lora_rank": min(r for r in get_args(MaxLoRARanks) if r >= adapter.rank)}


def _load(spec: EngineSpec, adapter: Adapter | None, load_format: str, *, on_gpu: bool) -> LLM:
    from vllm import LLM

    # On a CPU a prompt must not be split over two steps: vLLM 0.32 would rewind the generator of a seeded sample, and
    # torch's CPU generator cannot ("CPU Generator does not use offset").
    on_cpu = {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
    arguments: dict[str, Any] = {"dtype": "bfloat16"} if on_gpu else on_cpu
    with opening(model_folder(spec), "vLLM"), warnings.catch_warnings():
        # vLLM looks into every module on its way and trips over torch's deprecated names.
        warnings.simplefilter("ignore", FutureWarning)
        return LLM(
            model=str(adapter.base if adapter else spec.model),
            max_model_len=spec.max_length,
            tensor_parallel_size=spec.tensor_parallel,
            seed=spec.seed,
            load_format=load_format,
            **(_lora_arguments(adapter) if adapter else {}),
            **arguments,
        )
