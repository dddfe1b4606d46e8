"""In bf16 no copy of all weights is kept; in a process of its own, for all of which its precision holds."""

import subprocess
import sys
from pathlib import Path

from tests.training_case import ROOT

SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.grpo_case import make_grpo_case
from tests.training_case import make_case
from train import method

for name, make in (("sft", make_case), ("grpo", make_grpo_case)):
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    task = method.prepare(make(folder, num_epochs=0.5).context())
    arguments = method.arguments(task, folder / "checkpoints")
    arguments.bf16, arguments.mixed_precision = True, "bf16"  # as on a GPU
    seen = []
    trainer = method.build(task, arguments, [])
    trainer.model.model.norm.register_forward_hook(lambda *_: seen.append(torch.is_autocast_cache_enabled()))
    trainer.train()
    print("CACHE", name, set(seen), trainer.model.model.norm.weight.dtype)
"""


def test_autocast_keeps_no_copy_of_the_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for method in ("sft", "grpo"):
        assert f"CACHE {method} {{False}} torch.float32" in done.stdout
