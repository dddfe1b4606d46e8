"""`results.json` and `config.json`: what every experiment is, and what came of each of its stages."""

from registry.store import Registry, open_registry

__all__ = ["Registry", "open_registry"]
