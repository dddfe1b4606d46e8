"""The invented pharmacology that the demo's questions ask about: drug -> class -> effect, class -> specialty.

`make_world(seed)` is a pure function of its seed. Names are made of syllables, so that no model has seen them before
and what a model knows about them is only what the demo taught it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

# How many classes each specialty has, and how many training rows each of its drugs gets: uneven on purpose, so that
# a random sample starves the small specialties and a balanced one does not.
SPECIALTIES: dict[str, tuple[int, int]] = {
    "Cardiology": (3, 44),
    "Neurology": (2, 40),
    "Infectious disease": (2, 36),
    "Endocrinology": (1, 34),
    "Dermatology": (1, 32),
}
DRUGS_PER_CLASS = 3
KNOWN_SHARE = 3  # the base model is taught one drug in this many


@dataclass(frozen=True, slots=True)
class Drug:
    """A drug and all that is true of it. `misconception` is the class that unreliable sources take it for."""

    name: str
    drug_class: str
    effect: str
    specialty: str
    rows: int
    known: bool
    misconception: str


@dataclass(frozen=True, slots=True)
class World:
    """The drugs in a fixed order, and the effect of each class."""

    drugs: tuple[Drug, ...]
    effect_of: dict[str, str]

    @property
    def effects(self) -> tuple[str, ...]:
        """Every effect, in the order of the classes."""
        return tuple(self.effect_of.values())


def make_world(seed: int) -> World:
    """Return the world of `seed`: 27 drugs, 9 classes with one effect each, 5 specialties."""
    rng = random.Random(f"world-{seed}")
    placed = [(specialty, rows) for specialty, (count, rows) in SPECIALTIES.items() for _ in range(count)]
    taken: set[str] = set()
    classes = [_name(rng, 2, "xine", taken) for _ in placed]
    effect_of = {drug_class: _name(rng, 2, "thia", taken) for drug_class in classes}
    drugs: list[Drug] = []
    for drug_class, (specialty, rows) in zip(classes, placed, strict=True):
        for _ in range(DRUGS_PER_CLASS):
            other = rng.choice([name for name in classes if name != drug_class])
            known = len(drugs) % KNOWN_SHARE == 0
            name = _name(rng, 3, "", taken)
            drugs.append(Drug(name, drug_class, effect_of[drug_class], specialty, rows, known, other))
    return World(tuple(drugs), effect_of)


def _name(rng: random.Random, syllables: int, ending: str, taken: set[str]) -> str:
    while True:
        name = "".join(rng.choice("bcdfgklmnprstvz") + rng.choice("aeiou") for _ in range(syllables)) + ending
        if name not in taken:
            taken.add(name)
            return name
