"""Invented experiments and the figures of them that are stored as pictures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotting.figures.kinds import Request, Sketch, kind_of
from plotting.runs import Run
from plotting.scores import row_of
from registry.catalog import Display
from registry.errors import MissingError
from registry.schema import STAGES
from registry.status import StageStatus
from scoring.intervals import wilson_interval
from tests.figure_references import Case
from tests.stages import write_jsonl

DISPLAY = Display.model_validate(
    {
        "experiments": {
            "base": {"name": "base model", "group": "base"},
            **{f"random-{n}": {"name": f"random, {n}", "group": "random"} for n in (100, 1000)},
            **{f"s1-{n}": {"name": f"s1, {n}", "group": "s1"} for n in (100, 1000)},
            "budgets": {"name": "budgets of thinking", "group": "thinking", "color": "#AA3377"},
        },
        "benchmarks": {"mcq": "Multiple choice", "hard": "Hard questions"},
    }
)
_CORRECT = {"base": 62, "random-100": 95, "random-1000": 104, "s1-100": 110, "s1-1000": 128, "budgets": 131}
_HOURS = {"random-100": 0.2, "random-1000": 2.1, "s1-100": 0.21, "s1-1000": 2.2, "budgets": 9.0}
_DOLLARS = {"s1-100": 0.8, "s1-1000": 7.5}


def numbers(correct: int, total: int = 200, tokens: int | None = 150, **more: Any) -> dict[str, Any]:
    """What a result says of a benchmark: `tokens` are the mean tokens of reasoning."""
    return {
        "accuracy": correct / total,
        "accuracy_ci": list(wilson_interval(correct, total)),
        "num_correct": correct,
        "total_examples": total,
        "chance": 0.25,
        "reasoning_tokens": None if tokens is None else tokens * total,
        **more,
    }


def run_with(name: str, benchmarks: Mapping[str, Any], display: Display = DISPLAY, **more: Any) -> Run:
    """An experiment with an eval result, or with none where it has no benchmarks.

    `more` are `status` of its eval, and the results of other stages by their names.
    """
    status = StageStatus(more.pop("status", "completed"), more.pop("reason", ""))
    evaluated = {"status": "completed", "metrics": {"benchmarks": benchmarks}, **more.pop("eval", {})}
    results = {stage: {"status": "completed", "fingerprint": "0" * 64, **entry} for stage, entry in more.items()}
    results |= {"eval": evaluated} if benchmarks else {}
    shown = display.experiments.get(name)
    return Run(
        experiment=name,
        label=(shown.name if shown and shown.name else name),
        group=shown.group if shown else None,
        color=shown.color if shown else None,
        body={},
        results=results,
        statuses=dict.fromkeys(STAGES, status),
        config=None,
        written={},
        problem="",
        row=row_of(name, results, status, display) if benchmarks else None,
        why_unscored=None if benchmarks else MissingError(f"{name}: has no eval result; run `meds1 run {name}`"),
    )


def asked(name: str, correct: int, hours: float = 1.0, **settings: Any) -> Run:
    """An experiment whose eval recorded how it asked."""
    inputs = {"prompting": "answer", "eval": {"temperature": 0, **settings}, "datasets": {"mcq": {"sha256": "0"}}}
    training = {"metrics": {"gpu_hours": hours}}
    return run_with(name, {"mcq": numbers(correct)}, eval={"inputs": inputs}, training=training)


def lab() -> list[Run]:
    """Six experiments on two benchmarks: one is stale, one lacks a benchmark, one has budgets of thinking."""
    runs = []
    for place, (name, correct) in enumerate(_CORRECT.items()):
        tokens = None if name == "base" else 90 + 40 * place
        found = {"mcq": numbers(correct, tokens=tokens), "hard": numbers(correct // 2, tokens=tokens, chance=0.1)}
        if name == "budgets":
            steps = {256: (110, 200), 1024: (124, 700), 4096: (131, 1900)}
            budgets = {str(budget): numbers(right, tokens=taken) for budget, (right, taken) in steps.items()}
            found["mcq"] = {**budgets["4096"], "budgets": budgets}
        if name == "s1-100":
            del found["hard"]
        more: dict[str, Any] = {"status": "stale"} if name == "random-100" else {}
        if name in _HOURS:
            more["training"] = {"metrics": {"gpu_hours": _HOURS[name]}}
        if name in _DOLLARS:
            more["curation"] = {"spending": {"cost": _DOLLARS[name]}}
        runs.append(run_with(name, found, **more))
    return runs


def answered_lab(folder: Path, right: Mapping[str, int], questions: int = 100) -> list[Run]:
    """Experiments that answered the same questions, with their predictions; each has the first so many right.

    The questions are asked in an order that is no one's own; the second benchmark holds half as many right answers.
    """
    order = random.Random(0).sample(range(questions), questions)
    runs = []
    for name, correct in right.items():
        lines = []
        for benchmark, count in (("mcq", correct), ("hard", correct // 2)):
            lines += [_line(benchmark, question, place < count) for place, question in enumerate(order)]
        path = write_jsonl(folder / f"{name}.jsonl", lines)
        found = {"mcq": numbers(correct, questions), "hard": numbers(correct // 2, questions)}
        runs.append(run_with(name, found, eval={"predictions_path": str(path)}))
    return runs


def _line(benchmark: str, question: int, correct: bool) -> dict[str, Any]:
    return {
        "id": f"{benchmark}-{question}",
        "question_id": f"{benchmark}-{question}",
        "source": benchmark,
        "prompt": f"question {question}",
        "correct": correct,
        "extracted": "A" if correct else "B",
        "gold": "A",
    }


def drawn(kind: str, runs: Sequence[Run], display: Display = DISPLAY, **more: Any) -> Sketch:
    """A figure of some runs."""
    return kind_of(kind)(Request(runs, display, **more))


def _differences(folder: Path) -> Sketch:
    right = {"base": 40, "random-100": 42, "random-1000": 55, "s1-100": 60, "s1-1000": 71, "budgets": 30}
    return drawn("differences", answered_lab(folder, right), baseline="base")


CASES: dict[str, Case] = {
    "comparison": lambda _: drawn("comparison", lab()),
    "differences": _differences,
    "scaling": lambda _: drawn("scaling", lab()),
    "cost": lambda _: drawn("cost", lab()),
}
