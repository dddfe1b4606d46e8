"""How much memory one GPU of a partition has: as the config says, else by the name that Slurm has for its GPUs."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache

from registry.schema import Resources
from registry.sizes import in_bytes

# GiB as the driver reports them, of names that stand for one size (but for the h100 NVL, which has more): an a100 or
# v100 may have either of two.
_KNOWN = {"h200": 140, "b200": 178, "h100": 79, "l40s": 44, "a40": 44, "a6000": 47, "a30": 23, "l4": 22, "t4": 14}
_IN_NAME = re.compile(r"(\d+)gb(?![a-z])")
_GPUS = re.compile(r"\bgpu(?::([^:,(]+))?:\d+(?:[,(]|$)")
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Card:
    """The memory of one GPU in bytes, null when nobody knows, and who says so, or why nobody does."""

    memory: int | None
    source: str


def card_of(resources: Resources, with_slurm: bool) -> Card:
    """The GPU that a job with these resources gets, the smallest one of several kinds."""
    if resources.gpu_memory is not None:
        return Card(in_bytes(resources.gpu_memory), "slurm.training.gpu_memory")
    if not with_slurm:
        return Card(None, "slurm.training.gpu_memory says how much a GPU has")
    return _of_partition(resources.partition)


@cache
def _of_partition(partition: str | None) -> Card:
    where = f"partition {partition}" if partition else "the default partition"
    names = gpu_names(_ask(partition), partition is None)
    if not names:
        return Card(None, f"Slurm names no GPUs of {where}; slurm.training.gpu_memory says how much one has")
    sizes = {name: memory_by_name(name) for name in names}
    known = [size for size in sizes.values() if size is not None]
    if len(known) < len(sizes):
        unclear = ", ".join(sorted(name for name, size in sizes.items() if size is None))
        return Card(None, f"{where} has {unclear}; slurm.training.gpu_memory says how much one has")
    return Card(min(known), f"{where}: {', '.join(sorted(names))}")


def gpu_names(listed: str, default_only: bool) -> set[str]:
    """The kinds of GPU in the lines `partition|gres` of sinfo, which marks the default partition with a star."""
    names = set()
    for line in listed.splitlines():
        partition, _, gres = line.partition("|")
        if partition.endswith("*") or not default_only:
            names |= {found[1] or "GPUs without a name" for found in _GPUS.finditer(gres)}
    return names


def memory_by_name(name: str) -> int | None:
    """Bytes of a GPU by its name in Slurm; null for one that is sold in several sizes and does not name its own."""
    name = name.lower()
    sizes = _IN_NAME.findall(name)
    if sizes:  # the last one: of a slice, a100_3g.20gb, it is the slice's
        return int(sizes[-1]) * 2**30
    kinds = [size for kind, size in _KNOWN.items() if kind in re.split(r"[^a-z0-9]+", name)]
    return kinds[0] * 2**30 if kinds else None


def _ask(partition: str | None) -> str:
    which = [f"--partition={partition}"] if partition else []
    command = ["sinfo", "--noheader", "--format=%P|%G", *which]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
