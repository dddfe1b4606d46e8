"""The text styles: what the rewritten reasoning must keep, the form that it gets, and what holds it to that form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from curation.rewriting.case_reports import CASE_REPORT_STYLES
from curation.rewriting.checks import Check, Lengths, Part
from curation.rewriting.dialogues import questions_and_answers, talk
from curation.rewriting.examples import EXAMPLES
from curation.rewriting.notes import NOTES, TAKEN, NoteKind, decision_tree, note
from curation.rewriting.outcome import AskRows, Outcome, Rewriting
from curation.rewriting.prompts import Told, told_style
from curation.rewriting.sentences import MOST_WORDS, check_own_reasoning, one_sentence, thoughts
from curation.rewriting.structures import list_of_points, markdown, stepwise, with_evidence
from curation.rewriting.style import Style
from data.rows import Row
from registry.rewriting_schema import StyleName

ONE_STEP_CHARACTERS: Final = 400
"""Reasoning up to this length may well be a single step."""

_REWRITE: Final = (
    "You prepare texts from which a language model learns medical reasoning. Between <the_reasoning> tags below stands "
    "reasoning about a medical question. Put the reasoning into another form."
)
_KEEP_ALL: Final = (
    "- Keep all of its content: every finding, every number with its unit, every drug and dose, every alternative that "
    "it weighs with the grounds for or against it, and the conclusion.",
    "- Leave out only repetition and filler. Where it corrects itself, keep what it arrives at and why.",
)
_KEEP_CORE: Final = (
    "- Keep the findings and numbers that decide, the thought that leads from them to the conclusion, and the "
    "conclusion.",
)
_FAITHFUL: Final = (
    "- Add no fact, finding or source of your own, and do not change what it concludes. What it holds for uncertain "
    "stays uncertain.",
)
_REASON: Final = (
    "You write texts from which a language model learns medical reasoning. Below stand a medical question and its "
    "right answer. Write the reasoning that leads from the question to that answer."
)
_OWN: Final = (
    "- Think as a clinician does who does not know the answer yet: take up each finding of the question that matters, "
    "say what it means, weigh the likely answers against each other, and say why the others are left.",
    "- End with the conclusion, which must be the answer below. Never mention that the answer was there beforehand.",
    "- Use facts that are well established, and no finding that the question does not hold.",
    "- Do not repeat the question.",
)
_STEPS: Final = (
    'numbered steps, each headed by a line "## Step N: Title", N counting up from 1, its content on the lines below'
)
_NOTE: Final = (
    "Put what the question and the reasoning say where it belongs in such a note, in short points. Leave out no "
    'section; where nothing is known for one, write "None mentioned."'
)
_KINDS: Final = "; ".join(f"{kind.upper()}: {', '.join(NOTES[kind])}" for kind in ("soap", "soapie", "isbar", "pomr"))

_WHOLE: Final = Lengths(0.15, 3.0)
_POINTS: Final = Lengths(0.08, 2.0)
_CORE: Final = Lengths(most=1.5)


def _rewriting(
    name: StyleName, form: str, check: Check, lengths: Lengths, expansion: float, rules: Sequence[str] = _KEEP_ALL
) -> Style:
    """A style that puts the row's reasoning into another form."""
    told = Told(_REWRITE, (*rules, *_FAITHFUL), form, EXAMPLES[name], ("reasoning",))
    return told_style(name, told, check, lengths, expansion)


def _with_question(name: StyleName, form: str, check: Check, expansion: float) -> Style:
    """The same where the form asks for the findings, of which the reasoning may name only a few."""
    parts: Sequence[Part] = ("question", "reasoning")
    told = Told(_REWRITE, (*_KEEP_ALL, *_FAITHFUL), form, EXAMPLES[name], parts)
    return told_style(name, told, check, Lengths(0.08, 6.0), expansion)


def _own(name: StyleName, form: str, check: Check) -> Style:
    """A style that writes new reasoning, out of question and answer alone."""
    told = Told(_REASON, _OWN, form, EXAMPLES[name], ("question", "options", "answer"))
    return told_style(name, told, check, Lengths(), 1.0)


def _note(kind: NoteKind) -> Style:
    headings = ", ".join(f'"## {heading}"' for heading in NOTES[kind])
    form = f"a clinical note ({kind.upper()}) with exactly the headings {headings}, in this order. {_NOTE}"
    return _with_question(kind, form, lambda text, _: note(text, (kind,)), 1.0)


