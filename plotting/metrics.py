"""The metrics that an eval result holds of a benchmark: name, unit and direction of each, and how to read them.

What a result of another program lacks, or writes in another form, is no metric of it; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.original.case import number, part

Unit = Literal["share", "points", "tokens"]
"""A share between 0 and 1 (shown in percent), points of a scale of its own, or a number of tokens."""
Better = Literal["higher", "lower"]
Numbers = Mapping[str, Any]

ACCURACY = "accuracy"
_ACCURACY_ONCE_MORE = ("text.accuracy_reward", "pass@1")
"""What training rewards is the share of right answers again, but where a benchmark has rules of its own."""
_COUNTS = ("unanswered", "truncated", "empty", "errors", "thinking_cut")
_GRADES = ("lower_bound", "share_unparsable")
_FAILURES = "failure_modes"


@dataclass(frozen=True)
class Metric:
    """A metric: its name in results and options, its title for people, and which way is better (null: neither)."""

    name: str
    title: str
    unit: Unit = "share"
    better: Better | None = "higher"

    def shown(self, value: float) -> str:
        """A value for a table: shares in percent."""
        if self.unit == "share":
            return f"{100 * value:.1f}"
        return f"{value:,.0f}" if self.unit == "tokens" else f"{value:.2f}"

    @property
    def heading(self) -> str:
        """The title with its unit, to stand above a table, such as `Accuracy in %`."""
        title = self.title[:1].upper() + self.title[1:]
        return f"{title} in %" if self.unit == "share" else title

    @property
    def judged(self) -> bool:
        """Whether a judge gave it: then it is of that judge too."""
        return self.name.startswith("judge.")

    def order(self, value: float) -> float:
        """A key to sort by: the best first; the largest where neither way is better."""
        return value if self.better == "lower" else -value


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's value out of `n` answers, with its 95 % interval where the result has one.

    `questions` is how many different questions they answer, null where the result does not say.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    questions: int | None = None

    @property
    def size(self) -> str:
        """What it is out of, such as `200` questions, or `200, 800 answers` where some were asked several times."""
        return str(self.n) if self.questions in (None, self.n) else f"{self.questions}, {self.n} answers"


def metric_of(name: str) -> Metric:
    """The metric of a name that `measures` gave."""
    if name in _NAMED:
        return _NAMED[name]
    kind, _, rest = name.partition(".")
    words = rest.replace(".", ": ").replace("_", " ")
    if name.startswith("pass@"):
        return Metric(name, f"{name} (any of {name[5:]} answers right)")
    if kind == "label_f1":
        return Metric(name, f"F1 of label {rest}")
    if kind == "judge":
        if rest.startswith(f"{_FAILURES}."):
            return Metric(name, f"wrong answers that a judge puts down to: {words.partition(': ')[2]}", better=None)
        if rest.endswith(".share_unparsable"):
            return Metric(name, f"judge's verdicts that cannot be read: {words.partition(':')[0]}", better="lower")
        return Metric(name, f"judge's grade (1 to 5): {words}", "points")
    return Metric(name, words or kind.replace("_", " "))


def measures(numbers: Numbers) -> dict[str, Measure]:
    """Every metric of a benchmark that its numbers (an entry of a result's `benchmarks`) hold, by name."""
    found = {name: measure for name, measure in _all(numbers) if measure is not None}
    return dict(sorted(found.items(), key=lambda item: item[0] != ACCURACY))


def tells(name: str, scores: Iterable[Mapping[str, Measure]]) -> bool:
    """Whether a metric of some scores needs a place: not that nothing was empty or failed, nor accuracy once more."""
    held = [score for score in scores if name in score]
    if name in _ACCURACY_ONCE_MORE:
        return any(abs(score[ACCURACY].value - score[name].value) > 1e-9 for score in held)
    return metric_of(name).better != "lower" or any(score[name].value for score in held)


def measures_by_budget(numbers: Numbers) -> dict[int, dict[str, Measure]]:
    """The same for each budget of thinking, smallest first; empty for a result without budgets.

    The numbers of the largest are also the benchmark's own.
    """
    budgets = part(numbers, "budgets")
    return {int(budget): measures(part(budgets, budget)) for budget in sorted(filter(_is_count, budgets), key=int)}


def measure_of(numbers: Numbers, metric: str) -> Measure | None:
    """One metric; null where the numbers do not hold it."""
    if metric == ACCURACY:  # what a table of a thousand experiments asks for
        return _interval(numbers.get(ACCURACY), numbers.get("accuracy_ci"), *_sizes(numbers))
    return measures(numbers).get(metric)


def _all(numbers: Numbers) -> Iterator[tuple[str, Measure | None]]:
    total, questions = _sizes(numbers)
    yield ACCURACY, measure_of(numbers, ACCURACY)
    yield from _of_repetitions(numbers, total, questions)
    if total:
        yield "format_reward", _interval(numbers.get("format_reward"), None, total, questions)
        for name in _COUNTS:
            yield name, _mean(numbers.get(name), total, questions)
        for name in ("reasoning_tokens", "completion_tokens"):
            yield f"mean_{name}", _mean(numbers.get(name), total, questions)
    yield from _of_labels(part(numbers, "labels"), questions)
    yield from _of_text(part(numbers, "text"), total, questions)
    for rubric in part(numbers, "judge"):
        yield from _of_judge(f"judge.{rubric}", part(part(numbers, "judge"), rubric))


def _of_repetitions(numbers: Numbers, total: int, questions: int | None) -> Iterator[tuple[str, Measure | None]]:
    """Metrics of all answers to an item together: they are out of items, not out of answers."""
    items = total // max(1, _count(numbers.get("repetitions")) or 1)
    vote = part(numbers, "majority_vote")
    # The second spelling is the original project's.
    value = vote.get("accuracy", numbers.get("majority_vote_accuracy"))
    yield "majority_vote", _interval(value, vote.get("ci"), items, questions)
    passed = part(numbers, "pass_at_k")
    for k in passed:
        yield f"pass@{k}", _interval(part(passed, k).get("mean"), part(passed, k).get("ci"), items, questions)


def _of_labels(labels: Numbers, questions: int | None) -> Iterator[tuple[str, Measure | None]]:
    n = _count(labels.get("n")) or 0
    for name in ("macro_f1", "hamming_loss"):
        yield name, _interval(labels.get(name), None, n, questions)
    for label, value in part(labels, "f1").items():
        yield f"label_f1.{label}", _interval(value, None, n, questions)


def _of_text(text: Numbers, total: int, questions: int | None) -> Iterator[tuple[str, Measure | None]]:
    for name in text:
        mean = part(text, name)
        n = _count(mean.get("n")) or 0
        if name == "bleu":
            yield "text.bleu", _interval(mean.get("score"), None, total, questions)
        elif name == "counting":
            yield "text.counting", _interval(mean.get("over_all"), None, n, questions)
            yield "text.counting_numeric", _interval(mean.get("over_numeric"), None, _count(mean.get("n_numeric")) or 0)
        else:
            yield f"text.{name}", _interval(mean.get("mean"), mean.get("ci"), n, questions if n == total else None)


def _of_judge(name: str, rubric: Numbers) -> Iterator[tuple[str, Measure | None]]:
    """A mean is over the verdicts that could be read, a bound and a share over all."""
    n = _count(rubric.get("n")) or 0
    read = n - (_count(rubric.get("unparsable")) or 0)
    yield name, _interval(rubric.get("mean"), None, read)
    for criterion, value in part(rubric, "criteria").items():
        yield f"{name}.{criterion}", _interval(value, None, read)
    for bound in _GRADES:
        yield f"{name}.{bound}", _interval(rubric.get(bound), None, n)
    for mode, count in part(rubric, "by_judge").items():
        yield f"{name}.{mode}", _mean(count, n, None) if n else None


def _sizes(numbers: Numbers) -> tuple[int, int | None]:
    """How many answers, and to how many different questions."""
    return _count(numbers.get("total_examples")) or 0, _count(numbers.get("num_questions"))


def _count(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _mean(total: Any, n: int, questions: int | None) -> Measure | None:
    found = number(total)
    return None if found is None else Measure(found / n, n, questions=questions)


def _interval(value: Any, interval: Any, n: int, questions: int | None = None) -> Measure | None:
    found = number(value)
    if found is None:
        return None
    both: Iterable[Any] = interval if isinstance(interval, list | tuple) and len(interval) == 2 else (None, None)
    low, high = map(number, both)
    return Measure(found, n, low, high, questions)


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
        Metric("thinking_cut", "answers whose thinking was cut at its budget", better=None),
        Metric("mean_reasoning_tokens", "mean tokens of reasoning", "tokens", None),
        Metric("mean_completion_tokens", "mean tokens of an answer", "tokens", None),
        Metric("text.edit_distance", "edit distance", better="lower"),
        Metric("text.sentence_bleu", "sentence BLEU", "points"),
        Metric("text.bleu", "corpus BLEU", "points"),
        Metric("text.rouge_l", "ROUGE-L"),
        Metric("text.counting", "numbers stated exactly"),
        Metric("text.counting_numeric", "numbers stated exactly, where the gold answer is one"),
    )
}
