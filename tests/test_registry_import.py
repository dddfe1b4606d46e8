"""`meds1 import` and the other commands on a registry of the original med-s1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageError
from registry.history import State
from registry.original.status import recorded_statuses
from registry.store import experiments_of
from tests.lab import CHECKOUT, Lab, lab_environment
from tests.original_registry import ELSEWHERE, N_EXPERIMENTS, original_document, write_files, write_json

PROGRAM = """
import sys
import typer
from registry.console import run_app
from registry.original.verbs import import_registry
app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command()(import_registry)
run_app(app, sys.argv[1:])
"""
NAME, OTHER = "medqa-1k-random-skip-33", "medqa-1k-random-skip-66"
Body = dict[str, Any]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An empty registry with the shipped catalog."""
    folder = tmp_path / "lab"
    write_json(folder / "results.json", {"format": 1, "experiments": {}})
    shutil.copy(CHECKOUT / "config.json", folder / "config.json")
    return Lab(folder, lab_environment(folder))


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A registry of the original project whose files lie on another cluster."""
    return written(tmp_path, original_document())


def written(folder: Path, document: Body) -> Path:
    file = folder / "original" / "results.json"
    write_json(file, document)
    return file


def run_import(lab: Lab, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    return lab.run([sys.executable, "-c", PROGRAM, *map(str, arguments)], code)


def answer(lab: Lab, *arguments: str | Path, code: int = 0) -> Body:
    body: Body = json.loads(run_import(lab, *arguments, "--json", code=code).stdout)
    return body


def in_file(lab: Lab) -> Body:
    found: Body = json.loads((lab.folder / "results.json").read_text(encoding="utf-8"))["experiments"]
    return found


def refused(lab: Lab, file: Path, code: int = 2) -> str:
    """Import a bad file: one line on stderr, nothing written; returns the line."""
    before = sorted(lab.folder.rglob("*"))
    content = (lab.folder / "results.json").read_bytes()
    done = run_import(lab, file, code=code)
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    assert sorted(lab.folder.rglob("*")) == before
    assert (lab.folder / "results.json").read_bytes() == content
    return line


class TestLoad:
    """The original's file as the registry itself."""

    @pytest.mark.parametrize("command", [["list"], ["show", "huatuo"], ["status"], ["leaderboard"], ["validate"]])
    def test_commands_read_it_and_leave_it_as_it_is(self, lab: Lab, original: Path, command: list[str]) -> None:
        before = original.read_bytes()

        done = lab.meds1(*command, "--json", "--registry", str(original), code=2 if command == ["validate"] else 0)

        assert json.loads(done.stdout)["command"] == command[0]
        assert "Traceback" not in done.stderr
        assert [path.name for path in original.parent.iterdir()] == ["results.json"]
        assert original.read_bytes() == before

    def test_every_result_is_listed(self, lab: Lab, original: Path) -> None:
        rows = json.loads(lab.meds1("list", "--json", "--registry", str(original)).stdout)["data"]

        have = {row["name"]: row["results"] for row in rows}
        assert len(have) == N_EXPERIMENTS
        assert have["base"] == ["eval"]
        assert have["base-qwen"] == []
        assert have[NAME] == ["curation", "training", "eval"]

    def test_results_show_as_completed_though_their_configs_are_of_another_version(self, original: Path) -> None:
        experiments = json.loads(original.read_text())["experiments"]
        found = recorded_statuses(experiments, NAME, State(), UsageError("no such method"))

        assert [status.status for status in found.values()] == ["completed"] * 3
        assert found["eval"].reason == (
            "fingerprint unknown (recorded by another program); cannot be compared with its config: no such method"
        )
        half = recorded_statuses(experiments, "medqa-5k-random", State(), UsageError("no such method"))
        assert [status.status for status in half.values()] == ["completed", "missing", "missing"]
        base = recorded_statuses(experiments, "base", State(), UsageError("no such method"))
        assert [status.status for status in base.values()] == ["n/a", "n/a", "completed"]

    def test_status_shows_them(self, lab: Lab, original: Path) -> None:
        body = json.loads(lab.meds1("status", "--json", "--registry", str(original)).stdout)

        found = body["data"][NAME]
        assert [found[stage]["status"] for stage in ("curation", "training", "eval")] == ["completed"] * 3
        assert found["eval"]["reason"].startswith("fingerprint unknown (recorded by another program)")
        assert body["data"]["base"]["training"]["status"] == "n/a"
        assert "base-qwen" not in body["data"]  # no result, and a model that the catalog lacks
        assert any("base-qwen" in line for line in body["warnings"])

    def test_the_leaderboard_reads_summary_files_that_are_here(self, lab: Lab, tmp_path: Path) -> None:
        document = original_document(str(tmp_path / "cluster"))
        write_files(document)
        file = written(tmp_path, document)
        Path(document["experiments"][OTHER]["results"]["eval"]["summary_file"]).unlink()

        body = json.loads(lab.meds1("leaderboard", "--json", "--registry", str(file)).stdout)

        rows = {row["experiment"]: row for row in body["data"]}
        assert rows["base"]["benchmarks"]["MedQA_test"]["correct"] == 700
        assert rows["base"]["remark"].startswith("fingerprint unknown")
        assert OTHER not in rows
        (told,) = [line for line in body["warnings"] if line.startswith(f"{OTHER}:")]
        assert f"{OTHER}_eval.json is not on this machine" in told

    def test_an_unreadable_summary_file_is_named(self, lab: Lab, tmp_path: Path) -> None:
        document = original_document(str(tmp_path / "cluster"))
        write_files(document)
        path = Path(document["experiments"]["base"]["results"]["eval"]["summary_file"])
        path.write_text("{")

        done = lab.meds1("leaderboard", "base", "--registry", str(written(tmp_path, document)), code=3)

        assert f'"{path}" is not JSON' in done.stderr


