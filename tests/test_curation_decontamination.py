"""No row that holds a benchmark's question passes: found by definition, at its coverage, and each pair named."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.decontamination import Contamination, contamination
from curation.ledger import open_ledger
from curation.near_duplicates import Asked, asked, similar_pairs
from curation.ngrams import COMMON, SHORTEST, held_questions, words_of
from data.rows import Row
from registry.filter_schema import DecontaminationConfig
from tests.stages import DRUGS, row

VIGNETTE = (
    "A 47-year-old woman comes to the physician because of a 6-month history of pain in both wrists. Her mother had "
    "rheumatoid arthritis. Laboratory studies show a raised titre of anti-CCP antibodies and a low haemoglobin. Which "
    "of the following is the most likely diagnosis?"
)
HOLDS, ASKS, ASKS_NEARLY = "holds a question of exam", "asks a question of exam", "asks nearly a question of exam"
OWN = "Which enzyme is missing in this newborn?"
MIXED = dict(zip("ABCD", reversed(DRUGS), strict=True))


def check(rows: Sequence[Row], questions: Sequence[Row], **config: Any) -> Contamination:
    return contamination(
        open_ledger(rows, [100] * len(rows)), {"exam": questions}, DecontaminationConfig.model_validate(config)
    )


def reason(candidate: Row, question: Row, **config: Any) -> str | None:
    return check([candidate], [question], **config).removals.get(candidate.id)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"question": VIGNETTE}, ASKS),
        ({"question": VIGNETTE.upper().replace(",", " -- ").replace("?", "")}, ASKS),
        ({"question": VIGNETTE, "options": MIXED}, ASKS),
        ({"question": VIGNETTE, "options": None, "answer_idx": None}, ASKS),
        # The same words with other options are another question, which holds this one's text all the same.
        ({"question": VIGNETTE, "options": dict(zip("ABCD", "wxyz", strict=True))}, HOLDS),
        ({"question": f"Read this.\n{VIGNETTE}\nAnswer in one word."}, HOLDS),
        ({"question": OWN, "reasoning": f"It reminds me of an exam: {VIGNETTE} The answer is B"}, HOLDS),
        ({"question": OWN, "answer": VIGNETTE}, HOLDS),
        ({"question": VIGNETTE.replace("47", "52").replace("both wrists", "every wrist")}, HOLDS),
        # Nothing but how exams put their questions.
        ({"question": "A man has a swollen knee. Which of the following is the most likely diagnosis?"}, None),
        ({"question": OWN}, None),
        # In other words: no filter of words sees it.
        ({"question": "Sore wrists for half a year and anti-CCP antibodies in a woman of 47: what is it?"}, None),
    ],
)
def test_copies_are_found_wherever_they_stand_and_others_are_not(changes: dict[str, Any], expected: str | None) -> None:
    assert reason(row(1, **changes), row(2, question=VIGNETTE)) == expected


def test_a_question_in_slightly_other_words_is_found_by_its_similarity_alone() -> None:
    words = VIGNETTE.split()
    for place in (7, 19, 31, 43):  # no 13 words in a row are left, of 3 words most are
        words[place] = "indeed"
    changed = row(1, question=" ".join(words))
    assert reason(changed, row(2, question=VIGNETTE), similarity=0.5) == ASKS_NEARLY
    assert reason(changed, row(2, question=VIGNETTE), similarity=None) is None
    assert reason(changed, row(2, question=VIGNETTE), similarity=0.9) is None


@pytest.mark.parametrize(("ngram", "held"), [(13, 21), (8, 16)])
def test_the_coverage_decides_to_the_word(ngram: int, held: int) -> None:
    """Of 30 words a copy of 21 in a row holds 9 of 18 13-grams, one of 16 (rounded up) 9 of 23 8-grams."""
    words = [f"word{number}" for number in range(30)]
    share = (held - ngram + 1) / (30 - ngram + 1)
    question = row(2, question=" ".join(words))
    for size, coverage, expected in ((held, share, HOLDS), (held - 1, share, None), (held, share + 0.01, None)):
        copied = row(1, question=OWN, reasoning=f"First. {' '.join(words[5 : 5 + size])} last.")
        assert reason(copied, question, ngram=ngram, coverage=coverage) == expected
    found = check([row(1, question=OWN, reasoning=" ".join(words[:held]))], [question], ngram=ngram, coverage=share)
    assert found.pairs[0]["score"] == share


def test_no_ngram_runs_across_the_parts_of_a_row() -> None:
    words = [f"word{number}" for number in range(24)]
    split = row(1, question=" ".join(words[:12]), reasoning=" ".join(words[12:]))
    assert reason(split, row(2, question=" ".join(words)), coverage=0.01) is None


def test_short_questions_are_looked_up_by_8_words_and_shorter_ones_only_as_a_whole() -> None:
    eight = "Which gene is mutated most often in Rett syndrome?"
    assert reason(row(1, question=OWN, reasoning=f"Hm. {eight} It is MECP2."), row(2, question=eight)) == HOLDS
    seven = "Which gene is mutated in Rett syndrome?"
    assert len(words_of(seven)) == SHORTEST - 1
    assert reason(row(1, question=OWN, reasoning=f"Hm. {seven} It is MECP2."), row(2, question=seven)) is None
    assert reason(row(1, question=seven.lower()), row(2, question=seven), similarity=None) == ASKS
    other = {letter: f"{text} forte" for letter, text in MIXED.items()}
    assert reason(row(1, question=seven, options=other), row(2, question=seven)) is None


def test_what_many_questions_share_is_no_ones_own() -> None:
    phrase = "which of the following drugs is the treatment of first choice"
    many = [row(number, question=f"In disease{number}, {phrase}?") for number in range(10)]
    asking = row(99, question=f"Hm, {phrase} here?", reasoning=f"I wonder {phrase} in such a patient.")
    assert len(check([asking], [*many, row(50, question=phrase)], similarity=None).removals) == 0
    found = check([asking], [*many[1:], row(50, question=phrase)], similarity=None)
    assert found.removals == {asking.id: HOLDS}


@pytest.mark.parametrize(
    "written",
    ["β-Blocker „A“ hilft Älteren", "ＢＥＴΑ 5 µg", "ΣΊΣΥΦΟΣ", "naïve café", "x_y", "½ life", "İstanbul", "患者 は"],
)
def test_words_are_letters_and_digits_without_case_and_width(written: str) -> None:
    plain = unicodedata.normalize("NFKC", written).casefold()
    expected = "".join(sign if unicodedata.category(sign)[0] in "LN" else " " for sign in plain)
    assert words_of(written) == words_of(f" {written.upper()}!") or "İ" in written
    assert [word for word in words_of(written) if word.isascii()] == [w for w in expected.split() if w.isascii()]


def test_greek_and_full_width_copies_are_found() -> None:
    question = "Which β-lactam penetrates the blood–brain barrier of a 5-day-old with sepsis best, at 50 µg/kg?"
    copied = "WHICH Β-LACTAM penetrates the blood-brain barrier of a ５-day-old, with sepsis, best (at 50 μg / kg)"
    assert reason(row(1, question=OWN, reasoning=f"{copied} ..."), row(2, question=question)) == HOLDS


def sets_say(texts: Sequence[Sequence[str]], questions: Sequence[tuple[str, ...]], ngram: int, coverage: float) -> Any:
    """The definition, with sets of tuples."""

    def grams(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}

    sizes = [ngram if len(words) >= ngram else 8 for words in questions]
    every = [grams(words, size) for words, size in zip(questions, sizes, strict=True)]
    holders = Counter(gram for size in {8, ngram} for words in questions for gram in grams(words, size))
    own = [{gram for gram in each if holders[gram] <= COMMON} for each in every]
    for number, parts in enumerate(texts):
        for question, size in enumerate(sizes):
            held = set().union(*(grams(part.split(), size) for part in parts)) & own[question]
            if held and len(held) / len(own[question]) >= coverage:
                yield number, question, len(held) / len(own[question])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), ngram=st.sampled_from([8, 13]), coverage=st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_held_equals_the_definition(seed: int, ngram: int, coverage: float) -> None:
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(draw.choice([2, 3, 50]))]

    def text(longest: int) -> list[str]:
        return draw.choices(vocabulary, k=draw.randint(0, longest))

    questions = [*{tuple(text(25)) for _ in range(25)}]
    texts = []
    for _ in range(12):
        begun = list(draw.choice(questions))[draw.randint(0, 3) :]
        texts.append((" ".join(text(9) + begun + text(9)), " ".join(["unknown", *text(20)])))
    found = held_questions(texts, questions, ngram, coverage)
    assert [(held.text, held.question, held.coverage) for held in found] == list(
        sets_say(texts, questions, ngram, coverage)
    )


def jaccard_of(first: Asked, second: Asked) -> float:
    def shingled(*texts: tuple[str, ...]) -> set[tuple[str, ...]]:
        return {words[at : at + 3] for words in texts for at in range(max(1, len(words) - 2)) if words}

    def ratio(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
        return len(one & other) / len(one | other) if one & other else 0.0

    alone = ratio(shingled(first.words), shingled(second.words))
    if not (first.options and second.options):
        return alone
    return min(alone, ratio(shingled(first.words, *first.options), shingled(second.words, *second.options)))


@pytest.mark.parametrize("threshold", [0.4, 0.8, 1.0])
def test_similar_pairs_are_those_of_the_definition(threshold: float) -> None:
    draw = random.Random(int(threshold * 10))
    questions = [Asked((), ())]
    for _ in range(30):
        words = [f"w{draw.randint(0, 500)}" for _ in range(draw.randint(1, 40))]
        for _ in range(8):
            changed = tuple("other" if draw.random() < 0.03 else word for word in words)
            options = [("yes",), ("no", "not", "ever", str(draw.randint(0, 2)))] if draw.random() < 0.7 else []
            questions.append(Asked(changed, tuple(draw.sample(options, len(options)))))
    expected = {
        (i, j, jaccard_of(first, second))
        for i, first in enumerate(questions[:120])
        for j, second in enumerate(questions)
        if jaccard_of(first, second) >= threshold
    }
    found = list(similar_pairs(questions[:120], questions, threshold))
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert len(expected) > 150


def test_a_question_without_words_is_like_no_other() -> None:
    assert reason(row(1, question="?!"), row(2, question="...")) is None


def planted() -> tuple[list[Row], dict[str, list[Row]]]:
    copies = [
        row(1, question=VIGNETTE, options=MIXED),
        row(2, question=OWN, reasoning=f"See: {VIGNETTE}"),
        row(3, question=VIGNETTE.replace("rheumatoid", "a form of")),
        row(4, question="What does a statin lower?"),
    ]
    exam = [row(7, question=VIGNETTE), row(8, question="What does a statin lower??"), row(8, question="What now?")]
    return copies, {"exam": [*exam, exam[0]], "again": exam[:1], "empty": []}


def found_of(rows: Sequence[Row], benchmarks: dict[str, list[Row]]) -> Contamination:
    return contamination(open_ledger(rows, [10] * len(rows)), benchmarks, DecontaminationConfig())


def test_every_pair_is_named_and_counted_by_benchmark_and_kind() -> None:
    rows, benchmarks = planted()
    found = found_of(rows, benchmarks)
    assert found.removals == {
        rows[0].id: "asks a question of again",
        rows[1].id: "holds a question of again",
        rows[2].id: "holds a question of again",
        rows[3].id: "asks a question of exam",
    }
    named = [(pair["row_id"], pair["benchmark"], pair["kind"]) for pair in found.pairs]
    assert named == [
        *(
            (rows[place].id, key, kind)
            for place, kind in enumerate(("equal", "n-gram", "n-gram"))
            for key in ("again", "exam")
        ),
        (rows[3].id, "exam", "equal"),
    ]
    assert found.pairs[1] == {
        "row_id": rows[0].id,
        "row_question": VIGNETTE,
        "benchmark": "exam",
        "benchmark_id": benchmarks["exam"][0].id,
        "benchmark_question": VIGNETTE,
        "kind": "equal",
        "score": 1.0,
    }
    counted = {"questions": 3, "without_ngrams": 2, "rows": 4, "rows_equal": 2, "rows_n_gram": 2, "rows_similar": 0}
    once = {"questions": 1, "without_ngrams": 0, "rows": 3, "rows_equal": 1, "rows_n_gram": 2, "rows_similar": 0}
    none = dict.fromkeys(counted, 0)
    assert found.metrics == {"again": once, "empty": none, "exam": counted}
    json.dumps([*found.pairs, found.metrics], allow_nan=False)


def test_neither_the_order_of_rows_and_questions_nor_the_process_decides_anything() -> None:
    rows, benchmarks = planted()
    found = found_of(rows, benchmarks)
    turned = found_of(rows[::-1], {key: benchmarks[key][::-1] for key in reversed(benchmarks)})
    assert (turned.removals, turned.metrics) == (found.removals, found.metrics)
    assert sorted(turned.pairs, key=str) == sorted(found.pairs, key=str)
    program = (
        "import json; from tests.test_curation_decontamination import found_of, planted; "
        "found = found_of(*planted()); print(json.dumps([found.removals, found.pairs, found.metrics]))"
    )
    root = Path(__file__).resolve().parents[1]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert [json.loads(each) for each in outputs] == [[found.removals, found.pairs, found.metrics]]


def test_nothing_to_compare_finds_nothing() -> None:
    assert check([row(1)], []).removals == {}
    found = contamination(open_ledger([row(1)], [10]), {}, DecontaminationConfig())
    assert (dict(found.removals), list(found.pairs), dict(found.metrics)) == ({}, [], {})


def test_rows_are_compared_by_the_words_of_question_and_options() -> None:
    compared = asked(row(1, question="Is it (A) or B?", options={"A": "Yes!", "B": "--"}, answer_idx="A"))
    assert compared == Asked(("is", "it", "a", "or", "b"), (("yes",),))
