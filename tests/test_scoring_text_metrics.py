"""Metrics of free text and of numbers: values worked out by hand, the field's own references, and what is empty."""

from __future__ import annotations

import math
import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.numeric import CountingAccuracy, counting_accuracy, number_matches, read_number
from scoring.text_metrics import (
    TextScores,
    bleu_tokenizer,
    corpus_bleu,
    edit_distance,
    exact_match,
    rouge_l,
    sentence_bleu,
    text_scores,
    token_f1,
    token_set_f1,
    yes_no_match,
)

WORDS = ["acute", "chronic", "heart", "failure", "fever", "the", "an", "of", "with", "left", "right", "lobe"]
PHRASES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("prediction", "gold", "same"),
    [
        ("Appendicitis", "appendicitis.", True),
        ("**The** aortic valve", "Aortic valve", True),
        ("inflammation of the appendix", "Inflammation of appendix", True),
        ("ＨＥＰＡＲＩＮ", "heparin", True),
        ("β-blocker", "β blocker", True),
        ("急性阑尾炎。", "急性阑尾炎", True),
        ("hepatitis A", "hepatitis B", False),
        ("hepatitis", "hepatitis A", False),
        ("Na+", "Na-", False),
        ("5 mg", "2.5 mg", False),
        ("failure heart", "heart failure", False),
        ("The diagnosis is appendicitis", "appendicitis", False),
    ],
)
def test_exact_match_sees_through_case_articles_punctuation_and_width_only(
    prediction: str, gold: str, same: bool
) -> None:
    assert exact_match(prediction, gold) == float(same)


@pytest.mark.parametrize(
    ("prediction", "gold", "multisets", "sets"),
    [
        ("acute heart failure", "heart failure", 0.8, 0.8),
        ("pain pain pain", "pain", 0.5, 1.0),
        ("left left lobe", "left lobe lobe", 2 / 3, 1.0),
        ("fever", "cough", 0.0, 0.0),
        ("the fever", "fever", 1.0, 1.0),
        ("急性胆囊炎", "急性阑尾炎", 0.6, 0.6),
    ],
)
def test_token_f1_counts_repeated_tokens_and_token_set_f1_does_not(
    prediction: str, gold: str, multisets: float, sets: float
) -> None:
    assert token_f1(prediction, gold) == pytest.approx(multisets)
    assert token_set_f1(prediction, gold) == pytest.approx(sets)


@settings(deadline=None)  # the first call loads a library
@given(PHRASES, PHRASES)
def test_token_f1_is_squads_on_plain_words(prediction: str, gold: str) -> None:
    def words(text: str) -> list[str]:
        bare = "".join(character for character in text.lower() if character not in string.punctuation)
        return re.sub(r"\b(?:a|an|the)\b", " ", bare).split()

    ours, common = token_f1(prediction, gold), sum((Counter(words(prediction)) & Counter(words(gold))).values())
    if common == 0:
        assert ours == 0.0
        return
    precision, recall = common / len(words(prediction)), common / len(words(gold))
    assert ours == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)


def _levenshtein(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (one != other))
    return row[-1]


@settings(deadline=None)  # the first call loads a library
@given(
    PHRASES.filter(lambda text: not text.startswith(("the", "an"))), PHRASES.filter(lambda t: t[:2] not in ("th", "an"))
)
def test_edit_distance_is_levenshteins_over_the_longer_text(prediction: str, gold: str) -> None:
    longest = max(len(prediction), len(gold))
    expected = _levenshtein(prediction, gold) / longest if prediction and gold else 1.0
    assert edit_distance(prediction, gold) == pytest.approx(expected, abs=1e-12)


def test_edit_distance_by_hand() -> None:
    assert edit_distance("Kitten!", "sitting") == pytest.approx(3 / 7)
    assert edit_distance("Heparin.", "heparin") == 0.0


