"""The vLLM engine: continuous batching, on as many copies of the model as the visible GPUs hold."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Protocol

from inference.adapter import read_adapter
from inference.checkpoint import Checkpoint, load_checkpoint
from inference.data_parallel import copies_of, open_workers
from inference.engine import EngineSpec, Gate, Generation, Known, Request, Sampling, model_folder
from inference.progress import track
from inference.samples import Sample, failure, finish, prepare
from inference.vllm_core import Outcome, check_adapter, open_core
from registry.errors import MissingError
from registry.fields import EngineName
from registry.stopping import StopFlag

log = logging.getLogger(__name__)


class Copies(Protocol):
    """One or several copies of a model."""

    def run(self, samples: Sequence[Sample], stop: StopFlag) -> Iterator[tuple[Sample, Outcome]]:
        """Yield what becomes of each sample, as they finish; leaves with `StageStopped` when `stop` asks for it."""
        ...

    def close(self) -> None:
        """Give all memory back."""
        ...


class VllmEngine:
    """An opened vLLM engine; made by `open_vllm`."""

    name: EngineName = "vllm"

    def __init__(self, spec: EngineSpec, checkpoint: Checkpoint, copies: Copies) -> None:
        self._spec = spec
        self._checkpoint = checkpoint
        self._copies = copies

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
        gate: Gate | None = None,
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`."""
        samples, ready = prepare(self._checkpoint, requests, sampling, self._spec.max_length)
        answers = self._run(samples, stop or StopFlag())
        yield from track(chain(ready, answers), len(samples) + len(ready), self.name)

    def _run(self, samples: Sequence[Sample], stop: StopFlag) -> Iterator[Generation]:
        for sample, outcome in self._copies.run(samples, stop):
            if isinstance(outcome, str):
                yield failure(sample.request, sample.index, len(sample.prompt_ids), outcome)
            else:
                yield finish(self._checkpoint, sample, outcome)

    def close(self) -> None:
        """See `inference.engine.Engine.close`."""
        self._copies.close()


def open_vllm(spec: EngineSpec) -> VllmEngine:
    """Open vLLM on a model folder. For the errors see `inference.engine.open_engine`."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingError(
            "the package vllm is not installed (on a Mac it cannot be): install it, "
            'or set "engine" to "transformers" (eval.engine, curation.difficulty.engine)'
        )
    checkpoint = load_checkpoint(model_folder(spec), spec.max_length)
    if adapter := read_adapter(checkpoint.folder):
        check_adapter(adapter)
    import torch

    gpus = torch.cuda.device_count()
    copies = copies_of(spec, gpus)
    where = f"{copies * spec.tensor_parallel} x {torch.cuda.get_device_name(0)}" if gpus else "the CPU"
    log.info("vllm engine: %s on %s, %s", checkpoint.folder, where, f"{copies} copies" if copies > 1 else "1 copy")
    if copies == 1:
        return VllmEngine(spec, checkpoint, open_core(spec, checkpoint.stop_ids))
    return VllmEngine(spec, checkpoint, open_workers(spec, checkpoint.stop_ids, copies, gpus))
