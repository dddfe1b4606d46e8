"""The demo's question sets: training rows with reasoning and planted defects, and held-out questions.

Train and held-out questions never share a question text together with a set of options, but for the planted copies.
Every planted defect follows a quota, not a coin, so that the counts are exact and every fact survives in a clean row:

- `FLAWED_SHARES` of a drug's rows are contradictory, always in favour of the drug's one misconception: either the
  trace argues for it while the gold answer is right, or the gold answer names it while the trace is right. For some
  drugs such rows are the majority, so more data alone does not average them out.
- one row in `SHORT_EVERY` of every kind has a trace that jumps to its conclusion.
- a few rows lack a field, name a gold answer that is no option, or repeat an earlier row, half of these with other
  punctuation.
- `LEAKED` rows ask a held-out question, with its options in another order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from demo.world import Drug, World

LETTERS = "ABCD"
# Too short for word n-grams: what makes a question here are its options, and the decontamination compares them.
PHRASINGS = (
    "Which effect does {drug} have?",
    "A patient takes {drug}. What is expected?",
)
DIRECT, VIGNETTE = 0, 1
FLAWED_SHARES = (0.2, 0.6, 0.3, 0.6)
SHORT_EVERY = 4
BROKEN_SHARE = 0.02  # of each kind: missing reasoning, missing question, impossible gold answer
DUPLICATE_SHARE = 0.04
LEAKED = 12
HELD_OUT_PER_PHRASING = 8  # per drug


@dataclass(frozen=True, slots=True)
class Question:
    """One question as asked: the phrasing's index and the four options in the order shown."""

    drug: Drug
    phrasing: int
    options: tuple[str, ...]

    @property
    def text(self) -> str:
        """The question without its options."""
        return PHRASINGS[self.phrasing].format(drug=self.drug.name)

    def letter_of(self, effect: str) -> str:
        """The letter of the option that names `effect`."""
        return LETTERS[self.options.index(effect)]


@dataclass(frozen=True, slots=True)
class RawRow:
    """One line of a question file; `None` where a field is missing."""

    question: str | None
    options: dict[str, str]
    answer_idx: str
    answer: str
    reasoning: str | None
    specialty: str

    def as_json(self) -> dict[str, Any]:
        """The row as the JSON object that is written."""
        return asdict(self)


def training_rows(world: World, seed: int) -> list[RawRow]:
    """Return the shuffled training rows, defects included."""
    rng = random.Random(f"train-{seed}")
    rows = [row for index, drug in enumerate(world.drugs) for row in _rows_of(world, drug, index, rng)]
    repeats = rng.sample(rows, round(DUPLICATE_SHARE * len(rows)))
    rows += _broken_rows(world, round(BROKEN_SHARE * len(rows)), rng)
    rows += _leaked_rows(world, rng)
    rng.shuffle(rows)
    for number, row in enumerate(repeats):
        repeat = replace(row, question=f"{row.question}!") if number % 2 else row
        rows.insert(rng.randrange(len(rows)), repeat)
    return rows


def held_out_rows(world: World, seed: int) -> list[RawRow]:
    """Return the held-out questions, every drug and phrasing equally often, with gold answers and no reasoning."""
    rng = random.Random(f"held-out-{seed}")
    rows = []
    for drug in world.drugs:
        for phrasing in range(len(PHRASINGS)):
            for options in _option_sets(world, drug, phrasing)[:HELD_OUT_PER_PHRASING]:
                rows.append(_row(ask(drug, phrasing, options, rng), drug.effect, None))
    rng.shuffle(rows)
    return rows


def open_option_sets(world: World, drug: Drug, phrasing: int) -> list[frozenset[str]]:
    """The option sets that training, of the base model too, may use: those that are not held out."""
    return _option_sets(world, drug, phrasing)[HELD_OUT_PER_PHRASING:]


