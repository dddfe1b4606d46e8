"""The shape of a dense decoder-only model (Llama, Qwen, Mistral and their kin), from its config.json alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.errors import MissingError, UsageError
from registry.weights import count_parameters

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model. `intermediate` is the width of its gated MLP, `tied` says that the head is the embedding."""

    parameters: int
    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one decoder layer by their usual names: (inputs, outputs)."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def embeddings(self) -> int:
        """Parameters of the embedding and, where it is a matrix of its own, the head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)


def read_shape(folder: Path) -> ModelShape:
    """Read the shape of the model in `folder`; the parameters are counted in its weights where these are there.

    Raises `MissingError` when there is no config.json, `UsageError` for a model of another kind.
    """
    config = read_config(folder)
    try:
        shape = _shape(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{folder / 'config.json'}: tells no shape of a decoder ({error} is missing or odd)") from None
    exact = _counted(folder)
    if exact is None and any(config.get(name) for name in _EXPERTS):
        raise UsageError(f"{folder}: a mixture of experts, whose parameters can only be counted in its weights")
    return replace(shape, parameters=exact or _parameters(shape, config))


def read_config(folder: Path) -> Mapping[str, Any]:
    """The model's config.json as it is; `MissingError` when there is none."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise MissingError(
            f"{folder}: holds no model (no config.json); check the model's entry in the catalog"
        ) from None
    except (OSError, ValueError):
        raise MissingError(f"{file}: cannot be read as JSON; fetch the model again") from None
    if not isinstance(config, dict):
        raise MissingError(f"{file}: is no object; fetch the model again")
    return config


def _shape(config: Mapping[str, Any]) -> ModelShape:
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    return ModelShape(
        parameters=0,
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        intermediate=int(config["intermediate_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        vocab=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _counted(folder: Path) -> int | None:
    try:
        return count_parameters(folder)
    except MissingError:  # only the config is here: its own count is as good
        return None


def _parameters(shape: ModelShape, config: Mapping[str, Any]) -> int:
    """Weights and biases as transformers lays them out; Qwen2 has biases that its config does not mention."""
    kind = config.get("model_type")
    linears = shape.linears
    biased = {"q_proj", "k_proj", "v_proj"} if kind == "qwen2" else set()
    if config.get("attention_bias"):
        biased |= {"q_proj", "k_proj", "v_proj", "o_proj"}
    if config.get("mlp_bias"):
        biased |= {"gate_proj", "up_proj", "down_proj"}
    layer = sum(inputs * outputs for inputs, outputs in linears.values()) + 2 * shape.hidden
    layer += sum(linears[name][1] for name in biased)
    layer += 2 * shape.head_dim if kind == "qwen3" else 0  # norms of queries and keys
    return shape.embeddings + shape.layers * layer + shape.hidden
