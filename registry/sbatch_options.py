"""Which options of sbatch an experiment's `extra` may give: all but those that the project sets itself."""

from __future__ import annotations

import re

_LONG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DEPENDS = "the stages of a chain wait for one another"
_LOGS = "logs lie in the attempt's folder, see `meds1 logs`"
_REQUEUED = "a stopped stage goes back into the queue by itself"
_TASKS = "one task runs per GPU: set gpus and nodes"
# Why each is refused; of a resource with a field of its own, the field.
_OURS = {
    "array": "`meds1 submit` makes arrays, see --max-parallel",
    "dependency": _DEPENDS,
    "kill-on-invalid-dep": _DEPENDS,
    "comment": "it tells submissions apart",
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "signal": "it asks a stage to save before its time is over",
    "requeue": _REQUEUED,
    "no-requeue": _REQUEUED,
    "job-name": "it says which experiment and stage the job is",
    "parsable": "it changes what sbatch answers",
    "quiet": "it changes what sbatch answers",
    "wait": "`meds1 submit --wait` waits",
    "test-only": "`meds1 submit --dry-run` only shows",
    "wrap": "the job runs the stage",
    "chdir": "the job runs where it was submitted",
    "export": "settings and keys come from the environment of the submission",
    "export-file": "settings and keys come from the environment of the submission",
    "ntasks": _TASKS,
    "ntasks-per-node": _TASKS,
    "ntasks-per-gpu": _TASKS,
    "gpus-per-task": _TASKS,
    "gpus": _TASKS,
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "nodes": "nodes",
    "gpus-per-node": "gpus",
    "cpus-per-task": "cpus",
    "mem": "memory",
    "time": "time",
    "constraint": "constraint",
}
_FIELDS = frozenset(("partition", "account", "qos", "nodes", "gpus", "cpus", "memory", "time", "constraint"))


def refused(option: str, value: str | int | bool) -> str | None:
    """Why `extra` may not hold this option, or null."""
    name = option.replace("_", "-")
    if not _LONG.fullmatch(name):
        return f"{option!r} is no long option of sbatch: write it without dashes before it, such as exclusive"
    if name in _OURS:
        why = _OURS[name]
        return (
            f"{option} is a resource: set {why} instead" if why in _FIELDS else f"{option} is not yours to set: {why}"
        )
    if isinstance(value, str) and not value.isprintable():
        return f"{option} has a line break or another character that no option has"
    return None
