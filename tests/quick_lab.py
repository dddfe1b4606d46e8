"""A lab whose stages cost nothing (`tests.quick_stage`), so that sweeps of many experiments run on a real Slurm.

Its code is a copy of the checkout's: the same command, registry and submission, with other stages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from registry.history import Header
from registry.schema import STAGES, Stage
from tests.lab import CHECKOUT, Lab, lab_environment
from tests.small_lab import DATASETS, TRAINING, make_weights, write_json
from tests.stages import record, write_jsonl

_ROOMS = ("bin", "registry", "slurm", "data", "inference", "scoring", "plotting")
_FILES = ("meds1.py", "config.sh")
L = TypeVar("L", bound=Lab)
_QUICK = ("curation", "train", "eval")

# For `with_sbatch`: the command that submits is killed when Slurm has taken its call number `call`.
AFTER = 'if [ $call = {call} ]; then "$real" "$@" >/dev/null; kill -KILL $PPID; exit; fi'
# Jobs that stay in the queue and never run. Slurm would take a held one even with resources that no node has.
HELD: dict[str, Any] = {stage: {"extra": {"begin": "now+1day"}} for stage in STAGES}


@dataclass(frozen=True)
class QuickLab(Lab):
    """A lab that tells its stages what to do."""

    @property
    def orders(self) -> Path:
        """The folder of orders."""
        return Path(self.environment["QUICK_ORDERS"])

    def tell(self, name: str, stage: Stage, order: str) -> None:
        """Let a stage `fail`, `leak` a key, or `wait` until `let_go`."""
        (self.orders / f"{name}.{stage}").write_text(order)

    def let_go(self, name: str, stage: Stage) -> None:
        """End an order."""
        (self.orders / f"{name}.{stage}").unlink()

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """The data of a command's `--json` answer."""
        return json.loads(self.meds1(*arguments, "--json", code=code).stdout)["data"]

    def submit(self, *arguments: str, code: int = 0) -> dict[tuple[str, str], str]:
        """Submit; returns the job ids by experiment and stage."""
        jobs = self.ask("submit", *arguments, code=code)["jobs"]
        return {(job["experiment"], job["stage"]): job["job_id"] for job in jobs}

    def headers(self, name: str, stage: Stage) -> list[Header]:
        """Every record of a stage."""
        return self.registry.read().state.headers(name, stage)


def with_sbatch(lab: L, fault: str) -> L:
    """The lab with an `sbatch` that does what the shell script `fault` says before the real one is called.

    Only real submissions are counted, in `$call` (1, 2...), not those that ask whether one would be refused; `$real` is
    the real sbatch.
    """
    tools = lab.folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "calls").unlink(missing_ok=True)
    (tools / "sbatch").write_text(
        f"""#!/bin/bash
real={shutil.which("sbatch", path=os.environ["PATH"])}
case " $* " in *" --test-only "* | *" --begin="*) exec "$real" "$@" ;; esac
echo >>{tools}/calls
call=$(wc -l <{tools}/calls)
{fault}
exec "$real" "$@"
"""
    )
    (tools / "sbatch").chmod(0o755)
    path = f"{tools}{os.pathsep}{lab.environment['PATH']}"
    return replace(lab, environment={**lab.environment, "PATH": path})


def make_quick_lab(folder: Path, names: Iterable[str], slurm: Mapping[str, Any] | None = None) -> QuickLab:
    """`names` are experiments of all three stages; `base` is evaluated only. `slurm` is the catalog's part of it."""
    code = folder / "code"
    for room in _ROOMS:
        shutil.copytree(CHECKOUT / room, code / room)
    for file in _FILES:
        shutil.copy2(CHECKOUT / file, code)
    for room in _QUICK:
        (code / room).mkdir()
        for file in ("__init__.py", "__main__.py"):
            shutil.copy2(CHECKOUT / room / file, code / room)
        shutil.copy2(CHECKOUT / "tests" / "quick_stage.py", code / room / "stage.py")
    shutil.copy2(CHECKOUT / "tests" / "quick_shards.py", code / "curation" / "shards.py")
    shutil.copy2(CHECKOUT / "curation" / "preview.py", code / "curation")
    (folder / "orders").mkdir()
    make_weights(folder / "model")
    write_jsonl(folder / "train.jsonl", [record(number) for number in range(8)])
    write_jsonl(folder / "held-out.jsonl", [record(100 + number) for number in range(4)])
    write_json(
        folder / "config.json",
        {
            "models": {"tiny": {"file_path": "model", "max_length": 256}},
            "train_datasets": {"train": {"file_path": "train.jsonl"}},
            "eval_datasets": {"held-out": {"file_path": "held-out.jsonl"}},
            "slurm": slurm or {},
        },
    )
    experiments = {name: {"config": quick_config(number)} for number, name in enumerate(names)}
    experiments["base"] = {"config": {"model_key": "tiny", "datasets": DATASETS}}
    write_json(folder / "results.json", {"format": 1, "experiments": experiments})
    return QuickLab(folder, {**lab_environment(folder), "QUICK_ORDERS": str(folder / "orders")}, code)


def quick_config(seed: int) -> dict[str, Any]:
    """A config of all three stages; each seed is another experiment."""
    curation = {"method": "random", "n_samples": 4, "format": "plain", "seed": seed}
    return {"model_key": "tiny", "datasets": DATASETS, "curation": curation, "training_params": TRAINING}


def until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until something is so; fail when it never is."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it never comes about that {what}"
        time.sleep(0.2)


def queue(lab: Lab) -> list[dict[str, str]]:
    """What `scontrol show job` says of the lab's jobs; an array of which no element has started is one entry."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, check=True)
    jobs = [
        dict(part.partition("=")[::2] for part in line.split() if "=" in part) for line in shown.stdout.splitlines()
    ]
    return [job for job in jobs if job.get("WorkDir") == str(lab.code)]


def unfinished(lab: Lab) -> list[str]:
    """The ids of the lab's jobs and array elements that have not ended."""
    command = ["squeue", "--noheader", "--array", "--format=%i %Z"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in said.splitlines() if line.split()[1] == str(lab.code)]


def wait_for_jobs(lab: Lab) -> None:
    """Wait until no job of the lab is in the queue."""
    until(lambda: not unfinished(lab), "all jobs have ended")


@contextmanager
def on_cluster(lab: QuickLab) -> Iterator[QuickLab]:
    """Cancel what is left of the lab's jobs at the end."""
    try:
        yield lab
    finally:
        left = unfinished(lab)
        if left:
            subprocess.run(["scancel", *left], check=False)


def words(lab: QuickLab, *names: str) -> dict[str, list[str]]:
    """The states of the three stages, by experiment, as `meds1 status` says them."""
    said = lab.ask("status", *names)
    return {name: [stages[stage]["status"] for stage in STAGES] for name, stages in said.items()}
