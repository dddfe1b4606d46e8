"""One training over two Slurm nodes, whose ranks know each other from Slurm's variables alone."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from registry.stage import StageOutput
from tests import training_case
from tests.lab import make_lab
from tests.training_case import losses, make_case
from train.stage import run

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> StageOutput:
    """The training on one process."""
    return run(make_case(tmp_path_factory.mktemp("single")).context())


@pytest.mark.full
@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_two_nodes_train_what_one_process_trains(gpus: int, single: StageOutput, tmp_path: Path) -> None:
    """Under plain `srun`, with a task for each pretend GPU."""
    case = make_case(tmp_path)
    rank = shlex.join([sys.executable, str(Path(training_case.__file__)), str(case.file)])
    log = tmp_path / "log"
    size = ["--nodes=2", f"--ntasks-per-node={gpus}", f"--gpus-per-node={gpus}"]
    subprocess.run(
        ["sbatch", "--wait", *size, f"--output={log}", "--wrap", f"srun --kill-on-bad-exit {rank}"],
        check=False,
        timeout=300,
    )
    assert (case.run_dir / "output.json").is_file(), log.read_text()
    metrics = training_case.read_metrics(case)
    assert (metrics["world_size"], metrics["global_batch"]) == (2 * gpus, 8)
    assert metrics["steps"] == single.metrics["steps"]
    assert losses(metrics) == pytest.approx(losses(single.artifacts), rel=1e-3)


@pytest.mark.full
def test_a_submitted_training_has_a_task_for_each_gpu_of_two_nodes(tmp_path: Path) -> None:
    lab, alone = (make_lab(tmp_path / name, {"training": {"nodes": 2, "gpus": 2}}) for name in ("lab", "alone"))
    for each in (lab, alone):
        each.meds1("run", "first", "--stage", "curation")
    alone.meds1("run", "first", "--stage", "training")

    lab.meds1("submit", "first", "--stage", "training")

    lab.wait("first", "training")
    entry, wanted = (each.results("first")["training"] for each in (lab, alone))
    assert entry["status"] == "completed", lab.logs()
    assert (entry["metrics"]["world_size"], wanted["metrics"]["world_size"]) == (4, 1)
    for name in ("global_batch", "steps"):
        assert entry["metrics"][name] == wanted["metrics"][name]
    assert losses(entry) == pytest.approx(losses(wanted), rel=1e-3)
