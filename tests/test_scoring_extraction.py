"""Which option an answer chose: a table of hand-written answers, then properties that hold for any text."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import statements
from scoring.extraction import Extraction, extract_choice
from scoring.free_text import text_matches

DRUGS = [("A", "Aspirin"), ("B", "Ibuprofen"), ("C", "Paracetamol"), ("D", "Warfarin")]
HEART = [("A", "Heart failure"), ("B", "Congestive heart failure"), ("C", "Heart failure, acute"), ("D", "Asthma")]
GERMS = [("A", "Clostridium difficile"), ("B", "C. difficile toxin"), ("C", "Salmonella"), ("D", "Shigella")]
COLI = [("A", "E. coli"), ("B", "Klebsiella"), ("C", "Proteus"), ("D", "Serratia"), ("E", "Enterococcus")]
BLOOD = [("A", "AB"), ("B", "A"), ("C", "B"), ("D", "O")]
SIGNS = [("A", "< 5 cm"), ("B", "> 5 cm"), ("C", "↑ Na+"), ("D", "↓ Na+")]
CARE = [("A", "Patient-centred approach"), ("B", "A paternalistic approach"), ("C", "No treatment"), ("D", "Watch")]
MANY = [(letter, f"Option text {number}") for number, letter in enumerate("ABCDEFGHIJKLMN", 1)]
BOTH = [("A", "Fever"), ("B", "Cough"), ("C", "A and B"), ("D", "None of the above")]
TWINS = [("A", "Rest"), ("B", "rest."), ("C", "Surgery"), ("D", "Ice")]

FOUND = [
    # statements with a letter
    ("The answer is B.", DRUGS, "B"),
    ("The answer is B", DRUGS, "B"),
    ("the correct answer is (c)", DRUGS, "C"),
    ("The answer is **D**.", DRUGS, "D"),
    ("**The answer is: B. Ibuprofen**", DRUGS, "B"),
    ("The best answer to this question is option C.", DRUGS, "C"),
    ("The correct option is D because it blocks vitamin K.", DRUGS, "D"),
    ("The most appropriate choice is B, given the history.", DRUGS, "B"),
    ("The answer would be A since it is cheap.", DRUGS, "A"),
    ("The answer is therefore B", DRUGS, "B"),
    ("The answer is A, aspirin.", DRUGS, "A"),
    ("The answer is A aspirin", DRUGS, "A"),
    ("The answer is B (ibuprofen), not A.", DRUGS, "B"),
    ("The answer is B rather than A.", DRUGS, "B"),
    ("The answer is 'C'.", DRUGS, "C"),
    ("The answer is [D]", DRUGS, "D"),
    ("The answer's B.", DRUGS, "B"),
    ("The answer is\n\nC", DRUGS, "C"),
    ("Ｔｈｅ ａｎｓｗｅｒ ｉｓ Ｂ", DRUGS, "B"),
    ("The answer is I think B.", DRUGS, "B"),
    ("I think the answer is C.", DRUGS, "C"),
    # labels
    ("Answer: D. aspirin", [("A", "warfarin"), ("B", "heparin"), ("C", "alteplase"), ("D", "aspirin")], "D"),
    ("Answer: D. Warfarin", DRUGS, "D"),
    ("answer: c", DRUGS, "C"),
    ("Final Answer: (A)", DRUGS, "A"),
    ("**Answer:** B", DRUGS, "B"),
    ("### Final Answer\n\nB", DRUGS, "B"),
    ("Answer - C", DRUGS, "C"),
    ("Correct answer → A", DRUGS, "A"),
    ("Answer: option b.", DRUGS, "B"),
    ("Answer: B\n\nAspirin would be wrong because of the ulcer.", DRUGS, "B"),
    ("Answer: A. The patient needs an antiplatelet drug.", DRUGS, "A"),
    ("Answer: A\nA patient with this history needs it.", DRUGS, "A"),
    # boxes
    (r"\boxed{C}", DRUGS, "C"),
    (r"The answer is $\boxed{\text{B}}$.", DRUGS, "B"),
    (r"\[ \boxed{\textbf{(D)}} \]", DRUGS, "D"),
    (r"So \boxed{B. Ibuprofen}", DRUGS, "B"),
    (r"Final: \boxed{warfarin}", DRUGS, "D"),
    (r"\boxed{a}", DRUGS, "A"),
    # a choice, a verdict, a conclusion
    ("I would choose B here.", DRUGS, "B"),
    ("I'd go with option D.", DRUGS, "D"),
    ("We select (A).", DRUGS, "A"),
    ("B is the correct answer.", DRUGS, "B"),
    ("Option C (paracetamol) is correct.", DRUGS, "C"),
    ("(D) is the best choice", DRUGS, "D"),
    ("B. Ibuprofen is the most appropriate answer.", DRUGS, "B"),
    ("The ulcer excludes the others. Therefore, C.", DRUGS, "C"),
    # the article before a choice, and after it
    ("A patient with gout should not take it. The answer is B.", DRUGS, "B"),
    ("The answer is A patient-centred approach.", CARE, "A"),
    ("The answer is a paternalistic approach.", CARE, "B"),
    ("The answer is no treatment.", CARE, "C"),
    # negations
    ("The answer is not A but B.", DRUGS, "B"),
    ("The answer is not (A), it's (C).", DRUGS, "C"),
    ("The answer is neither A nor B, but rather D.", DRUGS, "D"),
    ("I don't think the answer is A. The answer is B.", DRUGS, "B"),
    ("If the answer were A, he would bleed. The answer is D.", DRUGS, "D"),
    ("The answer is C. It would be wrong to say that the answer is not C.", DRUGS, "C"),
    ("I would not choose A. I would choose B.", DRUGS, "B"),
    ("A is not the correct answer; B is the correct answer.", DRUGS, "B"),
    # contradictions: the last statement counts, whatever its form
    ("The answer is A. On reflection, the answer is C.", DRUGS, "C"),
    ("Answer: A\nWait. The answer is B", DRUGS, "B"),
    (r"The answer is A. \boxed{D}", DRUGS, "D"),
    (r"\boxed{D} Sorry, the correct answer is A.", DRUGS, "A"),
    ("The answer is B. Option A is wrong and option C is too weak.", DRUGS, "B"),
    # a letter alone, one labelled line
    ("B", DRUGS, "B"),
    ("b", DRUGS, "B"),
    ("(C)", DRUGS, "C"),
    ("**D.**", DRUGS, "D"),
    ("Option A", DRUGS, "A"),
    ("It inhibits the enzyme.\n\nC", DRUGS, "C"),
    ("A", DRUGS, "A"),
    ("B. Ibuprofen", DRUGS, "B"),
    ("C) paracetamol is safest in this child", DRUGS, "C"),
    ("(b) ibuprofen", DRUGS, "B"),
    # an option's text
    ("Warfarin", DRUGS, "D"),
    ("warfarin.", DRUGS, "D"),
    ("**Warfarin**", DRUGS, "D"),
    ("The answer is warfarin.", DRUGS, "D"),
    ("Answer: the aspirin", DRUGS, "A"),
    ("The best treatment for this child is paracetamol.", DRUGS, "C"),
    ("The answer is heart failure.", HEART, "A"),
    ("The answer is congestive heart failure.", HEART, "B"),
    ("The answer is heart failure, acute.", HEART, "C"),
    ("This is congestive heart failure.", HEART, "B"),
    ("The answer is C. difficile toxin.", GERMS, "B"),
    ("The answer is C. Salmonella", GERMS, "C"),
    ("The answer is E. coli", COLI, "A"),
    ("The answer is E. Enterococcus", COLI, "E"),
    ("The answer is E.", COLI, "E"),
    ("> 5 cm", SIGNS, "B"),
    ("The answer is <5 cm", SIGNS, "A"),
    ("Answer: ↓Na+", SIGNS, "D"),
    ("The answer is A and B", BOTH, "C"),
    ("The answer is none of the above.", BOTH, "D"),
    ("The answer is C. A and B", BOTH, "C"),
    ("The answer is B", BLOOD, "B"),
    ("The answer is AB", BLOOD, "A"),
    ("The answer is B. rest.", TWINS, "B"),
    # the only option named
    ("Given the ulcer, option C fits best.", DRUGS, "C"),
    ("The findings fit (B) well.", DRUGS, "B"),
    ("Option A is wrong, option B would be a risk and is not wise. That leaves option D for us.", DRUGS, "D"),
    # other ways to say it
    ("The answer, therefore, is B.", DRUGS, "B"),
    ("The correct choice, in this setting, is (D).", DRUGS, "D"),
    ("The answer that fits best is D.", DRUGS, "D"),
    ("The answer is most likely to be C", DRUGS, "C"),
    ("Thus, the most likely drug is B.", DRUGS, "B"),
    ("Unlike warfarin or aspirin, the most appropriate drug here is paracetamol.", DRUGS, "C"),
    ("Answer B", DRUGS, "B"),
    ("It is B.", DRUGS, "B"),
    ("B because A causes bleeding", DRUGS, "B"),
    ("B, as paracetamol is too weak", DRUGS, "B"),
    ("The answer is B。", DRUGS, "B"),
    ("The answer is B and C is wrong.", DRUGS, "B"),
    ("Correct Answer:\n\n**C. Paracetamol**\n\nExplanation:\nA. Aspirin is wrong.\nB. Ibuprofen too.", DRUGS, "C"),
    ("Blood group and Rh-ve", [("A", "Blood group and Rh+ve"), ("B", "Blood group and Rh-ve")], "B"),
    ("The answer is III.", [("A", "I"), ("B", "II"), ("C", "III"), ("D", "V")], "C"),
    ("The answer is V.", [("A", "I"), ("B", "II"), ("C", "III"), ("D", "V")], "D"),
    # up to fourteen options
    ("The answer is N.", MANY, "N"),
    ("The answer is I.", MANY, "I"),
    ("Answer: (j)", MANY, "J"),
    ("The answer is Option text 12", MANY, "L"),
    ("The answer is Option text 1", MANY, "A"),
]

NOT_FOUND = [
    ("", DRUGS),
    ("   \n ", DRUGS),
    ("A patient with gout should rest.", DRUGS),
    ("A 45-year-old man has chest pain. I think he needs rest.", MANY),
    ("I think that rest is best.", MANY),
    ("I am not sure.", MANY),
    ("The answer is a beta blocker.", DRUGS),
    ("The answer is A beta blocker.", DRUGS),
    ("The answer is a rather rare condition.", DRUGS),
    ("The answer is E.", DRUGS),
    ("Answer: F", DRUGS),
    (r"\boxed{42}", DRUGS),
    (r"\boxed{}", DRUGS),
    ("The answer is not A.", DRUGS),
    ("The answer isn't B.", DRUGS),
    ("The answer cannot be C.", DRUGS),
    ("The answer is neither A nor B.", DRUGS),
    ("If the answer is A, the patient bleeds.", DRUGS),
    ("I would not choose A.", DRUGS),
    ("Is the answer A?", DRUGS),
    ("The answer is A or B.", DRUGS),
    ("The answer is both A and B.", DRUGS),
    ("The answer is (A) and (C).", DRUGS),
    ("Answer: A, B, and D", DRUGS),
    (r"\boxed{A, C}", DRUGS),
    ("The answer is B. No, the answer is A or D.", DRUGS),
    ("The answer is B12 deficiency.", DRUGS),
    ("The answer is B-cell lymphoma.", DRUGS),
    ("The answer is C-reactive protein.", DRUGS),
    ("The answer is D-dimer.", DRUGS),
    ("The answer is C. botulinum.", GERMS),
    ("Hepatitis B is the most likely diagnosis.", DRUGS),
    ("Vitamin D deficiency is common in option lists.", DRUGS),
    ("A. Aspirin\nB. Ibuprofen\nC. Paracetamol\nD. Warfarin", DRUGS),
    ("Which is the right answer?\nA. Aspirin\nB. Ibuprofen", DRUGS),
    ("Aspirin\nIbuprofen\nParacetamol", DRUGS),
    ("Answer: A/B", DRUGS),
    ("Aspirin or ibuprofen", DRUGS),
    ("Aspirin is contraindicated.", DRUGS),
    ("Option A is wrong.", DRUGS),
    ("It could be option A or option B.", DRUGS),
    ("Rest", TWINS),
    ("An answer is hard to give.", DRUGS),
    ("answer", DRUGS),
    ("The answer is", DRUGS),
    ("The answer is that this patient needs no drug.", DRUGS),
    ("aspirins", DRUGS),
    ("The answer is B.", []),
]


@pytest.mark.parametrize(("text", "options", "letter"), FOUND)
def test_choice_is_found(text: str, options: list[tuple[str, str]], letter: str) -> None:
    found = extract_choice(text, options)
    assert found.letter == letter, found
    assert found.method != "none"


@pytest.mark.parametrize(("text", "options"), NOT_FOUND)
def test_nothing_is_guessed(text: str, options: list[tuple[str, str]]) -> None:
    assert extract_choice(text, options) == Extraction(None, "none")


LETTERS = st.sampled_from(string.ascii_uppercase[:14])
WORDS = st.sampled_from(
    [
        "the answer is",
        "Answer:",
        "not",
        "but",
        "A",
        "I",
        "B.",
        "(c)",
        "\\boxed{",
        "}",
        "option",
        "\n",
        "**",
        "is correct",
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.one_of(WORDS, LETTERS), max_size=30).map(" ".join))
OPTIONS = st.lists(st.tuples(LETTERS, st.text(max_size=30)), max_size=14, unique_by=lambda option: option[0])


@given(text=TEXTS, options=OPTIONS)
@settings(max_examples=500, deadline=None)
def test_letter_is_always_one_of_the_options(text: str, options: list[tuple[str, str]]) -> None:
    found = extract_choice(text, options)
    assert found.letter is None or found.letter in dict(options)
    assert (found.letter is None) == (found.method == "none")


@given(options=st.lists(st.text(max_size=30), min_size=2, max_size=14), data=st.data(), prose=st.text(max_size=100))
@settings(max_examples=300, deadline=None)
def test_last_plain_statement_wins_after_any_prose(options: list[str], data: st.DataObject, prose: str) -> None:
    lettered = list(zip(string.ascii_uppercase, options, strict=False))
    letter = data.draw(st.sampled_from([letter for letter, _ in lettered]))
    assert extract_choice(f"{prose}\n\nThe answer is ({letter}).", lettered).letter == letter


@pytest.mark.real_data
def test_every_option_of_real_questions_is_read_back(real_data: Path) -> None:
    """The completion's own form, and three more, for each of 21,824 real options."""
    misread = []
    for options in _real_options(real_data):
        for letter, text in options:
            for answer in (f"The answer is {letter}. {text}", f"**Answer: {letter}**", f"({letter}) {text}", letter):
                if extract_choice(answer, options).letter != letter:
                    misread.append((answer, options))
    assert misread == []


