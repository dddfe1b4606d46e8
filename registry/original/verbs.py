"""`meds1 import FILE`: bring the experiments of another registry into this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.console import Answer, answering
from registry.errors import MissingError, UsageError
from registry.options import ConfigFile, Json, RegistryFile
from registry.paths import RegistryPaths
from registry.store import experiments_of, open_registry

if TYPE_CHECKING:
    from registry.original.imports import Import

ImportFile = Annotated[Path, typer.Argument(metavar="FILE", help="The results.json to import.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report what would be imported; write nothing.")]
_TOP = ("$schema", "format", "experiments")


def import_registry(
    file: ImportFile,
    dry_run: DryRun = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Bring the experiments of another registry into this one."""
    with answering("import", as_json) as answer:
        from registry.edits import create
        from registry.original.imports import lacks, plan_import

        opened = open_registry(registry, config)
        here = experiments_of(opened.read())
        source = _source(file, answer)
        plan = plan_import(source, here, str(file))
        lacking = lacks({**here, **plan.new}, plan.new, opened.catalog)
        _report(answer, source, plan, dry_run)
        answer.data["lacking"] = [lack.to_json() for lack in lacking]
        answer.lines += [lack.line for lack in lacking]
        if plan.new and not dry_run:  # last: whatever is wrong has been found by now
            create(opened, plan.new, f"imported from {file}")


def _source(file: Path, answer: Answer) -> dict[str, Any]:
    """The document in `file`, with the records that may stand beside it."""
    from registry.document import load
    from registry.reading import read

    if not file.exists():
        raise MissingError(f"{file}: no such file; give the path of a results.json")
    if not file.is_file():
        raise UsageError(f"{file}: is no file; give the path of a results.json")
    if "experiments" not in load(file)[0]:
        raise UsageError(f"{file}: holds no experiments; give the path of a results.json")
    found = read(RegistryPaths(file.resolve()))
    answer.warnings.extend(f"{file}: {warning}" for warning in found.warnings)
    others = [key for key in found.document if key not in _TOP]
    if others:
        answer.warnings.append(f"{file}: {', '.join(others)}: no part of a registry, so not imported")
    return found.document


def _report(answer: Answer, source: dict[str, Any], plan: Import, dry_run: bool) -> None:
    from registry.original.contradictions import absent_paths, contradictions

    absent = absent_paths({"experiments": plan.new})
    # Over the whole file: what contradicts an experiment may be one that is here already.
    found = contradictions(source, here=True)
    answer.data = {
        "imported": [] if dry_run else list(plan.new),
        "would_import": list(plan.new) if dry_run else [],
        "skipped": list(plan.same),
        "absent_paths": absent,
        "contradictions": [item.to_json() for item in found],
    }
    done = "would import" if dry_run else "imported"
    answer.lines.append(f"{done} {_count(len(plan.new), 'experiment')}")
    if plan.same:
        answer.lines.append(f"{_count(len(plan.same), 'experiment')} here already, the same: {', '.join(plan.same)}")
    if absent:
        count = sum(len(paths) for paths in absent.values())
        answer.lines.append(f"{_count(count, 'path')} not on this machine, kept as written:")
        answer.lines += [f"  {name}: {', '.join(paths)}" for name, paths in absent.items()]
    answer.lines.append(f"{_count(len(found), 'contradiction')}{':' if found else ''}")
    answer.lines += [f"  {item.line}" for item in found]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
