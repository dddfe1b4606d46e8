"""The code that a result was made with, from real git clones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.git_state import clone_of, git_state
from registry.secrets import masked, masked_json
from tests.git_clone import commit_first, git
from tests.lab import CHECKOUT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with one commit on the branch `work`."""
    root = tmp_path / "clone"
    root.mkdir()
    (root / "code.py").write_text("one = 1\n")
    return commit_first(root)


def patched(clone: Path, diff: Path, folder: Path) -> Path:
    """The commit with the patch applied, in a clone of its own."""
    git(folder, "clone", "-q", str(clone), "again")
    git(folder / "again", "apply", str(diff))
    return folder / "again"


def test_a_clean_clone_has_no_patch(clone: Path, tmp_path: Path) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    assert git_state(clone, tmp_path / "diff") == {"commit": commit, "branch": "work", "dirty": False}
    assert not (tmp_path / "diff").exists()


def test_the_patch_brings_back_changed_new_and_renamed_files(clone: Path, tmp_path: Path) -> None:
    (clone / "code.py").write_bytes(b"one = 1\r\n\ntwo = '\xff'\n")
    (clone / "sub").mkdir()
    (clone / "sub" / "näw file.py").write_text("no newline at its end")
    git(clone, "mv", ".gitignore", "moved")
    found = git_state(clone, tmp_path / "diff")
    assert (found["dirty"], found["diff"]) == (True, str(tmp_path / "diff"))
    again = patched(clone, tmp_path / "diff", tmp_path)
    assert (again / "code.py").read_bytes() == (clone / "code.py").read_bytes()
    assert (again / "sub" / "näw file.py").read_text() == "no newline at its end"
    assert ((again / "moved").exists(), (again / ".gitignore").exists()) == (True, False)


def test_equal_changes_have_equal_patches_whatever_the_user_has_set(clone: Path, tmp_path: Path) -> None:
    (clone / "code.py").write_text("one = 2\n")
    first = git_state(clone, tmp_path / "first")
    for setting in ("diff.noprefix=true", "color.ui=always", "diff.external=false"):
        git(clone, "config", *setting.split("="))
    assert git_state(clone, tmp_path / "second")["diff_sha256"] == first["diff_sha256"]


def test_files_that_may_hold_keys_never_count(clone: Path, tmp_path: Path) -> None:
    for name in ("config.sh", "results.json", "config.local.sh", ".env", ".env.local", "sub/.env", ".envs/prod"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("KEY=s3cret-value\n")
    (clone / "ignored").mkdir()
    (clone / "ignored" / "big.bin").write_text("s3cret-value")
    assert git_state(clone, tmp_path / "diff")["dirty"] is False
    (clone / "code.py").write_text("one = 2\n")
    git_state(clone, tmp_path / "diff")
    text = (tmp_path / "diff").read_text()
    assert ("one = 2" in text, "s3cret" in text, "KEY" in text) == (True, False, False)


def test_keys_in_the_code_are_masked(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    (clone / "code.py").write_text("token = 'hf_abcdefghijkl'\n")
    (clone / "new.py").write_text("login('hf_abcdefghijkl')\n")
    git_state(clone, tmp_path / "diff")
    text = (tmp_path / "diff").read_text()
    assert ("hf_abcdefghijkl" in text, text.count("<HF_TOKEN>")) == (False, 2)


def test_what_is_no_code_is_named_without_its_content(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(clone / "google.json"))
    (clone / "google.json").write_text('{"refresh": "s3cret"}')
    (clone / "id.pem").write_text("-----BEGIN PRIVATE KEY-----\ns3cret\n")
    (clone / "large.csv").write_text("1,2\n" * 300_000)
    (clone / "image.png").write_bytes(b"\x89PNG\0s3cret")
    (clone / "link").symlink_to("/etc/passwd")
    found = git_state(clone, tmp_path / "diff")
    assert found["left_out"] == ["google.json", "id.pem", "image.png", "large.csv", "link"]
    assert (found["dirty"], (tmp_path / "diff").read_text()) == (True, "")


def test_a_folder_that_is_no_clone_says_so(clone: Path, tmp_path: Path) -> None:
    inside = clone / "ignored" / "snapshot"
    inside.mkdir(parents=True)
    assert git_state(inside) == {"unknown": f"{inside} is no git clone"}
    assert (clone_of(inside), clone_of(tmp_path)) == (clone, None)


def test_a_patch_that_cannot_be_saved_costs_nothing_but_itself(clone: Path, tmp_path: Path) -> None:
    (clone / "code.py").write_text("one = 2\n")
    found = git_state(clone, tmp_path / "gone" / "diff")
    assert (found["dirty"], found["diff"], found["diff_lost"]) == (True, None, "No such file or directory")


def test_a_clone_without_a_commit_and_a_broken_one(clone: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q", "-b", "main")
    (fresh / "code.py").write_text("one = 1\n")
    assert git_state(fresh, tmp_path / "diff")["commit"] is None
    assert "+one = 1" in (tmp_path / "diff").read_text()
    (clone / ".git" / "HEAD").write_text("nonsense\n")
    assert git_state(clone)["unknown"].startswith("git status: fatal: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_clone_of_another_user_is_asked_too(clone: Path) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    os.chown(clone, 12345, 12345)
    os.chown(clone / ".git", 12345, 12345)
    assert git_state(clone).get("commit") == commit


def test_a_stage_records_what_it_ran_with(tmp_path: Path) -> None:
    """The project's own registry room, committed to a clone of its own and then changed."""
    root, folder = tmp_path / "checkout", tmp_path / "attempt"
    shutil.copytree(CHECKOUT / "registry", root / "registry", ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", "first")
    (root / "registry" / "extra.py").write_text("x = 1\n")
    program = (
        "import json, pathlib, sys; from registry.provenance import gather; "
        "print(json.dumps(gather(pathlib.Path(sys.argv[1]))))"
    )
    environment = {**os.environ, "SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": "2", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=root, env=environment, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["git"]["commit"] == git(root, "rev-parse", "HEAD")
    assert (found["git"]["branch"], found["git"]["dirty"]) == ("main", True)
    assert "+x = 1" in (folder / "code-2.diff").read_text()
    assert found["git"]["diff"] == str(folder / "code-2.diff")
    assert found["slurm"] == {"job_id": "77", "restart_count": "2"}
    assert {"started", "user", "host", "device", "python", "packages"} <= set(found)
    assert found["packages"]["numpy"]


def test_a_key_that_only_a_catalog_names_is_masked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_API_KEY", "own-0123456789")
    assert masked("refused: own-0123456789") == "refused: <OWN_API_KEY>"


def test_a_key_that_stands_in_another_leaves_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_API_KEY", "own-01234567")
    monkeypatch.setenv("B_API_KEY", "own-0123456789")
    assert masked("refused: own-0123456789, own-01234567") == "refused: <B_API_KEY>, <A_API_KEY>"


def test_a_key_that_json_escapes_is_masked_in_texts_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    key = 'a"b\\c-ü-0123'
    monkeypatch.setenv("OWN_API_KEY", key)
    found = masked_json({"said": [f"with {key}", 1, None, (key,)], key: {"is": key}})
    name = "<OWN_API_KEY>"
    assert found == {"said": [f"with {name}", 1, None, [name]], name: {"is": name}}
