"""`doctor`: real probes on real file systems, and every fault that it must find."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from registry.care import probes
from registry.care.checks import Check, contents
from registry.care.doctor import examine, paths_in_use
from registry.care.mounts import mount_of
from registry.store import Registry
from tests.lab import CHECKOUT, lab_environment
from tests.registry_case import record, run, staged_lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = staged_lab(tmp_path, monkeypatch)
    run(made, ("curation",))
    return made


def worst_of(checks: Iterable[Check]) -> dict[str, Check]:
    """The worst of each name's checks."""
    order = ("ok", "warning", "problem")
    worst: dict[str, Check] = {}
    for check in checks:
        if check.name not in worst or order.index(check.level) > order.index(worst[check.name].level):
            worst[check.name] = check
    return worst


def found(lab: Registry) -> dict[str, Check]:
    """What is found without probing."""
    return worst_of(contents(Registry(lab.paths, lab.catalog_path)))


def files(lab: Registry) -> dict[Path, bytes]:
    folder = lab.paths.file.parent
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_registry_has_no_problem_and_is_left_as_it_was(lab: Registry) -> None:
    before = files(lab)
    checks = worst_of(examine(lab))
    assert [check for check in checks.values() if check.level == "problem"] == []
    assert files(lab) == before
    assert checks["lock (flock)"].message == checks["lock (fcntl)"].message
    assert checks["lock (flock)"].message == "keeps a second process out, and ends with its holder"
    assert checks["claims (mkdir)"].level == checks["rename"].level == checks["flush (fsync)"].level == "ok"
    assert checks["records"].message == "3, all sound"
    assert checks["records that wait"].message == "none: all are in the file"


def test_every_path_in_use_is_told(lab: Registry, tmp_path: Path) -> None:
    told = paths_in_use(lab)
    assert told["registry"] == str(lab.paths.file)
    assert (told["CACHE_DIR"], told["MED_S1K_OUTPUT"]) == (str(tmp_path / "cache"), str(tmp_path / "output"))
    assert (told["catalog"], told["checkout"]) == (str(lab.catalog_path), str(CHECKOUT))
    assert {"records", "config.local.sh", "hub cache", "environment", "python"} <= set(told)


def test_a_registry_that_has_never_been_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = staged_lab(tmp_path, monkeypatch)
    before = files(fresh)
    assert [check for check in examine(fresh) if check.level == "problem"] == []
    assert (files(fresh), fresh.paths.root.exists()) == (before, False)


def test_damaged_records_and_a_damaged_state_are_told(lab: Registry) -> None:
    (damaged,) = [path for path in lab.paths.applied.iterdir() if "~completed~" in path.name]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    lab.paths.state.write_text("{")
    checks = found(lab)
    assert (checks["records"].level, str(damaged) in checks["records"].message) == ("problem", True)
    assert (checks["state"].level, "damaged; rebuilt" in checks["state"].message) == ("warning", True)


def test_records_that_wait_are_told_and_since_when(lab: Registry) -> None:
    path = lab.save(record(experiment="tuned"))
    assert found(lab)["records that wait"].level == "ok"
    long_ago = time.time() - 5 * 3600
    os.utime(path, (long_ago, long_ago))
    waiting = found(lab)["records that wait"]
    assert (waiting.level, waiting.message) == ("warning", "1 are not in the file yet, for 5.0 h")


def test_a_torn_file_and_a_broken_catalog_are_told(lab: Registry) -> None:
    lab.paths.file.write_text('{"experiments"')
    lab.catalog_path.write_text('{"modles": {}}')
    checks = found(lab)
    assert (checks["registry"].level, "line 1, column" in checks["registry"].message) == ("problem", True)
    assert (checks["catalog"].level, "did you mean 'models'" in checks["catalog"].message) == ("problem", True)


def test_what_the_group_cannot_use_is_told(lab: Registry) -> None:
    place = lab.paths.file.parent
    assert found(lab)["permissions"].message.startswith("for one user")
    place.chmod(0o2775)
    closed = found(lab)["permissions"]
    assert (closed.level, str(lab.paths.file) in closed.message) == ("warning", True)
    for path in (lab.paths.file, lab.paths.root, *lab.paths.root.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)
    assert found(lab)["permissions"].message.startswith("open to the group")
    place.chmod(0o775)
    assert "chmod g+s" in found(lab)["permissions"].todo
    place.chmod(0o2775)
    lab.paths.lock.chmod(0o644)
    assert str(lab.paths.lock) in found(lab)["permissions"].message
    lab.paths.lock.chmod(0o664)
    lab.paths.inbox.chmod(0o3775)
    assert str(lab.paths.inbox) in found(lab)["permissions"].message


