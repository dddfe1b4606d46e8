"""Metrics of one free-text answer against its gold text, and corpus BLEU. Pure; the libraries load at first use.

Exact match, token F1, edit distance and ROUGE-L compare the tokens of `scoring.text`: width, case, markup and
punctuation do not count, while signs that change a meaning (Na+, <5) and decimals do. Scripts written without spaces
between words (Han, kana, Thai, Lao, Khmer, Burmese) are compared character by character. An empty prediction or an
empty gold text scores worst in every metric, also when both are empty: no answer is never a right one.

BLEU needs a tokenizer of its own, chosen from the gold texts alone so that every model is scored alike: sacrebleu's
"13a" (its default), "zh" where they hold Han characters, "char" where they hold another of those scripts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scoring.extraction import extract_choice
from scoring.text import tokens_of

_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_OTHER_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_OTHER_CHARACTER = re.compile(f"[{_OTHER_UNSPACED}]")
_PIECE = re.compile(f"[{_HAN}{_OTHER_UNSPACED}]|[^{_HAN}{_OTHER_UNSPACED}]+")
# No "a": inside an answer it is a name as often as an article ("vitamin A"). `tokens_of` drops a leading one.
_ARTICLES = frozenset({"an", "the"})
_YES_NO = (("A", "yes"), ("B", "no"), ("C", "maybe"))

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class TextScores:
    """All per-item metrics of a text: shares in [0, 1], higher is better but for `edit_distance`; BLEU in [0, 100]."""

    exact_match: float
    token_f1: float
    token_set_f1: float
    edit_distance: float
    rouge_l: float
    sentence_bleu: float


@dataclass(frozen=True)
class Bleu:
    """BLEU in [0, 100] and sacrebleu's signature, which a published figure has to name."""

    score: float
    signature: str


def text_scores(prediction: str, gold: str) -> TextScores:
    """Return every metric of one item."""
    return TextScores(
        exact_match=exact_match(prediction, gold),
        token_f1=token_f1(prediction, gold),
        token_set_f1=token_set_f1(prediction, gold),
        edit_distance=edit_distance(prediction, gold),
        rouge_l=rouge_l(prediction, gold),
        sentence_bleu=sentence_bleu(prediction, gold),
    )


def exact_match(prediction: str, gold: str) -> float:
    """Return 1.0 when both have the same tokens in the same order, articles left out, else 0.0."""
    tokens = _content_tokens(gold)
    return float(bool(tokens) and _content_tokens(prediction) == tokens)


def token_f1(prediction: str, gold: str) -> float:
    """Return the F1 of the two multisets of tokens, articles left out.

    Source: Rajpurkar et al., SQuAD (2016). Unlike its script this keeps the signs and the inner "a" of a medical text,
    and scores two empty texts 0.
    """
    predicted, expected = Counter(_content_tokens(prediction)), Counter(_content_tokens(gold))
    return _f1((predicted & expected).total(), predicted.total(), expected.total())


def token_set_f1(prediction: str, gold: str) -> float:
    """Return the F1 of the two sets of tokens, articles left out: a token counts once however often it occurs."""
    predicted, expected = set(_content_tokens(prediction)), set(_content_tokens(gold))
    return _f1(len(predicted & expected), len(predicted), len(expected))


def edit_distance(prediction: str, gold: str) -> float:
    """Return the Levenshtein distance of the normalised texts over the length of the longer one: 0 same, 1 worst."""
    from rapidfuzz.distance import Levenshtein

    first, second = " ".join(tokens_of(prediction)), " ".join(tokens_of(gold))
    return Levenshtein.normalized_distance(first, second) if first and second else 1.0


def rouge_l(prediction: str, gold: str) -> float:
    """Return the F-measure of the longest common subsequence of tokens, articles included, no stemming.

    Source: Lin, ROUGE (2004). Of the package rouge-score it has the definition, not the tokens (a-z and 0-9 only), nor
    the time: that takes 0.1 s for two texts of 300 words.
    """
    from rapidfuzz.distance import LCSseq

    predicted, expected = _tokens(prediction), _tokens(gold)
    return _f1(LCSseq.similarity(predicted, expected), len(predicted), len(expected))


def sentence_bleu(prediction: str, gold: str) -> float:
    """Return sacrebleu's sentence BLEU (exponential smoothing, effective order) in [0, 100]."""
    if not prediction.strip() or not gold.strip():
        return 0.0
    score = _bleu(bleu_tokenizer([gold]), True).sentence_score(prediction, [gold]).score
    return min(100.0, float(score))  # sacrebleu's float noise goes over it


def corpus_bleu(predictions: Sequence[str], golds: Sequence[str]) -> Bleu:
    """Return sacrebleu's corpus BLEU of all items, empty predictions included, with its signature.

    Source: Papineni et al. (2002); Post, A call for clarity in reporting BLEU scores (2018). Raises ValueError without
    items, or when the two differ in number.
    """
    if not golds or len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} predictions for {len(golds)} gold texts")
    metric = _bleu(bleu_tokenizer(golds), False)
    score = min(100.0, float(metric.corpus_score(list(predictions), [list(golds)]).score))
    return Bleu(score, str(metric.get_signature()))


def bleu_tokenizer(golds: Sequence[str]) -> str:
    """Return the name of sacrebleu's tokenizer for these gold texts."""
    if any(_OTHER_CHARACTER.search(gold) for gold in golds):
        return "char"
    return "zh" if any(_HAN_CHARACTER.search(gold) for gold in golds) else "13a"


def yes_no_match(prediction: str, gold: str) -> float | None:
    """Return 1.0 when the prediction says the same of yes, no and maybe as the gold text, else 0.0.

    A prediction that says none of them, or several, is wrong. Null when the gold text itself says none.
    """
    expected = extract_choice(gold, _YES_NO).letter
    if expected is None:
        return None
    return float(extract_choice(prediction, _YES_NO).letter == expected)


def _tokens(text: str) -> Tokens:
    """Return the tokens of a text, those of scripts without spaces taken apart into characters."""
    return tuple(piece for token in tokens_of(text) for piece in _PIECE.findall(token))


def _content_tokens(text: str) -> Tokens:
    return tuple(token for token in _tokens(text) if token not in _ARTICLES)


def _f1(common: int, predicted: int, expected: int) -> float:
    return 2 * common / (predicted + expected) if common else 0.0


@lru_cache
def _bleu(tokenizer: str, effective_order: bool) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer, effective_order=effective_order)
