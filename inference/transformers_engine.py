"""The transformers engine: `generate` on left-padded batches of like length. Slower than vLLM, and runs anywhere.

Sampling adds Gumbel noise from each sample's own generator to its scores and takes the largest, which draws from
the same distribution as multinomial sampling (the Gumbel-max trick: Maddison, Tarlow and Minka, "A* Sampling", 2014)
and, unlike transformers' sampling, does not depend on what else is in the batch.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.adapter import read_adapter
from inference.checkpoint import Checkpoint, load_checkpoint, opening
from inference.engine import EngineSpec, Gate, Generation, Known, Request, Sampling, model_folder
from inference.progress import track
from inference.samples import Sample, failure, finish, prepare
from registry.errors import UsageError
from registry.fields import EngineName
from registry.stopping import StopFlag

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

MAX_ROWS = 256
_CPU_CACHE_BYTES = 2**30


class TransformersEngine:
    """An opened transformers model; made by `open_transformers`."""

    name: EngineName = "transformers"

    def __init__(self, spec: EngineSpec, checkpoint: Checkpoint, model: Any) -> None:
        self._spec = spec
        self._checkpoint = checkpoint
        self._model: Any = model
        self._batch_tokens = _cache_bytes(model) // _cache_bytes_per_token(model)

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
        gate: Gate | None = None,
    ) -> Iterator[Generation]:
        """See `inference.engine.Engine.generate`."""
        if any(request.schema is not None for request in requests):
            raise UsageError(
                "the transformers engine cannot hold answers to a JSON schema; use the engine vllm or openai"
            )
        samples, ready = prepare(self._checkpoint, requests, sampling, self._spec.max_length)
        answers = self._run(samples, sampling, stop or StopFlag())
        yield from track(chain(ready, answers), len(samples) + len(ready), self.name)

    def _run(self, samples: list[Sample], sampling: Sampling, stop: StopFlag) -> Iterator[Generation]:
        assert self._model is not None, "the engine is closed"
        waiting = list(batches(samples, self._batch_tokens))[::-1]
        while waiting:
            batch = waiting.pop()
            rows = self._generate_if_it_fits(batch, sampling, stop)
            if rows is not None:
                for sample, row in zip(batch, rows, strict=True):
                    yield finish(self._checkpoint, sample, self._cut(row, sample.max_tokens))
            elif len(batch) > 1:
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
            else:
                why = "the answer does not fit into the memory of the GPU; lower max_tokens, or use one that has more"
                yield failure(batch[0].request, batch[0].index, len(batch[0].prompt_ids), why)

    def _generate_if_it_fits(self, batch: list[Sample], sampling: Sampling, stop: StopFlag) -> list[list[int]] | None:
        import torch

        try:
            return self._generate(batch, sampling, stop)
        except RuntimeError as error:  # CUDA has a class of its own for it below this one, MPS only the words
            if "out of memory" not in str(error):
                raise
            log.warning("a batch of %d does not fit into memory (%s)", len(batch), str(error).split(".")[0])
        # Only here, without the error, is nothing left that holds on to the batch's tensors.
        gc.collect()
        torch.cuda.empty_cache()
        return None

    def _generate(self, batch: list[Sample], sampling: Sampling, stop: StopFlag) -> list[list[int]]:
        """Return the generated ids of each row, padded to the length of the longest."""
        import torch
        from transformers import GenerationConfig

        device = self._model.device
        width = max(len(sample.prompt_ids) for sample in batch)
        pad = self._pad_id()
        ids = [[pad] * (width - len(sample.prompt_ids)) + sample.prompt_ids for sample in batch]
        mask = [[0] * (width - len(s.prompt_ids)) + [1] * len(s.prompt_ids) for s in batch]
        limits = torch.tensor([sample.max_tokens for sample in batch], device=device)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=int(limits.max()),
            eos_token_id=sorted(self._checkpoint.stop_ids) or None,
            pad_token_id=pad,
        )
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                generation_config=config,
                logits_processor=_processors(batch, sampling, device),
                stopping_criteria=[_RowLimits(width, limits, stop), *_stop_texts(self._checkpoint, sampling, width)],
            )
        rows: list[list[int]] = output[:, width:].tolist()
        return rows

    def _pad_id(self) -> int:
        tokenizer = self._checkpoint.tokenizer
        ids = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        return int(next(i for i in ids if i is not None))

    def _cut(self, row: list[int], limit: int) -> list[int]:
        """Cut the padding off: all after the first end-of-turn token, or after the row's own limit."""
        for position, token in enumerate(row[:limit]):
            if token in self._checkpoint.stop_ids:
                return row[: position + 1]
        return row[:limit]

    def close(self) -> None:
        """See `inference.engine.Engine.close`."""
        import torch

        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class _RowLimits:
    """Stopping criterion, asked after every token: each row ends at its own number of new tokens."""

    prompt_width: int
    limits: torch.Tensor
    stop: StopFlag

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.stop.check("generation left off")
        return input_ids.shape[1] - self.prompt_width >= self.limits


