"""Results with single predictions whose right and wrong answers a test decides, saved as an eval would save them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.predictions import Prediction, write_predictions
from registry.paths import OutputPaths
from scoring.accuracy import accuracy_of
from tests.lab import Lab
from tests.small_lab import save

Table = Sequence[Sequence[bool]]


def finish(lab: Lab, name: str, tables: Mapping[str, Table], **result: Any) -> None:
    """Save an eval of `tables[benchmark][item][repetition]` (right or wrong), with a file of its predictions.

    `result` takes the place of what the record says; `limit` and the like belong to `metrics`.
    """
    folder = OutputPaths.from_environment().cache / "runs" / name / "eval" / "0123456789ab"
    folder.mkdir(parents=True)
    made = [
        prediction(benchmark, item, repetition, right)
        for benchmark, table in tables.items()
        for item, answers in enumerate(table)
        for repetition, right in enumerate(answers)
    ]
    path = folder / "eval_predictions.jsonl"
    write_predictions(made, path)
    entry = {"run_dir": str(folder), "predictions_path": str(path), "metrics": metrics(made), **result}
    save(lab, name, "eval", "completed", **entry)


def metrics(made: Sequence[Prediction]) -> dict[str, Any]:
    """The metrics of an eval that gave these answers, as far as comparisons read them."""
    found = {}
    for benchmark in dict.fromkeys(one.source for one in made):
        own = [one for one in made if one.source == benchmark]
        accuracy = accuracy_of([one.correct for one in own], [one.question_id for one in own])
        found[benchmark] = {
            "accuracy": accuracy.accuracy,
            "accuracy_ci": list(accuracy.ci),
            "num_correct": accuracy.num_correct,
            "total_examples": accuracy.n,
            "completion_tokens": 10 * accuracy.n,
            "unanswered": sum(one.extracted is None for one in own),
            "errors": 0,
        }
    return {"benchmarks": found, "engine": "vllm", "limit": None}


def prediction(benchmark: str, item: int, repetition: int, right: bool) -> Prediction:
    """One answer to the question `item` of a benchmark, whose gold answer is A; a wrong one is B."""
    return Prediction(
        id=f"{benchmark}-row-{item}",
        question_id=f"{benchmark}-question-{item}",
        source=benchmark,
        question=f"Question {item}?",
        options={"A": "yes", "B": "no"},
        specialty=None,
        repetition=repetition,
        budget=None,
        prompt=[{"role": "user", "content": f"Question {item}?"}],
        output="A" if right else "B",
        thinking=None,
        answer_text="A" if right else "B",
        extracted="A" if right else "B",
        extraction_method="letter",
        gold="A",
        correct=right,
        failure_mode=None if right else "wrong_option",
        finish_reason="stop",
        prompt_tokens=10,
        completion_tokens=10,
        reasoning_tokens=None,
        thinking_cut=False,
        error=None,
    )
