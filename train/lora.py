"""LoRA: low-rank adapters on the layers of a frozen model (Hu et al., "LoRA", 2021), with peft.

What a config asks for is checked on an outline of the model, which holds no weights, so that a wrong name is told
before anything is loaded. Everything heavy is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import UsageError
from registry.training_schema import LoraConfig


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """How many weights the model has, without adapters, and how many the training changes."""

    total: int
    trained: int


def adapter_config(lora: LoraConfig) -> Any:
    """peft's config of the adapters."""
    import peft

    targets = lora.target_modules
    return peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=list(lora.modules_to_save) or None,
    )


def count_parameters(model: Path, lora: LoraConfig | None) -> ParameterCounts:
    """The counts of the model in the folder `model`; without `lora` all its weights are trained.

    Raises `UsageError` for adapters that the model cannot have.
    """
    import peft
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    total = sum(weight.numel() for weight in outline.parameters())
    if lora is None:
        return ParameterCounts(total, total)
    _check(outline, lora, model)
    adapted = peft.get_peft_model(outline, adapter_config(lora), low_cpu_mem_usage=True)
    return ParameterCounts(total, sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad))


def train_in_float32(model: Any) -> None:
    """Hold what is trained in float32, as the optimizer needs it; the frozen weights keep the model's data type.

    peft does so for its adapters, but not for `modules_to_save`.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _check(outline: Any, lora: LoraConfig, model: Path) -> None:
    import torch

    modules = dict(outline.named_modules())
    head = {name for name, module in modules.items() if module is outline.get_output_embeddings()}
    embeddings = head | {name for name, module in modules.items() if module is outline.get_input_embeddings()}
    adaptable = {
        name for name, module in modules.items() if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
    } - head
    targets = () if lora.target_modules == "all-linear" else lora.target_modules
    for target in targets:
        if _named(target, head):
            raise UsageError(
                f"training_params.lora.target_modules: {target} cannot have an adapter, because the loss reads its "
                "weights themselves; put it into modules_to_save"
            )
        if not _named(target, adaptable):
            raise _unknown("target_modules", target, adaptable, model)
    for saved in lora.modules_to_save:
        if not _named(saved, modules):
            raise _unknown("modules_to_save", saved, modules, model)
    tied = [name for name in (*targets, *lora.modules_to_save) if _named(name, embeddings)]
    if tied and outline.config.get_text_config().tie_word_embeddings:
        raise UsageError(
            f"training_params.lora: {tied[0]} cannot be trained, because input and output embeddings are one matrix in "
            f"{model}; leave it out"
        )


def _named(end: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == end or name.endswith(f".{end}")]


def _unknown(field: str, name: str, known: Iterable[str], model: Path) -> UsageError:
    ends = sorted({name.rpartition(".")[2] for name in known} - {""})
    legal = ", ".join(end for end in ends if not end.isdigit())
    return UsageError(f"training_params.lora.{field}: {model} has no layer {name} that it could be; it has {legal}")
