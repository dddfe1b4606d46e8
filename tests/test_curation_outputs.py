"""What a curation writes: tables of fixed columns, pairs, a data set that loads; whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset, load_from_disk

from curation import outputs
from curation.decontamination import contamination
from curation.duplicates import duplicates
from curation.formatting import training_example
from curation.ledger import open_ledger, remove, with_pass_rates, with_rewritten
from curation.outputs import PAIR_FIELDS, write_dataset, write_pairs, write_tables
from inference.formats import FORMATS
from registry.filter_schema import DecontaminationConfig, DuplicatesConfig
from tests.lab import CHECKOUT, make_lab
from tests.stages import row

# Runs `python -m curation first` in forks of this process, each of which dies of SIGKILL before it renames an output;
# then once to its end; then by force, and dies before the old folder is set aside, in the gap after that, and not.
DYING = """
import os, runpy, signal, sys
import datasets, matplotlib.figure, transformers
_ = transformers.AutoTokenizer, transformers.PreTrainedTokenizerFast
import curation.stage

def run(dies_before, *options):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    rename = os.replace
    def replace(source, target, **options):
        if os.path.basename(target) == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target, **options)
    os.replace = replace
    sys.argv = ["curation", "first", *options]
    try:
        runpy.run_module("curation", run_name="__main__")
    except SystemExit as end:
        os._exit(end.code or 0)
    os._exit(0)

def seen():
    found = {}
    for folder, _, files in os.walk(cache):
        inside = folder.split("/curation/")[-1].split("/", 1)[1:]
        for name in files:
            path = "/".join([*inside, name])
            if "/runs/" in folder and not path.startswith((".", "attempts")):
                with open(os.path.join(folder, name), "rb") as file:
                    found[path] = file.read()
    return found

cache, *steps = sys.argv[1:]
halves = []
for step in steps:
    assert run(step) == -signal.SIGKILL, step
    halves.append(seen())
assert run(None) == 0
whole = seen()
assert run(f".{steps[-1]}.old", "--force") == -signal.SIGKILL
halves.append(seen())
assert run(steps[-1], "--force") == -signal.SIGKILL
between = seen()
assert not any(path.startswith(steps[-1]) for path in between), sorted(between)
halves.append(between)
assert run(None, "--force") == 0
assert seen() == whole
for half in halves:
    assert all(whole[path] == content for path, content in half.items()), sorted(half)
    folder = [path for path in half if path.startswith(steps[-1])]
    assert not folder or set(half) == set(whole), sorted(half)
