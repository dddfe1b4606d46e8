"""Numbers of results that cannot be: scores outside their interval, counts that do not add up, two sets in one eval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from registry.curation_schema import in_filter_order
from registry.json_path import join
from registry.original.case import Contradiction, Result, is_here, mappings, number, numbers_in, shown

Scores = Mapping[str, Any]
SCORE_FILES = ("summary_file", "metrics_file")
_ROUNDING = 1e-9


def wrong_scores(result: Result, here: bool) -> Iterator[Contradiction]:
    """What is wrong within an eval's scores, and between the sets of them that it holds."""
    sets, problems = score_sets(result, here)
    yield from problems
    told: list[Scores] = []
    for where, scores in sets:
        if scores in told:
            continue
        for source, numbers in scores.items():
            if isinstance(numbers, Mapping):
                yield from _wrong_accuracy(result, f"{where}.{join(source)}", numbers)
        if told:
            yield from _second_set(result, sets[0], (where, scores))
        told.append(scores)
    yield from _two_folders(result)


def score_sets(result: Result, here: bool) -> tuple[list[tuple[str, Scores]], list[Contradiction]]:
    """Every set of scores (source -> numbers) of a result with the place it was found in, files included if `here`.

    Also returns what is wrong with the files.
    """
    sets = [(f"{result.where}.{where}", scores) for where, scores in _scores_in(result.entry)]
    problems = []
    for field in SCORE_FILES:
        path = result.paths.get(field)
        if here and path and is_here(path):
            try:
                body = numbers_in(path)
            except ValueError as error:
                problems.append(_unreadable(result, field, str(error)))
                continue
            found = list(_scores_in(body)) or ([("", body)] if _are_scores(body) else [])
            sets += [(f"{path}: {where}" if where else path, scores) for where, scores in found]
    return sets, problems


def wrong_counts(result: Result, wanted: object, here: bool) -> Iterator[Contradiction]:
    """What does not add up in a curation; `wanted` is its config's `n_samples`."""
    bodies = [(f"{result.where}.{field}", body) for field, body in mappings(result.entry, "metrics", "stats")]
    path = result.paths.get("stats_file")
    if here and path and is_here(path):
        try:
            bodies.append((path, numbers_in(path)))
        except ValueError as error:
            yield _unreadable(result, "stats_file", str(error))
    for where, body in bodies:
        yield from _of_original(result, where, body, number(wanted))
        yield from _of_funnel(result, where, body)


def _scores_in(body: Mapping[str, Any]) -> Iterator[tuple[str, Scores]]:
    yield from mappings(body, "summary", "benchmarks")
    for field, metrics in mappings(body, "metrics"):
        inner = list(mappings(metrics, "summary", "benchmarks"))
        yield from ((f"{field}.{name}", scores) for name, scores in inner)
        if not inner and _are_scores(metrics):
            yield field, metrics


def _are_scores(body: Mapping[str, Any]) -> bool:
    return any(isinstance(numbers, Mapping) and "accuracy" in numbers for numbers in body.values())


def _wrong_accuracy(result: Result, where: str, numbers: Mapping[str, Any]) -> Iterator[Contradiction]:
    accuracy, interval = number(numbers.get("accuracy")), numbers.get("accuracy_ci")
    if accuracy is None:
        return
    if isinstance(interval, list | tuple) and len(interval) == 2:
        low, high = (number(end) for end in interval)
        if low is not None and high is not None and not low - _ROUNDING <= accuracy <= high + _ROUNDING:
            yield _between(
                result, f"{where}.accuracy", accuracy, f"{where}.accuracy_ci", interval, "lies outside its own interval"
            )
    correct, total = number(numbers.get("num_correct")), number(numbers.get("total_examples"))
    if correct is None or not total or numbers.get("num_questions", total) != total:
        return  # where questions repeat, every question counts once in `accuracy`
    # Over repeated runs, `accuracy` is their mean and the counts are those of the majority vote.
    given = [accuracy, number(numbers.get("majority_vote_accuracy"))]
    if all(share is None or abs(share - correct / total) > _half_a_digit(share) for share in given):
        counts = {"num_correct": numbers["num_correct"], "total_examples": numbers["total_examples"]}
        yield _between(result, f"{where}.accuracy", accuracy, where, counts, "is not num_correct / total_examples")


def _half_a_digit(share: float) -> float:
    """What rounding to the digits that are written can have changed, two of them at least."""
    exponent = int(Decimal(repr(share)).as_tuple().exponent)
    return 0.5 * 10.0 ** min(exponent, -2) + _ROUNDING


