"""What `training_params` may say: supervised fine-tuning of all weights or of LoRA adapters, and GRPO."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from registry.fields import Count, Duration, Fraction, Positive, Strict, described, no_outcome

TrainingMethod = Literal["sft", "lora", "grpo"]
RewardName = Literal["accuracy", "format", "letter", "token_f1"]
Truncation = Literal["drop", "cut"]


class OptimizerConfig(Strict):
    """AdamW's constants. Norms and biases are never decayed."""

    adam_beta1: Fraction = described("Decay of the first moment.", 0.9)
    adam_beta2: Fraction = described("Decay of the second moment.", 0.95)
    adam_epsilon: Annotated[float, Field(gt=0.0)] = described("Added to the denominator.", 1e-8)
    no_decay_params: tuple[str, ...] = described("Parts of the names of further weights that are not decayed.", ())


class LoraConfig(Strict):
    """Low-rank adapters (Hu et al., LoRA, 2021) in place of all weights; scaled by `alpha` / `rank`."""

    rank: Positive = described("Rank of each adapter.", 16)
    alpha: Annotated[float, Field(gt=0.0)] = described("Scale of the adapters, divided by rank.", 32.0)
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = described("Dropout on an adapter's input.", 0.0)
    target_modules: Literal["all-linear"] | tuple[str, ...] = described(
        "Layers that get an adapter, by the end of their names.", "all-linear"
    )
    modules_to_save: tuple[str, ...] = described("Layers that are trained whole beside the adapters.", ())
    merge: bool = described("Save the model with its adapters merged; false: the adapters alone.", True)


class GrpoConfig(Strict):
    """Group relative policy optimisation (Shao et al., DeepSeekMath, 2024) on rewards that can be checked.

    A row of the global batch is one completion, so that `num_generations` must divide it. The reward of a completion
    is the weighted sum of `rewards`.
    """

    num_generations: Annotated[int, Field(ge=2)] = described("Completions per question, compared with each other.", 8)
    max_tokens: Positive = described("Longest completion.", 1024)
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = described("Of the sampling.", 1.0)
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = described("Nucleus sampling.", 1.0)
    beta: Annotated[float, Field(ge=0.0)] = described("Weight of the divergence from the base model.", 0.0)
    epsilon: Annotated[float, Field(gt=0.0)] = described("Clip of the probability ratio.", 0.2)
    rewards: dict[RewardName, float] = described("Weight of each reward.", {"accuracy": 1.0, "format": 0.5})

    @model_validator(mode="after")
    def _check(self) -> GrpoConfig:
        if not any(weight > 0.0 for weight in self.rewards.values()):
            raise ValueError("rewards needs at least one reward with a weight above 0")
        return self


class EarlyStoppingConfig(Strict):
    """Stop when `patience` validations in a row have not bettered the best one by more than `threshold`."""

    patience: Positive = described("Validations without a better one after which training ends.", 3)
    threshold: Annotated[float, Field(ge=0.0)] = described("What counts as better, in the metric's unit.", 0.0)


class TrainingParams(Strict):
    """Fine-tuning: `sft` of all weights, `lora` of adapters, or `grpo`.

    The global batch is `total_batch_size`, or `batch_size` x `gradient_accumulation_steps` x the catalog's
    `reference_gpus`, on any number of processes. `max_length` null means the model's. A row over it is dropped or cut
    at its end as `truncation` says, and counted. With `early_stopping` or `keep` "best" the model that is kept is the
    one of the best validation by `metric`.
    """

    method: TrainingMethod = described("sft, lora or grpo.", "sft")
    learning_rate: Annotated[float, Field(gt=0.0)] = described("Highest learning rate of the schedule.")
    # The fingerprint has the product of these, the global batch.
    batch_size: Positive = no_outcome("Rows per GPU and step.", 1)
    gradient_accumulation_steps: Positive = no_outcome("Steps per optimizer step.", 1)
    total_batch_size: Positive | None = no_outcome("Rows per optimizer step; wins over the product.")
    num_epochs: Annotated[float, Field(gt=0.0)] = described("Passes over the training data.")
    weight_decay: Annotated[float, Field(ge=0.0)] = described("AdamW's weight decay.", 0.0)
    warmup_ratio: Fraction = described("Part of the steps in which the learning rate rises.", 0.0)
    lr_scheduler: Literal["cosine", "linear", "constant"] = described("How the learning rate falls.", "cosine")
    optimizer: OptimizerConfig = described("AdamW's constants.", OptimizerConfig())
    lora: LoraConfig | None = described("Adapters: for lora, and for grpo that is to train no more than them.", None)
    grpo: GrpoConfig | None = described("Only for grpo.", None)
    max_length: Positive | None = described("Longest row in tokens; null: the model's.", None)
    truncation: Truncation = described("What becomes of a longer row.", "drop")
    max_grad_norm: Annotated[float, Field(gt=0.0)] = described("Gradients are clipped to this norm.", 1.0)
    seed: int = described("Seed of the order of rows.", 42)
    evaluations_per_epoch: Annotated[int, Field(ge=0)] = described("Validations per epoch; 0: at the end only.", 1)
    keep: Literal["last", "best"] = described(
        "Which weights become the model: the last, or the best validated.", "last"
    )
    metric: Literal["loss", "token_accuracy"] = described("What of the validation decides which is best.", "loss")
    early_stopping: EarlyStoppingConfig | None = described("End when validations get no better; null: never.", None)
    per_device_batch_size: Positive | None = no_outcome("Rows per GPU and forward pass; null: batch_size.")
    packing: bool | None = no_outcome(
        "Lay several rows of an optimizer step into one sequence; null: where flash attention is installed."
    )
    gradient_checkpointing: bool = no_outcome("Less memory for more time.", True)
    checkpoints_per_epoch: Annotated[int, Field(ge=0)] = no_outcome("How often state is saved for a resume.", 1)
    time_budget: Count | Duration | None = no_outcome(
        "Minutes, or a text such as 12:00:00, after which training saves and comes back later; null: no limit."
    )

    def global_batch(self, reference_gpus: int) -> int:
        """Rows per optimizer step."""
        if self.total_batch_size is not None:
            return self.total_batch_size
        return self.batch_size * self.gradient_accumulation_steps * reference_gpus

    def warmup_steps(self, steps: int) -> int:
        """The first of so many optimizer steps, over which the learning rate rises."""
        return round(self.warmup_ratio * steps)

    @property
    def keeps_best(self) -> bool:
        """Whether the model is that of the best validation."""
        return self.keep == "best" or self.early_stopping is not None

    @model_validator(mode="before")
    @classmethod
    def _sections_of_method(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("method") in ("lora", "grpo") and data.get(data["method"]) is None:
            return {**data, data["method"]: {}}
        return data

    @model_validator(mode="after")
    def _check(self) -> TrainingParams:
        if self.lora is not None and self.method == "sft":
            raise ValueError('lora is given, but method "sft" trains all weights: use method "lora"')
        if self.grpo is not None and self.method != "grpo":
            raise ValueError(f'grpo is given, but the method is "{self.method}"')
        if self.method == "grpo" and self.packing:
            raise ValueError("packing is for rows that are there before training, and grpo generates its own")
        if self.method == "grpo" and self.truncation == "cut":
            raise ValueError('grpo cannot ask a question that is cut: use truncation "drop"')
        if self.method == "grpo" and (self.keeps_best or self.metric != "loss"):
            raise ValueError("grpo has no validation that could tell which weights are best")
        return self
