"""Every path that the project writes has its name here, and nowhere else."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from registry.errors import UsageError
from registry.schema import Stage

CHECKOUT = Path(__file__).resolve().parent.parent
JOB_FILE = "job.json"


@dataclass(frozen=True)
class RegistryPaths:
    """What stands beside a registry file: `.registry/` for `results.json`, `.NAME-registry/` for any other NAME."""

    file: Path

    @property
    def root(self) -> Path:
        """The folder of records."""
        return self.file.parent / (".registry" if self.file.name == "results.json" else f".{self.file.stem}-registry")

    @property
    def inbox(self) -> Path:
        """Records that no fold has seen."""
        return self.root / "inbox"

    @property
    def applied(self) -> Path:
        """Records whose effect is in `results.json`."""
        return self.root / "applied"

    @property
    def state(self) -> Path:
        """What the last fold knew; derived, can be rebuilt from the records."""
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        """The fold's lock."""
        return self.root / "lock"

    @property
    def queue(self) -> Path:
        """What Slurm said last of the attempts in flight; may be deleted at any time."""
        return self.root / "queue.json"

    def attempts(self, experiment: str, stage: Stage | None) -> Path:
        """The folder whose numbered children are the attempts of a stage, or an experiment's edits."""
        return self.root / "attempts" / experiment / (stage or "edit")


@dataclass(frozen=True)
class OutputPaths:
    """Where stages keep what they make: `CACHE_DIR` for runs, `MED_S1K_OUTPUT` for the curated data's links."""

    cache: Path
    output: Path

    @classmethod
    def from_environment(cls) -> OutputPaths:
        """Read both folders from the environment that `config.sh` sets."""
        return cls(cache=_folder("CACHE_DIR"), output=_folder("MED_S1K_OUTPUT"))

    def run_dir(self, experiment: str, stage: Stage, fingerprint: str) -> Path:
        """Shared by all attempts of a stage with one fingerprint."""
        return self.cache / "runs" / experiment / stage / fingerprint[:12]

    def submission(self, token: str) -> Path:
        """The script of one submission to Slurm, and a link to the attempt's folder for each of its jobs."""
        return self.cache / "submissions" / token

    def link(self, experiment: str, stage: Stage) -> Path:
        """Where users look for a stage's outputs; a link into the current run directory."""
        if stage == "curation":
            return self.output / experiment
        return self.cache / {"training": "ckpts", "eval": "eval"}[stage] / experiment

    @property
    def shared(self) -> Path:
        """Token counts, embeddings and answers by content, for all experiments; may be deleted at any time."""
        return self.cache / "shared"

    @property
    def snapshots(self) -> Path:
        """Copies of the code that submitted jobs run, by content."""
        return self.cache / "snapshots"

    @property
    def submissions(self) -> Path:
        """A folder for each call of sbatch: its script, and links to the attempts that it submitted."""
        return self.cache / "submissions"

    @staticmethod
    def hashes_in(cache: Path) -> Path:
        """Remembered content hashes of large files."""
        return cache / "content-hashes"


def is_here(path: str | Path) -> bool:
    """Whether this user finds anything at `path`; in a folder that is closed to him, `Path.exists` raises instead."""
    return os.path.exists(path)


def matching(path: str | Path) -> list[Path]:
    """What `path` names: itself where there is such a file or folder, else what it matches as a pattern, by name.

    Only the part of it that is not there as it is written is a pattern, so that any folder may hold `[`.
    """
    if is_here(path):
        return [Path(path)]
    folder = next(parent for parent in Path(path).absolute().parents if is_here(parent))
    pattern = str(Path(path).absolute().relative_to(folder))
    return [folder / name for name in sorted(glob.glob(pattern, root_dir=folder))]


def attempt_dir(run_dir: Path, attempt: int) -> Path:
    """One attempt's logs and job files."""
    return run_dir / "attempts" / str(attempt)


def shard_dir(attempt: Path, shard: int) -> Path:
    """The logs of one shard of an attempt."""
    return attempt / "shards" / str(shard)


def used_mark(snapshot: Path) -> Path:
    """Says when a snapshot of the code was last handed out."""
    return snapshot.with_name(f"{snapshot.name}.used")


def records_in(attempt: Path) -> Path:
    """Where an attempt keeps the records that it could not save in the registry."""
    return attempt / "records"


def stop_mark(attempt: Path, restart: int) -> Path:
    """Says that a restart of an attempt stopped after saving its state."""
    return attempt / f"stopped-{restart}"


def cancel_mark(attempt: Path) -> Path:
    """Says that a stage of a local submission is to end, and who wants that."""
    return attempt / "cancel"


def job_file(run_dir: Path, attempt: int) -> Path:
    """The frozen job of an attempt."""
    return attempt_dir(run_dir, attempt) / JOB_FILE


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"{variable} is not set: run `source config.sh` first, or set it to a folder")
    return Path(value).expanduser().absolute()


def registry_file(given: Path | None) -> Path:
    """`--registry`, else `MEDS1_REGISTRY`, else the checkout's `results.json`."""
    chosen = given or os.environ.get("MEDS1_REGISTRY") or CHECKOUT / "results.json"
    # A link's target: the records must stand beside the one file that all links to it mean.
    return Path(chosen).expanduser().resolve()


def catalog_file(given: Path | None, registry: Path) -> Path:
    """`--config`, else `MEDS1_CONFIG`, else a `config.json` beside the registry, else the checkout's."""
    chosen = given or os.environ.get("MEDS1_CONFIG")
    if chosen:
        return Path(chosen).expanduser().absolute()
    beside = registry.parent / "config.json"
    return beside if beside.exists() else CHECKOUT / "config.json"
