"""`results.json` and `config.json`: what every experiment is, and what came of each of its stages.

`from registry import open_registry, track` is the use from Python. Names are looked up when they are used, so that
importing one module of this room does not load all of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.store import Registry, open_registry

_HOME = {"Registry": "registry.store", "open_registry": "registry.store"}
__all__ = ["Registry", "open_registry"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'registry' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
