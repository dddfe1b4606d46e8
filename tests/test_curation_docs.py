"""What docs/ show of curation: its configs are legal, and its example of a new method works in a copy of the code."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from registry.curation_schema import S1Rows, curation_of
from tests.lab import CHECKOUT, Lab
from tests.small_lab import CURATION, edit_json, make_small_lab

ROOMS = ("bin", "curation", "data", "inference", "plotting", "registry", "scoring", "slurm", "tests")
CHOOSE = """
import json, sys
from curation.ledger import open_ledger
from curation.methods import METHODS
from curation.methods.pool import pool_of
from registry.curation_schema import curation_of
from tests.stages import row

config = curation_of(json.loads(sys.argv[1]))
rows = [row(number, specialty="Oncology" if number < 4 else None) for number in range(6)]
removals = METHODS["longest"](pool_of(open_ledger(rows, [60, 50, 40, 30, 20, 10])), config)
print(json.dumps([removals.get(each.id) for each in rows]))
"""


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in one language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", (CHECKOUT / "docs" / page).read_text(), re.M | re.S)
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_configs_that_the_docs_show_are_legal() -> None:
    first, second, third = (curation_of(json.loads(block)) for block in blocks("curation.md", "json"))
    assert isinstance(first, S1Rows)
    assert first.difficulty is None
    assert second.method == "difficulty-n-gram"
    assert (third.styles, third.restore) == (("cot", "step"), True)
    (judged,) = (curation_of(json.loads(block)) for block in blocks("judge-and-labels.md", "json"))
    assert sorted(judged.calls) == ["difficulty_judge", "labels"]


@pytest.fixture
def with_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab on a copy of the code to which the method of the docs was added as they say."""
    code = tmp_path / "code"
    for room in ROOMS:
        shutil.copytree(CHECKOUT / room, code / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("meds1.py", "config.sh"):
        shutil.copy2(CHECKOUT / file, code)
    model, function = blocks("new-curation-method.md", "python")
    insert(code / "registry" / "curation_schema.py", "Curation = Annotated[\n    ", f"{model}\n\n", "LongestRows | ")
    methods = code / "curation" / "methods"
    (methods / "longest.py").write_text(function)
    entry = '"longest": take_longest,'
    insert(methods / "__init__.py", "\nMethod = Callable", "\nfrom curation.methods.longest import take_longest\n", "")
    insert(methods / "__init__.py", '"all": take_all,', entry, "")
    return replace(make_small_lab(tmp_path / "lab", monkeypatch), code=code)


def insert(file: Path, place: str, before: str, after: str) -> None:
    text = file.read_text()
    assert text.count(place) == 1
    file.write_text(text.replace(place, before + place + after))


def test_the_new_method_of_the_docs_works_as_it_stands(with_longest: Lab) -> None:
    lab = with_longest
    chosen = {"method": "longest", "n_samples": 3, "per_specialty": 2}
    said = lab.run([sys.executable, "-c", CHOOSE, json.dumps(chosen)]).stdout
    crowded = "2 rows of its specialty are longer"
    assert json.loads(said) == [None, None, crowded, crowded, None, "other reasoning is longer"]

    edit_json(
        lab.folder / "results.json",
        lambda registry: registry["experiments"]["tuned"]["config"].update(curation={**CURATION, **chosen}),
    )
    lab.meds1("validate")
    assert "per_specialty" in lab.meds1("run", "tuned", "--stage", "curation", "--dry-run", "--print-config").stdout
