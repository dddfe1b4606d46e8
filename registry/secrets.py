"""Keys come from the environment; their values are hidden in everything that is printed or recorded."""

from __future__ import annotations

import os
from collections.abc import Callable

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


def key_in(content: bytes) -> str | None:
    """The name of a key variable whose value stands in `content`."""
    return next((name for name, secret in _values() if secret.encode() in content), None)


def _values() -> list[tuple[str, str]]:
    return [(name, value) for name, value in os.environ.items() if name.endswith(_ENDINGS) and len(value) >= 8]
