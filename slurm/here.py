"""`meds1 run`: the planned stages of one experiment here, parents first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from registry.errors import MissingError
from registry.job import claim
from registry.plan import Plan
from registry.runner import reuse
from registry.store import Registry
from slurm.launch import run_here
from slurm.submit import Presence, say_unsharded

log = logging.getLogger("meds1")


def run_plans(registry: Registry, plans: list[Plan]) -> Iterator[dict[str, Any]]:
    """Run what is due, say what is not and why, stage by stage; the first that fails raises and ends the experiment.

    What a later stage needs is looked for before the first one starts, not hours after.
    """
    Presence().check(plans)
    say_unsharded(plans)
    for plan in plans:
        if plan.action == "n/a":
            log.info("=== %s: %s: does not apply: %s", plan.experiment, plan.stage, plan.reason)
            continue
        started = time.monotonic()
        if plan.action == "run":
            job = claim(registry, plan)
            log.info(
                "==> %s: %s: attempt %d (%s) in %s", plan.experiment, plan.stage, job.attempt, plan.reason, job.run_dir
            )
            run_here(job)
            log.info("<== %s: %s: completed in %.1f s", plan.experiment, plan.stage, time.monotonic() - started)
            if job.overrides:
                log.info("    run with --set, so it is kept as history (%s) and not as the result", job.run_dir)
        elif plan.action == "busy":
            raise MissingError(f"{plan.experiment}: {plan.stage}: {plan.reason}")
        elif plan.action == "reuse":
            reuse(registry, [plan])
            log.info("=== %s: %s: reused: %s", plan.experiment, plan.stage, plan.reason)
        else:
            log.info("=== %s: %s: nothing to do: %s", plan.experiment, plan.stage, plan.reason)
        yield {
            "experiment": plan.experiment,
            "stage": plan.stage,
            "action": plan.action,
            "reason": plan.reason,
            "seconds": round(time.monotonic() - started, 1),
        }
