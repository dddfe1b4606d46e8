"""On a real Slurm cluster: a job runs the code as it was when it was submitted, and records which that was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick_lab import HELD, QuickLab, make_quick_lab, on_cluster, wait_for_jobs

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[QuickLab]:
    """A lab whose code is a clone of its own and says in eval's metrics which it is; its jobs wait to be released."""
    made = make_quick_lab(tmp_path / "lab", (), HELD)
    stage = made.code / "eval" / "stage.py"
    text = stage.read_text().replace("from registry.errors", "from eval.version import VERSION\nfrom registry.errors")
    stage.write_text(text.replace('metrics={"world_size"', 'metrics={"version": VERSION, "world_size"'))
    write_version(made, "first")
    (made.code / ".gitignore").write_text("__pycache__/\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    for line in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *line], cwd=made.code, check=True)
    with on_cluster(made):
        yield made


def write_version(lab: QuickLab, version: str) -> None:
    """Edit the code of the eval stage."""
    (lab.code / "eval" / "version.py").write_text(f"VERSION = {version!r}\n")


def run_released(lab: QuickLab, job: str) -> None:
    subprocess.run(["scontrol", "update", f"jobid={job}", "starttime=now"], check=True)
    wait_for_jobs(lab)


def test_a_waiting_job_runs_the_code_of_its_submission_unless_it_is_live(lab: QuickLab) -> None:
    write_version(lab, "old")
    job = lab.submit("base")["base", "eval"]
    write_version(lab, "new")
    run_released(lab, job)

    result = lab.results("base")["eval"]
    assert (result["status"], result["metrics"]["version"]) == ("completed", "old"), lab.logs()
    code = Path(json.loads((Path(result["run_dir"]) / "attempts" / "1" / "job.json").read_text())["code"])
    git = result["provenance"]["git"]
    assert (code.parent, code.name) == (lab.folder / "cache" / "snapshots", git["snapshot"])
    assert (git["branch"], git["dirty"], "+VERSION = 'old'" in Path(git["diff"]).read_text()) == ("main", True, True)
    assert any("git apply" in line for line in lab.ask("reproduce", "base", "--dry-run")["differences"]["code"])

    job = lab.submit("base", "--force", "--live")["base", "eval"]
    write_version(lab, "newest")
    run_released(lab, job)

    result = lab.results("base")["eval"]
    assert (result["status"], result["metrics"]["version"]) == ("completed", "newest"), lab.logs()
    assert "snapshot" not in result["provenance"]["git"]
    assert lab.ask("gc")["items"] == []