@settings(deadline=None)  # the first call loads a library
@given(PHRASES, PHRASES)
def test_rouge_l_is_rouge_scores_on_plain_english(prediction: str, gold: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    # tokens_of leaves an article at the beginning out
    first, second = (f"see {text}" for text in (prediction, gold))
    theirs = RougeScorer(["rougeL"]).score(second, first)["rougeL"].fmeasure
    assert rouge_l(first, second) == pytest.approx(theirs, abs=1e-12)


def test_rouge_l_sees_what_rouge_score_drops() -> None:
    assert rouge_l("急性阑尾炎", "急性阑尾炎") == 1.0
    assert rouge_l("5.5 µg", "5.2 µg") == pytest.approx(0.5)


def _bleu_by_hand(predictions: list[list[str]], golds: list[list[str]]) -> float:
    """Papineni's formula without smoothing; every n-gram order must occur."""
    logs = []
    for order in (1, 2, 3, 4):
        matched = total = 0
        for one, other in zip(predictions, golds, strict=True):
            grams, gold_grams = (
                Counter(tuple(t[i : i + order]) for i in range(len(t) - order + 1)) for t in (one, other)
            )
            matched += sum((grams & gold_grams).values())
            total += sum(grams.values())
        logs.append(math.log(matched / total))
    lengths = sum(map(len, predictions)), sum(map(len, golds))
    return 100 * min(1.0, math.exp(1 - lengths[1] / lengths[0])) * math.exp(sum(logs) / 4)


def test_corpus_bleu_is_papineni_s_and_names_its_settings() -> None:
    predictions = ["the patient has an acute infarction", "give heparin at once and watch"]
    golds = ["the patient has an acute myocardial infarction", "give heparin at once and watch the patient"]
    found = corpus_bleu(predictions, golds)
    assert found.score == pytest.approx(_bleu_by_hand([p.split() for p in predictions], [g.split() for g in golds]))
    assert "tok:13a" in found.signature
    assert "smooth:exp" in found.signature


def test_corpus_bleu_counts_an_empty_prediction() -> None:
    golds = ["give heparin at once and watch", "the patient has an acute infarction"]
    assert corpus_bleu(golds, golds).score == pytest.approx(100)
    # Half of the text is missing: every n-gram is right, and the brevity penalty is exp(1 - 12 / 6).
    assert corpus_bleu([golds[0], ""], golds).score == pytest.approx(100 * math.exp(-1))


@pytest.mark.parametrize(("predictions", "golds"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_corpus_bleu_needs_a_gold_text_for_each_prediction(predictions: list[str], golds: list[str]) -> None:
    with pytest.raises(ValueError, match="gold texts"):
        corpus_bleu(predictions, golds)


@pytest.mark.parametrize(
    ("gold", "tokenizer"),
    [
        ("heart failure", "13a"),
        ("сердечная недостаточность", "13a"),
        ("急性阑尾炎", "zh"),
        ("心不全です", "char"),
        ("ไข้", "char"),
    ],
)
def test_the_tokenizer_of_bleu_follows_the_gold_texts_script(gold: str, tokenizer: str) -> None:
    assert bleu_tokenizer(["heart failure", gold]) == tokenizer
    assert sentence_bleu(gold, gold) == pytest.approx(100)
    assert f"tok:{tokenizer}" in corpus_bleu([gold], [gold]).signature


@pytest.mark.parametrize(("prediction", "gold"), [("", "fever"), ("fever", ""), ("", ""), (" ", "\n"), ("...", "...")])
def test_an_empty_text_scores_worst_in_every_metric(prediction: str, gold: str) -> None:
    scores = text_scores(prediction, gold)
    assert (scores.exact_match, scores.token_f1, scores.token_set_f1, scores.edit_distance) == (0.0, 0.0, 0.0, 1.0)
    assert scores.rouge_l == 0.0
    assert text_scores("", gold).sentence_bleu == 0.0


@settings(deadline=None)  # the first call loads a library
@given(st.text(max_size=60), st.text(max_size=60))
def test_scores_stay_in_their_range_for_any_text(prediction: str, gold: str) -> None:
    scores = text_scores(prediction, gold)
    shares = (scores.exact_match, scores.token_f1, scores.token_set_f1, scores.edit_distance, scores.rouge_l)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert 0.0 <= scores.sentence_bleu <= 100.0 + 1e-9
    if scores.exact_match:
        assert (scores.token_f1, scores.token_set_f1) == (1.0, 1.0)


def test_equal_texts_score_best() -> None:
    same = "acute inflammation of the appendix"
    scores = text_scores(same, same)
    assert scores == TextScores(1.0, 1.0, 1.0, 0.0, 1.0, scores.sentence_bleu)
    assert scores.sentence_bleu == pytest.approx(100)


@pytest.mark.parametrize(
    ("prediction", "gold", "score"),
    [
        ("Yes.", "yes", 1.0),
        ("The answer is no.", "No", 1.0),
        ("Answer: maybe", "maybe", 1.0),
        ("The answer is no.", "yes", 0.0),
        ("", "yes", 0.0),
        ("It depends on the stage.", "no", 0.0),
        ("yes", "appendicitis", None),
    ],
)
def test_yes_no(prediction: str, gold: str, score: float | None) -> None:
    assert yes_no_match(prediction, gold) == score


NUMBERS: list[tuple[str, float | tuple[float, float] | None]] = [
    ("5", 5),
    ("There are 7 lesions.", 7),
    ("5.", 5),
    ("-5", -5),
    ("−5", -5),
    ("minus 5", -5),
    ("-.5", -0.5),
    ("1,234.5", 1234.5),
    ("1.234.567", 1234567),
    ("1\u202f234", 1234),
    ("1,5", 1.5),
    ("0,123", 0.123),
    ("９", 9),
    ("٤٢", 42),
    ("1/2", 0.5),
    ("1 1/2", 1.5),
    ("2½", 2.5),
    (r"$\frac{1}{2}$", 0.5),
    ("3.2e-4", 3.2e-4),
    ("3.2 x 10^-4", 3.2e-4),
    ("3.2 × 10⁻⁴", 3.2e-4),
    (r"3.2 \times 10^{-4}", 3.2e-4),
    ("3 million", 3e6),
    ("25 %", 25),
    ("25 per cent", 25),
    ("5-10", (5, 10)),
    ("5–10 mg", (5, 10)),
    ("10 mg-20 mg", (10, 20)),
    ("between 5 and 10", (5, 10)),
    ("-5 to -2", (-5, -2)),
    ("three to five", (3, 5)),
    ("Three lesions", 3),
    ("twenty-one", 21),
    ("none", 0),
    ("**7**", 7),
    (r"\boxed{42}", 42),
    ("So 2 + 3 = 5", 5),
    ("There are 2 lobes. The answer is 3 lesions.", 3),
    ("Of 8 nodes 3 are enlarged, a total of 3.", 3),
    ("有3个病灶", 3),
    # no number, or no saying which
    ("", None),
    ("There are 3 lesions in 2 lobes.", None),
    ("one of the lesions", None),
    ("1,2,3", None),
    ("vitamin B12", None),
    ("COVID-19", None),
    ("CD4", None),
    ("5-FU", None),
    ("5-HT3", None),
    ("the 2nd rib", None),
    ("120/80 mmHg", None),
    ("10:30", None),
    ("1/2/2020", None),
    ("2020-01-01", None),
    ("10²", None),
    ("two hundred and five", None),
    ("five dozen", None),
    ("1/0", None),
    ("1e999", None),
    ("9" * 5000, None),
    ("heparin", None),
]


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_the_number_that_a_text_states(text: str, expected: float | tuple[float, float] | None) -> None:
    found = read_number(text)
    if expected is None:
        assert found is None
        return
    assert found is not None
    low, high = expected if isinstance(expected, tuple) else (expected, expected)
    assert [found.low, found.high] == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("prediction", "gold", "right"),
    [
        ("110", "100", True),
        ("110.1", "100", False),
        ("90", "100", True),
        ("1.1", "1.0", True),
        ("-95", "-100", True),
        ("95", "-100", False),
        ("0.1", "0", True),
        ("-0.1", "0", True),
        ("0.11", "0", False),
        ("500 mg", "0.5 g", True),
        ("5 mg", "5 g", False),
        ("5 mg", "5 mL", False),
        ("5", "5 mg", True),
        ("5 mg", "5", True),
        ("36 hours", "1.5 days", True),
        ("5 mg per kg", "5 mg/kg", True),
        ("5 µg", "5 mcg", True),
        ("25 %", "25", True),
        ("25 %", "0.25", True),
        ("0.25", "25 %", True),
        ("25", "25 %", True),
        ("2.5", "25 %", False),
        ("7", "5-10", True),
        ("10.5", "5-10", False),
        ("5-10", "5 to 10", True),
        ("5-10", "7", False),
        ("8 to 12 weeks", "2-3 months", False),
        ("", "5", False),
        ("3 or 4", "3", False),
        ("< 5 cm", "<5 cm", True),
        ("< 5 cm", "> 5 cm", False),
        ("5", "at least 5", False),
        ("more than five", "> 5", True),
        ("5", "heparin", None),
    ],
)
def test_a_number_is_right_within_ten_percent(prediction: str, gold: str, right: bool | None) -> None:
    assert number_matches(prediction, gold) is right


def test_the_tolerance_of_a_gold_zero_is_in_its_own_unit() -> None:
    assert number_matches("0.05 mg", "0 mg") is True
    assert number_matches("0.05 g", "0 mg") is False


@settings(deadline=None)  # the first call loads a library
@given(st.text(max_size=80))
def test_reading_a_number_never_raises_and_a_finite_one_equals_itself(text: str) -> None:
    assert number_matches(text, text) in (None, True)


def test_counting_accuracy_over_all_items_and_over_those_with_a_gold_number() -> None:
    predictions = ["There are 3.", "four", "5.2", "no idea", "yes", "2"]
    golds = ["3", "4", "5", "6", "no number", "2"]
    assert counting_accuracy(predictions, golds) == CountingAccuracy(6, 5, 3, 0.5, 0.6)
    assert counting_accuracy(["x"], ["y"]) == CountingAccuracy(1, 0, 0, 0.0, None)
    assert counting_accuracy([], []) == CountingAccuracy(0, 0, 0, None, None)
    with pytest.raises(ValueError, match="shorter"):
        counting_accuracy(["3", "4"], ["3"])
