"""`python -m benchmarks.train_gpu [SETTING...]`: what each setting of a training brings on one H100 or H200.

Llama-shaped models of 1B and 8B with random weights learn from rows of 8,192 random tokens. Printed are tokens per
second, MFU (model FLOPs, without what checkpointing computes again, over the GPU's dense bf16 peak), peak memory. Each
setting runs in a process of its own, so that one that runs out of memory costs no other. The weights lie below the
temporary folder meanwhile (16 GB for 8B). Where a GPU, a package or memory is missing it prints "not run" and why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.train.gpu_models import LENGTH, SHAPES, TINY_LENGTH, make_model
from benchmarks.train.gpu_settings import SETTINGS
from registry.console import Grid, answering

GOAL = 0.4  # MFU of our defaults, 8B on one H200
Found = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or say why not."""
    chosen = _parsed(arguments)
    with answering("benchmarks.train_gpu", chosen.json) as answer:
        reason = None if chosen.tiny else _missing()
        if reason is not None:
            answer.data = {"not_run": reason}
            answer.lines.append(f"not run: {reason}")
            return
        answer.data = {}
        for name in ["tiny"] if chosen.tiny else [chosen.model] if chosen.model else ["1b", "8b"]:
            found = measure(name, chosen.settings or list(SETTINGS), TINY_LENGTH if chosen.tiny else LENGTH)
            answer.data[name] = found
            answer.lines += ["", table(name, found)]


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=", ".join(SETTINGS) + " (default: all)")
    parser.add_argument("--model", choices=["1b", "8b"], help="one of the two alone")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, also without a GPU: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.settings if name not in SETTINGS]
    if unknown:
        parser.error(f"no setting {unknown[0]!r}; legal: {', '.join(SETTINGS)}")
    return chosen


def _missing() -> str | None:
    import torch

    return None if torch.cuda.device_count() else "no GPU is visible here"


def measure(name: str, settings: Sequence[str], length: int) -> dict[str, Found]:
    """The figures of each setting for the model `SHAPES[name]`, or why there are none (`not_run`)."""
    with tempfile.TemporaryDirectory(prefix="meds1-train-gpu-") as scratch:
        model = make_model(Path(scratch) / "model", SHAPES[name])
        found = {}
        for setting in settings:
            print(f"{name}: {setting}", file=sys.stderr)
            found[setting] = _in_own_process(setting, model, length)
    return found


def _in_own_process(setting: str, model: Path, length: int) -> Found:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train.gpu_run", setting, str(model), str(length)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        found: Found = json.loads(done.stdout.splitlines()[-1])
        return found
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return {"not_run": f"ended with {done.returncode}: {last[:200]}"}


def table(name: str, found: Mapping[str, Found]) -> Grid:
    """The figures for people; speeds are also given over that of our defaults on the same rows."""
    return Grid(
        ("setting", "tokens/s", "over ours", "MFU %", "peak GiB", ""),
        [_row(name, setting, found) for setting in found],
        title=f"{name}: {SETTINGS_NOTE}",
        right=(1, 2, 3, 4),
    )


SETTINGS_NOTE = "every setting is our defaults with one thing changed"


def _row(name: str, setting: str, found: Mapping[str, Found]) -> list[str]:
    one = found[setting]
    if "not_run" in one:
        return [setting, "", "", "", "", f"not run: {one['not_run']}"]
    base = found.get(SETTINGS[setting].beside, {}).get("tokens_per_second")
    mfu = one["mfu"]
    goal = setting == "ours" and name == "8b" and mfu is not None
    return [
        setting,
        f"{one['tokens_per_second']:,.0f}",
        f"{one['tokens_per_second'] / base:.2f}" if base else "",
        "" if mfu is None else f"{100 * mfu:.1f}",
        f"{one['peak_bytes'] / 2**30:.1f}",
        f"{one['attention']}" + (f", goal {100 * GOAL:g} %: {'met' if mfu >= GOAL else 'MISSED'}" if goal else ""),
    ]


if __name__ == "__main__":
    main()
