"""What a training records, held against figures worked out by hand and against other ways to count."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from registry.stage import StageOutput
from tests.training_case import Case, curve, make_case
from train.batch import BatchPlan
from train.curve import draw_curve
from train.flops import flops_per_token, peak_flops
from train.log import log_table
from train.measures import utilisation
from train.order import Layout, lay_out
from train.stage import run
from train.task import prepare
from train.tokens import by_forward_pass, cumulative, packing_efficiency, padding_share

# Llama 3.1 8B, by hand: in each of 32 layers 2 x 4096 x 4096 (q, o), 2 x 4096 x 1024 (k, v) and 3 x 4096 x 14336 (MLP),
# and 128256 x 4096 that give the next token; attention 12 x 32 layers x 32 heads x 128 for each token seen.
WEIGHTS = 32 * 218_103_808 + 525_336_576
ATTENTION = 1_572_864


def llama_8b() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )


def test_the_flops_of_a_token_are_those_worked_out_by_hand() -> None:
    assert flops_per_token(llama_8b(), 8192) == 6 * WEIGHTS + ATTENTION * 4096 == 51_470_401_536
    assert flops_per_token(llama_8b(), 0, trained_parameters=0) == 4 * WEIGHTS
    lora = flops_per_token(llama_8b(), 8192, trained_parameters=41_943_040)
    assert lora == 4 * WEIGHTS + 2 * 41_943_040 + ATTENTION * 4096
    assert utilisation(51_470_401_536, 80_000 / 8, 989e12) == pytest.approx(0.5204, abs=1e-4)


def test_torch_counts_the_same_flops_but_for_the_causal_half(tmp_path: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    case = make_case(tmp_path)
    source = str(case.config.model.file_path)
    model = AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager")  # computes what is masked too
    ids = torch.arange(96).reshape(2, 48)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    assert counter.get_total_flops() / ids.numel() == flops_per_token(model.config, 2 * 48)


PEAKS = {
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA B200": 2.25e15,
    "NVIDIA GeForce GTX 1080": None,
}


@pytest.mark.parametrize(("name", "peak"), PEAKS.items())
def test_the_peak_of_a_gpu_is_its_makers_or_unknown(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_an_architecture_of_unknown_sizes_has_no_flops() -> None:
    from transformers import GPT2Config

    assert flops_per_token(GPT2Config(), 100) is None


LENGTHS = [10, 4, 6, 3, 5]
# Two processes of two rows each and two passes a step: the second step of the epoch has one row and seven fillers.
UNPACKED = Layout(2, 2, ((*((row,) for row in (0, 2, 1, 3)), (), (), (), (), (4,), *[()] * 7),))


def test_the_tokens_of_a_step_are_those_of_its_rows() -> None:
    assert by_forward_pass(UNPACKED, 2, LENGTHS) == [[23, 0], [5, 0]]
    assert cumulative(UNPACKED, 2, LENGTHS) == [23, 28]


def test_padding_and_fillers_are_told_from_rows() -> None:
    # Computed: 2 x 10, 2 x 4, then two pairs of fillers (2 x 2 each), 2 x 5, three pairs of fillers.
    assert padding_share(UNPACKED, LENGTHS) == pytest.approx(1 - 28 / (20 + 8 + 8 + 10 + 12))
    assert padding_share(Layout(1, 5, (tuple((row,) for row in range(5)),)), LENGTHS) == 0.0


def test_packed_sequences_are_as_full_as_their_rows_make_them() -> None:
    packed = Layout(1, 3, (((0,), (2, 1), (4, 3)),))
    assert packing_efficiency(packed, LENGTHS, 10) == 28 / 30
    assert padding_share(packed, LENGTHS) == 0.0


def test_no_layout_changes_the_tokens_of_a_step() -> None:
    lengths = [7 + number * 13 % 29 for number in range(50)]
    for world_size in (1, 2, 4):
        plans = [BatchPlan(16, per_device, 16 // world_size // per_device, world_size) for per_device in (1, 4)]
        layouts = [lay_out(lengths, plan, 2, 7, capacity) for plan in plans for capacity in (None, 64)]
        counted = {tuple(cumulative(layout, world_size, lengths)) for layout in layouts}
        assert len(counted) == 1
        assert counted.pop()[-1] == 2 * sum(lengths)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, StageOutput]:
    case = make_case(tmp_path_factory.mktemp("trained"), num_epochs=2.5)
    return case, run(case.context())


def test_the_log_has_a_row_for_each_step_and_its_validation(trained: tuple[Case, StageOutput]) -> None:
    rows = curve(trained[1].artifacts)
    assert [row["step"] for row in rows] == list(range(1, 11))
    for name in ("epoch", "loss", "learning_rate", "grad_norm", "mean_token_accuracy", "entropy", "tokens", "seconds"):
        assert all(row[name] is not None for row in rows), name
    validated = [row["step"] for row in rows if row["eval_loss"] is not None]
    assert validated == [4, 8, 10]
    assert [row["step"] for row in rows if row["eval_mean_token_accuracy"] is not None] == validated


def test_the_metrics_are_the_last_and_the_best_of_the_log(trained: tuple[Case, StageOutput]) -> None:
    rows, metrics = curve(trained[1].artifacts), trained[1].metrics
    for metric, column, best in (
        ("train_loss", "loss", min),
        ("train_token_accuracy", "mean_token_accuracy", max),
        ("validation_loss", "eval_loss", min),
        ("validation_token_accuracy", "eval_mean_token_accuracy", max),
    ):
        values = [row[column] for row in rows if row[column] is not None]
        assert (metrics[metric], metrics[f"best_{metric}"]) == (values[-1], best(values))


def test_work_and_time_are_counted(trained: tuple[Case, StageOutput]) -> None:
    case, output = trained
    rows, metrics, task = curve(output.artifacts), output.metrics, prepare(case.context())
    steps = [epoch[start : start + 8] for epoch in task.layout.elements for start in range(0, 32, 8)]
    each = [sum(task.train.lengths[row] for element in step for row in element) for step in steps]
    assert [row["tokens"] for row in rows] == list(accumulate(each))[:10]
    labels = task.train.dataset["labels"]
    learned = [row for step in steps[:10] for element in step for row in element]
    assert metrics["completion_tokens"] == sum(label != -100 for row in learned for label in labels[row])
    evaluating = sum(row["eval_runtime"] or 0.0 for row in rows)
    assert metrics["tokens_per_second"] == pytest.approx(
        metrics["tokens"] / (metrics["seconds"] - evaluating), rel=1e-3
    )
    assert metrics["peak_memory_bytes"] >= rows[-1]["memory_bytes"] > 0
    assert (metrics["gpu_hours"], metrics["mfu"], metrics["device_name"]) == (0.0, None, None)
    assert (metrics["attempts"], metrics["steps_this_attempt"], metrics["packing_efficiency"]) == (1, 10, None)
    assert 0.0 < metrics["padding_share"] < 0.5
    json.dumps(metrics, allow_nan=False)


def test_no_layout_changes_the_accuracy_and_the_entropy(trained: tuple[Case, StageOutput], tmp_path: Path) -> None:
    whole = run(make_case(tmp_path, num_epochs=2.5, per_device_batch_size=8).context())
    for name in ("mean_token_accuracy", "entropy", "eval_mean_token_accuracy"):
        one, other = (
            [row[name] for row in curve(output.artifacts) if row[name] is not None] for output in (trained[1], whole)
        )
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


def test_the_accuracies_are_shares_of_all_tokens(trained: tuple[Case, StageOutput]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    case, output = trained
    model = AutoModelForCausalLM.from_pretrained(output.artifacts["model_path"])
    validation = prepare(case.context()).validation
    assert validation is not None
    right = total = 0
    for row in validation.dataset:
        labels = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            chosen = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].argmax(-1)
        right += int((chosen == labels).sum())
        total += int((labels != -100).sum())
    assert output.metrics["validation_token_accuracy"] == pytest.approx(right / total, abs=1e-6)


def test_what_else_is_logged_gets_a_column(tmp_path: Path) -> None:
    history = [
        {"step": 1, "loss": 0.1, "reward": 0.5, "tokens": 7},
        {"step": 1, "eval_loss": 0.2, "tokens": 7},
        {"step": 2, "loss": 0.1, "reward": 0.7, "rewards/letter": 1, "tokens": 9},
        {"step": 2, "train_runtime": 3.0},
    ]
    rows = log_table(history).to_pylist()
    assert [(row["step"], row["reward"], row["rewards/letter"]) for row in rows] == [(1, 0.5, None), (2, 0.7, 1.0)]
    assert [row["eval_loss"] for row in rows] == [0.2, None]
    draw_curve(history, "costs $5 or $6", tmp_path / "curve.png")


@pytest.mark.parametrize("validations", [[], [{"step": 1, "eval_loss": 2.0}]])
def test_the_curve_is_drawn_of_a_single_step_too(tmp_path: Path, validations: list[dict[str, float]]) -> None:
    from matplotlib.image import imread

    draw_curve([{"step": 1, "loss": 3.0}, *validations], "tiny", tmp_path / "curve.png")
    pixels = imread(tmp_path / "curve.png")
    assert min(pixels.shape[:2]) > 700
    orange = (abs(pixels[..., :3] - (0.835, 0.369, 0.0)) < 0.02).all(axis=-1).sum()
    assert (orange > 50) == bool(validations)
