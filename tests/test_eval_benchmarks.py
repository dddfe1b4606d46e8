"""Benchmarks as data: repeats are found, bad rows refused with their number, plugins carried along."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from eval.benchmarks import benchmarks_of, load_benchmarks
from registry.catalog import Columns, DatasetEntry
from registry.errors import UsageError
from tests.lab import CHECKOUT, Lab
from tests.small_lab import make_small_lab
from tests.stages import record, write_jsonl

GPQA, N_GPQA, TIMES = "GPQA_Medical_test", 78, 5


def written(folder: Path, *records: dict[str, Any], **fields: Any) -> DatasetEntry:
    return DatasetEntry(file_path=str(write_jsonl(folder / "exam.jsonl", records)), **fields)


def test_repeats_inside_a_benchmark_are_found_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The shape of the file that the original uses: one benchmark asks each of its questions five times."""
    once = [record(number) for number in range(4)]
    repeated = [record(100 + number) for number in range(N_GPQA)] * TIMES
    file = tmp_path / "eval_data.json"
    file.write_text(json.dumps({"MedQA": once, GPQA: repeated}))
    with caplog.at_level(logging.WARNING):
        found = load_benchmarks({"huatuo-eval": DatasetEntry(file_path=str(file))}, None)
    assert list(found) == ["MedQA", GPQA]
    assert (found["MedQA"].n_questions, found["MedQA"].n_repeated_rows) == (4, 0)
    gpqa = found[GPQA]
    assert (len(gpqa.rows), gpqa.n_questions, gpqa.n_repeated_rows) == (N_GPQA * TIMES, N_GPQA, N_GPQA * (TIMES - 1))
    assert len({row.id for row in gpqa.rows}) == N_GPQA * TIMES
    assert (gpqa.key, gpqa.task, gpqa.plugin) == ("huatuo-eval", "choice", None)
    assert [entry.getMessage() for entry in caplog.records] == [
        f"{GPQA}: 390 rows ask 78 questions (78 of them up to 5 times); intervals are clustered on questions"
    ]


def test_repeats_with_two_gold_answers_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = record(1)["options"]
    turned = {"A": options["B"], "B": options["A"], "C": options["C"], "D": options["D"]}
    same_gold = record(1, "A", options=turned, answer=options["B"])
    entry = written(tmp_path, record(1, "B"), same_gold, record(2, "A"), record(2, "C"))
    with caplog.at_level(logging.WARNING):
        load_benchmarks({"exam": entry}, None)
    assert [line.getMessage() for line in caplog.records] == [
        "exam: 4 rows ask 2 questions (2 of them up to 2 times); intervals are clustered on questions",
        "exam: 1 repeated question with more than one gold answer",
    ]


def test_limit_takes_the_first_rows_of_each(tmp_path: Path) -> None:
    entry = written(tmp_path, *(record(n, source=("x", "y")[n % 2]) for n in range(10)))
    found = load_benchmarks({"both": entry}, 2)
    assert {name: [row.question for row in each.rows] for name, each in found.items()} == {
        "x": [record(0)["question"], record(2)["question"]],
        "y": [record(1)["question"], record(3)["question"]],
    }


def test_the_task_is_the_entrys_or_follows_the_options(tmp_path: Path) -> None:
    free = {"question": "How many?", "answer": "5 mg"}
    assert benchmarks_of("exam", written(tmp_path, record(1)))[0].task == "choice"
    assert benchmarks_of("exam", written(tmp_path, free))[0].task == "text"
    assert benchmarks_of("exam", written(tmp_path, free, task="number"))[0].task == "number"
    assert benchmarks_of("exam", written(tmp_path, record(1), task="labels"))[0].task == "labels"


