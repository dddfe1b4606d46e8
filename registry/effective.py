"""The effective config of an experiment: the only form that a stage ever sees.

References are followed, catalog defaults filled in, `--set` applied, catalog entries and absolute paths looked up.
It is plain JSON once dumped, so that an intent record can freeze it and a job can load it again unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import field_validator

from registry.catalog import DatasetEntry, HubOrFile, ModelEntry
from registry.curation_schema import Curation, SimilarRows, fields_of
from registry.fields import Strict
from registry.hub_cache import RepoType
from registry.rewriting_schema import Role
from registry.schema import STAGES, EvalConfig, PromptStyle, Resources, Stage, StageResources
from registry.training_schema import TrainingParams


@dataclass(frozen=True)
class Used:
    """An entry of the catalog's `section` that an experiment's `stages` use."""

    section: Literal["models", "train_datasets", "eval_datasets"]
    key: str
    entry: HubOrFile
    stages: tuple[Stage, ...]

    @property
    def kind(self) -> RepoType:
        """What the hub calls it."""
        return "model" if self.section == "models" else "dataset"


class EffectiveConfig(Strict):
    """One experiment, resolved. `curation` or `training` null means that the stage does not apply.

    `benchmarks` are what the curation's decontamination checks against, `called_models` the models of its
    `CurationConfig.calls`, `merge_resources` what the job asks for that merges a sharded curation.
    """

    experiment: str
    model_key: str
    model: ModelEntry
    prompting: PromptStyle
    train_dataset_key: str | None
    train_dataset: DatasetEntry | None
    eval_datasets: dict[str, DatasetEntry]
    curation: Curation | None
    difficulty_model_key: str | None
    difficulty_model: ModelEntry | None
    training: TrainingParams | None
    reference_gpus: int
    eval: EvalConfig
    judge_model: ModelEntry | None = None
    few_shot_dataset: DatasetEntry | None = None
    benchmarks: dict[str, DatasetEntry] = {}
    query_dataset: DatasetEntry | None = None
    query_section: Literal["train_datasets", "eval_datasets"] = "train_datasets"
    embedding_model: ModelEntry | None = None
    called_models: dict[Role, ModelEntry] = {}
    merge_resources: Resources | None = None
    slurm: StageResources

    @field_validator("curation", mode="before")
    @classmethod
    def _without_others_fields(cls, curation: Any) -> Any:
        """Configs frozen before each method had its own model hold `long_tokens` whatever the method."""
        if isinstance(curation, dict) and "long_tokens" not in fields_of(curation.get("method")):
            return {field: value for field, value in curation.items() if field != "long_tokens"}
        return curation

    @property
    def embedding_model_key(self) -> str | None:
        """Key of `embedding_model`; null where there is none."""
        return None if self.curation is None else self.curation.embedder

    def applies(self, stage: Stage) -> bool:
        """Whether the experiment has the stage at all."""
        if stage == "curation":
            return self.curation is not None
        if stage == "training":
            return self.training is not None
        return bool(self.eval_datasets)

    def used(self) -> Iterator[Used]:
        """Every entry of the catalog that the experiment's stages use."""
        yield Used("models", self.model_key, self.model, STAGES)
        if self.curation is not None and self.train_dataset_key is not None and self.train_dataset is not None:
            for key, entry in self.train_dataset.parts(self.train_dataset_key):
                yield Used("train_datasets", key, entry, ("curation",))
        for key, entry in _parts(self.benchmarks):
            yield Used("eval_datasets", key, entry, ("curation",))
        if isinstance(self.curation, SimilarRows) and self.query_dataset is not None:
            for key, entry in self.query_dataset.parts(self.curation.queries):
                yield Used(self.query_section, key, entry, ("curation",))
        if self.embedding_model_key is not None and self.embedding_model is not None:
            yield Used("models", self.embedding_model_key, self.embedding_model, ("curation",))
        if self.difficulty_model_key is not None and self.difficulty_model is not None:
            yield Used("models", self.difficulty_model_key, self.difficulty_model, ("curation",))
        yield from self._called()
        for key, entry in _parts(self.eval_datasets):
            yield Used("eval_datasets", key, entry, ("eval",))
        if self.eval.judge is not None and self.judge_model is not None:
            yield Used("models", self.eval.judge.model_key, self.judge_model, ("eval",))
        if self.eval.few_shot is not None and self.few_shot_dataset is not None:
            for key, entry in self.few_shot_dataset.parts(self.eval.few_shot.dataset):
                yield Used("train_datasets", key, entry, ("eval",))

    def _called(self) -> Iterator[Used]:
        for role, entry in self.called_models.items():
            assert self.curation is not None
            yield Used("models", self.curation.calls[role].model_key, entry, ("curation",))


def _parts(entries: Mapping[str, DatasetEntry]) -> Iterator[tuple[str, DatasetEntry]]:
    for key, entry in entries.items():
        yield from entry.parts(key)
