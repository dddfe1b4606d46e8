"""Several processes with FSDP2 train what one does: losses and weights after 50 optimizer steps in float32."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts import Report, Say
from registry.console import Grid
from tests.training_case import finish, losses, make_case, start

STEPS = 50
MOST = 1e-3


@dataclass(frozen=True)
class Gap:
    """The greatest relative difference of a step's losses, and the distance of the weights over their norm."""

    losses: float
    weights: float

    @property
    def met(self) -> bool:
        return self.losses <= MOST and self.weights <= MOST


def compare_sharding(full: bool, say: Say) -> Report:
    """Compare 2 processes (full: also 4) with 1."""
    found = measure_gaps((2, 4) if full else (2,), STEPS, say)
    rows = [
        [f"{processes} processes", f"{gap.losses:.1e}", f"{gap.weights:.1e}", "met" if gap.met else "MISSED"]
        for processes, gap in found.items()
    ]
    header = ("beside 1 process", "greatest difference of a loss", "distance of weights over norm", f"<= {MOST:g}")
    return Report(
        data={str(processes): asdict(gap) for processes, gap in found.items()},
        lines=(Grid(header, rows, title=f"FSDP2, {STEPS} steps in float32, the same global batch", right=(1, 2)),),
        sound=all(gap.met for gap in found.values()),
    )


def measure_gaps(worlds: tuple[int, ...], steps: int, say: Say) -> dict[int, Gap]:
    """Train `steps` steps of 8 rows on 1 process and on each number of `worlds`."""
    with tempfile.TemporaryDirectory(prefix="meds1-sharding-") as scratch:
        single = _trained(Path(scratch) / "1", 1, steps, say)
        return {world: _gap(single, _trained(Path(scratch) / str(world), world, steps, say)) for world in worlds}


def _trained(folder: Path, processes: int, steps: int, say: Say) -> dict[str, Any]:
    say(f"sharding: {steps} steps on {processes} process{'es' if processes > 1 else ''}")
    case = make_case(folder, rows=8 * steps // 2, num_epochs=2, gradient_checkpointing=True)
    _start_small(Path(str(case.config.model.file_path)))
    return finish(start(case, processes), case)


def _start_small(model: Path) -> None:
    """Give the tiny model weights of the usual size: its own are large and magnify float noise from step to step."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(model)
    config.initializer_range = 0.02
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(model)


def _gap(single: Mapping[str, Any], several: Mapping[str, Any]) -> Gap:
    from safetensors.torch import load_file

    pairs = zip(losses(single), losses(several), strict=True)
    one, other = (load_file(Path(run["model_path"]) / "model.safetensors") for run in (single, several))
    distance = math.sqrt(sum(float((one[name] - other[name]).square().sum()) for name in one))
    norm = math.sqrt(sum(float(weight.square().sum()) for weight in one.values()))
    return Gap(max(abs(a - b) / abs(a) for a, b in pairs), distance / norm)
