"""JSON in a model's answer, held against a pydantic model. Pure text."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def object_in(text: str) -> Any:
    """Return the one JSON object in an answer; a code fence and words around it are passed over.

    Raises `ValueError` when there is none, when it is torn or nested without end, when a key occurs twice, and when
    there are several.
    """
    answer = text.rpartition("</think>")[2]
    start = answer.find("{")
    if start < 0:
        raise ValueError("there is no JSON object in it")
    try:
        # Not strict: models write line breaks into strings as they are.
        value, end = json.JSONDecoder(strict=False, object_pairs_hook=_without_repeats).raw_decode(answer, start)
    except RecursionError:
        raise ValueError("the JSON object is nested without end") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the JSON object is torn: {error.msg}") from None
    if "{" in answer[end:]:
        raise ValueError("there is more than one JSON object in it")
    return value


def validated(text: str, model: type[M]) -> M:
    """Return the JSON object in an answer as a `model`; raises `ValueError` that says in one line what is wrong."""
    try:
        return model.model_validate(object_in(text))
    except ValidationError as error:
        flaws = (f"{'.'.join(map(str, flaw['loc'])) or 'it'}: {flaw['msg']}" for flaw in error.errors())
        raise ValueError("; ".join(flaws)) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)
