"""How an output becomes a prediction, and predictions become numbers: what has no answer is wrong and is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from data.plugins import Plugin
from data.rows import Row
from eval.answers import Answer
from eval.benchmarks import Benchmark
from eval.predictions import Prediction, judge, read, write_predictions
from eval.questions import Question
from eval.summary import details, require_output, summarise
from inference.engine import FinishReason, Generation, Request
from inference.formats import FORMATS
from plotting.predictions import answers_by_benchmark
from registry.errors import StageFailure, UsageError
from registry.fields import FormatName
from registry.schema import TaskName
from scoring.pairs import Outcome, pair
from tests.stages import row

FREE: dict[str, Any] = {"options": None, "answer_idx": None, "answer": "Rheumatic fever"}
PLAIN = FORMATS["plain"]


def benchmark_of(*rows: Row, task: TaskName = "choice") -> Benchmark:
    return Benchmark("made-up", "made-up", task, rows)


def answer(
    asked: Row, text: str, task: TaskName = "choice", repetition: int = 0, budget: int | None = None, **changes: Any
) -> Answer:
    question = Question(benchmark_of(asked, task=task), asked, Request(asked.id, ()))
    fields = {"finish_reason": "stop", "prompt_tokens": 40, "completion_tokens": 7, **changes}
    return Answer(question, budget, Generation(asked.id, repetition, text, **fields))


def prediction(
    text: str, name: FormatName = "huatuo", reason: FinishReason = "stop", number: int = 1, **changes: Any
) -> Prediction:
    error = "the prompt leaves no room" if reason == "error" else None
    asked = row(number, **changes)
    task: TaskName = "choice" if asked.options else "text"
    return judge(answer(asked, text, task, finish_reason=reason, error=error), FORMATS[name])


def numbers_of(made: Sequence[Answer]) -> dict[str, Any]:
    """The summary of answers to one benchmark, whose rows are those that were asked."""
    rows = {each.question.row.id: each.question.row for each in made}
    benchmark = benchmark_of(*rows.values(), task=made[0].question.benchmark.task)
    return summarise(benchmark, [judge(each, PLAIN) for each in made], PLAIN)


@pytest.mark.parametrize(
    ("text", "name", "extracted", "correct"),
    [
        ("## Thinking\n\nNot A.\n\n## Final Response\n\nThe answer is B. Prednisone", "huatuo", "B", True),
        ("## Thinking\n\nThe answer is B.\n\n## Final Response\n\nThe answer is C", "huatuo", "C", False),
        ("## Thinking\n\nThe answer is B. The answer is B.", "huatuo", None, False),
        ("<think>\nThe answer is B", "qwen", None, False),
        ("The answer is B", "huatuo", "B", True),
        ("I think of A or B.", "plain", None, False),
        ("The answer is F", "plain", None, False),
        ("", "plain", None, False),
    ],
)
def test_a_multiple_choice_output(text: str, name: FormatName, extracted: str | None, correct: bool) -> None:
    judged = prediction(text, name)
    assert (judged.extracted, judged.correct, judged.gold) == (extracted, correct, "B")
    assert judged.output == text
    assert (judged.extraction_method == "none") == (extracted is None)


@pytest.mark.parametrize(
    ("text", "extracted", "correct"),
    [
        ("<think>\nScarlet fever?\n</think>\n\nRheumatic fever.", "Rheumatic fever.", True),
        ("<think>\nRheumatic fever.\n</think>\n\nScarlet fever", "Scarlet fever", False),
        ("<think>\nRheumatic fever.", None, False),
        ("", None, False),
    ],
)
def test_a_free_text_output(text: str, extracted: str | None, correct: bool) -> None:
    judged = prediction(text, "qwen", **FREE)
    assert (judged.extracted, judged.correct, judged.gold) == (extracted, correct, "Rheumatic fever")


def test_the_numbers_of_a_benchmark() -> None:
    summary = numbers_of(
        [
            answer(row(1), "The answer is B"),
            answer(row(2), "The answer is C"),
            answer(row(3), "Well", finish_reason="length"),
            answer(row(4), " \n"),
            answer(row(5), "", finish_reason="error", error="no room"),
        ]
    )
    low, high = summary.pop("accuracy_ci")
    assert 0 < low < 0.2 < high < 1
    assert summary == {
        "task": "choice",
        "accuracy": 0.2,
        "accuracy_ci_method": "wilson",
        "num_correct": 1,
        "total_examples": 5,
        "num_questions": 5,
        "chance": 0.25,
        "unanswered": 3,
        "empty": 1,
        "errors": 1,
        "truncated": 1,
        "completion_tokens": 35,
        "reasoning_tokens": None,
        "thinking_cut": 0,
        "flags": ["below chance (25 %)", "60 % unanswered", "20 % truncated"],
    }


def test_a_table_of_gold_and_given_answers_with_why_they_are_wrong() -> None:
    asked = [row(1), row(2), row(3, "C")]
    texts = ["The answer is B", "The answer is C", "B or C, who knows"]
    made = [judge(answer(each, text), PLAIN) for each, text in zip(asked, texts, strict=True)]
    tables = details(benchmark_of(*asked), made)
    assert tables["confusion"] == {
        "B": {"B": 1, "C": 1, "no answer": 0},
        "C": {"B": 0, "C": 0, "no answer": 1},
    }
    assert tables["extraction_methods"] == {"answer_is": 2, "none": 1}
    assert tables["failure_modes"] == {"wrong_option": 1, "several_options": 1}


@pytest.mark.parametrize(
    ("right", "wrong", "flags"),
    [
        (0, 20, ["0 % right"]),
        (20, 0, ["100 % right"]),
        (4, 16, ["below chance (25 %)"]),
        (5, 15, []),
        (12, 8, []),
    ],
)
def test_a_result_that_is_too_good_or_too_bad_is_flagged(right: int, wrong: int, flags: list[str]) -> None:
    texts = ["The answer is B"] * right + ["The answer is C"] * wrong
    assert numbers_of([answer(row(n), text) for n, text in enumerate(texts)])["flags"] == flags


@pytest.mark.parametrize(("bad", "flagged"), [(1, False), (2, True)])
def test_more_than_one_in_twenty_without_an_answer_is_flagged(bad: int, flagged: bool) -> None:
    texts = ["Who knows"] * bad + ["The answer is B"] * (20 - bad - 1) + ["The answer is C"]
    flags = numbers_of([answer(row(n), text) for n, text in enumerate(texts)])["flags"]
    assert flags == (["10 % unanswered"] if flagged else [])


def test_repeats_of_a_question_are_not_new_evidence() -> None:
    texts = ["The answer is B", "The answer is C"] * 20
    once = numbers_of([answer(row(n), text) for n, text in enumerate(texts)])
    thrice = numbers_of([answer(row(n, occurrence=k), text) for n, text in enumerate(texts) for k in range(3)])
    assert (thrice["total_examples"], thrice["num_questions"]) == (120, 40)
    (low, high), (low_once, high_once) = thrice["accuracy_ci"], once["accuracy_ci"]
    assert high - low == pytest.approx(high_once - low_once, rel=0.1)


def test_repetitions_are_averaged_voted_on_and_given_k_tries() -> None:
    texts = {1: ["B", "B", "C"], 2: ["B", "C", "C"], 3: ["", "", "B"]}
    made = [
        answer(row(number), f"The answer is {letter}" if letter else "Well", repetition=repetition)
        for number, letters in texts.items()
        for repetition, letter in enumerate(letters)
    ]
    summary = numbers_of(made)
    assert (summary["repetitions"], summary["total_examples"], summary["num_questions"]) == (3, 9, 3)
    assert summary["accuracy"] == summary["mean_accuracy"] == pytest.approx(4 / 9)
    assert summary["majority_vote"]["accuracy"] == pytest.approx(2 / 3)
    means = {k: each["mean"] for k, each in summary["pass_at_k"].items()}
    assert means == {"1": pytest.approx(4 / 9), "2": pytest.approx(7 / 9), "3": 1.0}


def test_every_budget_has_its_numbers_and_the_largest_is_the_headline() -> None:
    small = [answer(row(n), "The answer is C", budget=8) for n in range(4)]
    large = [answer(row(n), "The answer is " + "BBBC"[n], budget=64) for n in range(4)]
    summary = numbers_of([*small, *large])
    assert (summary["accuracy"], summary["total_examples"]) == (0.75, 4)
    assert {budget: each["accuracy"] for budget, each in summary["budgets"].items()} == {"8": 0.0, "64": 0.75}


def test_several_right_answers_are_scored_as_a_set() -> None:
    asked = [row(n, answer_idx="A,C") for n in range(3)]
    texts = ["The answers are A, C", "The answers are A, B", "Well"]
    summary = numbers_of([answer(each, text, "labels") for each, text in zip(asked, texts, strict=True)])
    assert (summary["num_correct"], summary["unanswered"], summary["chance"]) == (1, 1, None)
    assert summary["labels"]["exact_set"] == pytest.approx(1 / 3)
    assert summary["labels"]["hamming_loss"] == pytest.approx(4 / 12)


def test_free_text_has_its_own_metrics_and_numbers_a_tolerance() -> None:
    asked = [row(n, options=None, answer_idx=None, answer="12 mg") for n in range(2)]
    summary = numbers_of([answer(each, text, "number") for each, text in zip(asked, ["12.5 mg", "20"], strict=True)])
    assert summary["num_correct"] == 1
    assert {"exact_match", "token_f1", "rouge_l", "accuracy_reward", "bleu", "counting"} <= summary["text"].keys()
    assert summary["text"]["number"]["mean"] == 0.5


def test_a_verbatim_answer_scores_best_in_every_metric() -> None:
    asked = row(1, options=None, answer_idx=None, answer="Rheumatic fever of the heart")
    text = numbers_of([answer(asked, "Rheumatic fever of the heart", "text")])["text"]
    best = {"sentence_bleu": 100.0, "edit_distance": 0.0}
    for name in ("exact_match", "token_f1", "rouge_l", "sentence_bleu", "edit_distance", "accuracy_reward"):
        assert text[name]["mean"] == pytest.approx(best.get(name, 1.0)), name
    assert text["bleu"]["score"] == pytest.approx(100.0)


def test_a_number_is_read_from_its_words_or_there_is_no_answer() -> None:
    asked = row(1, options=None, answer_idx=None, answer="5")
    texts = ["It is 7.", "7", "so 7", "5", "I cannot tell."]
    summary = numbers_of([answer(asked, text, "number", repetition=n) for n, text in enumerate(texts)])
    assert (summary["num_correct"], summary["unanswered"]) == (1, 1)
    assert summary["majority_vote"]["accuracy"] == 0.0


def test_a_budget_with_suspect_numbers_is_flagged_itself() -> None:
    small = [answer(row(n), "Well", budget=8, finish_reason="length") for n in range(4)]
    large = [answer(row(n), "The answer is " + "BBBC"[n], budget=64) for n in range(4)]
    summary = numbers_of([*small, *large])
    assert summary["flags"] == []
    assert summary["budgets"]["8"]["flags"] == ["0 % right", "100 % unanswered", "100 % truncated"]


def test_label_sets_of_a_plugin_are_put_in_order_and_others_refused() -> None:
    asked = row(1, answer_idx="A,C")
    for said, outcome in (("C, A", True), ("A", False)):
        plugin = Plugin(Path("p.py"), None, None, lambda _, text: text, None)
        benchmark = Benchmark("made-up", "made-up", "labels", (asked,), plugin)
        assert read(benchmark, asked, said).correct is outcome
    with pytest.raises(UsageError, match=r"extract returned 'A, Z', in which 'Z' is no option's letter"):
        read(benchmark, asked, "A, Z")


def test_two_files_of_predictions_are_paired_only_where_items_and_prompts_agree(tmp_path: Path) -> None:
    def run(name: str, right: int, prompt: str = "Which?") -> list[Outcome]:
        made = [answer(row(n), "The answer is B" if n < right else "Well") for n in range(4)]
        judged = [replace(judge(each, PLAIN), prompt=[{"role": "user", "content": prompt}]) for each in made]
        write_predictions(judged, tmp_path / name)
        return [each.outcome for found in answers_by_benchmark(tmp_path / name).values() for each in found]

    assert sum(b - a for a, b in zip(*astuple(pair(run("a", 1), run("b", 3)))[1:], strict=True)) == 2
    with pytest.raises(UsageError, match="prompt"):
        pair(run("a", 1), run("b", 1, "Which one?"))


def test_nothing_but_empty_outputs_and_errors_is_a_failure_and_not_a_score() -> None:
    broken = [prediction(" ", number=1), prediction("", reason="error", number=2)]
    with pytest.raises(StageFailure, match=r"e: all 2 outputs are empty or errors \(1 errors\).*leaves no room"):
        require_output(broken, "e")
    require_output([*broken, prediction("no idea", number=3)], "e")


def test_predictions_are_written_sorted_and_whole(tmp_path: Path) -> None:
    made = [prediction("Σ is B", number=n, source=s) for s in ("b", "a") for n in range(3)]
    write_predictions(made, tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["source"], line["id"]) for line in lines] == sorted((p.source, p.id) for p in made)
    assert "Σ is B" in (tmp_path / "p.jsonl").read_text(encoding="utf-8")
    write_predictions(made[::-1], tmp_path / "q.jsonl")
    assert (tmp_path / "q.jsonl").read_bytes() == (tmp_path / "p.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "q.jsonl"]
