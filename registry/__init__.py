"""`results.json` and `config.json`: what every experiment is, and what came of each of its stages.

`from registry import open_registry, track` is the use from Python. Names are looked up when they are used, so that
importing one module of this room does not load all of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.store import Registry, open_registry
    from registry.tracking import Tracked, track

_HOME = {
    "Registry": "registry.store",
    "Tracked": "registry.tracking",
    "open_registry": "registry.store",
    "track": "registry.tracking",
}
__all__ = ["Registry", "Tracked", "open_registry", "track"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'registry' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
