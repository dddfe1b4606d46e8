"""Embeddings: what a model makes of a text, the same whatever stands beside it, computed once."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.embeddings import HASHING_DIMENSION, embed, encode, load_encoder
from data.array_store import computed_once
from registry.catalog import ModelEntry
from registry.errors import Meds1Error, StageStopped, UsageError
from registry.stage import StageContext
from registry.stopping import StopFlag
from tests.stages import make_context
from tests.tiny import make_tiny_model

TEXTS = [
    "Which drug lowers the blood pressure?",
    "Fever",
    "The patient needs an inhibitor. " * 4,
    "Which drug lowers the blood pressure?",
    "βeta–blocker, 5 mg/d — ×2",
    *(f"Patient {number} has had a cough for {number % 9} days" for number in range(30)),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights as transformers saves it, with a chat template that has no part in embedding."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("plain")
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path_factory.mktemp("llama"), hidden=16, layers=1))
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, initializer_range=0.5, **shape)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sentences(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a sentence-transformers model that takes the first token's state."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder = tmp_path_factory.mktemp("sentences")
    SentenceTransformer(modules=[load_encoder(plain, 128)[0], Pooling(32, "cls")]).save(str(folder))
    return folder


def context_of(folder: Path, model: Path | None, max_length: int = 128) -> StageContext:
    """The context of a curation that embeds with `model`; null: by hashing."""
    name = "hashing" if model is None else "encoder"
    curation = {"method": "embedding-diversity", "n_samples": 2, "embedding_model": name}
    context = make_context(folder / "run", folder, curation=curation)
    entry = None if model is None else ModelEntry(file_path=str(model), max_length=max_length)
    return replace(context, config=context.config.model_copy(update={"embedding_model": entry}))


def states(model: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """The last hidden states of each text by itself, of shape (tokens, dimension)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    with torch.no_grad():
        return [network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy() for text in texts]


def unit(vectors: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.stack(vectors)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def test_a_plain_model_embeds_by_the_mean_of_its_last_states(plain: Path, tmp_path: Path) -> None:
    found = embed(TEXTS, context_of(tmp_path, plain))
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(found, unit([each.mean(axis=0) for each in states(plain, TEXTS)]), atol=1e-5)


def test_a_model_of_sentence_transformers_embeds_as_its_folder_says(
    plain: Path, sentences: Path, tmp_path: Path
) -> None:
    found = embed(TEXTS, context_of(tmp_path, sentences))
    np.testing.assert_allclose(found, unit([each[0] for each in states(plain, TEXTS)]), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 8])
def test_a_texts_vector_has_the_same_bytes_whatever_stands_beside_it(plain: Path, rows: int) -> None:
    encoder, texts = load_encoder(plain, 128), sorted(set(TEXTS))
    together = encode(encoder, texts, StopFlag(), rows)
    for part in (slice(0, 1), slice(5, 16), slice(20, None)):
        assert encode(encoder, texts[part], StopFlag(), rows).tobytes() == together[part].tobytes()
    backwards = encode(encoder, texts[::-1], StopFlag(), rows)
    assert backwards[::-1].tobytes() == together.tobytes()


def test_what_lies_beyond_the_entrys_length_decides_nothing(plain: Path, tmp_path: Path) -> None:
    words = "Which drug lowers the blood pressure of a patient with diabetes? " * 3
    short = embed([words, words + "No."], context_of(tmp_path, plain, max_length=20))
    assert np.array_equal(short[0], short[1])
    longer = embed([words, words + "No."], context_of(tmp_path, plain, max_length=120))
    assert not np.array_equal(longer[0], longer[1])
    assert not np.array_equal(short[0], longer[0])


def test_what_is_embedded_once_needs_no_model_again(plain: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path, plain)
    first = embed(TEXTS, context)
    program = (
        "import pickle, sys\n"
        "from curation.embeddings import embed\n"
        "texts, context = pickle.loads(sys.stdin.buffer.read())\n"
        "found = embed(texts, context)\n"
        "assert not {'torch', 'sentence_transformers', 'sklearn'} & sys.modules.keys()\n"
        "sys.stdout.buffer.write(found.tobytes())\n"
    )
    sent = pickle.dumps((TEXTS[::-1], context))
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True)
    assert done.stdout == first[::-1].tobytes()


def test_another_model_another_length_and_another_pooling_have_stores_of_their_own(
    plain: Path, sentences: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in sentences.rglob("*"):
        if file.is_file():
            copy = other / file.relative_to(sentences)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    settings = other / "1_Pooling" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"pooling_mode": "max"}))
    vectors = [
        embed(TEXTS[:1], context_of(tmp_path, model, length))
        for model, length in ((plain, 128), (plain, 4), (sentences, 128), (other, 128), (None, 128))
    ]
    assert len({each.tobytes() for each in vectors}) == len(list((tmp_path / "shared" / "embeddings").iterdir())) == 5


def test_a_stop_keeps_what_is_done(plain: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path, plain)
    done = embed(TEXTS[:3], context)
    context.stop.handle(signal.SIGTERM, None)
    with pytest.raises(StageStopped, match="embedding the texts: those that are done are kept"):
        embed(TEXTS, context)
    assert np.array_equal(embed(TEXTS[:3], context), done)


def test_a_store_keeps_each_chunk_before_the_next(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def compute(texts: Sequence[str]) -> np.ndarray:
        asked.append(list(texts))
        if "d" in texts:
            raise StageStopped("stopped")
        return np.array([ord(text) for text in texts])

    with pytest.raises(StageStopped):
        computed_once("abcde", tmp_path, compute, 2)
    assert asked == [["a", "b"], ["c", "d"]]
    assert computed_once("bxa", tmp_path, compute, 2).tolist() == [98, 120, 97]
    assert asked[2:] == [["x"]]


def test_hashing_needs_no_model(tmp_path: Path) -> None:
    texts = ["Fever and cough", "fever AND cough!", "cough and fever", "?!", "Fever and cough"]
    found = embed(texts, context_of(tmp_path, None))
    assert found.shape == (5, HASHING_DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0, 1], atol=1e-6)
    similarity = found @ found.T
    np.testing.assert_allclose(similarity[0, [1, 4]], 1, atol=1e-6)
    assert 0.1 < similarity[0, 2] < 0.9  # the same words in other pairs


def test_no_texts_have_no_vectors(tmp_path: Path) -> None:
    assert len(embed([], context_of(tmp_path, None))) == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", '{"model_type": "no-such-model"}'),
        ("config.json", "{"),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "no weights"),
        ("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "no.such.Module"}]'),
    ],
)
def test_a_folder_that_cannot_embed_is_one_line(plain: Path, tmp_path: Path, file: str, content: str) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for source in plain.iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    (folder / file).write_text(content)
    with pytest.raises(UsageError, match="sentence-transformers cannot load it") as caught:
        embed(TEXTS, context_of(tmp_path, folder))
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_named(plain: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder: Any = tmp_path / "damaged"
    folder.mkdir()
    for source in plain.iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"] * np.float32("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Meds1Error, match="the embeddings of encoder are not all numbers"):
        embed(TEXTS, context_of(tmp_path, folder))
