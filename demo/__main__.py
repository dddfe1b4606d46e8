"""`python -m demo make [--out DIR]` makes the demo's data, model, registry and catalog; `run` also runs the stages."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from demo.make import make_demo
from demo.pipeline import CHECKOUT, run_demo
from demo.registry_copy import copy_registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("verb", choices=("make", "run"))
    parser.add_argument("--out", type=Path, default=CHECKOUT / "demo" / "run")
    chosen = parser.parse_args(arguments)
    # Before torch is imported. For a model this small a second thread waits more than it works, above all on a machine
    # that is busy with something else.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    out = chosen.out.resolve()
    make_demo(out)
    files = copy_registry(CHECKOUT, out)
    print(f"demo: registry {files.registry}, catalog {files.catalog}")
    return run_demo(out, files) if chosen.verb == "run" else 0


if __name__ == "__main__":
    raise SystemExit(main())
