"""A registry that is only looked at: fields that are not known are named and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.unknown import unknown_fields
from tests.lab import Lab
from tests.original_registry import original_document
from tests.registry_case import CURATION, base, tuned
from tests.small_lab import edit_json, make_small_lab


def test_each_unknown_field_is_named_once() -> None:
    curation = {**CURATION, "quality": {"max_token": 1}}
    document = {
        "comment": "x",
        "experiments": {
            "one": {**tuned(curation=curation, promting="step"), "owner": "me"},
            "two": {**tuned(curation=curation, datasets="same as one"), "results": {"eval": {"own": 1}}},
            "other": {"note": "x"},
        },
    }
    lines = unknown_fields(document, ["one", "two"])
    assert [line.split(": ")[0] for line in lines] == [
        "comment",
        "experiments.one.config.curation.quality.max_token",
        "experiments.one.config.promting",
        "experiments.one.owner",
    ]
    assert "(as in 1 more)" in lines[1]


def test_old_spellings_are_known() -> None:
    old = {**CURATION, "huatuo_format": True, "extract": ["step"], "perturbation": None, "restore": False}
    body = tuned(curation=old, format="huatuo", eval={"repetitions": {}}, slurm={"training": {"extra": {"own": 1}}})
    assert unknown_fields({"experiments": {"x": body, "base": base()}}, ["x", "base"]) == []
    document = original_document("/cluster")
    assert unknown_fields(document, list(document["experiments"])) == []


@pytest.mark.parametrize("line", ["list", "show tuned"])
def test_looking_warns_and_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    lab: Lab = make_small_lab(tmp_path / "lab", monkeypatch)

    def misspell(document: dict[str, Any]) -> None:
        document["experiments"]["tuned"]["config"]["promting"] = "step"

    edit_json(lab.folder / "results.json", misspell)
    done = lab.meds1(*line.split())
    assert "warning: experiments.tuned.config.promting: unknown field; it is kept" in done.stderr
    lab.registry.fold()
    body = json.loads((lab.folder / "results.json").read_text())["experiments"]["tuned"]
    assert body["config"]["promting"] == "step"
