"""In bf16 no copy of all weights is kept; in a process of its own, for all of which its precision holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training_case import ROOT

SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.grpo_case import make_grpo_case
from tests.training_case import make_case
from train import method

made = {"sft": make_case, "grpo": make_grpo_case}[sys.argv[2]](Path(sys.argv[1]), num_epochs=0.5)
task = method.prepare(made.context())
arguments = method.arguments(task, Path(sys.argv[1]) / "checkpoints")
arguments.bf16, arguments.mixed_precision = True, "bf16"  # as on a GPU
seen = []
trainer = method.build(task, arguments, [])
trainer.model.model.norm.register_forward_hook(lambda *_: seen.append(torch.is_autocast_cache_enabled()))
trainer.train()
print("CACHE", set(seen), trainer.model.model.norm.weight.dtype)
"""


@pytest.mark.parametrize("method", ["sft", "grpo"])
def test_autocast_keeps_no_copy_of_the_weights(tmp_path: Path, method: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), method], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "CACHE {False} torch.float32" in done.stdout
