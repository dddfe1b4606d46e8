"""Commands that read the registry: list, show; and rebuild, which mends its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, get_args

import typer

from registry.console import Answer, Grid, answering
from registry.curation_schema import in_filter_order
from registry.errors import Meds1Error, UsageError, nearest
from registry.events import as_grid, history_of
from registry.fold import rebuild as rebuild_file
from registry.options import (
    NO_EXPERIMENTS,
    Choice,
    ConfigFile,
    Files,
    Json,
    Name,
    Names,
    RegistryFile,
    Tag,
    chosen,
    chosen_one,
)
from registry.reading import View
from registry.rewriting_counts import told_beside
from registry.schema import STAGES
from registry.selection import model_of, of_model
from registry.spending import told
from registry.status import Word, ended_as
from registry.store import Registry, experiments_of, open_registry, results_of
from registry.unknown import unknown_fields


def list_experiments(  # noqa: PLR0913 - one parameter per option of the command line
    names: Names = None,
    tag: Tag = None,
    status: Annotated[str | None, typer.Option(help="Only those with a stage in this state, such as stale.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model_key.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    as_json: Json = False,
    registry: RegistryFile = None,
    config: ConfigFile = None,
) -> None:
    """List experiments with their descriptions and tags."""
    with answering("list", as_json) as answer:
        opened, view, selected = chosen(answer, Files(registry, config), Choice.or_all(names, tag))
        if model is not None:
            selected = of_model(experiments_of(view), selected, model)
        if status is not None:
            selected = _in_state(opened, view, selected, status, answer)
        left_out = len(selected) - len(selected[:limit])
        selected = selected[:limit]
        answer.warnings += unknown_fields(view.document, selected)
        answer.data = [_summary(view, name) for name in selected]
        rows = [
            [d["name"], d["model"] or "", ", ".join(d["tags"]), ", ".join(d["results"]), d["description"] or ""]
            for d in answer.data
        ]
        if rows:
            answer.lines.append(Grid(["experiment", "model", "tags", "results", "description"], rows))
        else:
            answer.lines.append("nothing here has all that" if experiments_of(view) else NO_EXPERIMENTS)
        if left_out:
            answer.lines.append(f"and {left_out} more")


def _in_state(opened: Registry, view: View, names: list[str], word: str, answer: Answer) -> list[str]:
    """Those of which the registry itself, no queue asked, says that a stage is in this state."""
    if word not in get_args(Word):
        raise UsageError(f"--status {word!r}: no such state{nearest(word, get_args(Word))}")
    found = []
    for name in names:
        try:
            if any(state.status == word for state in opened.statuses(view, name).values()):
                found.append(name)
        except Meds1Error as error:
            answer.warn(name, error)
    return found


def _summary(view: View, name: str) -> dict[str, Any]:
    body, results = experiments_of(view)[name], results_of(view, name)
    have = [stage for stage in STAGES if ended_as(results.get(stage)) == "completed"]
    return {
        "name": name,
        "model": model_of(body),
        "tags": body.get("tags") or [],
        "results": have,
        "description": body.get("description"),
    }


def show(name: Name, as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Show one experiment: config, results, history, notes."""
    with answering("show", as_json) as answer:
        opened, view = chosen_one(answer, Files(registry, config), name)
        answer.warnings += unknown_fields(view.document, [name])
        body, past = experiments_of(view)[name], history_of(view.state, name)
        effective: dict[str, Any] | None = None
        states: dict[str, dict[str, Any]] = {}
        try:
            found, of_stages = opened.config_and_statuses(view, name)
            # The states first: results that have no resolvable config have them all the same.
            states = {stage: asdict(state) for stage, state in of_stages.items()}
            if isinstance(found, UsageError):
                raise found
            effective = found.model_dump(mode="json")
        except Meds1Error as error:  # what is written is shown all the same
            answer.warn(name, error)
        answer.data = {**body, "effective": effective, "status": states, "history": past}
        sections = {key: value for key, value in {**body, "effective": effective}.items() if value}
        for title, value in sections.items():
            shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
            answer.lines.append(f"{title}: {shown}")
        for stage, state in states.items():
            answer.lines.append(f"{stage}: {': '.join(filter(None, [state['status'], state['reason']]))}")
        for stage, result in results_of(view, name).items():
            spending = (result or {}).get("spending")
            if isinstance(spending, dict) and {"calls", "cached", "cost"} <= spending.keys():
                answer.lines.append(f"{stage} spent: {told(spending)}")
        funnel = _funnel((results_of(view, name).get("curation") or {}).get("metrics") or {})
        if funnel is not None:
            answer.lines.append(funnel)
        if past["attempts"] or past["edits"]:
            answer.lines.append(as_grid(past))


def _funnel(metrics: Mapping[str, Any]) -> Grid | None:
    """What each stage of a curation left of its rows, and why it removed the others; None for a result without that."""
    funnel, reasons = metrics.get("funnel"), metrics.get("reasons")
    if not isinstance(funnel, dict) or not isinstance(reasons, dict):
        return None
    if not all(isinstance(why, dict) for why in reasons.values()):
        return None
    if not all(isinstance(n, int) for counts in (funnel, *reasons.values()) for n in counts.values()):
        return None
    rows, before = [], None
    for name, left in in_filter_order(funnel).items():
        why = reasons.get(name.removeprefix("after_")) or {}
        removed = "" if before is None else str(before - left)
        most_first = _most_first(why)
        if name == "after_rewriting":
            rows += _rewritings(metrics.get("rewriting"))
        rows.append([name.replace("_", " "), str(left), removed, most_first])
        before = left
    return Grid(["curation", "rows", "removed", "why"], rows, right=(1, 2))


def _rewritings(counts: object) -> list[list[str]]:
    """What each rewriting left, gave up and accepted; nothing of counts that are not a curation's."""
    rows = []
    for count in counts if isinstance(counts, list) else ():
        if not isinstance(count, dict) or not isinstance(count.get("reasons"), dict):
            return []
        whole = {name: n for name, n in {**count, **count["reasons"]}.items() if isinstance(n, int)}
        if not {"rows", "given_up", *count["reasons"]} <= whole.keys():
            return []
        ways = ", ".join(f"{whole[way]} {way}" for way in ("accepted", "repaired", "unchanged") if whole.get(way))
        told = "; ".join(filter(None, (ways, *told_beside(count), _most_first(count["reasons"]))))
        left = whole["rows"] - whole["given_up"]
        rows.append([f"  {count.get('name')}", str(left), str(whole["given_up"]), told])
    return rows


def _most_first(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{key} ({n})" for key, n in sorted(reasons.items(), key=lambda item: -item[1]))


def rebuild(as_json: Json = False, registry: RegistryFile = None, config: ConfigFile = None) -> None:
    """Write the last good state and every record in place of a torn results.json."""
    with answering("rebuild", as_json) as answer:
        opened = open_registry(registry, config)
        rebuilt = rebuild_file(opened.paths)
        aside = str(rebuilt.aside) if rebuilt.aside else None
        answer.data = {"rebuilt": rebuilt.done, "set_aside": aside}
        done = f"rebuilt; the torn file is {aside}" if aside else "rebuilt; the file was gone"
        answer.lines.append(done if rebuilt.done else f"{opened.paths.file} is sound; nothing to do")
