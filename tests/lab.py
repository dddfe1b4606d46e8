"""A small lab in a folder: its own registry, catalog, data, model and outputs, and the real `meds1` to use it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.paths import RegistryPaths
from registry.reading import View
from registry.schema import STAGES
from registry.store import Registry, results_of
from tests.stages import record, write_jsonl
from tests.tiny import make_tiny_model

CHECKOUT = Path(__file__).resolve().parents[1]
N_TRAIN, N_EVAL = 24, 8


@dataclass(frozen=True)
class Lab:
    """The folder, the environment that every command of the lab runs in, and the code that they are of."""

    folder: Path
    environment: Mapping[str, str]
    code: Path = CHECKOUT

    @property
    def registry(self) -> Registry:
        """The lab's registry."""
        return Registry(RegistryPaths(self.folder / "results.json"), self.folder / "config.json")

    def meds1(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `bin/meds1`; `code` is the exit code to insist on."""
        return self.run([str(self.code / "bin" / "meds1"), *arguments], code)

    def run(self, command: list[str], code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command from the folder of the code in the lab's environment."""
        done = subprocess.run(
            command, cwd=self.code, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        assert code is None or done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def results(self, name: str) -> dict[str, Any]:
        """An experiment's results with every saved record."""
        return results_of(self.registry.read(), name)

    def edit(self, name: str, **config: Any) -> None:
        """Change fields of an experiment's config in the file, as a person would."""
        file = self.folder / "results.json"
        document = json.loads(file.read_text())
        document["experiments"][name]["config"].update(config)
        file.write_text(json.dumps(document, indent=2) + "\n")

    def wait(self, name: str, stage: str, seconds: int = 240) -> View:
        """Wait until the newest attempt of a stage has a last word; fail with its logs when it takes too long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            view = self.registry.read()
            headers = view.state.headers(name, next(known for known in STAGES if known == stage))
            if headers and headers[-1].event in ("completed", "failed", "cancelled"):
                return view
            time.sleep(0.5)
        raise AssertionError(f"{name}: {stage} has not ended\n{self.logs()}")

    def logs(self) -> str:
        """The tails of all job logs, for a failure's message."""
        files = [*self.folder.rglob("*_log.err"), *self.folder.rglob("*.out")]
        return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-1500:]}" for file in sorted(files))


def lab_environment(folder: Path) -> dict[str, str]:
    """An environment in which everything that commands write lies in `folder`."""
    python = Path(sys.executable)
    return {
        **os.environ,
        "MEDS1_NO_LOCAL": "1",
        "MEDS1_REGISTRY": str(folder / "results.json"),
        "MEDS1_CONFIG": str(folder / "config.json"),
        "MEDS1_ROOT": str(folder),
        "CACHE_DIR": str(folder / "cache"),
        "MED_S1K_OUTPUT": str(folder / "output"),
        "VIRTUAL_ENV": str(python.parent.parent),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }


def make_lab(folder: Path, slurm: Mapping[str, Any] | None = None) -> Lab:
    """Three experiments on a random tiny model: `base`, `first` (all rows) and `second` (random rows)."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tiny_model(folder / "model")
    write_jsonl(folder / "train.jsonl", [record(number, "ABCD"[number % 4]) for number in range(N_TRAIN)])
    write_jsonl(folder / "eval.jsonl", [record(1000 + number, "ABCD"[number % 4]) for number in range(N_EVAL)])
    catalog = {
        "models": {"tiny": {"file_path": "model", "max_length": 512}},
        "train_datasets": {"train": {"file_path": "train.jsonl"}},
        "eval_datasets": {"held-out": {"file_path": "eval.jsonl"}},
        "defaults": {"eval": {"max_tokens": 8, "engine": "transformers"}},  # opens in no time
        "slurm": slurm or {},
    }
    datasets = {"curate": "train", "eval": "held-out"}
    training = {"learning_rate": 1e-3, "total_batch_size": 4, "num_epochs": 1}
    experiments: dict[str, Any] = {
        "base": {"config": {"model_key": "tiny", "datasets": datasets}},
        "first": {
            "config": {
                "model_key": "tiny",
                "datasets": datasets,
                "curation": {"method": "all"},
                "training_params": training,
            }
        },
        "second": {
            "config": {
                "model_key": "tiny",
                "datasets": "same as first",
                "curation": {"method": "random", "n_samples": 12},
                "training_params": "same as first",
            }
        },
    }
    (folder / "config.json").write_text(json.dumps(catalog, indent=2) + "\n")
    (folder / "results.json").write_text(json.dumps({"experiments": experiments}, indent=2) + "\n")
    return Lab(folder, lab_environment(folder))
