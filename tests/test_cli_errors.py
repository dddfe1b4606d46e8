"""A user's mistakes: one clear line on stderr, the right exit code, nothing written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import CHECKOUT, Lab
from tests.small_lab import DATASETS, add, answer_of, edit_json, make_small_lab, python_m, without_slurm

Prepare = Callable[[Lab], object]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def registry_text(text: str) -> Prepare:
    return lambda lab: (lab.folder / "results.json").write_text(text)


def catalog_with(section: str, key: str, entry: dict[str, Any]) -> Prepare:
    return lambda lab: edit_json(
        lab.folder / "config.json", lambda body: body.setdefault(section, {}).update({key: entry})
    )


def experiment(name: str, like: str = "tuned", **config: Any) -> Prepare:
    return lambda lab: add(lab, name, like, **config)


def both(*steps: Prepare) -> Prepare:
    return lambda lab: [step(lab) for step in steps]


def nothing(lab: Lab) -> None:
    pass


NO_FILE = both(
    catalog_with("train_datasets", "lost", {"file_path": "lost.jsonl"}),
    experiment("no-file", datasets={"curate": "lost", "eval": "held-out"}),
)
NO_MODEL = both(
    catalog_with("models", "empty", {"file_path": ".", "max_length": 256}), experiment("no-model", model_key="empty")
)
NO_EVAL_FILE = both(
    catalog_with("eval_datasets", "lost", {"file_path": "lost.jsonl"}),
    experiment("no-eval-file", datasets={"curate": "train", "eval": ["held-out", "lost"]}),
)
NOT_FETCHED = both(
    catalog_with("models", "hub", {"hf_path": "some/model", "max_length": 256, "gated": True}),
    experiment("not-fetched", model_key="hub"),
)
CIRCLE = both(experiment("one", curation="same as two"), experiment("two", curation="same as one"))
RUNS: list[tuple[str, Prepare, str, int, tuple[str, ...]]] = [
    ("unknown experiment", nothing, "run tunde", 2, ("no experiment 'tunde'", "did you mean 'tuned'?")),
    ("glob without a match", nothing, "run z*", 2, ("no experiment 'z*'", "legal: base, tuned")),
    ("no name", nothing, "run", 2, ("name an experiment", "--all", "legal: base, tuned")),
    ("names and all", nothing, "run tuned --all", 2, ("names or --all, not both",)),
    ("tag of others", nothing, "run base --tag ablation", 2, ("none of the named experiments has the tag 'ablation'",)),
    ("unknown tag", nothing, "run --tag nope", 2, ("no experiment has the tag 'nope'", "ablation")),
    ("no such stage", nothing, "run tuned --stage curate", 2, ("--stage 'curate'", "curation, training, eval")),
    ("set without =", nothing, "run tuned --set eval.limit", 2, ("--set 'eval.limit'", "key=value")),
    ("set of an unknown field", nothing, "run tuned --set eval.limits=2", 2, ("tuned", "eval.limits", "'limit'")),
    ("set below a plain value", nothing, "run tuned --set model_key.x=2", 2,
     ("tuned: --set model_key.x", "plain value")),
    ("set of a wrong kind", nothing, "run tuned --set eval.limit=many", 2, ("tuned", "eval.limit", "got 'many'")),
    ("reference to nothing", experiment("x", datasets="same as bas"), "run x", 2,
     ("experiments.x.config.datasets: x ", "-> same as bas", "'base'")),
    ("circle", CIRCLE, "run one", 2,
     ("experiments.one.config.curation: one ", "one -> same as two -> same as one", "circle")),
    ("unknown method", experiment("x", curation={"method": "rand"}), "run x", 2,
     ("experiments.x", "'random'", "unknown method 'rand'")),
    ("unknown field", experiment("x", trainig_params={}), "run x", 2,
     ("experiments.x.config.trainig_params", "'training_params'")),
    ("unknown model", experiment("x", model_key="tinny"), "run x", 2,
     ("'tinny' is not in the catalog's models", "'tiny'")),
    ("training without curation", experiment("x", curation=None), "run x", 2,
     ("experiments.x.config.training_params: has training_params but no curation",)),
    ("wrong kind of slurm", experiment("x", slurm={"eval": 3}), "run x", 2, ("experiments.x.config.slurm", "object")),
    ("eval before training", nothing, "run tuned --stage eval", 3,
     ("tuned: eval needs training", "meds1 run tuned --stage training")),
    ("no data file", NO_FILE, "run no-file", 3, ("no-file: ", "lost.jsonl: no such file", "catalog")),
    ("no eval file, seen before curation", NO_EVAL_FILE, "run no-eval-file", 3, ("no-eval-file: ", "lost.jsonl")),
    ("no model", NO_MODEL, "run no-model", 3, ("no-model: ", "is no model", "safetensors")),
    ("not fetched", NOT_FETCHED, "run not-fetched", 3,
     ("not-fetched: ", "some/model", "meds1 fetch not-fetched", "https://huggingface.co/some/model")),
    ("not fetched, batch", NOT_FETCHED, "submit not-fetched --cluster local", 3, ("not-fetched: ", "meds1 fetch")),
    ("broken JSON", registry_text('{"experiments": {\n  "x": }}'), "run x", 2,
     ("results.json: line 2, column 8", "meds1 rebuild")),
    ("empty file", registry_text(""), "run x", 2, ("results.json: the file is empty", "meds1 rebuild")),
    ("key twice", registry_text('{"experiments": {"x": {}, "x": {}}}'), "run x", 2, ("the key 'x' occurs twice",)),
    ("experiment of a wrong kind", registry_text('{"experiments": {"x": "same as y"}}'), "status", 2,
     ("experiments.x must be an object",)),
    ("results of a wrong kind", registry_text('{"experiments": {"x": {"results": {"eval": 1}}}}'), "status", 2,
     ("experiments.x.results.eval",)),
    ("tags of a wrong kind", registry_text('{"experiments": {"x": {"tags": "a"}}}'), "list", 2,
     ("experiments.x.tags must be a list",)),
    ("no registry", lambda lab: (lab.folder / "results.json").unlink(), "list", 3,
     ("results.json: no such file", "--registry")),
    ("slurm stage in the catalog", catalog_with("slurm", "trainning", {}), "status", 2,
     ("config.json: slurm.trainning: unknown field", "'training'")),
    ("unknown option", nothing, "run tuned --dryrun", 2, ("meds1 run: No such option: --dryrun", "meds1 run --help")),
    ("unknown command", nothing, "runn", 2, ("No such command 'runn'", "meds1 --help")),
    ("no eval result", nothing, "leaderboard base", 3, ("base: has no eval result", "meds1 run base")),
    ("nothing to draw", nothing, "plot comparison", 3, ("no experiment has an eval result to compare",)),
]  # fmt: skip


@pytest.mark.parametrize(("prepare", "line", "code", "fragments"), [pytest.param(*r[1:], id=r[0]) for r in RUNS])
def test_a_mistake_is_one_line_and_leaves_nothing(
    lab: Lab, prepare: Prepare, line: str, code: int, fragments: tuple[str, ...]
) -> None:
    prepare(lab)
    file = lab.folder / "results.json"
    before = file.read_bytes() if file.exists() else None
    files = sorted(lab.folder.rglob("*"))

    done = lab.meds1(*line.split(), code=code)

    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("meds1")
    assert [part for part in fragments if part not in errors[0]] == [], errors[0]
    assert done.stdout == ""
    assert (file.read_bytes() if file.exists() else None) == before
    assert sorted(lab.folder.rglob("*")) == files


@pytest.mark.parametrize(
    ("module", "arguments", "code", "fragments"),
    [
        ("curation", [], 2, ["give the name of an experiment: python -m curation NAME"]),
        ("curation", ["tunde"], 2, ["did you mean 'tuned'?"]),
        ("curation", ["base"], 2, ["base: its config has no curation"]),
        ("train", ["tuned"], 3, ["tuned: training needs curation, which is missing"]),
        ("eval", ["tuned"], 3, ["tuned: eval needs training, which is missing"]),
        ("eval", ["tuned", "--nope"], 2, ["No such option: --nope", "--help"]),
    ],
)
def test_the_stages_own_commands_say_the_same(
    lab: Lab, module: str, arguments: list[str], code: int, fragments: list[str]
) -> None:
    (line,) = python_m(lab, module, *arguments, code=code).splitlines()

    assert [part for part in fragments if part not in line] == []
    assert not (lab.folder / ".registry").exists()


def test_a_data_set_without_the_mapped_column_fails_the_stage_and_is_recorded(lab: Lab) -> None:
    catalog_with("train_datasets", "odd", {"file_path": "train.jsonl", "columns": {"question": "Frage"}})(lab)
    add(lab, "odd", datasets={"curate": "odd", "eval": "held-out"})

    done = lab.meds1("run", "odd", "base", "--stage", "curation", "--json", code=2)

    assert done.stderr.count("data set 'odd' has no column 'Frage' (columns.question)") == 1
    assert "odd: curation did not complete (attempt 1)" in done.stderr
    assert "Traceback" not in done.stderr
    entry = lab.results("odd")["curation"]
    assert (entry["status"], entry["attempt"]) == ("failed", 1)
    assert "has no column 'Frage'" in entry["error"]
    assert not (lab.folder / "output" / "odd").exists()
    assert "training" not in lab.results("odd")


def test_no_sbatch_is_said_before_anything_is_claimed(lab: Lab) -> None:
    done = without_slurm(lab).meds1("submit", "base", "--cluster", "slurm", code=3)

    assert done.stderr.startswith("meds1 submit: sbatch is not on this machine")
    assert "--cluster local" in done.stderr
    assert not (lab.folder / ".registry").exists()


@pytest.mark.parametrize("closed", [".", "cache"])
def test_a_folder_without_write_permission(lab: Lab, closed: str) -> None:
    folder = lab.folder / closed
    folder.mkdir(exist_ok=True)
    before = (lab.folder / "results.json").read_bytes()
    folder.chmod(0o555)
    try:
        done = subprocess.run(
            [*_bound_by_modes(), str(CHECKOUT / "bin" / "meds1"), "run", "base"],
            env=dict(lab.environment),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.chmod(0o755)

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("meds1 run: base: ")
    assert str(folder) in line
    assert "Permission denied" in line
    assert (lab.folder / "results.json").read_bytes() == before
    assert list(lab.folder.rglob("*~eval~*.json")) == []


def _bound_by_modes() -> list[str]:
    """What to put before a command so that a file's mode counts for root too."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores modes, and setpriv is not here to change that")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def test_one_broken_experiment_does_not_stop_the_others(lab: Lab) -> None:
    add(lab, "broken", model_key="tinny")

    every = answer_of(lab, "status")
    assert list(every["data"]) == ["base", "tuned"]
    assert any("'tinny' is not in the catalog's models" in line for line in every["warnings"])
    named = answer_of(lab, "status", "broken", "base", code=2)
    assert list(named["data"]) == ["base"]
    assert "'tinny' is not in the catalog's models" in named["error"]["message"]
    planned = answer_of(lab, "run", "--all", "--dry-run", code=2)
    assert {step["experiment"] for step in planned["data"]["plans"]} == {"base", "tuned"}