def _second_set(result: Result, one: tuple[str, Scores], other: tuple[str, Scores]) -> Iterator[Contradiction]:
    (first, scores), (second, others) = one, other
    if not scores.keys() & others.keys():
        message = "and this are two result sets, of different benchmarks"
        yield _between(result, second, sorted(others), first, sorted(scores), message)
        return
    for source in scores:
        mine, its = scores[source], others.get(source)
        if not isinstance(mine, Mapping) or not isinstance(its, Mapping):
            continue
        for field in ("accuracy", "num_correct", "total_examples"):
            if field in mine and field in its and mine[field] != its[field]:
                where, there = f"{second}.{join(source)}.{field}", f"{first}.{join(source)}.{field}"
                yield _between(result, where, its[field], there, mine[field], "is of another result set than")
                return


def _two_folders(result: Result) -> Iterator[Contradiction]:
    paths = result.paths
    folder, outputs, metrics = (paths.get(field) for field in ("output_dir", "outputs_path", "metrics_path"))
    if folder and outputs and not PurePath(outputs).is_relative_to(folder):
        pair = ("outputs_path", "output_dir")
    elif outputs and metrics and PurePath(outputs).parent != PurePath(metrics).parent:
        pair = ("metrics_path", "outputs_path")
    else:
        return
    first, second = pair
    message = "lies in another folder: two result sets in one eval"
    yield _between(result, f"{result.where}.{first}", paths[first], f"{result.where}.{second}", paths[second], message)


def _of_original(result: Result, where: str, body: Mapping[str, Any], wanted: float | None) -> Iterator[Contradiction]:
    """The original's counts: `total_examples` = `selected_examples` + `filtered_examples`, the latter by reason."""
    total, selected, filtered = (number(body.get(f"{word}_examples")) for word in ("total", "selected", "filtered"))
    if total is None or selected is None:
        return
    reasons, specialties = (_sum(body.get(field)) for field in ("filter_reasons", "specialty_distribution"))
    if filtered is None:
        filtered = reasons
    if filtered is not None and selected + filtered != total:
        counts = {"selected_examples": selected, "filtered_examples": filtered}
        message = "is not the number of those selected and those filtered"
        yield _between(result, f"{where}.total_examples", total, where, counts, message)
    if filtered is not None and reasons is not None and reasons != filtered:
        there = f"{where}.filter_reasons"
        message = "is not the sum of the reasons"
        yield _between(result, f"{where}.filtered_examples", filtered, there, reasons, message)
    if specialties is not None and specialties > selected:  # less is fine: not every row has a specialty
        there = f"{where}.specialty_distribution"
        message = "is less than the sum over the specialties"
        yield _between(result, f"{where}.selected_examples", selected, there, specialties, message)
    if wanted is not None and selected > wanted:
        there = join("experiments", result.experiment, "config", "curation", "n_samples")
        yield _between(result, f"{where}.selected_examples", selected, there, wanted, "is more than was to be selected")


def _of_funnel(result: Result, where: str, body: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Our own counts: each filter leaves what came in without what its reasons removed."""
    funnel, reasons = body.get("funnel"), body.get("reasons")
    if not isinstance(funnel, Mapping) or not isinstance(reasons, Mapping):
        return
    left = number(funnel.get("total"))
    for name, count in in_filter_order(funnel).items():
        after = number(count)
        if name == "total" or after is None or left is None:
            continue
        removed = _sum(reasons.get(name.removeprefix("after_"))) or 0
        if left - removed != after:
            there = f"{where}.reasons.{join(name.removeprefix('after_'))}"
            message = f"is not the {shown(left)} before it without those removed"
            yield _between(result, f"{where}.funnel.{join(name)}", after, there, removed, message)
        left = after


def _sum(counts: object) -> float | None:
    if not isinstance(counts, Mapping):
        return None
    found = [number(count) for count in counts.values()]
    return sum(count for count in found if count is not None)


def _between(result: Result, path: str, value: Any, other: str, other_value: Any, message: str) -> Contradiction:
    remedy = f"{result.mend}, or mend the one that is wrong"
    return Contradiction(result.experiment, path, value, other, other_value, message, remedy)


def _unreadable(result: Result, field: str, reason: str) -> Contradiction:
    where = f"{result.where}.{field}"
    return Contradiction(result.experiment, where, result.entry[field], "", None, reason, "restore the file")
