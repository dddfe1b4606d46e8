"""Made-up results of the size and shape that the three stages record."""

from __future__ import annotations

import random
from typing import Any

from registry.effective import EffectiveConfig
from registry.schema import Stage

_ROWS = 19_704
_SPECIALTIES = [
    "Cardiology",
    "Dermatology",
    "Endocrinology",
    "Gastroenterology",
    "Genetics",
    "Haematology",
    "Immunology",
    "Infectious diseases",
    "Neonatology",
    "Nephrology",
    "Neurology",
    "Obstetrics",
    "Oncology",
    "Ophthalmology",
    "Otolaryngology",
    "Paediatrics",
    "Pharmacology",
    "Psychiatry",
    "Pulmonology",
    "Rheumatology",
    "Surgery",
    "Urology",
]
_LEARNT = [
    f"{which}_{measure}"
    for which in ("train", "best_train", "validation", "best_validation")
    for measure in ("loss", "token_accuracy")
]
_ARTIFACTS: dict[Stage, dict[str, str]] = {
    "curation": {
        "dataset_path": "med_s1k_formatted",
        "curated_path": "med_s1k_curated.parquet",
        "filtered_path": "med_s1k_filtered.parquet",
    },
    "training": {"model_path": "model", "log_path": "training_log.parquet", "loss_curve_path": "loss_curve.png"},
    "eval": {"results_path": "eval_results.json", "predictions_path": "eval_predictions.jsonl"},
}


def completed(config: EffectiveConfig, stage: Stage, run_dir: str, chance: random.Random) -> dict[str, Any]:
    """The payload of a completed record, its job left out: artifacts, metrics and where they lie."""
    metrics = {"curation": _curation, "training": _training, "eval": _eval}[stage](config, chance)
    artifacts = {key: f"{run_dir}/{name}" for key, name in _ARTIFACTS[stage].items()}
    return {**artifacts, "metrics": metrics, "run_dir": run_dir, "link": run_dir}


def _selected(config: EffectiveConfig) -> int:
    assert config.curation is not None
    return config.curation.wanted or _ROWS


def _curation(config: EffectiveConfig, chance: random.Random) -> dict[str, Any]:
    assert config.curation is not None
    count = _selected(config)
    validation = round(count * config.curation.validation_fraction)
    return {
        "dataset": config.train_dataset_key,
        "method": config.curation.method,
        "funnel": {"loaded": _ROWS, "quality": _ROWS - 211, "difficulty": _ROWS - 4_120, "sampling": count},
        "reasons": {
            "quality": {"no_reasoning": 180, "truncated": 31},
            "difficulty": {"solved_by_base_model": 3_861, "unjudged": 48},
            "sampling": {"not_drawn": _ROWS - 4_120 - count},
        },
        "specialties": {name: chance.randint(10, 400) for name in _SPECIALTIES},
        "reasoning_tokens": {
            "total": count * 913,
            **{name: float(chance.randint(90, 4_000)) for name in ("min", "p25", "median", "p75", "p95", "max")},
        },
        "difficulty": {"pass_rate": chance.random(), "answers": _ROWS - 211, "errors": 0},
        "n_train": count - validation,
        "n_validation": validation,
        "warnings": [],
    }


def _training(config: EffectiveConfig, chance: random.Random) -> dict[str, Any]:
    assert config.training is not None
    params = config.training
    batch = params.global_batch(config.reference_gpus)
    steps = max(1, round(_selected(config) * params.num_epochs / batch))
    tokens = _selected(config) * 1_187
    plan = {"global_batch": batch, "per_device": 2, "accumulation": batch // 8, "world_size": 4}
    return {
        **{name: chance.random() for name in _LEARNT},
        "validation_losses": [{"step": step, "loss": chance.random()} for step in range(steps // 5, steps + 1, 40)][:5],
        "steps": steps,
        **plan,
        "tokens": round(tokens * params.num_epochs),
        "tokens_per_second": round(9_000 + chance.random() * 1_000, 1),
        "seconds": round(steps * 11.3, 3),
        "gpu_hours": round(steps * 4 * 11.3 / 3600, 4),
        "attempts": 1,
        "steps_this_attempt": steps,
        "peak_memory_bytes": 61_203_283_968,
        "device": "cuda",
        "device_name": "NVIDIA H100 80GB HBM3",
        "precision": "bf16",
        "rows": _selected(config),
        "rows_dropped": 3,
        "rows_cut": 0,
        "validation_rows": 50,
        "tokens_per_epoch": tokens,
        "completion_tokens_per_epoch": tokens * 3 // 4,
        "completion_tokens": round(tokens * params.num_epochs * 3 / 4),
        "padding_share": round(chance.random() / 100, 4),
        "packing_efficiency": round(0.9 + chance.random() / 10, 4),
        "mfu": round(0.3 + chance.random() / 10, 4),
        "resolved": {**params.model_dump(mode="json"), "max_length": 8_192, "plan": plan, "steps": steps},
    }


def _eval(config: EffectiveConfig, chance: random.Random) -> dict[str, Any]:
    return {
        "benchmarks": {name: _benchmark(chance) for name in config.eval_datasets},
        "engine": config.eval.engine,
        "limit": config.eval.limit,
        "format": config.curation.format if config.curation else "plain",
        "prompting": config.prompting,
        "seconds": round(300 + chance.random() * 600, 1),
    }


def _benchmark(chance: random.Random) -> dict[str, Any]:
    total = 1_273
    correct = chance.randint(500, 900)
    accuracy = correct / total
    return {
        "accuracy": accuracy,
        "accuracy_ci": [accuracy - 0.026, accuracy + 0.025],
        "num_correct": correct,
        "total_examples": total,
        "num_questions": total - 2,
        "unanswered": chance.randint(0, 30),
        "empty": 0,
        "errors": 0,
        "truncated": chance.randint(0, 30),
        "completion_tokens": chance.randint(400_000, 900_000),
    }
