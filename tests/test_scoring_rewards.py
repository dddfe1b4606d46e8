"""Rewards on completions of every kind, in the main thread and outside of it; the metrics of multi-label answers."""

from __future__ import annotations

import json
import signal
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.formats import FORMATS
from scoring.failure_modes import failure_mode
from scoring.label_scores import confusion_table, label_scores
from scoring.rewards import Marks, accuracy_reward, choice_reward, format_reward, token_f1_reward

THOUGHT = "<think>\nIt may be \\boxed{7} or B.\n</think>\n"

ACCURACY: list[tuple[str, str, float, str]] = [
    (f"{THOUGHT}<answer>1/2</answer>", r"\frac{1}{2}", 1.0, "equal fractions"),
    (f"{THOUGHT}<answer>0.5</answer>", "1/2", 1.0, "a decimal and a fraction"),
    (f"{THOUGHT}So \\boxed{{\\frac{{2}}{{4}}}}.", "1/2", 1.0, "a box outside of a tag"),
    (f"{THOUGHT}The answer is 1,000.", "1000", 1.0, "thousands"),
    (f"{THOUGHT}<answer>$x + 1$</answer>", "1 + x", 1.0, "the same sum"),
    (f"{THOUGHT}<answer>2000</answer>", "2e3", 1.0, "an exponent"),
    (f"{THOUGHT}<answer>2</answer>", "2e3", 0.0, "an exponent is not passed over"),
    (f"{THOUGHT}<answer>8</answer>", "7", 0.0, "a box in the thinking is no answer"),
    (f"{THOUGHT}<answer>5 g</answer>", "5 mg", 0.0, "units count"),
    (f"{THOUGHT}<answer>5 mg</answer>", "5 mg", 1.0, "the same text"),
    (f"{THOUGHT}<answer>4-9</answer>", "5-10", 0.0, "a range is no difference"),
    (f"{THOUGHT}<answer>150/100</answer>", "120/80", 0.0, "a blood pressure is no quotient"),
    (f"{THOUGHT}<answer>Heparin.</answer>", "heparin", 1.0, "case and punctuation do not count"),
    (f"{THOUGHT}<answer>nirapeH</answer>", "Heparin", 0.0, "letters of a word are no factors"),
    (f"{THOUGHT}<answer>heparin, aspirin or warfarin</answer>", "heparin", 0.0, "a list of candidates"),
    (f"{THOUGHT}<answer>heparin</answer> <answer>aspirin</answer>", "aspirin", 1.0, "the last tag counts"),
    (f"{THOUGHT}The diagnosis is **appendicitis**.", "appendicitis", 1.0, "no tag: what the answer states"),
    (f"{THOUGHT}It is not appendicitis.", "appendicitis", 0.0, "no tag: a negation"),
    (f"{THOUGHT}<answer>B. Heparin</answer>", "B", 1.0, "a letter with its text"),
    (f"{THOUGHT}The answer is (B).", "B", 1.0, "a letter without a tag"),
    (f"{THOUGHT}<answer>C</answer>", "B", 0.0, "another letter"),
    (f"{THOUGHT}<answer>B or C</answer>", "B", 0.0, "two letters"),
    ("## Thinking\n\nIt is C.\n\n## Final Response\n\nB. Heparin", "B", 1.0, "the house's headings"),
    ("## Thinking\n\nThe answer is B.", "B", 0.0, "a thinking under a heading that never ends"),
    ("<think>The answer is B", "B", 0.0, "a thinking that never ends"),
    (f"{THOUGHT}<answer></answer>", "B", 0.0, "an empty tag"),
    (THOUGHT, "B", 0.0, "nothing after the thinking"),
    ("", "B", 0.0, "an empty completion"),
    ("<answer>B</answer>", "", 0.0, "an empty solution"),
    ("<answer></answer>", "", 0.0, "both empty"),
    (r"<answer>9^{9^{9^{9}}}</answer>", "7", 0.0, "a tower of powers is not computed"),
    (r"<answer>10^{100000000}</answer>", "7", 0.0, "a huge exponent is not computed"),
    ("<answer>99999999!</answer>", "7", 0.0, "a huge factorial is not computed"),
    (r"<answer>\frac{1}{0}</answer>", "7", 0.0, "a division by zero"),
    (r"<answer>\frac{1}{</answer>", "7", 0.0, "broken LaTeX"),
    ("<answer>" + "(" * 5000 + "8</answer>", "7", 0.0, "deep brackets"),
]


@pytest.mark.parametrize(("completion", "solution", "reward", "why"), ACCURACY, ids=[case[3] for case in ACCURACY])
def test_accuracy_reward(completion: str, solution: str, reward: float, why: str) -> None:
    assert accuracy_reward(completion, solution) == reward, why


