"""In bf16 no copy of all weights is kept; in a process of its own, for all of which its precision holds."""

import subprocess
import sys
from pathlib import Path

from tests.training_case import ROOT

SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.training_case import make_case
from train.arguments import training_arguments
from train.task import prepare
from train.trainer import build_trainer

task = prepare(make_case(Path(sys.argv[1])).context())
arguments = training_arguments(task, Path(sys.argv[1]) / "checkpoints")
arguments.bf16, arguments.mixed_precision = True, "bf16"  # as on a GPU
seen = []
trainer = build_trainer(task, arguments, [])
trainer.model.model.norm.register_forward_hook(lambda *_: seen.append(torch.is_autocast_cache_enabled()))
trainer.train()
print("CACHE", set(seen), trainer.model.model.norm.weight.dtype)
"""


def test_autocast_keeps_no_copy_of_the_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "CACHE {False} torch.float32" in done.stdout
