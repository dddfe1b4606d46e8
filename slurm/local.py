"""The local cluster, as commands see it: hand claimed stages to one background process of this machine, and end them.

That process (`slurm.supervisor`) is one for each submission. It is the one that waits, starts and records; a command
starts it, and asks it to end stages by a mark in their folders and a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.attempt import fold_or_warn
from registry.durable import make_folder, write_durably
from registry.errors import StageFailure
from registry.history import Header
from registry.job import Job, load_job, record_ends
from registry.paths import CHECKOUT, cancel_mark
from registry.plan import gone_from_here
from registry.provenance import process_start, user_name
from registry.records import TERMINAL, Event
from registry.store import Registry
from slurm.chains import Submitted
from slurm.launch import environment

READY, GO = "ready\n", "go\n"
_PLAN, _LOG = "plan.json", "supervisor.log"
_SHORT = 8


@dataclass(frozen=True)
class LocalChain:
    """Claimed stages of one experiment, each of which builds on the one before.

    The first starts when the attempt whose `job.json` is `after` has completed.
    """

    jobs: tuple[Job, ...]
    after: Path | None = None


@dataclass(frozen=True)
class LocalPlan:
    """What a supervisor is to do: chains of stages with their ids, and how many stages may run at once."""

    chains: list[tuple[list[Submitted], Job | None]]
    max_parallel: int


def start(
    registry: Registry, chains: Sequence[LocalChain], max_parallel: int, folder: Path, code: Path = CHECKOUT
) -> list[Submitted]:
    """Start the supervisor of a submission, running `code`; returns the stages with their ids, chain after chain.

    `folder` is the submission's own, named by its token. The `submitted` records are saved here, and only then is the
    supervisor told to go. If it never is, because this process dies or raises, it records every stage as cancelled.
    """
    jobs = _prepare(chains, max_parallel, folder)
    process = _supervisor(folder, code)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdout, process.stdin:
            if process.stdout.readline() != READY:  # its signal handlers are in place: it can be told to cancel
                raise BrokenPipeError
            here = {"host": socket.gethostname(), "pid": process.pid, "start": process_start(process.pid)}
            who = {"cluster": "local", "token": folder.name, "user": user_name(), **here}
            registry.save_all([one.job.record("submitted", {"job": {**who, "id": one.id}}) for one in jobs])
            process.stdin.write(GO)
    except BrokenPipeError:
        error = f"the supervisor of the local jobs did not start; see {folder / _LOG}"
        save_end(registry, [one.job for one in jobs], "cancelled", error)
        raise StageFailure(error) from None
    return jobs


def read_plan(folder: Path) -> LocalPlan:
    """What `start` has written for the supervisor."""
    body = json.loads((folder / _PLAN).read_bytes())
    chains = [
        (
            [Submitted(load_job(Path(one["file"])), one["id"]) for one in chain["jobs"]],
            load_job(Path(chain["after"])) if chain["after"] else None,
        )
        for chain in body["chains"]
    ]
    return LocalPlan(chains, body["max_parallel"])


def cancel(registry: Registry, jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """End stages of this machine: one that waits never starts, one that runs is told to stop, and has time for it.

    Those that cannot be ended from here come back with the reason. Nothing is waited for: what has not started is
    recorded as cancelled within a second, with the stages that build on it; one that runs records its end itself.
    """
    view = registry.read()
    refused: list[tuple[Job, str]] = []
    supervisors: set[int] = set()
    lost: list[Job] = []
    for job in jobs:
        headers = [one for one in view.state.headers(job.experiment, job.stage) if one.attempt == job.attempt]
        if not headers or headers[-1].event in TERMINAL:
            continue
        last = headers[-1]
        why = _not_ours(last)
        if why:
            refused.append((job, why))
            continue
        alive = [one for one in headers if one.event == "submitted" and not gone_from_here(one)]
        if alive:
            make_folder(job.folder)  # somebody may have deleted it
            cancel_mark(job.folder).write_text(user_name())
            supervisors.add(int(alive[0].job["pid"]))
        elif not gone_from_here(last):  # a run of `meds1 run`, or one that has lost its supervisor
            _tell(int(last.job["pid"]), signal.SIGTERM)
        else:
            lost.append(job)
    for pid in supervisors:
        _tell(pid, signal.SIGUSR1)
    if lost:
        save_end(registry, lost, "cancelled", f"cancelled by {user_name()}; its process was gone")
    return refused


def save_end(registry: Registry, jobs: Sequence[Job], event: Event, reason: str) -> None:
    """Record for attempts that left no word how they ended, and fold."""
    record_ends(registry, jobs, event, reason)
    fold_or_warn(registry)


def _tell(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended at this moment
        os.kill(pid, number)


def _not_ours(header: Header) -> str | None:
    """Why a process cannot be ended from here, if it cannot."""
    if header.job.get("host") != socket.gethostname():
        return f"it runs on {header.job.get('host')}; cancel it there"
    try:
        os.kill(int(header.job["pid"]), 0)
    except PermissionError:
        return f"it belongs to {header.job.get('user')}, who alone can cancel it"
    except ProcessLookupError:
        return None
    return None


def _prepare(chains: Sequence[LocalChain], max_parallel: int, folder: Path) -> list[Submitted]:
    """Fill the submission's folder: the plan, and a link to the folder of each attempt, as one to Slurm has."""
    make_folder(folder)
    jobs: list[Submitted] = []
    body: list[dict[str, Any]] = []
    for chain in chains:
        own = [Submitted(job, f"L{folder.name[:_SHORT]}_{len(jobs) + i}") for i, job in enumerate(chain.jobs)]
        after = str(chain.after) if chain.after else None
        body.append({"after": after, "jobs": [{"id": one.id, "file": str(one.job.file)} for one in own]})
        jobs += own
    for number, one in enumerate(jobs):
        (folder / str(number)).symlink_to(one.job.folder)
    plan = {"max_parallel": max_parallel, "chains": body}
    write_durably(folder / _PLAN, (json.dumps(plan, indent=2) + "\n").encode())
    return jobs


def _supervisor(folder: Path, code: Path) -> subprocess.Popen[str]:
    """The process, in a session of its own: it outlives this one, its terminal and a logout."""
    with open(folder / _LOG, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "slurm.supervisor", str(folder)],
            env=environment(code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