def _real_options(folder: Path) -> list[list[tuple[str, str]]]:
    medqa = [json.loads(line) for line in (folder / "medqa_usmle_test.jsonl").open(encoding="utf-8")]
    medmcqa = [json.loads(line) for line in (folder / "medmcqa_dev.jsonl").open(encoding="utf-8")]
    columns = ("opa", "opb", "opc", "opd")
    return [
        *(list(row["options"].items()) for row in medqa),
        *(list(zip("ABCD", (row[column] for column in columns), strict=True)) for row in medmcqa),
    ]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Appendicitis", "appendicitis"),
        ("Appendicitis", "The diagnosis is acute **appendicitis**."),
        ("The aortic valve", "Aortic valve."),
        ("yes", "Answer: Yes."),
        ("no", "There is some doubt.\n\nNo"),
        ("42", r"So \boxed{42}"),
        ("Na+", "The answer is Na+"),
        ("No treatment", "The best course is no treatment at all."),
        ("β-blocker", "Give a β blocker."),
        ("2.5 mg", "The answer is 2.5 mg. Give it slowly."),
    ],
)
def test_free_text_states_the_answer(answer: str, text: str) -> None:
    assert text_matches(answer, text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("", ""),
        ("", "anything"),
        ("...", "..."),
        ("Appendicitis", ""),
        ("Appendicitis", "This is not appendicitis."),
        ("no", "There is no doubt that it is so."),
        ("Na+", "Na-"),
        ("< 5 cm", "> 5 cm"),
        ("5 mg", "15 mg"),
        ("5 mg", "2.5 mg"),
        ("Heart failure", "The heart is a failure-free pump."),
    ],
)
def test_free_text_does_not_state_the_answer(answer: str, text: str) -> None:
    assert not text_matches(answer, text)


def test_every_kind_of_statement_is_read_by_its_own_method() -> None:
    """A trigger that never fires would go unnoticed where another method finds the same letter."""
    texts = {
        "answer_is": "So the answer is B, not A.",
        "answer_label": "Answer: B, not A.",
        "answer_heading": "## Final answer\n\nB. It is not A.",
        "choose": "I choose B over A.",
        "therefore": "It is not A. Therefore, B.",
        "boxed": "It is not A: \\boxed{B}",
        "verdict": "Option B is correct, A is not.",
    }
    assert texts.keys() == statements.METHODS
    for method, text in texts.items():
        assert extract_choice(text, DRUGS) == Extraction("B", method)
