"""What an experiment may say: the pydantic models of `results.json`'s configs.

These models are strict (unknown fields are errors) and frozen. A registry is loaded as plain JSON and kept byte for
byte; the models see an experiment only when its effective config is built (`registry.effective`) or validated.

What `curation` may say is in `registry.curation_schema`, `training_params` in `registry.training_schema`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from registry.curation_schema import Curation
from registry.fields import API_ENGINES, Count, Duration, EngineName, Memory, Positive, Strict, described, no_outcome
from registry.sbatch_options import refused
from registry.training_schema import TrainingParams

Stage = Literal["curation", "training", "eval"]
STAGES: tuple[Stage, ...] = get_args(Stage)
PARENT: dict[Stage, Stage | None] = {"curation": None, "training": "curation", "eval": "training"}
# The field of an experiment's config that a stage is told by.
CONFIG_FIELD: dict[Stage, str] = {"curation": "curation", "training": "training_params", "eval": "datasets"}

PromptStyle = Literal["plain", "strict", "step"]
RubricName = Literal["report", "reasoning", "failure_modes"]
TaskName = Literal["choice", "labels", "number", "text"]


class ThinkingConfig(Strict):
    """How long the model may think: budget forcing (Muennighoff et al., s1: simple test-time scaling, 2025).

    Thinking is cut at `budget_tokens`, and the final answer is forced; `waits` times a thinking that ends before its
    budget is made to go on by "Wait". Of several budgets each is a run of its own over all questions.
    """

    budget_tokens: Positive | tuple[Positive, ...] = described("Most tokens of thinking: one number, or a list.")
    waits: Annotated[int, Field(ge=0)] = described('How often "Wait" replaces the end of a thinking.', 0)

    @property
    def budgets(self) -> tuple[int, ...]:
        """All budgets, the smallest first."""
        listed = (self.budget_tokens,) if isinstance(self.budget_tokens, int) else self.budget_tokens
        return tuple(sorted(set(listed)))

    @model_validator(mode="after")
    def _check(self) -> ThinkingConfig:
        if not self.budgets:
            raise ValueError("budget_tokens needs at least one budget")
        return self


class FewShotConfig(Strict):
    """Solved questions put before every question, the same ones for all."""

    # The data set that `dataset` names has its own place in the fingerprint.
    dataset: str = no_outcome("Key of the catalog's train_datasets that they are drawn from.", ...)
    n: Positive = described("How many.", 3)


class JudgeConfig(Strict):
    """A model that grades what cannot be counted: quality of reports, of reasoning, why an answer is wrong."""

    # The model that `model_key` names has its own place in the fingerprint.
    model_key: str = no_outcome("Model of the catalog that judges.", ...)
    engine: EngineName = described("What runs the judge.", "openai")
    rubrics: Annotated[tuple[RubricName, ...], Field(min_length=1)] = described("What is graded.")
    max_tokens: Positive = described("Longest verdict.", 1024)
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = described("0 is greedy.", 0.0)


class EvalConfig(Strict):
    """Question answering. Greedy by default; `limit` takes the first questions of each benchmark, for a quick look.

    `repetitions` are answers per question: one number for all benchmarks, or a number by benchmark (others have 1).
    """

    engine: EngineName = described("What generates the answers.", "vllm")
    max_tokens: Positive = described("Longest answer.", 2048)
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = described("0 is greedy.", 0.0)
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = described("Nucleus sampling.", 1.0)
    seed: int = described("Seed of the sampling.", 0)
    limit: Positive | None = described("Only the first questions of each benchmark, for a quick look.", None)
    repetitions: Positive | dict[str, Positive] | None = described(
        "Answers per question, for all or by benchmark; null: one.", None
    )
    thinking: ThinkingConfig | None = described("Budgets of thinking; null: the model thinks as it likes.", None)
    few_shot: FewShotConfig | None = described("Solved questions before every question; null: none.", None)
    judge: JudgeConfig | None = described("A model that grades answers; null: none.", None)
    tensor_parallel: Positive = no_outcome("GPUs that share one copy of the model.", 1)
    data_parallel: Positive | None = no_outcome("Copies of the model; null: as many as the job's GPUs hold.")
    concurrency: Positive = no_outcome("Requests that an API server gets at a time.", 16)
    max_cost: Annotated[float, Field(gt=0.0)] | None = no_outcome(
        "Most US dollars for model calls, over all attempts; null: no limit."
    )

    def repetitions_of(self, benchmark: str) -> int:
        """Answers per question of `benchmark`."""
        if isinstance(self.repetitions, int):
            return self.repetitions
        return (self.repetitions or {}).get(benchmark, 1)

    @model_validator(mode="after")
    def _check(self) -> EvalConfig:
        repeated = self.repetitions.values() if isinstance(self.repetitions, dict) else (self.repetitions or 1,)
        if max(repeated, default=1) > 1 and self.temperature == 0.0:
            raise ValueError(
                "repetitions above 1 need a temperature above 0, or all answers to a question are the same"
            )
        if self.thinking is not None and self.engine in API_ENGINES:
            raise ValueError("a budget of thinking needs an engine that goes on with an answer: vllm or transformers")
        return self


class Resources(Strict):
    """What one stage's job asks of Slurm. Null leaves the choice to the cluster's default.

    `gpus` and `cpus` are per node and per task; a training job runs one task per GPU (one per node without GPUs).
    `memory` is per node, as Slurm writes it ("64G"); `gpu_memory`, of one GPU, is told and not asked for. `time` is in
    minutes, or a text as Slurm writes it with hours or days ("12:00:00", "1-00:00:00"). `extra` goes to sbatch as it
    is; an option that is false is left out.
    """

    model_config = ConfigDict(json_schema_extra={"name_all_fields": True})

    partition: str | None = described("Slurm partition.", None)
    account: str | None = described("Account that pays.", None)
    qos: str | None = described("Quality of service.", None)
    nodes: Count = described("Nodes of the job.", 1)
    gpus: Annotated[int, Field(ge=0, strict=True)] = described("GPUs per node.", 0)
    gpu_memory: Memory | None = described(
        "Memory of one GPU, such as 80G, that a training's estimate is held against; null: by the GPU's name.", None
    )
    cpus: Count = described("Cores per task.", 1)
    memory: Memory | None = described("Per node, such as 64G.", None)
    time: Count | Duration | None = described("Minutes, or a text such as 12:00:00 or 1-00:00:00.", None)
    constraint: str | None = described("Features that nodes must have.", None)
    max_requeues: Annotated[int, Field(ge=0)] = described("How often a job may come back after it was stopped.", 20)
    extra: dict[str, str | int | bool] = described("More options of sbatch, as they are.", {})

    @field_validator("extra")
    @classmethod
    def _only_options_of_others(cls, extra: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        reasons = [reason for option, value in extra.items() if (reason := refused(option, value))]
        if reasons:
            raise ValueError("; ".join(reasons))
        return extra


class StageResources(Strict):
    """The resources of the three stages."""

    curation: Resources = Resources()
    training: Resources = Resources()
    eval: Resources = Resources()


class ExperimentDatasets(Strict):
    """Keys into the catalog: the set to curate from and the benchmark files to evaluate on (one or several)."""

    curate: str | None = described("Key of the catalog's train_datasets.", None)
    eval: str | tuple[str, ...] | None = described("One key or several of the catalog's eval_datasets.", None)


class ExperimentConfig(Strict):
    """An experiment's `config` with references followed and catalog defaults filled in."""

    model_key: str = described("The base model: a key of the catalog's models.")
    datasets: ExperimentDatasets = described("What to curate from and to evaluate on.", ExperimentDatasets())
    curation: Curation | None = described("How training data is chosen; null: no such stage.", None)
    training_params: TrainingParams | None = described("Fine-tuning; null: no such stage.", None)
    prompting: PromptStyle = described("How a question is put to the model.", "plain")
    eval: EvalConfig = described("Question answering.", EvalConfig())
    slurm: StageResources = described(
        "What this experiment's jobs ask of Slurm beyond the catalog's.", StageResources()
    )
