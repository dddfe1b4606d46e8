"""What an experiment may say: the pydantic models of `results.json`'s configs.

These models are strict (unknown fields are errors) and frozen. A registry is loaded as plain JSON and kept byte for
byte; the models see an experiment only when its effective config is built (`registry.effective`) or validated.

A field marked with `no_outcome` changes how fast or where a stage runs, never what comes out of it: it is left out
of the fingerprint.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stage = Literal["curation", "training", "eval"]
STAGES: tuple[Stage, ...] = get_args(Stage)
PARENT: dict[Stage, Stage | None] = {"curation": None, "training": "curation", "eval": "training"}

MethodName = Literal["all", "random", "s1"]
FormatName = Literal["huatuo", "qwen", "nemotron", "plain"]
PromptStyle = Literal["plain", "strict", "step"]
EngineName = Literal["vllm", "transformers"]

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def no_outcome(default: Any = None, **constraints: Any) -> Any:
    """A field that the fingerprint leaves out."""
    return Field(default, json_schema_extra={"no_outcome": True}, **constraints)


class Strict(BaseModel):
    """Base of every model of a config: unknown fields and NaN are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class QualityConfig(Strict):
    """Rules of the quality filter. Lengths are tokens of the tuned model's tokenizer."""

    truncation_tokens: tuple[Positive, ...] = (1024,)
    max_tokens: Positive | None = None


class DifficultyConfig(Strict):
    """The base-model difficulty filter: keep a row when the model's pass rate over `samples` answers lies in range.

    `model_key` null means the experiment's own base model. `unjudged` says what becomes of a row whose answer could
    not be generated (its prompt does not fit the model, for instance).
    """

    model_key: str | None = no_outcome()  # the model that it names has its own place in the fingerprint
    engine: EngineName = "vllm"
    samples: Positive = 1
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    max_tokens: Positive = 1024
    pass_rate: tuple[Fraction, Fraction] = (0.0, 0.0)
    unjudged: Literal["keep", "remove"] = "remove"

    @model_validator(mode="after")
    def _check(self) -> DifficultyConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError("samples > 1 needs a temperature above 0, or every sample is the same answer")
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate is [lowest, highest]")
        return self


class CurationConfig(Strict):
    """How training data is chosen and laid out.

    `s1` is quality filter, difficulty filter, then specialty-balanced sampling of long reasoning (at least
    `long_tokens` tokens); its two filters are on unless they are null. For `random` and `all` they are off unless
    they are given.
    """

    method: MethodName
    n_samples: Positive | None = None
    format: FormatName = "huatuo"
    quality: QualityConfig | None = None
    difficulty: DifficultyConfig | None = None
    long_tokens: Annotated[int, Field(ge=0)] = 1000
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    seed: int = 42

    @model_validator(mode="before")
    @classmethod
    def _filters_of_s1(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("method") == "s1":
            return {"quality": {}, "difficulty": {}, **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> CurationConfig:
        if self.method == "all" and self.n_samples is not None:
            raise ValueError("method 'all' takes every row: remove n_samples, or use method 'random'")
        if self.method != "all" and self.n_samples is None:
            raise ValueError(f"method '{self.method}' needs n_samples")
        return self


class OptimizerConfig(Strict):
    """AdamW's constants."""

    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.95
    adam_epsilon: Annotated[float, Field(gt=0.0)] = 1e-8


class TrainingParams(Strict):
    """Supervised fine-tuning.

    The global batch is `total_batch_size`, or `batch_size` x `gradient_accumulation_steps` x the catalog's
    `reference_gpus`, on any number of processes. `max_length` null means the model's. A row over it is dropped or cut
    at its end as `truncation` says, and counted.
    """

    method: Literal["sft"] = "sft"
    learning_rate: Annotated[float, Field(gt=0.0)]
    # The fingerprint has the product, the global batch.
    batch_size: Positive = no_outcome(1, ge=1)
    gradient_accumulation_steps: Positive = no_outcome(1, ge=1)
    total_batch_size: Positive | None = no_outcome(ge=1)
    num_epochs: Annotated[float, Field(gt=0.0)]
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    warmup_ratio: Fraction = 0.0
    lr_scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: OptimizerConfig = OptimizerConfig()
    max_length: Positive | None = None
    truncation: Literal["drop", "cut"] = "drop"
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    seed: int = 42
    per_device_batch_size: Positive | None = no_outcome(ge=1)
    gradient_checkpointing: bool = no_outcome(True)
    checkpoints_per_epoch: Annotated[int, Field(ge=0)] = no_outcome(1, ge=0)

    def global_batch(self, reference_gpus: int) -> int:
        """Rows per optimizer step."""
        if self.total_batch_size is not None:
            return self.total_batch_size
        return self.batch_size * self.gradient_accumulation_steps * reference_gpus


class EvalConfig(Strict):
    """Question answering. Greedy by default; `limit` takes the first questions of each benchmark, for a quick look."""

    engine: EngineName = "vllm"
    max_tokens: Positive = 2048
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: int = 0
    limit: Positive | None = None
    tensor_parallel: Positive = no_outcome(1, ge=1)


class Resources(Strict):
    """What one stage's job asks of Slurm. Null leaves the choice to the cluster's default.

    `gpus` and `cpus` are per node and per task; a training job runs one task per GPU (one per node without GPUs).
    `time` is in minutes, `memory` as Slurm writes it ("64G", per node). `extra` goes to sbatch as it is.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: Positive = 1
    gpus: Annotated[int, Field(ge=0)] = 0
    cpus: Positive = 1
    memory: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None
    time: Positive | None = None
    constraint: str | None = None
    extra: dict[str, str | int | bool] = {}


class StageResources(Strict):
    """The resources of the three stages."""

    curation: Resources = Resources()
    training: Resources = Resources()
    eval: Resources = Resources()


class ExperimentDatasets(Strict):
    """Keys into the catalog: the set to curate from and the benchmark files to evaluate on (one or several)."""

    curate: str | None = None
    eval: str | tuple[str, ...] | None = None


class ExperimentConfig(Strict):
    """An experiment's `config` with references followed and catalog defaults filled in."""

    model_key: str
    datasets: ExperimentDatasets = ExperimentDatasets()
    curation: CurationConfig | None = None
    training_params: TrainingParams | None = None
    prompting: PromptStyle = "plain"
    eval: EvalConfig = EvalConfig()
    slurm: StageResources = StageResources()
