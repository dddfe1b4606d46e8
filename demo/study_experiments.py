"""Which experiments the invented study has, how good their models are to be, and its catalog."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Fate = Literal["completed", "stale", "failed", "running", "deleted", "original"]
BENCHMARKS = {
    "medical-mcq": "Medical MCQ",
    "medical-mcq-2": "Medical MCQ 2 (3 answers each)",
    "medical-free-text": "Drug classes (free text)",
}
SIZES = {"100": 100, "1k": 1_000, "5k": 5_000, "10k": 10_000}
STYLES = ("step", "list", "markdown", "soap", "qa", "none")
RATES = (0.33, 0.66, 1.0)
BUDGETS = (256, 1024, 4096)
EVAL = {"temperature": 0.7, "repetitions": {"medical-mcq-2": 3}}
TRAINING = {
    "learning_rate": 1e-05,
    "batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_epochs": 5,
    "warmup_ratio": 0.05,
}


@dataclass(frozen=True)
class Invented:
    """An experiment as it is to be.

    `skill` is the chance of a right answer on the first benchmark, `words` the mean length of a thinking, `unanswered`
    the share of answers without a letter; `fate` is what is to have become of it.
    """

    name: str
    label: str
    group: str
    description: str
    skill: float
    config: Mapping[str, Any]
    words: int = 60
    unanswered: float = 0.0
    fate: Fate = "completed"
    note: str = ""

    def entry(self) -> dict[str, Any]:
        """What stands in `results.json`."""
        noted = {"text": self.note, "author": "nobody", "timestamp": "2026-01-20T08:00:00Z"}
        return {
            "description": f"Invented: {self.description}",
            "tags": ["study", self.group],
            **({"notes": [noted]} if self.note else {}),
            "config": dict(self.config),
        }


def experiments(more_seeds: int = 0) -> list[Invented]:
    """All of them, with `more_seeds` more seeds of random-1k."""
    return [*_base(), *_sizes(), *_styles(), *_perturbations(), *_thinking(), *_seeds(more_seeds), *_odd()]


def catalog(invented: list[Invented]) -> dict[str, Any]:
    """The catalog, with a readable name and a group for each experiment."""
    return {
        "models": {
            "model-a": {"file_path": "model-a", "max_length": 8192},
            "model-b": {"file_path": "model-b", "max_length": 8192},
            "rewriter": {
                "api_model": "invented-rewriter",
                "max_length": 32768,
                "prices": {"input": 0.3, "output": 2.5},
            },
        },
        "train_datasets": {"train": {"file_path": "train.jsonl"}},
        "eval_datasets": {name: {"file_path": f"{name}.jsonl"} for name in BENCHMARKS},
        "defaults": {"reference_gpus": 4, "curation": {"rewriter": {"model_key": "rewriter", "engine": "openai"}}},
        "display": {
            "experiments": {one.name: {"name": one.label, "group": one.group} for one in invented},
            "benchmarks": BENCHMARKS,
        },
    }


def _tuned(curation: Mapping[str, Any], **config: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "model_key": "model-a",
        "datasets": "same as base",
        "curation": {"format": "huatuo", **curation},
        "training_params": TRAINING,
        "eval": "same as base",
    }
    return own | config


def _random(**curation: Any) -> dict[str, Any]:
    return {"method": "random", "n_samples": 1_000, **curation}


def _base() -> Iterator[Invented]:
    datasets = {"curate": "train", "eval": list(BENCHMARKS)}
    config = {"model_key": "model-a", "datasets": datasets, "eval": EVAL}
    yield Invented("base", "model A", "base", "the base model as it is", 0.34, config, words=25)
    step = {"model_key": "model-a", "datasets": "same as base", "prompting": "step", "eval": "same as base"}
    yield Invented("base-step", "model A, asked for steps", "base", "the base model, other prompts", 0.39, step)


def _sizes() -> Iterator[Invented]:
    for size, count in SIZES.items():
        gain = 0.05 * math.log10(count)
        curation = {"method": "random", "n_samples": count}
        said = f"{count:,} rows at random"
        yield Invented(f"random-{size}", f"random, {size}", "random", said, 0.40 + gain, _tuned(curation))
    for size, count in SIZES.items():
        gain = 0.08 * math.log10(count)
        curation = {"method": "s1", "n_samples": count}
        said = f"{count:,} hard rows of long reasoning"
        note = "The first one that was made; see <b>s1-10k</b> & its budgets." if size == "1k" else ""
        yield Invented(f"s1-{size}", f"s1, {size}", "s1", said, 0.40 + gain, _tuned(curation), words=110, note=note)
    config = _tuned({"method": "s1", "n_samples": 1_000}, model_key="model-b")
    yield Invented("s1-1k-model-b", "s1, 1k, model B", "s1", "s1-1k on another model", 0.67, config, words=110)


def _styles() -> Iterator[Invented]:
    for style, skill, words in zip(STYLES, (0.60, 0.57, 0.55, 0.53, 0.58, 0.47), (80, 50, 70, 60, 55, 0), strict=True):
        config = _tuned(_random(extract=style))
        said = f"the rows of random-1k, their reasoning rewritten as {style}"
        yield Invented(f"random-1k-{style}", f"random, 1k, {style}", "rewritten", said, skill, config, words)


def _perturbations() -> Iterator[Invented]:
    losses = {"skip": 0.08, "shuffle": 0.04, "answer": 0.22}
    for kind, loss in losses.items():
        for rate in RATES:
            for restore in (False, True) if kind == "skip" else (False,):
                curation = _random(extract="step", perturbation={"type": kind, "rate": rate})
                curation |= {"restore": True} if restore else {}
                name = f"random-1k-{kind}-{round(100 * rate)}" + ("-restore" if restore else "")
                label = f"{kind} {round(100 * rate)} %" + (", restored" if restore else "")
                skill = 0.60 - loss * rate * (0.4 if restore else 1.0)
                said = f"random-1k-step, {kind} at rate {rate}" + (", then restored" if restore else "")
                yield Invented(name, label, "perturbed", said, skill, _tuned(curation), words=80)


def _thinking() -> Iterator[Invented]:
    curation = {"method": "s1", "n_samples": 10_000}
    config = _tuned(curation, eval={**EVAL, "thinking": {"budget_tokens": list(BUDGETS)}, "max_tokens": 2048})
    said = "s1-10k with three budgets of thinking"
    yield Invented("s1-10k-thinking", "s1, 10k, budgets", "thinking", said, 0.76, config)
    for length, words, skill in (("short", 40, 0.66), ("long", 250, 0.75), ("longest", 500, 0.76)):
        config = _tuned({**curation, "seed": words})
        said = f"s1-10k of {length} reasoning"
        yield Invented(f"s1-10k-{length}", f"s1, 10k, {length}", "thinking", said, skill, config, words)


def _seeds(more: int) -> Iterator[Invented]:
    for number in range(2, 3 + more):
        config = _tuned(_random(seed=number))
        said = f"random-1k with seed {number}; truly as good as random-1k"
        yield Invented(f"random-1k-seed-{number}", f"random, 1k, seed {number}", "random", said, 0.55, config)


def _odd() -> Iterator[Invented]:
    fates: tuple[tuple[Fate, str], ...] = (
        ("stale", "whose config was edited after it had run"),
        ("failed", "whose training failed"),
        ("running", "whose eval runs"),
        ("deleted", "whose predictions were deleted"),
        ("original", "of which there is only a summary file, as the original project wrote it"),
    )
    for number, (fate, said) in enumerate(fates):
        config = _tuned(_random(seed=100 + number))
        yield Invented(fate, fate, "odd", f"an experiment {said}", 0.52, config, fate=fate)
    few = _tuned(_random(seed=200), eval={**EVAL, "limit": 20})
    yield Invented("limited", "limited", "odd", "asked the first 20 questions only", 0.55, few)
    one = _tuned(_random(seed=201), datasets={"curate": "train", "eval": "medical-mcq"}, eval={"temperature": 0.7})
    yield Invented("one-benchmark", "one benchmark", "odd", "evaluated on one benchmark", 0.55, one)
    silent = _tuned(_random(seed=202))
    yield Invented("unanswered", "unanswered", "odd", "that often says nothing", 0.50, silent, unanswered=0.15)
