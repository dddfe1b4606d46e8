"""A small training of a tiny model for tests: its data, its effective config, and a process that runs it.

As a program (`python tests/training_case.py CASE.json`, also under torchrun) it runs the stage on the case as one rank
and writes what came out to `output.json` in the run directory; a user's error ends it with that error's exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from registry.effective import EffectiveConfig  # noqa: E402
from registry.errors import Meds1Error  # noqa: E402
from registry.stage import StageContext, Upstream  # noqa: E402
from tests.tiny import make_tiny_model  # noqa: E402
from train.checkpoints import checkpoint_folder, find_newest  # noqa: E402
from train.distributed import processes_from  # noqa: E402

PARAMS: dict[str, Any] = {
    "learning_rate": 2e-3,
    "batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_epochs": 4,
    "weight_decay": 0.1,
    "warmup_ratio": 0.1,
    "gradient_checkpointing": False,
}
OPTIONS = {"A": "one", "B": "two", "C": "three", "D": "four"}


@dataclass(frozen=True)
class Case:
    """A training that is ready to run; `file` is what a process is told of it."""

    config: EffectiveConfig
    run_dir: Path
    dataset: Path

    @property
    def file(self) -> Path:
        """The case on disk."""
        return self.run_dir / "case.json"

    def context(self, rank: int = 0, world_size: int = 1) -> StageContext:
        """What the runner would hand the stage."""
        upstream = Upstream("curation", self.config.experiment, "0" * 64, {"dataset_path": str(self.dataset)})
        own = self.run_dir
        return StageContext(self.config, own, own, own, {"curation": upstream}, rank, world_size)


def make_case(folder: Path, rows: int = 27, reference_gpus: int = 2, validation: int = 5, **params: Any) -> Case:
    """A model, its training and validation rows, and an experiment that trains the one on the others."""
    model, run_dir = folder / "model", folder / "run"
    run_dir.mkdir(parents=True)
    make_tiny_model(model)
    save_dataset(folder / "formatted", rows, validation)
    config = EffectiveConfig.model_validate(
        {
            "experiment": "tiny",
            "model_key": "tiny",
            "model": {"file_path": str(model), "max_length": 256},
            "prompting": "plain",
            "train_dataset_key": None,
            "train_dataset": None,
            "eval_datasets": {},
            "curation": {"method": "all"},
            "difficulty_model_key": None,
            "difficulty_model": None,
            "training": {**PARAMS, **params},
            "reference_gpus": reference_gpus,
            "eval": {},
            "slurm": {},
        }
    )
    case = Case(config, run_dir, folder / "formatted")
    case.file.write_text(json.dumps({"config": config.model_dump(mode="json"), "dataset": str(case.dataset)}))
    return case


def conversation(number: int) -> dict[str, Any]:
    """A row of the formatted data set; rows differ in their length."""
    letter = "ABCD"[number % 4]
    question = f"Which drug lowers pressure {number}?\n\nA. one\nB. two\nC. three\nD. four"
    answer = f"## Thinking\n\n{'so ' * (number % 5)}it is {letter}.\n\n## Final Response\n\nThe answer is {letter}"
    return {
        "id": f"row{number}",
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "answer": OPTIONS[letter],
        "answer_idx": letter,
        "options": [{"letter": name, "text": text} for name, text in OPTIONS.items()],
    }


def save_dataset(folder: Path, rows: int, validation: int) -> None:
    """Write the formatted data set that curation would leave."""
    from datasets import Dataset, DatasetDict

    splits = {"train": range(rows), "validation": range(1000, 1000 + validation)}
    formatted = {
        name: Dataset.from_list([conversation(number) for number in numbers]) for name, numbers in splits.items()
    }
    DatasetDict(formatted).save_to_disk(str(folder))


def start(case: Case, processes: int = 1, program: Path = Path(__file__), **environment: str) -> subprocess.Popen[str]:
    """Run the case in a session of its own, under torchrun when there are several processes."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen(
        [*launcher, str(program), str(case.file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], case: Case) -> dict[str, Any]:
    """Wait for a run that must succeed; return the metrics and artifacts that rank 0 wrote."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-4000:]
    return read_metrics(case)


def read_metrics(case: Case) -> dict[str, Any]:
    """The metrics and artifacts that rank 0 wrote."""
    return dict(json.loads((case.run_dir / "output.json").read_text()))


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until the running training has come so far; it must not have ended before."""
    while not condition():
        # What it did last may have come about since the question.
        assert process.poll() is None or condition(), process.communicate()[1][-4000:]
        time.sleep(0.005)


def has_checkpoint(case: Case, processes: int, after: int = 0) -> bool:
    """Whether a complete checkpoint of a step later than `after` is there."""
    newest = find_newest(checkpoint_folder(case.run_dir, processes)).newest
    return newest is not None and newest.step > after


def losses(artifacts: Mapping[str, Any]) -> list[float]:
    """The training losses, one for each optimizer step."""
    return [point["loss"] for point in curve(artifacts)]


def curve(artifacts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the log, one for each optimizer step."""
    import pyarrow.parquet as pq

    return list(pq.read_table(artifacts["log_path"]).to_pylist())


def main() -> int:
    """One rank of the case named on the command line."""
    from train.stage import run

    file = Path(sys.argv[1])
    described = json.loads(file.read_text())
    case = Case(EffectiveConfig.model_validate(described["config"]), file.parent, Path(described["dataset"]))
    processes = processes_from(os.environ)
    try:
        output = run(case.context(processes.rank, processes.world_size))
    except Meds1Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    if processes.rank == 0:
        artifacts = {key: str(path) for key, path in output.artifacts.items()}
        (case.run_dir / "output.json").write_text(json.dumps({**output.metrics, **artifacts}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
