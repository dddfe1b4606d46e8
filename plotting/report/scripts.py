"""Data files: scripts of one call, since a page opened from disk may load scripts but fetch nothing.

They are ASCII, without `<`, `>` and `&` in their text: whatever a model wrote, it can neither end the script nor be
read as markup. Lone surrogates and control characters come through. The values of keys are masked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry.secrets import masked_json

_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))
CALL = "meds1Data("


def script(key: str, value: Any) -> str:
    """The text of the data file with this key: its path below `data`, without its ending."""
    return f"{CALL}{_escaped(key)},{_escaped(value)});\n"


def write_data(report: Path, key: str, value: Any) -> None:
    """Write one data file of a report; not flushed to the disk, since a report can be made anew."""
    path = report / "data" / f"{key}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(key, value), encoding="ascii")


def _escaped(value: Any) -> str:
    text = json.dumps(masked_json(value), separators=(",", ":"))
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text