@dataclass(frozen=True)
class _StopText:
    """Stopping criterion: a row ends when its answer holds `text`. Of the prompt nothing counts."""

    text: str
    checkpoint: Checkpoint
    prompt_width: int

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        # The text ends in the latest token, and each of its tokens holds a byte of it at least.
        latest = max(self.prompt_width, input_ids.shape[1] - len(self.text.encode()))
        tails = input_ids[:, latest:].tolist()
        ended = [self.text in self.checkpoint.decode(tail) for tail in tails]
        return torch.tensor(ended, device=input_ids.device)


@dataclass(frozen=True)
class _GumbelNoise:
    """Logits processor: adds Gumbel noise, one generator per row."""

    generators: list[torch.Generator]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        noise = torch.empty_like(scores, dtype=torch.float32, device=self.generators[0].device)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.log().to(scores.device)


def batches(samples: Sequence[Sample], max_tokens: int) -> Iterator[list[Sample]]:
    """Yield batches of `samples`, which come longest first, so that what does not fit into memory fails at once.

    A batch's rows times its longest row (prompt and answer) stays within `max_tokens`, and its rows within
    `MAX_ROWS`.
    """
    batch: list[Sample] = []
    longest = 0
    for sample in samples:
        longest = max(longest, len(sample.prompt_ids) + sample.max_tokens)
        if batch and (len(batch) == MAX_ROWS or (len(batch) + 1) * longest > max_tokens):
            yield batch
            batch, longest = [], len(sample.prompt_ids) + sample.max_tokens
        batch.append(sample)
    if batch:
        yield batch


def open_transformers(spec: EngineSpec) -> TransformersEngine:
    """Open a model folder with transformers. For the errors see `inference.engine.open_engine`."""
    if spec.tensor_parallel > 1 or (spec.data_parallel or 1) > 1:
        raise UsageError(
            f"the transformers engine runs on one device, tensor_parallel is {spec.tensor_parallel} and data_parallel "
            f'{spec.data_parallel or 1}; set them to 1, or use the engine "vllm"'
        )
    folder = model_folder(spec)
    checkpoint = load_checkpoint(folder, spec.max_length)
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    # What models are trained in; float16 has too small a range for some of them.
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    adapter = read_adapter(folder)
    with opening(folder, "transformers"):
        base = adapter.base if adapter else folder
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
        if adapter:
            model = _merged(model, folder)
    # The model's own sampling defaults (top_k, repetition penalty) would be merged into ours.
    model.generation_config = GenerationConfig()
    log.info("transformers engine: %s on %s in %s", folder, device, str(dtype).removeprefix("torch."))
    return TransformersEngine(spec, checkpoint, model.to(device).eval())


def _merged(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def _stop_texts(checkpoint: Checkpoint, sampling: Sampling, prompt_width: int) -> list[_StopText]:
    return [] if sampling.stop_text is None else [_StopText(sampling.stop_text, checkpoint, prompt_width)]


def _processors(batch: list[Sample], sampling: Sampling, device: torch.device) -> list[Any]:
    if sampling.temperature == 0:
        return []
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    nucleus = [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    # Apple's GPUs have no generator that is as good: there the noise comes from the CPU.
    source = device if device.type == "cuda" else "cpu"
    generators = [torch.Generator(source).manual_seed(sample.seed) for sample in batch]
    return [TemperatureLogitsWarper(float(sampling.temperature)), *nucleus, _GumbelNoise(generators)]


def _cache_bytes(model: Any) -> int:
    """What a batch's key-value cache may take: half of what is left of the GPU, or 1 GiB on a CPU."""
    import torch

    if model.device.type != "cuda":
        return _CPU_CACHE_BYTES
    return int(torch.cuda.mem_get_info()[0]) // 2


def _cache_bytes_per_token(model: Any) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_size * model.dtype.itemsize)
