"""Rows, configs and a model with a known answer, for tests that run whole stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.rows import Option, Row, question_id_of, row_id_of
from registry.catalog import DatasetEntry, ModelEntry
from registry.curation_schema import curation_of
from registry.effective import EffectiveConfig
from registry.schema import EvalConfig, PromptStyle, Stage, StageResources
from registry.stage import StageContext, Upstream
from registry.training_schema import TrainingParams
from tests.tiny import make_tiny_model

DRUGS = ("Lisinopril", "Prednisone", "Ibuprofen", "Caffeine")
MAX_LENGTH = 512


def record(number: int, gold: str = "B", **changes: Any) -> dict[str, Any]:
    """One well-formed record of a training file; `number` makes its question its own."""
    text = DRUGS["ABCD".index(gold)]
    return {
        "question": f"Which drug helps patient {number}?",
        "options": dict(zip("ABCD", DRUGS, strict=True)),
        "answer_idx": gold,
        "answer": text,
        "reasoning": f"Patient {number} needs an inhibitor. The answer is {gold}",
        "specialty": "Cardiology",
        **changes,
    }


def row(number: int, gold: str = "B", **changes: Any) -> Row:
    """The same as a `Row`, for functions below the stages."""
    fields = record(number, gold) | changes
    pairs = fields["options"] or {}
    options = tuple(Option(letter, text) for letter, text in pairs.items())
    content = [fields[name] for name in ("question", "answer", "answer_idx", "reasoning", "specialty")]
    return Row(
        id=row_id_of([*content, pairs], fields.get("occurrence", number)),
        question_id=question_id_of(fields["question"], options),
        question=fields["question"],
        options=options,
        answer=fields["answer"],
        answer_idx=fields["answer_idx"],
        reasoning=fields["reasoning"],
        reasoning_original=fields["reasoning"],
        specialty=fields["specialty"],
        source=fields.get("source", "made-up"),
    )


def write_jsonl(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def make_context(
    run_dir: Path,
    model: Path,
    *,
    train: DatasetEntry | None = None,
    evaluate: Mapping[str, DatasetEntry] | None = None,
    trained: Path | None = None,
    **fields: Any,
) -> StageContext:
    """A stage's context in `run_dir`; `fields` are `curation`, `training`, `eval` (as a registry writes them)..."""
    run_dir.mkdir(parents=True, exist_ok=True)
    curation, training = fields.get("curation"), fields.get("training")
    prompting: PromptStyle = fields.get("prompting", "plain")
    config = EffectiveConfig(
        experiment="made-up-experiment",
        model_key="tiny",
        model=ModelEntry(
            file_path=str(model),
            max_length=fields.get("max_length", MAX_LENGTH),
            system_prompt=fields.get("system_prompt"),
        ),
        prompting=prompting,
        train_dataset_key="made-up" if train else None,
        train_dataset=train,
        eval_datasets=dict(evaluate or {}),
        curation=None if curation is None else curation_of(curation),
        difficulty_model_key=None,
        difficulty_model=None,
        training=None if training is None else TrainingParams.model_validate(training),
        reference_gpus=1,
        eval=EvalConfig.model_validate(fields.get("eval", {})),
        called_models=fields.get("called_models", {}),
        slurm=StageResources(),
    )
    upstream: dict[Stage, Upstream] = {}
    if trained is not None:
        upstream["training"] = Upstream("training", config.experiment, "0" * 12, {"model_path": str(trained)})
    shared = run_dir.parent / "shared"
    return StageContext(config=config, run_dir=run_dir, attempt_dir=run_dir, shared=shared, upstream=upstream)


def make_model_that_answers(folder: Path, answer: str, prompts: Sequence[str]) -> Path:
    """Train a tiny model until it answers each of the user messages `prompts` with `answer` and ends its turn."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_tiny_model(folder, max_length=MAX_LENGTH)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoModelForCausalLM.from_pretrained(folder).config
    config.initializer_range = 0.02
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    examples = [_example(tokenizer, prompt, answer) for prompt in prompts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        losses = [model(input_ids=ids, labels=labels).loss for ids, labels in examples]
        loss = torch.stack(losses).mean()
        if loss.item() < 0.01:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.01, f"the model has not learnt its answer: loss {loss.item():.3f}"
    model.save_pretrained(folder)
    return folder


def _example(tokenizer: Any, prompt: str, answer: str) -> tuple[Any, Any]:
    import torch

    message = [{"role": "user", "content": prompt}]
    start = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
    end = tokenizer(answer + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return torch.tensor([start + end]), torch.tensor([[-100] * len(start) + end])
