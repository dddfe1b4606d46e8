"""The whole evaluation on made-up questions, with models of known answers in the real vLLM engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.stage import PARTIAL, PREDICTIONS, RESULTS, run
from inference.prompts import user_message
from registry.catalog import DatasetEntry, ModelEntry
from registry.errors import MissingError, StageFailure, UsageError
from registry.stage import StageContext
from tests.stages import DRUGS, make_context, make_model_that_answers, record, write_jsonl
from tests.tiny import make_tiny_model

OPTIONS = list(zip("ABCD", DRUGS, strict=True))
PROMPTS = [user_message(record(number)["question"], OPTIONS, "plain") for number in (1, 12, 37)]
QUICK = {"max_tokens": 24, "engine": "transformers"}  # where the engine does not matter: opens in no time
TRAINING = {"learning_rate": 1e-5, "num_epochs": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that always answers B."""
    return make_model_that_answers(tmp_path_factory.mktemp("base"), "The answer is B. Prednisone", PROMPTS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model that thinks of B and always answers C, in huatuo's format."""
    completion = "## Thinking\n\nThe answer is B?\n\n## Final Response\n\nThe answer is C. Ibuprofen"
    return make_model_that_answers(tmp_path_factory.mktemp("trained"), completion, PROMPTS)


def questions(folder: Path, name: str, golds: str, **changes: Any) -> DatasetEntry:
    records = [record(number, gold, **changes) for number, gold in enumerate(golds)]
    return DatasetEntry(file_path=str(write_jsonl(folder / f"{name}.jsonl", records)))


def predictions(context: StageContext) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (context.run_dir / PREDICTIONS).read_text().splitlines()]


def test_a_base_model_on_two_benchmarks(tmp_path: Path, base: Path) -> None:
    both = {"easy": questions(tmp_path, "easy", "BBBC"), "hard": questions(tmp_path, "hard", "ACDBAC")}
    context = make_context(tmp_path / "run", base, evaluate=both, eval={"max_tokens": 24})
    output = run(context)
    numbers = {
        source: (each["num_correct"], each["total_examples"], each["accuracy"], each["unanswered"])
        for source, each in output.metrics["benchmarks"].items()
    }
    assert numbers == {"easy": (3, 4, 0.75, 0), "hard": (1, 6, pytest.approx(1 / 6), 0)}
    assert (output.metrics["engine"], output.metrics["limit"], output.metrics["format"]) == ("vllm", None, "plain")
    results = json.loads(output.artifacts["results_path"].read_text())
    assert results["summary"] == output.metrics["benchmarks"]
    assert results["details"]["hard"]["confusion"]["C"] == {"A": 0, "B": 2, "C": 0, "D": 0, "no answer": 0}
    lines = predictions(context)
    assert len(lines) == 10
    asked = [user_message(record(number)["question"], OPTIONS, "plain") for number in range(6)]
    assert sorted(line["prompt"][0]["content"] for line in lines) == sorted(asked[:4] + asked)
    first = lines[0]
    assert first["output"] == first["answer_text"] == "The answer is B. Prednisone"
    assert (first["extracted"], first["finish_reason"], first["thinking"]) == ("B", "stop", None)
    assert first["completion_tokens"] > 0
    assert sorted(path.name for path in context.run_dir.iterdir()) == [PREDICTIONS, RESULTS]


def test_a_trained_experiment_is_evaluated_with_its_trained_model_and_format(
    tmp_path: Path, base: Path, trained: Path
) -> None:
    context = make_context(
        tmp_path / "run",
        base,
        evaluate={"exam": questions(tmp_path, "exam", "CCCB")},
        trained=trained,
        curation={"method": "all", "format": "huatuo"},
        training=TRAINING,
        eval={"max_tokens": 60},
    )
    output = run(context)
    assert output.metrics["benchmarks"]["exam"]["num_correct"] == 3
    assert {(line["extracted"], line["thinking"]) for line in predictions(context)} == {("C", "The answer is B?")}


def test_training_without_a_result_is_never_replaced_by_the_base_model(tmp_path: Path, base: Path) -> None:
    fields: dict[str, Any] = {"curation": {"method": "all"}, "training": TRAINING}
    exam = {"exam": questions(tmp_path, "exam", "B")}
    with pytest.raises(MissingError, match="made-up-experiment: its training has no result; run its training first"):
        run(make_context(tmp_path / "run", base, evaluate=exam, **fields))
    gone = tmp_path / "gone"
    with pytest.raises(MissingError, match=r"training result names model_path .*gone"):
        run(make_context(tmp_path / "run", base, evaluate=exam, trained=gone, **fields))
    assert not any((tmp_path / "run").iterdir())


