"""Which names an experiment may have: they become folder and file names, so nothing is ever rewritten or shortened."""

from __future__ import annotations

import re

from registry.errors import UsageError, shortened

MAX_LENGTH = 128
PATTERN = r"[A-Za-z0-9][A-Za-z0-9._+=@:,-]*"
_LEGAL = re.compile(PATTERN)


def flaw(name: str) -> tuple[str, str] | None:
    """What is wrong with a name and what to do about it; None when it is legal."""
    if len(name) > MAX_LENGTH:
        return f"experiment name of {len(name)} characters", f"at most {MAX_LENGTH} are allowed"
    if not _LEGAL.fullmatch(name):
        return (
            f"experiment name {shortened(name)} is not legal",
            "use letters, digits and . _ + = @ : , - and begin with a letter or digit",
        )
    return None


def in_message(name: str) -> str:
    """A name as a message shows it: one that is not legal in quotes and shortened."""
    return name if flaw(name) is None else shortened(name)


def check_name(name: str) -> str:
    """Return `name` when it is legal, else raise `UsageError`."""
    found = flaw(name)
    if found:
        raise UsageError("; ".join(found))
    return name
