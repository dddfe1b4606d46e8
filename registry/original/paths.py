"""Whose files a registry names: another experiment's, two experiments' at once, nobody's, and those not here.

The original project put an experiment's name into every path: as a folder, alone or followed by hyperparameters and the
time of the run, or before `_curation.json` and `_eval.json`. In places it left out what is no letter, digit or hyphen.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import UsageError
from registry.json_path import join
from registry.original.case import Contradiction, Result
from registry.references import follow
from registry.schema import Stage

_REPORT = re.compile(r"_(?:curation|eval)\.json$")
_RUN = re.compile(r"_(?:bs\d+_lr[^_]+_epoch[^_]+_)?\d{8}_\d{6}$")
_DROPPED = re.compile(r"[^A-Za-z0-9-]")
_REPORT_FIELDS = ("stats_file", "summary_file")
# What two experiments must have in common to have a stage's files in common.
_SHARED_BY: dict[Stage, tuple[str, ...]] = {"curation": ("curation",), "training": ("curation", "training_params")}

Results = Mapping[str, Mapping[Stage, Result]]


@dataclass
class Owners:
    """Which experiments a path names."""

    names: dict[str, list[str]]
    _known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, experiments: Mapping[str, Any]) -> Owners:
        """The owners among these experiments."""
        names: dict[str, list[str]] = defaultdict(list)
        for name in experiments:
            for form in {name, _DROPPED.sub("", name)}:
                names[form].append(name)
        return cls(dict(names))

    def of_part(self, part: str) -> tuple[str, ...]:
        """The experiments that one component of a path names."""
        if part not in self._known:
            forms = dict.fromkeys((part, _REPORT.sub("", part), _RUN.sub("", part)))
            self._known[part] = tuple(dict.fromkeys(name for form in forms for name in self.names.get(form, ())))
        return self._known[part]

    def of_path(self, path: str) -> tuple[tuple[str, ...], int]:
        """The experiments that the deepest telling component names, and where it stands (-1: no component tells)."""
        parts = path.split("/")
        for index in range(len(parts) - 1, -1, -1):
            found = self.of_part(parts[index])
            if found:
                return found, index
        return (), -1

    def names_it(self, path: str, experiment: str) -> bool:
        """Whether any component names this experiment."""
        return any(experiment in self.of_part(part) for part in path.split("/"))


def foreign_files(result: Result, results: Results, owners: Owners) -> Iterator[Contradiction]:
    """Paths of a result that name another experiment and not its own."""
    for key, path in result.paths.items() if not result.reused else ():
        found, _ = owners.of_path(path)
        base = path.rsplit("/", 1)[-1]
        if key in _REPORT_FIELDS and _REPORT.search(base) and result.experiment not in owners.of_part(base):
            owner = next(iter(owners.of_part(base)), _REPORT.sub("", base))
        elif found and not owners.names_it(path, result.experiment):
            owner = found[0]
        else:
            continue
        there = results.get(owner, {}).get(result.stage)
        yield Contradiction(
            experiment=result.experiment,
            path=f"{result.where}.{key}",
            value=path,
            other=join("experiments", owner, "results", result.stage, key),
            other_value=there.entry.get(key) if there else None,
            message=f"belongs to the experiment {owner}",
            remedy=f"mend the path, or {result.mend}",
        )


def shared_files(experiments: Mapping[str, Any], results: Results, owners: Owners) -> Iterator[Contradiction]:
    """Files that several experiments call their own though none says "same as" of another."""
    users: dict[str, list[tuple[Result, str]]] = defaultdict(list)
    for stages in results.values():
        for result in stages.values():
            for key, path in result.paths.items() if not result.reused else ():
                if os.path.isabs(path) and not key.endswith("_dir"):
                    users[os.path.normpath(path)].append((result, key))
    for path, found in users.items():
        if owners.of_path(path)[0]:  # then `foreign_files` has named the others
            found = [(result, key) for result, key in found if owners.names_it(path, result.experiment)]
        for result, key in found[1:]:
            first, first_key = found[0]
            if result.experiment == first.experiment or _may_share(experiments, first, result):
                continue
            yield Contradiction(
                experiment=result.experiment,
                path=f"{result.where}.{key}",
                value=result.entry[key],
                other=f"{first.where}.{first_key}",
                other_value=first.entry[first_key],
                message='is the file of another experiment too, and neither says "same as" of the other',
                remedy=f"mend the path that is wrong, or {result.mend}",
            )


def lost_files(results: Results, owners: Owners) -> Iterator[Contradiction]:
    """Outputs on this machine that no experiment names, beside those of at least two experiments."""
    beside: dict[tuple[str, bool], set[str]] = defaultdict(set)
    used: set[str] = set()
    for name, stages in results.items():
        for result in stages.values():
            for path in result.paths.values():
                used.update(path.split("/"))
                found, index = owners.of_path(path)
                parts = path.split("/")
                report = _REPORT.search(parts[-1]) is not None and index == len(parts) - 1
                if name in found and os.path.isabs(path):
                    beside["/".join(parts[:index]), report].add(name)
    for (folder, report), names in beside.items():
        if len(names) < 2 or not os.access(folder, os.R_OK | os.X_OK):
            continue
        for item in sorted(os.scandir(folder), key=lambda item: item.name):
            kind = item.is_file() and _REPORT.search(item.name) if report else item.is_dir()
            if kind and not item.name.startswith(".") and item.name not in used and not owners.of_part(item.name):
                yield Contradiction(
                    experiment=None,
                    path=item.path,
                    value=item.name,
                    other=folder,
                    other_value=f"outputs of {len(names)} experiments",
                    message="is no experiment's",
                    remedy="add the experiment that it belongs to, or remove it",
                )


def _may_share(experiments: Mapping[str, Any], one: Result, other: Result) -> bool:
    if one.stage != other.stage or one.stage not in _SHARED_BY:
        return False
    try:
        return all(
            follow(experiments, one.experiment, key)[1][-1] == follow(experiments, other.experiment, key)[1][-1]
            for key in _SHARED_BY[one.stage]
        )
    except UsageError:
        return False  # the reference itself is the problem, which the resolver reports
