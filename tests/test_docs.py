"""Every command that README and docs show runs as it stands, in a lab of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.training_schema import TrainingParams
from tests.cluster.throwaway import Cluster
from tests.lab import CHECKOUT, N_TRAIN, Lab, make_lab

BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES = sorted((CHECKOUT / "docs").glob("*.md"))


def shown(page: Path) -> list[str]:
    """The bash blocks of a page, without their indent."""
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in BLOCK.findall(page.read_text())]


def needs_slurm(page: Path) -> bool:
    return any(re.search(r"meds1 submit(?!.*--cluster local)|^sbatch|_all\.sh", block, re.M) for block in shown(page))


def run_block(lab: Lab, block: str) -> None:
    script = f"set -euo pipefail\nsource config.sh\n{block}"
    lab.run(["bash", "-c", script])


@pytest.fixture
def shipped_lab(tmp_path: Path) -> Lab:
    """The shipped registry and catalog, with a tiny model and made-up files in the place of what lies on the hub."""
    lab = make_lab(tmp_path / "lab")
    registry = json.loads((CHECKOUT / "results.json").read_text())
    catalog = json.loads((CHECKOUT / "config.json").read_text())
    for entry in catalog["models"].values():
        if not entry.keys() & {"api_model", "vertex_model"}:
            entry.pop("hf_path", None)
            entry.update(file_path="model", max_length=512)
    for section, file in (("train_datasets", "train.jsonl"), ("eval_datasets", "eval.jsonl")):
        catalog[section] = {key: {"file_path": f"{key}-{file}"} for key in catalog[section]}
        for key in catalog[section]:
            lines = (lab.folder / file).read_text().replace("patient", f"{key} patient")
            (lab.folder / f"{key}-{file}").write_text(lines)
    catalog["slurm"] = {"training": {"nodes": 2}}
    catalog["defaults"]["eval"].update(max_tokens=8, engine="transformers")  # which opens in no time
    study = registry["experiments"]["med-s1-1k"]["config"]
    study["curation"].update(n_samples=N_TRAIN // 2, long_tokens=1, difficulty={"max_tokens": 8})
    (lab.folder / "config.json").write_text(json.dumps(catalog, indent=2))
    (lab.folder / "results.json").write_text(json.dumps(registry, indent=2) + "\n")
    return lab


@pytest.mark.parametrize("page", [page for page in PAGES if not needs_slurm(page)], ids=lambda page: page.name)
def test_commands_of_a_docs_page_run(page: Path, shipped_lab: Lab) -> None:
    for block in shown(page):
        run_block(shipped_lab, block)


@pytest.fixture
def on_slurm(shipped_lab: Lab, slurm_cluster: Cluster) -> Iterator[Lab]:
    yield shipped_lab
    subprocess.run(["scancel", "--user", "root"], check=False)


@pytest.mark.slurm
@pytest.mark.parametrize("page", [page for page in PAGES if needs_slurm(page)], ids=lambda page: page.name)
def test_commands_of_a_docs_page_run_on_slurm(page: Path, on_slurm: Lab) -> None:
    catalog = json.loads((on_slurm.folder / "config.json").read_text())
    held = {"extra": {"hold": True}}  # what jobs do when they run is shown by other tests
    catalog["slurm"] = dict.fromkeys(("curation", "training", "eval"), held)
    (on_slurm.folder / "config.json").write_text(json.dumps(catalog, indent=2))
    for block in shown(page):
        run_block(on_slurm, block)


@pytest.mark.slurm
@pytest.mark.timeout(600)
def test_the_readmes_experiment_goes_from_config_to_figure(on_slurm: Lab, tmp_path: Path) -> None:
    blocks = shown(CHECKOUT / "README.md")
    assert len(blocks) == 3

    for block in blocks:
        run_block(on_slurm, re.sub("--out (figures|report)", rf"--out {tmp_path}/\1", block))
        if "meds1 submit" in block:
            on_slurm.wait("med-s1-1k", "eval")
            on_slurm.wait("base", "eval")

    assert (tmp_path / "figures" / "comparison.pdf").is_file()
    assert (tmp_path / "report" / "index.html").is_file()
    assert on_slurm.results("med-s1-1k")["training"]["metrics"]["world_size"] == 2, on_slurm.logs()


def test_the_training_params_that_the_docs_show_are_legal() -> None:
    shown_params = re.findall(r"^```json\n(.*?)^```$", (CHECKOUT / "docs" / "training.md").read_text(), re.M | re.S)
    assert [TrainingParams.model_validate_json(block).method for block in shown_params] == [
        "sft",
        "lora",
        "grpo",
        "sft",
    ]


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for page in [CHECKOUT / "README.md", *PAGES]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
