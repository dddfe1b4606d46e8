"""From an experiment's resources to the parameters of submitit's executors."""

from __future__ import annotations

from typing import Any

from registry.schema import Resources, Stage

# Seconds between Slurm's warning signal and the end of a job: time enough to write a checkpoint.
SIGNAL_DELAY_S = 120


def tasks_per_node(stage: Stage, resources: Resources) -> int:
    """Training runs one task per GPU, or one per node without GPUs; the other stages run one task."""
    return max(1, resources.gpus) if stage == "training" else 1


def slurm_parameters(stage: Stage, resources: Resources, job_name: str, dependency: str | None) -> dict[str, Any]:
    """Parameters of `submitit.SlurmExecutor` for one stage; `dependency` is as sbatch writes it.

    Slurm keeps a child of a failed parent pending for ever unless it is told to end it.
    """
    chosen: dict[str, Any] = {
        "job_name": job_name,
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "nodes": resources.nodes if stage == "training" else 1,
        "ntasks_per_node": tasks_per_node(stage, resources),
        "gpus_per_node": resources.gpus or None,
        "cpus_per_task": resources.cpus,
        "mem": resources.memory,
        "time": resources.time,
        "constraint": resources.constraint,
        "signal_delay_s": SIGNAL_DELAY_S,
        "srun_args": ["--kill-on-bad-exit=1"],
    }
    extra: dict[str, Any] = {"requeue": True}
    extra |= {option: value for option, value in resources.extra.items() if value is not False}
    if dependency is not None:
        chosen["dependency"] = dependency
        extra["kill-on-invalid-dep"] = "yes"
    chosen["additional_parameters"] = extra
    # An explicit None keeps submitit's own default out of the script: 5 minutes, and an accounting key that few have.
    kept = {key: value for key, value in chosen.items() if value is not None}
    return {"time": None, "wckey": None, **kept}
