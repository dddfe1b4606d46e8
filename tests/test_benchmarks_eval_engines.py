"""The benchmarks of the engines, on what runs here: the GPU one says that it has none, and its measuring works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.eval.throughput import measure_throughput
from benchmarks.eval_gpu import measure
from inference.engine import Sampling
from tests.tiny import NEEDS_VLLM

ROOT = Path(__file__).resolve().parents[1]


def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, "-c", "from benchmarks.eval_gpu import main; main()"]
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout in ("not run: no GPU is visible here\n", "not run: vllm is not installed here\n")


@NEEDS_VLLM
@pytest.mark.full
def test_a_model_without_weights_is_measured() -> None:
    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 1_024}
    seconds, tokens, items = measure(shape, 5, Sampling(max_tokens=7))
    assert (tokens, items) == (35, 5)
    assert seconds > 0


@NEEDS_VLLM
@pytest.mark.full
def test_both_ways_generate_the_same_number_of_tokens() -> None:
    report = measure_throughput(False, lambda text: None)
    assert report.sound
    assert len(report.data["ours"]) == len(report.data["bare"]) == 3