def test_numbers_that_somebody_has_claimed_may_be_closed(lab: Registry) -> None:
    place = lab.paths.file.parent
    for path in (place, lab.paths.file, lab.paths.root, *lab.paths.root.rglob("*")):
        path.chmod(0o2775 if path.is_dir() else 0o664)
    (claim,) = lab.paths.attempts("tuned", "curation").iterdir()
    claim.chmod(0o700)
    assert found(lab)["permissions"].message.startswith("open to the group")
    claim.parent.chmod(0o700)
    assert found(lab)["permissions"].level == "warning"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_that_is_closed_is_a_problem(lab: Registry) -> None:
    (name, *_) = lab.paths.applied.iterdir()
    lab.paths.file.parent.chmod(0o2775)
    os.chown(name, 12345, 12345)
    name.chmod(0o600)
    assert found(lab)["permissions"].level == "problem"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_mount_is_told_and_the_rest_is_examined(lab: Registry, tmp_path: Path) -> None:
    program = f"""
import sys; sys.path[:0] = [{str(CHECKOUT)!r}]
from pathlib import Path
from registry.care.doctor import examine
from registry.paths import RegistryPaths
from registry.store import Registry
for check in examine(Registry(RegistryPaths(Path({str(lab.paths.file)!r})), Path({str(lab.catalog_path)!r}))):
    print(check.level, check.name, check.message, sep=" | ")
"""
    mount = f"mount --bind {lab.paths.file.parent} {lab.paths.file.parent} && mount -o remount,ro,bind $1 && shift"
    line = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", str(lab.paths.file.parent)]
    done = subprocess.run([*line, sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    said = {line.split(" | ")[1]: line for line in done.stdout.splitlines()}
    assert said["file system"].startswith("warning"), done.stderr
    assert "read-only here" in said["file system"]
    assert "Read-only file system" in said["writing"]
    assert (said["records"], "registry" in said) == ("ok | records | 3, all sound", True)


def test_outputs_that_are_not_set_or_cannot_be_written(
    lab: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "a file" / "cache"))
    monkeypatch.delenv("MED_S1K_OUTPUT")
    checks = found(lab)
    assert (checks["CACHE_DIR"].level, checks["MED_S1K_OUTPUT"].todo) == ("problem", "source config.sh")


def test_slurms_commands_are_told(lab: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(lab)["Slurm"].message.startswith("not on this machine")
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    assert found(lab)["Slurm"].message == "lacks squeue, scancel, sacct, scontrol, srun"


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_a_lock_that_does_not_lock_is_found(
    tmp_path: Path, kind: probes.LockKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder locks another file, as where every host has locks of its own."""
    assert probes.locking(tmp_path, kind) == probes.Locking(True, True)
    monkeypatch.setattr(probes, "_HOLD", probes._HOLD.replace("sys.argv[1]", "sys.argv[1] + '2'").replace("rb+", "wb"))
    assert probes.locking(tmp_path, kind) == probes.Locking(False, True)


def test_a_rename_in_two_steps_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_steps = "os.remove(sys.argv[1]); import time; time.sleep(0.001); os.rename"
    monkeypatch.setattr(probes, "_REPLACE", probes._REPLACE.replace("os.replace", two_steps))
    reads, torn = probes.torn_reads(tmp_path)
    assert 0 < torn <= reads


def test_a_folder_that_two_processes_make_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_CLAIM", probes._CLAIM.replace("os.mkdir(", "os.makedirs(exist_ok=True, name="))
    assert probes.folders_claimed_twice(tmp_path) == 200


def test_a_clock_that_is_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(probes.clock_offset(tmp_path)) < 5
    real = time.time
    monkeypatch.setattr("registry.care.probes.time.time", lambda: real() + 3600)
    assert probes.clock_offset(tmp_path) == pytest.approx(-3600, abs=5)


def test_a_probe_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_CLAIM", "raise SystemExit('no room here')")
    with pytest.raises(probes.ProbeError, match="no room here"):
        probes.folders_claimed_twice(tmp_path)


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2,local_lock=none
31 30 0:41 / /home/a\040lab rw - nfs server:/lab rw,vers=3,nolock,local_lock=all
32 22 0:42 / /data ro master:2 propagate_from:3 - lustre mds:/data rw,flock
33 22 0:43 / /dev/shm rw - tmpfs tmpfs rw
34 22 0:44 / /data rw - beegfs beegfs_nodev rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "network", "read_only", "local_locks"),
    [
        ("/home/me/registry", "nfs4", True, False, False),
        ("/home/a lab/registry", "nfs", True, False, True),
        ("/homes/registry", "ext4", False, False, False),
        ("/data/x", "beegfs", True, False, False),
        ("/dev/shm", "tmpfs", False, False, False),
    ],
)
def test_the_mount_of_a_path(
    tmp_path: Path, path: str, kind: str, network: bool, read_only: bool, local_locks: bool
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS.lstrip())
    mount = mount_of(Path(path), tmp_path / "mountinfo")
    assert mount is not None
    assert (mount.kind, mount.network, mount.read_only, mount.local_locks) == (kind, network, read_only, local_locks)
    assert (mount_of(Path(path), tmp_path / "gone"), mount.volatile) == (None, kind == "tmpfs")


@pytest.fixture
def environment(lab: Registry, tmp_path: Path) -> dict[str, str]:
    return {**lab_environment(lab.paths.file.parent), "CACHE_DIR": str(tmp_path / "cache")}


def doctor(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHECKOUT / "bin" / "meds1"), "doctor", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_says_all_and_fails_only_for_problems(lab: Registry, environment: dict[str, str]) -> None:
    done = doctor(environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(lab.paths.file) in done.stdout
    body = json.loads(doctor(environment, "--json").stdout)
    assert body["error"] is None
    assert {check["level"] for check in body["data"]["checks"]} <= {"ok", "warning"}
    shutil.copy(lab.paths.state, lab.paths.applied / "tuned~eval~00001-000~completed~x.json")
    body = json.loads(doctor(environment, "--json").stdout)
    assert body["error"] == {"message": "problems found: records", "exit_code": 1}


HELD = """
import os, signal, sys

def hold(event, details):
    if event == "subprocess.Popen" and "-I" in details[1]:
        os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(hold)
import meds1
sys.exit(meds1.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_when_it_is_interrupted(
    lab: Registry, environment: dict[str, str], number: signal.Signals
) -> None:
    """It stands still where it starts a probe's first process, so that it cannot end before it is interrupted."""
    command = [sys.executable, "-c", HELD, "doctor"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            assert list(lab.paths.root.glob(".doctor-*/*"))
            process.send_signal(number)
        finally:
            process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == 1
    assert list(lab.paths.root.glob(".doctor-*")) == []
