"""What the model calls of due stages will come to, told before any is made: rows, calls, tokens and dollars.

Only stages that ask a model behind an API are estimated: to say how many rows there are, their data must be read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from registry.catalog import ModelEntry
from registry.console import Answer, Grid
from registry.effective import EffectiveConfig
from registry.errors import Meds1Error
from registry.fields import API_ENGINES, EngineName
from registry.plan import Plan
from registry.schema import Stage
from registry.spending import dollars
from registry.stage import ESTIMATE_ENTRY_POINT

REMARK: Final = (
    "Estimates: 4 bytes of a prompt are a token, and answers go by rules of thumb. Rows that a filter will remove are "
    "counted; questions that are asked again and hidden thinking are not. What several experiments ask alike is "
    "counted for each, and paid for once."
)
_HEADER = ("calls for", "stage", "what", "model", "rows", "calls", "prompt tokens", "answer tokens", "dollars")


@dataclass(frozen=True, slots=True)
class Called:
    """Which model is asked, what for, and by which engine."""

    what: str
    model: str
    entry: ModelEntry
    engine: EngineName
    batch: bool = False


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """What one use of a model comes to; null is unknown. `cost` is in US dollars, null for a model without prices.

    `rows` are those that are asked about, `calls` the answers that nobody has asked for yet.
    """

    what: str
    model: str
    engine: EngineName
    rows: int | None
    calls: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    batch: bool


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """All calls of a stage, and what is to be said of them."""

    calls: Sequence[CallEstimate]
    remarks: Sequence[str] = ()

    @property
    def cost(self) -> float | None:
        """The dollars that are known; null where none are."""
        known = [call.cost for call in self.calls if call.cost is not None]
        return sum(known) if known else None


EstimateFunction = Callable[[EffectiveConfig, Path], StageEstimate]
"""Gets the folder of what all experiments share, where answers are kept."""


def priced(called: Called, rows: int | None, calls: int | None, prompt: float, completion: float) -> CallEstimate:
    """The estimate of `calls` with so many tokens of prompt and answer each."""
    prompts = None if calls is None else round(calls * prompt)
    completions = None if calls is None else round(calls * completion)
    prices, cost = called.entry.prices, None
    if prices is not None and prompts is not None and completions is not None:
        cost = prices.cost(prompts, completions, called.batch)
    return CallEstimate(called.what, called.model, called.engine, rows, calls, prompts, completions, cost, called.batch)


def show_estimates(plans: Iterable[Plan], shared: Path, answer: Answer) -> None:
    """Add what the due stages that ask an API come to, and a warning for each that is over its `max_cost`."""
    found: list[tuple[Plan, StageEstimate]] = []
    for step in plans:
        if step.action == "run" and not step.earlier and asks_api(step.config, step.stage):
            module, name = ESTIMATE_ENTRY_POINT[step.stage].split(":")
            function = cast(EstimateFunction, getattr(importlib.import_module(module), name))
            try:
                found.append((step, function(step.config, shared)))
            except Meds1Error as error:  # the stage would fail too; this is no reason not to show the others
                answer.warnings.append(f"{step.experiment}: {step.stage}: no estimate: {error}")
    data: dict[str, dict[str, Any]] = {}
    for step, estimate in found:
        body = {"calls": [asdict(call) for call in estimate.calls], "cost": estimate.cost}
        limit = _limit(step.config, step.stage)
        data.setdefault(step.experiment, {})[step.stage] = {**body, "max_cost": limit, "remarks": [*estimate.remarks]}
        if limit is not None and estimate.cost is not None and estimate.cost > limit:
            over = f"about {dollars(estimate.cost)}, over max_cost {limit:g}"
            answer.warnings.append(f"{step.experiment}: {step.stage}: its model calls would come to {over}")
    answer.data = {**(answer.data or {}), "estimate": data}
    rows = [_row(step, call) for step, estimate in found for call in estimate.calls]
    said = (f"{step.experiment}: {remark}" for step, estimate in found for remark in estimate.remarks)
    if rows:
        answer.lines.append(Grid(_HEADER, [*rows, *_total(found)], "Model calls (estimate)", range(4, len(_HEADER))))
        answer.lines += [*dict.fromkeys(said), REMARK]


def asks_api(config: EffectiveConfig, stage: Stage) -> bool:
    """Whether a stage asks any model behind an API."""
    engines: list[EngineName] = []
    if stage == "curation" and config.curation is not None:
        engines = [call.engine for call in config.curation.calls.values()]
        engines += [config.curation.difficulty.engine] if config.curation.difficulty else []
    elif stage == "eval":
        engines = [config.eval.engine, *([config.eval.judge.engine] if config.eval.judge else [])]
    return stage in ESTIMATE_ENTRY_POINT and not API_ENGINES.isdisjoint(engines)


def _limit(config: EffectiveConfig, stage: Stage) -> float | None:
    limits = config.curation if stage == "curation" else config.eval
    return None if limits is None else limits.max_cost


def _row(step: Plan, call: CallEstimate) -> list[str]:
    numbers = (call.rows, call.calls, call.prompt_tokens, call.completion_tokens)
    shown = ["?" if number is None else f"{number:,}" for number in numbers]
    if call.engine not in API_ENGINES:
        cost = ""
    elif call.cost is None:
        cost = "?"
    else:
        cost = f"{call.cost:,.2f}{' (batch)' if call.batch else ''}"
    return [step.experiment, step.stage, call.what, call.model, *shown, cost]


def _total(found: Sequence[tuple[Plan, StageEstimate]]) -> list[list[str]]:
    """The sum of what is known, where there is more than one line of calls to an API."""
    calls = [call for _, estimate in found for call in estimate.calls if call.engine in API_ENGINES]
    if len(calls) < 2:
        return []
    sums = [sum(number or 0 for number in numbers) for numbers in zip(*(_numbers(call) for call in calls), strict=True)]
    cost = f"{sum(call.cost or 0.0 for call in calls):,.2f}"
    return [["all", "", "", "", "", *(f"{number:,}" for number in sums), cost]]


def _numbers(call: CallEstimate) -> tuple[int | None, int | None, int | None]:
    return call.calls, call.prompt_tokens, call.completion_tokens
