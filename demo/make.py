"""Makes the demo's data and model in a folder, seeded and without any download.

Each part is a folder (`data/`, `model/`) that appears whole or not at all. A stamp inside it says from which recipe it
was made and what its files hash to; a part whose stamp still holds is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.model import Pretraining, make_model
from demo.rows import RawRow, held_out_rows, training_rows
from demo.world import make_world

GENERATOR_VERSION = 2  # raise it when the same seed gives other files
SEED = 0
STAMP = "made.json"


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """What `make_demo` made: two JSONL files and a folder that transformers and vLLM load."""

    train: Path
    held_out: Path
    model: Path


def make_demo(out: Path, seed: int = SEED, pretraining: Pretraining | None = None) -> DemoFiles:
    """Make what is missing or out of date under `out`, say so, and return where everything lies."""
    taught = pretraining or Pretraining()
    recipe: dict[str, Any] = {"generator": GENERATOR_VERSION, "seed": seed}
    world = make_world(seed)
    files = DemoFiles(out / "data" / "train.jsonl", out / "data" / "eval.jsonl", out / "model")

    def write_data(folder: Path) -> None:
        _write_rows(folder / files.train.name, training_rows(world, seed))
        _write_rows(folder / files.held_out.name, held_out_rows(world, seed))

    _make_part(out / "data", recipe, write_data)
    _make_part(files.model, recipe | asdict(taught), lambda folder: make_model(world, seed, folder, taught))
    return files


def _make_part(folder: Path, recipe: dict[str, Any], build: Callable[[Path], None]) -> None:
    if _is_made(folder, recipe):
        print(f"demo: {folder} is there and whole (seed {recipe['seed']}): left as it is", flush=True)
        return
    print(f"demo: making {folder} (seed {recipe['seed']})", flush=True)
    unfinished = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    build(unfinished)
    stamp = {"recipe": recipe, "files": _hashes(unfinished)}
    (unfinished / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(unfinished, folder)


def _is_made(folder: Path, recipe: dict[str, Any]) -> bool:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(stamp == {"recipe": recipe, "files": _hashes(folder)})


def _hashes(folder: Path) -> dict[str, str]:
    made = sorted(path for path in folder.iterdir() if path.name != STAMP)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}


def _write_rows(path: Path, rows: Iterable[RawRow]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            fields = {name: value for name, value in row.as_json().items() if value is not None}
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
