"""A GRPO training before any model is loaded: questions counted, rewards checked, batches and steps settled."""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.hub import resolve
from inference.formats import FORMATS, ChatFormat
from registry.errors import UsageError
from registry.stage import StageContext
from registry.training_memory import Load
from registry.training_schema import GrpoConfig, RewardName, TrainingParams
from train.batch import BatchPlan, plan_batch
from train.hardware import attention_implementation
from train.lora import ParameterCounts, count_parameters
from train.order import epoch_order
from train.rewards import Reward, lacks, rewards_of
from train.task import load_tokenizer

LOSS = "dapo"  # the mean over all of a step's tokens, so that no layout of a step over processes changes it
SCALE = "group"  # rewards are compared within a group, in its standard deviations
READ = ("prompt", "answer", "answer_idx", "options")  # of the formatted data set


@dataclass(frozen=True, slots=True)
class Questions:
    """`dataset` has `prompt` and the columns that `train.rewards` reads; its longest prompt has `longest` tokens.

    `dropped` counts the rows that were left out, by reason.
    """

    dataset: Any
    ids: tuple[str, ...]
    rows: int
    dropped: Mapping[str, int]
    longest: int


@dataclass(frozen=True, slots=True)
class GrpoTask:
    """What is to be trained, on what, in `steps` optimizer steps; a row of `plan` is a completion."""

    experiment: str
    params: TrainingParams
    grpo: GrpoConfig
    model_path: Path
    tokenizer: Any
    plan: BatchPlan
    max_length: int
    questions: Questions
    rewards: Mapping[RewardName, Reward]
    steps: int
    attention: str
    generation: Literal["vllm", "transformers"]
    parameters: ParameterCounts

    @property
    def validation(self) -> None:
        """There is none: nothing is compared with a reference text."""

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """None, for want of a validation."""
        return frozenset()

    def load(self, gpu: int) -> Load:
        """What the longest prompt with the longest completion asks of a GPU of so many bytes."""
        tokens = self.plan.per_device * (self.questions.longest + self.grpo.max_tokens)
        return Load(self.plan.world_size, tokens, self.plan.accumulation, gpu)


def prepare(context: StageContext) -> GrpoTask:
    """Settle everything that can be wrong before a model is loaded; `train.method` names the experiment."""
    from datasets import load_from_disk

    config = context.config
    params, curation = config.training, config.curation
    if params is None or params.grpo is None or curation is None:
        raise UsageError("method grpo needs training_params.grpo and a curation")
    grpo = params.grpo
    per_device = params.per_device_batch_size or params.batch_size
    plan = plan_batch(params.global_batch(config.reference_gpus), per_device, context.world_size)
    chat_format = FORMATS[curation.format]
    rewards = rewards_of(list(grpo.rewards), chat_format)
    max_length = params.max_length or config.model.max_length
    if grpo.max_tokens >= max_length:
        raise UsageError(
            f"grpo.max_tokens {grpo.max_tokens} leaves no room for a prompt in max_length {max_length}; lower it"
        )
    model_path = resolve(config.model, "model", config.model_key)
    tokenizer = load_tokenizer(model_path)
    parameters = count_parameters(model_path, params.lora)
    rows = load_from_disk(str(context.upstream["curation"].path("dataset_path")))["train"]
    questions = _questions(rows, tokenizer, chat_format, list(rewards), max_length - grpo.max_tokens)
    return GrpoTask(
        experiment=config.experiment,
        params=params,
        grpo=grpo,
        model_path=model_path,
        tokenizer=tokenizer,
        plan=plan,
        max_length=max_length,
        questions=questions,
        rewards=rewards,
        steps=plan.total_steps(questions.rows * grpo.num_generations, params.num_epochs),
        attention=attention_implementation(),
        generation=generation_engine(),
        parameters=parameters,
    )


def question_order(questions: int, per_step: int, seed: int, epoch: int) -> list[list[int]]:
    """The numbers of the `per_step` questions of each step of an epoch: the same on every machine.

    A last step that lacks questions is filled with the epoch's first ones; none is left out.
    """
    order = epoch_order(questions, seed, epoch)
    steps = -(-questions // per_step)
    endless = itertools.cycle(order)
    return [list(itertools.islice(endless, per_step)) for _ in range(steps)]


def _questions(rows: Any, tokenizer: Any, chat_format: ChatFormat, rewards: list[RewardName], room: int) -> Questions:
    """The rows whose prompt has at most `room` tokens and that every reward can judge."""
    from datasets import Dataset

    if missing := {*READ} - {*rows.column_names}:
        raise UsageError(
            f"the formatted data set lacks the columns {', '.join(sorted(missing))}, which rewards need: it is of an "
            "older version; run curation again"
        )
    kept: list[dict[str, Any]] = []
    ids: list[str] = []
    longest = 0
    dropped: Counter[str] = Counter()
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        tokens = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        reason = _reason_to_drop(row, rewards, tokens > room)
        if reason is not None:
            dropped[reason] += 1
            continue
        longest = max(longest, tokens)
        kept.append({**{column: row[column] for column in READ}, "begun": _begun(prompt, chat_format)})
        ids.append(str(row["id"]))
    if not kept:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "there was none"
        raise UsageError(
            f"no training row is left ({counts}); look at grpo.rewards, max_length and grpo.max_tokens, or at the "
            "curation"
        )
    given = rows.features
    features = type(given)({**{column: given[column] for column in READ}, "begun": given["answer"]})
    return Questions(Dataset.from_list(kept, features=features), tuple(ids), len(kept), dict(dropped), longest)


def _begun(prompt: str, chat_format: ChatFormat) -> str:
    opening = chat_format.opening.strip()
    return chat_format.opening if opening and prompt.rstrip().endswith(opening) else ""


def _reason_to_drop(row: Mapping[str, Any], rewards: list[RewardName], too_long: bool) -> str | None:
    if too_long:
        return "over max_length"
    return next((f"without what the reward {name} compares with" for name in rewards if lacks(row, name)), None)


def generation_engine() -> Literal["vllm", "transformers"]:
    """vLLM shares the GPU with the training where both are there; else the model that is trained generates itself."""
    import torch

    found = torch.cuda.is_available() and importlib.util.find_spec("vllm") is not None
    return "vllm" if found else "transformers"
