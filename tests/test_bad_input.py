"""What people get wrong in the registry and on the command line: each command says it in one clear line with exit code
2 and writes nothing; commands that only look go on, with a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.small_lab import CURATION, DATASETS, add, answer_of, edit_json, make_small_lab

EVERY = ("list", "status", "show tuned", "config tuned", "validate", "run tuned", "submit tuned --cluster local")
RESOLVING = ("config x", "validate", "run x", "submit x --cluster local")
LONG = "n" * 300


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = make_small_lab(tmp_path / "lab", monkeypatch)
    made.registry.fold()
    return made


def files(lab: Lab) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in lab.folder.rglob("*") if path.is_file()}


def refused(lab: Lab, *arguments: str) -> str:
    """The one line that a command refuses with; `validate` lists the problems on stdout as well."""
    before = files(lab)
    done = lab.meds1(*arguments, code=2)
    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, done.stderr
    assert files(lab) == before
    if arguments[0] != "validate":
        assert done.stdout == ""
        return errors[0]
    return done.stdout.strip() or errors[0]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ('{"experiments": {\n  "x": }}', ("results.json: line 2, column 8", "meds1 rebuild")),
        ('{"experiments": {"x": {}, "x": {}}}', ("results.json: the key 'x' occurs twice",)),
        ("", ("results.json: the file is empty", "meds1 rebuild` restores the last good state")),
    ],
    ids=["invalid JSON", "duplicate key", "empty file"],
)
def test_a_file_that_cannot_be_read_stops_every_command(lab: Lab, text: str, fragments: tuple[str, ...]) -> None:
    (lab.folder / "results.json").write_text(text)
    for line in EVERY:
        said = refused(lab, *line.split())
        assert [part for part in fragments if part not in said] == [], line


@pytest.mark.parametrize(
    ("config", "fragments"),
    [
        ({"curation": "same as x"}, ("experiments.x.config.curation: x -> same as x is a circle",)),
        ({"curation": "same as tuend"}, ("x -> same as tuend: no such experiment", "did you mean 'tuned'?")),
        ({"eval": {"limt": 3}}, ("experiments.x.config.eval.limt: unknown field", "did you mean 'limit'?")),
        (
            {"curation": {**CURATION, "validation_fraction": 1}},
            ("experiments.x.config.curation.validation_fraction: ", "put a number at least 0 and below 1"),
        ),
        ({"model_key": "far"}, ("models.far.file_path: ${NOT_SET_ANYWHERE} is not set", "export NOT_SET_ANYWHERE")),
    ],
    ids=["circle", "dangling reference", "unknown field", "out of range", "unset variable"],
)
def test_a_config_that_makes_no_sense_stops_what_uses_it(
    lab: Lab, config: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    far = {"far": {"file_path": "${NOT_SET_ANYWHERE}/model", "max_length": 256}}
    if "model_key" in config:
        edit_json(lab.folder / "config.json", lambda body: body["models"].update(far))
    add(lab, "x", **{"datasets": DATASETS, **config})
    for line in RESOLVING:
        said = refused(lab, *line.split())
        assert [part for part in fragments if part not in said] == [], f"{line}: {said}"
    assert "x" in lab.meds1("list").stdout.split()
    assert answer_of(lab, "show", "x")["data"]["config"]["datasets"] == DATASETS
    looked = lab.meds1("status")
    assert "tuned" in looked.stdout
    assert fragments[-1] in looked.stderr


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", LONG], ids=["slash", "dots", "newline", "300 characters"])
def test_a_name_that_cannot_be_one(lab: Lab, name: str) -> None:
    for verb in ("show", "run"):
        said = refused(lab, verb, name)
        assert "no experiment " in said
        assert len(said) < 300

    add(lab, name, datasets=DATASETS)

    for line in (["run", name], ["config", name], ["submit", name, "--cluster", "local"]):
        said = refused(lab, *line)
        assert "experiment name " in said
        assert len(said) < 600
    (problem,) = json.loads(lab.meds1("validate", "--json", code=2).stdout)["data"]["problems"]
    assert problem["experiment"] == name
    assert "use letters, digits" in problem["mend"] or "at most 128" in problem["mend"]
    assert "tuned" in lab.meds1("status").stdout
