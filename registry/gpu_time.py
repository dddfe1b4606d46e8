"""How long a stage held how many GPUs, over all attempts, restarts and shards: each leaves a file when it ends.

One that was killed without a word leaves none: its time is not counted.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from registry.durable import write_shared
from registry.effective import EffectiveConfig
from registry.job import Job
from registry.paths import attempt_dir, shard_dir

log = logging.getLogger(__name__)


def gpus_of(job: Job, seen: int | None) -> int | None:
    """How many GPUs an attempt holds whose processes see so many (null: unknown): none where it loads no model."""
    if job.stage != "curation":
        return seen
    curation = EffectiveConfig.model_validate(job.config).curation
    return seen if curation is not None and curation.calls_model else 0


def leave(folder: Path, restart: int, gpus: int | None, seconds: float) -> None:
    """Write into an attempt's folder, or its shard's, what a restart of it has taken.

    A file that cannot be written is told, and takes away no result.
    """
    content = json.dumps({"gpus": gpus, "seconds": round(seconds, 3)}).encode()
    try:
        write_shared(folder / f"gpu-time-{restart}.json", content)
    except OSError as error:
        log.warning("%s: its GPU time is not recorded: %s", folder, error.strerror)


def gpu_time_field(run_dir: Path) -> dict[str, Any]:
    """What a result says of it: the hours, null where one of the attempts does not know; nothing where all are silent.

    A file that cannot be read is told: then nobody knows.
    """
    attempt = attempt_dir(run_dir, 0).parent / "*"
    folders = [folder.relative_to(run_dir) for folder in (attempt, shard_dir(attempt, 0).parent / "*")]
    files = [file for folder in folders for file in sorted(run_dir.glob(f"{folder}/gpu-time-*.json"))]
    try:
        left = [json.loads(file.read_bytes()) for file in files]
        taken = [None if one["gpus"] is None else one["gpus"] * one["seconds"] for one in left]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: its GPU time is unknown: %s", run_dir, error)
        return {"gpu_hours": None}
    if not taken:
        return {}
    known = [one for one in taken if one is not None]
    return {"gpu_hours": round(sum(known) / 3600, 4) if len(known) == len(taken) else None}
