"""Styles for case reports: what each holds an answer to, and that the ablations ask for ever more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import BaseModel

from curation.rewriting.case_report_checks import mentions_of
from curation.rewriting.case_reports import CASE_REPORT_STYLES, EXAM_EXAMPLE, LADDER, ExamQuestion
from curation.rewriting.perturbations_answer import WrongAnswer
from curation.rewriting.style import Style
from data.rows import Row, question_id_of
from inference.dialogue import Complaint
from registry.rewriting_schema import STYLE_NAMES, StyleName
from tests.rewriting_case import KEY_VARIABLE, Scripted, scripted
from tests.stages import row

REPORT = (
    "Dr. Hart saw a gardener of 61 years with a fever of 38.9 °C. The eosinophil count was 4,200 per mm3, as Table 1 "
    "shows. Larvae in the sputum were diagnostic. Strongyloidiasis was treated with ivermectin."
)
CASE = replace(
    row(1, reasoning=REPORT), question="What ails the gardener?", options=(), answer_idx=None, answer="Strongyloidiasis"
)
FLAT = "A gardener with fever and many eosinophils has larvae in the sputum. That is strongyloidiasis."
LINES = "\n".join(f"{line}." for line in FLAT.replace(" and many", ".\nThere are many").rstrip(".").split(". "))
DEEP = f"{LINES}\nFilariasis is less likely, although it raises eosinophils."
TELLING = "\nThe case report says so."
SPOKEN = f"Hmm, what makes me think of worms?\n{DEEP}\nWait, but larvae leave no doubt."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    with pytest.MonkeyPatch.context() as patch, scripted(tmp_path_factory.mktemp("answers")) as server:
        patch.setenv(KEY_VARIABLE, "k-0123456789")
        yield server


def style(name: StyleName) -> Style:
    return CASE_REPORT_STYLES[name]


def complaint(name: StyleName, text: str, given: Row = CASE) -> str | None:
    """What is wrong with an answer; null when it passes."""
    try:
        style(name).read(text, given)
    except Complaint as found:
        return str(found)
    return None


def test_every_style_for_case_reports_is_there() -> None:
    assert set(CASE_REPORT_STYLES) == {name for name in STYLE_NAMES if name.startswith("nejmcr-")}
    assert all(name == each.name for name, each in CASE_REPORT_STYLES.items())


def test_each_rung_asks_for_what_those_below_it_ask_for_and_more() -> None:
    prompts = [style(rung.name).prompt(CASE) for rung in LADDER]
    for number, prompt in enumerate(prompts):
        asked = [all(rule in prompt for rule in rung.rules) for rung in LADDER]
        assert asked == [place <= number for place in range(len(LADDER))]
    assert len(set(prompts)) == len(LADDER)
    assert style("nejmcr-reason").prompt(CASE) == style("nejmcr-reason-purity").prompt(CASE)


@pytest.mark.parametrize(
    ("text", "passed"),
    [("Filariasis.", 0), (FLAT, 1), (LINES, 2), (DEEP + TELLING, 3), (DEEP, 4), (SPOKEN + TELLING, 3), (SPOKEN, 5)],
)
def test_each_rung_holds_an_answer_to_one_thing_more(text: str, passed: int) -> None:
    held = [complaint(rung.name, text) is None for rung in LADDER]
    assert held == [place < passed for place in range(len(LADDER))]
    assert (complaint("nejmcr-reason", text) is None) == (passed >= 4)


def test_reasoning_may_come_to_an_option_by_its_letter() -> None:
    asked = row(1, reasoning=REPORT)
    assert complaint("nejmcr-reason-extraction", "All of the findings are explained. The answer is B.", asked) is None
    assert "does not come to the answer" in str(complaint("nejmcr-reason-extraction", "Some drug is it.", asked))


def test_reasoning_comes_to_an_answer_of_digits() -> None:
    asked = replace(CASE, answer="T4 5 mg")
    assert complaint("nejmcr-reason-extraction", "From all of this follows T4, and of it 5 mg.", asked) is None
    assert "never says: t4" in str(complaint("nejmcr-reason-extraction", "From all of this follows 5 mg.", asked))


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        (f"I see this.\n{DEEP}", None),
        (DEEP, "not in the first person"),
        (f"I see this.\n{DEEP}\nFigure 2 shows it.", 'without "Figure 2"'),
        (f"I see this, that is strongyloidiasis, {'and ' * 3}nothing else.", "too few lines"),
        (f"I see this.\n{DEEP}".replace("trongyloidiasis", "omething"), "does not come to the answer"),
        (f"## I see this\n{DEEP}", "heading"),
        (REPORT, "unchanged"),
    ],
)
def test_a_transformed_report_is_first_person_thinking(text: str, gist: str | None) -> None:
    found = complaint("nejmcr-transform", text)
    assert found is None if gist is None else gist in str(found)


QUESTION = (
    "A gardener of 61 years has a fever of 38.9 °C, coughs for 3 weeks, and has 4,200 eosinophils per mm3 and larvae "
    "in the sputum. What is the diagnosis?"
)


def exam(question: str = QUESTION, answer: str = "Strongyloidiasis", **more: str) -> str:
    return json.dumps({"question": question, "answer": answer, **more})


@pytest.mark.parametrize("answer", [ExamQuestion, WrongAnswer])
def test_vendors_can_hold_an_answer_to_its_schema(answer: type[BaseModel]) -> None:
    # OpenAI and Vertex refuse the whole request for "minLength".
    for field in answer.model_json_schema()["properties"].values():
        assert field == {"title": field["title"], "type": "string"}


def test_an_exam_question_takes_the_place_of_question_and_answer(model: Scripted) -> None:
    given_row = row(1, reasoning=REPORT)
    (outcome,) = model.rewrite(style("nejmcr-qa"), [given_row], lambda *_: f"Here it is:\n{exam()}")
    after = outcome.row
    assert after is not None
    assert (after.question, after.answer, after.options, after.answer_idx) == (QUESTION, "Strongyloidiasis", (), None)
    assert after.question_id == question_id_of(QUESTION, ()) != given_row.question_id
    assert (after.id, after.reasoning, after.reasoning_original) == (given_row.id, REPORT, REPORT)
    schema = model.server.bodies[0]["response_format"]["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["question", "answer"], False)


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        (exam(), None),
        (exam(f"{QUESTION} E. coli was not found."), None),
        (QUESTION, "not the JSON object"),
        (exam(note="x"), "not the JSON object"),
        (exam(""), "empty"),
        (EXAM_EXAMPLE.model_dump_json(), "repeats the instructions"),
        (exam("What is the diagnosis?"), "no vignette"),
        (exam(QUESTION.replace("?", ".")), "no vignette"),
        (exam(f"{QUESTION} Is it strongyloidiasis?"), "answer stands in the question"),
        (exam(f"{QUESTION}\nA. Filariasis\nB. Toxocariasis"), "multiple choice"),
        (exam(f"{QUESTION} (A) Filariasis (B) Toxocariasis"), "multiple choice"),
        (exam(QUESTION.replace("What", "Which of the following")), "multiple choice"),
        (exam(answer="Yes."), "nothing specific"),
        (exam(answer="Strongyloidiasis, because of all the larvae " + "and so on " * 9), "too long"),
        (exam(answer="As Dr. Hart says"), 'without "Dr. Hart"'),
        (exam(QUESTION.replace("A gardener", "In this report a gardener")), 'without "this report"'),
    ],
)
def test_an_exam_question_is_open_whole_and_without_its_answer(text: str, gist: str | None) -> None:
    found = complaint("nejmcr-qa", text)
    assert found is None if gist is None else gist in str(found)


TOLD = (
    "The fever has lasted 3 weeks. The case report notes that larvae are rare. As Dr. Hart argues in Figure 2A, "
    "filariasis has none.\nThe count is 4,200. So it is strongyloidiasis."
)
CLEANED = (
    "The fever has lasted 3 weeks. Larvae are rare. Filariasis has none.\nThe count is 4,200. So it is "
    "strongyloidiasis."
)


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        (CLEANED, None),
        (TOLD, 'without "case report", "Dr. Hart", "Figure 2A"'),
        (CLEANED.replace("Filariasis has", "As shown in table 3, filariasis has"), 'without "table 3"'),
        (CLEANED.replace("The count is 4,200", "There are 4,200 of them"), "Sentences were changed"),
        (CLEANED[:60], "Sentences were changed"),
        (CLEANED[:29], "Sentences were changed"),
        (f"{CLEANED}{' And more is added to it.' * 30}", "too long"),
    ],
)
def test_cleaning_takes_out_mentions_and_leaves_the_rest(text: str, gist: str | None) -> None:
    found = complaint("nejmcr-clean", text, replace(CASE, reasoning=TOLD))
    assert found is None if gist is None else gist in str(found)


def test_what_needs_no_cleaning_may_stay_as_it_is() -> None:
    assert complaint("nejmcr-clean", CLEANED, replace(CASE, reasoning=CLEANED)) is None


def test_which_words_are_mentions_of_a_report() -> None:
    said = "Dr. Hart, Doctor Hart, NEJM, Fig. 2, figures 1 and tables 3, Panel B, the authors, this article, Video 1"
    assert len(mentions_of(said)) == 10
    innocent = "The doctor read the pathology report: tilt table test, a panel of 5 tests, supplemental oxygen, tables."
    assert mentions_of(innocent) == []


def test_answers_are_accepted_repaired_or_given_up(model: Scripted) -> None:
    rows = [replace(CASE, id=str(number), question=f"What ails gardener {number}?") for number in range(3)]

    def answer(prompt: str, turn: int) -> str:
        good_from = 0 if "gardener 0?" in prompt else 1 if "gardener 1?" in prompt else 9
        return DEEP if turn >= good_from else DEEP + TELLING

    outcomes = model.rewrite(style("nejmcr-reason"), rows, answer)
    assert [outcome.status for outcome in outcomes] == ["accepted", "repaired", "given up"]
    assert [outcome.row and outcome.row.reasoning for outcome in outcomes] == [DEEP, DEEP, None]
    assert outcomes[2].reason is not None
    assert outcomes[2].reason.startswith("The text mentions the report, its figures or its doctors.")


@pytest.mark.parametrize("name", sorted(CASE_REPORT_STYLES))
def test_without_a_report_nothing_is_asked(model: Scripted, name: StyleName) -> None:
    (outcome,) = model.rewrite(style(name), [replace(CASE, reasoning=" ")], lambda *_: DEEP)
    assert (outcome.status, model.calls) == ("given up", 0)
