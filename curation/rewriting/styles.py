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
    "You prepare texts that teach a language model medical reasoning. The text between the <the_reasoning> tags below "
    "is reasoning about a medical question. Rewrite it in another form."
)
_KEEP_ALL: Final = (
    "- Keep all of its content: every finding, every number with its unit, every drug and dose, every alternative that "
    "it considers with the arguments for and against it, and the conclusion.",
    "- Leave out only repetition and filler. Where the reasoning corrects itself, keep what it arrives at and why.",
)
_KEEP_CORE: Final = (
    "- Keep the decisive findings and numbers, the inference that leads from them to the conclusion, and the "
    "conclusion itself.",
)
_FAITHFUL: Final = (
    "- Do not add any fact, finding or source of your own, and do not change the conclusion. What the reasoning "
    "considers uncertain must stay uncertain.",
)
_REASON: Final = (
    "You write texts that teach a language model medical reasoning. Below are a medical question and its correct "
    "answer. Write the reasoning that leads from the question to that answer."
)
_OWN: Final = (
    "- Reason like a clinician who does not yet know the answer: take up each relevant finding in the question, say "
    "what it means, weigh the plausible answers against each other, and say why the others are rejected.",
    "- End with the conclusion, which must be the answer given below. Never reveal that the answer was known in "
    "advance.",
    "- Use only well-established facts, and no finding that is not in the question.",
    "- Do not restate the question.",
)
_STEPS: Final = (
    'numbered steps, each headed by a line "## Step N: Title", with N counting up from 1 and the content of the step '
    "on the lines below it"
)
_NOTE: Final = (
    "Put what the question and the reasoning say into the section where it belongs, in short bullet points. Do not "
    'leave out any section; where nothing is known for one, write "None mentioned."'
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
    form = f"a clinical note in {kind.upper()} format with exactly the headings {headings}, in this order. {_NOTE}"
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
        f"{_STEPS}. The steps follow the order of the reasoning, and the last one states the conclusion.",
        lambda text, row: stepwise(text, _least_steps(row)),
        _WHOLE,
        1.1,
    ),
    _rewriting(
        "1-sentence",
        f"exactly one sentence of at most {MOST_WORDS} words, ending with a period.",
        lambda text, _: one_sentence(text),
        _CORE,
        0.2,
        _KEEP_CORE,
    ),
    _rewriting(
        "list",
        'a flat list, in the order of the reasoning. Every line begins with "- " and contains one fact or one '
        "inference.",
        lambda text, _: list_of_points(text),
        _POINTS,
        0.8,
    ),
    _rewriting(
        "markdown",
        'a Markdown document, divided by "##" headings (with "###" below them where that helps) that say what each '
        "part is about, with lists or tables where several findings or alternatives are set side by side.",
        lambda text, _: markdown(text),
        _WHOLE,
        1.2,
    ),
    _with_question(
        "step-evidence",
        f'{_STEPS}: first the inference made in this step, then a line that begins with "**Evidence:**" and states the '
        "findings from the question or the facts from the reasoning that support it. Do not cite any study, guideline "
        "or case that is not in the source material.",
        lambda text, row: with_evidence(text, _least_steps(row)),
        1.4,
    ),
    _with_question(
        "note",
        "a clinical note in the one format that fits the material best, with exactly the headings of that format as "
        f'"##" headings, in the order given. The formats: {_KINDS}. Choose SOAPIE if the material says what was done '
        "and how the patient responded, ISBAR if a patient is handed over or help is called for, POMR if several "
        f"problems are followed up, and SOAP otherwise. {_NOTE}",
        lambda text, _: note(text),
        1.0,
    ),
    *(_note(kind) for kind in NOTES),
    _rewriting(
        "decision-tree",
        "a decision tree. The first line is the root: what has to be decided first. Every other line is a branch: it "
        'begins with "-> ", is indented two spaces deeper than its parent, and states the finding and what follows '
        f'from it or is asked next. The branches that the reasoning takes end with "{TAKEN}"; the branches that it '
        "rules out are included too, with what speaks against them.",
        lambda text, _: decision_tree(text),
        _POINTS,
        0.8,
    ),
    _rewriting(
        "qa",
        'alternating questions and answers, each question on a line that begins with "Q: ", its answer on the next '
        'line, which begins with "A: ". Each question asks for the next step of the reasoning; the last answer states '
        "the conclusion.",
        lambda text, _: questions_and_answers(text),
        _WHOLE,
        1.2,
    ),
    _rewriting(
        "socratic",
        "a Socratic dialogue between two or more medical experts from the specialties that the content calls for. Each "
        'turn begins with the speaker\'s title and a colon ("Cardiologist: "). Through their questions they lead each '
        "other from one thought to the next, in a professional tone; the last turn states the conclusion.",
        lambda text, _: talk(text),
        Lengths(0.15, 4.0),
        1.5,
    ),
    _own(
        "cot",
        "thinking aloud in plain lines, one thought per line, in natural language, with doubts and second thoughts "
        "where they arise. No headings, no bullets, no line numbers.",
        thoughts,
    ),
    _own("cot-step", f"{_STEPS}. The last step states the conclusion.", _steps_of_its_own),
)
STYLES: Final[Mapping[StyleName, Rewriting]] = {
    **{style.name: style for style in _STYLES},
    "none": without_reasoning,
    **CASE_REPORT_STYLES,
}
