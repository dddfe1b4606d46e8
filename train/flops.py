"""Floating-point operations of a training, and what a GPU could do: for the model FLOPs utilisation (MFU).

Imports TRL inside functions; both formula and table of GPUs are TRL's.
"""

from __future__ import annotations

from typing import Any


def flops_per_token(config: Any, sequence_length: float, trained_parameters: int | None = None) -> float | None:
    """FLOPs that learning from one token takes (Chowdhery et al., PaLM, 2022, appendix B).

    With N weights in matrix products (all but the input embedding, which is a look-up), of which n are trained, and a
    `sequence_length` of T tokens, over which each token attends to half of them on average: 2 N forward, 2 N backward
    through the activations, 2 n for the gradients of the weights, and 12 x layers x heads x head size x T / 2 for
    attention's scores and sums. All weights are trained where `trained_parameters` is None: 6 N. Activations that
    checkpointing computes again do not count; nor do the forward and backward passes of LoRA's own small matrices.

    `config` is a transformers config. None for an architecture whose config does not say its sizes in Llama's words.
    """
    from trl.trainer.utils import compute_flops_per_token

    text = config.get_text_config()
    try:
        matrices = compute_flops_per_token(text, 0)  # 6 N
        attention = compute_flops_per_token(text, 1) - matrices  # for each token of the sequence, future ones included
    except AttributeError:
        return None
    weights = matrices if trained_parameters is None else matrices * 4 / 6 + 2 * trained_parameters
    return float(weights + attention * sequence_length / 2)


def peak_flops(device_name: str) -> float | None:
    """bf16 FLOPs per second of a GPU by the name that CUDA gives it, dense; None for one that is not in TRL's table."""
    from trl.trainer.utils import get_peak_flops

    peak: float | None = get_peak_flops(device_name, "bfloat16")
    return peak
