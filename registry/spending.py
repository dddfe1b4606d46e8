"""What a stage's model calls have cost, over all its attempts: summed from the lines that its processes left.

The lines lie in the run directory, a file per process, and are on disk as soon as an answer has come: an attempt that
was killed has spent its money all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.tail import Line, NewLines

log = logging.getLogger(__name__)
FOLDER = "spending"
"""Where the lines lie in a run directory."""


@dataclass(frozen=True, slots=True)
class Spent:
    """One answer of the model with the key `model`: which one it was, and what it cost in US dollars.

    `answer` names question and sampling. A `cached` one was there already, and cost nothing; `cost` null is unknown.
    """

    model: str
    answer: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    cached: bool = False

    def line(self) -> bytes:
        """How it is written."""
        return (json.dumps(asdict(self)) + "\n").encode()


def parsed(lines: Iterable[Line]) -> list[Spent]:
    """What the lines say; any that is none of ours is named and does not count."""
    found = []
    for line in lines:
        try:
            found.append(Spent(**json.loads(line.content)))
        except (ValueError, TypeError) as error:
            log.warning("%s: a line does not say what was spent (%s)", line.file, error)
    return found


def spending_of(run_dir: Path) -> dict[str, Any] | None:
    """The sums over all models and, under `models`, by the model's key; null where no model was asked.

    `cached` counts the different answers that were there already and that no attempt of this run has paid for.
    """
    lines = parsed(NewLines(run_dir / FOLDER).read())
    if not lines:
        return None
    models = {key: _sums([line for line in lines if line.model == key]) for key in sorted({one.model for one in lines})}
    return {**_sums(lines), "models": models}


def spending_field(run_dir: Path) -> dict[str, Any]:
    """What a result says of it: nothing where no model was asked.

    A folder that cannot be read is told, and takes away no result.
    """
    try:
        spending = spending_of(run_dir)
    except OSError as error:
        log.warning("what model calls have cost is not recorded: %s", error)
        return {}
    return {} if spending is None else {"spending": spending}


def _sums(lines: list[Spent]) -> dict[str, Any]:
    paid = [line for line in lines if not line.cached]
    costs = [line.cost for line in paid if line.cost is not None]
    cached = {(line.model, line.answer) for line in lines if line.cached}
    return {
        "calls": len(paid),
        "cached": len(cached - {(line.model, line.answer) for line in paid}),
        "prompt_tokens": sum(line.prompt_tokens for line in paid),
        "completion_tokens": sum(line.completion_tokens for line in paid),
        "cost": round(sum(costs), 6) if len(costs) == len(paid) else None,
    }


def told(spending: Mapping[str, Any]) -> str:
    """One line for people, such as "$1.23 in 2,000 calls, 300 from the cache"."""
    cost = "an unknown sum" if spending["cost"] is None else dollars(spending["cost"])
    calls = f"{spending['calls']:,} call{'' if spending['calls'] == 1 else 's'}"
    return f"{cost} in {calls}, {spending['cached']:,} from the cache"


def dollars(amount: float) -> str:
    """An amount as people write it, with more digits where it is small."""
    if amount == 0 or amount >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.0001 else "less than $0.0001"
