"""The specialties that the project knows by name: one spelling each, from `specialties.txt`.

The list suggests and labels. A row may have any other label, and is not refused for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final


def _listed() -> tuple[str, ...]:
    lines = Path(__file__).with_name("specialties.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


SPECIALTIES: Final = _listed()
"""In the order of the file: specialties and subspecialties of medicine, allied professions, sciences."""
