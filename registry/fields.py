"""What every model of a config is made of: strict and frozen, with fields that say what they are for.

A field marked with `no_outcome` changes how fast or where a stage runs, never what comes out of it: it is left out
of the fingerprint. One marked with `optional` is left out where it is null, so that a new field makes no old result
stale.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FormatName = Literal["huatuo", "qwen", "nemotron", "plain"]
EngineName = Literal["vllm", "transformers", "openai", "vertex"]
API_ENGINES: frozenset[EngineName] = frozenset(("openai", "vertex"))
"""The engines that ask a server; the others load a model themselves, for which a job should have a GPU."""
Positive = Annotated[int, Field(ge=1)]
# True or "2" must not pass for a number of nodes.
Count = Annotated[int, Field(ge=1, strict=True)]
# Slurm reads 12:00 as minutes and seconds: only what nobody misreads.
_TIME = r"^(\d+:\d\d:\d\d|\d+-\d{1,2}(:\d\d){0,2})$"
Duration = Annotated[str, Field(pattern=_TIME, examples=["12:00:00", "1-00:00:00"])]
Memory = Annotated[str, Field(pattern=r"^\d+[KMGT]?$", examples=["64G"])]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def seconds_of(time: int | str) -> int:
    """The seconds of a `Count` of minutes, or of a `Duration`."""
    if isinstance(time, int):
        return 60 * time
    days, _, clock = time.rpartition("-")
    hours, minutes, seconds, *_ = [*map(int, clock.split(":")), 0, 0]
    return ((24 * int(days or 0) + hours) * 60 + minutes) * 60 + seconds


def no_outcome(description: str, default: Any = None) -> Any:
    """A field that the fingerprint leaves out."""
    return Field(default, description=description, json_schema_extra={"no_outcome": True})


def optional(description: str) -> Any:
    """A field that is null unless it is given, and that the fingerprint leaves out then."""
    return Field(None, description=description, json_schema_extra={"optional": True})


def described(description: str, default: Any = ..., **constraints: Any) -> Any:
    """A field with a description, for the JSON Schema that editors show; required without a default."""
    return Field(default, description=description, **constraints)


class Strict(BaseModel):
    """Base of every model of a config: unknown fields and NaN are refused, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
