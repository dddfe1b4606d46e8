"""Which rank a process is, as torchrun and Slurm tell it."""

import subprocess
import sys

import pytest

from registry.errors import UsageError
from train.distributed import Processes, export, first_host, processes_from

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
SLURM_STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "no-such-node-[07-08]",
    "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


def test_an_empty_environment_is_a_single_process() -> None:
    assert processes_from({}) == Processes(0, 1, 0, None)


def test_torchrun_is_taken_at_its_word() -> None:
    assert processes_from(TORCHRUN) == Processes(3, 4, 1, ("127.0.0.1", 29500))


def test_torchrun_wins_over_the_slurm_step_that_it_runs_in() -> None:
    assert processes_from({**SLURM_STEP, **TORCHRUN}).rank == 3


def test_all_tasks_of_a_slurm_step_agree_on_the_port() -> None:
    ranks = [processes_from({**SLURM_STEP, "SLURM_PROCID": str(rank)}) for rank in range(8)]
    assert [processes.rank for processes in ranks] == list(range(8))
    assert {processes.world_size for processes in ranks} == {8}
    assert len({processes.master for processes in ranks}) == 1


def test_a_requeued_job_listens_elsewhere() -> None:
    first, second = processes_from(SLURM_STEP), processes_from({**SLURM_STEP, "SLURM_RESTART_COUNT": "1"})
    assert first.master != second.master


def test_a_node_that_resolves_is_the_master() -> None:
    processes = processes_from({**SLURM_STEP, "SLURM_STEP_NODELIST": "localhost"})
    assert processes.master is not None
    assert processes.master[0] == "localhost"


def test_the_batch_script_of_an_allocation_of_many_tasks_is_one_process() -> None:
    batch_script = {name: value for name, value in SLURM_STEP.items() if "STEP" not in name}
    assert processes_from({**batch_script, "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Processes()


@pytest.mark.parametrize(("visible", "local_rank"), [("3", 0), ("0,1,2,3", 1), ("", 1)])
def test_a_task_that_sees_only_its_own_gpu_uses_that_one(visible: str, local_rank: int) -> None:
    assert processes_from({**SLURM_STEP, "CUDA_VISIBLE_DEVICES": visible}).local_rank == local_rank


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_an_incomplete_launcher_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"WORLD_SIZE is 4 but {name} is not set"):
        processes_from({key: value for key, value in TORCHRUN.items() if key != name})


def test_a_rank_outside_the_world_is_refused() -> None:
    with pytest.raises(UsageError, match="rank 4 of 4"):
        processes_from({**TORCHRUN, "RANK": "4"})


def test_an_unknown_master_is_refused() -> None:
    environment = {name: value for name, value in SLURM_STEP.items() if name != "SLURM_LAUNCH_NODE_IPADDR"}
    with pytest.raises(UsageError, match="'no-such-node-07' has no address"):
        processes_from(environment)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("n1", "n1"), ("n1,n2", "n1"), ("gpu[08-11,14],cpu1", "gpu08"), ("gpu[3],a", "gpu3"), ("r[1-2]x,b", "r1x")],
)
def test_the_first_host_of_a_node_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_step_becomes_torchruns_variables() -> None:
    environment = dict(SLURM_STEP)
    export(processes_from(environment), environment)
    assert processes_from({name: environment[name] for name in TORCHRUN}) == processes_from(SLURM_STEP)


def test_a_single_process_leaves_nothing_that_looks_like_many() -> None:
    environment = {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0", "PATH": "/bin"}
    export(processes_from(environment), environment)
    assert environment == {"PATH": "/bin"}


def test_the_launcher_may_ask_before_anything_heavy_is_imported() -> None:
    code = "import sys, train.distributed; sys.exit(bool({'torch', 'transformers', 'accelerate'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
