"""Several entries or files as one data set: every row once, under its own part; and what stands in the way, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from data.hub import resolve
from data.load import load, load_rows
from eval.benchmarks import load_benchmarks
from eval.few_shot import solved_questions
from registry.catalog import Catalog, DatasetEntry
from registry.contents import Contents
from registry.errors import MissingError, UsageError
from registry.resolve import catalog_entry
from registry.schema import FewShotConfig
from slurm.fetch import of_catalog
from tests.lab import Lab
from tests.small_lab import DATASETS, add, answer_of, edit_json, make_small_lab
from tests.stages import record, write_jsonl

Entries = Mapping[str, dict[str, Any]]


def resolved(folder: Path, entries: Entries, key: str = "both") -> DatasetEntry:
    catalog = Catalog.model_validate({"train_datasets": entries})
    return catalog_entry(catalog.train_datasets, key, "train_datasets", folder)


def merged(*parts: str) -> dict[str, Any]:
    return {"merge": list(parts)}


def filed(name: str) -> dict[str, Any]:
    return {"file_path": f"{name}.jsonl"}


TWO: Entries = {"both": merged("one", "two"), "one": filed("one"), "two": filed("two")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "one.jsonl", [record(1), record(2, source="shared"), record(2, source="shared")])
    write_jsonl(tmp_path / "two.jsonl", [record(1), record(2, source="shared"), record(3)])
    return tmp_path


def test_rows_of_parts_stand_one_after_the_other_each_under_its_own_key(folder: Path) -> None:
    rows = load_rows("both", resolved(folder, TWO))
    assert [(row.question[-2], row.source) for row in rows] == [
        *(("1", "one"), ("2", "shared"), ("2", "shared")),
        *(("1", "two"), ("2", "shared"), ("3", "two")),
    ]
    assert len({row.id for row in rows}) == 6
    alone = {row.id for name in ("one", "two") for row in load_rows(name, resolved(folder, TWO, name))}
    assert {row.id for row in rows} > alone, "a part's rows have the ids that they have without the other"
    both = resolved(folder, TWO)
    assert load_rows("both", DatasetEntry.model_validate_json(both.model_dump_json())) == rows
    turned = load_rows("both", resolved(folder, {**TWO, "both": merged("two", "one")}))
    assert sorted(turned, key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)


def test_a_merge_of_merges(folder: Path) -> None:
    entries = {**TWO, "all": merged("both", "three"), "three": filed("three")}
    write_jsonl(folder / "three.jsonl", [record(9)])
    assert [row.source for row in load_rows("all", resolved(folder, entries, "all"))][3:] == [
        *("two", "shared", "two", "three")
    ]


def test_parts_keep_their_own_columns_and_plugin(folder: Path) -> None:
    (folder / "made.py").write_text("def load(path):\n    return [{'Q': 'Why?', 'answer': 'So'}]\n")
    entries = {**TWO, "two": {"plugin": "made.py", "columns": {"question": "Q"}}}
    loaded = load("both", resolved(folder, entries))
    assert [reading.row.question for reading in loaded.readings][3:] == ["Why?"]
    assert loaded.plugin is None


@pytest.mark.parametrize(
    ("parts", "key", "said"),
    [
        (
            {"both": ["one", "tow"]},
            "both",
            "both.merge: 'tow' is not in the catalog's train_datasets; did you mean 'two'",
        ),
        ({"both": ["both"]}, "both", "both.merge: both -> both is a circle; a data set cannot be a part of itself"),
        ({"both": ["more"], "more": ["both"]}, "both", "more.merge: both -> more -> both is a circle; "),
        (
            {"both": ["one", "one"]},
            "both",
            "both.merge: one is in it twice; let each part come in once: its rows would",
        ),
        ({"both": ["one", "more"], "more": ["one"]}, "both", "both.merge: more -> one is in it twice; "),
        ({"both": ["more"], "more": ["gone"]}, "both", "more.merge: 'gone' is not in the catalog's train_datasets; "),
    ],
)
def test_a_merge_that_makes_no_sense_names_the_merging_entry(
    folder: Path, parts: Mapping[str, list[str]], key: str, said: str
) -> None:
    entries = {**TWO, **{name: merged(*named) for name, named in parts.items()}}
    with pytest.raises(UsageError) as caught:
        resolved(folder, entries, key)
    assert f"train_datasets.{said}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"columns": {"question": "Q"}}, "move columns to the parts"),
        ({"plugin": "x.py"}, "move plugin to the parts"),
        ({"file_path": "x"}, "give one of hf_path, file_path and merge"),
        ({"merge": []}, "merge names no entry"),
    ],
)
def test_a_merging_entry_has_no_rows_of_its_own(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DatasetEntry.model_validate({**merged("one"), **fields})


def test_validate_finds_a_bad_merge_that_no_experiment_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_small_lab(tmp_path, monkeypatch)
    bad = {"x": merged("train", "gone"), "y": merged("y"), "fine": merged("train")}
    edit_json(lab.folder / "config.json", lambda body: body["train_datasets"].update(bad))
    problems = answer_of(lab, "validate", code=2)["data"]["problems"]
    assert [problem["path"] for problem in problems] == ["train_datasets.x.merge", "train_datasets.y.merge"]


def test_a_merged_benchmark_is_its_parts(folder: Path) -> None:
    write_jsonl(folder / "free.jsonl", [record(8, options=None, answer_idx=None, answer="12 mg")])
    write_jsonl(folder / "exam.jsonl", [record(7)])
    entries = {"both": merged("exam", "free"), "exam": filed("exam"), "free": {**filed("free"), "task": "number"}}
    both = resolved(folder, entries)
    found = load_benchmarks({"both": both}, None)
    apart = load_benchmarks({name: resolved(folder, entries, name) for name in ("exam", "free")}, None)
    assert found == apart
    assert [(benchmark.key, benchmark.task) for benchmark in found.values()] == [("exam", "choice"), ("free", "number")]
    with pytest.raises(UsageError, match="benchmark exam is in both eval datasets exam and exam"):
        load_benchmarks({"exam": resolved(folder, entries, "exam"), "both": both}, None)
    shots = FewShotConfig(dataset="both", n=2)
    turns = solved_questions(shots, both, (), "plain", 0)
    alone = [
        solved_questions(shots.model_copy(update={"n": 1}), part, (), "plain", 0) for _, part in both.parts("both")
    ]
    assert sorted(turn["content"] for turn in turns) == sorted(turn["content"] for one in alone for turn in one)


def test_fetch_and_submit_name_the_missing_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_small_lab(tmp_path, monkeypatch)
    sets = {"both": merged("train", "far"), "far": {"hf_path": "lab/far"}, "lost": filed("lost")}
    edit_json(lab.folder / "config.json", lambda body: body["train_datasets"].update({**sets, "odd": merged("lost")}))
    add(lab, "x", datasets={**DATASETS, "curate": "both"})
    add(lab, "z", datasets={**DATASETS, "curate": "odd"})
    assert [item.key for item in of_catalog(lab.registry.catalog, "both")] == ["far"]
    assert "would fetch dataset far (lab/far)" in lab.meds1("fetch", "x", "--dry-run").stdout
    assert "train_datasets.far: lab/far is not on this machine" in refused(lab, "x")
    assert f"z: data set 'lost': {lab.folder / 'lost.jsonl'}: no such file" in refused(lab, "z")


def refused(lab: Lab, name: str) -> str:
    environment = {**lab.environment, "HF_HUB_OFFLINE": "1"}
    return Lab(lab.folder, environment).meds1("submit", name, "--cluster", "local", code=3).stderr


def write_parts(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_jsonl(folder / name, [record(number)])


def numbers(entry: DatasetEntry) -> list[str]:
    return [row.question.split()[-1] for row in load_rows("key", entry)]


def test_a_pattern_is_its_files_by_name(tmp_path: Path) -> None:
    write_parts(tmp_path, "part-2.jsonl", "part-1.jsonl", "part-10.jsonl", "other.jsonl", ".part-3.jsonl")
    entry = DatasetEntry(file_path=str(tmp_path / "part-*.jsonl"))
    assert numbers(entry) == ["1?", "2?", "0?"]
    assert resolve(entry, "dataset") == tmp_path / "part-*.jsonl"
    with pytest.raises(MissingError, match=r"^data set 'key': no file matches .*none-\*\.jsonl; correct file_path"):
        numbers(DatasetEntry(file_path=str(tmp_path / "none-*.jsonl")))
    (tmp_path / "part-9.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"part-9\.jsonl holds no rows"):
        numbers(entry)


def test_a_name_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "[a]").mkdir()
    write_parts(tmp_path / "[a]", "rows[12].jsonl", "rows1.jsonl", "rows2.jsonl")
    assert numbers(DatasetEntry(file_path=str(tmp_path / "[a]" / "rows[12].jsonl"))) == ["0?"]
    assert numbers(DatasetEntry(file_path=str(tmp_path / "[a]" / "rows[2].jsonl"))) == ["2?"]


def test_a_pattern_counts_by_names_and_contents_wherever_it_lies(tmp_path: Path) -> None:
    def hashed(folder: Path) -> str:
        return Contents().data(str(folder / "*" / "p*.jsonl"))

    for name in ("here", "there"):
        (tmp_path / name / "a").mkdir(parents=True)
        write_parts(tmp_path / name / "a", "p1.jsonl", "p2.jsonl")
    seen = {hashed(tmp_path / "here"), hashed(tmp_path / "there")}
    assert len(seen) == 1
    write_parts(tmp_path / "here" / "a", "other.jsonl")
    assert hashed(tmp_path / "here") in seen
    os.rename(tmp_path / "here" / "a" / "p1.jsonl", tmp_path / "here" / "a" / "p3.jsonl")
    seen.add(hashed(tmp_path / "here"))
    write_parts(tmp_path / "here" / "a", "p4.jsonl")
    seen.add(hashed(tmp_path / "here"))
    (tmp_path / "here" / "a" / "p4.jsonl").write_text(json.dumps(record(99)))
    seen.add(hashed(tmp_path / "here"))
    assert len(seen) == 4
    with pytest.raises(MissingError, match=r"q\*\.jsonl: no file matches; check file_path in the catalog"):
        Contents().data(str(tmp_path / "q*.jsonl"))


def test_validate_looks_for_what_a_pattern_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_small_lab(tmp_path, monkeypatch)
    sets = {"good": {"file_path": "tra*.jsonl"}, "bad": {"file_path": "none*.jsonl"}}
    edit_json(lab.folder / "config.json", lambda body: body["train_datasets"].update(sets))
    warnings = answer_of(lab, "validate")["warnings"]
    assert ["bad" in warning for warning in warnings] == [True]