class TestImport:
    def test_everything_arrives_as_it_was_written(self, lab: Lab, original: Path) -> None:
        before = original.read_bytes()

        body = answer(lab, original)

        assert in_file(lab) == json.loads(before)["experiments"]
        assert len(body["data"]["imported"]) == N_EXPERIMENTS
        assert body["data"]["contradictions"] == []
        assert original.read_bytes() == before
        assert experiments_of(lab.registry.read()) == in_file(lab)

    def test_it_survives_a_torn_file(self, lab: Lab, original: Path) -> None:
        run_import(lab, original)
        (lab.folder / "results.json").write_text("{")

        lab.meds1("rebuild")

        assert in_file(lab) == json.loads(original.read_text())["experiments"]

    def test_a_dry_run_says_the_same_and_writes_nothing(self, lab: Lab, original: Path) -> None:
        before = sorted(lab.folder.rglob("*"))

        tried = answer(lab, original, "--dry-run")

        assert sorted(lab.folder.rglob("*")) == before
        assert in_file(lab) == {}
        done = answer(lab, original)
        assert tried["data"].pop("would_import") == done["data"].pop("imported")
        assert tried["data"].pop("imported") == done["data"].pop("would_import") == []
        assert tried["data"] == done["data"]

    def test_what_the_catalog_lacks_is_named_with_the_nearest(self, lab: Lab, original: Path) -> None:
        body = answer(lab, original, "--dry-run")

        lacking = {(item["section"], item["key"]): item for item in body["data"]["lacking"]}
        assert sorted(lacking) == [
            ("eval_datasets", "gpqa"),
            ("eval_datasets", "huatuo-eval"),
            ("models", "huatuo:8b"),
            ("models", "nemotron:8b"),
            ("models", "qwen2.5:7b"),
            ("models", "qwen:8b"),
            ("train_datasets", "nejmcr"),
        ]
        assert lacking["models", "huatuo:8b"]["experiments"] == ["huatuo"]
        assert "legal: demo-tiny, gemini-2.5-flash, llama3.1:8b" in lacking["models", "huatuo:8b"]["message"]
        assert len(lacking["eval_datasets", "huatuo-eval"]["experiments"]) == N_EXPERIMENTS

    def test_paths_that_are_not_here_are_kept_and_listed(self, lab: Lab, original: Path) -> None:
        body = answer(lab, original)

        absent = body["data"]["absent_paths"]
        assert absent[NAME]["training.model_path"] == f"{ELSEWHERE}/cache/ckpts/{NAME}"
        assert in_file(lab)[NAME]["results"]["training"]["model_path"] == f"{ELSEWHERE}/cache/ckpts/{NAME}"
        count = sum(len(paths) for paths in absent.values())
        lines = run_import(lab, original, "--registry", str(_empty(lab))).stdout.splitlines()
        assert f"{count} paths not on this machine, kept as written:" in lines
        assert f"  {NAME}: {', '.join(absent[NAME])}" in lines

    def test_contradictions_are_told_and_imported_all_the_same(self, lab: Lab, tmp_path: Path) -> None:
        document = original_document()
        document["experiments"][NAME]["results"]["eval"]["timestamp"] = "2025-03-01T00:00:00"

        done = run_import(lab, written(tmp_path, document))

        assert "1 contradiction:" in done.stdout.splitlines()
        assert f'  experiments.{NAME}.results.eval.timestamp: "2025-03-01T00:00:00" is older than' in done.stdout
        assert NAME in in_file(lab)

    def test_importing_again_skips_what_is_the_same(self, lab: Lab, original: Path) -> None:
        run_import(lab, original)
        before = (lab.folder / "results.json").read_bytes()

        body = answer(lab, original)

        assert body["data"]["imported"] == []
        assert len(body["data"]["skipped"]) == N_EXPERIMENTS
        assert (lab.folder / "results.json").read_bytes() == before

    def test_experiments_that_differ_are_all_named_and_nothing_is_imported(self, lab: Lab, tmp_path: Path) -> None:
        document = original_document()
        own = {name: json.loads(json.dumps(document["experiments"][name])) for name in (NAME, OTHER, "base")}
        own[NAME]["config"]["curation"]["perturbation"]["rate"] = 0.5
        del own[OTHER]["results"]["eval"]["summary_file"]
        write_json(lab.folder / "results.json", {"format": 1, "experiments": {**own, **_needed(document)}})

        line = refused(lab, written(tmp_path, document))

        assert f"experiments.{NAME}.config.curation.perturbation.rate (0.5 here, 0.33 there)" in line
        assert f"experiments.{OTHER}.results.eval.summary_file (only there)" in line
        assert "experiments.base" not in line

    def test_unknown_fields_are_kept_and_those_beside_the_experiments_are_told(self, lab: Lab, tmp_path: Path) -> None:
        document = original_document()
        document["experiments"][NAME]["results"]["eval"]["seen_by"] = "nobody"
        document["colors"] = ["red"]

        done = run_import(lab, written(tmp_path, document))

        assert in_file(lab)[NAME]["results"]["eval"]["seen_by"] == "nobody"
        assert "colors: no part of a registry, so not imported" in done.stderr

    def test_records_of_the_other_registry_stay_there(self, lab: Lab, tmp_path: Path) -> None:
        """A result of our own in another registry names a record that this one does not have."""
        document = original_document()
        result = document["experiments"]["base"]["results"]["eval"]
        result.update(status="completed", fingerprint="0" * 64, record="1234")

        file = written(tmp_path, document)
        run_import(lab, file)

        assert in_file(lab)["base"]["results"]["eval"] == {k: v for k, v in result.items() if k != "record"}
        assert "base" in answer(lab, file)["data"]["skipped"]


