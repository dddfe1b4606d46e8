"""Invented experiments with configs, curations and trainings, and the stored pictures of the figures of these."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plotting.runs import Run
from registry.catalog import Catalog, Display
from registry.resolve import effective
from tests.figure_cases import drawn, numbers, run_with
from tests.figure_references import Case
from train.log import write_log

CATALOG = Catalog.model_validate(
    {
        "models": {name: {"hf_path": f"org/{name}", "max_length": 512} for name in ("model-a", "model-b", "mender")},
        "train_datasets": {"train": {"hf_path": "org/train"}},
        "eval_datasets": {"mcq": {"hf_path": "org/mcq"}, "hard": {"hf_path": "org/hard"}},
        "defaults": {"curation": {"rewriter": {"model_key": "mender", "engine": "vllm"}}},
    }
)
RANDOM = {"method": "random", "n_samples": 1000}
TRAINING = {"learning_rate": 1e-5, "num_epochs": 3}
BENCHMARKS = {"mcq": 200, "hard": 50}
GROUPS = Display.model_validate(
    {
        "experiments": {
            **{f"random-{n}": {"name": f"random, {n}", "group": "random"} for n in (100, 1000, 5000)},
            **{f"s1-{n}": {"name": f"s1, {n}", "group": "s1"} for n in (100, 1000, 5000)},
            "base": {"name": "model A"},
        },
        "benchmarks": {"mcq": "Multiple choice", "hard": "Hard questions"},
    }
)


def config_of(curation: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    """The config of an experiment as people write it; without a curation it has no training either."""
    tuned = {} if curation is None else {"curation": dict(curation), "training_params": TRAINING}
    return {"model_key": "model-a", "datasets": {"curate": "train", "eval": "mcq"}, **tuned, **more}


def run_of(name: str, config: Mapping[str, Any], share: float | None = 0.5, **more: Any) -> Run:
    """An experiment with this share of right answers, or without an eval; `more` as for `run_with`."""
    found = {key: numbers(round(share * n), n) for key, n in BENCHMARKS.items()} if share is not None else {}
    document = {"experiments": {name: {"config": config}}}
    display = more.pop("display", GROUPS)
    return replace(run_with(name, found, display, **more), config=effective(document, CATALOG, Path(), name))


def base(share: float = 0.35) -> Run:
    """The base model."""
    return run_of("base", config_of(None), share)


def sizes() -> Iterator[Run]:
    """Two recipes in three sizes, of which the smallest of one is stale, and all rows."""
    yield base()
    filters: dict[str, Any] = {"quality": {}, "decontamination": None, "duplicates": None, "difficulty": None}
    for place, method in enumerate(("random", "s1")):
        for size in (100, 1000, 5000):
            curation = {**filters, "method": method, "n_samples": size}
            share = 0.3 + 0.06 * math.log10(size) * (1 + 0.2 * place)
            more = {"status": "stale"} if (method, size) == ("random", 100) else {}
            used = {"training": {"metrics": {"rows": size * 95 // 100}}}
            yield run_of(f"{method}-{size}", config_of(curation), share, **used, **more)
    rows = {"training": {"metrics": {"rows": 19000}}}
    yield run_of("everything", config_of({**filters, "method": "all"}), 0.6, **rows)


def perturbed() -> Iterator[Run]:
    """Two perturbations at two rates, one of them restored too, beside what they are made of and the base model."""
    yield base()
    steps = {**RANDOM, "extract": "step"}
    yield run_of("step", config_of(steps), 0.6)
    for kind, loss in (("skip", 0.1), ("answer", 0.25)):
        for rate in (0.33, 1.0):
            for restore in (False, True) if kind == "skip" else (False,):
                curation = {**steps, "perturbation": {"type": kind, "rate": rate}, "restore": restore}
                share = 0.6 - loss * rate * (0.4 if restore else 1)
                counts = [{"name": "step"}, {"name": kind, "realised": {"rate": rate - 0.02}}, {"name": "restore"}]
                made = {"curation": {"metrics": {"rewriting": counts}}} if kind == "skip" else {}
                yield run_of(f"{kind}-{rate}-{restore}", config_of(curation), share, **made)


def styles() -> Iterator[Run]:
    """Reasoning as it is and rewritten in four ways, for one model; two of them for another one."""
    yield base()
    shares = {None: 0.55, "step": 0.6, "list": 0.52, "none": 0.45, ("cot", "step"): 0.58}
    for model, less in (("model-a", 0.0), ("model-b", 0.06)):
        for extract, share in shares.items():
            if model == "model-a" or extract in (None, "step"):
                name = f"{model}-{extract}"
                listed = list(extract) if isinstance(extract, tuple) else extract
                yield run_of(name, config_of({**RANDOM, "extract": listed}, model_key=model), share - less)


def curated(count: int = 6, specialties: int = 5) -> list[Run]:
    """Experiments with a curation: some filter, some rewrite, each chooses other specialties and lengths."""
    runs = []
    for number in range(count):
        chosen = 50 * (number + 2)
        steps = {"total": 9000, "after_selection": chosen}
        if number % 2:
            steps |= {"after_quality": 8800, "after_difficulty": 5100 - 10 * number}
        if number % 3 == 2:
            steps |= {"after_rewriting": chosen - 7}
        metrics = {
            "funnel": steps,
            "reasons": {"quality": {"missing question": 150, "missing_reasoning": 50}} if number % 2 else {},
            "specialties": {f"Specialty {place}": chosen // (place + 2 + number % 3) for place in range(specialties)},
            "reasoning_tokens": dict(
                zip(
                    ("min", "p25", "median", "p75", "p95", "max", "total"),
                    (0.0 if number == 3 else 12.0, 80.0, 100.0 + 2 * number, 240.0, 600.0, 2500.0, 1e5),
                    strict=True,
                )
            ),
            "n_train": chosen,
        }
        runs.append(run_of(f"curated-{number}", config_of(RANDOM), None, curation={"metrics": metrics}))
    return runs


def trained(folder: Path, count: int = 3, steps: int = 40, **more: Any) -> list[Run]:
    """Experiments with the log of a training, each a little worse than the one before."""
    runs = []
    for number in range(count):
        length = steps * (1 + number % 2)
        history = list(_history(length, 1.5 + 0.1 * number))
        path = folder / f"trained-{number}.parquet"
        write_log(history, path)
        losses = [{"step": each["step"], "loss": each["eval_loss"]} for each in history if "eval_loss" in each]
        training = {"log_path": str(path), "metrics": {"validation_losses": losses}}
        runs.append(run_of(f"trained-{number}", config_of(RANDOM), None, training=training, **more))
    return runs


def rewarded(folder: Path) -> Run:
    """A GRPO training, which has rewards."""
    history = [{"step": step, "loss": 0.01, "reward": 1 - 0.9**step} for step in range(1, 31)]
    write_log(history, folder / "grpo.parquet")
    config = config_of(RANDOM, training_params={**TRAINING, "method": "grpo", "total_batch_size": 8})
    return run_of("grpo", config, None, training={"log_path": str(folder / "grpo.parquet"), "metrics": {"reward": {}}})


def _history(steps: int, start: float) -> Iterable[dict[str, Any]]:
    for step in range(1, steps + 1):
        loss = start * math.exp(-step / steps) + 0.05 * (step % 2)
        yield {"step": step, "loss": loss}
        if step % (steps // 4) == 0:
            yield {"step": step, "eval_loss": loss + 0.1}


CASES: dict[str, Case] = {
    "sample-efficiency": lambda _: drawn("sample-efficiency", list(sizes()), GROUPS),
    "perturbation": lambda _: drawn("perturbation", list(perturbed()), GROUPS),
    "reasoning-style": lambda _: drawn("reasoning-style", list(styles()), GROUPS),
    "funnel": lambda _: drawn("funnel", curated(), GROUPS),
    "funnel-of-one": lambda _: drawn("funnel", curated()[1:2], GROUPS),
    "specialties": lambda _: drawn("specialties", curated(), GROUPS),
    "specialties-of-two": lambda _: drawn("specialties", curated(2), GROUPS),
    "lengths": lambda _: drawn("lengths", curated(), GROUPS),
    "training": lambda folder: drawn("training", [*trained(folder), rewarded(folder)], GROUPS),
    "training-of-many": lambda folder: drawn("training", trained(folder, 12), GROUPS),
}
