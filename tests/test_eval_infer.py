"""`meds1 infer`: experiments, catalog models and folders asked through real engines; every bad input one clear line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eval.infer import Settings, ask, of_folder, subject_of
from eval.question_files import read_questions
from inference.prompts import user_message
from registry.errors import MissingError, UsageError
from registry.fields import EngineName
from tests.lab import Lab
from tests.quick_lab import until
from tests.small_lab import answer_of, edit_json, make_small_lab, save
from tests.stages import DRUGS, make_model_that_answers, record
from tests.tiny import ENGINES, make_tiny_model

OPTIONS = list(zip("ABCD", DRUGS, strict=True))
PROMPTS = [user_message(record(number)["question"], OPTIONS, "plain") for number in (1, 12, 37)]
SHORT = Settings(max_tokens=60)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model that always answers B."""
    return make_model_that_answers(tmp_path_factory.mktemp("base"), "The answer is B. Prednisone", PROMPTS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model that thinks of B and always answers C, in huatuo's format."""
    completion = "## Thinking\n\nThe answer is B?\n\n## Final Response\n\nThe answer is C. Ibuprofen"
    return make_model_that_answers(tmp_path_factory.mktemp("trained"), completion, PROMPTS)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: Path) -> Lab:
    """The small lab with a real base model; `tuned` learns huatuo's format and is asked step by step."""
    lab = make_small_lab(tmp_path / "lab", monkeypatch)
    shutil.rmtree(lab.folder / "model")
    (lab.folder / "model").symlink_to(base)

    def change(document: dict[str, Any]) -> None:
        tuned = document["experiments"]["tuned"]["config"]
        tuned["curation"] = {**tuned["curation"], "format": "huatuo"}
        for each in document["experiments"].values():
            each["config"]["eval"] = {"engine": "transformers", "max_tokens": 60}

    edit_json(lab.folder / "results.json", change)
    return lab


def finish_training(lab: Lab, model: Path) -> None:
    save(lab, "tuned", "curation", "completed", dataset_path="data")
    save(lab, "tuned", "training", "completed", model_path=str(model))


def questions(folder: Path, *values: Any) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps(list(values)))
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_questions_of_a_file_with_and_without_gold(tmp_path: Path, base: Path, engine: EngineName) -> None:
    unknown = record(4, answer_idx=None, answer="")
    rows = read_questions(questions(tmp_path, record(2, "B", id="first"), record(3, "C"), unknown))
    subject = of_folder(base, Settings(engine=engine, max_tokens=24))
    answers = {each["id"]: each for each in ask(subject, rows, None)}
    assert [answers[row.id]["correct"] for row in rows] == [True, False, None]
    assert [answers[row.id]["gold"] for row in rows] == ["B", "C", None]
    first = answers["first"]
    assert first["output"] == first["answer_text"] == "The answer is B. Prednisone"
    assert (first["extracted"], first["finish_reason"], first["error"]) == ("B", "stop", None)
    assert first["options"] == dict(OPTIONS)
    assert first["completion_tokens"] > 0


def test_a_batch_size_changes_no_answer(tmp_path: Path, base: Path) -> None:
    rows = read_questions(questions(tmp_path, *(record(number) for number in range(5))))
    subject = of_folder(base, Settings(max_tokens=24, temperature=1.0))

    def answers(batch_size: int | None) -> dict[str, str]:
        return {each["id"]: each["output"] for each in ask(subject, rows, batch_size)}

    assert answers(2) == answers(None)