def test_the_accuracy_reward_is_the_same_outside_of_the_main_thread() -> None:
    """math-verify's time limits need signals, which no other thread may set."""
    found: list[float] = []
    cases = [case[:2] for case in ACCURACY]
    thread = threading.Thread(target=lambda: found.extend(accuracy_reward(*case) for case in cases))
    thread.start()
    thread.join()
    assert found == [case[2] for case in ACCURACY]


def test_the_accuracy_reward_leaves_the_handler_of_alarms_as_it_was() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert accuracy_reward("<answer>0.5</answer>", "1/2") == 1.0
    assert signal.getsignal(signal.SIGALRM) is before


PIECES = ["<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "$", "\\frac{1}{2}", "7", "B", "^", "-"]
COMPLETIONS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=15).map("".join))


@given(COMPLETIONS, st.text(max_size=9))
@settings(max_examples=60, deadline=None)
def test_no_reward_raises(completion: str, solution: str) -> None:
    assert accuracy_reward(completion, solution) in (0.0, 1.0)
    assert accuracy_reward(completion, "7") in (0.0, 1.0)
    assert format_reward(completion) in (0.0, 1.0)


RIGHT_FORM = "<think>\nIt clots.\n</think>\n\n<answer>Heparin</answer>\n"
WRONG_FORMS = {
    "empty": "",
    "no thinking": "<answer>Heparin</answer>",
    "no answer": "<think>It clots.</think>",
    "an answer without tags": "<think>It clots.</think>Heparin",
    "empty thinking": "<think> </think><answer>Heparin</answer>",
    "empty answer": "<think>It clots.</think><answer>\n</answer>",
    "words before": f"Well, {RIGHT_FORM}",
    "words between": "<think>It clots.</think> so <answer>Heparin</answer>",
    "words after": f"{RIGHT_FORM} I hope this helps.",
    "a tag twice": f"{RIGHT_FORM}<answer>Aspirin</answer>",
    "a thinking in the thinking": "<think><think>It clots.</think></think><answer>Heparin</answer>",
    "the other order": "<answer>Heparin</answer><think>It clots.</think>",
    "never closed": "<think>It clots.<answer>Heparin</answer>",
}


def test_format_reward_of_the_right_form() -> None:
    assert format_reward(RIGHT_FORM) == 1.0


@pytest.mark.parametrize("completion", WRONG_FORMS.values(), ids=WRONG_FORMS.keys())
def test_format_reward_of_wrong_forms(completion: str) -> None:
    assert format_reward(completion) == 0.0


@pytest.mark.parametrize("name", ["huatuo", "qwen", "nemotron"])
def test_format_reward_of_the_houses_own_formats(name: str) -> None:
    layout = FORMATS[name]  # type: ignore[index]
    marks = Marks((layout.opening.strip(), layout.closing.strip()))
    assert format_reward(layout.completion("It clots.", "The answer is B."), marks) == 1.0
    assert format_reward(layout.completion("It clots.", ""), marks) == 0.0
    assert format_reward(layout.completion("", "The answer is B."), marks) == 0.0
    assert format_reward("The answer is B.", marks) == 0.0


def test_the_choice_reward_is_for_the_chosen_letter_alone() -> None:
    options = [("A", "Heparin"), ("B", "Aspirin")]
    assert choice_reward(f"{THOUGHT}The answer is A. Heparin", "A", options) == 1.0
    assert choice_reward(f"{THOUGHT}Heparin", "A", options) == 1.0
    assert choice_reward(f"{THOUGHT}The answer is B. Aspirin", "A", options) == 0.0
    assert choice_reward(f"{THOUGHT}A or B", "A", options) == 0.0
    assert choice_reward("<think>The answer is A", "A", options) == 0.0


def test_the_token_reward_compares_the_answer_without_its_thinking() -> None:
    assert token_f1_reward("<think>Aspirin?</think>Low dose heparin", "low dose heparin") == 1.0
    assert token_f1_reward("<think>Aspirin?</think>Heparin", "low dose heparin") == pytest.approx(0.5)
    assert token_f1_reward("<think>low dose heparin</think>Aspirin", "low dose heparin") == 0.0
    assert token_f1_reward("<think>low dose heparin", "low dose heparin") == 0.0