def test_validate_names_every_problem(lab: Lab) -> None:
    assert answer_of(lab, "validate")["data"] == {"problems": []}
    add(lab, "x", model_key="tinny")
    add(lab, "y", datasets={**DATASETS, "eval": "second"})

    def misspell(document: dict[str, Any]) -> None:
        document["experiments"]["base"]["descripton"] = "with a slip"
        document["comment"] = "nobody reads this"

    edit_json(lab.folder / "results.json", misspell)

    found = answer_of(lab, "validate", code=2)["data"]["problems"]

    assert [(problem["experiment"], problem["path"]) for problem in found] == [
        (None, "comment"),
        ("base", "experiments.base.descripton"),
        ("x", "experiments.x.config.model_key"),
        ("y", "experiments.y.config.datasets.eval"),
    ]
    assert [problem["mend"] for problem in found[1:]] == [
        "did you mean 'description'?",
        "did you mean 'tiny'?",
        "did you mean 'second-set'?",
    ]
    assert found[0]["message"] == "unknown field"


def test_a_torn_registry_is_rebuilt_from_the_last_fold(lab: Lab) -> None:
    lab.registry.fold()
    sound = (lab.folder / "results.json").read_bytes()
    assert "is sound" in lab.meds1("rebuild").stdout
    (lab.folder / "results.json").write_bytes(sound[:50])

    aside = Path(answer_of(lab, "rebuild")["data"]["set_aside"])

    assert aside.read_bytes() == sound[:50]
    assert lab.meds1("list").stdout.count("tuned") == 1