def test_a_trained_experiment_is_asked_as_it_was_trained(lab: Lab, trained: Path, tmp_path: Path) -> None:
    finish_training(lab, trained)
    output = tmp_path / "answers.json"
    source = questions(tmp_path, record(1, "C"), record(2, "B"))
    body = answer_of(lab, "infer", "tuned", "--input", str(source), "--output", str(output))
    data = body["data"]
    assert (data["subject"], data["model"]) == ("experiment tuned", str(trained))
    assert (data["engine"], data["format"], data["prompting"], data["max_tokens"]) == (
        "transformers",
        "huatuo",
        "plain",
        60,
    )
    assert [(each["extracted"], each["thinking"], each["correct"]) for each in data["answers"]] == [
        ("C", "The answer is B?", True),
        ("C", "The answer is B?", False),
    ]
    assert json.loads(output.read_text()) == data["answers"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["answers.json", "questions.json"]


def test_an_experiment_without_finished_training_is_refused(lab: Lab, trained: Path) -> None:
    said = "meds1 infer: tuned: its training is missing; run `meds1 run tuned` first"
    refused = lab.meds1("infer", "tuned", "--question", "Why?", code=3)
    assert refused.stderr.startswith(said)
    save(lab, "tuned", "curation", "completed", dataset_path="data")
    save(lab, "tuned", "training", "failed", error="out of memory")
    opened, view = lab.registry, lab.registry.read()
    with pytest.raises(MissingError, match="its training is failed"):
        subject_of(opened, view, "tuned", SHORT)


def test_a_stale_training_is_said(lab: Lab, trained: Path) -> None:
    finish_training(lab, trained)
    lab.edit("tuned", training_params={"learning_rate": 0.5, "num_epochs": 1})
    subject = subject_of(lab.registry, lab.registry.read(), "tuned", SHORT)
    assert subject.warnings == ("tuned: its training is stale: training_params.learning_rate 0.001 -> 0.5",)


def test_what_a_name_means_and_which_settings_count(lab: Lab, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_json(
        lab.folder / "config.json",
        lambda catalog: catalog["models"].update(
            thinker={"file_path": str(base), "max_length": 256, "format": "qwen", "system_prompt": "Be brief."},
            far={"api_model": "gpt-x", "max_length": 4096},
        ),
    )
    opened, view = lab.registry, lab.registry.read()
    experiment = subject_of(opened, view, "base", Settings(engine="vllm", temperature=0.5, prompting="step"))
    assert (experiment.what, experiment.spec.name, experiment.prompting) == ("experiment base", "vllm", "step")
    assert (experiment.sampling.temperature, experiment.sampling.max_tokens) == (0.5, 60)
    assert (experiment.spec.max_length, experiment.chat_format.name) == (256, "plain")

    thinker = subject_of(opened, view, "thinker", Settings(max_length=128))
    assert (thinker.what, thinker.spec.name, thinker.chat_format.name) == (
        "catalog model thinker",
        "transformers",
        "qwen",
    )
    assert (thinker.spec.max_length, thinker.system) == (128, "Be brief.")

    far = subject_of(opened, view, "far", Settings())
    assert (far.model, far.spec.name) == ("gpt-x", "openai")

    monkeypatch.chdir(lab.folder)
    folder = subject_of(opened, view, "model", Settings(format="nemotron"))
    assert (folder.what, folder.spec.name) == ("model folder model", "transformers")
    assert folder.system == "detailed thinking on"
    with pytest.raises(UsageError, match=r"'tunned' is no experiment, no model .* and no folder; did you mean 'tuned'"):
        subject_of(opened, view, "tunned", Settings())


def test_one_question_is_answered_on_the_terminal(lab: Lab, base: Path) -> None:
    """A path needs no registry."""
    options = [part for letter, text in OPTIONS for part in ("--option", f"{letter}={text}")]
    asked = ("infer", str(base), "--question", record(1)["question"], *options)
    done = lab.meds1(*asked, "--max-tokens", "24", "--registry", str(lab.folder / "none.json"))
    assert done.stdout.startswith("answer:\nThe answer is B. Prednisone\n\nextracted: B (")
    assert f"model folder {base}: model {base}, engine transformers, format plain" in done.stderr

    dry = lab.meds1(*asked, "--prompting", "strict", "--dry-run")
    assert dry.stdout.startswith("would ask 1 question, the first:\n[user] Which drug helps patient 1?")
    assert "The answer is X" in dry.stdout
    assert "answer:" not in dry.stdout


def test_an_interrupt_leaves_what_is_finished(lab: Lab, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "random", max_length=2048)
    source = questions(tmp_path, *(f"Question {number}?" for number in range(400)))
    output = tmp_path / "answers.jsonl"
    partial = tmp_path / "answers.jsonl.partial"
    command = [str(lab.code / "bin" / "meds1"), "infer", str(model), "--input", str(source), "--output", str(output)]
    with subprocess.Popen(
        [*command, "--batch-size", "1", "--max-tokens", "200"],
        env=dict(lab.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: partial.exists() and partial.read_text().count("\n") > 2, "some answers are there")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    kept = [json.loads(line) for line in partial.read_text().splitlines()]
    assert running.returncode == 1
    assert 2 < len(kept) < 400
    assert not output.exists()
    assert f"{len(kept)} of 400 answers are kept in {partial}" in said
    assert said.splitlines()[-1] == "meds1 infer: interrupted"


FORMS = [
    ("a.json", json.dumps(["Why?", {"question": "How?"}])),
    ("a.json", json.dumps({"questions": ["Why?", {"question": "How?"}], "made": "by hand"})),
    ("a.jsonl", '"Why?"\n\n{"question": "How?"}\n'),
]


@pytest.mark.parametrize(("name", "text"), FORMS)
def test_a_file_of_questions_in_every_form(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert [row.question for row in read_questions(tmp_path / name)] == ["Why?", "How?"]


def test_repeated_questions_are_all_asked(tmp_path: Path) -> None:
    rows = read_questions(questions(tmp_path, "Why?", "Why?"))
    assert len({row.id for row in rows}) == 2


BAD_FILES = [
    ("a.json", "[]", "holds no questions"),
    ("a.json", "", "holds no questions"),
    ("a.jsonl", "\n", "holds no questions"),
    ("a.json", '{"questions": []}', "holds no questions"),
    ("a.json", '{"questions": "Why?"}', "must hold a list of questions"),
    ("a.json", "[{]", "is not JSON, line 1"),
    ("a.jsonl", '"Why?"\n{"que', "is not JSON, line 2"),
    ("a.csv", "question", r"questions are read from \.json and \.jsonl files"),
    ("a.json", '["Why?", 3]', "record 2: a question is a text or an object, not int"),
    ("a.json", '["Why?", {"answer": "x"}]', r"record 2: it has no question \(field `question`\)"),
    ("a.json", '["Why?", " "]', "record 2: has no question"),
    ("a.json", '[{"question": "q", "id": 7}, {"question": "p", "id": "7"}]', "record 2: its id '7' is that of"),
    ("a.json", '[{"question": "q", "options": {"A": "x", "A": "y"}}]', "record 1: 'A' occurs twice"),
    ("a.json", '[{"question": "q", "options": ["x"]}]', "record 1: has 1 option, not 2 to 14"),
    (
        "a.json",
        '[{"question": "q", "options": ["x", "y"], "answer": "z"}]',
        "record 1: has the gold answer 'z', which is",
    ),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES)
def test_a_bad_file_of_questions_is_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_questions(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_LINES = [
    (["base"], 2, "give either --question or --input"),
    (["base", "--question", "q", "--input", "q.json"], 2, "give either --question or --input"),
    (["base", "--question", " "], 2, "--question is empty"),
    (["base", "--question", "q", "--option", "Aspirin"], 2, "--option 'Aspirin': write it as LETTER=text"),
    (["base", "--question", "q", "--option", "A=x", "--option", "a=y"], 2, "--option A=... is given twice"),
    (["base", "--question", "q", "--option", "A=x"], 2, "the question has 1 option, not 2 to 14"),
    (["base", "--input", "gone.json"], 3, "cannot open gone.json: No such file or directory; correct --input"),
    (["base", "--input", "q.json", "--option", "A=x"], 2, "--option belongs to --question"),
    (["base", "--question", "q", "--output", "answers.txt"], 2, "the answers are written as .json or .jsonl"),
    (["base", "--question", "q", "--output", "no/answers.json"], 3, "/no is no folder that can be written to"),
    (
        ["bas", "--question", "q"],
        2,
        "'bas' is no experiment, no model of the catalog and no folder; did you mean 'base'",
    ),
    (["./no/model", "--question", "q"], 2, "'./no/model' is no experiment, no model of the catalog and no folder"),
    (["./docs", "--question", "q"], 3, "is no model folder: it holds no config.json"),
    (["base", "--question", "q", "--max-length", "99999"], 2, "max_length 99999 is beyond the model's"),
    (["base", "--question", "q", "--temperature", "3"], 2, "--temperature"),
    (["base", "--question", "q", "--engine", "wllm"], 2, "--engine"),
]


def test_a_bad_command_line_is_one_clear_line(lab: Lab) -> None:
    program = (
        "import contextlib, io, json, sys\n"
        "from registry.console import run_app\n"
        "import meds1\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    said = io.StringIO()\n"
        "    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):\n"
        "        code = 0\n"
        "        try: run_app(meds1.app, ['infer', *line])\n"
        "        except SystemExit as left: code = left.code\n"
        "    print(json.dumps([code, said.getvalue()]))\n"
    )
    python = str(Path(lab.environment["VIRTUAL_ENV"]) / "bin" / "python")
    done = lab.run([python, "-c", program, json.dumps([line for line, _, _ in BAD_LINES])])
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(BAD_LINES)
    for (line, code, message), (found, text) in zip(BAD_LINES, said, strict=True):
        assert (found, message in text.splitlines()[-1]) == (code, True), f"{line}: {found} {text}"
        assert "Traceback" not in text
