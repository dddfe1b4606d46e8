"""Hand stages to Slurm: one `sbatch` for a stage of one experiment, or for that of many as an array.

submitit checks the parameters, writes the script and calls sbatch. Its pickles are not used: a job's whole input is the
`job.json` that lies in the attempt's folder before sbatch is called, and what came of it is in the registry's records.
A submission has a folder named by its token, in which link number i leads to the folder of attempt i, so that Slurm
writes each job's logs there although it knows one pattern for the whole array.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.attempt import SUBMISSION
from registry.durable import make_folder
from registry.errors import Meds1Error, MissingError, StageFailure, UsageError
from registry.job import Job
from registry.schema import Resources, Stage
from slurm.cancel import scancel
from slurm.launch import DEAF, python_path_line
from slurm.queue import COMMENT
from slurm.resources import slurm_parameters
from slurm.shards import ATTEMPT

_NO_ANSWER = re.compile(
    r"configuration source|contact slurm|connect|timed out|communication|message (send|receive)|zero bytes",
    re.IGNORECASE,
)
_SECONDS = 60
_OF_THE_SITE = ("SLURM_CONF", "SLURM_CLUSTERS")
_OF_PROCESSES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Call:
    """One `sbatch` to be: `count` jobs of one stage that run `code`, of which at most `parallel` run at once.

    `dependency` is what they wait for, as sbatch writes it. `shards` is the call of the array that has to come before;
    the jobs of that one `are_shards` of one attempt.
    """

    stage: Stage
    resources: Resources
    name: str
    count: int
    token: str
    code: Path
    parallel: int | None = None
    dependency: str | None = None
    shards: Call | None = None
    are_shards: bool = False

    @property
    def whole(self) -> tuple[Call, ...]:
        """The call, after that of its shards."""
        return (self,) if self.shards is None else (self.shards, self)

    def logs(self, submission: Path) -> tuple[Path, Path]:
        """Where the tasks write, as Slurm's patterns: stdout and stderr."""
        folder, job = (submission / "%a", "%A_%a") if self.count > 1 else (submission / "0", "%j")
        return folder / f"{job}_%t_log.out", folder / f"{job}_%t_log.err"

    def parameters(self, submission: Path) -> dict[str, Any]:
        """The parameters of submitit's executor."""
        chosen = slurm_parameters(self.stage, self.resources, self.name, self.dependency)
        out, err = (str(path) for path in self.logs(submission))
        # A batch script has no task number; what it says itself belongs to the first task's.
        own = {"output": out.replace("%t", "0"), "error": err.replace("%t", "0")}
        return {
            **chosen,
            "additional_parameters": {**chosen["additional_parameters"], **own},
            "srun_args": [*chosen["srun_args"], f"--output={out}", f"--error={err}"],
            "comment": f"{COMMENT}{self.token}",
            "array_parallelism": self.parallel or self.count,
            "setup": [*_setup(self.code), f"export {SUBMISSION}={self.token}"],
        }


def script(call: Call, submission: Path) -> str:
    """The script that `submit` hands to sbatch, as submitit writes it."""
    text: str = _executor(call, submission)._make_submission_file_text(_command(submission), "")
    return text


def check(call: Call, largest: int) -> None:
    """Raise what sbatch refuses this call for, before anything has been claimed for it; `largest`: of an array.

    `--test-only` also refuses what can only not run now, such as on nodes that are drained: then a job of tomorrow that
    is cancelled at once has the last word. (A held one has not: Slurm takes it even where it can never run.)
    """
    if call.are_shards and call.count > largest:
        name, most = call.name.removesuffix(".curation.shards"), f"an array here has at most {largest} jobs"
        raise UsageError(f"{name}: curation.shards is {call.count}, but {most}: use fewer")
    text = script(call, Path("/dev/null"))
    if _sbatch(["--test-only"], text).returncode == 0:
        return
    probe = _sbatch(["--parsable", "--begin=now+1day", "--output=/dev/null", "--error=/dev/null"], text)
    if probe.returncode != 0:
        raise refusal(call.stage, probe.stderr)
    scancel([probe.stdout.strip().partition(";")[0]])


