"""The metrics that an eval result holds of a benchmark: name, unit and direction of each, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["share", "points", "tokens"]
"""A share between 0 and 1 (shown in percent), points of a scale of its own, or a number of tokens."""

ACCURACY = "accuracy"
_COUNTS = ("unanswered", "truncated", "empty", "errors")


@dataclass(frozen=True)
class Metric:
    """A metric: its name in results and options, its title for people, and which way is better (null: neither)."""

    name: str
    title: str
    unit: Unit = "share"
    better: Literal["higher", "lower"] | None = "higher"

    def shown(self, value: float) -> str:
        """A value for a table: shares in percent."""
        if self.unit == "share":
            return f"{100 * value:.1f}"
        return f"{value:,.0f}" if self.unit == "tokens" else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's value out of `n` answers, with its 95 % interval where the result has one."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


def metric_of(name: str) -> Metric:
    """The metric of a name that `measures` gave."""
    if name in _NAMED:
        return _NAMED[name]
    if name.startswith("pass@"):
        return Metric(name, f"{name} (any of {name[5:]} answers right)")
    if name in ("text.sentence_bleu", "text.bleu"):
        return Metric(name, name.removeprefix("text.").replace("_", " "), "points")
    better: Literal["higher", "lower"] = "lower" if name == "text.edit_distance" else "higher"
    return Metric(name, name.split(".", 1)[-1].replace("_", " "), better=better)


def measures(numbers: Mapping[str, Any]) -> dict[str, Measure]:
    """Every metric of a benchmark that its numbers (an entry of a result's `benchmarks`) hold, by name."""
    total = int(numbers.get("total_examples") or 0)
    found: dict[str, Measure] = {}
    if numbers.get("accuracy") is not None:
        found[ACCURACY] = _with_interval(numbers["accuracy"], numbers.get("accuracy_ci"), total)
    vote = numbers.get("majority_vote")
    if isinstance(vote, Mapping):
        items = total // int(numbers.get("repetitions") or 1)
        found["majority_vote"] = _with_interval(vote["accuracy"], vote.get("ci"), items)
    elif numbers.get("majority_vote_accuracy") is not None:  # as the original project writes it
        found["majority_vote"] = Measure(float(numbers["majority_vote_accuracy"]), total)
    for k, passed in (numbers.get("pass_at_k") or {}).items():
        found[f"pass@{k}"] = _with_interval(passed["mean"], passed.get("ci"), total)
    if numbers.get("format_reward") is not None:
        found["format_reward"] = Measure(float(numbers["format_reward"]), total)
    labels = numbers.get("labels") or {}
    found |= {name: Measure(labels[name], labels["n"]) for name in ("macro_f1", "hamming_loss") if name in labels}
    for name, text in (numbers.get("text") or {}).items():
        if "mean" in text:
            found[f"text.{name}"] = _with_interval(text["mean"], text.get("ci"), int(text["n"]))
        elif name == "bleu":
            found["text.bleu"] = Measure(text["score"], total)
    if total:
        counts = {name: numbers[name] for name in _COUNTS if numbers.get(name) is not None}
        found |= {name: Measure(count / total, total) for name, count in counts.items()}
        for name in ("reasoning_tokens", "completion_tokens"):
            if numbers.get(name) is not None:
                found[f"mean_{name}"] = Measure(numbers[name] / total, total)
    return found


def _with_interval(value: float, interval: Any, n: int) -> Measure:
    low, high = interval if interval else (None, None)
    return Measure(float(value), n, low, high)


_NAMED = {
    metric.name: metric
    for metric in (
        Metric(ACCURACY, "accuracy"),
        Metric("majority_vote", "accuracy of the majority vote"),
        Metric("format_reward", "answers that keep the layout"),
        Metric("macro_f1", "macro-averaged F1"),
        Metric("hamming_loss", "Hamming loss", better="lower"),
        Metric("unanswered", "answers without an answer", better="lower"),
        Metric("truncated", "answers cut at the token limit", better="lower"),
        Metric("empty", "answers without text", better="lower"),
        Metric("errors", "answers that were not generated", better="lower"),
        Metric("mean_reasoning_tokens", "mean tokens of reasoning", "tokens", None),
        Metric("mean_completion_tokens", "mean tokens of an answer", "tokens", None),
    )
}