@pytest.mark.parametrize(
    ("bad", "fields", "fault"),
    [
        (record(2, answer_idx=None, answer=None), {}, "row 2 has no gold answer"),
        (record(2, answer_idx="E"), {}, "row 2 has the gold answer 'E', which is none of its options A, B, C, D"),
        (record(2, options={"A": "Lisinopril"}, answer_idx="A"), {}, "row 2 has 1 option, not 2 to 14"),
        (record(2, "B", answer="Lisinopril"), {}, "row 2 has the gold letter B but the answer 'Lisinopril'"),
        (record(2, question=" "), {}, "row 2 has no question"),
        (record(2, options=None), {}, "row 2 has no options, as other rows do"),
        (record(2), {"task": "number"}, "row 1 has the gold answer 'Prednisone', which is not one number, row 2"),
    ],
)
def test_a_row_that_cannot_judge_is_refused_with_its_number(
    tmp_path: Path, bad: dict[str, Any], fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_benchmarks({"exam": written(tmp_path, record(1), bad, **fields)}, 1)
    said = str(caught.value)
    assert said.startswith("eval dataset exam: ")
    assert "of 2 rows cannot judge an answer" in said
    assert fault in said
    assert "\n" not in said


def test_many_bad_rows_are_one_line(tmp_path: Path) -> None:
    entry = written(tmp_path, *(record(n, answer_idx="E") for n in range(40)))
    with pytest.raises(UsageError, match=r"40 of 40 rows .* and 35 more \(counted from 1\)"):
        load_benchmarks({"exam": entry}, None)


def test_the_plugin_of_the_documentation_runs(tmp_path: Path) -> None:
    """docs/new-benchmark.md: its catalog entry, its file and its plugin, as they stand there."""
    page = (CHECKOUT / "docs" / "new-benchmark.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    entry, lines = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    fields = json.loads(f"{{{entry}}}")["dosing"]
    (tmp_path / "dosing.jsonl").write_text(lines)
    (tmp_path / "dosing.py").write_text(source)
    located = {name: str(tmp_path / Path(fields[name]).name) for name in ("file_path", "plugin")}
    (found,) = benchmarks_of("dosing", DatasetEntry(**(fields | located)))
    assert found.task == "number"
    assert found.plugin is not None
    assert found.plugin.load is not None
    assert found.plugin.prompt is not None
    assert found.plugin.extract is not None
    assert found.plugin.check is not None
    first = found.rows[0]
    assert (first.question, first.answer) == ("gentamicin, 5 mg/kg, 70 kg", "350")
    assert "70 kg" in found.plugin.prompt(first)
    extracted = found.plugin.extract(first, "That makes 5 x 70, so give 350 mg.")
    assert extracted == "350"
    assert found.plugin.check(first, extracted)
    assert not found.plugin.check(first, "400")
    assert found.plugin.extract(first, "I do not know.") is None


@pytest.mark.real_data
def test_real_files_load_whole(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = Columns(options=("opa", "opb", "opc", "opd"), answer_idx="cop")
    entries = {
        "medqa": DatasetEntry(file_path=str(real_data / "medqa_usmle_test.jsonl")),
        "medmcqa": DatasetEntry(file_path=str(real_data / "medmcqa_dev.jsonl"), columns=columns, answer_index_base=1),
    }
    found = load_benchmarks(entries, None)
    assert {name: (each.task, len(each.rows), each.n_questions) for name, each in found.items()} == {
        "medqa": ("choice", 1273, 1273),
        "medmcqa": ("choice", 4183, 4183),
    }
    for name, file in (("medqa", "medqa_usmle_test.jsonl"), ("medmcqa", "medmcqa_dev.jsonl")):
        raw = [json.loads(line) for line in (real_data / file).read_text(encoding="utf-8").split("\n") if line]
        gold = [line.get("answer_idx") or "ABCD"[line["cop"] - 1] for line in raw]
        assert [row.answer_idx for row in found[name].rows] == gold
    assert caplog.records == []


@pytest.mark.real_data
def test_the_gold_of_real_files_in_other_spellings(real_data: Path, tmp_path: Path) -> None:
    """MedQA with the answer's text alone, and in the original project's form: the same golds."""
    raw = [json.loads(line) for line in (real_data / "medqa_usmle_test.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = [line["answer_idx"] for line in raw]
    for line in raw:
        del line["answer_idx"]
    entry = written(tmp_path, *raw)
    assert [row.answer_idx for row in load_benchmarks({"text": entry}, None)["text"].rows] == gold
    (tmp_path / "eval_data.json").write_text(json.dumps({"MedQA": raw}))
    whole = load_benchmarks({"original": DatasetEntry(file_path=str(tmp_path / "eval_data.json"))}, None)
    assert [row.answer_idx for row in whole["MedQA"].rows] == gold


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Two sound data sets of the small lab and three more: repeats, a bad row, and one that is not there."""
    lab = make_small_lab(tmp_path / "lab", monkeypatch)
    write_jsonl(lab.folder / "repeats.jsonl", [record(n % 3, source=("x", "y")[n > 5]) for n in range(8)])
    write_jsonl(lab.folder / "bad.jsonl", [record(1), record(2, answer_idx="E")])
    catalog = json.loads((lab.folder / "config.json").read_text())
    catalog["eval_datasets"] |= {name: {"file_path": f"{name}.jsonl"} for name in ("repeats", "bad")}
    catalog["eval_datasets"]["far"] = {"hf_path": "nobody/nothing"}
    catalog["display"] = {"benchmarks": {"held-out": "held-out questions", "x": "the x"}}
    (lab.folder / "config.json").write_text(json.dumps(catalog))
    return lab


def test_benchmarks_lists_every_data_set_also_the_bad_ones(lab: Lab) -> None:
    done = lab.meds1("benchmarks", "--json")
    found = {each["key"]: each for each in json.loads(done.stdout)["data"]}
    assert list(found) == ["held-out", "second-set", "repeats", "bad", "far"]
    held_out = found["held-out"]
    assert held_out["benchmarks"] == [
        {"name": "held-out", "task": "choice", "rows": 4, "questions": 4, "options": [4, 4]}
    ]
    assert (held_out["experiments"], held_out["error"]) == (["base", "tuned"], None)
    assert held_out["lies_in"] == str(lab.folder / "held-out.jsonl")
    assert found["second-set"]["experiments"] == []
    assert [(b["name"], b["rows"], b["questions"]) for b in found["repeats"]["benchmarks"]] == [
        ("x", 6, 3),
        ("y", 2, 2),
    ]
    assert "row 2 has the gold answer 'E'" in found["bad"]["error"]
    assert "not on this machine: run `meds1 fetch far`" in found["far"]["error"]

    table = lab.meds1("benchmarks").stdout.splitlines()
    assert len(table) == 2 + 6
    assert re.search(r"held-out +held-out +held-out questions +choice +4 +4 +4 +base, tuned", table[2])
    assert re.search(r"repeats +x +the x .* questions repeat$", table[4])


def test_a_named_benchmark_that_is_bad_is_an_error(lab: Lab) -> None:
    assert lab.meds1("benchmarks", "repeats", "second-set").returncode == 0
    bad = lab.meds1("benchmarks", "bad", code=2)
    assert bad.stderr.startswith("meds1 benchmarks: eval dataset bad: 1 of 2 rows cannot judge an answer")
    assert lab.meds1("benchmarks", "far", code=3).stderr.count("\n") == 1
    assert "did you mean 'repeats'?" in lab.meds1("benchmarks", "repeat", code=2).stderr
