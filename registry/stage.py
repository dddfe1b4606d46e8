"""What a stage is: a function of `StageContext` that returns a `StageOutput`.

The runner (`registry.runner`) makes the context and records the output; a stage neither reads nor writes the
registry, and knows no other path than its run directory and what its context hands it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.effective import EffectiveConfig
from registry.errors import MissingError
from registry.paths import is_here
from registry.schema import Stage
from registry.stopping import StopFlag


@dataclass(frozen=True)
class Upstream:
    """A completed parent stage: its fingerprint and its result as the registry holds it."""

    stage: Stage
    experiment: str
    fingerprint: str
    result: Mapping[str, Any]

    def path(self, key: str) -> Path:
        """The artifact recorded under `key` (such as `dataset_path`); `MissingError` when it is not on this machine."""
        recorded = self.result.get(key)
        if not recorded or not is_here(recorded):
            raise MissingError(
                f"{self.experiment}: the {self.stage} result names {key} {recorded!r}, which is not here; "
                f"run {self.stage} again with --force, or mount the file system that holds it"
            )
        return Path(recorded)


@dataclass(frozen=True)
class StageContext:
    """All that a stage may know.

    `run_dir` is shared by all attempts with the same fingerprint: what a preempted attempt left there is resumed.
    `attempt_dir` is this attempt's own, for logs. In `shared` lies what any experiment may use again, by content; it
    may be deleted at any time. Only rank 0 may write shared outputs. `stop` is to be looked at where the stage can
    leave. `earlier` are predictions that an eval is to score again in place of asking the model.
    """

    config: EffectiveConfig
    run_dir: Path
    attempt_dir: Path
    shared: Path
    upstream: Mapping[Stage, Upstream] = field(default_factory=dict)
    rank: int = 0
    world_size: int = 1
    stop: StopFlag = field(default_factory=StopFlag)
    earlier: Path | None = None


@dataclass(frozen=True)
class StageOutput:
    """What came out: metrics (JSON values), artifacts (result field -> path), and the folder that users look in."""

    metrics: Mapping[str, Any]
    artifacts: Mapping[str, Path]
    link: Path


StageFunction = Callable[[StageContext], StageOutput]
ShardFunction = Callable[[StageContext, int, int], None]  # which shard, from 0, of how many

# Where each stage's function is found. Names, not imports: the registry never loads a stage until it runs one.
ENTRY_POINT: dict[Stage, str] = {
    "curation": "curation.stage:run",
    "training": "train.stage:run",
    "eval": "eval.stage:run",
}
SHARD_ENTRY_POINT = "curation.shards:prepare"
ESTIMATE_ENTRY_POINT: dict[Stage, str] = {"curation": "curation.estimate:estimate", "eval": "eval.estimate:estimate"}
MODULE: dict[Stage, str] = {"curation": "curation", "training": "train", "eval": "eval"}
