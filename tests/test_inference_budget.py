"""Budget forcing: a thinking never exceeds its budget, goes on when it ends early, and always gets an answer."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.budget import FINAL_ANSWER, GO_ON, ThinkingLimit, answer_within
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling
from inference.formats import FORMATS, ChatFormat
from inference.journal import Asking
from registry.errors import UsageError
from tests.tiny import CHAT_TEMPLATE, ENGINES, make_tiny_model

REQUESTS = [Request(f"q{i}", ({"role": "user", "content": f"Which drug lowers number {i}?"},)) for i in range(12)]
SAMPLING = Sampling(max_tokens=5, temperature=1.0, seed=1, n=2)
# A word that the random model says now and then, so that some of its thoughts end by themselves.
ENDS = ChatFormat("qwen", "<think>\n", "\ndrug\n\n")
LIMIT = ThinkingLimit(budget_tokens=24, waits=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, made to say whole characters only: what it says can be counted again by its tokenizer."""
    from safetensors.torch import load_file, save_file

    folder = make_tiny_model(tmp_path_factory.mktemp("model"), max_length=256)
    tokenizer, weights = tokenizer_of(folder), load_file(folder / "model.safetensors")
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if token != tokenizer.eos_token_id and not (text.isascii() and text.isprintable()):
            weights["lm_head.weight"][token] = 0  # far below the others' best
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def spec(model: Path) -> EngineSpec:
    return EngineSpec("transformers", model, 256)


def asked(
    spec: EngineSpec, journal: Path, limit: ThinkingLimit = LIMIT, chat_format: ChatFormat = ENDS
) -> list[Generation]:
    with Asking(spec, journal) as asking:
        return answer_within(asking, REQUESTS, SAMPLING, chat_format, limit)


def thinking_of(turn: Generation, chat_format: ChatFormat = ENDS) -> str:
    thinking, _ = chat_format.split(turn.text)
    assert thinking is not None
    return thinking


@pytest.mark.parametrize("limit", [ThinkingLimit(1), ThinkingLimit(9), ThinkingLimit(24, 1), ThinkingLimit(60, 4)])
def test_the_thinking_is_within_its_budget_and_answered(limit: ThinkingLimit, spec: EngineSpec, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(spec.model)  # type: ignore[arg-type]
    turns = asked(spec, tmp_path / "answers.jsonl", limit)
    assert [(turn.id, turn.index) for turn in turns] == [(r.id, i) for r in REQUESTS for i in range(2)]
    for turn in turns:
        marked, _, answer = turn.text.partition(ENDS.closing)
        assert marked.startswith(ENDS.opening.rstrip())
        thinking = marked.removeprefix(ENDS.opening.rstrip())
        assert len(tokenizer(thinking)["input_ids"]) <= limit.budget_tokens
        assert turn.thinking_cut == answer.startswith(FINAL_ANSWER)
        assert turn.reasoning_tokens is not None
        assert 1 <= turn.completion_tokens - turn.reasoning_tokens <= SAMPLING.max_tokens
        assert turn.finish_reason in ("stop", "length")
    assert len({turn.text for turn in turns}) > len(REQUESTS), "repetitions differ"


def test_a_thinking_that_ends_early_goes_on_as_often_as_asked(spec: EngineSpec, tmp_path: Path) -> None:
    turns = asked(spec, tmp_path / "answers.jsonl", ThinkingLimit(60, 2))
    waits = [thinking_of(turn).count(GO_ON) for turn in turns]
    assert [n == 2 for n, turn in zip(waits, turns, strict=True) if not turn.thinking_cut].count(False) == 0
    assert max(waits) == 2
    assert any(n > 0 and turn.thinking_cut for n, turn in zip(waits, turns, strict=True))
    assert any(n == 0 for n in waits), "some reach the budget at once"


def test_without_waits_the_model_ends_its_thinking_itself(spec: EngineSpec, tmp_path: Path) -> None:
    turns = asked(spec, tmp_path / "answers.jsonl", ThinkingLimit(60))
    by_itself = [turn for turn in turns if not turn.thinking_cut]
    assert by_itself
    assert len(by_itself) < len(turns)
    assert not any("Wait" in turn.text or FINAL_ANSWER in turn.text for turn in by_itself)


def test_a_resume_goes_on_with_the_rounds_that_are_done(spec: EngineSpec, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    whole = asked(spec, journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in (len(lines), len(lines) - 7, len(lines) // 2, 3):
        journal.write_bytes(b"".join(lines[:kept]))
        missing = replace(spec, model=tmp_path / "no model") if kept == len(lines) else spec
        assert asked(missing, journal) == whole
        assert sorted(journal.read_bytes().splitlines(keepends=True)) == sorted(lines)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_makes_the_same_turns(name: Any, spec: EngineSpec, tmp_path: Path) -> None:
    greedy = Sampling(max_tokens=5)

    def turns(spec: EngineSpec, journal: str) -> Sequence[Generation]:
        with Asking(spec, tmp_path / journal) as asking:
            return answer_within(asking, REQUESTS, greedy, ENDS, LIMIT)

    assert turns(replace(spec, name=name), name) == turns(spec, "reference")


def test_thinking_that_the_template_opens_is_not_opened_again(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "opens"))
    template = CHAT_TEMPLATE.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    (folder / "chat_template.jinja").write_text(template)
    mark = len(tokenizer_of(model)(ENDS.opening)["input_ids"])  # of a mark that is forced, the tokens count
    opening, bare = (
        asked(EngineSpec("transformers", f, 256), tmp_path / f"{budget}.jsonl", ThinkingLimit(budget, 2))
        for f, budget in ((folder, 24), (model, 24 + mark))
    )
    assert [turn.text for turn in opening] == [turn.text for turn in bare]
    assert [turn.prompt_tokens for turn in opening] == [turn.prompt_tokens for turn in bare]


def test_a_prompt_without_room_is_an_error_of_its_own(spec: EngineSpec, tmp_path: Path) -> None:
    long = Request("long", ({"role": "user", "content": "? " * 300},))
    tight = Request("tight", ({"role": "user", "content": "?" * 225},))
    with Asking(spec, tmp_path / "answers.jsonl") as asking:
        turns = answer_within(asking, [long, REQUESTS[0], tight], Sampling(max_tokens=5), ENDS, LIMIT)
    assert [turn.finish_reason == "error" for turn in turns] == [True, False, True]
    assert all((turn.error is None) == (turn.text != "") for turn in turns)
    assert turns[2].reasoning_tokens, "it had room for a thinking, none for the answer"


@pytest.mark.parametrize(
    ("change", "chat_format", "words"),
    [
        ({}, FORMATS["plain"], "the format plain has none; give the catalog's model entry a `format`"),
        ({"max_length": 29}, ENDS, "budget_tokens 24 and max_tokens 5 leave no room for a prompt in max_length 29"),
        ({"name": "openai", "model": ApiModel("m", None, "KEY")}, ENDS, "a server cannot go on with a turn"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(
    change: dict[str, Any], chat_format: ChatFormat, words: str, spec: EngineSpec, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        asked(replace(spec, **change), tmp_path / "answers.jsonl", chat_format=chat_format)
