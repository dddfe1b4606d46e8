"""The copy of the code that submitted jobs run: from real git clones, and from a folder that is none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from registry.code_state import MANIFEST, PATCH, code_state, discard, manifest
from registry.errors import MissingError, UsageError
from slurm.launch import environment, python_path_line
from slurm.snapshot import code_root, snapshot
from tests.git_clone import commit_first, git
from tests.lab import CHECKOUT

OWN = {MANIFEST, PATCH}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with one commit on the branch `work`."""
    root = tmp_path / "my clone"
    (root / "train").mkdir(parents=True)
    (root / "train" / "stage.py").write_text("one = 1\n")
    (root / "tool.sh").write_text("#!/bin/sh\n")
    (root / "tool.sh").chmod(0o755)
    return commit_first(root)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root` but git's and the snapshot's own."""
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name not in OWN}


def test_a_snapshot_is_the_commit_and_its_patch(clone: Path, tmp_path: Path) -> None:
    (clone / "train" / "stage.py").write_text("one = 2\n")
    (clone / "train" / "new file.py").write_text("new = 1\n")
    git(clone, "rm", "-q", "tool.sh")
    (clone / "ignored").mkdir()
    (clone / "ignored" / "model.bin").write_bytes(b"\0" * 4096)

    made = snapshot(clone, tmp_path / "store")

    again = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(clone), str(again))
    git(again, "checkout", "-q", str((manifest(made) or {})["git"]["commit"]))
    git(again, "apply", str(made / PATCH))
    private = {"config.sh", "results.json"}
    assert contents(made) == {name: text for name, text in contents(again).items() if name not in private}
    assert set(contents(made)) == {".gitignore", "train/stage.py", "train/new file.py"}


def test_a_snapshot_is_read_only_and_keeps_programs_programs(clone: Path, tmp_path: Path) -> None:
    made = snapshot(clone, tmp_path / "store")
    everything = [made, *made.rglob("*")]
    assert not any(path.stat().st_mode & 0o222 for path in everything)
    assert [path.name for path in everything if path.is_file() and path.stat().st_mode & stat.S_IXUSR] == ["tool.sh"]


def test_equal_code_is_stored_once_and_any_change_anew(clone: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = snapshot(clone, store)
    (clone / "results.json").write_text('{"experiments": {}}\n')  # every fold changes it
    assert snapshot(clone, store) == first
    (clone / "train" / "stage.py").write_text("one = 2\n")
    second = snapshot(clone, store)
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-a", "-m", "the same, committed")
    third = snapshot(clone, store)
    assert len({first, second, third}) == 3
    assert [(manifest(made) or {})["git"]["dirty"] for made in (first, second, third)] == [False, True, False]
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    assert snapshot(clone, store) == first


def test_submitters_at_the_same_moment_get_one_whole_copy(tmp_path: Path) -> None:
    store = tmp_path / "store"
    program = (
        "import sys, pathlib; from slurm.snapshot import snapshot; print(snapshot(*map(pathlib.Path, sys.argv[1:])))"
    )

    def submit(_: int) -> str:
        command = [sys.executable, "-c", program, str(CHECKOUT), str(store)]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        (made,) = set(pool.map(submit, range(4)))

    assert sorted(path.name for path in store.iterdir()) == [Path(made).name, f"{Path(made).name}.used"]
    listed = git(CHECKOUT, "ls-files", "-z").split("\0")
    code = {name for name in listed if name.endswith(".py") and (CHECKOUT / name).exists()}
    assert code <= set(contents(Path(made)))


def test_what_may_hold_keys_never_enters(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.sh", "results.json", "config.local.sh", ".env", ".env.local", "sub/.env", ".envs/prod"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("KEY=s3cret-value\n")
    (clone / "id.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\ns3cret-value\n")
    (clone / "google.json").write_text('{"refresh": "s3cret-value"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(clone / "google.json"))

    made = snapshot(clone, tmp_path / "store")

    assert not [name for name, text in contents(made).items() if b"s3cret" in text]
    assert (manifest(made) or {})["git"]["left_out"] == ["google.json", "id.pem"]
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    (clone / "train" / "stage.py").write_text("token = 'hf_abcdefghijkl'\n")
    with pytest.raises(UsageError, match=r"stage\.py holds the value of HF_TOKEN.*--live"):
        snapshot(clone, tmp_path / "store")


def test_what_is_no_code_is_named_and_left_out(clone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (clone / "large.csv").write_text("1,2\n" * 300_000)
    (clone / "image.png").write_bytes(b"\x89PNG\0")
    made = snapshot(clone, tmp_path / "store")
    assert not {"large.csv", "image.png"} & set(contents(made))
    assert "image.png, large.csv" in caplog.text


def test_code_that_is_too_large_is_refused(clone: Path, tmp_path: Path) -> None:
    with open(clone / "weights.bin", "wb") as file:
        file.truncate(65 * 2**20)
    git(clone, "add", "weights.bin")
    with pytest.raises(UsageError, match=r"more than 64 MiB.*weights\.bin.*--live"):
        snapshot(clone, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_clone_that_git_cannot_read_is_refused(clone: Path, tmp_path: Path) -> None:
    (clone / ".git" / "HEAD").write_text("nonsense\n")
    with pytest.raises(MissingError, match="mend the clone, or submit with --live"):
        snapshot(clone, tmp_path / "store")


def test_a_checkout_that_is_no_clone_is_copied_too(clone: Path, tmp_path: Path) -> None:
    shutil.rmtree(clone / ".git")
    for name in (".venv/lib/torch.py", "train/__pycache__/stage.pyc", "demo/run/model.json"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("x")
    made = snapshot(clone, tmp_path / "store")
    assert set(contents(made)) == {"train/stage.py", "tool.sh"}
    assert code_state(made) == {"unknown": f"{clone} is no git clone", "snapshot": made.name}


def test_a_copy_that_was_interrupted_is_never_seen(clone: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made = snapshot(clone, store)
    torn = made.with_name(".tmp-0123")
    shutil.copytree(made, torn)
    discard(made)
    discard(torn / "train")
    again = snapshot(clone, store)
    assert (again, (again / "train" / "stage.py").read_text()) == (made, "one = 1\n")


def test_a_job_that_runs_from_a_snapshot_records_the_clone_that_it_was_made_from(tmp_path: Path) -> None:
    """The project's own registry room, committed to a clone of its own, changed, and changed again after the copy."""
    root, folder = tmp_path / "checkout", tmp_path / "attempt"
    shutil.copytree(CHECKOUT / "registry", root / "registry", ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", "first")
    (root / "registry" / "extra.py").write_text("x = 1\n")
    made = snapshot(root, tmp_path / "store")
    (root / "registry" / "extra.py").write_text("x = 2\n")
    program = (
        "import json, pathlib, sys; from registry.extra import x; from registry.provenance import gather; "
        "print(json.dumps([x, gather(pathlib.Path(sys.argv[1]))['git']]))"
    )
    file = tmp_path / "program.py"
    file.write_text(program)

    command = f"{python_path_line(made)} && exec {sys.executable} {file} {folder}"  # from the checkout itself
    done = subprocess.run(["sh", "-c", command], cwd=root, env=dict(os.environ), capture_output=True, text=True)

    x, found = json.loads(done.stdout)
    assert x == 1
    assert (found["commit"], found["branch"]) == (git(root, "rev-parse", "HEAD"), "main")
    assert (found["dirty"], found["snapshot"]) == (True, made.name)
    assert found["diff"] == str(folder / "code-0.diff")
    assert "+x = 1" in (folder / "code-0.diff").read_text()
    here: dict[str, Any] = code_state(root, tmp_path / "now")
    assert here["diff_sha256"] != found["diff_sha256"]
    (root / "registry" / "extra.py").write_text("x = 1\n")
    assert code_state(root, tmp_path / "now")["diff_sha256"] == found["diff_sha256"]  # what `reproduce` compares


def test_a_stages_processes_take_their_code_from_where_they_are_told(clone: Path, tmp_path: Path) -> None:
    made = snapshot(clone, tmp_path / "store")
    command = [sys.executable, "-m", "train.stage"]
    (clone / "train" / "stage.py").write_text("print('live')\n")
    live = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True, check=True)
    said = subprocess.run(command, cwd=clone, env=environment(made), capture_output=True, text=True, check=True)
    assert (live.stdout, said.stdout) == ("live\n", "")


def test_live_is_the_checkout_itself(tmp_path: Path) -> None:
    assert code_root(True, tmp_path) == CHECKOUT
    assert code_root(False, tmp_path).parent == tmp_path
