"""`python -m benchmarks.eval_gpu`: output tokens and items per second of the vllm engine, 1,024 sequences on one GPU.

The model has the shape of Llama 3.1 8B in bfloat16 with random weights: what it says is noise, how long it takes is
not. Prints "not run" and why where there is no GPU or no vLLM.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.checkpoint import Checkpoint
from inference.engine import EngineSpec, Request, Sampling
from inference.vllm_core import open_core
from inference.vllm_engine import VllmEngine
from tests.tiny import make_tiny_model

SEQUENCES, ANSWER_TOKENS, MAX_LENGTH = 1_024, 512, 1_024
LLAMA_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4_096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 8_192,
}
_QUESTION = "Which drug lowers the blood pressure of a patient with diabetes? " * 4


def main() -> None:
    """Measure and print, or say why not."""
    reason = _missing()
    if reason is not None:
        print(f"not run: {reason}")
        return
    import torch

    seconds, tokens, items = measure(LLAMA_8B, SEQUENCES, Sampling(max_tokens=ANSWER_TOKENS))
    print(
        f"{torch.cuda.get_device_name(0)}, 8B in bfloat16, {SEQUENCES:,} sequences of up to {ANSWER_TOKENS} tokens: "
        f"{tokens / seconds:,.0f} output tokens/s, {items / seconds:,.1f} items/s ({seconds:.1f} s)"
    )


def _missing() -> str | None:
    if importlib.util.find_spec("vllm") is None:
        return "vllm is not installed here"
    import torch

    return None if torch.cuda.device_count() else "no GPU is visible here"


def measure(shape: Mapping[str, int], sequences: int, sampling: Sampling) -> tuple[float, int, int]:
    """Return seconds, output tokens and answered items of a Llama of this shape; opening is not counted."""
    with tempfile.TemporaryDirectory(prefix="meds1-eval-gpu-") as scratch:
        folder = _without_weights(Path(scratch), shape)
        from transformers import AutoTokenizer

        checkpoint = Checkpoint(folder, AutoTokenizer.from_pretrained(folder), frozenset())
        spec = EngineSpec("vllm", folder, MAX_LENGTH)
        engine = VllmEngine(spec, checkpoint, open_core(spec, checkpoint.stop_ids, load_format="dummy"))
        try:
            list(engine.generate(_requests(sequences, "warm-up"), Sampling(max_tokens=8)))
            began = time.perf_counter()
            answers = list(engine.generate(_requests(sequences, "item"), sampling))
            seconds = time.perf_counter() - began
        finally:
            engine.close()
    answered = [answer for answer in answers if answer.error is None]
    return seconds, sum(answer.completion_tokens for answer in answered), len(answered)


def _requests(number: int, name: str) -> list[Request]:
    return [Request(f"{name} {i}", ({"role": "user", "content": f"{name} {i}: {_QUESTION}"},)) for i in range(number)]


def _without_weights(folder: Path, shape: Mapping[str, int]) -> Path:
    """The tiny model's folder with a config of this shape; random weights need no file."""
    make_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **shape, "dtype": "bfloat16"}))
    return folder


if __name__ == "__main__":
    main()
