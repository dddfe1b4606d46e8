"""What the invented curations and trainings recorded: metrics of the fields that the stages record, and some files."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from demo.study_experiments import Invented
from demo.world import SPECIALTIES
from registry.curation_schema import CurationConfig, S1Rows
from registry.effective import EffectiveConfig
from train.log import write_log
from train.measures import losses_and_accuracies

ROWS = 19_704
_SECONDS_PER_STEP = 5.6
_GPUS = 4
_REMOVED = {"quality": 211, "decontamination": 243, "duplicates": 350, "difficulty": 5_700}
_WHY = {
    "quality": {"no_reasoning": 180, "truncated": 31},
    "decontamination": {"shares 13-grams with medical-mcq": 190, "near duplicate of medical-mcq-2": 53},
    "duplicates": {"repeats an earlier question": 350},
    "difficulty": {"solved by the base model": 5_652, "unjudged": 48},
}
_GIVEN_UP_SHARE = 0.01
_TOKENS_OF_A_CALL = (900, 650)  # prompt and completion


def curate(invented: Invented, config: EffectiveConfig, run_dir: Path) -> dict[str, Any]:
    """Metrics of a curation, and a folder `med_s1k_formatted` with no more than a note in it."""
    curation = config.curation
    assert curation is not None
    folder = run_dir / "med_s1k_formatted"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("The study is invented: there are no rows here.\n", encoding="utf-8")
    rng = random.Random(f"curation {invented.name}")
    wanted = curation.wanted or ROWS
    rewriting = _rewriting(curation, wanted)
    left = rewriting[-1]["rows"] - rewriting[-1]["given_up"] if rewriting else wanted
    funnel, reasons = _funnel(curation, wanted, left, rewriting)
    validation = round(left * curation.validation_fraction)
    return {
        "dataset": config.train_dataset_key,
        "method": curation.method,
        "funnel": funnel,
        "reasons": reasons,
        "specialties": _specialties(left, isinstance(curation, S1Rows), rng),
        "reasoning_tokens": _lengths(invented.words, left),
        "difficulty": {"judged": ROWS - 804, "pass_rate": 0.3016} if isinstance(curation, S1Rows) else None,
        **({"rewriting": rewriting} if rewriting else {}),
        "n_train": left - validation,
        "n_validation": validation,
        "warnings": [],
    }


def spending(config: EffectiveConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    """What the calls of the rewriter have cost, as a result says it; nothing where none was called."""
    asked = sum(count["rows"] for count in metrics.get("rewriting", ()) if count["name"] != "none")
    rewriter = config.called_models.get("rewriter")
    if not asked or rewriter is None or rewriter.prices is None:
        return {}
    prompt, completion = (asked * tokens for tokens in _TOKENS_OF_A_CALL)
    cost = round(rewriter.prices.cost(prompt, completion, batch=False), 6)
    sums = {"calls": asked, "cached": 0, "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}
    return {"spending": {**sums, "models": {"rewriter": sums}}}


def train(invented: Invented, config: EffectiveConfig, rows: int, run_dir: Path) -> dict[str, Any]:
    """Metrics of a training on `rows` rows, and its log."""
    params = config.training
    assert params is not None
    batch = params.global_batch(config.reference_gpus)
    per_epoch = math.ceil(rows / batch)
    steps = round(per_epoch * params.num_epochs)
    tokens = rows * (round(invented.words * 4 / 3) + 160)
    history = _history(invented, steps, per_epoch, tokens * params.num_epochs / steps)
    write_log(history, run_dir / "training_log.parquet")
    seconds = round(steps * _SECONDS_PER_STEP, 3)
    validations = [entry for entry in history if "eval_loss" in entry]
    return {
        **losses_and_accuracies(history),
        "validation_losses": [{"step": entry["step"], "loss": entry["eval_loss"]} for entry in validations],
        "steps": steps,
        "global_batch": batch,
        "per_device_batch": params.batch_size,
        "accumulation": params.gradient_accumulation_steps,
        "world_size": _GPUS,
        "tokens": round(tokens * params.num_epochs),
        "tokens_per_second": round(tokens * params.num_epochs / seconds, 1),
        "seconds": seconds,
        "gpu_hours": round(seconds * _GPUS / 3600, 4),
        "attempts": 1,
        "steps_this_attempt": steps,
        "peak_memory_bytes": 61_203_283_968,
        "device": "cuda",
        "device_name": "an invented GPU",
        "precision": "bf16",
        "rows": rows,
        "rows_dropped": 0,
        "rows_cut": 0,
        "validation_rows": max(1, rows // 19),
        "tokens_per_epoch": tokens,
        "completion_tokens_per_epoch": tokens * 3 // 4,
        "completion_tokens": round(tokens * params.num_epochs * 3 / 4),
        "padding_share": 0.0102,
        "packing_efficiency": 0.9713,
        "mfu": 0.3871,
    }


def _history(invented: Invented, steps: int, per_epoch: int, tokens_per_step: float) -> list[dict[str, Any]]:
    """The trainer's log: a loss for every step, and a validation at the end of every epoch."""
    rng = random.Random(f"training {invented.name}")
    entries: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        done = step / steps
        loss = 0.9 + 0.7 * math.exp(-4 * done) - 0.4 * (invented.skill - 0.5)
        warm = min(1.0, step / max(1, 0.05 * steps))
        seconds = round(step * _SECONDS_PER_STEP, 3)
        shared = {"step": step, "epoch": step / per_epoch, "tokens": round(step * tokens_per_step), "attempt": 1}
        shared |= {"seconds": seconds, "gpu_seconds": seconds * _GPUS, "memory_bytes": 61_203_283_968}
        rate = 1e-05 * warm * (1 + math.cos(math.pi * done)) / 2
        own = {"loss": loss + rng.gauss(0, 0.03), "learning_rate": rate, "grad_norm": 1.0 + rng.random()}
        entries.append({**shared, **own, "mean_token_accuracy": 1 - loss / 3})
        if step % per_epoch == 0 or step == steps:
            validated = loss + 0.05 + 0.15 * done**2
            entries.append({**shared, "eval_loss": validated, "eval_mean_token_accuracy": 1 - validated / 3})
    return entries


