"""An engine that cannot run its model, and a budget of thinking that does not fit, are told before any job runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageError
from tests.registry_case import base, tuned, write_lab

SERVED = {"api_model": "gpt", "max_length": 1000}
LOADED = {"file_path": "model", "max_length": 1000}
QWEN = {**LOADED, "format": "qwen"}
LABELLED = {"method": "random", "n_samples": 5}
JUDGE = {"judge": {"model_key": "judge", "rubrics": ["report"]}}


@pytest.mark.parametrize(
    ("experiment", "models", "said"),
    [
        (base(), {"tiny": SERVED}, "eval.engine: vllm cannot run tiny, which is behind an API; use openai"),
        (
            base(eval={"engine": "openai"}),
            {"tiny": LOADED},
            "eval.engine: openai cannot run tiny, which has weights of its own; use vllm",
        ),
        (
            base(eval=JUDGE),
            {"tiny": LOADED, "judge": LOADED},
            "eval.judge.engine: openai cannot run judge, which has weights",
        ),
        (tuned(eval={"engine": "openai"}), {"tiny": LOADED}, "eval.engine: a trained model is loaded from its folder"),
        (
            tuned(curation={"method": "s1", "n_samples": 5, "difficulty": {"engine": "openai"}}),
            {"tiny": LOADED},
            "curation.difficulty.engine: openai cannot run tiny, which has weights",
        ),
        (
            tuned(curation={**LABELLED, "labels": {"model_key": "tiny", "engine": "vllm", "batch": True}}),
            {"tiny": LOADED},
            "curation.labels.batch: only a vendor has a batch API, and tiny runs here; remove batch",
        ),
        (
            tuned(curation={**LABELLED, "labels": {"model_key": "judge", "engine": "vertex", "batch": True}}),
            {"tiny": LOADED, "judge": {"vertex_model": "gemini", "max_length": 1000}},
            "curation.labels.batch: a batch of judge needs a folder in Cloud Storage; give models.judge.vertex_bucket",
        ),
        (
            base(eval={"thinking": {"budget_tokens": 8}, "max_tokens": 8}),
            {"tiny": LOADED},
            "eval.thinking: a budget of thinking needs marks around it, and the format plain has none",
        ),
        (
            base(eval={"thinking": {"budget_tokens": [8, 992]}, "max_tokens": 8}),
            {"tiny": QWEN},
            "eval.thinking: a budget of 992 and max_tokens 8 leave no room for a prompt in the model's max_length 1000",
        ),
    ],
)
def test_what_cannot_run_is_refused(
    tmp_path: Path, experiment: dict[str, Any], models: dict[str, Any], said: str
) -> None:
    lab = write_lab(tmp_path, {"e": experiment}, models=models)
    with pytest.raises(UsageError) as caught:
        lab.effective(lab.read(), "e")
    assert f"experiments.e.config.{said}" in str(caught.value)


@pytest.mark.parametrize(
    ("experiment", "models"),
    [
        (base(eval={"engine": "openai"}), {"tiny": SERVED}),
        (base(eval=JUDGE), {"tiny": LOADED, "judge": SERVED}),
        (base(eval={"thinking": {"budget_tokens": 900}, "max_tokens": 8}), {"tiny": QWEN}),
        (tuned(eval={"thinking": {"budget_tokens": 900}, "max_tokens": 8}), {"tiny": LOADED}),
    ],
)
def test_what_can_run_is_not(tmp_path: Path, experiment: dict[str, Any], models: dict[str, Any]) -> None:
    lab = write_lab(tmp_path, {"e": experiment}, models=models)
    assert lab.effective(lab.read(), "e").experiment == "e"
