"""Every method runs from a config in `results.json`; hash seed, process and order of the rows change no byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from curation.methods import METHODS
from curation.stage import UNCHECKED
from curation.stage import run as curate_here
from registry.catalog import DatasetEntry
from registry.curation_schema import CURATIONS
from registry.paths import RegistryPaths
from registry.store import Registry
from tests.lab import Lab, make_lab
from tests.registry_case import run
from tests.small_lab import edit_json
from tests.stages import make_context, record, write_jsonl

N_ROWS, N_SAMPLES = 40, 12
ANSWERING = {"engine": "transformers", "max_tokens": 4, "pass_rate": [0.0, 1.0]}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "random": {"n_samples": N_SAMPLES},
    "s1": {
        "n_samples": N_SAMPLES,
        "long_tokens": 120,
        "specialty_weights": {"Oncology": 0.0, "Cardiology": 3.0, "unlabelled": 2.0},
        "difficulty": None,
    },
    "difficulty-substring": {"n_samples": N_SAMPLES},
    "difficulty-n-gram": {"n_samples": N_SAMPLES},
    "embedding-similarity": {"n_samples": N_SAMPLES, "embedding_model": "hashing", "queries": "questions"},
    "embedding-diversity": {"n_samples": N_SAMPLES, "embedding_model": "hashing", "cluster_percentage": 30.0},
    "novelty-answer": {"n_samples": N_SAMPLES, "embedding_model": "hashing", "difficulty": ANSWERING},
}
"""A config of each method; a new method needs one here."""


def rows() -> list[dict[str, Any]]:
    """Questions that share no run of words, of three specialties and of none, some worded with doubt."""
    rng = random.Random(7)
    words = [f"{a}{b}{c}" for a in "bdfg" for b in "aeiou" for c in "lmnr"]
    return [
        record(
            number,
            "ABCD"[number % 4],
            question=f"{' '.join(rng.sample(words, 12))}, case {number}?",
            reasoning=f"{'Wait, to double-check: ' * (number % 3)}{' '.join(rng.choices(words, k=10 + number))}.",
            specialty=("Cardiology", "Oncology", "Neurology", None)[rng.randrange(4)],
        )
        for number in range(N_ROWS)
    ]


def lab_of(folder: Path, records: list[dict[str, Any]]) -> Lab:
    """A lab with an experiment for each method."""
    lab = make_lab(folder)
    write_jsonl(folder / "train.jsonl", records)
    write_jsonl(folder / "questions.jsonl", rows()[:5])
    edit_json(
        folder / "config.json",
        lambda catalog: catalog["train_datasets"].update(questions={"file_path": "questions.jsonl"}),
    )
    experiments = {
        method: {
            "config": {
                "model_key": "tiny",
                "datasets": {"curate": "train"},
                "curation": {"method": method, **CONFIGS[method]},
            }
        }
        for method in METHODS
    }
    (folder / "results.json").write_text(json.dumps({"experiments": experiments}))
    return lab


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """One lab curated in this process, and one with its rows in another order in a process with a hash seed."""
    folder = tmp_path_factory.mktemp("labs")
    here = lab_of(folder / "first", rows())
    there = lab_of(folder / "second", random.Random(3).sample(rows(), N_ROWS))
    command = "import sys; from tests.test_curation_configs import curate; curate(sys.argv[1])"
    environment = {**there.environment, "PYTHONHASHSEED": "1"}
    other = subprocess.Popen([sys.executable, "-c", command, str(there.folder)], cwd=there.code, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE_DIR", "MED_S1K_OUTPUT"):
            patch.setenv(name, here.environment[name])
        curate(str(here.folder))
    assert other.wait() == 0
    return here, there


def curate(folder: str) -> None:
    """Run the curation of every method's experiment in a lab's folder."""
    registry = Registry(RegistryPaths(Path(folder) / "results.json"), Path(folder) / "config.json")
    for method in METHODS:
        assert run(registry, ("curation",), method) == ["run"]


def test_the_table_has_a_config_of_every_method() -> None:
    assert set(CONFIGS) == set(CURATIONS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_chooses_from_its_config_in_the_registry(method: str, labs: tuple[Lab, Lab]) -> None:
    result = labs[0].results(method)["curation"]
    assert result["status"] == "completed"
    funnel = result["metrics"]["funnel"]
    assert (funnel["total"], funnel["after_selection"]) == (N_ROWS, CONFIGS[method].get("n_samples", N_ROWS))
    cut = "40 of 40 answers of the difficulty filter were cut off at max_tokens 4"
    expected = {"novelty-answer": [cut, UNCHECKED], "s1": []}.get(method, [UNCHECKED])
    assert result["metrics"]["warnings"] == expected


def test_a_recorded_funnel_is_shown_in_the_order_of_the_filters_and_contradicts_nothing(labs: tuple[Lab, Lab]) -> None:
    assert "is not the" not in labs[0].meds1("validate").stderr
    first_columns = [line.split("  ")[0] for line in labs[0].meds1("show", "s1").stdout.splitlines()]
    stages = ["total", "after quality", "after decontamination", "after duplicates", "after selection"]
    assert [name for name in first_columns if name in stages] == stages


@pytest.mark.parametrize("method", METHODS)
def test_another_process_hash_seed_and_order_of_the_rows_change_no_byte(method: str, labs: tuple[Lab, Lab]) -> None:
    first, second = (contents(lab, method) for lab in labs)
    assert len(first) >= 4
    assert first == second


def test_weights_that_come_to_nothing_and_too_few_rows_are_warned_of(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    settings = {"method": "s1", "long_tokens": 10_000, "difficulty": None}
    weights = {"Cardiolgy": 2.0, **dict.fromkeys(("Cardiology", "Oncology", "Neurology", "unlabelled"), 0.0)}
    lab = labs[0].folder
    train = DatasetEntry(file_path=str(lab / "train.jsonl"))

    def curated(name: str, n_samples: int) -> Mapping[str, Any]:
        curation = {**settings, "n_samples": n_samples, "specialty_weights": weights}
        return curate_here(make_context(tmp_path / name, lab / "model", train=train, curation=curation)).metrics

    some, every = curated("some", N_ROWS - 10), curated("every", 2 * N_ROWS)
    assert some["reasons"]["selection"] == {"specialty of weight 0": N_ROWS - 21}
    assert some["warnings"][0].startswith("specialty_weights: no row is of specialty 'Cardiolgy'; did you mean")
    assert some["warnings"][1:] == ["only 21 rows could be chosen; n_samples is 30", UNCHECKED]
    assert every["warnings"][1:] == ["only 40 rows could be chosen; n_samples is 80", UNCHECKED]


def contents(lab: Lab, method: str) -> dict[str, bytes]:
    """The training data and the tables of a curation, by the place in its folder."""
    result = lab.results(method)["curation"]
    folder = Path(result["dataset_path"]).parent
    places = [folder / "med_s1k_filtered.parquet", folder / "med_s1k_curated.parquet"]
    places += [path for path in Path(result["dataset_path"]).rglob("*") if path.is_file()]
    return {os.path.relpath(place, folder): place.read_bytes() for place in places}
