"""Perturbations that a model writes: its answers are held to what each perturbation promises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.rewriting.content import missing_numbers, missing_words
from curation.rewriting.outcome import Extent, Outcome
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.perturbations_answer import ALL_RIGHT, NO_GOLD
from curation.rewriting.perturbations_plain import NO_STEPS
from curation.rewriting.steps import join_steps, split_steps
from data.rows import Row
from tests.rewriting_case import KEY_VARIABLE, Answering, Scripted, no_model, scripted
from tests.stages import row

STEPS = (
    "Read the history\nThe patient is 54 years old and drinks 40 g of alcohol each day.",
    "Weigh the findings\nThe ferritin of 900 ng/mL fits haemochromatosis as well as alcoholic liver disease.",
    "Order the test\nTransferrin saturation above 45 % would settle it, and HFE genotyping would follow.",
    "Conclude\nPrednisone is the right choice, so the answer is B) Prednisone.",
)
STEPWISE = join_steps(STEPS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with pytest.MonkeyPatch.context() as patch, scripted(tmp_path_factory.mktemp("answers")) as server:
        patch.setenv(KEY_VARIABLE, "k-0123456789")
        yield server


def collapsed(model: Scripted, given: Row, rate: float, answer: Answering) -> Outcome:
    return model.rewrite(PERTURBATIONS["collapse_consecutive"](rate, 0), [given], answer)[0]


def told(prompt: str) -> list[str]:
    """The steps that a prompt shows."""
    return split_steps(prompt.rpartition("<the_reasoning>")[2].rpartition("</the_reasoning>")[0])


def merged(prompt: str) -> str:
    """All that the steps say, as one step."""
    return "## Step 1: One step\n" + " ".join(step.partition("\n")[2] for step in told(prompt))


def test_all_content_survives_a_rate_of_1(model: Scripted) -> None:
    outcome = collapsed(model, row(1, reasoning=STEPWISE), 1.0, lambda prompt, _: merged(prompt))
    assert outcome.row is not None
    (step,) = split_steps(outcome.row.reasoning)
    assert (outcome.status, model.calls) == ("accepted", 1)
    for part in STEPS:
        content = part.partition("\n")[2]
        assert content in step
        assert missing_numbers(part, step) == []


@pytest.mark.parametrize(("rate", "steps"), [(0.01, 3), (0.33, 3), (0.66, 2), (1.0, 1)])
def test_as_many_borders_are_dissolved_as_the_rate_says(model: Scripted, rate: float, steps: int) -> None:
    outcome = collapsed(model, row(1, reasoning=STEPWISE), rate, lambda prompt, _: merged(prompt))
    assert outcome.row is not None
    found = split_steps(outcome.row.reasoning)
    assert len(found) == steps
    assert outcome.extent == Extent("borders", 3, 4 - steps)
    assert model.calls == sum(step not in STEPS for step in found)
    assert re.findall(r"\d+ \S+", " ".join(found)) == re.findall(r"\d+ \S+", " ".join(STEPS))


@pytest.mark.parametrize(("more", "status"), [(1, "accepted"), (5, "accepted"), (7, "given up")])
def test_a_new_step_may_have_a_few_words_more_to_join_sentences(model: Scripted, more: int, status: str) -> None:
    given = len(" ".join(STEPS).split())
    assert given // 10 == 6

    def answer(prompt: str, _: int) -> str:
        step = merged(prompt)
        return step + " which" * (given + more - len(split_steps(step)[0].split()))

    assert collapsed(model, row(1, reasoning=STEPWISE), 1.0, answer).status == status


def test_a_step_that_lacks_a_number_is_repaired(model: Scripted) -> None:
    asked: list[str] = []

    def answer(prompt: str, turn: int) -> str:
        asked.append(prompt)
        return merged(prompt) if turn else merged(prompt).replace("900 ng/mL", "raised").replace("45 %", "45")

    (outcome,) = model.rewrite(PERTURBATIONS["collapse_consecutive"](1.0, 0), [row(1, reasoning=STEPWISE)], answer)
    assert (outcome.status, outcome.reason) == ("repaired", None)
    (complaint,) = model.complaints
    assert "Of step 2 it lacks: 900 ng/ml. Of step 3 it lacks: 45 %." in complaint


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (
            lambda prompt: merged(prompt).replace(STEPS[0].partition("\n")[2], "Aged 54 years: 40 g."),
            "leaves out content",
        ),
        (lambda prompt: merged(prompt) + " and so on" * 20, "longer than the given ones"),
        (lambda prompt: join_steps(told(prompt)), "not one step"),
        (lambda prompt: merged(prompt).partition("\n")[2], "not one step"),
        (lambda prompt: merged(prompt).replace("\n", " "), "lacks its title or its content"),
        (lambda prompt: "I cannot rewrite this.", "refusal"),
        (lambda prompt: prompt, "tags of the question"),
    ],
)
def test_a_row_of_which_a_step_never_passes_is_given_up(
    model: Scripted, bad: Callable[[str], str], complaint: str
) -> None:
    outcome = collapsed(model, row(1, reasoning=STEPWISE), 1.0, lambda prompt, _: bad(prompt))
    assert (outcome.row, outcome.status) == (None, "given up")
    assert model.calls > 1
    assert complaint in (outcome.reason or "")


def test_a_single_step_and_a_text_without_steps_ask_nothing() -> None:
    rows = [row(1, reasoning=join_steps(STEPS[:1])), row(2)]
    outcomes = PERTURBATIONS["collapse_consecutive"](1.0, 0)(rows, no_model)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("unchanged", None), ("given up", NO_STEPS)]


@pytest.mark.parametrize(
    ("whole", "lost"),
    [
        ("5 to 10 mg for two days, 150000 platelets and B-12 at 120/80 mmHg", ["2 day"]),
        ("5-10 mg, 2-day, 150,000, 120/80 mm, B12", ["120/80 mmhg"]),
        ("5 g to 10 g for 2 days; 150 000; 120/80 mmHg; B12", ["10 mg", "150000", "5 mg"]),
        ("5–10 milligrams over 2 days, platelets 150,000, BP 120/80 mmHg", ["b12"]),
    ],
)
def test_which_numbers_are_missing(whole: str, lost: list[str]) -> None:
    part = "1. As Step 7 says, 5-10 mg for 2 days; platelets 150,000; BP 120/80 mmHg; B12 low."
    assert missing_numbers(part, whole) == lost
    assert missing_numbers(part, part) == []


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("BP 120/80 mm Hg, IL-6 and T2-weighted images", "BP 120/80 mmHg, IL6, T2 weighted"),
        ("10 mg/day from post-op day-3 on", "10 mg daily from post-op day 3 on"),
        ("5.0 kg/m² at 37 °C and 10^9/L", "5 kg/m2, 37 C, 10^9 per L"),
        ("the 2nd of 3", "3, the 2nd"),
        ("患者54岁，服用5mg的药物", "54岁的患者每天服用 5 mg"),
    ],
)
def test_spelling_makes_no_other_number(part: str, whole: str) -> None:
    assert missing_numbers(part, whole) == []


@given(st.lists(st.text("0123456789.,/-– abmg%°CIL\n", max_size=40), min_size=1, max_size=4), st.integers(0, 3))
def test_nothing_is_missing_of_a_text_in_a_text_that_holds_it(parts: list[str], place: int) -> None:
    part = parts[place % len(parts)]
    assert missing_numbers(part, "\n".join(parts)) == []
    assert missing_words(part, "\n".join(parts))[0] == []


def test_which_words_are_missing() -> None:
    gone, share = missing_words("The infections of the kidney were treated.", "An infectious disease of kidneys")
    assert (gone, share) == (["treated"], 1 / 3)
    assert missing_words("", "") == ([], 0.0)
    assert missing_words("患者发热", "发热的患者") == ([], 0.0)


def ending_in(letter: str, text: str) -> str:
    return f"## Step 4: Conclude\nAll of this fits {text} best, so the answer is {letter}) {text}."


def wronged(model: Scripted, rows: Sequence[Row], rate: float, answer: Answering) -> list[Outcome]:
    return model.rewrite(PERTURBATIONS["answer"](rate, 0), rows, answer)


def option_in(prompt: str) -> tuple[str, str]:
    letter, text = prompt.rpartition("<the_answer>\n")[2].partition("\n")[0].split(". ")
    return letter, text


def as_told(prompt: str, _: int) -> str:
    return ending_in(*option_in(prompt))


def test_a_wrong_option_really_replaces_the_answer(model: Scripted) -> None:
    rows = [row(number, reasoning=STEPWISE) for number in range(6)]
    outcomes = wronged(model, rows, 1.0, as_told)
    for before, outcome in zip(rows, outcomes, strict=True):
        after = outcome.row
        assert after is not None
        assert after.gold is not None
        assert after.answer_idx != "B"
        assert after.gold.text == after.answer
        assert split_steps(after.reasoning)[:-1] == list(STEPS[:-1])
        assert f"the answer is {after.answer_idx}) {after.answer}" in after.reasoning
        assert (after.id, after.question_id, after.options) == (before.id, before.question_id, before.options)
    assert len({outcome.row.answer_idx for outcome in outcomes if outcome.row}) > 1


@pytest.mark.parametrize(("rate", "changed"), [(0.01, 1), (0.33, 3), (0.66, 7), (1.0, 10)])
def test_the_rate_is_the_part_of_the_rows(model: Scripted, rate: float, changed: int) -> None:
    rows = [row(number, reasoning=STEPWISE) for number in range(10)]
    outcomes = wronged(model, rows, rate, as_told)
    assert wronged(model, rows[::-1], rate, as_told) == outcomes[::-1]
    everything = wronged(model, rows, 1.0, as_told)
    assert [outcome.status for outcome in outcomes].count("accepted") == changed
    assert [outcome.extent for outcome in outcomes].count(Extent("rows", 1, 1)) == changed
    assert all(
        outcome in (Outcome(before, "unchanged", extent=Extent("rows", 1, 0)), every)
        for before, outcome, every in zip(rows, outcomes, everything, strict=True)
    )


def test_a_step_that_comes_to_the_right_option_again_is_repaired(model: Scripted) -> None:
    def answer(prompt: str, turn: int) -> str:
        return ending_in(*option_in(prompt)) if turn else ending_in("B", "Prednisone")

    (outcome,) = wronged(model, [row(1, reasoning=STEPWISE)], 1.0, answer)
    assert outcome.status == "repaired"
    assert "another option than the given one. It ends on B." in model.complaints[0]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("## Step 4: Conclude\nThe findings say nothing.", "does not come to the given option"),
        (STEPS[-1].replace("Conclude", "## Step 4: Conclude"), "is what it was"),
        ("The answer is not clear.", "not one step"),
    ],
)
def test_an_option_that_is_never_concluded_gives_the_row_up(model: Scripted, bad: str, complaint: str) -> None:
    (outcome,) = wronged(model, [row(1, reasoning=STEPWISE)], 1.0, lambda *_: bad)
    assert (outcome.row, outcome.status) == (None, "given up")
    assert complaint in (outcome.reason or "")


def test_an_option_may_be_concluded_by_its_name(model: Scripted) -> None:
    named = {"A": "lisinopril", "C": "ibuprofen", "D": "caffeine"}

    def answer(prompt: str, _: int) -> str:
        return f"## Step 4: End\nAll in all {named[option_in(prompt)[0]]} is meant."

    (outcome,) = wronged(model, [row(1, reasoning=STEPWISE)], 1.0, answer)
    assert outcome.status == "accepted"


def test_several_right_options_become_one_wrong_one(model: Scripted) -> None:
    several = replace(row(1, reasoning=STEPWISE), answer_idx="A,B,C", answer="Lisinopril, Prednisone, Ibuprofen")
    every = replace(several, id="1" * 16, answer_idx="A,B,C,D")
    outcomes = wronged(model, [several, every], 1.0, as_told)
    assert outcomes[0].row is not None
    assert (outcomes[0].row.answer_idx, outcomes[0].row.answer) == ("D", "Caffeine")
    assert outcomes[1].reason == ALL_RIGHT


OPEN = replace(row(1, reasoning=STEPWISE), options=(), answer_idx=None, answer="Hereditary haemochromatosis")


def made_up(short: str, said: str | None = None, **more: str) -> str:
    step = f"## Step 4: Conclude\nIt must be {said or short}."
    return json.dumps({"short_answer": short, "final_step": step, "answer": short, **more})


def test_without_options_the_model_makes_up_a_wrong_answer(model: Scripted) -> None:
    (outcome,) = wronged(model, [OPEN], 1.0, lambda *_: f"```json\n{made_up('Wilson disease')}\n```")
    assert outcome.row is not None
    assert (outcome.row.answer, outcome.row.answer_idx) == ("Wilson disease", None)
    assert split_steps(outcome.row.reasoning) == [*STEPS[:-1], "Conclude\nIt must be Wilson disease."]
    assert model.server.bodies[0]["response_format"]["json_schema"]["schema"]["required"] == [
        "short_answer",
        "final_step",
        "answer",
    ]


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (made_up("hereditary Haemochromatosis."), "right one again"),
        (made_up("Haemochromatosis"), "right one again"),
        (made_up("Early hereditary haemochromatosis"), "right one again"),
        (made_up("Wilson disease", "copper"), "The step does not come to the short answer"),
        (
            made_up("Wilson disease", answer="It is a disease of copper."),
            "The answer does not come to the short answer",
        ),
        (made_up("Wilson disease " * 20), "not short"),
        (made_up("Wilson disease", "Wilson disease and hereditary haemochromatosis"), "mentions the right answer"),
        (made_up("Wilson disease", note="x"), "not the JSON object"),
        ("It must be Wilson disease.", "not the JSON object"),
    ],
)
def test_a_made_up_answer_that_does_not_pass_is_repaired_or_given_up(model: Scripted, bad: str, complaint: str) -> None:
    (never,) = wronged(model, [OPEN], 1.0, lambda *_: bad)
    assert (never.row, never.status) == (None, "given up")
    assert complaint in (never.reason or "")
    (mended,) = wronged(model, [OPEN], 1.0, lambda _, turn: made_up("Wilson disease") if turn else bad)
    assert mended.status == "repaired"


def test_a_right_answer_of_several_sentences_is_not_made_up_again(model: Scripted) -> None:
    told = "The most likely diagnosis is hereditary haemochromatosis, and phlebotomy is the first treatment."
    long = replace(OPEN, answer=told)
    (same,) = wronged(model, [long], 1.0, lambda *_: made_up("hereditary haemochromatosis"))
    assert "right one again" in (same.reason or "")
    wrong = "The most likely diagnosis is Wilson disease, and penicillamine is the first treatment."
    (other,) = wronged(model, [long], 1.0, lambda *_: made_up("Wilson disease", answer=wrong))
    assert other.row is not None
    assert other.row.answer == wrong


@pytest.mark.parametrize("right", ["Hereditary haemochromatosis type one", "It is HHT."])
def test_the_initials_of_the_right_answer_are_no_wrong_one(model: Scripted, right: str) -> None:
    same = "Hereditary haemochromatosis type one" if "HHT" in right else "HHT"
    (outcome,) = wronged(model, [replace(OPEN, answer=right)], 1.0, lambda *_: made_up(same))
    assert "right one again" in (outcome.reason or "")


def test_rows_without_steps_or_a_known_answer_are_given_up() -> None:
    rows = [
        row(1),
        replace(row(2, reasoning=STEPWISE), answer_idx=None),
        replace(OPEN, answer=""),
    ]
    outcomes = PERTURBATIONS["answer"](1.0, 0)(rows, no_model)
    assert [outcome.reason for outcome in outcomes] == [NO_STEPS, NO_GOLD, NO_GOLD]
