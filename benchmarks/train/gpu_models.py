"""Llama-shaped models with random weights, made here, and rows of random text for them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

from benchmarks.train.ways import Conversation
from tests.tiny import make_tiny_model

LENGTH, TINY_LENGTH = 8_192, 256
_LLAMA = {"vocab_size": 128_256, "max_position_embeddings": LENGTH, "num_key_value_heads": 8, "rope_theta": 500_000.0}
SHAPES: dict[str, Mapping[str, float | bool]] = {
    "tiny": {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    "1b": {
        **_LLAMA,
        "hidden_size": 2_048,
        "intermediate_size": 8_192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "8b": {
        **_LLAMA,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "head_dim": 128,
    },
}


def make_model(folder: Path, shape: Mapping[str, float | bool]) -> Path:
    """Write a model of this shape in bfloat16 with the tiny model's tokenizer into `folder`, and return the folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    make_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    tiny = json.loads((folder / "config.json").read_text())
    config = LlamaConfig(**{**tiny, "head_dim": None, "initializer_range": 0.02, **shape})
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    del model
    return folder


def full_rows(rows: int, length: int) -> list[Conversation]:
    """Rows of more than `length` tokens, which the stage cuts to exactly that."""
    return [_row(number, length) for number in range(rows)]


def mixed_rows(rows: int, length: int) -> list[Conversation]:
    """Rows of up to `length` tokens whose lengths are spread as those of reasoning traces: a log-normal."""
    draw = random.Random(0)
    return [_row(number, min(length * 0.9, length / 8 * draw.lognormvariate(0.0, 0.7))) for number in range(rows)]


def _row(number: int, tokens: float) -> Conversation:
    # A letter that the tokenizer has no merges for is a token of its own.
    draw = random.Random(number)
    text = "".join(draw.choices("QXZJKVWY", k=int(tokens)))
    return {
        "id": f"row {number}",
        "prompt": [{"role": "user", "content": "Which drug?"}],
        "completion": [{"role": "assistant", "content": text}],
    }
