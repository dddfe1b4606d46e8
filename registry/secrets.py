"""Keys come from the environment; their values are hidden in everything that is printed or recorded."""

from __future__ import annotations

import os

_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


def masked(text: str) -> str:
    """`text` with the values of known key variables hidden."""
    for name in _SECRETS:
        secret = os.environ.get(name)
        if secret and len(secret) >= 8:
            text = text.replace(secret, f"<{name}>")
    return text
