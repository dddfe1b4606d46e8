"""Texts as vectors of length 1, kept by content for all experiments.

Embeddings decide which rows are chosen, so a text's must not depend, not even in its last bit, on which other texts are
embedded with it: a batch holds texts of equally many tokens, so that nothing is padded, and always the same number of
them, filled up with the last one, so that the device computes each in the same way.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.array_store import computed_once
from data.hub import resolve
from registry.canonical import sha256
from registry.contents import Contents
from registry.errors import StageFailure, UsageError
from registry.stage import StageContext
from registry.stopping import StopFlag
from registry.versions import EMBEDDINGS_VERSION

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
HASHING_DIMENSION: Final = 512
_CHUNK: Final = 512  # texts that are lost at most when the stage is stopped
_ROWS_ON_CPU: Final = 1
_ROWS_ON_GPU: Final = 8


def embed(texts: Sequence[str], context: StageContext) -> np.ndarray:
    """Return float32 vectors of length 1 for `texts`, of shape (texts, dimension).

    The catalog's `embedding_model` embeds: a sentence-transformers model as its folder says, any other by the mean of
    its last hidden states; a text is cut off at the entry's `max_length`. Without one, words and pairs of words are
    hashed. A text in which there is nothing to embed has the zero vector, which is similar to nothing.
    Raises UsageError for a model that cannot embed texts, MissingError for one that is not on this machine, and
    StageStopped when the stage is to leave.
    """
    import numpy as np

    compute, store = _hashing() if context.config.embedding_model is None else _model(context)
    ordered = sorted(set(texts), key=lambda text: (len(text), text))
    values = computed_once(ordered, context.shared / "embeddings" / store, compute, _CHUNK)
    place = {text: index for index, text in enumerate(ordered)}
    found: np.ndarray = values[np.array([place[text] for text in texts], dtype=int)]
    return found


Embedder = Callable[[Sequence[str]], "np.ndarray"]


def _hashing() -> tuple[Embedder, str]:
    """Hashed counts of words and pairs of words, and the name of their store."""

    def compute(texts: Sequence[str]) -> np.ndarray:
        import numpy as np
        from sklearn.feature_extraction.text import HashingVectorizer

        # Words of one character count too: type 1 is not type 2.
        hashed = HashingVectorizer(
            n_features=HASHING_DIMENSION, ngram_range=(1, 2), token_pattern=r"\w+", dtype=np.float32
        )
        return _unit(hashed.transform(texts).toarray())

    return compute, f"hashing-{HASHING_DIMENSION}-{EMBEDDINGS_VERSION}"


def _model(context: StageContext) -> tuple[Embedder, str]:
    """The catalog's model, loaded when it is first asked, and the name of its store."""
    entry = context.config.embedding_model
    assert entry is not None
    key = context.config.embedding_model_key
    folder = resolve(entry, "model", key)
    loaded: list[Any] = []

    def compute(texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        if not loaded:
            loaded.append(load_encoder(folder, entry.max_length))
        values = encode(loaded[0], texts, context.stop)
        if not np.isfinite(values).all():
            raise StageFailure(f"the embeddings of {key} are not all numbers; its weights are damaged, or name another")
        return _unit(values)

    model = Contents.from_environment().model(str(folder))
    return compute, sha256({"model": model, "max_length": entry.max_length, "version": EMBEDDINGS_VERSION})[:16]


def load_encoder(folder: Path, max_length: int) -> Any:
    """Load a `SentenceTransformer` in float32 that cuts texts off at `max_length` tokens, or at its own limit.

    Raises UsageError when the folder holds no model that can embed texts.
    """
    from safetensors import SafetensorError

    log.info("loading %s to embed texts", folder)
    try:
        encoder = _loaded(folder)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"{folder}: sentence-transformers cannot load it ({type(error).__name__}: {reason}); "
            "name a model that embeds texts as curation.embedding_model"
        ) from error
    if encoder.tokenizer is None:
        raise UsageError(f"{folder}: has no tokenizer, so it embeds no texts; name another curation.embedding_model")
    if encoder.tokenizer.pad_token is None:  # nothing is padded, but the tokenizer is asked to
        encoder.tokenizer.pad_token = encoder.tokenizer.eos_token
    encoder.max_seq_length = min(max_length, encoder.max_seq_length or max_length)
    return encoder


def _loaded(folder: Path) -> Any:
    """A saved `SentenceTransformer`, or one around a plain model, which is given the bare text and no chat template."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    whole = {"dtype": torch.float32}
    if (folder / "modules.json").is_file():
        return SentenceTransformer(str(folder), local_files_only=True, model_kwargs=whole)
    text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    model = Transformer(str(folder), model_kwargs=whole, modality_config=text, module_output_name="token_embeddings")
    return SentenceTransformer(modules=[model, Pooling(model.get_embedding_dimension(), "mean")])


def encode(encoder: Any, texts: Sequence[str], stop: StopFlag, rows: int | None = None) -> np.ndarray:
    """Embed `texts` in batches of `rows` texts of equally many tokens (null: what suits the device)."""
    import numpy as np

    rows = rows or (_ROWS_ON_CPU if encoder.device.type == "cpu" else _ROWS_ON_GPU)
    by_length: dict[int, list[int]] = defaultdict(list)
    tokens = encoder.tokenizer(list(texts), truncation=True, max_length=encoder.max_seq_length)["input_ids"]
    for index, ids in enumerate(tokens):
        by_length[len(ids)].append(index)
    values = np.zeros((len(texts), encoder.get_embedding_dimension()), dtype=np.float32)
    of_batch = partial(encoder.encode, batch_size=rows, show_progress_bar=False)
    for length in sorted(by_length.keys() - {0}):
        places = by_length[length]
        for start in range(0, len(places), rows):
            stop.check("embedding the texts: those that are done are kept")
            batch = places[start : start + rows]
            filled = batch + batch[-1:] * (rows - len(batch))
            values[batch] = of_batch([texts[place] for place in filled])[: len(batch)]
    return values


def _unit(values: np.ndarray) -> np.ndarray:
    import numpy as np

    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: np.ndarray = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    return scaled
