"""The styles for case reports: rows of which the reasoning is the text of a report that ends in a diagnosis.

`nejmcr-qa` makes an exam question out of the report, and the row becomes that question; `nejmcr-reason` then makes the
reasoning for it, and `nejmcr-clean` takes out what still speaks of the report. The ablations of `nejmcr-reason` are
rungs of a ladder: each asks for what the ones below it ask for, and for one thing more; `nejmcr-reason` itself asks for
all but the style, as `nejmcr-reason-purity` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel, ConfigDict

from curation.rewriting.case_report_checks import (
    check_comes_to_the_answer,
    check_exam_question,
    check_first_person,
    check_pure,
    check_thinks_aloud,
    check_weighs,
    cleaned_of_mentions,
)
from curation.rewriting.checks import Check, Lengths, checked, object_of
from curation.rewriting.examples import EXAMPLES
from curation.rewriting.prompts import Told, told_style
from curation.rewriting.sentences import check_own_reasoning, thoughts
from curation.rewriting.style import Style
from data.rows import Row, question_id_of
from registry.rewriting_schema import StyleName

_LENGTHS: Final = Lengths(0.02, 3.0)
_UNSEEN: Final = (
    "- Write as a physician who knows the question and has never seen the report. Never refer to the report or to its "
    "figures, tables, authors or doctors; state its medical content as medical fact.",
)
_GROUNDS: Final = (
    "- Take the medical knowledge from the report, and use no finding that is in neither the report nor the question.",
    "- End with the answer. Never reveal that it was known in advance.",
)


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing that is asked of reasoning, and what holds an answer to it."""

    name: StyleName
    rules: tuple[str, ...]
    check: Callable[[str, Row], str]


def _holding(*checks: Callable[[str], None]) -> Check:
    def check(text: str, _: Row) -> str:
        for each in checks:
            each(text)
        return text

    return check


def _extracted(text: str, row: Row) -> str:
    check_own_reasoning(text, row)
    check_comes_to_the_answer(text, row)
    return text.strip()


LADDER: Final = (
    Rung(
        "nejmcr-reason-extraction",
        ("- Use what is relevant to the question, and leave out the rest of the report.", *_GROUNDS),
        _extracted,
    ),
    Rung(
        "nejmcr-reason-structure",
        ("- Proceed step by step, each thought on a line of its own, without headings, bullets or line numbers.",),
        thoughts,
    ),
    Rung(
        "nejmcr-reason-depth",
        (
            "- Go as deep as the report allows: what every finding means, including those that are normal or absent; "
            "what speaks for and against every alternative and why it is rejected; what would have to be different for "
            "another answer to be right.",
            "- Where the report expresses doubt, reconsiders or checks itself, do so too.",
        ),
        _holding(check_weighs),
    ),
    Rung("nejmcr-reason-purity", _UNSEEN, _holding(check_pure)),
    Rung(
        "nejmcr-reason-style",
        (
            "- Think aloud in the first person, in natural spoken language that moves from thought to thought with "
            'phrases such as "Hmm", "Wait", "Oh" or "Let me see".',
        ),
        _holding(check_first_person, check_thinks_aloud),
    ),
)
"""What the ablations ask for, from the first on; the order is that of the checks too."""

_TASK: Final = (
    "You write texts that teach a language model medical reasoning. Below are a medical question, its correct answer "
    "and, between the <the_reasoning> tags, the text of a case report. Write the reasoning that leads to the answer."
)
_PLAIN_EXAMPLE: Final = """\
The itching began 10 minutes after the sting, so an immediate reaction is more likely than an infection.
Urticaria alone would fit a large local reaction, but a blood pressure of 84/50 mmHg would not.
Two organ systems are involved within minutes, without fever, and that is anaphylaxis."""


def _reason(name: StyleName, rungs: Sequence[Rung]) -> Style:
    spoken = len(rungs) == len(LADDER)
    form = "plain text" if len(rungs) == 1 else "plain lines, one thought per line"
    told = Told(
        _TASK,
        [rule for rung in rungs for rule in rung.rules],
        f"{form}, from the first thought about the question to the answer.",
        EXAMPLES["cot"] if spoken else _PLAIN_EXAMPLE,
        ("question", "options", "answer", "reasoning"),
    )

    def check(text: str, row: Row) -> str:
        for rung in rungs:
            text = rung.check(text, row)
        return text

    return told_style(name, told, check, _LENGTHS, 1.0)


