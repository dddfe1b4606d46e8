"""The demo's data and model: reproducible, split by question, defective exactly as announced, loadable."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from demo.make import STAMP, DemoFiles, make_demo
from demo.model import Pretraining
from demo.registry_copy import copy_registry
from demo.rows import BROKEN_SHARE, DUPLICATE_SHARE, FLAWED_SHARES, LEAKED
from demo.world import make_world
from registry.errors import UsageError

SEED = 5
QUICK = Pretraining(steps=3, batch_size=4)
Record = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return make_demo(tmp_path_factory.mktemp("demo"), SEED, QUICK)


def _read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _asked(record: Record) -> tuple[str, frozenset[str]]:
    return record["question"], frozenset(record["options"].values())


def _whole(records: list[Record]) -> list[Record]:
    return [
        record
        for record in records
        if record.get("question") and record.get("reasoning") and record["answer_idx"] in record["options"]
    ]


def _contradicts(record: Record) -> bool:
    """By the demo's own wording, not by the project's extraction."""
    concluded = re.fullmatch(r".*The answer is ([A-D])\.", record["reasoning"], re.DOTALL)
    assert concluded, record
    return concluded[1] != record["answer_idx"]


def _facts(record: Record) -> set[tuple[str, str]]:
    """The pairs (drug, class) and (class, effect) that a trace states."""
    stated = re.search(r"(\w+) is a (\w+)\. (\w+) causes (\w+)\.", record["reasoning"])
    assert stated, record
    return {(stated[1], stated[2]), (stated[3], stated[4])}


def test_the_same_seed_gives_the_same_bytes(made: DemoFiles, tmp_path: Path) -> None:
    again = make_demo(tmp_path, SEED, QUICK)
    for first, second in ((made.train.parent, again.train.parent), (made.model, again.model)):
        names = sorted(path.name for path in first.iterdir())
        assert names == sorted(path.name for path in second.iterdir())
        for name in names:
            assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_another_seed_gives_other_questions(made: DemoFiles) -> None:
    drugs = {drug.name for drug in make_world(SEED).drugs}
    assert not drugs & {drug.name for drug in make_world(SEED + 1).drugs}


def test_what_is_whole_is_left_alone_and_what_is_damaged_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_demo(tmp_path, SEED, QUICK)
    good = files.train.read_bytes()
    model_made = (files.model / STAMP).stat().st_mtime_ns
    capsys.readouterr()

    make_demo(tmp_path, SEED, QUICK)
    assert capsys.readouterr().out.count("left as it is") == 2

    files.train.write_bytes(good[:1000])
    make_demo(tmp_path, SEED, QUICK)
    assert capsys.readouterr().out.count("left as it is") == 1
    assert files.train.read_bytes() == good
    assert (files.model / STAMP).stat().st_mtime_ns == model_made


def test_no_held_out_question_occurs_in_training_but_for_the_planted_ones(made: DemoFiles) -> None:
    train = {_asked(record) for record in _read(made.train) if record.get("question")}
    held_out = [_asked(record) for record in _read(made.held_out)]
    assert len(held_out) == len(set(held_out)) == 432
    assert len(train & set(held_out)) == LEAKED


def test_the_base_model_is_taught_no_held_out_question(made: DemoFiles) -> None:
    from demo.model import _lessons
    from inference.prompts import user_message

    def lines(prompt: str) -> tuple[str, frozenset[str]]:
        question, options = prompt.split("\n\n")
        return question, frozenset(line[3:] for line in options.splitlines())

    taught = {lines(lesson["prompt"][0]["content"]) for lesson in _lessons(make_world(SEED), SEED)}
    records = _read(made.held_out)
    held_out = {lines(user_message(r["question"], list(r["options"].items()), "plain")) for r in records}
    assert len(taught) > 400
    assert not taught & held_out


def test_held_out_questions_are_answerable(made: DemoFiles) -> None:
    effect_of = {drug.name: drug.effect for drug in make_world(SEED).drugs}
    for record in _read(made.held_out):
        named = [name for name in effect_of if name in record["question"]]
        assert len(named) == 1
        assert record["options"][record["answer_idx"]] == record["answer"] == effect_of[named[0]]


def test_defects_occur_exactly_as_often_as_announced(made: DemoFiles) -> None:
    records = _read(made.train)
    world = make_world(SEED)
    asked = sum(drug.rows for drug in world.drugs)
    repeats, broken = round(DUPLICATE_SHARE * asked), round(BROKEN_SHARE * asked)
    assert sum("!" in record.get("question", "") for record in records) == repeats // 2
    # Of the broken rows each kind is a third; the repeats are copies of sound or contradictory rows.
    assert len(records) == asked + repeats + 3 * broken + LEAKED
    assert sum("reasoning" not in record for record in records) == broken
    assert sum("question" not in record for record in records) == broken
    assert sum(record["answer_idx"] not in record["options"] for record in records) == broken

    distinct = {json.dumps(record, sort_keys=True).replace("?!", "?"): record for record in _whole(records)}
    assert len(_whole(records)) - len(distinct) == repeats
    flawed = sum(round(drug.rows * FLAWED_SHARES[index % len(FLAWED_SHARES)]) for index, drug in enumerate(world.drugs))
    assert sum(_contradicts(record) for record in distinct.values()) == flawed


def test_specialties_are_uneven_and_traces_differ_in_length(made: DemoFiles) -> None:
    records = _whole(_read(made.train))
    counts = Counter(record["specialty"] for record in records)
    assert max(counts.values()) > 3 * min(counts.values())
    words = sorted(len(record["reasoning"].split()) for record in records)
    assert 4 * sum(count < 12 for count in words) == pytest.approx(len(words), rel=0.15)
    assert words[-1] > 3 * words[0]


def test_every_fact_survives_the_filters(made: DemoFiles) -> None:
    """Even if the base model solved every direct question about every drug that it knows anything of."""
    world = make_world(SEED)
    known = {drug.name for drug in world.drugs if drug.known}
    kept = [
        record
        for record in _whole(_read(made.train))
        if not _contradicts(record)
        and "Options:" in record["reasoning"]
        and not (record["question"].startswith("Which") and any(name in record["question"] for name in known))
    ]
    facts = set().union(*(_facts(record) for record in kept))
    assert facts == {(drug.name, drug.drug_class) for drug in world.drugs} | set(world.effect_of.items())


def test_the_model_loads_and_its_template_marks_the_answer(made: DemoFiles) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(made.model)
    tokenizer = AutoTokenizer.from_pretrained(made.model)
    assert 300_000 < model.num_parameters() < 700_000
    assert (made.model / "model.safetensors").exists()

    question = [{"role": "user", "content": "Which?\n\nA. x"}]
    answered = [*question, {"role": "assistant", "content": "The answer is A. x"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    assert whole == f"{prompt}The answer is A. x<|im_end|>\n"
    encoded = tokenizer.apply_chat_template(answered, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mark in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mark]
    assert tokenizer.decode(marked) == "The answer is A. x<|im_end|>"


def test_the_registry_copy_holds_the_demo_alone(tmp_path: Path) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    checkout.mkdir()
    experiments = {
        "study": {"config": {"model_key": "big"}},
        "demo-base": {"tags": ["demo"], "config": {"model_key": "tiny"}, "results": {"eval": {"status": "completed"}}},
    }
    catalog: Record = {
        "models": {"tiny": {"file_path": "demo/run/model", "max_length": 512}, "big": {"hf_path": "a/b"}},
        "eval_datasets": {"own": {"file_path": "/data/own.jsonl"}},
        "slurm": {"eval": {"gpus": 1}},
    }
    (checkout / "results.json").write_text(json.dumps({"format": 1, "experiments": experiments}))
    (checkout / "config.json").write_text(json.dumps(catalog))

    files = copy_registry(checkout, out)
    registry = json.loads(files.registry.read_text())
    assert registry == {"format": 1, "experiments": {"demo-base": {"tags": ["demo"], "config": {"model_key": "tiny"}}}}
    catalog["models"]["tiny"]["file_path"] = "model"
    assert json.loads(files.catalog.read_text()) == catalog

    registry["experiments"]["demo-base"]["results"] = {"eval": {"status": "failed"}}
    files.registry.write_text(json.dumps(registry))
    copy_registry(checkout, out)
    assert json.loads(files.registry.read_text()) == registry, "the folder's own results must stay"

    (checkout / "results.json").write_text(json.dumps({"experiments": {"study": experiments["study"]}}))
    with pytest.raises(UsageError, match="tagged 'demo'"):
        copy_registry(checkout, out)
