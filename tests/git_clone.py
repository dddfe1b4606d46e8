"""A git clone of one commit, for the tests of what is recorded and copied of the code."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str:
    """Run git in `root`; returns what it says."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_first(root: Path) -> Path:
    """Commit what lies in `root`, beside the files that never leave a clone, on the branch `work`; returns `root`."""
    (root / "config.sh").write_text("# settings\n")
    (root / "results.json").write_text("{}\n")
    (root / ".gitignore").write_text("ignored/\n")
    git(root, "init", "-q", "-b", "work")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", "first")
    return root