def _transformed(text: str, row: Row) -> str:
    text = thoughts(text, row)
    check_first_person(text)
    check_comes_to_the_answer(text, row)
    check_pure(text)
    return text


def _transform() -> Style:
    told = Told(
        _TASK,
        (
            "- Give the thinking of the physician who works up the case, in the first person and in the order in which "
            "the findings become known: what each makes likely, what is asked or tested next and why.",
            "- Stop at the answer: leave out later treatment and clinical course unless the question asks for them.",
            *_GROUNDS,
            *_UNSEEN,
        ),
        "plain lines, one thought per line, no headings, no bullets, no line numbers.",
        "A beekeeper with itching 10 minutes after a sting makes me think of an immediate reaction.\n" + _PLAIN_EXAMPLE,
        ("question", "options", "answer", "reasoning"),
    )
    return told_style("nejmcr-transform", told, _transformed, _LENGTHS, 1.0)


def _clean() -> Style:
    told = Told(
        "The text between the <the_reasoning> tags below is medical reasoning that was derived from a case report and "
        "still refers to it. Remove these references, and nothing else.",
        (
            "- Where the text refers to the report, to its figures or tables, or to a doctor by name, say the same "
            'thing without the reference: "the report notes that fever is rare" becomes "fever is rare".',
            "- Leave every other sentence exactly as it is, word for word. Add nothing, shorten nothing, correct "
            "nothing.",
        ),
        "the whole text, with its lines and paragraphs as they are.",
        "Fever is rare in such a reaction. The blood pressure of 84/50 mmHg suggests anaphylaxis.",
        ("reasoning",),
    )
    return told_style("nejmcr-clean", told, cleaned_of_mentions, Lengths(0.5, 1.1), 1.0)


class ExamQuestion(BaseModel):
    """What `nejmcr-qa` answers with."""

    model_config = ConfigDict(extra="forbid")
    question: str
    answer: str


EXAM_EXAMPLE: Final = ExamQuestion(
    question="Ten minutes after a sting, a 34-year-old beekeeper has itching of the palms, urticaria on both arms and "
    "a blood pressure of 84/50 mmHg. Which drug should be given first, and by which route?",
    answer="Intramuscular epinephrine",
)
_EXAM: Final = Told(
    "You write questions for a difficult examination of experienced physicians. Below are a medical question, its "
    "answer and, between the <the_reasoning> tags, the text of a case report. Turn them into one exam question and its "
    "answer.",
    (
        "- The question presents the case and then asks for one clinical decision: a diagnosis, a cause, the next test "
        "or a treatment. An expert who sees only the question can answer it; hardly anyone else can.",
        "- Everything in it comes from the source material, and it contains everything that is needed to reason it "
        "through: history and findings with numbers and units, including those that are normal or absent.",
        "- The answer is specific and short, and only one answer is correct. The answer does not appear in the "
        "question.",
        "- It is not a multiple-choice question: do not give options.",
        "- Never refer to the report or to its figures, tables, authors or doctors.",
    ),
    'one JSON object with the keys "question" and "answer".',
    EXAM_EXAMPLE.model_dump_json(),
    ("question", "options", "answer", "reasoning"),
)
_hold_text = checked(f"{_EXAM.instructions}\n{EXAM_EXAMPLE.question}", lambda text, _: text, Lengths())


def _read_exam(text: str, row: Row) -> Row:
    """The row with another question and answer, and so without options; its reasoning stays the report."""
    found = object_of(text, ExamQuestion)
    asked = replace(row, options=(), answer_idx=None)
    question, answer = (_hold_text(part, asked) for part in (found.question, found.answer))
    check_exam_question(question, answer)
    return replace(asked, question=question, answer=answer, question_id=question_id_of(question, ()))


CASE_REPORT_STYLES: Final[Mapping[StyleName, Style]] = {
    style.name: style
    for style in (
        _transform(),
        Style("nejmcr-qa", _EXAM.prompt, _read_exam, 0.4, schema=ExamQuestion.model_json_schema()),
        _reason("nejmcr-reason", LADDER[:-1]),
        *(_reason(rung.name, LADDER[: number + 1]) for number, rung in enumerate(LADDER)),
        _clean(),
    )
}