def _rewriting(curation: CurationConfig, rows: int) -> list[dict[str, Any]]:
    """Counts for each rewriting in turn; those that a model writes give some rows up."""
    names: list[str] = list(curation.styles)
    if curation.perturbation is not None:
        names += [curation.perturbation.type, "restore"] if curation.restore else [curation.perturbation.type]
    counts = []
    for name in names:
        asks = name not in ("none", "skip", "shuffle")
        lost = round(_GIVEN_UP_SHARE * rows) if asks else 0
        repaired = round(0.07 * rows) if asks else 0
        accepted = rows - lost - repaired
        count = {"name": name, "rows": rows, "accepted": accepted, "repaired": repaired, "unchanged": 0}
        counts.append({**count, "given_up": lost, "reasons": {"A step repeats the one before": lost} if lost else {}})
        rows -= lost
    return counts


def _funnel(
    curation: CurationConfig, wanted: int, left: int, rewriting: list[dict[str, Any]]
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    funnel, reasons, rows = {"total": ROWS}, {}, ROWS
    if isinstance(curation, S1Rows):
        for stage, removed in _REMOVED.items():
            rows -= removed
            funnel[f"after_{stage}"], reasons[stage] = rows, _WHY[stage]
    funnel["after_selection"] = wanted
    reasons["selection"] = {"not_drawn": rows - wanted}
    if rewriting:
        funnel["after_rewriting"] = left
        lost = {f"{one['name']}: given up: {why}": n for one in rewriting for why, n in one["reasons"].items()}
        reasons |= {"rewriting": lost} if lost else {}
    return funnel, reasons


def _specialties(rows: int, balanced: bool, rng: random.Random) -> dict[str, int]:
    weights = {
        name: (1.0 if balanced else classes * drugs) + 0.1 * rng.random()
        for name, (classes, drugs) in SPECIALTIES.items()
    }
    counts = {name: int(rows * weight / sum(weights.values())) for name, weight in weights.items()}
    counts["Cardiology"] += rows - sum(counts.values())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lengths(words: int, rows: int) -> dict[str, float]:
    median = words * 4 / 3
    spread = {"min": 0.3, "p25": 0.76, "median": 1.0, "p75": 1.31, "p95": 1.93, "max": 4.2}
    return {"total": round(1.08 * median * rows), **{name: round(median * times, 1) for name, times in spread.items()}}
