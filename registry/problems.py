"""What is wrong with a registry or a catalog: where, what, and what to do about it, each on one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from registry.errors import UsageError, counted


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `path` is in the notation of `registry.json_path`.

    `experiment` is the one whose entry is to be mended, which need not be the one that was asked for: a value may be
    wrong in the experiment that others take it from. `file` is None where the path begins with `experiments`.
    """

    path: str
    message: str
    mend: str = ""
    experiment: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.path) if part)
        said = f"{self.message}; {self.mend}" if self.mend else self.message
        return f"{place}: {said}" if place else said

    def to_json(self) -> dict[str, str | None]:
        """The JSON form of `meds1 validate --json`."""
        return asdict(self)


class ConfigError(UsageError):
    """A config that cannot be used, with all its problems."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> ConfigError:
        """The error of these problems; its message names the first and counts the others."""
        others = len(problems) - 1
        more = f" ({counted(others, 'more problem')}: `meds1 validate` lists them)" if others else ""
        return cls(f"{problems[0]}{more}", problems)
