"""What a tracked run notes while it goes: curves, checkpoints and evaluations, one JSON object a line.

The files lie in the run directory and go on over restarts; every line says which attempt and restart wrote it. A line
that a killed process left unfinished is closed by the next and skipped by readers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.canonical import canonical
from registry.errors import StageFailure, UsageError
from registry.job import Job
from registry.provenance import now, restart_count

SCORE_FIELDS = ("accuracy", "accuracy_ci", "num_correct", "total_examples")


class Logbook:
    """The notes of one attempt."""

    def __init__(self, job: Job) -> None:
        self._job = job
        folder = Path(job.run_dir)
        self._metrics, self._checkpoints = folder / "metrics.jsonl", folder / "checkpoints.jsonl"
        self._evaluations = folder / "evaluations.jsonl"
        for file in (self._metrics, self._checkpoints, self._evaluations):
            _close_last_line(file)

    def metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Note numbers by name at a step."""
        numbers = {key: self._number(key, value) for key, value in metrics.items()}
        self._append(self._metrics, {"step": step, "metrics": numbers})

    def checkpoint(self, path: Path, step: int) -> None:
        """Note a checkpoint."""
        self._append(self._checkpoints, {"step": step, "path": str(path)})

    def evaluation(self, metrics: Mapping[str, Any]) -> None:
        """Note an evaluation, whether or not a later one takes its place."""
        self._append(self._evaluations, {"metrics": metrics})

    def last_checkpoint(self) -> Path | None:
        """The newest noted checkpoint that is still there."""
        noted = [Path(line["path"]) for line in _lines(self._checkpoints)]
        return next((path for path in reversed(noted) if path.exists()), None)

    def artifacts(self) -> dict[str, Path]:
        """The files to be named in the result."""
        found = {"curve_path": self._metrics} if self._metrics.exists() else {}
        last = self.last_checkpoint()
        return {**found, "checkpoint_path": last} if last else found

    def counts(self) -> dict[str, Any]:
        """How many points this attempt's curve has, and how many of its values were no finite numbers."""
        points = [line["metrics"] for line in _lines(self._metrics) if line.get("attempt") == self._job.attempt]
        if not points:
            return {}
        missing = sum(value is None for point in points for value in point.values())
        return {"logged": {"points": len(points), "non_finite": missing}}

    def results(self, metrics: Mapping[str, Any], folder: Path) -> Path:
        """Write an evaluation's metrics where the eval stage writes its own."""
        file = folder / "eval_results.json"
        text = json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._unwritten(file, error) from None
        return file

    def _append(self, file: Path, body: Mapping[str, Any]) -> None:
        who = {"timestamp": now(), "attempt": self._job.attempt, "restart": restart_count()}
        line = json.dumps({**who, **body}, ensure_ascii=False) + "\n"
        try:
            with open(file, "a", encoding="utf-8") as out:
                out.write(line)
        except OSError as error:
            raise self._unwritten(file, error) from None

    def _number(self, key: str, value: Any) -> int | float | None:
        found = _unwrapped(value)
        if not isinstance(found, int | float):
            raise UsageError(
                f"{self._job.experiment}: log_metrics(): {key} is a {type(value).__name__}; log numbers by name"
            )
        return found if math.isfinite(found) else None

    def _unwritten(self, file: Path, error: OSError) -> StageFailure:
        return StageFailure(f"{self._job.experiment}: {self._job.stage}: {file}: {error.strerror}; free space there")


def plain(value: Any) -> Any:
    """JSON values in place of the scalars of numpy and torch, inside objects and lists too."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _unwrapped(value)


def checked_evaluation(metrics: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """The metrics as JSON; `UsageError` when a benchmark lacks what tables read, or contradicts itself."""
    found: dict[str, Any] = plain(metrics)
    try:
        canonical(found)
    except UsageError as error:
        raise UsageError(f"{experiment}: log_evaluation(): {error}; give null, or a finite number") from None
    benchmarks = found.get("benchmarks", {})
    if not isinstance(benchmarks, dict):
        raise UsageError(f"{experiment}: log_evaluation(): benchmarks must map each benchmark to its scores")
    for source, scores in benchmarks.items():
        wrong = _wrong_score(scores)
        if wrong:
            raise UsageError(f"{experiment}: log_evaluation(): benchmarks.{source}: {wrong}")
    return found


def _wrong_score(scores: Any) -> str | None:
    lacking = [field for field in SCORE_FIELDS if not isinstance(scores, dict) or field not in scores]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    accuracy, interval, correct, total = (scores[field] for field in SCORE_FIELDS)
    numbers = (accuracy, correct, total, *(interval if isinstance(interval, list) else ()))
    if len(numbers) != 5 or not all(isinstance(number, int | float) for number in numbers):
        return "accuracy, num_correct and total_examples are numbers, accuracy_ci is [low, high]"
    low, high = interval
    if not 0 <= low <= accuracy <= high <= 1:
        return f"accuracy {accuracy} must lie in its interval {interval}, as shares between 0 and 1"
    if not 0 <= correct <= total or total == 0 or abs(correct / total - accuracy) > 0.5 / total:
        return f"accuracy {accuracy} is not {correct} of {total}"
    return None


def _unwrapped(value: Any) -> Any:
    """A Python number for a scalar of numpy or torch."""
    if not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (ValueError, RuntimeError):  # more than one element
        return value


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # cut short when its process was killed


def _close_last_line(file: Path) -> None:
    try:
        with open(file, "rb+") as out:
            out.seek(-1, 2)
            if out.read(1) != b"\n":
                out.write(b"\n")
    except OSError:
        return  # nothing is there yet
