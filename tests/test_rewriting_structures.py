"""The forms of rewritten reasoning: what passes as it is, what is made the same, and what is complained of."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rewriting.dialogues import questions_and_answers, talk
from curation.rewriting.examples import EXAMPLES
from curation.rewriting.notes import NOTES, decision_tree, note
from curation.rewriting.sentences import one_sentence, thoughts
from curation.rewriting.steps import join_steps, numbers_of, split_steps, with_headings
from curation.rewriting.structures import list_of_points, markdown, stepwise, with_evidence
from inference.dialogue import Complaint
from tests.stages import row

ROW = row(1)


def in_thoughts(text: str) -> str:
    return thoughts(text, ROW)


def as_soap(text: str) -> str:
    return note(text, ("soap",))


FORMS: dict[str, Callable[[str], str]] = {
    "step": stepwise,
    "1-sentence": one_sentence,
    "list": list_of_points,
    "markdown": markdown,
    "step-evidence": with_evidence,
    "note": note,
    "soap": as_soap,
    "soapie": lambda text: note(text, ("soapie",)),
    "isbar": lambda text: note(text, ("isbar",)),
    "pomr": lambda text: note(text, ("pomr",)),
    "decision-tree": decision_tree,
    "qa": questions_and_answers,
    "socratic": talk,
    "cot": in_thoughts,
    "cot-step": stepwise,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_prompt_has_the_form_that_the_prompt_asks_for(name: str) -> None:
    example = EXAMPLES[name]  # type: ignore[index]
    assert FORMS[name](example) == example


SMITH = "It is E. coli, e.g. Dr. J. Smith's strain vs. Another!"
TWO_STEPS = "## Step 1: Look\nFever.\n\n## Step 2: Conclude\nIt is flu."
VARIANTS = [
    (stepwise, "Here are the steps:\n\n## Step 1: Look\n\nFever.\n\n\n## Step 2: Conclude\nIt is flu.\n", TWO_STEPS),
    (stepwise, "### Step 1. Look\nFever.\n### Step 2 - **Conclude**\nIt is flu.", TWO_STEPS),
    (stepwise, "**Step 1: Look**\nFever.\n\n**Step 2:** Conclude\nIt is flu.", TWO_STEPS),
    (stepwise, "Step 1) Look:\nFever.\nStep 2: Conclude\nIt is flu.", TWO_STEPS),
    (stepwise, "## **Step 1: Look**\nFever.\n## Step 2\nConclude\nIt is flu.", TWO_STEPS),
    (
        stepwise,
        "## Step 1: Look\nFever.\nStep 2: comes later.\n## Step 2: Conclude\nIt is flu.",
        TWO_STEPS.replace("Fever.", "Fever.\nStep 2: comes later."),
    ),
    (one_sentence, "Fever of 39.5 °C\nmakes it flu", "Fever of 39.5 °C makes it flu."),
    (one_sentence, "Summary: Dr. Lee gave 5.5 mg i.v. Heparin", "Dr. Lee gave 5.5 mg i.v. Heparin."),
    (one_sentence, "**Summary:** It is E. coli, e.g. Dr. J. Smith's strain vs. Another!", SMITH),
    (one_sentence, "发热和咳嗽提示流感。", "发热和咳嗽提示流感。"),
    (one_sentence, 'It is "flu."', 'It is "flu."'),
    (one_sentence, "Here is the sentence: **It is flu**", "It is flu."),
    (one_sentence, "**It is flu.**", "It is flu."),
    (list_of_points, "The points:\n\n* Fever\n• Flu is\n  likely\n\n", "- Fever\n- Flu is likely"),
    (list_of_points, "1. Fever\n   - 39 °C\n2) Flu", "- Fever\n- 39 °C\n- Flu"),
    (markdown, "# Case\nFever.\n### Why\n- Flu\n\n\n\nDone", "## Case\nFever.\n#### Why\n- Flu\n\nDone"),
    (markdown, "Sure!\n\n**Case:**\nFever.", "## Case\nFever."),
    (markdown, "## Case ##\n```\n# no heading\n```", "## Case\n```\n# no heading\n```"),
    (
        with_evidence,
        "## Step 1: Look\nFever.\n- **Evidence**: 39 °C\n## Step 2: End\nFlu.\n### Evidence\nCough.",
        "## Step 1: Look\nFever.\n**Evidence:** 39 °C\n\n## Step 2: End\nFlu.\n**Evidence:** Cough.",
    ),
    (
        with_evidence,
        "## Step 1: Look\nEvidence suggests flu.\n*Evidence:*\nCough.",
        "## Step 1: Look\nEvidence suggests flu.\n**Evidence:** Cough.",
    ),
    (
        with_evidence,
        "## Step 1: Look\nIll.\n**Evidence:**\n- 39 °C\n- Cough",
        "## Step 1: Look\nIll.\n**Evidence:**\n- 39 °C\n- Cough",
    ),
    (
        as_soap,
        "# SOAP Note\n**Subjective:** Ill.\n### O: Objective\nFever.\nassessment:\n- Flu\n4. **Plan**\nPlan of rest.",
        "## Subjective\nIll.\n\n## Objective\nFever.\n\n## Assessment\n- Flu\n\n## Plan\nPlan of rest.",
    ),
    (
        as_soap,
        "### Subjective\nIll.\n### Objective\n#### Vital signs:\n39 °C\n### Assessment\nFlu.\n### Plan: Rest.",
        "## Subjective\nIll.\n\n## Objective\n**Vital signs:**\n39 °C\n\n## Assessment\nFlu.\n\n## Plan\nRest.",
    ),
    (stepwise, "## Step 1 of 2: Look\nFever.\n## Step 2/2: Conclude\nIt is flu.", TWO_STEPS),
    (stepwise, "**Step 1/2: Look**\nFever.\n**Step 2 of 2:** Conclude\nIt is flu.", TWO_STEPS),
    (
        with_evidence,
        "## Step 1: Look\nIll. **Evidence:** 39 °C\n## Step 2: End\nIt is flu! **Evidence**: cough",
        "## Step 1: Look\nIll.\n**Evidence:** 39 °C\n\n## Step 2: End\nIt is flu!\n**Evidence:** cough",
    ),
    (
        as_soap,
        "**S (Subjective):** Ill.\n## O (Objective)\nFever.\nA (Assessment): Flu.\n**P (Plan)**\nRest.",
        "## Subjective\nIll.\n\n## Objective\nFever.\n\n## Assessment\nFlu.\n\n## Plan\nRest.",
    ),
    (decision_tree, "Fever?\n  -> Yes: flu [taken].\n  -> No: well", "Fever?\n  -> Yes: flu [taken]\n  -> No: well"),
    (
        questions_and_answers,
        "1. Q: Why?\n   A: Fever.\n2. **Q:** So?\n   **A:** Flu.",
        "Q: Why?\nA: Fever.\n\nQ: So?\nA: Flu.",
    ),
    (stepwise, "## Step 1：Look\nFever.\n## Step 2：Conclude\nIt is flu.", TWO_STEPS),
    (
        questions_and_answers,
        "Q：为什么？\nA：发热。\nQ：所以？\nA：流感。",
        "Q: 为什么？\nA: 发热。\n\nQ: 所以？\nA: 流感。",
    ),
    (
        decision_tree,
        "The tree:\nFever?\n├── Yes → flu? (taken)\n│   └── No => cold\n└── No: well",
        "Fever?\n  -> Yes -> flu? [taken]\n    -> No -> cold\n  -> No: well",
    ),
    (
        decision_tree,
        "  Fever?\n\t- --> No\n\t- --> Yes **[Taken]**\n\t\t-> Flu",
        "Fever?\n  -> No\n  -> Yes [taken]\n    -> Flu",
    ),
    (
        questions_and_answers,
        "Here you go:\n**Q1:** Why?\n**A1:** Fever.\n\n- 39 °C\nQuestion 2. So?\n### Answer: Flu.",
        "Q: Why?\nA: Fever.\n- 39 °C\n\nQ: So?\nA: Flu.",
    ),
    (
        questions_and_answers,
        "**Q1: Why?**\nA1: Fever of **39 °C**\n**Q2: So?**\nA2: **Flu**.",
        "Q: Why?\nA: Fever of **39 °C**\n\nQ: So?\nA: **Flu**.",
    ),
    (
        talk,
        "**Cardiologist:** Why?\nDr. Lee (Surgeon): Fever.\nAnd a cough.\n**Cardiologist**: Flu.",
        "Cardiologist: Why?\n\nDr. Lee (Surgeon): Fever.\nAnd a cough.\n\nCardiologist: Flu.",
    ),
    (
        talk,
        "Surgeon: Why?\nInternist: I see:\n- Fever: 39 °C\n- Cough: dry\nSurgeon: Flu.",
        "Surgeon: Why?\n\nInternist: I see:\n- Fever: 39 °C\n- Cough: dry\n\nSurgeon: Flu.",
    ),
    (
        talk,
        "- 李医生：为什么？\n- 王医生：发热。\n- 李医生：流感。",
        "李医生: 为什么？\n\n王医生: 发热。\n\n李医生: 流感。",
    ),
    (
        talk,
        "Lee: Why?\nKim: Fever.\nNote: it rose.\nLee: Flu.\n**Conclusion:** It is flu.",
        "Lee: Why?\n\nKim: Fever.\nNote: it rose.\n\nLee: Flu.\n**Conclusion:** It is flu.",
    ),
    (one_sentence, "After 24 hrs. Hb fell, so it bleeds.", "After 24 hrs. Hb fell, so it bleeds."),
    (talk, "- Lee: Why?\n- Kim: Fever.\n- Lee: Flu.", "Lee: Why?\n\nKim: Fever.\n\nLee: Flu."),
    (one_sentence, "Un score à env. 5 et l'adm. évoque une grippe.", "Un score à env. 5 et l'adm. évoque une grippe."),
    (one_sentence, "Bett no. 5 hat ggf. Übelkeit.", "Bett no. 5 hat ggf. Übelkeit."),
    (in_thoughts, "Fever.\n\n  Hmm, a cold?\nNo, flu.", "Fever.\nHmm, a cold?\nNo, flu."),
]


@pytest.mark.parametrize(("form", "text", "stored"), VARIANTS)
def test_harmless_variants_are_stored_in_one_spelling(form: Callable[[str], str], text: str, stored: str) -> None:
    assert form(text) == stored
    assert form(stored) == stored


FLAWS = [
    (stepwise, "It is flu because of the fever.", "There are no steps"),
    (
        stepwise,
        "## Step 1: Look\nFever.\n## Step 3: End\nFlu.",
        r"not numbered 1, 2, 3 and so on. Their numbers are 1, 3",
    ),
    (stepwise, "## Step 1: Look\nFever.\n## Step 2: End", "no title or no content. Step 2"),
    (stepwise, "## Step 1: Fever, and so it is flu.", "no title or no content. Step 1"),
    (stepwise, f"## Step 1: {'fever ' * 40}\nFlu.", "title of a step is too long. That of step 1"),
    (stepwise, f"{TWO_STEPS}\n## Summary\nFlu.", "heading that is no step. Make .## Summary. a step"),
    (lambda text: stepwise(text, 2), "## Step 1: Look\nFever.", "too few steps. There is 1; .* 2 or more"),
    (stepwise, "Well.\nLet me see.\n", "There are no steps"),
    (one_sentence, "It is flu. The fever says so.", "more than one sentence. There are 2"),
    (one_sentence, "It lacks vitamin D. The bones say so.", "more than one sentence"),
    (one_sentence, "The dose is 5.5. Then it is 6.", "more than one sentence"),
    (one_sentence, "The fever fell after 24 hrs. The cough stayed.", "more than one sentence"),
    (one_sentence, "Was there a rash: no. The cough is dry.", "more than one sentence"),
    (one_sentence, "Is it flu? It is!", "more than one sentence"),
    (one_sentence, "提示流感。治疗。", "more than one sentence"),
    (one_sentence, "The findings are:", "breaks off"),
    (one_sentence, "fever " * 81, "too long. It has 81 words"),
    (one_sentence, "热" * 1100, "too long"),
    (list_of_points, "It is flu.", 'no item. .*unlike "It is flu."'),
    (list_of_points, "- Fever", "fewer than two items"),
    (list_of_points, "- Fever\n-\n- Flu", "An item is empty"),
    (list_of_points, "- Fever\n- Flu\n\nI hope that this helps.", "no item"),
    (list_of_points, "Sure.\nThe points are:\n- Fever\n- Flu", 'text before the beginning. .*"Sure."'),
    (list_of_points, f"{'Fever. ' * 50}\n- Fever\n- Flu", "There is content before the beginning"),
    (stepwise, f"{'Fever. ' * 50}\n{TWO_STEPS}", "There is text before the first step"),
    (markdown, "It is flu.", "no heading"),
    (markdown, "## Case\n## Flu", "nothing but headings"),
    (markdown, "## Case\n```\nFever.", "never closed"),
    (markdown, "## Case\n\n## Look\nFever.", 'section is empty. Write text below "## Case"'),
    (markdown, "## Case\nFever.\n### Why\n\n## So\nFlu.", 'section is empty. .*"### Why"'),
    (markdown, "## Case\nFever.\n\n## Conclusion\n", 'section is empty. .*"## Conclusion"'),
    (with_evidence, "## Step 1: Look\nFever.", "no evidence, or several. Step 1"),
    (with_evidence, "## Step 1: Look\nFever.\n**Evidence:**", "no evidence, or several. Step 1"),
    (with_evidence, "## Step 1: Look\nFever.\n**Evidence:** a\n**Evidence:** b", "no evidence, or several"),
    (with_evidence, "## Step 1: Look\n**Evidence:** 39 °C", "nothing that it is evidence for. It is step 1"),
    (note, "It is flu.", "no note of one of the kinds.*ISBAR: Identification, Situation"),
    (as_soap, "It is flu.", "not those of the note, in order. There is none of them"),
    (
        as_soap,
        "## Subjective\nIll.\n## Objective\n\n## Assessment\nFlu.\n## Plan\n",
        "section is empty. Fill Objective, Plan",
    ),
    (
        as_soap,
        "## Subjective\nIll.\n## Assessment\nFlu.\n## Plan\nRest.",
        "in order. There is Subjective, Assessment, Plan",
    ),
    (as_soap, EXAMPLES["soapie"], "a heading that the note has not. It is .## Implementation"),
    (as_soap, "## Subjective\nIll.\n## Assessment and Plan\nRest.", "a heading that the note has not"),
    (decision_tree, "It is flu.", "does not branch"),
    (decision_tree, "Fever?\n  -> Yes: a cough? [taken]\n    -> Yes: flu [taken]", "does not branch"),
    (decision_tree, "Fever?\n-> Yes: flu\n-> No: well", "no single root. 3 lines"),
    (decision_tree, "Fever?\n  Yes: flu\n  -> No", 'no arrow. .*unlike "Yes: flu"'),
    (decision_tree, "Fever?\n    -> Yes [taken]\n  -> No", "indentation is uneven. Line 3"),
    (decision_tree, "Fever?\n  -> Yes: flu\n  -> No: well", "decisions are not marked"),
    (questions_and_answers, "It is flu.", "There are no questions"),
    (questions_and_answers, "Q: Why?\nQ: So?\nA: Flu.", "do not take turns. .*part 2 should begin with A:"),
    (questions_and_answers, "Q: Why?\nA:\nQ: So?\nA: Flu.", "is empty. It is part 2, which begins with A:"),
    (questions_and_answers, "Q: Why?\nA: Fever.\nQ: So?", "last question has no answer"),
    (questions_and_answers, "Q: Why?\nA: Fever.", "only one question"),
    (talk, "It is flu.", "too few turns"),
    (talk, "Lee: Why?\nKim: Fever.", "too few turns"),
    (talk, "Lee: Why?\nLee: Fever.\nLee: Flu.", "only one speaker"),
    (talk, "Lee: Why?\nKim:\nLee: Flu.", "says nothing. It is Kim in turn 2"),
    (talk, "Subjective: Ill.\nObjective: Fever?\nAssessment: Flu.", "Nobody speaks twice"),
    (talk, "Lee: Fever.\nKim: Flu.\nLee: Yes.", "Nobody asks a question"),
    (in_thoughts, "## Look\nFever.\nFlu.", "There is a heading"),
    (in_thoughts, "- Fever\n- A cold?\n- Flu", "thoughts are a list"),
    (in_thoughts, "It is flu.", "too few lines"),
    (in_thoughts, f"{ROW.question}\nFever.\nFlu.", "question is repeated"),
    (in_thoughts, "Fever.\nA cold?\nThe given answer is flu.", "answer as known. .*leave out .given answer"),
]


@pytest.mark.parametrize(("form", "text", "words"), FLAWS)
def test_what_is_not_the_form_is_complained_of(form: Callable[[str], str], text: str, words: str) -> None:
    with pytest.raises(Complaint, match=words) as complaint:
        form(text)
    said = str(complaint.value)
    assert "\n" not in said
    first = re.split(r"(?<=[.])\s", said)[0]
    assert not re.search(r"\d", first.replace("1, 2, 3", "").replace("Step 1", "")), "reasons are counted by it"


def test_the_kind_of_a_note_is_told_by_its_headings() -> None:
    for kind, headings in NOTES.items():
        text = "\n".join(f"**{heading.upper()}:** none" for heading in headings)
        assert note(text) == note(text, (kind,)) == "\n\n".join(f"## {heading}\nnone" for heading in headings)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).map(str.strip).filter(bool)
STEPS = st.lists(st.tuples(WORDS, WORDS).map("\n".join).filter(lambda step: not re.search(r"step", step, re.I)))


@settings(deadline=None)
@given(STEPS)
def test_steps_that_are_joined_come_apart_again(steps: list[str]) -> None:
    text = join_steps(steps)
    assert split_steps(text) == steps
    assert numbers_of(text) == list(range(1, len(steps) + 1))


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-r]{1,9}( [a-r0-9,.]{1,9}){0,3}\n[a-r*#]{1,9}", fullmatch=True), min_size=1))
def test_headings_in_their_one_spelling_stay_as_they_are(steps: list[str]) -> None:
    assert with_headings(join_steps(steps)) == join_steps(steps)


@settings(deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.text("QA:# \n-*>`1.Step?[]", max_size=60))
def test_no_text_breaks_a_form_and_what_passes_passes_again(name: str, text: str) -> None:
    form = FORMS[name]
    if not text.strip():
        return
    try:
        stored = form(text.strip())
    except Complaint:
        return
    assert form(stored) == stored


def test_an_introduction_is_left_out_and_content_before_the_steps_is_not() -> None:
    steps = "## Step 1: Look\nA rash.\n\n## Step 2: Conclude\nIt is measles."
    assert stepwise(f"Here is the reasoning in steps.\n\n{steps}") == steps
    with pytest.raises(Complaint, match=r"^There is text before the first step\."):
        stepwise(f"Fever.\n\nA cough.\nWhite spots.\nNo vaccination.\n{steps}")
