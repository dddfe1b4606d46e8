"""A registry like those of the original med-s1 project, in all the forms that they have; ours, made up.

`python -m tests.original_registry FILE` writes one of 75 experiments whose paths are those of another cluster.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ELSEWHERE = "/scratch/elsewhere"
N_EXPERIMENTS = 75
_START = datetime(2025, 3, 15, 9, 30, 0, 123456)
_PERTURBATIONS = ("collapse_consecutive", "skip", "shuffle", "add_irrelevant", "answer")
_EXTRACTS: tuple[str | list[str], ...] = ("step", "none", "list", "markdown", "step-evidence", ["cot", "step"], "qa")
_TOTAL = 25371

Body = dict[str, Any]


def original_document(root: str = ELSEWHERE) -> Body:
    """`results.json` with `N_EXPERIMENTS` experiments whose files lie under `root`, without a contradiction."""
    experiments = dict(_experiments())
    assert len(experiments) == N_EXPERIMENTS, len(experiments)
    for number, (name, body) in enumerate(experiments.items()):
        _add_results(name, body, root, number)
    return {"experiments": experiments}


def write_files(document: Mapping[str, Any]) -> None:
    """Write the stats and summary files, and make the folders, that the results name."""
    for number, body in enumerate(document["experiments"].values()):
        results = body.get("results") or {}
        for entry in filter(None, results.values()):
            for field in ("dataset_path", "model_path", "output_dir"):
                if field in entry:
                    Path(entry[field]).mkdir(parents=True, exist_ok=True)
            if "stats_file" in entry:
                write_json(entry["stats_file"], stats(body["config"]["curation"]["n_samples"]))
            if "summary_file" in entry:
                write_json(entry["summary_file"], {"summary": summary(number)})


def write_json(path: str | Path, body: Mapping[str, Any]) -> None:
    """Write a file with its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def stats(selected: int) -> Body:
    """A stats file's counts."""
    sampled, easy = _TOTAL - selected - _TOTAL // 100, _TOTAL // 100
    if selected == _TOTAL:
        sampled = easy = 0
    return {
        "total_examples": _TOTAL,
        "selected_examples": selected,
        "filtered_examples": sampled + easy,
        "filter_reasons": {"not_selected_in_sampling": sampled, "base_model_correct": easy},
        "specialty_distribution": {"Cardiology": selected // 2, "Neurology": selected // 4},
    }


def summary(number: int) -> Body:
    """A summary file's scores; those over repeated runs count the majority vote."""
    correct = 700 + number
    return {
        "MedQA_test": {
            "accuracy": correct / 1258,
            "accuracy_ci": [correct / 1258 - 0.027, correct / 1258 + 0.027],
            "num_correct": correct,
            "total_examples": 1258,
            "num_answered": 1200,
        },
        "GPQA_Medical_test": {
            "accuracy": 0.40108,
            "accuracy_ci": [0.38, 0.42432],
            "num_correct": 156,
            "total_examples": 370,
            "num_answered": 360,
            "majority_vote_accuracy": 156 / 370,
        },
    }


def _experiments() -> Iterator[tuple[str, Body]]:
    yield "base", _experiment(None, None, {"curate": None, "eval": "huatuo-eval"})
    step = _experiment(None, None, {"curate": "huatuo-sft", "eval": "huatuo-eval"})
    for field in ("curation", "training_params"):
        del step["config"][field]
    step["config"]["prompting"] = "step"
    yield "base-step-prompt", step
    yield "huatuo", _experiment(None, None, "same as base", "huatuo:8b")
    yield "base-qwen", _experiment(None, None, {"curate": None, "eval": ["huatuo-eval", "gpqa"]}, "qwen2.5:7b")
    for size, count in {"100": 100, "1k": 1000, "5k": 5000, "10k": 10000}.items():
        yield f"medqa-{size}-random", _tuned({"method": "random", "huatuo_format": True, "n_samples": count})
    yield "medqa-25k", _tuned({"method": "all", "format": "huatuo", "n_samples": _TOTAL}, _training(2e-06, 3))
    for extract in _EXTRACTS:
        word = extract if isinstance(extract, str) else "-and-".join(extract)
        yield f"medqa-1k-random-{word}-extract", _tuned({**_random(), "extract": extract})
    for kind in _PERTURBATIONS:
        for rate in (0.33, 0.66, 1.0):
            steps = {**_random(), "extract": "step", "perturbation": {"type": kind, "rate": rate}}
            yield f"medqa-1k-random-{kind}-{rate:.0%}".replace("%", ""), _tuned(steps)
            yield f"medqa-1k-random-{kind}-{rate:.0%}-restore".replace("%", ""), _tuned({**steps, "restore": True})
    for column in ("Question", "Complex_CoT"):
        for method in ("embedding-diversity", "embedding-similarity", "novelty-answer", "difficulty-n-gram"):
            more = {"column": column, "cluster_percentage": 10, "outlier_percentage": 5}
            yield f"huatuo-1k-{method}-{column}", _tuned({**_random(), "method": method, **more})
    for model in ("qwen", "nemotron"):
        for extract in ("step", "none", "qa", "cot"):
            body = _tuned({"method": "random", "n_samples": 1000, "extract": extract}, model=f"{model}:8b")
            body["config"]["format"] = model
            yield f"medqa-1k-{extract}-extract-{model}", body
    for number in range(13):
        other = {"curate": "nejmcr", "eval": "huatuo-eval"}
        body = _tuned({**_random(), "seed": number}, _training(5e-06, 10))
        body["config"]["datasets"] = other if number == 0 else "same as nejmcr-1k-random-0"
        yield f"nejmcr-1k-random-{number}", body


def _experiment(curation: Any, training: Any, datasets: Any, model: str = "llama3.1:8b") -> Body:
    config = {"model_key": model, "curation": curation, "training_params": training, "datasets": datasets}
    return {"description": "made up, \u00e0 la med-s1", "config": config}


def _tuned(curation: Body, training: Any = "same as medqa-100-random", model: str = "llama3.1:8b") -> Body:
    if curation.get("n_samples") == 100:
        training = _training(5e-06, 10)
    return _experiment(curation, training, "same as base-step-prompt", model)


def _random() -> Body:
    return {"method": "random", "format": "huatuo", "n_samples": 1000}


def _training(rate: float, epochs: int) -> Body:
    return {
        "learning_rate": rate,
        "batch_size": 2,
        "num_epochs": epochs,
        "weight_decay": 0.1,
        "warmup_ratio": 0.05,
        "optimizer": {
            "no_decay_params": ["bias", "LayerNorm.weight"],
            "adam_beta1": 0.9,
            "adam_beta2": 0.95,
            "adam_epsilon": 1e-08,
        },
        "gradient_accumulation_steps": 16,
    }


def _add_results(name: str, body: Body, root: str, number: int) -> None:
    """The forms in turn: no results at all, null ones, only the first stage, all three in either of two spellings."""
    tuned = body["config"].get("curation") is not None
    curated = _START + timedelta(hours=number)
    evaluated = _eval_entry(name, root, number, curated + timedelta(minutes=50))
    if number == 3:
        return
    if not tuned:
        nothing = {"curation": None, "training": None} if "curation" in body["config"] else {}
        body["results"] = {**nothing, "eval": evaluated}
        return
    curation = {
        "dataset_path": f"{root}/cache/med-s1k/{name}_{curated:%Y%m%d_%H%M%S}/med_s1k_formatted",
        "timestamp": curated.isoformat(),
        "stats_file": f"{root}/med-s1/results/{name}_curation.json",
    }
    training = {
        "model_path": f"{root}/cache/ckpts/{name}",
        # A local time, whatever the Z says: this is how the original's batch scripts wrote it.
        "timestamp": f"{curated + timedelta(minutes=40):%Y-%m-%dT%H:%M:%SZ}",
        "metrics": None,
    }
    whole = {"curation": curation, "training": training, "eval": evaluated}
    body["results"] = {
        5: {"curation": curation, "training": None, "eval": None},
        6: {"curation": curation},
        7: {"curation": None, "training": None, "eval": None},
    }.get(number % 10, whole)


def _eval_entry(name: str, root: str, number: int, time: datetime) -> Body:
    folder = f"{root}/cache/eval/{name}"
    entry = {
        "outputs_path": f"{folder}/best_modeleval_data.json",
        "metrics_path": f"{folder}/best_modeleval_data_metrics.json",
        "timestamp": time.isoformat(),
        "summary_file": f"{root}/med-s1/results/{name}_eval.json",
    }
    if number % 4 == 0:
        entry |= {"output_dir": folder, "metrics_file": f"{folder}/metrics.json"}
    return entry


if __name__ == "__main__":
    write_json(sys.argv[1], original_document())
