"""The questions of the invented study: three benchmarks about invented drugs, and a tiny file to curate from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from demo.world import Drug, World

SMALLEST = 40
"""Questions of the first benchmark below which the others have next to none."""
REPEATED = 3
_COMPLAINTS = ("a cough", "a headache", "a rash", "joint pain", "palpitations", "weakness of one arm", "weight loss")


def write_questions(folder: Path, world: World, questions: int, seed: int) -> None:
    """Write `medical-mcq` (4 options), `medical-mcq-2` (5, half as many), `medical-free-text` (a quarter), `train`."""
    rng = random.Random(f"study-questions-{seed}")
    four = [_choice(world, rng, number, "ABCD") for number in range(questions - REPEATED)]
    _write(folder / "medical-mcq.jsonl", [*four, *four[:REPEATED]])
    _write(folder / "medical-mcq-2.jsonl", [_choice(world, rng, n, "ABCDE") for n in range(questions // 2)])
    _write(folder / "medical-free-text.jsonl", [_free_text(world, rng, n) for n in range(questions // 4)])
    _write(folder / "train.jsonl", [_choice(world, rng, n, "ABCD") for n in range(8)])


def _choice(world: World, rng: random.Random, number: int, letters: str) -> dict[str, Any]:
    drug = rng.choice(world.drugs)
    others = [effect for effect in world.effects if effect != drug.effect]
    shown = rng.sample([drug.effect, *rng.sample(others, len(letters) - 1)], len(letters))
    question = f"{_vignette(drug, rng, number)} Which of these effects is expected?"
    return {
        "question": question,
        "options": dict(zip(letters, shown, strict=True)),
        "answer_idx": letters[shown.index(drug.effect)],
        "answer": drug.effect,
        "reasoning": f"{drug.name} is a {drug.drug_class}, which causes {drug.effect}.",
        "specialty": drug.specialty,
    }


def _free_text(world: World, rng: random.Random, number: int) -> dict[str, Any]:
    drug = rng.choice(world.drugs)
    question = f"{_vignette(drug, rng, number)} To which class does the drug belong?"
    return {"question": question, "answer": drug.drug_class, "specialty": drug.specialty}


def _vignette(drug: Drug, rng: random.Random, number: int) -> str:
    complaint = rng.choice(_COMPLAINTS)
    return f"Patient {number + 1}, {rng.randint(18, 90)} years old, came with {complaint} and now takes {drug.name}."


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
