"""Keys come from the environment; their values are hidden in everything that is printed or recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

# HF_TOKEN, OPENAI_API_KEY and their like, also those that only a catalog's `api_key_env` names.
_ENDINGS = ("_TOKEN", "_API_KEY")


def masked(text: str) -> str:
    """`text` with the values of key variables hidden: those whose name ends in _API_KEY or _TOKEN."""
    return masking()(text)


def masking() -> Callable[[str], str]:
    """`masked` for many texts: the environment, which is slow to go through, is gone through once."""
    values = _values()

    def mask(text: str) -> str:
        for name, secret in values:
            text = text.replace(secret, f"<{name}>")
        return text

    return mask


def masked_json(value: Any) -> Any:
    """A value of JSON with its strings masked: once it is written, a key with a quote in it is not what it was."""
    mask = masking()

    def inner(part: Any) -> Any:
        if isinstance(part, str):
            return mask(part)
        if isinstance(part, Mapping):
            return {inner(name): inner(below) for name, below in part.items()}
        return [inner(one) for one in part] if isinstance(part, list | tuple) else part

    return inner(value)


def key_in(content: bytes) -> str | None:
    """The name of a key variable whose value stands in `content`."""
    return next((name for name, secret in _values() if secret.encode() in content), None)


def _values() -> list[tuple[str, str]]:
    """By name; the longest first, since one key can stand in another."""
    found = [(name, value) for name, value in os.environ.items() if name.endswith(_ENDINGS) and len(value) >= 8]
    return sorted(found, key=lambda item: -len(item[1]))
