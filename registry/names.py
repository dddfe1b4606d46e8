"""Which names an experiment may have: they become folder and file names, so nothing is ever rewritten or shortened."""

from __future__ import annotations

import re

from registry.errors import UsageError

MAX_LENGTH = 128
_LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@:,-]*")


def check_name(name: str) -> str:
    """Return `name` when it is legal, else raise `UsageError`."""
    if len(name) > MAX_LENGTH:
        raise UsageError(f"experiment name of {len(name)} characters: at most {MAX_LENGTH} are allowed")
    if not _LEGAL.fullmatch(name):
        raise UsageError(
            f"experiment name {name!r}: use letters, digits and . _ + = @ : , - and begin with a letter or digit"
        )
    return name
