"""Amounts of memory and disk, for people: 1024 bytes are a KiB."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_FACTORS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def readable(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def in_bytes(memory: str) -> int:
    """An amount as Slurm writes it, such as 80G; without a letter it is MiB."""
    return int(memory.rstrip("KMGT")) * _FACTORS.get(memory[-1], _FACTORS["M"])
