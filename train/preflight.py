"""What a training needs, looked for before its processes join and before anything heavy is imported."""

from __future__ import annotations

import json

from data.hub import resolve
from inference.trainable import check_trainable
from registry.errors import MissingError, UsageError, naming
from registry.stage import StageContext


def check(context: StageContext) -> None:
    """Raise one clear line, which names the experiment, when the model or the curated rows cannot be trained with.

    `MissingError` for what is not there or not whole, `UsageError` for a model that cannot be trained as it is.
    """
    config = context.config
    if config.training is None:
        raise UsageError(f"{config.experiment}: there are no training_params, so there is nothing to train")
    _check_dataset(context)
    with naming(config.experiment):
        model = resolve(config.model, "model", config.model_key)
        check_trainable(model, config.training.max_length or config.model.max_length)


def _check_dataset(context: StageContext) -> None:
    folder = context.upstream["curation"].path("dataset_path")
    try:
        splits = json.loads((folder / "dataset_dict.json").read_bytes())["splits"]
    except (OSError, ValueError, KeyError, TypeError):
        splits = []
    if "train" not in splits:
        raise MissingError(
            f"{context.config.experiment}: {folder} holds no curated rows (a saved data set with the split train); "
            "run curation again with --force"
        )
