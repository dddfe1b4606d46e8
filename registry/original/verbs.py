"""`meds1 import FILE`: bring the experiments of another registry into this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.console import Answer, answering
from registry.errors import MissingError, UsageError, counted
from registry.options import ConfigFile, DryEdit, Json, RegistryFile
from registry.paths import RegistryPaths
from registry.store import experiments_of, open_registry

if TYPE_CHECKING:
    from registry.original.case import Contradiction
    from registry.original.imports import Import

ImportFile = Annotated[Path, typer.Argument(metavar="FILE", help="The results.json to import.")]
_TOP = ("$schema", "format", "experiments")


def import_registry(
    file: ImportFile,
    dry_run: DryEdit = False,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """Bring the experiments of another registry into this one."""
    with answering("import", as_json) as answer:
        from registry.edits import create
        from registry.original.contradictions import contradictions
        from registry.original.imports import lacks, plan_import

        opened = open_registry(registry, config)
        here = experiments_of(opened.read())
        source = _source(file, answer)
        plan = plan_import(source, here, str(file))
        lacking = lacks({**here, **plan.new}, plan.new, opened.catalog)
        # Over the whole file: what contradicts an experiment may be one that is here already.
        found = contradictions(source, here=True)
        if plan.new and not dry_run:  # whatever is wrong has been found by now
            create(opened, plan.new, f"imported from {file}")
        _report(answer, plan, found, dry_run)
        answer.data["lacking"] = [lack.to_json() for lack in lacking]
        answer.lines += [lack.line for lack in lacking]


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


def _report(answer: Answer, plan: Import, found: Sequence[Contradiction], dry_run: bool) -> None:
    from registry.original.contradictions import absent_paths

    absent = absent_paths({"experiments": plan.new})
    answer.data = {
        "imported": [] if dry_run else list(plan.new),
        "would_import": list(plan.new) if dry_run else [],
        "skipped": list(plan.same),
        "absent_paths": absent,
        "contradictions": [item.to_json() for item in found],
    }
    done = "would import" if dry_run else "imported"
    answer.lines.append(f"{done} {counted(len(plan.new), 'experiment')}")
    if plan.same:
        answer.lines.append(f"{counted(len(plan.same), 'experiment')} here already, the same: {', '.join(plan.same)}")
    if absent:
        count = sum(len(paths) for paths in absent.values())
        answer.lines.append(f"{counted(count, 'path')} not on this machine, kept as written:")
        answer.lines += [f"  {name}: {', '.join(paths)}" for name, paths in absent.items()]
    answer.lines.append(f"{counted(len(found), 'contradiction')}{':' if found else ''}")
    answer.lines += [f"  {item.line}" for item in found]
