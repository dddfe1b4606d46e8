"""What an experiment's page says of each stage: state, numbers, where it ran, what it spent, and its newest logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plotting.artifacts import located
from plotting.curated import curated_of
from plotting.figures.funnel import title
from plotting.runs import Run
from plotting.training_logs import validations_of
from registry.errors import MissingError
from registry.history import Header, State
from registry.json_path import join
from registry.original.case import is_path, part
from registry.origins import leaves
from registry.paths import attempt_dir
from registry.rewriting_counts import told_beside
from registry.schema import STAGES, Stage
from registry.spending import told

LOG_LINES = 200
_LOG_BYTES = 256_000
_LOGS = 8
_FACTS = ("timestamp", "fingerprint", "attempt", "restart", "reused_from")
_SHOWN_APART = ("benchmarks", "funnel", "reasons", "specialties", "rewriting", "validation_losses", "resolved")


def stage_pages(run: Run, state: State) -> list[dict[str, Any]]:
    """The stages that apply, in order, as `experiment.html` shows them."""
    return [
        _stage(run, state, stage) for stage in STAGES if run.statuses[stage].status != "n/a" or run.results.get(stage)
    ]


def _stage(run: Run, state: State, stage: Stage) -> dict[str, Any]:
    entry = run.results.get(stage) or {}
    metrics = part(entry, "metrics")
    spending = entry.get("spending")
    return {
        "stage": stage,
        "status": run.statuses[stage].status,
        "reason": run.statuses[stage].reason,
        "facts": [(name, entry[name]) for name in _FACTS if entry.get(name) not in (None, "")],
        "error": str(entry.get("error") or ""),
        "last_attempt": flat(entry.get("last_attempt") or {}),
        "traceback": "\n".join(map(str, entry.get("traceback") or ())),
        "files": [
            (name, value, located(entry, name) is not None) for name, value in entry.items() if is_path(name, value)
        ],
        "job": flat(entry.get("job") or {}),
        "provenance": flat(entry.get("provenance") or {}),
        "spent": told(spending) if spending else "",
        "spending_rows": flat((spending or {}).get("models") or {}),
        "metrics": flat({name: value for name, value in metrics.items() if name not in _SHOWN_APART}),
        "resolved": flat(metrics.get("resolved") or {}),
        "bars": list(_bars(run)) if stage == "curation" else [],
        "rewriting": _rewriting(metrics.get("rewriting")),
        "validation_losses": validations_of(metrics),
        "logs": _logs(run, state.headers(run.experiment, stage), entry, stage),
    }


def _rewriting(counts: object) -> list[dict[str, Any]]:
    """The count of each rewriting, with what it says beside its rows."""
    found = counts if isinstance(counts, list) else []
    return [{**count, "beside": "; ".join(told_beside(count))} for count in found if isinstance(count, Mapping)]


def flat(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The values inside an object with their paths, for a table."""
    return [(join(*steps), str(found)) for steps, found in leaves(value) if found not in (None, [], {})]


def _bars(run: Run) -> Iterator[dict[str, Any]]:
    """Tables of counts with their shares of the largest: funnel, reasons for leaving rows out, specialties."""
    try:
        curated = curated_of(run)
    except MissingError:  # a result without counts has no tables
        return
    yield _bar_table("Rows left after each step", [(title(step), count) for step, count in curated.funnel.items()])
    named = [
        (f"{title(step)}: {why}", count) for step, found in curated.reasons.items() for why, count in found.items()
    ]
    yield _bar_table("Why rows were left out", sorted(named, key=lambda item: -item[1]))
    specialties = sorted(curated.specialties.items(), key=lambda item: -item[1])
    yield _bar_table("Specialties of the chosen rows", specialties)


def _bar_table(caption: str, rows: list[tuple[str, int]]) -> dict[str, Any]:
    most = max((count for _, count in rows), default=0) or 1
    return {"title": caption, "rows": [(name, count, count / most) for name, count in rows]}


def _logs(run: Run, headers: list[Header], entry: Mapping[str, Any], stage: Stage) -> dict[str, Any] | None:
    """Where the newest attempt's logs are, and the last lines of those that are here; null without an attempt."""
    number = headers[-1].attempt if headers else entry.get("attempt")
    of_attempt = [header.run_dir for header in headers if header.attempt == number and header.run_dir]
    run_dir = of_attempt[0] if of_attempt else entry.get("run_dir")
    if not run_dir or not number:
        return None
    folder = attempt_dir(Path(run_dir), int(number))
    here = located({"run_dir": run_dir, "logs": str(folder)}, "logs")
    files = [(str(path.relative_to(here)), _tail(path)) for path in _log_files(here)] if here else []
    return {"attempt": number, "folder": str(folder), "files": files}


def _log_files(folder: Path) -> list[Path]:
    found = sorted(path for ending in ("out", "err", "txt") for path in folder.rglob(f"*.{ending}") if path.is_file())
    return found[:_LOGS]


def _tail(path: Path) -> str:
    """The last lines of a log; of a progress bar only its last state."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    lines = [re.sub(r".*\r(?!$)", "", line.rstrip("\r")) for line in text.split("\n")]
    return "\n".join(lines[-LOG_LINES:])
