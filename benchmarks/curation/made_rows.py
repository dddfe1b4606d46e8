"""Made-up rows of the size and shape of the real training set, and a tokenizer that learnt its words.

25,371 rows as medical-o1-reasoning-SFT has them: reasoning of some 500 tokens, most questions open, others with
options; 130 specialties of very different sizes, some rows without one; one row in fifty has a fault that the quality
filter names, one in a hundred asks another row's question again. Seeded: the same rows on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

N_ROWS: Final = 25_371
MEAN_TOKENS: Final = 500
N_SPECIALTIES: Final = 130
_WORDS_PER_TOKEN: Final = 0.8  # of the tokenizer below, with its punctuation
_ROOTS = ("cardi", "nephr", "hepat", "neur", "gastr", "derm", "arthr", "my", "angi", "phleb", "bronch", "cyst", "rhin")
_ENDINGS = ("itis", "osis", "oma", "opathy", "ectomy", "algia", "ology", "omegaly", "oscopy", "osclerosis", "ostomy")
_STARTS = ("ator", "lisin", "metro", "cefa", "amoxi", "pred", "vera", "dilti")
_DRUGS = [
    start + end for start in _STARTS for end in ("pril", "olol", "statin", "azole", "cillin", "sone", "mab", "nib")
]
_PLAIN = """
    the a of and in with to is that this for patient which may has her his was not on are as by from most after blood
    pressure pain fever history left right normal raised low chronic acute severe years old days weeks first likely
    cause sign finding test level dose risk treatment let me think wait so but however maybe we should look again
"""


def write_rows(path: Path, count: int = N_ROWS, seed: int = 0) -> Path:
    """Write `count` rows as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for record in make_rows(count, seed):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


def make_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The rows one by one, with the default columns of a catalog entry."""
    rng = random.Random(seed)
    words = [*_PLAIN.split() * 6, *_DRUGS, *(root + ending for root in _ROOTS for ending in _ENDINGS)]
    specialties = [None, *(f"Specialty {number}" for number in range(N_SPECIALTIES))]
    weights = [8, *(60 / (rank + 3) for rank in range(N_SPECIALTIES))]
    question = ""
    for number in range(count):
        again = number % 100 == 99
        question = question if again else f"{_prose(rng, words, rng.randrange(20, 90))} Case {number}: what is it?"
        yield {
            "question": question,
            **_gold(rng, number, words),
            "specialty": rng.choices(specialties, weights)[0],
        }


def _gold(rng: random.Random, number: int, words: list[str]) -> dict[str, Any]:
    """Options, answer and reasoning; every third question has options."""
    length = round(MEAN_TOKENS * _WORDS_PER_TOKEN * rng.lognormvariate(-0.125, 0.5))
    thinking = _prose(rng, words, length)
    if number % 3:
        answer = _prose(rng, words, 40)
        return {"answer": answer, "reasoning": "" if number % 50 == 1 else f"{thinking} So that must be it."}
    texts = rng.sample(_DRUGS, 4)
    gold = rng.randrange(4)
    concluded = (gold + (number % 50 == 0)) % 4
    return {
        "options": dict(zip("ABCD", texts, strict=True)),
        "answer": texts[gold],
        "answer_idx": "ABCD"[gold],
        "reasoning": f"{thinking} So the answer is {'ABCD'[concluded]}. {texts[concluded]}",
    }


def _prose(rng: random.Random, words: list[str], count: int) -> str:
    """Sentences of about `count` words, a blank line here and there."""
    drawn = rng.choices(words, k=count)
    for place in range(11, count, 12):
        drawn[place] += ".\n\n" if place % 5 == 0 else "."
    return " ".join(drawn)


def make_model(folder: Path) -> Path:
    """Write a model folder whose byte-level BPE tokenizer was trained on such rows; its weights are just hashed."""
    import numpy
    from safetensors.numpy import save_file
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([words, to_bytes])
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2_000, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator((row["reasoning"] for row in make_rows(400, seed=1)), trainer)
    PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    save_file({"weight": numpy.zeros(2, dtype="float32")}, folder / "model.safetensors")
    return folder
