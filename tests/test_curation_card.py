"""The card of a curated data set and its figures: complete, without a trace of the machine, equal for equal input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from curation.card import write_card
from curation.figures import draw_funnel, draw_lengths, draw_specialties
from curation.ledger import Ledger, open_ledger, reasons, remove
from registry.catalog import DatasetEntry, ModelEntry
from registry.effective import EffectiveConfig
from tests.small_lab import make_weights
from tests.stages import make_context, row, write_jsonl

FUNNEL = {"total": 40, "after_quality": 30, "after_selection": 12}


def ledger_of(count: int) -> Ledger:
    rows = [row(number, specialty=[None, "Heart | vessels", "Eyes"][number % 3]) for number in range(count)]
    ledger = open_ledger(rows, [50 * number for number in range(count)])
    ledger = remove(ledger, "quality", {each.id: "refusal" for each in rows[:10]})
    return remove(ledger, "selection", {each.id: "not drawn" for each in rows[22:]})


def metrics_of(ledger: Ledger) -> dict[str, Any]:
    return {
        "method": "s1",
        "funnel": FUNNEL,
        "reasons": reasons(ledger),
        "n_train": 11,
        "n_validation": 1,
        "warnings": ["only 12 rows could be chosen; n_samples is 99"],
    }


def config_of(folder: Path, **curation: Any) -> EffectiveConfig:
    folder.mkdir()
    make_weights(folder / "model")
    own = write_jsonl(folder / "own.jsonl", [{"question": "x"}])
    hub = DatasetEntry(hf_path="some/reasoning", revision="4c1d" * 10, hf_split="train", license="apache-2.0")
    exam = DatasetEntry(file_path=str(write_jsonl(folder / "exam.jsonl", [{"question": "y"}])), license="mit")
    train = DatasetEntry(merge={"from-hub": hub, "own": DatasetEntry(file_path=str(own))})
    settings = {"method": "s1", "n_samples": 99, "difficulty": None, **curation}
    config = make_context(folder / "run", folder / "model", train=train, curation=settings).config
    return config.model_copy(update={"benchmarks": {"exam": exam}})


def card_of(folder: Path, **curation: Any) -> str:
    ledger = ledger_of(40)
    return write_card(config_of(folder, **curation), ledger, metrics_of(ledger))


def test_the_card_names_sources_licences_funnel_and_settings(tmp_path: Path) -> None:
    text = card_of(tmp_path / "here")
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == ["apache-2.0", "unknown"]
    assert about["size_categories"] == ["n<1K"]
    assert about["source_datasets"] == ["extended|some/reasoning"]
    assert [each["split"] for each in about["configs"][0]["data_files"]] == ["train", "validation"]
    assert f"| rows | from-hub | some/reasoning, split train | {'4c1d' * 10} | apache-2.0 |" in body
    assert "| rows | own | local file | see below | not stated |" in body
    assert re.search(r"\| decontamination \| exam \| local file \| [0-9a-f]{64} \| mit \|", body)
    assert "| all rows | 40 |  |\n| after quality | 30 | 10 |\n| after selection | 12 | 18 |" in body
    assert "| quality | refusal | 10 |\n| selection | not drawn | 18 |" in body
    assert "| Heart \\| vessels | 13 | 4 | ████████████████████ |" in body
    assert "| 500 to 749 | 5 | 5 | ████████████████████ |" in body
    assert "- only 12 rows could be chosen; n_samples is 99" in body
    settings = json.loads(body.split("```json\n")[1].split("```")[0])
    assert (settings["n_samples"], settings["decontamination"]["ngram"]) == (99, 13)
    for name in ("funnel", "specialties", "lengths"):
        assert f"(figures/{name}.png)" in body


RESTORED = {"name": "restore", "rows": 12, "accepted": 11, "repaired": 0, "unchanged": 1, "given_up": 0}
COUNTS = [
    {
        "name": "cot",
        "rows": 14,
        "accepted": 9,
        "repaired": 3,
        "unchanged": 0,
        "given_up": 2,
        "reasons": {"Cut | off": 2},
    },
    {"name": "skip", "rows": 12, "accepted": 11, "repaired": 0, "unchanged": 1, "given_up": 0, "reasons": {}},
    {**RESTORED, "contradicts_answer": 4, "reasons": {}},
]
REWRITING = {
    "extract": ["cot", "step"],
    "perturbation": {"type": "skip", "rate": 0.5},
    "rewriter": {"model_key": "big", "batch": True},
    "max_cost": 3.0,
}


def test_the_card_says_who_rewrote_and_what_came_of_it(tmp_path: Path) -> None:
    config, ledger = config_of(tmp_path / "here", **REWRITING), ledger_of(40)
    big = ModelEntry(api_model="big-2026", base_url="https://example.org/v1", api_key_env="KEY", max_length=512)
    config = config.model_copy(update={"called_models": {"rewriter": big}})
    body = write_card(config, ledger, {**metrics_of(ledger), "rewriting": COUNTS})
    assert "| rewriting | big | big-2026 | behind an API |  |" in body
    assert "Written by `big` (big-2026, behind an API)." in body
    assert "| `cot` | 14 | 9 | 3 | 0 | 2 | Cut \\| off (2) |\n| `skip` | 12 | 11 | 0 | 1 | 0 |  |" in body
    assert "- `restore`: 4 contradict their answer." in body
    settings = json.loads(body.split("```json\n")[1].split("```")[0])
    assert settings["extract"] == ["cot", "step"]
    assert not {"max_cost", "shards", "labels", "restore"} & settings.keys()
    assert not {"batch", "concurrency"} & settings["rewriter"].keys()
    assert "Rewriting" not in card_of(tmp_path / "there")


def test_the_funnel_has_a_bar_for_each_rewriting() -> None:
    funnel = {"total": 40, "after_selection": 14, "after_rewriting": 12}
    assert draw_funnel(funnel, COUNTS) != draw_funnel(funnel, COUNTS[:1])


def test_neither_the_place_nor_the_number_of_jobs_is_in_the_card(tmp_path: Path) -> None:
    here = card_of(tmp_path / "here", shards=1)
    assert card_of(tmp_path / "elsewhere", shards=8) == here
    assert str(tmp_path) not in here
    assert card_of(tmp_path / "seeded", seed=7) != here


def test_a_split_without_rows_is_no_file_of_the_hubs_data_set(tmp_path: Path) -> None:
    ledger = ledger_of(40)
    text = write_card(config_of(tmp_path / "here"), ledger, {**metrics_of(ledger), "n_train": 12, "n_validation": 0})
    files = yaml.safe_load(text.split("---\n")[1])["configs"][0]["data_files"]
    assert files == [{"split": "train", "path": "train/data-*.arrow"}]


def test_figures_are_pictures_and_equal_for_equal_numbers() -> None:
    few, many = {"Eyes": 3}, {f"Specialty ${number}": 200 - number for number in range(130)}
    drawn = [draw_funnel(FUNNEL), draw_specialties(few), draw_specialties(many), draw_lengths([5, 900, 10**6], [900])]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert drawn == [
        draw_funnel(FUNNEL),
        draw_specialties(few),
        draw_specialties(many),
        draw_lengths([5, 900, 10**6], [900]),
    ]
    assert not any(word in picture for picture in drawn for word in (b"tIME", b"Software", b"Creation"))
    assert draw_funnel({**FUNNEL, "after_selection": 11}) != drawn[0]
