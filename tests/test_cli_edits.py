"""new, note, tag, rm, history, list and show, as a user calls them."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.small_lab import add, answer_of, complete, edit_json, make_small_lab, save, scores

ME = getpass.getuser()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def experiments(lab: Lab) -> dict[str, Any]:
    """The experiments as the file has them."""
    found: dict[str, Any] = json.loads((lab.folder / "results.json").read_text())["experiments"]
    return found


def test_a_new_experiment_says_only_what_differs(lab: Lab) -> None:
    lab.meds1("new", "slow", "--from", "tuned", "--set", "training_params.learning_rate=1e-6", "--tag", "ablation")

    slow, tuned = experiments(lab)["slow"], experiments(lab)["tuned"]
    assert (slow["description"], slow["tags"]) == ("tuned with training_params.learning_rate=1e-06", ["ablation"])
    assert slow["config"] == {
        **tuned["config"],
        "curation": "same as tuned",
        "training_params": {**tuned["config"]["training_params"], "learning_rate": 1e-6},
    }
    assert list(experiments(lab))[-1] == "slow"


def test_several_values_make_a_grid_with_readable_names(lab: Lab) -> None:
    before = (lab.folder / "results.json").read_bytes()
    line = ["new", "g", "--from", "tuned", "--set", "curation.seed=1,2", "--set", "training_params.num_epochs=1,3,5"]

    planned = answer_of(lab, *line, "--dry-run")["data"]["would_create"]
    assert (lab.folder / "results.json").read_bytes() == before
    made = answer_of(lab, *line)["data"]["created"]

    assert planned == made
    names = [f"g-seed{seed}-ne{epochs}" for seed in (1, 2) for epochs in (1, 3, 5)]
    assert list(made) == names == list(experiments(lab))[-6:]
    assert experiments(lab)["g-seed2-ne5"]["config"]["curation"]["seed"] == 2

    lists = ["new", "h", "--from", "base", "--set", 'datasets.eval=["held-out"],["held-out","second-set"]', "--dry-run"]
    assert [body["config"]["datasets"]["eval"] for body in answer_of(lab, *lists)["data"]["would_create"].values()] == [
        ["held-out"],
        ["held-out", "second-set"],
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["base", "--from", "tuned"], "base: there is such an experiment already"),
        (["x", "--from", "tunde"], "did you mean 'tuned'"),
        (["x", "--from", "tuned", "--set", "curation.seeds=1"], "did you mean 'seed'"),
        (["x", "--from", "tuned", "--set", "curation.seed"], "write it as key=value"),
        (["x", "--from", "base", "--set", "training_params.num_epochs=3"], "does not apply"),
        (["x", "--from", "tuned", "--set", "curation.seed=1", "--set", "curation.seed=2"], "given twice"),
        (["x", "--from", "tuned", "--set", "curation.seed=1,2,1"], "x-seed1: two experiments of the grid"),
        (["a/b", "--from", "tuned"], "use letters, digits"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_makes_nothing(lab: Lab, arguments: list[str], says: str) -> None:
    before = (lab.folder / "results.json").read_bytes()
    done = lab.meds1("new", *arguments, code=2)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert (lab.folder / "results.json").read_bytes() == before


def test_notes_and_tags_are_kept_with_their_author(lab: Lab) -> None:
    lab.meds1("note", "tuned", "loss diverges; lower the rate")
    lab.meds1("tag", "tuned", "base", "--add", "paper", "--add", "v1")
    lab.meds1("tag", "base", "--remove", "v1")

    assert experiments(lab)["base"]["tags"] == ["paper"]
    assert experiments(lab)["tuned"]["notes"][0]["author"] == ME
    said = lab.meds1("show", "tuned").stdout
    assert "loss diverges; lower the rate" in said
    edit_json(lab.folder / "results.json", lambda body: body["experiments"]["base"].update(notes="one text"))
    assert "experiments.base.notes: must be a list" in lab.meds1("note", "base", "x", code=2).stderr
    assert experiments(lab)["base"]["notes"] == "one text"
    assert "say which" in lab.meds1("tag", "tuned", code=2).stderr
    assert "empty" in lab.meds1("note", "tuned", " ", code=2).stderr


def test_rm_asks_refuses_and_removes(lab: Lab) -> None:
    complete(lab)
    lab.meds1("new", "child", "--from", "tuned")

    assert "nobody to ask: use --yes" in lab.meds1("rm", "child", code=2).stderr
    assert 'child say "same as tuned"' in lab.meds1("rm", "tuned", "--yes", code=2).stderr
    assert "has no result of curation" in lab.meds1("rm", "base", "--stage", "curation", "--yes", code=2).stderr
    assert lab.meds1("rm", "tuned", "--stage", "eval", "--dry-run").stdout == (
        "tuned: would remove the results of eval\n"
    )
    lab.meds1("rm", "tuned", "--stage", "eval", "--yes")
    assert list(experiments(lab)["tuned"]["results"]) == ["curation", "training"]
    lab.meds1("rm", "child", "--yes")
    lab.meds1("rm", "tuned", "--yes")
    assert not {"tuned", "child"} & experiments(lab).keys()
    assert "tuned" not in answer_of(lab, "status")["data"]


@pytest.mark.parametrize("line", ["show t*", "config t*", "note t* x", "rm t* --yes", "new x --from t*"])
def test_a_command_about_one_experiment_takes_no_glob(lab: Lab, line: str) -> None:
    before = experiments(lab)
    assert "no experiment 't*' in the registry" in lab.meds1(*line.split(), code=2).stderr
    assert experiments(lab) == before


def test_history_has_attempts_and_edits_also_of_what_is_removed(lab: Lab) -> None:
    complete(lab)
    lab.meds1("tag", "tuned", "--add", "paper")
    lab.edit("tuned", prompting="strict")
    lab.meds1("note", "tuned", "strict from now on")
    lab.meds1("rm", "tuned", "--yes")

    data = answer_of(lab, "history", "tuned")["data"]
    assert [(a["stage"], a["event"], a["remark"].split("; ")[1:]) for a in data["attempts"]][-1] == (
        "eval",
        "completed",
        ["removed"],
    )
    (noted,) = [edit for edit in data["edits"] if edit["event"] == "note"]
    assert (noted["remark"], noted["changes"][0]["new"][0]["text"]) == ("strict from now on", "strict from now on")
    said = lab.meds1("history", "tuned").stdout
    for words in ('config.prompting: nothing -> "strict"', "strict from now on", "results of eval up to attempt"):
        assert words in said
    assert "no experiment 'tunde'" in lab.meds1("history", "tunde", code=2).stderr


def test_list_is_filtered_by_name_tag_model_and_status(lab: Lab) -> None:
    edit_json(lab.folder / "config.json", lambda catalog: catalog["models"].update(second=catalog["models"]["tiny"]))
    add(lab, "other", "base", model_key="second")
    save(lab, "base", "eval", "completed", metrics=scores(held_out=(2, 4)))
    lab.meds1("tag", "tuned", "--add", "paper")

    def names(*arguments: str) -> list[str]:
        return [row["name"] for row in answer_of(lab, "list", *arguments)["data"]]

    add(lab, "odd", model_key=["tiny"])

    everything = names()
    assert "odd" in lab.meds1("list").stdout
    assert names("--tag", "paper") == names("tun*", "--tag", "paper") == ["tuned"]
    assert names("--model", "second") == ["other"]
    assert names("--status", "completed") == ["base"]
    assert "tuned" in names("--status", "missing")
    assert names("--limit", "1") == everything[:1]
    assert "nothing here has" in lab.meds1("list", "--status", "stale").stdout
    assert "did you mean 'stale'" in lab.meds1("list", "--status", "stele", code=2).stderr
    assert "did you mean 'second'" in lab.meds1("list", "--model", "secnd", code=2).stderr


def test_show_has_everything_about_one_experiment(lab: Lab) -> None:
    complete(lab)

    data = answer_of(lab, "show", "tuned")["data"]

    assert data["config"] == experiments(lab)["tuned"]["config"]
    assert data["effective"]["eval"]["max_tokens"]
    assert data["results"]["eval"]["metrics"]
    assert data["status"]["eval"]["status"] == "completed"
    assert [attempt["event"] for attempt in data["history"]["attempts"]][-1] == "completed"


def test_show_has_the_states_of_results_whose_config_does_not_resolve(lab: Lab) -> None:
    complete(lab)
    lab.edit("tuned", model_key="tinny")

    body = answer_of(lab, "show", "tuned")

    assert body["data"]["effective"] is None
    assert [body["data"]["status"][stage]["status"] for stage in ("curation", "training", "eval")] == ["completed"] * 3
    assert any("did you mean 'tiny'?" in line for line in body["warnings"])


def test_a_tag_cannot_be_added_and_removed_at_once(lab: Lab) -> None:
    assert "both say x" in lab.meds1("tag", "tuned", "--add", "x", "--remove", "x", code=2).stderr


def test_history_says_where_an_experiment_comes_from(lab: Lab) -> None:
    lab.meds1("new", "copy", "--from", "tuned")

    made = lab.meds1("history", "copy").stdout.splitlines()[2]

    assert "edit 1" in made
    assert made.endswith("experiment made; new --from tuned")


def test_a_registry_without_experiments_says_so(lab: Lab) -> None:
    edit_json(lab.folder / "results.json", lambda document: document["experiments"].clear())

    for verb in ("list", "status"):
        assert "no experiments yet" in lab.meds1(verb).stdout


def test_rm_names_some_of_many_that_depend_on_it(lab: Lab) -> None:
    lab.meds1("new", "g", "--from", "tuned", "--set", "training_params.num_epochs=1,2,3,4,5,6,7")

    said = lab.meds1("rm", "tuned", "--yes", code=2).stderr

    assert "g-ne1, " in said
    assert " more say" in said
