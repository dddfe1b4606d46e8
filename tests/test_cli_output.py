"""What commands print: JSON, dry runs, help, tables, and nothing secret; and what they do not import or write."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import meds1
from tests.lab import CHECKOUT, Lab
from tests.small_lab import add, answer_of, edit_json, make_small_lab, python_m, save, scores

HEAVY = ("torch", "transformers", "pandas", "pyarrow", "vllm", "trl", "datasets", "matplotlib", "submitit", "numpy")
IMPORTED = """
import contextlib, io, runpy, sys
for line in sys.argv[2:]:
    module, *arguments = line.split()
    sys.argv = [module, *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        assert not end.code, (line, end.code)
    assert said.getvalue(), line
print(*sorted(name for name in sys.argv_heavy if name in sys.modules))
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def imported_by(lab: Lab, *lines: str) -> str:
    """The heavy libraries that are loaded once all of `lines` (a module and its arguments) have run in one process."""
    program = f"import sys; sys.argv_heavy = {HEAVY!r}\n{IMPORTED}"
    return lab.run([sys.executable, "-c", program, "-", *lines]).stdout.strip()


def test_help_works_everywhere_and_imports_nothing_heavy(lab: Lab) -> None:
    lines = [f"meds1 {command} --help" for command in meds1.VERBS]
    stages = [f"{module} --help" for module in ("curation", "train", "eval")]

    assert imported_by(lab, "meds1", "meds1 --help", *lines, *stages) == ""


def test_the_list_of_commands_loads_none_of_them(lab: Lab) -> None:
    program = "import meds1, sys; meds1.app(['--help'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    loaded = set(lab.run([sys.executable, "-c", program]).stderr.split())
    assert not loaded & {*HEAVY, "pydantic", "rich", "filelock", "registry.store", "registry.schema", "slurm"}


@pytest.mark.parametrize("verb", meds1.VERBS)
def test_the_list_of_commands_says_what_their_own_help_says(verb: str) -> None:
    place, summary = meds1.VERBS[verb]
    module, name = place.split(":")
    assert getattr(importlib.import_module(module), name).__doc__.splitlines()[0] == summary


def test_every_command_in_the_documents_is_one_that_exists(lab: Lab) -> None:
    documents = [*(CHECKOUT / "docs").glob("*.md"), *CHECKOUT.glob("README.md")]
    found = [re.findall(r"(?:^ *|`)meds1 ([a-z][^`\n#|]*)", path.read_text(), re.MULTILINE) for path in documents]
    lines = sorted({line.strip() for lines in found for line in lines})

    assert lines
    assert imported_by(lab, *(f"meds1 {line} --help" for line in lines)) == ""


def test_questions_of_the_registry_import_nothing_heavy(lab: Lab) -> None:
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(2, 4)))

    asked = ["status", "list", "show tuned", "config tuned", "validate", "leaderboard", "run --all --dry-run"]

    assert imported_by(lab, *(f"meds1 {line}" for line in asked)) == ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("status", 0),
        ("status nope", 2),
        ("list", 0),
        ("show base", 0),
        ("config base", 0),
        ("config nope", 2),
        ("validate", 0),
        ("rebuild", 0),
        ("leaderboard", 0),
        ("leaderboard base", 3),
        ("plot comparison", 3),
        ("fetch base", 0),
        ("fetch base --dry-run", 0),
        ("run base --dry-run", 0),
        ("run base --print-config", 0),
        ("submit base --dry-run", 0),
        ("run base --nope", 2),
        ("submit base --cluster moon", 2),
    ],
)
def test_json_is_one_object_on_stdout(lab: Lab, line: str, code: int) -> None:
    body = answer_of(lab, *line.split(), code=code)

    assert (body["schema"], body["command"]) == (1, line.split()[0])
    assert bool(body["error"]) == bool(code)


def test_json_is_alone_on_stdout_while_a_stage_prints(lab: Lab) -> None:
    lab.folder.joinpath("sitecustomize.py").write_text("import os\nos.write(1, b'a library says hello\\n')\n")
    talking = Lab(lab.folder, {**lab.environment, "PYTHONPATH": str(lab.folder)})

    done = talking.meds1("run", "tuned", "--stage", "curation", "--json", code=None)

    first, *rest = done.stdout.splitlines()
    assert first == "a library says hello"  # meds1 itself, before the command began
    assert [json.loads(line)["command"] for line in rest] == ["run"]
    assert "a library says hello" in done.stderr


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_dry_run_says_why_shows_the_config_and_writes_nothing(lab: Lab, verb: str) -> None:
    add(lab, "other", curation={"method": "all"})
    files = sorted(lab.folder.rglob("*"))

    said = lab.meds1(verb, "tuned", "other", "--set", "eval.limit=2", "--dry-run").stdout
    body = answer_of(lab, verb, "tuned", "other", "--set", "eval.limit=2", "--dry-run")["data"]

    for name in ("tuned", "other"):
        for stage in ("curation", "training", "eval"):
            assert f"{name}: {stage}: would run (missing)" in said
        assert body["configs"][name]["eval"]["limit"] == 2
        assert body["configs"][name]["experiment"] == name
    assert '"limit": 2' in said
    assert len(body["plans"]) == 6
    assert ("#SBATCH --job-name=meds1.curation" in said) == (verb == "submit")
    assert sorted(lab.folder.rglob("*")) == files


