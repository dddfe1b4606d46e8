"""A tiny Llama with random weights and a byte-level BPE tokenizer, made in a moment: for tests of real engines."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.fields import EngineName

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Every engine that loads a model itself, for `parametrize`; vLLM cannot be installed on a Mac.
LOCAL: tuple[EngineName, ...] = ("vllm", "transformers")
_HAS_VLLM = importlib.util.find_spec("vllm") is not None
NEEDS_VLLM = pytest.mark.skipif(not _HAS_VLLM, reason="vLLM is not installed here")
ENGINES = [pytest.param(name, marks=[NEEDS_VLLM] if name == "vllm" else []) for name in LOCAL]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SENTENCES = (
    "Which drug lowers the blood pressure of a patient with diabetes?",
    "A. Lisinopril\nB. Prednisone\nC. Ibuprofen\nD. Caffeine",
    "## Thinking\n\nThe patient needs an inhibitor.\n\n## Final Response\n\nThe answer is A. Lisinopril",
    "<think>\nThe patient needs an inhibitor.\n</think>\n\nThe answer is B. Prednisone",
)


def change_json(path: Path, **fields: Any) -> None:
    """Change fields of a model's file of settings."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def make_tiny_model(folder: Path, *, hidden: int = 64, layers: int = 2, max_length: int = 512) -> Path:
    """Write a seeded random model with tokenizer and chat template into `folder`, and return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=max_length,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Random weights of the usual size are almost indifferent between tokens, and float noise would decide.
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _make_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