def test_the_prompt_follows_the_experiment(tmp_path: Path, base: Path, trained: Path) -> None:
    """Style from `prompting`; system prompt from the trained format, else from the model's entry."""

    def first_prompt(name: str, **fields: Any) -> list[dict[str, str]]:
        exam = {"exam": questions(tmp_path, "exam", "B")}
        context = make_context(tmp_path / name, base, evaluate=exam, eval=QUICK, **fields)
        run(context)
        prompt: list[dict[str, str]] = predictions(context)[0]["prompt"]
        return prompt

    question = record(0)["question"]
    asked = {style: user_message(question, OPTIONS, style) for style in ("plain", "strict", "step")}
    assert len(set(asked.values())) == 3
    assert first_prompt("plain") == [{"role": "user", "content": asked["plain"]}]
    doctor = {"role": "system", "content": "You are a doctor."}
    assert first_prompt("step", prompting="step", system_prompt="You are a doctor.") == [
        doctor,
        {"role": "user", "content": asked["step"]},
    ]
    nemotron: dict[str, Any] = {"curation": {"method": "all", "format": "nemotron"}, "training": TRAINING}
    assert first_prompt(
        "nemotron", prompting="strict", system_prompt="You are a doctor.", trained=trained, **nemotron
    ) == [{"role": "system", "content": "detailed thinking on"}, {"role": "user", "content": asked["strict"]}]


def test_limit_takes_the_first_questions_of_each_benchmark(tmp_path: Path, base: Path) -> None:
    records = [record(n, "B" if n < 4 else "C", source=("x", "y")[n % 2]) for n in range(20)]
    entry = DatasetEntry(file_path=str(write_jsonl(tmp_path / "both.jsonl", records)))
    output = run(make_context(tmp_path / "run", base, evaluate={"both": entry}, eval={**QUICK, "limit": 3}))
    summary = output.metrics["benchmarks"]
    assert {source: (each["num_correct"], each["total_examples"]) for source, each in summary.items()} == {
        "x": (2, 3),
        "y": (2, 3),
    }
    assert output.metrics["limit"] == 3


def test_a_killed_evaluation_asks_only_what_is_missing(tmp_path: Path, base: Path) -> None:
    """The answers that the killed attempt left say A, which the model never does: they must come back unasked."""
    exam = {"exam": questions(tmp_path, "exam", "ABABAB")}

    def attempt() -> StageContext:
        return make_context(tmp_path / "run", base, evaluate=exam, eval=QUICK)

    journal = tmp_path / "run" / PARTIAL
    journal.parent.mkdir()
    journal.symlink_to(tmp_path / "spied.jsonl")  # the stage unlinks its journal; what it held stays behind here
    assert run(attempt()).metrics["benchmarks"]["exam"]["num_correct"] == 3
    lines = (tmp_path / "spied.jsonl").read_text().splitlines(keepends=True)
    left = [line.replace("The answer is B. Prednisone", "The answer is A. Lisinopril") for line in lines]
    journal.write_text("".join(left[:4]) + left[4][:25])
    run(attempt())
    assert [line["extracted"] for line in predictions(attempt())].count("A") == 4
    assert not journal.exists()


def test_an_output_that_is_empty_for_every_question_is_a_failure(tmp_path: Path) -> None:
    silent = make_model_that_answers(tmp_path / "silent", "", PROMPTS)
    context = make_context(tmp_path / "run", silent, evaluate={"exam": questions(tmp_path, "exam", "BBB")}, eval=QUICK)
    with pytest.raises(StageFailure, match=r"all 3 outputs are empty or errors \(0 errors\)"):
        run(context)
    assert not (context.run_dir / RESULTS).exists()
    assert not (context.run_dir / PREDICTIONS).exists()


def test_a_prompt_that_does_not_fit_is_an_error_that_counts_as_wrong(tmp_path: Path, base: Path) -> None:
    records = [record(0), record(1, question="Which drug? " + "Tell me. " * 300)]
    entry = DatasetEntry(file_path=str(write_jsonl(tmp_path / "exam.jsonl", records)))
    context = make_context(tmp_path / "run", base, evaluate={"exam": entry}, eval={"max_tokens": 24})
    exam = run(context).metrics["benchmarks"]["exam"]
    assert (exam["num_correct"], exam["total_examples"], exam["errors"], exam["unanswered"]) == (1, 2, 1, 1)
    assert ["no room" in (line["error"] or "") for line in predictions(context)].count(True) == 1


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [record(0), record(1, answer_idx="", answer=""), record(2), record(3, question="")],
            r"eval dataset exam: 2 of 4 rows cannot judge .*: row 2 has no gold answer, row 4 has no question",
        ),
        (
            [record(0, options=None, answer_idx=None, answer="")],
            r"eval dataset exam: 1 of 1 row cannot judge an answer: row 1 has no gold answer \(counted from 1\)",
        ),
    ],
)
def test_questions_without_a_gold_answer_are_refused(
    records: list[dict[str, Any]], message: str, tmp_path: Path, base: Path
) -> None:
    entry = DatasetEntry(file_path=str(write_jsonl(tmp_path / "exam.jsonl", records)))
    with pytest.raises(UsageError, match=message):
        run(make_context(tmp_path / "run", base, evaluate={"exam": entry}))


