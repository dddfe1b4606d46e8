"""`meds1 export`: JSON with everything, the long CSV, and tables that survive whatever a name holds."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.lab import Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab, save, scores

ODD = r"a|b_c*d* [e] <f> 5 % & #1 $x$ {y} ~z^ \w `v` é"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """`base` on two benchmarks with an odd name, `one` on one, `waiting` without a result."""
    lab = make_small_lab(tmp_path / "lab", monkeypatch)
    add(lab, "one", "base")
    add(lab, "waiting", "base")
    add(lab, "base", "base", datasets={"curate": "train", "eval": ["held-out", "second-set"]})
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(50, 100), second_set=(30, 40)))
    save(lab, "one", "eval", "completed", metrics={**scores(held_out=(20, 20)), "limit": 20})
    display = {"experiments": {"base": {"name": ODD}}, "benchmarks": {"second-set": "2nd_set"}}
    edit_json(lab.folder / "config.json", lambda body: body.update(display=display))
    return lab


class TestJson:
    def test_it_holds_what_is_written_what_is_meant_results_and_history(self, lab: Lab) -> None:
        document = json.loads(lab.meds1("export", "--all").stdout)

        by_name = {body["name"]: body for body in document["experiments"]}
        assert list(by_name) == ["base", "tuned", "one", "waiting"]
        tuned, base = by_name["tuned"], by_name["base"]
        assert tuned["config"]["datasets"] == "same as base"
        assert list(tuned["effective"]["eval_datasets"]) == ["held-out", "second-set"]
        assert base["results"]["eval"]["fingerprint"] == base["status"]["eval"]["fingerprint"]
        assert base["scores"]["second-set"]["num_correct"] == 30
        assert [attempt["event"] for attempt in base["history"]["attempts"]][-1] == "completed"
        assert by_name["waiting"]["scores"] is None

    def test_an_experiment_whose_config_is_wrong_is_there_with_what_is_wrong(self, lab: Lab) -> None:
        lab.edit("waiting", model_key="nobody")

        (body,) = answer_of(lab, "export", "waiting")["data"]["experiments"]

        assert body["config"]["model_key"] == "nobody"
        assert body["effective"] is None
        assert "'nobody' is not in the catalog's models" in body["problem"]

    def test_it_takes_no_choice_of_numbers(self, lab: Lab) -> None:
        assert "--format json writes everything" in lab.meds1("export", "base", "--metric", "accuracy", code=2).stderr


class TestCsv:
    def test_every_number_is_a_row_with_the_config_beside_it(self, lab: Lab) -> None:
        rows = list(csv.DictReader(io.StringIO(lab.meds1("export", "--all", "--format", "csv").stdout)))

        assert [(row["experiment"], row["benchmark"], row["value"], row["limit"]) for row in rows] == [
            ("base", "held-out", "0.5", ""),
            ("base", "second-set", "0.75", ""),
            ("one", "held-out", "1.0", "20"),
        ]
        assert {row["label"] for row in rows} == {ODD, "one"}
        assert {row["model_key"] for row in rows} == {"tiny"}
        assert not [column for column in rows[0] if "path" in column or column.startswith("slurm")]

    def test_only_a_benchmark_and_a_metric(self, lab: Lab) -> None:
        chosen = ("--format", "csv", "--benchmark", "second-set", "--metric", "accuracy")
        rows = list(csv.DictReader(io.StringIO(lab.meds1("export", "--all", *chosen).stdout)))

        assert [(row["experiment"], row["benchmark"]) for row in rows] == [("base", "second-set")]


def test_markdown_keeps_names_and_numbers(lab: Lab) -> None:
    text = lab.meds1("export", "--all", "--format", "markdown").stdout

    tokens = MarkdownIt().enable("table").parse(text)
    cells = [token for token in tokens if token.type == "inline"][1:]  # without the caption
    shown = ["".join(child.content for child in token.children or ()) for token in cells]
    assert shown[:3] == ["experiment", "held-out (n=100)", "2nd_set (n=40)"]
    assert shown[3:6] == [ODD, "50.0 [40.4, 59.6]", "75.0 [59.8, 85.8]"]
    assert shown[6:] == ["one[^1]", "100.0 [83.9, 100.0] n=20", "–", "[^1]: first 20 questions only"]
    assert all(child.type in ("text", "text_special") for token in cells for child in token.children or ())


class TestLatex:
    def test_the_table_is_whole_and_everything_is_escaped(self, lab: Lab) -> None:
        text = lab.meds1("export", "base", "--format", "latex").stdout

        body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
        columns = re.search(r"\\begin\{tabular\}\{(.*)\}\n", text)
        assert columns is not None
        assert columns[1] == "l" + "r@{ }l" * 3  # two benchmarks and their mean
        (row,) = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(re.findall(r"(?<!\\)&", row)) == 6
        assert r"a\textbar{}b\_c*d* [e] \textless{}f\textgreater{} 5 \% \& \#1 \$x\$ \{y\}" in row
        assert r"\textasciitilde{}z\textasciicircum{} \textbackslash{}w \textasciigrave{}v\textasciigrave{} é" in row
        assert r"2nd\_set" in text
        assert text.count(r"\begin{") == text.count(r"\end{")

    def test_a_name_that_begins_with_a_bracket_is_no_option_of_the_line_before(self, lab: Lab) -> None:
        display = {"experiments": {"one": {"name": "[1]"}, "base": {"name": "*"}}}
        edit_json(lab.folder / "config.json", lambda body: body.update(display=display))

        text = lab.meds1("export", "--all", "--format", "latex").stdout

        assert [line[:4] for line in text.splitlines() if line.startswith("{}")] == ["{}* ", "{}[1"]

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
    def test_latex_sets_it(self, lab: Lab, tmp_path: Path) -> None:
        lab.meds1("export", "--all", "--format", "latex", "--out", str(tmp_path / "table.tex"))
        document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
        (tmp_path / "main.tex").write_text(document)

        subprocess.run(["pdflatex", "-halt-on-error", "main.tex"], cwd=tmp_path, check=True, capture_output=True)

        assert (tmp_path / "main.pdf").stat().st_size > 1000


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_a_key_is_hidden_although_its_underscore_is_escaped(lab: Lab, form: str) -> None:
    lab = replace(lab, environment={**lab.environment, "HF_TOKEN": "hf_abcdefgh"})
    display = {"experiments": {"base": {"name": "with hf_abcdefgh"}}}
    edit_json(lab.folder / "config.json", lambda body: body.update(display=display))

    text = lab.meds1("export", "--all", "--format", form).stdout

    assert "abcdefgh" not in text
    assert "TOKEN" in text


def test_equal_names_are_told_apart(lab: Lab) -> None:
    display = {"experiments": {name: {"name": "Same"} for name in ("base", "one")}}
    edit_json(lab.folder / "config.json", lambda body: body.update(display=display))

    text = lab.meds1("export", "--all", "--format", "markdown").stdout

    assert "| Same (base) |" in text
    assert "| Same (one)[^1] |" in text


class TestOut:
    def test_a_file_is_written_in_folders_that_are_made(self, lab: Lab) -> None:
        out = lab.folder / "paper" / "tables" / "all.md"

        assert lab.meds1("export", "--all", "--format", "markdown", "--out", str(out)).stdout == f"{out}\n"
        assert out.read_text() == lab.meds1("export", "--all", "--format", "markdown").stdout
        assert [path.name for path in out.parent.iterdir()] == ["all.md"]

    def test_of_an_experiment_that_was_named_and_has_nothing_no_file_is_written(self, lab: Lab) -> None:
        out = lab.folder / "all.csv"

        done = lab.meds1("export", "base", "waiting", "--format", "csv", "--out", str(out), code=3)

        assert "waiting: has no eval result" in done.stderr
        assert not out.exists()

    def test_a_place_that_cannot_be_written(self, lab: Lab) -> None:
        out = lab.folder / "config.json" / "table.tex"

        done = lab.meds1("export", "base", "--format", "latex", "--out", str(out), code=1)

        assert done.stderr.splitlines()[-1].endswith("choose another --out")


def test_mistakes_are_one_line(lab: Lab) -> None:
    def last(*arguments: str, code: int = 2) -> Any:
        return lab.meds1("export", *arguments, code=code).stderr.splitlines()[-1]

    assert last("--all", "--format", "tex") == "meds1 export: --format 'tex': no such format; did you mean 'latex'?"
    assert last().startswith("meds1 export: name an experiment, or use --all")
    assert last("tuned", "--format", "latex", code=3).startswith("meds1 export: tuned: has no eval result")
    assert last("wait*", "--format", "csv", code=3) == "meds1 export: none of these experiments has an eval result"
