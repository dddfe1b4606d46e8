"""Token counts by a model's own tokenizer, kept by content for all experiments."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.tokens import count_tokens
from registry.errors import MissingError
from tests.tiny import make_tiny_model

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), max_length=32)


def test_count_tokens(tmp_path: Path, model: Path) -> None:
    from transformers import AutoTokenizer

    texts = ["", "one", "The patient needs an inhibitor. " * 500, "β\n\n\u2028"] * 600
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    expected = {text: len(tokenizer.tokenize(text)) for text in set(texts)}
    for shared in (None, tmp_path, tmp_path):
        assert count_tokens(texts, model, shared) == [expected[text] for text in texts]
    assert expected[""] == 0
    assert count_tokens([], model) == []


def test_count_tokens_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no model folder"):
        count_tokens(["x"], tmp_path / "gone")
    with pytest.raises(MissingError, match="no tokenizer") as caught:
        count_tokens(["x"], tmp_path)
    assert "\n" not in str(caught.value)


def test_counts_that_are_there_do_not_load_the_tokenizer(tmp_path: Path, model: Path) -> None:
    texts = ["The patient", "needs an inhibitor."]
    counts = count_tokens(texts, model, tmp_path)
    script = (
        "import sys; from pathlib import Path; from data.tokens import count_tokens;"
        "print(count_tokens(sys.argv[3:], Path(sys.argv[1]), Path(sys.argv[2])), 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(model), str(tmp_path), *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"{counts} False"


def test_counts_belong_to_the_tokenizer_wherever_it_lies(tmp_path: Path, model: Path) -> None:
    def stores() -> int:
        return len(list((tmp_path / "shared" / "tokens").iterdir()))

    texts = ["The patient needs"]
    (counts,) = count_tokens(texts, model, tmp_path / "shared")
    other = shutil.copytree(model, tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    assert count_tokens(texts, other, tmp_path / "shared") == [counts]
    assert stores() == 1
    third = shutil.copytree(model, tmp_path / "third")
    tokenizer = json.loads((third / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    (third / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert count_tokens(texts, third, tmp_path / "shared") == [len(texts[0])]
    assert stores() == 2
    assert counts < len(texts[0])


def test_a_folder_that_is_gone_has_no_counts(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no model folder"):
        count_tokens(["x"], tmp_path / "gone", tmp_path)
