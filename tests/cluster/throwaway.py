"""A throw-away Slurm cluster of two virtual nodes for the tests, started and stopped by the scripts beside this file.

Contract: `running()` yields a cluster that answers. Whatever happens to the tests, SIGKILL of pytest included, it
leaves nothing behind. A cluster that start.sh started and that SLURM_CONF names is used as it is and left running; any
other SLURM_CONF is a real cluster, to which no test may submit.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ADMIN_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
)  # daemons live off a user's PATH


@dataclass(frozen=True)
class Cluster:
    """A running test cluster: its configuration file, its nodes' names, and whether sacct works on it."""

    conf: Path
    nodes: tuple[str, ...]
    accounting: bool


def why_unavailable() -> str | None:
    """Why no test cluster can run here, in words for a skip message; None if one can."""
    if _reusable() is not None:
        return None
    missing = [tool for tool in ("sbatch", "slurmctld", "slurmd", "munged") if not _installed(tool)]
    if missing:
        return f"Slurm is not installed here ({', '.join(missing)} missing): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "only root can start the test cluster"
    return None


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """The cluster that SLURM_CONF names if start.sh started it, else a fresh one that ends with the context."""
    conf = _reusable()
    if conf is not None:
        yield _describe(conf)
        return
    with fresh() as cluster:
        yield cluster


@contextlib.contextmanager
def fresh(**settings: str) -> Iterator[Cluster]:
    """A cluster of its own that ends with the context; `settings` are the variables that start.sh reads."""
    directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: unix sockets lie below it
    guard = _stop_at_our_end(directory)
    try:
        yield _describe(_start(directory, settings))
    finally:
        guard.communicate()  # closes its standard input


def kill_node(cluster: Cluster, node: str) -> None:
    """Lose a node as by a power cut: its slurmd and its jobs' processes get SIGKILL. Slurm requeues its jobs."""
    subprocess.run([SCRIPTS / "kill-node.sh", cluster.conf.parent, node], check=True)


def start_node(cluster: Cluster, node: str) -> None:
    """Bring a killed node back; returns when it takes jobs again."""
    subprocess.run([SCRIPTS / "start-node.sh", cluster.conf.parent, node], check=True)


@contextlib.contextmanager
def controller_down(cluster: Cluster) -> Iterator[None]:
    """No slurmctld while the context lasts; its jobs go on, and it knows them when it is back."""
    subprocess.run([SCRIPTS / "stop-controller.sh", cluster.conf.parent], check=True)
    try:
        with impatient(cluster):
            yield
    finally:
        subprocess.run([SCRIPTS / "start-controller.sh", cluster.conf.parent], check=True)


@contextlib.contextmanager
def impatient(cluster: Cluster) -> Iterator[None]:
    """While the context lasts, commands that get no answer give up after two seconds, not after ten."""
    content = cluster.conf.read_text()
    cluster.conf.write_text(f"{content}MessageTimeout=2\n")
    try:
        yield
    finally:
        cluster.conf.write_text(content)


def _installed(tool: str) -> bool:
    return shutil.which(tool, path=ADMIN_PATH) is not None


def _reusable() -> Path | None:
    conf = os.environ.get("SLURM_CONF")
    return Path(conf) if conf and (Path(conf).parent / "pids").is_file() else None


def _start(directory: Path, settings: Mapping[str, str]) -> Path:
    accounting = _installed("slurmdbd") and _installed("mariadbd")
    environment = {**os.environ, "PATH": ADMIN_PATH, "ACCT": str(int(accounting)), **settings}
    started = subprocess.run([SCRIPTS / "start.sh", directory], env=environment, capture_output=True, text=True)
    if started.returncode != 0:
        raise RuntimeError(f"the test cluster did not start in {directory}:\n{started.stderr}")
    return directory / "slurm.conf"


def _stop_at_our_end(directory: Path) -> subprocess.Popen[bytes]:
    """A process of its own session that removes the cluster at the end of its standard input, which is ours to close.

    The kernel closes it too when pytest is killed: no `finally` would run then.
    """
    command: list[str | Path] = ["bash", "-c", 'cat >/dev/null; "$0" "$1"; rm -rf "$1"', SCRIPTS / "stop.sh", directory]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def _describe(conf: Path) -> Cluster:
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    nodes = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%N"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return Cluster(conf=conf, nodes=tuple(nodes), accounting="accounting_storage/slurmdbd" in conf.read_text())
