"""`meds1 run`: the planned stages of one experiment here, parents first."""

from __future__ import annotations

import logging
import time
from typing import Any

from registry.plan import Plan
from registry.runner import claim, reuse
from registry.store import Registry
from slurm.launch import run_here

log = logging.getLogger("meds1")


def run_plans(registry: Registry, plans: list[Plan]) -> list[dict[str, Any]]:
    """Run what is due, say what is not and why; the first stage that fails raises and ends the experiment."""
    done = []
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
        elif plan.action == "reuse":
            reuse(registry, plan)
            log.info("=== %s: %s: reused: %s", plan.experiment, plan.stage, plan.reason)
        else:
            log.info("=== %s: %s: nothing to do: %s", plan.experiment, plan.stage, plan.reason)
        done.append(
            {
                "experiment": plan.experiment,
                "stage": plan.stage,
                "action": plan.action,
                "reason": plan.reason,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
    return done
