"""The trained model as one folder that transformers and vLLM load: weights, config, generation config, tokenizer.

Adapters are merged into the weights that they were trained on, or stand alone in a folder as peft and vLLM read it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.durable import replace_folder
from registry.errors import StageFailure
from train.checkpoints import flush

Weights = dict[str, Any]
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def save_final_model(trainer: Any, source: Path, target: Path, *, merge: bool = True) -> None:
    """Gather the weights on rank 0 and write them to `target` in the data type of the model in `source`.

    Adapters are merged into that model, or with `merge` false written alone, as they were trained, in float32.
    Collective: every rank calls it, and gets a `StageFailure` where the disk is full. The folder appears under its name
    only when it is whole; one that is there from an earlier run is replaced.
    """
    from peft import PeftModel

    from train.saving import written_by_all

    model = trainer.accelerator.unwrap_model(trainer.model)
    adapted = isinstance(model, PeftModel)
    if adapted:
        model.set_adapter(model.active_adapter)  # transformers freezes them when it loads the best
    weights = _gather(trainer.model, only_trained=adapted)
    temporary = target.with_name(f".{target.name}.tmp")
    with written_by_all(temporary, f"{trainer.args.run_name}: the model"):
        if trainer.accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            write = _write_merged if adapted and merge else _write_adapter if adapted else _write
            write(model, weights, source, temporary)
            trainer.processing_class.save_pretrained(temporary)
            flush(temporary)
            replace_folder(temporary, target)


def _gather(model: Any, *, only_trained: bool) -> Weights:
    """The whole weights in the memory of rank 0's host, one after the other; on other ranks nothing."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=only_trained)
    return dict(get_model_state_dict(model, options=options))


def _dtype_of(source: Path) -> Any:
    import torch
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source).dtype or torch.float32


def _write(model: Any, weights: Weights, source: Path, folder: Path) -> None:
    dtype = _dtype_of(source)
    for name, weight in weights.items():  # one by one: host memory need not hold both
        weights[name] = weight.to(dtype) if weight.is_floating_point() else weight
    model.save_pretrained(folder, state_dict=weights)
    # save_pretrained writes the live model's data type, float32, into the config; vLLM would load the weights as that.
    config = type(model.config).from_pretrained(folder)
    config.dtype = dtype
    config.save_pretrained(folder)


def _write_merged(model: Any, weights: Weights, source: Path, folder: Path) -> None:
    """Merge in float32 on the host, whatever the model was trained in, and round once."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    adapted = PeftModel(base, replace(model.peft_config[model.active_adapter], inference_mode=False))
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    if weights.keys() != trained:
        raise StageFailure(f"{len(trained)} adapter weights were trained and {len(weights)} gathered; this is a bug")
    adapted.load_state_dict(weights, strict=False)
    adapted.merge_and_unload().to(_dtype_of(source)).save_pretrained(folder)


def _write_adapter(model: Any, weights: Weights, source: Path, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    adapter = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
    save_file(adapter, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config[model.active_adapter]
    where = str(source.absolute())
    replace(config, base_model_name_or_path=where, inference_mode=True).save_pretrained(folder)