print(*(len(half) for half in halves), len(whole))
"""


@pytest.mark.full
def test_whenever_it_is_killed_no_half_output_is_seen_and_the_next_run_makes_the_same(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.edit("first", curation={"method": "random", "n_samples": 9, "duplicates": {"similarity": None}})
    steps = (outputs.FILTERED, outputs.CURATED, "duplicates.parquet", outputs.FORMATTED)
    command = [sys.executable, "-c", DYING, str(lab.folder / "cache"), *steps]
    done = subprocess.run(command, cwd=CHECKOUT, env=dict(lab.environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    *halves, whole = map(int, done.stdout.splitlines()[-1].split())
    assert (halves[:4], halves[4:]) == ([0, 1, 2, 3], [whole, 3])


def test_the_table_of_every_row_says_what_became_of_each(tmp_path: Path) -> None:
    """More rows than are written at once, with and without options."""
    rows = [row(n, options=None, answer_idx=None) if n % 3 else row(n) for n in range(outputs.ROWS_AT_ONCE + 5)]
    ledger = open_ledger(rows, range(len(rows)))
    ledger = with_pass_rates(ledger, {rows[1].id: 0.25})
    ledger = remove(ledger, "quality", {rows[0].id: "missing answer"})
    ledger = remove(ledger, "selection", {each.id: "not drawn" for each in rows[2:-1]})

    paths = write_tables(ledger, tmp_path)

    table = pq.read_table(paths["filtered_path"])
    records = table.to_pylist()
    assert table.column_names == [*PLAIN_COLUMNS, *FATE_COLUMNS]
    assert [record["id"] for record in records] == [each.id for each in rows]
    for name in PLAIN_COLUMNS:
        if name != "options":
            assert [record[name] for record in records] == [getattr(each, name) for each in rows]
    assert [[(o["letter"], o["text"]) for o in record["options"]] for record in records] == [
        each.choices for each in rows
    ]
    fates = [[record[name] for name in FATE_COLUMNS] for record in records]
    assert fates[0] == [0, None, "removed", "quality", "missing answer", False]
    assert fates[1] == [1, 0.25, "kept", None, None, True]
    assert fates[2] == [2, None, "removed", "selection", "not drawn", False]
    assert pq.read_table(paths["curated_path"]).equals(table.filter(table["selected_for_training"]))


PLAIN_COLUMNS = ["id", "question_id", "question", "options", "answer", "answer_idx", "reasoning", "reasoning_original"]
PLAIN_COLUMNS += ["specialty", "source"]
FATE_COLUMNS = ["reasoning_tokens", "pass_rate", "filter_status", "filter_stage", "filter_reason"]
FATE_COLUMNS += ["selected_for_training"]


def test_pairs_have_the_same_columns_whatever_was_found(tmp_path: Path) -> None:
    """With what the two filters themselves say of a pair."""
    entries = open_ledger([row(1), row(1, reasoning="Short."), row(2)], [10, 2, 10])
    repeated = duplicates(entries, DuplicatesConfig(similarity=None)).pairs
    held = contamination(entries, {"exam": [row(1)]}, DecontaminationConfig()).pairs
    assert (len(repeated), bool(held)) == (1, True)

    none: Mapping[str, Sequence[Mapping[str, Any]]] = {"contamination": [], "duplicates": []}
    for found in ({"contamination": held, "duplicates": repeated}, none):
        for field, path in write_pairs(found, tmp_path).items():
            name = field.removesuffix("_path")
            table = pq.read_table(path)
            assert table.to_pylist() == [dict(pair) for pair in found[name]]
            assert table.column_names == list(PAIR_FIELDS[name])
            assert path == tmp_path / f"{name}.parquet"


@pytest.mark.parametrize("held_out", [0, 2])
def test_the_data_set_loads_from_disk_and_as_one_of_the_hub(held_out: int, tmp_path: Path) -> None:
    examples = [training_example(row(number), FORMATS["plain"], None) for number in range(5)]
    splits = {"train": examples[held_out:], "validation": examples[:held_out]}
    front = "".join(f"  - split: {name}\n    path: {name}/data-*.arrow\n" for name, each in splits.items() if each)
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{front}---\n"

    path = write_dataset(splits, {"README.md": card.encode(), "figures/a.png": b"png"}, tmp_path)

    saved = load_from_disk(str(path))
    loaded: Any = load_dataset(str(path), cache_dir=str(tmp_path / "cache"))
    for name, expected in splits.items():
        assert saved[name].to_list() == expected
        assert name not in loaded or loaded[name].to_list() == expected
    assert saved["train"].features == saved["validation"].features
    assert (path / "figures" / "a.png").read_bytes() == b"png"
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "cache") == [path.name]


def test_rewritten_rows_have_what_they_were_beside_what_they_are(tmp_path: Path) -> None:
    rows = [row(number) for number in range(3)]
    new = replace(rows[1], question="New?", options=(), answer="New", answer_idx=None, reasoning="New thinking")
    ledger = with_rewritten(open_ledger(rows, [9] * 3), {new.id: new}, {new.id: 2}, {new.id: True})
    ledger = remove(ledger, "rewriting", {rows[2].id: "step: given up: The answer was empty"})

    table = pq.read_table(write_tables(ledger, tmp_path, rewritten=True)["filtered_path"])

    added = ["question_original", "answer_original", "answer_idx_original"]
    assert [name for name in table.column_names if name not in PLAIN_COLUMNS + FATE_COLUMNS] == [*added, "perturbed"]
    records = table.to_pylist()
    assert [[record[name] for name in added] for record in records] == [
        [each.question, each.answer, each.answer_idx] for each in rows
    ]
    assert [record["perturbed"] for record in records] == [None, True, None]
    changed = ("question", "answer", "answer_idx", "options", "reasoning", "reasoning_original", "reasoning_tokens")
    assert [records[1][name] for name in changed] == ["New?", "New", None, [], "New thinking", rows[1].reasoning, 2]
    assert [records[2][name] for name in ("reasoning", "filter_stage")] == [rows[2].reasoning, "rewriting"]