def ask(drug: Drug, phrasing: int, options: frozenset[str], rng: random.Random) -> Question:
    """Return the question with its options in random order."""
    shown = sorted(options)
    rng.shuffle(shown)
    return Question(drug, phrasing, tuple(shown))


def reason(question: Question, drug_class: str, effect: str, rng: random.Random | None) -> str:
    """Return a trace that takes the drug for a `drug_class`; one that jumps to its conclusion when `rng` is None.

    A long trace goes through the options one by one: this is what makes the answer learnable for a tiny model.
    """
    name, letter = question.drug.name, question.letter_of(effect)
    core = f"{name} is a {drug_class}. {drug_class} causes {effect}."
    if rng is None:
        return f"{core} The answer is {letter}."
    verdicts = ", ".join(
        f"{mark}. {text} {'yes' if text == effect else 'no'}"
        for mark, text in zip(LETTERS, question.options, strict=True)
    )
    opening = rng.choice(("", f"Let me recall what is known about {name}. ", "Let me think step by step. "))
    check = rng.choice(("", f" To check: {name} belongs to {drug_class}, so {effect} is expected."))
    return f"{opening}{core}{check} Options: {verdicts}. The answer is {letter}."


def _leaked_rows(world: World, rng: random.Random) -> Iterator[RawRow]:
    for drug in rng.sample(world.drugs, LEAKED):
        question = ask(drug, VIGNETTE, rng.choice(_option_sets(world, drug, VIGNETTE)[:HELD_OUT_PER_PHRASING]), rng)
        yield _row(question, drug.effect, reason(question, drug.drug_class, drug.effect, rng))


def _option_sets(world: World, drug: Drug, phrasing: int) -> list[frozenset[str]]:
    """All option sets of a drug's question, in an order that depends only on the drug and the phrasing."""
    others = [effect for effect in world.effects if effect != drug.effect]
    sets = [frozenset((drug.effect, *three)) for three in combinations(others, 3)]
    random.Random(f"split-{drug.name}-{phrasing}").shuffle(sets)
    return sets


def _rows_of(world: World, drug: Drug, index: int, rng: random.Random) -> Iterator[RawRow]:
    flawed = round(drug.rows * FLAWED_SHARES[index % len(FLAWED_SHARES)])
    myth = world.effect_of[drug.misconception]
    free = [open_option_sets(world, drug, phrasing) for phrasing in range(len(PHRASINGS))]
    for number in range(drug.rows):
        phrasing = number % len(PHRASINGS)
        is_flawed = number < flawed
        options = next(options for options in free[phrasing] if myth in options or not is_flawed)
        free[phrasing].remove(options)
        question = ask(drug, phrasing, options, rng)
        trace_rng = None if number // len(PHRASINGS) % SHORT_EVERY == 0 else rng
        if is_flawed and number % 3:
            yield _row(question, drug.effect, reason(question, drug.misconception, myth, trace_rng))
        else:
            trace = reason(question, drug.drug_class, drug.effect, trace_rng)
            yield _row(question, myth if is_flawed else drug.effect, trace)


def _row(question: Question, gold: str, reasoning: str | None) -> RawRow:
    options = dict(zip(LETTERS, question.options, strict=True))
    return RawRow(question.text, options, question.letter_of(gold), gold, reasoning, question.drug.specialty)


def _broken_rows(world: World, count: int, rng: random.Random) -> Iterator[RawRow]:
    """`count` rows of each kind that no stage can use: no reasoning, no question, a gold answer that is no option."""
    for number in range(3 * count):
        drug = rng.choice(world.drugs)
        question = ask(drug, DIRECT, rng.choice(open_option_sets(world, drug, DIRECT)), rng)
        row = _row(question, drug.effect, reason(question, drug.drug_class, drug.effect, rng))
        if number % 3 == 0:
            yield replace(row, reasoning=None)
        elif number % 3 == 1:
            yield replace(row, question=None)
        else:
            yield replace(row, answer_idx="E", answer="none of these")
