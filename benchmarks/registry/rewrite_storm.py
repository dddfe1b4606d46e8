"""The same storm over a registry that is written as the original med-s1 does: read the file, change it, write it back.

Every result has a place of its own (one stage of one experiment), so that each one that was acknowledged must be there
at the end.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.registry.journal import Follower, Journal
from benchmarks.registry.outcome import Outcome
from benchmarks.registry.storm import GoOn, Tick, Wish, blow, torn
from registry.schema import STAGES, Stage


def storm_of_rewrites(folder: Path, wish: Wish, tick: Tick) -> Outcome:
    """Storm a fresh registry in `folder`, then count what is lost; all of it, where the file does not parse."""
    file, journals = folder / "results.json", folder / "journals"
    journals.mkdir(parents=True)
    file.write_text(json.dumps({"experiments": {"base": {"config": {"model_key": "tiny"}}}}, indent=2))

    def writer(number: int, go_on: GoOn) -> None:
        journal, results = Journal(journals, number), 0
        while go_on():
            experiment, stage = f"experiment-{number}-{results // len(STAGES)}", STAGES[results % len(STAGES)]
            try:
                save_by_rewriting(file, experiment, stage)
            except (ValueError, KeyError):
                journal.say(torn=True)  # another writer is at it, or died at it: this result is not saved
                continue
            results += 1
            journal.say(experiment=experiment, stage=stage)

    weather = blow(wish, writer, [lambda: lambda: torn(file)] * 2, tick)
    saved = [line for line in Follower(journals).news() if "stage" in line]
    valid = torn(file) is None
    there = json.loads(file.read_bytes())["experiments"] if valid else {}
    lost = sum(line["stage"] not in there.get(line["experiment"], {}).get("results", {}) for line in saved)
    return Outcome("read, change, write in place", weather, len(saved), lost, valid)


def save_by_rewriting(file: Path, experiment: str, stage: Stage) -> None:
    """Put one result into the registry as the original's stages do: no lock, no temporary file, no flush."""
    with open(file) as stream:
        registry = json.load(stream)
    results = registry["experiments"].setdefault(experiment, {"config": {}}).setdefault("results", {})
    results[stage] = {"model_path": f"runs/{experiment}/{stage}", "timestamp": "2026-11-20T17:00:00Z", "metrics": None}
    with open(file, "w") as stream:
        json.dump(registry, stream, indent=2)