def _least_steps(row: Row) -> int:
    return 1 if len(row.reasoning) <= ONE_STEP_CHARACTERS else 2


def _steps_of_its_own(text: str, row: Row) -> str:
    check_own_reasoning(text, row)
    return stepwise(text, least=2)


def without_reasoning(rows: Sequence[Row], _ask: AskRows) -> list[Outcome]:
    """Leave the reasoning of every row out: the answer alone is trained on. Asks nothing."""
    left_out = (replace(row, reasoning="") for row in rows)
    return [Outcome(row, "accepted" if old.reasoning else "unchanged") for old, row in zip(rows, left_out, strict=True)]


_STYLES: Final = (
    _rewriting(
        "step",
        f"{_STEPS}. The steps follow the order of thought, and the last one concludes.",
        lambda text, row: stepwise(text, _least_steps(row)),
        _WHOLE,
        1.1,
    ),
    _rewriting(
        "1-sentence",
        f"exactly one sentence of at most {MOST_WORDS} words, which ends with a full stop.",
        lambda text, _: one_sentence(text),
        _CORE,
        0.2,
        _KEEP_CORE,
    ),
    _rewriting(
        "list",
        'a flat list, in the order of thought. Every line begins with "- " and holds one fact or one step of thought.',
        lambda text, _: list_of_points(text),
        _POINTS,
        0.8,
    ),
    _rewriting(
        "markdown",
        'a Markdown document, divided by "##" headings, and "###" below them where that helps, that say what each part '
        "is about; lists and tables where the content has several findings or alternatives side by side.",
        lambda text, _: markdown(text),
        _WHOLE,
        1.2,
    ),
    _with_question(
        "step-evidence",
        f'{_STEPS}: first what is concluded in this step, then a line that begins with "**Evidence:**" and says which '
        "findings of the question or facts of the reasoning support it. Name no study, guideline or case that is not "
        "in the material.",
        lambda text, row: with_evidence(text, _least_steps(row)),
        1.4,
    ),
    _with_question(
        "note",
        f'a clinical note of the one kind that fits the material best, with exactly the headings of that kind as "##" '
        f"headings, in this order. The kinds: {_KINDS}. Choose SOAPIE where it is told what was done and what came of "
        "it, ISBAR where a patient is handed over or help is called, POMR where several problems are followed up, else "
        f"SOAP. {_NOTE}",
        lambda text, _: note(text),
        1.0,
    ),
    *(_note(kind) for kind in NOTES),
    _rewriting(
        "decision-tree",
        "a decision tree. Its first line is the root, what is to be decided first. Every further line is a branch: it "
        'begins with "-> ", is indented by two blanks more than what it hangs on, and names the finding and what '
        f'follows or is asked next. The branches that the reasoning takes end with "{TAKEN}"; those that it excludes '
        "stand there too, with what speaks against them.",
        lambda text, _: decision_tree(text),
        _POINTS,
        0.8,
    ),
    _rewriting(
        "qa",
        'questions and answers by turns, each question on a line that begins with "Q: ", its answer on the next, which '
        'begins with "A: ". Each question asks for the next step of thought; the last answer concludes.',
        lambda text, _: questions_and_answers(text),
        _WHOLE,
        1.2,
    ),
    _rewriting(
        "socratic",
        "a Socratic dialogue between two or more medical experts of the fields that the content needs. Each turn "
        'begins with the speaker\'s field and a colon ("Cardiologist: "). By questions they lead each other from '
        "thought to thought, in a serious tone; the last turn concludes.",
        lambda text, _: talk(text),
        Lengths(0.15, 4.0),
        1.5,
    ),
    _own(
        "cot",
        "thinking aloud in plain lines, one thought a line, in natural language, with doubts and second looks where "
        "they arise. No headings, no bullets, no numbers before the lines.",
        thoughts,
    ),
    _own("cot-step", f"{_STEPS}. The last step concludes.", _steps_of_its_own),
)
STYLES: Final[Mapping[StyleName, Rewriting]] = {
    **{style.name: style for style in _STYLES},
    "none": without_reasoning,
    **CASE_REPORT_STYLES,
}
