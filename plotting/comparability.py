"""Whether two runs of a benchmark may be ranked: only what was asked in the same way of the same questions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from plotting.runs import Run
from registry.errors import listed
from registry.fingerprint import changed_fields
from registry.original.case import part
from registry.schema import ExperimentConfig

_SAMPLING = ("temperature", "max_tokens", "limit", "thinking", "few_shot")
_HOW = ("engine", "seed")
_JUDGED = ("max_tokens", "temperature")


def why_not_ranked(a: Run, b: Run, benchmark: str) -> str | None:
    """What keeps the accuracies of two runs on a benchmark from being ranked; null where nothing does.

    What was asked, and how it was scored, is what the results recorded as their inputs. Of a result without them
    (another program's) only the number of answers and, while it is not stale, its config's prompting are known;
    `remarks` says so. Who judged is no part of it: accuracy takes no judge, see `judged_alike`.
    """
    for run in (a, b):
        if benchmark not in run.scored.scores:
            return f"{run.experiment} has no result of it"
    changes = changed_fields(*_protocols(a, b, benchmark))
    if changes:
        again = "; bring the older to date with `meds1 run NAME --rescore`" if _only_scored_anew(changes) else ""
        return f"asked or scored in another way: {'; '.join(changes)}{again}"
    total_a, total_b = (run.scored.scores[benchmark].total for run in (a, b))
    return f"{total_a:,} answers of the one, {total_b:,} of the other" if total_a != total_b else None


def asked_otherwise(runs: Sequence[Run], benchmark: str) -> dict[str, str]:
    """Why runs are not ranked with those of the protocol that most have, by name; each is held against one of these.

    That is the protocol of most runs that are whole and fresh, of equally many the first. Where they are silent about
    it, those that tell theirs must be like each other too: two that are like a silent one need not be.
    """
    having = [run for run in runs if benchmark in run.scored.scores]
    if not having:
        return {}
    first = _most_common(having, benchmark)
    found = _unlike(first, having, benchmark)
    telling = [run for run in having if says_what_was_asked(run) and run.experiment not in found]
    if telling and not says_what_was_asked(first):
        found |= _unlike(_most_common(telling, benchmark), telling, benchmark)
    return found


def _most_common(runs: Sequence[Run], benchmark: str) -> Run:
    """The first run of the protocol that most have."""
    pool = [run for run in runs if run.scored.comparable] or runs
    keys = [_protocol_key(run, benchmark) for run in pool]
    return pool[place_of_most(keys)]


def place_of_most(keys: Sequence[str]) -> int:
    """Where the first of those keys stands that occur most often; of equally frequent ones the first."""
    return keys.index(Counter(keys).most_common(1)[0][0])


def _protocol_key(run: Run, benchmark: str) -> str:
    """Equal for two runs of one protocol."""
    inputs = _inputs(run)
    protocol = {**asked(inputs, benchmark), "data": _data(run, benchmark)} if inputs else _prompting(run)
    return json.dumps([protocol, run.scored.scores[benchmark].total], sort_keys=True)


def _unlike(first: Run, runs: Sequence[Run], benchmark: str) -> dict[str, str]:
    found = ((run.experiment, why_not_ranked(first, run, benchmark)) for run in runs if run is not first)
    return {name: f"against {first.experiment}: {reason}" for name, reason in found if reason is not None}


def remarks(a: Run, b: Run) -> list[str]:
    """What to know of two runs that are ranked: other engine, seed or judge, or that a result says nothing of these.

    And that their result is one, which an experiment took over from another: it says nothing of how models differ.
    """
    path_a, path_b = ((run.completed("eval") or {}).get("predictions_path") for run in (a, b))
    if path_a and path_a == path_b:
        return [f"{a.experiment} and {b.experiment} have one eval result between them: nothing in it can differ"]
    silent = [run.experiment for run in (a, b) if not _inputs(run)]
    if silent:
        return [f"the result of {name} does not say with which prompts and settings it was made" for name in silent]
    how_a, how_b = ({field: part(_inputs(run), "eval").get(field) for field in _HOW} for run in (a, b))
    if all(part(_inputs(run), "eval").get("judge") for run in (a, b)):
        how_a, how_b = ({**how, "judge": judge_of(_inputs(run))} for how, run in ((how_a, a), (how_b, b)))
    return [f"from {a.experiment} to {b.experiment}: {change}" for change in changed_fields(how_a, how_b)]


def says_what_was_asked(run: Run) -> bool:
    """Whether its eval result recorded prompts and settings."""
    return bool(_inputs(run))


def judged_alike(runs: Sequence[Run]) -> bool:
    """Whether one judge, asked in one way, graded those of the runs that say who did."""
    judges = [judge_of(_inputs(run)) for run in runs if says_what_was_asked(run)]
    return all(judge == judges[0] for judge in judges)


def judge_of(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Who graded the answers of a result with these `inputs`, and how it was asked."""
    settings = part(part(inputs, "eval"), "judge")
    return {"model": inputs.get("judge_model"), **{field: settings.get(field) for field in _JUDGED}}


def _only_scored_anew(changes: Sequence[str]) -> bool:
    return len(changes) == 1 and changes[0].startswith("scoring_version")


def _inputs(run: Run) -> Mapping[str, Any]:
    return part(run.completed("eval") or {}, "inputs")


def _protocols(a: Run, b: Run, benchmark: str) -> tuple[dict[str, Any], dict[str, Any]]:
    of_a, of_b = _inputs(a), _inputs(b)
    if of_a and of_b:
        data_a, data_b = _data(a, benchmark), _data(b, benchmark)
        # A data set that only one of them was evaluated on holds other benchmarks. One file may have two keys.
        shared = data_a.keys() & data_b.keys()
        if not shared and not _meet(data_a, data_b):
            return {"data set": listed(sorted(data_a))}, {"data set": listed(sorted(data_b))}
        data = [{key: found[key] for key in shared} for found in (data_a, data_b)]
        return {**asked(of_a, benchmark), "data": data[0]}, {**asked(of_b, benchmark), "data": data[1]}
    if any(run.statuses["eval"].status != "completed" for run in (a, b)):
        return {}, {}
    return {"prompting": _prompting(a)}, {"prompting": _prompting(b)}


def _prompting(run: Run) -> str:
    default = str(ExperimentConfig.model_fields["prompting"].default)
    return run.config.prompting if run.config else str(run.written.get("prompting", default))


def asked(inputs: Mapping[str, Any], benchmark: str) -> dict[str, Any]:
    """What a result's `inputs` say of how a benchmark was asked: all but the model, its training and the questions."""
    settings = part(inputs, "eval")
    repetitions = settings.get("repetitions")
    return {
        "prompting": inputs.get("prompting"),
        "system_prompt": part(inputs, "model").get("system_prompt"),
        **{field: settings.get(field) for field in _SAMPLING},
        # The likeliest token is always among those that top_p leaves; 1 is what most others have.
        "top_p": 1.0 if settings.get("temperature") == 0 else settings.get("top_p"),
        "repetitions": repetitions.get(benchmark, 1) if isinstance(repetitions, Mapping) else repetitions or 1,
        "few_shot_data": inputs.get("few_shot"),
        "few_shot_seed": settings.get("seed") if settings.get("few_shot") else None,  # it draws the examples
        "scoring_version": inputs.get("version"),
        "script": inputs.get("script"),
    }


def _data(run: Run, benchmark: str) -> dict[str, Any]:
    """What the result says of the data sets that may hold a benchmark, by key.

    A file whose rows name their source holds several benchmarks, so this is any that is not a benchmark itself.
    """
    parts = dict(_parts(part(_inputs(run), "datasets")))
    if benchmark in parts:
        return {benchmark: parts[benchmark]}
    return {key: entry for key, entry in parts.items() if key not in run.scored.scores}


def _meet(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether a data set of the one is one of the other by another key."""
    return (not a and not b) or any(entry in b.values() for entry in a.values())


def _parts(datasets: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The data sets with rows of their own by key: those that were merged in place of the merged one."""
    found = []
    for key, entry in datasets.items():
        merged = part(entry, "merge") if isinstance(entry, Mapping) else {}
        found += _parts(merged) if merged else [(key, entry)]
    return found