def reference_scores(
    predicted: list[set[str] | None], gold: list[set[str]], labels: list[str]
) -> tuple[float, float, float]:
    """Exact sets, macro-F1 and Hamming loss by their definitions, one item and one label at a time."""
    wrong = 0
    f1 = []
    for label in labels:
        true_positive = false_positive = false_negative = 0
        for answer, right in zip(predicted, gold, strict=True):
            inside, expected = label in (answer or set()), label in right
            true_positive += inside and expected
            false_positive += inside and not expected
            false_negative += expected and not inside
        wrong += false_positive + false_negative
        if true_positive:
            precision = true_positive / (true_positive + false_positive)
            recall = true_positive / (true_positive + false_negative)
            f1.append(2 * precision * recall / (precision + recall))
        elif false_positive or false_negative:
            f1.append(0.0)
    exact = sum((answer or set()) == right for answer, right in zip(predicted, gold, strict=True))
    return exact / len(gold), sum(f1) / len(f1) if f1 else 0.0, wrong / (len(gold) * len(labels))


LABELS = ["A", "B", "C", "D", "E"]
SETS = st.sets(st.sampled_from(LABELS[:4]))


@given(st.lists(st.tuples(st.none() | SETS, SETS), min_size=1, max_size=30))
@settings(deadline=None)
def test_label_scores_are_those_of_the_definitions(pairs: list[tuple[set[str] | None, set[str]]]) -> None:
    predicted, gold = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = label_scores(predicted, gold, LABELS)
    expected = reference_scores(predicted, gold, LABELS)
    assert (found.exact_set, found.macro_f1, found.hamming_loss) == pytest.approx(expected, abs=1e-12)
    assert found.unanswered == sum(not given for given in predicted)
    assert found.num_exact == round(found.exact_set * found.n)
    assert found.f1["E"] is None


def test_label_scores_by_hand() -> None:
    found = label_scores([{"A", "B"}, {"A"}, None], [{"A", "B"}, {"B"}, {"A"}], ["A", "B", "C"])
    f1 = {"A": 0.5, "B": pytest.approx(2 / 3), "C": None}
    assert (found.n, found.unanswered, found.num_exact, found.f1) == (3, 1, 1, f1)
    assert found.macro_f1 == pytest.approx((0.5 + 2 / 3) / 2)
    assert found.hamming_loss == pytest.approx(3 / 9)


@pytest.mark.parametrize(
    ("predicted", "gold", "labels", "message"),
    [
        ([], [], ["A"], "0 answers for 0 gold sets"),
        ([{"A"}], [], ["A"], "1 answers for 0 gold sets"),
        ([{"X"}], [{"A"}], ["A"], "labels X in A"),
        ([{"A"}], [{"Y"}], ["A"], "labels Y in A"),
        ([{"A"}], [{"A"}], ["A", "A"], "labels that occur twice in A, A"),
    ],
)
def test_label_scores_refuse_what_cannot_be_scored(
    predicted: list[set[str]], gold: list[set[str]], labels: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        label_scores(predicted, gold, labels)


def test_confusion_table() -> None:
    table = confusion_table(["A", "A", "B", "B", "A"], ["A", "B", "B", None, "D"])
    assert table == {
        "A": {"A": 1, "B": 1, "D": 1, "no answer": 0},
        "B": {"A": 0, "B": 1, "D": 0, "no answer": 1},
    }
    assert json.loads(json.dumps(table)) == table
    assert confusion_table([], []) == {}
    with pytest.raises(ValueError, match="shorter"):
        confusion_table(["A", "B"], ["A"])


DRUGS = [("A", "Aspirin"), ("B", "Heparin"), ("C", "Warfarin")]


@pytest.mark.parametrize(
    ("output", "finish_reason", "extracted", "options", "mode"),
    [
        ("", "error", None, DRUGS, "error"),
        (" \n", "stop", None, DRUGS, "empty"),
        ("", "length", None, DRUGS, "empty"),
        ("The patient has", "length", None, DRUGS, "truncated"),
        ("The answer is B. It", "length", "B", DRUGS, "wrong_option"),
        ("The answer is B.", "stop", "B", DRUGS, "wrong_option"),
        ("It is B or C.", "stop", None, DRUGS, "several_options"),
        ("Either heparin or warfarin.", "stop", None, DRUGS, "several_options"),
        ("(A) or (B)", "stop", None, DRUGS, "several_options"),
        ("A doctor should decide, not I.", "stop", None, DRUGS, "no_answer"),
        ("Not aspirin.", "stop", None, DRUGS, "no_answer"),
        ("Never give low-dose aspirin.", "stop", None, [*DRUGS, ("D", "Low-dose aspirin")], "no_answer"),
        ("Gastritis", "stop", "Gastritis", [], "wrong_text"),
    ],
)
def test_the_failure_mode_of_a_wrong_answer(
    output: str, finish_reason: str, extracted: str | None, options: list[tuple[str, str]], mode: str
) -> None:
    assert failure_mode(output, output, finish_reason, extracted, options) == mode


def test_a_thinking_that_names_options_is_no_answer_that_does() -> None:
    output = "<think>A or B or C?</think> I cannot say."
    assert failure_mode(output, "I cannot say.", "stop", None, DRUGS) == "no_answer"