@pytest.mark.parametrize("option", ["--print-config", "--print-effective-config"])
def test_print_config_is_the_config_and_needs_neither_parents_nor_files(lab: Lab, option: str) -> None:
    (lab.folder / "train.jsonl").unlink()
    files = sorted(lab.folder.rglob("*"))

    shown = json.loads(lab.meds1("run", "tuned", "--stage", "eval", option).stdout)

    assert shown == answer_of(lab, "config", "tuned")["data"]["config"]
    assert shown["training"]["learning_rate"] == 1e-3
    assert python_m(lab, "eval", "tuned", option) == ""
    assert sorted(lab.folder.rglob("*")) == files


def test_set_reaches_the_config_that_is_shown(lab: Lab) -> None:
    shown = answer_of(lab, "config", "tuned", "--set", "eval.limit=3", "--set", "prompting=step")["data"]

    assert (shown["config"]["eval"]["limit"], shown["config"]["prompting"]) == (3, "step")
    assert (shown["origins"]["eval.limit"], shown["origins"]["prompting"]) == ("--set", "--set")


def test_a_stage_of_its_own_command_plans_like_the_one_command(lab: Lab) -> None:
    python = str(Path(lab.environment["VIRTUAL_ENV"]) / "bin" / "python")
    done = lab.run([python, "-m", "curation", "tuned", "--dry-run", "--json"])

    (own,) = json.loads(done.stdout)["data"]["plans"]
    assert own == answer_of(lab, "run", "tuned", "--dry-run")["data"]["plans"][0]


def test_tables_in_a_pipe_are_one_line_for_each_experiment(lab: Lab) -> None:
    name = "an-experiment-with-a-long-name." * 4
    add(lab, name)
    edit_json(
        lab.folder / "results.json",
        lambda body: body["experiments"][name].update(description="a :smile: [bold]long[/bold] story " * 20),
    )
    narrow = Lab(lab.folder, {**lab.environment, "COLUMNS": "40"})

    lines = narrow.meds1("list", name, "tuned").stdout.splitlines()

    assert [line.split()[0] for line in lines if line.startswith(("an-", "tuned"))] == ["tuned", name]
    assert "a [few] rows" in "".join(lines)
    assert "a :smile: [bold]long[/bold] story a :smile:" in "".join(lines)


def test_list_names_the_completed_stages_alone(lab: Lab) -> None:
    save(lab, "tuned", "curation", "completed")
    save(lab, "tuned", "training", "failed", error="out of memory")

    (row,) = answer_of(lab, "list", "--tag", "ablation")["data"]

    assert row == {
        "name": "tuned",
        "model": "tiny",
        "tags": ["ablation"],
        "results": ["curation"],
        "description": "a [few] rows",
    }


def test_show_has_config_results_and_history(lab: Lab) -> None:
    save(lab, "base", "eval", "failed", error="first")
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(2, 4)))

    shown = answer_of(lab, "show", "base")["data"]

    assert shown["config"]["model_key"] == "tiny"
    assert shown["results"]["eval"]["metrics"]["benchmarks"]["held-out"]["num_correct"] == 2
    events = [(entry["attempt"], entry["event"]) for entry in shown["history"]["attempts"]]
    assert events == [(1, "intent"), (1, "failed"), (2, "intent"), (2, "completed")]


def test_values_of_key_variables_are_masked_wherever_they_are_printed(lab: Lab) -> None:
    key = "hf_0123456789abcdef"
    save(lab, "base", "eval", "failed", error=f"401 for token {key} at the hub, and more of that kind {key}")
    secret = Lab(lab.folder, {**lab.environment, "HF_TOKEN": key, "COLUMNS": "60"})

    said = [
        secret.meds1("status"),
        secret.meds1("status", "--json"),
        secret.meds1("show", "base"),
        secret.meds1("run", key, code=2),
        secret.meds1("run", key, "--json", code=2),
        secret.meds1("run", "base", f"--{key}", code=2),
        secret.meds1("leaderboard", "--registry", str(lab.folder / key), code=3),
    ]

    for done in said:
        assert key not in done.stdout + done.stderr
        assert "<HF_TOKEN>" in done.stdout + done.stderr


def test_a_crash_and_a_log_line_are_masked_too(lab: Lab) -> None:
    key = "sk-0123456789abcdef"
    program = (
        "import logging, os\nfrom registry.console import answering\n"
        "with answering('test', True):\n"
        "    logging.getLogger('eval').info('asked with %s', os.environ['OPENAI_API_KEY'])\n"
        "    raise RuntimeError(os.environ['OPENAI_API_KEY'])\n"
    )
    environment = {**lab.environment, "OPENAI_API_KEY": key, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == {"message": "RuntimeError: <OPENAI_API_KEY>", "exit_code": 1}
    assert "asked with <OPENAI_API_KEY>" in done.stderr
    assert done.stderr.endswith("RuntimeError: <OPENAI_API_KEY>\n")
    assert key not in done.stdout + done.stderr


def test_fetch_knows_experiments_and_names_of_the_catalog(lab: Lab) -> None:
    def add_hub_entries(body: dict[str, dict[str, object]]) -> None:
        body["models"]["hub"] = {"hf_path": "some/model", "max_length": 256}
        body["eval_datasets"]["hub"] = {"hf_path": "some/questions"}

    edit_json(lab.folder / "config.json", add_hub_entries)

    hub = answer_of(lab, "fetch", "hub", "--dry-run")["data"]["needed"]
    assert hub == ["model hub (some/model)", "dataset hub (some/questions)"]
    mixed = answer_of(lab, "fetch", "hub", "base", "--dry-run")["data"]["needed"]
    assert [line.split(" (")[0] for line in mixed] == ["model hub", "dataset hub", "model tiny", "dataset held-out"]
    unknown = answer_of(lab, "fetch", "hubb", "--dry-run", code=2)["error"]["message"]
    assert "no experiment 'hubb'" in unknown
