"""`tests/training_case.py` with the completions of vLLM in the training's process, as on a GPU.

vLLM's CPU build lays its weights out anew when it has read them, and then takes no new ones; here it leaves them as
they are. That choice of layout is all that is put aside.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def leave(layer: Any, remove_weight: bool) -> None:
    """vLLM's `dispatch_cpu_unquantized_gemm` without the new layout."""
    import torch

    layer.cpu_linear = torch.nn.functional.linear


if __name__ == "__main__":
    from vllm.model_executor.layers import utils

    from tests import training_case
    from train import grpo_task

    utils.dispatch_cpu_unquantized_gemm = leave
    grpo_task.generation_engine = lambda: "vllm"
    sys.exit(training_case.main())
