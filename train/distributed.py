"""Where a process of a training belongs: its GPU, and where rank 0 listens, from torchrun's or Slurm's environment.

Standard library only, so that a launcher can ask before anything heavy is imported. submitit's own helper
(`TorchDistributedEnvironment`) knows no torchrun and no plain `srun`, takes rank 0's node name for an address, and
picks the same port again for a requeued job, in the range that the kernel hands out to others.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from registry.errors import UsageError
from registry.ranks import ranks

FIRST_PORT = 15_000  # below Linux's ephemeral range, so that no outgoing connection holds the port
PORTS = 15_000
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place. `master` is the (host, port) where rank 0 listens, None for a single process."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    master: tuple[str, int] | None = None


def processes_from(environment: Mapping[str, str]) -> Processes:
    """Read torchrun's variables, else a Slurm step's, else say that this is a single process.

    Raises `UsageError` for a set of variables that contradicts itself or is incomplete.
    """
    if "WORLD_SIZE" in environment:
        return _from_torchrun(environment)
    rank, world_size = ranks(environment)
    return _from_slurm(environment, rank, world_size) if world_size > 1 else Processes()


def export(processes: Processes, environment: MutableMapping[str, str]) -> None:
    """Write torchrun's variables, which torch and accelerate read.

    For a single process they are removed: accelerate takes a `LOCAL_RANK` alone for a distributed training.
    """
    if processes.master is None:
        for name in TORCHRUN:
            environment.pop(name, None)
        return
    environment["RANK"] = str(processes.rank)
    environment["WORLD_SIZE"] = str(processes.world_size)
    environment["LOCAL_RANK"] = str(processes.local_rank)
    environment["MASTER_ADDR"], environment["MASTER_PORT"] = processes.master[0], str(processes.master[1])


def first_host(node_list: str) -> str:
    """The first host of a Slurm node list: `gpu[08-11,14],cpu1` gives `gpu08`."""
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\])?([^,\[]*)", node_list)
    if match is None:
        raise UsageError(f"SLURM_STEP_NODELIST is {node_list!r}, which names no host")
    return match[1] + (match[2] or "") + match[3]


def _from_torchrun(environment: Mapping[str, str]) -> Processes:
    if environment["WORLD_SIZE"] == "1":
        return Processes()
    missing = [name for name in TORCHRUN if name not in environment]
    if missing:
        size = environment["WORLD_SIZE"]
        raise UsageError(f"WORLD_SIZE is {size} but {', '.join(missing)} is not set; start training with torchrun")
    master = (environment["MASTER_ADDR"], int(environment["MASTER_PORT"]))
    return Processes(*ranks(environment), int(environment["LOCAL_RANK"]), master)


def _from_slurm(environment: Mapping[str, str], rank: int, world_size: int) -> Processes:
    # Every rank must arrive at the same port without asking: a job id is unique on its nodes, and a requeued job
    # must not meet a socket that its predecessor left behind.
    key = int(environment["SLURM_JOB_ID"]) * 7 + int(environment.get("SLURM_RESTART_COUNT", "0"))
    return Processes(
        rank=rank,
        world_size=world_size,
        local_rank=_local_rank(environment),
        master=(_slurm_master(environment), FIRST_PORT + key % PORTS),
    )


def _local_rank(environment: Mapping[str, str]) -> int:
    """The index of this task's GPU among those that it sees: with --gpus-per-task it sees its own only, as number 0."""
    rank = int(environment["SLURM_LOCALID"])
    visible = [device for device in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    return rank % len(visible) if visible else rank


def _slurm_master(environment: Mapping[str, str]) -> str:
    """Rank 0's host. Slurm's node names need not resolve (several nodes on one host): then the launching node's IP."""
    host = first_host(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        if "SLURM_LAUNCH_NODE_IPADDR" not in environment:
            raise UsageError(f"Slurm's node {host!r} has no address here; set MASTER_ADDR and WORLD_SIZE") from None
        return environment["SLURM_LAUNCH_NODE_IPADDR"]
    return host
