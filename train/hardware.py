"""What of this machine's hardware and packages a training can use."""

from __future__ import annotations

from typing import Literal

Attention = str
FLASH = ("flash_attention_3", "flash_attention_2")


def attention_implementation() -> Attention:
    """transformers' name of the fastest attention that is installed for this device: flash attention, else torch's."""
    import torch
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    if not torch.cuda.is_available():
        return "sdpa"
    major, _ = torch.cuda.get_device_capability()
    if is_flash_attn_3_available() and major == 9:  # written for Hopper
        return "flash_attention_3"
    return "flash_attention_2" if is_flash_attn_2_available() else "sdpa"


def has_flash_attention(attention: Attention) -> bool:
    """Whether the implementation reads the boundaries of packed rows by itself, without a mask of all pairs."""
    return attention in FLASH


def precision() -> Literal["bf16", "float32"]:
    """What the arithmetic is done in; the weights that are trained are float32."""
    import torch

    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if able else "float32"


def optimizer_name() -> str:
    """transformers' name of AdamW: in one kernel on a GPU."""
    import torch

    return "adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch"


def peak_memory_bytes() -> int:
    """The most memory that this process held: on the GPU where there is one, else resident."""
    import resource
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gpu_memory() -> int | None:
    """Bytes that this process's GPU has; null without one."""
    import torch

    return int(torch.cuda.get_device_properties().total_memory) if torch.cuda.is_available() else None
