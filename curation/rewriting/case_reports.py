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
    "- Write as a physician who knows the question and has never seen the report. Never speak of the report, of "
    "its figures, tables, authors or doctors: what it says of medicine is said as a fact of medicine.",
)
_GROUNDS: Final = (
    "- Take the medical knowledge out of the report, and no finding that neither the report nor the question holds.",
    "- End with the answer. Never mention that it was known beforehand.",
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
        ("- Take in what bears on the question, and leave out the rest of the report.", *_GROUNDS),
        _extracted,
    ),
    Rung(
        "nejmcr-reason-structure",
        ("- Go step by step, each thought on a line of its own, without headings, bullets or numbers.",),
        thoughts,
    ),
    Rung(
        "nejmcr-reason-depth",
        (
            "- Go as deep as the report allows: for every finding what it means, also where it is normal or absent; "
            "every alternative with what speaks for and against it and why it is left; what would have to be "
            "different for another answer.",
            "- Where the report doubts, goes back or checks itself, do so too.",
        ),
        _holding(check_weighs),
    ),
    Rung("nejmcr-reason-purity", _UNSEEN, _holding(check_pure)),
    Rung(
        "nejmcr-reason-style",
        (
            "- Think aloud in the first person, in natural spoken language that moves from thought to thought with "
            'turns such as "Hmm", "Wait", "Oh" or "Let me see".',
        ),
        _holding(check_first_person, check_thinks_aloud),
    ),
)
"""What the ablations ask for, from the first on; the order is that of the checks too."""

_TASK: Final = (
    "You write texts from which a language model learns medical reasoning. Below stand a medical question, its right "
    "answer and, between <the_reasoning> tags, the text of a case report. Write the reasoning that leads to the answer."
)
_PLAIN_EXAMPLE: Final = """\
The itching began 10 minutes after the sting, so an immediate reaction is more likely than an infection.
Wheals alone would fit a large local reaction, but the blood pressure of 84/50 mmHg would not.
Two organ systems are affected within minutes, without fever, and that is anaphylaxis."""


def _reason(name: StyleName, rungs: Sequence[Rung]) -> Style:
    spoken = len(rungs) == len(LADDER)
    form = "plain text" if len(rungs) == 1 else "plain lines, one thought a line"
    told = Told(
        _TASK,
        [rule for rung in rungs for rule in rung.rules],
        f"{form}, from the first thought on the question to the answer.",
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
            "- Tell the thinking of the physician who works the case out, in the first person and in the order in "
            "which the findings become known: what each makes likely, what is asked or tested next and why.",
            "- Stop at the answer: treatment and course after it are left out, unless the question asks for them.",
            *_GROUNDS,
            *_UNSEEN,
        ),
        "plain lines, one thought a line, no headings, no bullets, no numbers before the lines.",
        "A beekeeper who itches 10 minutes after a sting makes me think of an immediate reaction.\n" + _PLAIN_EXAMPLE,
        ("question", "options", "answer", "reasoning"),
    )
    return told_style("nejmcr-transform", told, _transformed, _LENGTHS, 1.0)


def _clean() -> Style:
    told = Told(
        "Between <the_reasoning> tags below stands medical reasoning that was made out of a case report and still "
        "shows it. Take out what shows it, and nothing else.",
        (
            "- Where the text speaks of the report, of its figures or tables, or of a doctor by name, say the same "
            'thing without that: "the report notes that fever is rare" becomes "fever is rare".',
            "- Leave every other sentence word for word as it is. Add nothing, shorten nothing, correct nothing.",
        ),
        "the whole text, in the lines and paragraphs that it has.",
        "Fever is rare in such a reaction. The blood pressure of 84/50 mmHg speaks for anaphylaxis.",
        ("reasoning",),
    )
    return told_style("nejmcr-clean", told, cleaned_of_mentions, Lengths(0.5, 1.1), 1.0)


class ExamQuestion(BaseModel):
    """What `nejmcr-qa` answers with."""

    model_config = ConfigDict(extra="forbid")
    question: str
    answer: str


EXAM_EXAMPLE: Final = ExamQuestion(
    question="A beekeeper of 34 years has itching palms 10 minutes after a sting, wheals on both arms and a blood "
    "pressure of 84/50 mmHg. What is to be injected first?",
    answer="Adrenaline into the thigh muscle",
)
_EXAM: Final = Told(
    "You write questions for a hard examination of experienced physicians. Below stand a medical question, its answer "
    "and, between <the_reasoning> tags, the text of a case report. Make one exam question and its answer out of them.",
    (
        "- The question tells the case and then asks for one clinical decision: a diagnosis, a cause, the next test, a "
        "treatment. It can be answered by an expert who sees nothing but the question, and hardly by anyone else.",
        "- Everything in it is out of the material, and all that is needed to reason it through is in it: history, "
        "findings with numbers and units, also those that are normal or absent.",
        "- The answer is specific and short, and there is one right answer only. It stands nowhere in the question.",
        "- It is no multiple choice: give no options.",
        "- Never speak of the report, of its figures, tables, authors or doctors.",
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
