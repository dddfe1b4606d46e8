"""How much memory of each GPU a training needs: arithmetic on the model's shape, before anything is submitted.

What is kept for every parameter is that of Rajbhandari et al. (ZeRO: memory optimizations toward training trillion
parameter models, 2020), sharded over all processes (their stage 3, which FSDP2 is): float32 weights, gradients of them
and AdamW's two moments. What the layers keep for the backward pass is counted as in Korthikanti et al. (Reducing
activation recomputation in large transformer models, 2022), for a gated MLP, RMSNorm, grouped-query attention and an
attention that never holds the matrix of all pairs. The output layer is TRL 1.16's fused one (`trl.kernels`), which
never holds all logits. CUDA's own context and the allocator's fragmentation, 1 to 2 GiB, come on top.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from registry.model_shape import ModelShape
from registry.sizes import readable
from registry.training_schema import LoraConfig, TrainingParams

VLLM_SHARE = 0.3  # of a GPU, while GRPO generates with a vLLM that shares the GPUs of the training
_FLOAT, _HALF = 4, 2  # bytes of float32 and bfloat16
_TILE_TOKENS, _TILE_WORDS = 4096, 32_768  # logits that TRL's fused output layer holds at a time
_UNSHARDED_LAYERS = 2  # FSDP2 gathers the next layer while it computes one


@dataclass(frozen=True, slots=True)
class Load:
    """How a training is spread: processes (one GPU each), tokens of one forward pass, passes per optimizer step.

    `gpu` is the memory of one GPU in bytes, null when nobody knows; only GRPO's share for vLLM needs it.
    """

    processes: int
    tokens: int
    accumulation: int
    gpu: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes per GPU at the moment that needs most.

    `working_copies` are bf16 copies of weights: those that autocast makes, or the layers that FSDP2 has gathered.
    `generation` is vLLM's share, 0 without GRPO; null where it is a part of a GPU of unknown size.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    working_copies: int
    generation: int | None = 0

    @property
    def total(self) -> int:
        """All parts that are known."""
        return sum(part or 0 for part in asdict(self).values())


def estimate_memory(shape: ModelShape, params: TrainingParams, load: Load) -> MemoryEstimate:
    """Estimate for one GPU: the larger of the end of the forward pass and the largest moment of the backward pass."""
    trained, share = _trained(shape, params), load.processes
    saved, layer = _activations(shape, params, load)
    backward = MemoryEstimate(
        weights=(trained * _FLOAT + _frozen(shape, params)) // share,
        gradients=trained * _FLOAT // share,
        optimizer=2 * trained * _FLOAT // share,
        activations=saved + max(layer, _head(shape, params, load)),
        working_copies=_copies(shape, params, load, backward=True),
        generation=_generation(params, load),
    )
    forward = replace(
        backward,
        gradients=backward.gradients if load.accumulation > 1 else 0,
        activations=saved + _tile(shape, load),
        working_copies=_copies(shape, params, load, backward=False),
    )
    return max(forward, backward, key=lambda moment: moment.total)


def shortage(estimate: MemoryEstimate, gpu: int, params: TrainingParams) -> str | None:
    """What to say of a training that needs more than a GPU of `gpu` bytes has, with remedies; null when it fits."""
    if estimate.total <= gpu:
        return None
    could = ["gradient_checkpointing true"] if not params.gradient_checkpointing else []
    could += ["a lower per_device_batch_size"] if (params.per_device_batch_size or params.batch_size) > 1 else []
    could += ["more GPUs (slurm.training.gpus or nodes)", "a lower max_length"]
    if params.lora is None:
        could.append('method "lora"' if params.grpo is None else "lora")
    return (
        f"training needs about {readable(estimate.total)} on each GPU, and one has {readable(gpu)}; "
        f"what helps: {', '.join(could)}"
    )


def tokens_per_pass(params: TrainingParams, model_length: int, processes: int, reference_gpus: int) -> tuple[int, int]:
    """The most tokens of a forward pass, before the rows are known, and how many passes an optimizer step then has.

    Packed rows fill at most as many tokens as `per_device_batch_size` rows of the longest length.
    """
    share = max(1, params.global_batch(reference_gpus) // processes)
    rows = min(params.per_device_batch_size or params.batch_size, share)
    return rows * (params.max_length or model_length), -(-share // rows)


def _trained(shape: ModelShape, params: TrainingParams) -> int:
    """Parameters that the optimizer updates: all, or those of the adapters (Hu et al., LoRA, 2021)."""
    if params.lora is None:
        return shape.parameters
    return sum(
        shape.layers * params.lora.rank * sum(shape.linears[name]) for name in _adapted(shape, params.lora)
    ) + sum(_whole(shape, _end(name)) for name in params.lora.modules_to_save)


def _frozen(shape: ModelShape, params: TrainingParams) -> int:
    """Bytes of weights that are only read: the base of adapters, or the model that GRPO measures a divergence from."""
    if params.lora is not None:
        return shape.parameters * _HALF
    return shape.parameters * _FLOAT if params.grpo is not None and params.grpo.beta > 0 else 0


def _adapted(shape: ModelShape, lora: LoraConfig) -> list[str]:
    if lora.target_modules == "all-linear":
        return list(shape.linears)
    asked = {_end(target) for target in lora.target_modules}
    return [name for name in shape.linears if name in asked]


def _end(name: str) -> str:
    """The last part of a layer's name, which peft lets a config give in full (`self_attn.q_proj`)."""
    return name.rpartition(".")[2]


