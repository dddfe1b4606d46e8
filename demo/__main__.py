"""`python -m demo make [--out DIR]` makes the demo's data, model, registry and catalog; `run` also runs the stages.

`python -m demo study FOLDER` makes an invented lab to look at: a registry of many experiments with predictions.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.make import make_demo
from demo.pipeline import CHECKOUT, run_demo
from demo.registry_copy import copy_registry
from demo.study import make_study
from demo.study_experiments import experiments
from registry.errors import Meds1Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("make", "run"):
        verbs.add_parser(verb).add_argument("--out", type=Path, default=CHECKOUT / "demo" / "run")
    study = verbs.add_parser("study")
    study.add_argument("folder", type=Path, help="a folder that is new or empty")
    study.add_argument("--experiments", type=int, default=0, help="at least so many, by more seeds of one of them")
    study.add_argument("--questions", type=int, default=200, help="of the first benchmark")
    chosen = parser.parse_args(arguments)
    if chosen.verb == "study":
        return _study(chosen)
    # Before torch is imported. For a model this small a second thread waits more than it works, above all on a machine
    # that is busy with something else.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    out = chosen.out.resolve()
    make_demo(out)
    files = copy_registry(CHECKOUT, out)
    print(f"demo: registry {files.registry}, catalog {files.catalog}")
    return run_demo(out, files) if chosen.verb == "run" else 0


def _study(chosen: argparse.Namespace) -> int:
    folder = chosen.folder.resolve()
    more_seeds = max(0, chosen.experiments - len(experiments()))
    try:
        lab = make_study(folder, questions=chosen.questions, more_seeds=more_seeds)
    except Meds1Error as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"demo: an invented study; look at it with\n"
        f"  export MEDS1_REGISTRY={lab.paths.file} CACHE_DIR={folder / 'cache'} MED_S1K_OUTPUT={folder / 'output'}\n"
        "  meds1 leaderboard"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
