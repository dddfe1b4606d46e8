"""Runs the demo's experiments with the project's own command, then prints the leaderboard and draws the figure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from demo.registry_copy import TAG, RegistryFiles

CHECKOUT = Path(__file__).resolve().parents[1]


def run_demo(out: Path, files: RegistryFiles) -> int:
    """Curate, train and evaluate what is due, then compare; return the first exit code that is not 0.

    Everything is written below `out`: nothing that the user has set up elsewhere is touched.
    """
    environment = {
        **os.environ,
        "MEDS1_REGISTRY": str(files.registry),
        "MEDS1_CONFIG": str(files.catalog),
        "CACHE_DIR": str(out / "cache"),
        "MED_S1K_OUTPUT": str(out / "output"),
        "HF_HUB_OFFLINE": "1",
        # The environment that runs this program has the dependencies; any other that is active may not.
        "VIRTUAL_ENV": sys.prefix,
    }
    started = time.monotonic()
    for arguments in (
        ["run", "--tag", TAG],
        ["leaderboard", "--tag", TAG],
        ["plot", "comparison", "--tag", TAG, "--out", str(out / "figures")],
    ):
        print(f"$ meds1 {' '.join(arguments)}", flush=True)
        code = subprocess.run([CHECKOUT / "bin" / "meds1", *arguments], env=environment, check=False).returncode
        if code != 0:
            return code
    print(f"demo: done in {time.monotonic() - started:.0f} s; everything lies under {out}")
    return 0
