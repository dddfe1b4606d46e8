"""Keys come from the environment; their values are hidden in everything that is printed or recorded."""

from __future__ import annotations

import os

_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


def masked(text: str) -> str:
    """`text` with the values of known key variables hidden."""
    for name, secret in _values():
        text = text.replace(secret, f"<{name}>")
    return text


def key_in(content: bytes) -> str | None:
    """The name of a known key variable whose value stands in `content`."""
    return next((name for name, secret in _values() if secret.encode() in content), None)


def _values() -> list[tuple[str, str]]:
    values = ((name, os.environ.get(name)) for name in _SECRETS)
    return [(name, secret) for name, secret in values if secret and len(secret) >= 8]