def test_a_benchmark_in_two_data_sets_is_refused(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    same = {name: questions(tmp_path, name, "BC", source="exam") for name in ("one", "two")}
    with pytest.raises(UsageError, match="benchmark exam is in both eval datasets one and two"):
        run(make_context(tmp_path / "run", model, evaluate=same))


def test_stored_predictions_are_scored_again_without_a_model(tmp_path: Path, base: Path) -> None:
    """What they say was changed by hand, so an answer of the model itself would be seen."""
    records = [record(number, gold) for number, gold in enumerate("BBCC")]
    exam = tmp_path / "exam.jsonl"

    def context() -> StageContext:
        entry = DatasetEntry(file_path=str(write_jsonl(exam, records)))
        return make_context(tmp_path / "run", base, evaluate={"exam": entry}, eval=QUICK)

    first = context()
    assert run(first).metrics["benchmarks"]["exam"]["num_correct"] == 2
    stored = first.run_dir / PREDICTIONS
    stored.write_text(stored.read_text().replace("The answer is B. Prednisone", "The answer is C. Ibuprofen"))
    records[0].update(answer_idx="C", answer=DRUGS[2])  # a gold answer is corrected
    again = run(replace(context(), earlier=stored))
    assert (again.metrics["benchmarks"]["exam"]["num_correct"], again.metrics["rescored"]) == (3, True)
    records.append(record(9))
    with pytest.raises(MissingError, match=r"has no answer to 1 of 5 questions as they are asked now; .*--rescore"):
        run(replace(context(), earlier=stored))


def test_repetitions_are_sampled_and_resumed_one_by_one(tmp_path: Path, base: Path) -> None:
    exam = {"exam": questions(tmp_path, "exam", "BC")}
    settings = {**QUICK, "temperature": 0.7, "repetitions": {"exam": 3}}
    context = make_context(tmp_path / "run", base, evaluate=exam, eval=settings)
    summary = run(context).metrics["benchmarks"]["exam"]
    assert (summary["repetitions"], summary["total_examples"], summary["num_questions"]) == (3, 6, 2)
    assert sorted((line["gold"], line["repetition"]) for line in predictions(context)) == [
        (gold, repetition) for gold in "BC" for repetition in range(3)
    ]


def test_a_budget_of_thinking_forces_the_answer(tmp_path: Path, base: Path, trained: Path) -> None:
    context = make_context(
        tmp_path / "run",
        base,
        evaluate={"exam": questions(tmp_path, "exam", "CCB")},
        trained=trained,
        curation={"method": "all", "format": "huatuo"},
        training=TRAINING,
        eval={**QUICK, "thinking": {"budget_tokens": [2, 30]}},
    )
    summary = run(context).metrics["benchmarks"]["exam"]
    assert (summary["budgets"].keys(), summary["total_examples"]) == ({"2", "30"}, 3)
    assert summary["accuracy"] == summary["budgets"]["30"]["accuracy"] == pytest.approx(2 / 3)
    thoughts = {line["budget"]: line["reasoning_tokens"] for line in predictions(context)}
    assert thoughts[2] <= 2 < thoughts[30] <= 30


def test_repeated_rows_keep_their_own_answers_when_they_are_scored_again(tmp_path: Path, base: Path) -> None:
    """Repeats of a question with other gold answers: their answers must not change places."""
    records = [record(1, gold) for gold in "BACBDB"]
    exam = {"exam": DatasetEntry(file_path=str(write_jsonl(tmp_path / "exam.jsonl", records)))}
    settings = {**QUICK, "temperature": 1.5}
    context = make_context(tmp_path / "run", base, evaluate=exam, eval=settings)
    first = run(context).metrics["benchmarks"]
    before = predictions(context)
    again = run(replace(context, earlier=context.run_dir / PREDICTIONS)).metrics["benchmarks"]
    assert (again, predictions(context)) == (first, before)


def test_a_judge_without_its_key_is_refused_before_any_answer_is_generated(tmp_path: Path, base: Path) -> None:
    judge = {"model_key": "judge", "rubrics": ["failure_modes"]}
    exam = {"exam": questions(tmp_path, "exam", "B")}
    context = make_context(tmp_path / "run", base, evaluate=exam, eval={**QUICK, "judge": judge})
    served = ModelEntry(api_model="gpt", api_key_env="NO_SUCH_API_KEY", max_length=1000)
    config = context.config.model_copy(update={"judge_model": served})
    with pytest.raises(MissingError, match="environment variable NO_SUCH_API_KEY is not set"):
        run(replace(context, config=config))
    assert not any(context.run_dir.iterdir())
