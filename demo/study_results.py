"""What the invented curations and trainings recorded: metrics of the fields that the stages record, and some files."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from curation.outputs import FORMATTED
from demo.study_experiments import Invented
from demo.study_rows import ROWS, counted, rows_of, write_rows
from registry.curation_schema import CurationConfig
from registry.effective import EffectiveConfig
from registry.rewriting_counts import REALISED
from train.curve import draw_curve
from train.log import write_log
from train.measures import losses_and_accuracies

_SECONDS_PER_STEP = 5.6
_GPUS = 4
_WITHOUT_CALLS = frozenset({"none", "skip", "shuffle"})
_WITH_CURVE = frozenset({"s1-1k", "s1-10k"})
_GIVEN_UP_SHARE = 0.01
_STEPS = 6  # of a row's reasoning
_TOKENS_OF_A_CALL = (900, 650)  # prompt and completion
_SAME_FOR_ALL = {
    "world_size": _GPUS,
    "attempts": 1,
    "peak_memory_bytes": 61_203_283_968,
    "device": "cuda",
    "device_name": "an invented GPU",
    "precision": "bf16",
    "rows_dropped": 0,
    "rows_cut": 0,
    "padding_share": 0.0102,
    "packing_efficiency": 0.9713,
    "mfu": 0.3871,
}
"""What a training records that is alike for every invented one."""


def curate(invented: Invented, config: EffectiveConfig, run_dir: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Metrics and artifacts of a curation; the folder of training data holds no more than a note."""
    curation = config.curation
    assert curation is not None
    folder = run_dir / FORMATTED
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("The study is invented: there is no training data.\n", encoding="utf-8")
    rewriting = _rewriting(curation, curation.wanted or ROWS)
    rows = rows_of(invented, curation, rewriting)
    left = int(rows.kept.sum())
    validation = round(left * curation.validation_fraction)
    metrics = {
        "dataset": config.train_dataset_key,
        "method": curation.method,
        **counted(rows, bool(rewriting)),
        "difficulty": None,
        **({"rewriting": rewriting} if rewriting else {}),
        "n_train": left - validation,
        "n_validation": validation,
        "warnings": [],
    }
    return metrics, {**write_rows(rows, run_dir), "dataset_path": folder}


def spending(config: EffectiveConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    """What the calls of the rewriter have cost, as a result says it; nothing where none was called."""
    asked = sum(count["rows"] for count in metrics.get("rewriting", ()) if count["name"] not in _WITHOUT_CALLS)
    rewriter = config.called_models.get("rewriter")
    if not asked or rewriter is None or rewriter.prices is None:
        return {}
    prompt, completion = (asked * tokens for tokens in _TOKENS_OF_A_CALL)
    cost = round(rewriter.prices.cost(prompt, completion, batch=False), 6)
    sums = {"calls": asked, "cached": 0, "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}
    return {"spending": {**sums, "models": {"rewriter": sums}}}


def train(
    invented: Invented, config: EffectiveConfig, rows: int, run_dir: Path
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Metrics of a training on `rows` rows, and its log; the loss curve, which takes long to draw, of a few alone."""
    params = config.training
    assert params is not None
    batch = params.global_batch(config.reference_gpus)
    per_epoch = math.ceil(rows / batch)
    steps = round(per_epoch * params.num_epochs)
    tokens = rows * (round(invented.words * 4 / 3) + 160)
    history = _history(invented, steps, per_epoch, tokens * params.num_epochs / steps)
    files = {"log_path": run_dir / "training_log.parquet"}
    write_log(history, files["log_path"])
    if invented.name in _WITH_CURVE:
        files["loss_curve_path"] = run_dir / "loss_curve.png"
        draw_curve(history, invented.name, files["loss_curve_path"])
    seconds = round(steps * _SECONDS_PER_STEP, 3)
    validations = [entry for entry in history if "eval_loss" in entry]
    metrics = {
        **_SAME_FOR_ALL,
        **losses_and_accuracies(history),
        "validation_losses": [{"step": entry["step"], "loss": entry["eval_loss"]} for entry in validations],
        "steps": steps,
        "global_batch": batch,
        "per_device_batch": params.batch_size,
        "accumulation": params.gradient_accumulation_steps,
        "tokens": round(tokens * params.num_epochs),
        "tokens_per_second": round(tokens * params.num_epochs / seconds, 1),
        "seconds": seconds,
        "gpu_hours": round(seconds * _GPUS / 3600, 4),
        "steps_this_attempt": steps,
        "rows": rows,
        "validation_rows": max(1, rows // 19),
        "tokens_per_epoch": tokens,
        "completion_tokens_per_epoch": tokens * 3 // 4,
        "completion_tokens": round(tokens * params.num_epochs * 3 / 4),
    }
    return metrics, files


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
        asks = name not in _WITHOUT_CALLS
        lost = round(_GIVEN_UP_SHARE * rows) if asks else 0
        repaired = round(0.07 * rows) if asks else 0
        accepted = rows - lost - repaired
        count = {"name": name, "rows": rows, "accepted": accepted, "repaired": repaired, "unchanged": 0}
        counts.append({**count, "given_up": lost, "reasons": {"A step repeats the one before": lost} if lost else {}})
        if curation.perturbation is not None and name == curation.perturbation.type:
            there = _STEPS * (rows - lost)
            changed = round(curation.perturbation.rate * there)
            counts[-1][REALISED] = {"unit": "steps", "there": there, "changed": changed, "rate": changed / there}
        rows -= lost
    return counts
