"""The effective config of an experiment: the only form that a stage ever sees.

References are followed, catalog defaults filled in, `--set` applied, catalog entries and absolute paths looked up.
It is plain JSON once dumped, so that an intent record can freeze it and a job can load it again unchanged.
"""

from __future__ import annotations

from registry.catalog import DatasetEntry, ModelEntry
from registry.schema import CurationConfig, EvalConfig, PromptStyle, Stage, StageResources, Strict, TrainingParams


class EffectiveConfig(Strict):
    """One experiment, resolved. `curation` or `training` null means that the stage does not apply."""

    experiment: str
    model_key: str
    model: ModelEntry
    prompting: PromptStyle
    train_dataset_key: str | None
    train_dataset: DatasetEntry | None
    eval_datasets: dict[str, DatasetEntry]
    curation: CurationConfig | None
    difficulty_model_key: str | None
    difficulty_model: ModelEntry | None
    training: TrainingParams | None
    reference_gpus: int
    eval: EvalConfig
    slurm: StageResources

    def applies(self, stage: Stage) -> bool:
        """Whether the experiment has the stage at all."""
        if stage == "curation":
            return self.curation is not None
        if stage == "training":
            return self.training is not None
        return bool(self.eval_datasets)
