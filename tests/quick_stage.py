"""A stage that costs nothing, in place of hours of GPU work: `tests.quick_lab` puts it where each real stage stands.

It does what the file `EXPERIMENT.STAGE` in the folder `QUICK_ORDERS` says, if there is one: `fail`, `leak` a key into a
traceback, or `wait` until the file is gone. Everything around it is the real thing: the runner, the records, Slurm.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from registry.errors import StageFailure
from registry.stage import StageContext, StageOutput

_ROOM = __name__.partition(".")[0]
_MADE = {"curation": "dataset_path", "train": "model_path", "eval": "predictions_path"}
_PARENT = {"train": "curation", "eval": "train"}
_STAGE = {"curation": "curation", "train": "training", "eval": "eval"}


def run(context: StageContext) -> StageOutput:
    """Write a file that says what it was made from."""
    order = Path(os.environ["QUICK_ORDERS"], f"{context.config.experiment}.{_STAGE[_ROOM]}")
    while (told := _read(order)) is not None:
        if told == "fail":
            raise StageFailure(f"{context.config.experiment}: told to fail")
        if told == "leak":
            raise ValueError(f"the hub refuses {os.environ['HF_TOKEN']}")
        context.stop.check(f"{context.config.experiment}: stopped while it waited")
        time.sleep(0.05)
    made = context.run_dir / "made.txt"
    made.write_text("".join(_parents(context)) + f"{_ROOM}\n")
    return StageOutput(metrics={"world_size": context.world_size}, artifacts={_MADE[_ROOM]: made}, link=context.run_dir)


def _read(order: Path) -> str | None:
    try:
        return order.read_text()
    except FileNotFoundError:
        return None


def _parents(context: StageContext) -> list[str]:
    return [
        upstream.path(_MADE[_PARENT[_ROOM]]).read_text() for upstream in context.upstream.values() if _ROOM in _PARENT
    ]
