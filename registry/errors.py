"""The project's exception tree: each class is one exit code of the command line.

A message is one clear line: what is wrong, in which experiment and path, and what to do next. Whoever catches
`Meds1Error` prints the message without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_STOPPED = 75

_LONG, _BEGINNING = 128, 40


class Meds1Error(Exception):
    """Root of every error that a user can cause and mend."""

    exit_code = EXIT_FAILED
    recorded = False
    """Whether an attempt's record says it, so that whoever launched the attempt can."""


class StageFailure(Meds1Error):  # noqa: N818 - the registry's own word
    """A stage started and could not reach its result."""


class UsageError(Meds1Error):
    """A wrong command, registry, catalog or config."""

    exit_code = EXIT_USAGE


class MissingError(Meds1Error):
    """A needed file, parent stage or service is not there."""

    exit_code = EXIT_MISSING


class StageStopped(Meds1Error):  # noqa: N818 - no error, a way out
    """A stage saved its state and can be resumed. `signal_number` is 0 where no signal but its time budget ended it."""

    exit_code = EXIT_STOPPED

    def __init__(self, message: str, signal_number: int = 0) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest(word: str, legal: Iterable[str]) -> str:
    """`suggestion`, to be put behind a message."""
    return f"; {suggestion(word, legal)}"


def suggestion(word: str, legal: Iterable[str]) -> str:
    """Return `did you mean 'x' or 'y'?` for the legal names nearest to `word`, or the sorted legal list."""
    names = sorted(set(legal))
    if meant := did_you_mean(word, names):
        return meant
    if not names:
        return "there is none yet"
    shown = ", ".join(name if name.isprintable() and len(name) <= _LONG else shortened(name) for name in names[:20])
    shown += f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"legal: {shown}"


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """Return `did you mean 'x' or 'y'?` for the names nearest to `word`; null where none is near."""
    close = difflib.get_close_matches(word, sorted(set(names)), n=3, cutoff=0.6)
    return "did you mean " + " or ".join(shortened(name) for name in close) + "?" if close else None


def listed(names: Sequence[str], most: int = 5) -> str:
    """The names in one line, the first `most` of a long list and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def shortened(text: str) -> str:
    """`text` in quotes and on one line, for a message; of a very long one only the beginning."""
    return repr(text) if len(text) <= _LONG else f"{text[:_BEGINNING] + '…'!r} ({len(text)} characters)"


def counted(number: int, noun: str) -> str:
    """A number of things in words: `1 experiment`, `2 experiments`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def no_experiment(name: str, known: Iterable[str]) -> UsageError:
    """The error of a name that is no experiment's, with the nearest of those that are."""
    return UsageError(f"no experiment {shortened(name)} in the registry{nearest(name, known)}")


@contextmanager
def naming(experiment: str) -> Iterator[None]:
    """Put the experiment before the message of a mistake, a missing file or a failure that does not know it."""
    try:
        yield
    except (MissingError, UsageError, StageFailure) as error:
        raise type(error)(f"{experiment}: {error}") from None
