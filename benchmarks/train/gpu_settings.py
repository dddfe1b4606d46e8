"""The settings that are compared on a GPU: our defaults, each with one thing changed, and TRL's defaults."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Setting:
    """What is changed of our defaults.

    `params` are fields of `training_params`, `attention` is transformers' name of an implementation, `arguments` are
    attributes of TRL's `SFTConfig`. `mixed` takes rows of many lengths in place of full ones. `weights` is the data
    type that is trained, `cache` says whether autocast keeps its bf16 copies. `beside` is what it is compared with.
    """

    way: Literal["stage", "trl"] = "stage"
    params: Mapping[str, Any] = field(default_factory=dict)
    attention: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mixed: bool = False
    weights: Literal["float32", "bfloat16"] = "float32"
    cache: bool | None = None
    needs: str | None = None
    beside: str = "ours"


SETTINGS: dict[str, Setting] = {
    "ours": Setting(),
    "trl": Setting(way="trl"),
    "trl-1-row": Setting(way="trl", arguments={"per_device_train_batch_size": 1}),
    "float32": Setting(arguments={"bf16": False, "mixed_precision": "no"}, attention="sdpa"),
    "no-checkpointing": Setting(params={"gradient_checkpointing": False}),
    "flash-attention-3": Setting(attention="flash_attention_3", needs="flash_attn_interface"),
    "flash-attention-2": Setting(attention="flash_attention_2", needs="flash_attn"),
    "sdpa": Setting(attention="sdpa"),
    "eager": Setting(attention="eager"),
    "unfused-optimizer": Setting(arguments={"optim": "adamw_torch"}),
    "autocast-cache": Setting(cache=True),
    "bf16-weights": Setting(weights="bfloat16"),
    "torch-compile": Setting(arguments={"torch_compile": True, "torch_compile_backend": "inductor"}),
    "accumulation": Setting(params={"gradient_accumulation_steps": 2}),
    "mixed-rows": Setting(mixed=True, params={"gradient_accumulation_steps": 16, "packing": False}),
    "mixed-rows-packed": Setting(
        mixed=True, params={"gradient_accumulation_steps": 16, "packing": True}, beside="mixed-rows"
    ),
}


def missing_package(setting: Setting) -> str | None:
    """The package that the setting needs and that is not installed."""
    return setting.needs if setting.needs and importlib.util.find_spec(setting.needs) is None else None
