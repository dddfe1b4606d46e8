"""One training over two Slurm nodes, whose ranks know each other from Slurm's variables alone."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import training_case
from tests.cluster.throwaway import Cluster
from tests.training_case import losses, make_case
from train.stage import run

pytestmark = pytest.mark.slurm


def test_two_nodes_train_what_one_process_trains(slurm_cluster: Cluster, tmp_path: Path) -> None:
    case = make_case(tmp_path / "slurm")
    rank = shlex.join([sys.executable, str(Path(training_case.__file__)), str(case.file)])
    log = tmp_path / "log"
    subprocess.run(
        ["sbatch", "--wait", "--nodes=2", "--ntasks=2", f"--output={log}", "--wrap", f"srun --kill-on-bad-exit {rank}"],
        check=False,
        timeout=300,
    )
    assert (case.run_dir / "output.json").is_file(), log.read_text()
    metrics = training_case.read_metrics(case)
    assert (metrics["world_size"], metrics["global_batch"]) == (2, 8)
    single = run(make_case(tmp_path / "single").context()).artifacts
    assert losses(metrics) == pytest.approx(losses(single), rel=1e-3)