def _whole(shape: ModelShape, module: str) -> int:
    if module in ("lm_head", "embed_tokens"):
        return shape.vocab * shape.hidden
    inputs, outputs = shape.linears.get(module, (shape.hidden, 1))  # else a norm
    return shape.layers * inputs * outputs


def _generation(params: TrainingParams, load: Load) -> int | None:
    if params.method != "grpo":
        return 0
    return None if load.gpu is None else int(VLLM_SHARE * load.gpu)


def _activations(shape: ModelShape, params: TrainingParams, load: Load) -> tuple[int, int]:
    """Bytes that the layers keep for the backward pass, and what the backward pass of one layer needs beside."""
    # Autocast leaves the sums of a float32 model's residual stream in float32; FSDP2 hands out bf16 weights.
    stream = _FLOAT if load.processes == 1 and params.lora is None else _HALF
    # Two norms: a float32 input and a bf16 result, before and after the norm's weights, for each; or everything in
    # float32, and a bf16 copy for each of the five linear layers behind them.
    norms = shape.hidden * (2 * (_FLOAT + 2 * _HALF) if stream == _HALF else 2 * 2 * _FLOAT + 5 * _HALF)
    attention = 2 * shape.head_dim * (shape.heads + shape.kv_heads) * _HALF  # queries, keys, values, output
    mlp = 4 * shape.intermediate * _HALF  # gate, its activation, up, their product
    adapters = 0
    if params.lora is not None:  # peft hands each adapter its input in float32
        adapters = _FLOAT * sum(shape.linears[name][0] for name in _adapted(shape, params.lora))
    layer = load.tokens * (norms + attention + mlp + adapters)
    gradients = load.tokens * (3 * shape.intermediate + shape.hidden) * _HALF
    if params.gradient_checkpointing:
        return load.tokens * shape.hidden * stream * (shape.layers + 1), layer + gradients
    return layer * shape.layers + load.tokens * shape.hidden * stream, gradients


def _tile(shape: ModelShape, load: Load) -> int:
    return min(load.tokens, _TILE_TOKENS) * min(shape.vocab, _TILE_WORDS) * _HALF


def _head(shape: ModelShape, params: TrainingParams, load: Load) -> int:
    """The fused output layer's backward pass, which sums in float32 and hands on in the precision of its input."""
    by_token = load.tokens * shape.hidden * (_FLOAT + _HALF)
    trained = params.lora is None or "lm_head" in map(_end, params.lora.modules_to_save)
    by_word = shape.vocab * shape.hidden * (_FLOAT + _HALF) if trained and load.processes > 1 else 0
    return _tile(shape, load) + by_token + by_word


def _copies(shape: ModelShape, params: TrainingParams, load: Load, backward: bool) -> int:
    layers = shape.parameters - shape.embeddings
    layer = layers // shape.layers
    if load.processes > 1:
        gathered = _UNSHARDED_LAYERS * layer * (2 if backward and params.lora is None else 1)  # with their gradients
        return (gathered + shape.vocab * shape.hidden) * _HALF
    if params.lora is not None:  # its weights are in bf16 already
        return 0
    # train.trainer keeps autocast from caching its copies; the graph holds those that a backward pass needs.
    return (layer if params.gradient_checkpointing else layers) * _HALF
