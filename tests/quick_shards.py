"""A shard that costs nothing, in place of hours of GPU work: `tests.quick_lab` puts it where `curation.shards` stands.

It does what the file `EXPERIMENT.shard-INDEX` in the folder `QUICK_ORDERS` says, if there is one: `fail`, `break` as
after a programmer's mistake, `die` without a word, or `wait` until the file is gone.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from registry.errors import StageFailure
from registry.stage import StageContext


def prepare(context: StageContext, index: int, count: int) -> None:
    """Leave a file that says which shard of how many this was."""
    order = Path(os.environ["QUICK_ORDERS"], f"{context.config.experiment}.shard-{index}")
    print(f"this is shard {index}", flush=True)
    while (told := _read(order)) is not None:
        if told == "fail":
            raise StageFailure(f"{context.config.experiment}: told to fail")
        if told == "break":
            raise ValueError("a mistake")
        if told == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        context.stop.check(f"{context.config.experiment}: shard {index} stopped while it waited")
        time.sleep(0.05)
    context.shared.mkdir(parents=True, exist_ok=True)
    (context.shared / f"{index} of {count}").touch()


def _read(order: Path) -> str | None:
    try:
        return order.read_text()
    except FileNotFoundError:
        return None