def submit(call: Call, submission: Path, jobs: Sequence[Job]) -> list[str]:
    """Submit the claimed jobs, or the shards of one; returns the id of each. Nothing is left of a call that is refused.

    Where Slurm does not answer (`MissingError`) the jobs may be in the queue all the same, and their folder stays.
    """
    import submitit

    try:
        make_folder(submission, lasting=False)
        for name, folder in _folders(call, jobs).items():
            make_folder(folder, lasting=False)
            (submission / name).symlink_to(folder)
    except OSError as error:
        raise StageFailure(f"{submission}: {error.strerror}; check CACHE_DIR and its permissions") from None
    try:
        with _outside_of_jobs():
            job_id = str(_executor(call, submission)._submit_command(_command(submission)).job_id)
    except submitit.core.utils.FailedJobError as error:
        refused = refusal(call.stage, str(error))
        if isinstance(refused, UsageError):
            shutil.rmtree(submission)
        raise refused from None
    except submitit.core.utils.FailedSubmissionError as error:  # a site's own sbatch may print what it likes
        said = " ".join(str(error).split())
        raise MissingError(
            f"sbatch names no job, which may be in the queue all the same; submit again: {said}"
        ) from None
    return [f"{job_id}_{index}" for index in range(call.count)] if call.count > 1 else [job_id]


def _folders(call: Call, jobs: Sequence[Job]) -> dict[str, Path]:
    """Where each job has its logs, by its place in the array."""
    if not call.are_shards:
        return {str(index): job.folder for index, job in enumerate(jobs)}
    (job,) = jobs
    return {ATTEMPT: job.folder, **{str(index): replace(job, shard=index).folder for index in range(call.count)}}


def _executor(call: Call, submission: Path) -> Any:
    import submitit

    executor = submitit.SlurmExecutor(folder=submission)
    executor.update_parameters(**call.parameters(submission))
    if call.count > 1:
        executor.parameters["map_count"] = call.count  # what submitit's own arrays do
    return executor


def _command(submission: Path) -> str:
    return shlex.join([*DEAF, sys.executable, "-u", "-m", "slurm.entry", str(submission)])


def refusal(what: str, said: str) -> Meds1Error:
    """Slurm's own words as an error: `MissingError` when it does not answer, `UsageError` when it refuses."""
    text = "; ".join(line.removeprefix("sbatch: error: ") for line in said.splitlines() if line.strip())
    if _NO_ANSWER.search(text):
        return MissingError(f"Slurm does not answer: {text}")
    return UsageError(f"sbatch refused {what}: {text}")


def largest_array() -> int:
    """How many jobs an array of this cluster may have."""
    done = _run(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    if found is None:
        raise refusal("a job array", done.stderr or "scontrol show config names no MaxArraySize")
    return max(1, int(found[1]))  # 0: this cluster has no arrays


def _sbatch(options: Sequence[str], text: str) -> subprocess.CompletedProcess[str]:
    with _outside_of_jobs():
        return _run(["sbatch", *options], text)


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Without what describes a job, or the processes of one, that this command runs in: a new job would inherit it.

    submitit's own `clean_env` takes away SLURM_CONF too, and what a user has set for his jobs (SBATCH_ACCOUNT).
    """
    kept = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name in _OF_PROCESSES or (name.startswith(("SLURM_", "SLURMD_", "SRUN_")) and name not in _OF_THE_SITE)
    }
    try:
        yield
    finally:
        os.environ.update(kept)


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"Slurm does not answer: {command[0]} takes more than {_SECONDS} s") from None


def _setup(code: Path) -> list[str]:
    # Since Slurm 22.05 srun no longer reads the job's CPUs per task by itself.
    cpus = 'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'
    return [python_path_line(code), "export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1", cpus]
