"""Predictions by the ten thousand: files as an eval writes them, of invented answers, written as text piece by piece.

A line has the fields of `eval.predictions.Prediction` and about 3 kB; `judge` would take minutes for as many.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.registry.payloads import completed
from registry.effective import EffectiveConfig
from registry.schema import Stage
from scoring.accuracy import accuracy_of

SHARES = {"exam-0": 0.5, "exam-1": 0.3, "exam-2": 0.2}
"""The benchmarks of a big lab, and the part of the items that each of them has."""
_PROSE = (
    "the patient presents with fever and dyspnoea after two weeks of treatment which suggests that an infection or a "
    "reaction to the drug is likely while the history of hypertension and the normal electrocardiogram speak against "
    "ischaemia so the next step is to look at renal function before any contrast is given"
)
_WORDS = tuple(_PROSE.split())
_THINKINGS, _MEAN_WORDS = 64, 130


@dataclass(frozen=True)
class Item:
    """One question: the beginning of its line, up to the model's output, and how likely any model is to be right."""

    id: str
    source: str
    head: str
    gold: str
    chance: float


@dataclass(frozen=True)
class Exam:
    """The questions of all benchmarks in a file's order, and thinkings to draw from, as the inside of JSON text."""

    items: tuple[Item, ...]
    thinkings: tuple[str, ...]

    def payload(self, config: EffectiveConfig, stage: Stage, run_dir: str, chance: random.Random) -> dict[str, Any]:
        """What a completed record of a big lab holds; of an eval the predictions are written, and counted."""
        found = completed(config, stage, run_dir, chance)
        if stage != "eval":
            return found
        right = self._write(Path(found["predictions_path"]), chance)
        benchmarks = {
            name: _numbers([r for i, r in zip(self.items, right, strict=True) if i.source == name]) for name in SHARES
        }
        return {**found, "metrics": {**found["metrics"], "benchmarks": benchmarks}}

    def _write(self, path: Path, chance: random.Random) -> list[bool]:
        """Write a file of predictions; returns which items are right."""
        skill = chance.uniform(-0.15, 0.15)
        right = []
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="utf-8") as file:
            for item in self.items:
                right.append(chance.random() < item.chance + skill)
                given = item.gold if right[-1] else chance.choice([letter for letter in "ABCD" if letter != item.gold])
                file.write(_line(item, given, right[-1], chance.choice(self.thinkings)))
        return right


def make_exam(items: int) -> Exam:
    """So many questions over the benchmarks of `SHARES`, the same for every run."""
    chance = random.Random("exam")
    made = [
        _item(name, f"{number:016x}", chance)
        for name, share in SHARES.items()
        for number in range(round(items * share))
    ]
    words = (max(20, round(chance.gauss(_MEAN_WORDS, 40))) for _ in range(_THINKINGS))
    return Exam(tuple(made), tuple(json.dumps(_text(count, chance))[1:-1] for count in words))


def _text(words: int, chance: random.Random) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(words)).capitalize() + ".\nSo the answer follows."


def _item(source: str, number: str, chance: random.Random) -> Item:
    question = f"Case {source} {number}: {_text(55, chance)}"
    options = {letter: " ".join(chance.sample(_WORDS, 4)) for letter in "ABCD"}
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    head = {
        "id": number,
        "question_id": f"{number[::-1]}",
        "source": source,
        "question": question,
        "options": options,
        "specialty": chance.choice(("Cardiology", "Neurology", None)),
        "repetition": 0,
        "budget": None,
        "prompt": [{"role": "user", "content": f"{question}\n\n{listed}\n\nThink step by step."}],
    }
    return Item(number, source, json.dumps(head)[:-1], chance.choice("ABCD"), chance.uniform(0.2, 1.0))


def _line(item: Item, given: str, right: bool, thinking: str) -> str:
    answer = f"The answer is {given}."
    failure = "null" if right else '"wrong_option"'
    tokens = len(thinking) // 4
    return (
        f'{item.head}, "output": "## Thinking\\n\\n{thinking}\\n\\n## Final Response\\n\\n{answer}", '
        f'"thinking": "{thinking}", "answer_text": "{answer}", "extracted": "{given}", "extraction_method": "phrase", '
        f'"gold": "{item.gold}", "correct": {"true" if right else "false"}, "failure_mode": {failure}, '
        f'"finish_reason": "stop", "prompt_tokens": 160, "completion_tokens": {tokens + 12}, '
        f'"reasoning_tokens": {tokens}, "thinking_cut": false, "error": null, "scores": {{}}, "verdicts": {{}}}}\n'
    )


def _numbers(right: list[bool]) -> dict[str, Any]:
    """A benchmark's numbers, by the names that an eval has for them."""
    found = accuracy_of(right, [str(number) for number in range(len(right))])
    return {
        "task": "choice",
        "accuracy": found.accuracy,
        "accuracy_ci": list(found.ci),
        "accuracy_ci_method": found.ci_method,
        "num_correct": found.num_correct,
        "total_examples": found.n,
        "num_questions": found.n_clusters,
        "chance": 0.25,
        **dict.fromkeys(("unanswered", "empty", "errors", "truncated", "thinking_cut"), 0),
        "completion_tokens": 200 * found.n,
        "reasoning_tokens": 180 * found.n,
        "flags": [],
    }