class TestBadFile:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"experiments": {"a": ', "line 1, column"),
            ('{"experiments": {"a": {}, "a": {}}}', "the key 'a' occurs twice"),
            ("", "the file is empty"),
            ('{"models": {}}', "holds no experiments"),
            ("[]", "not an object"),
            ('{"experiments": []}', "experiments must be an object"),
            ('{"experiments": {"a": {"config": 7}}}', "experiments.a.config must be an object"),
            ('{"experiments": {"../a": {}, "ok": {}, "b/c": {}}}', "'../a'"),
            ('{"format": 99, "experiments": {}}', "its format is newer"),
            ('{"experiments": {"a": {"config": {"curation": "same as b"}}}}', "no such experiment"),
            ('{"experiments": {"a": {"config": {"eval": "same as a"}}}}', "is a circle"),
            ('{"experiments": {"a": {"config": {"x": NaN}}}}', "NaN is no JSON number"),
        ],
    )
    def test_a_bad_file_is_one_line_and_nothing_is_written(
        self, lab: Lab, tmp_path: Path, text: str, says: str
    ) -> None:
        file = tmp_path / "bad.json"
        file.write_text(text)

        line = refused(lab, file)

        assert says in line
        assert "bad.json" in line

    def test_every_illegal_name_is_named(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "bad.json"
        write_json(file, {"experiments": {"b/c": {}, "x" * 300: {}}})

        line = refused(lab, file)

        assert "'b/c'" in line
        assert "300 characters" in line

    def test_a_broken_catalog_stops_it_before_anything_is_written(self, lab: Lab, original: Path) -> None:
        (lab.folder / "config.json").write_text("{")

        assert "config.json: line 1" in refused(lab, original)

    def test_a_file_that_is_not_there_and_a_folder(self, lab: Lab, tmp_path: Path) -> None:
        assert "no such file" in refused(lab, tmp_path / "none.json", code=3)
        assert "is no file" in refused(lab, tmp_path)


def _empty(lab: Lab) -> Path:
    file = lab.folder / "another.json"
    write_json(file, {"format": 1, "experiments": {}})
    return file


def _needed(document: Body) -> Body:
    """What the other experiments refer to."""
    return {name: document["experiments"][name] for name in ("base-step-prompt", "medqa-100-random")}
