"""Both engines, really opened on a tiny model, against plain transformers calls for one prompt at a time."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chisquare

from inference.engine import Engine, EngineSpec, Generation, Request, Sampling, open_engine
from registry.errors import UsageError
from tests.tiny import ENGINES, make_tiny_model

MAX_LENGTH = 256
GREEDY = Sampling(max_tokens=24)
RANDOM = Sampling(max_tokens=12, temperature=0.9, top_p=0.95, seed=3, n=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def reference(model: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, model: Path) -> Iterator[Engine]:
    with open_engine(EngineSpec(request.param, model, MAX_LENGTH)) as opened:
        assert opened.name == request.param
        yield opened


def ask(name: str, text: str) -> Request:
    return Request(name, ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text}))


def some_requests(count: int) -> list[Request]:
    return [ask(f"q{i}", f"Which drug lowers {'x ' * (7 * i % 23)}number {i}?") for i in range(count)]


def texts(generations: Iterator[Generation]) -> dict[tuple[str, int], str]:
    return {(g.id, g.index): g.text for g in generations}


def prompt_of_length(tokenizer: Any, length: int) -> Request:
    """A request whose prompt has exactly `length` tokens: '?' never merges with itself."""
    base = len(prompt_ids(tokenizer, ask("", "")))
    request = ask(f"length {length}", "?" * (length - base))
    assert len(prompt_ids(tokenizer, request)) == length
    return request


def prompt_ids(tokenizer: Any, request: Request) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        list(request.messages), add_generation_prompt=True, return_dict=False
    )
    return ids


def test_greedy_answers_are_those_of_one_plain_call_per_prompt(engine: Engine, reference: tuple[Any, Any]) -> None:
    import torch

    network, tokenizer = reference
    requests = some_requests(12)
    got = {g.id: g for g in engine.generate(requests, GREEDY)}
    assert set(got) == {request.id for request in requests}
    for request in requests:
        ids = prompt_ids(tokenizer, request)
        output = network.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=GREEDY.max_tokens)
        new = output[0, len(ids) :].tolist()
        assert got[request.id].text == tokenizer.decode(new, skip_special_tokens=True)
        assert (got[request.id].prompt_tokens, got[request.id].completion_tokens) == (len(ids), len(new))


def test_answers_depend_neither_on_order_nor_on_company(engine: Engine) -> None:
    requests = some_requests(10)
    greedy, random = texts(engine.generate(requests, GREEDY)), texts(engine.generate(requests, RANDOM))
    assert texts(engine.generate(requests[::-1], GREEDY)) == greedy
    assert texts(engine.generate(requests[::-1], RANDOM)) == random
    alone = texts(engine.generate(requests[4:5], RANDOM))
    assert alone == {key: text for key, text in random.items() if key[0] == "q4"}


def test_samples_differ_by_index_request_and_seed(engine: Engine) -> None:
    same_prompt = [ask("first", "Which drug?"), ask("second", "Which drug?")]
    first = texts(engine.generate(same_prompt, RANDOM))
    assert set(first) == {(name, index) for name in ("first", "second") for index in range(3)}
    assert len(set(first.values())) == 6
    other = Sampling(max_tokens=12, temperature=0.9, top_p=0.95, seed=4, n=3)
    assert not set(first.values()) & set(texts(engine.generate(same_prompt, other)).values())


def test_samples_follow_the_distribution_of_the_model(engine: Engine, reference: tuple[Any, Any]) -> None:
    import torch

    network, tokenizer = reference
    request, temperature, count = ask("q", "Which drug?"), 2.0, 3000
    with torch.inference_mode():
        logits = network(torch.tensor([prompt_ids(tokenizer, request)])).logits[0, -1]
    probabilities = torch.softmax(logits.double() / temperature, dim=-1).tolist()
    expected: Counter[str] = Counter()
    for token, probability in enumerate(probabilities):
        expected[tokenizer.decode([token], skip_special_tokens=True)] += probability
    sampling = Sampling(max_tokens=1, temperature=temperature, n=count)
    observed = Counter(g.text for g in engine.generate([request], sampling))
    assert sum(observed.values()) == count
    common = [text for text, probability in expected.items() if probability * count >= 10]
    rest = 1 - math.fsum(expected[text] for text in common)
    got = [observed[text] for text in common] + [count - sum(observed[text] for text in common)]
    want = [expected[text] * count for text in common] + [rest * count]
    assert len(common) > 10
    assert chisquare(got, want, sum_check=False).pvalue > 0.001

    ranked = sorted(probabilities, reverse=True)
    nucleus = next(n for n in range(1, len(ranked)) if math.fsum(ranked[:n]) >= 0.5)
    kept = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])[:nucleus]
    allowed = {tokenizer.decode([token], skip_special_tokens=True) for token in kept}
    top_half = Sampling(max_tokens=1, temperature=temperature, top_p=0.5, n=count)
    assert {g.text for g in engine.generate([request], top_half)} == allowed


def test_prompts_without_room_are_errors_and_the_others_are_answered(
    engine: Engine, reference: tuple[Any, Any]
) -> None:
    _, tokenizer = reference
    lengths = (MAX_LENGTH + 40, MAX_LENGTH, MAX_LENGTH - 1, MAX_LENGTH - 10, 60)
    requests = [prompt_of_length(tokenizer, length) for length in lengths]
    generations = list(engine.generate(requests, Sampling(max_tokens=20, temperature=0.5, n=2)))
    assert len(generations) == 10
    for generation in generations:
        room = min(20, MAX_LENGTH - generation.prompt_tokens)
        if room < 1:
            assert (generation.finish_reason, generation.text, generation.completion_tokens) == ("error", "", 0)
            assert re.search(rf"{generation.prompt_tokens} tokens .* {MAX_LENGTH}", generation.error or "")
        elif generation.finish_reason == "length":
            assert (generation.completion_tokens, generation.error) == (room, None)
        else:
            assert generation.finish_reason == "stop"
            assert generation.completion_tokens <= room
    assert {g.finish_reason for g in generations} >= {"error", "length"}


def test_a_call_that_is_left_half_way_does_not_disturb_the_next(engine: Engine) -> None:
    requests = some_requests(8)
    whole = texts(engine.generate(requests, GREEDY))
    assert len(list(islice(engine.generate(requests, GREEDY), 2))) == 2
    assert texts(engine.generate(requests, GREEDY)) == whole


def test_a_continuation_goes_on_where_the_text_ends(engine: Engine, reference: tuple[Any, Any]) -> None:
    import torch

    network, tokenizer = reference
    request = replace(ask("q", "Which drug?"), continuation="<think>\nThe patient")
    (got,) = engine.generate([request], GREEDY)
    template = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
    ids = tokenizer(template + request.continuation, add_special_tokens=False)["input_ids"]
    new = network.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=GREEDY.max_tokens)[
        0, len(ids) :
    ].tolist()
    assert got.text == tokenizer.decode(new, skip_special_tokens=True)
    assert got.prompt_tokens == len(ids)


def test_an_answer_ends_before_the_stop_text(engine: Engine) -> None:
    requests = some_requests(12)
    whole = {g.id: g.text for g in engine.generate(requests, GREEDY)}
    mark = whole["q3"][5:8]
    assert 1 < sum(mark in text for text in whole.values()) < 12
    stopped = {g.id: g for g in engine.generate(requests, replace(GREEDY, stop_text=mark))}
    for name, text in whole.items():
        assert stopped[name].text == text.partition(mark)[0]
        if mark in text:
            assert stopped[name].finish_reason == "stop"
            assert stopped[name].completion_tokens < GREEDY.max_tokens


def test_a_turn_is_bounded_with_what_it_holds_already(engine: Engine, reference: tuple[Any, Any]) -> None:
    _, tokenizer = reference
    held = "The patient needs an inhibitor."
    tokens = len(tokenizer(held, add_special_tokens=False)["input_ids"])
    sampling = replace(GREEDY, turn_tokens=tokens + 3)
    request = replace(ask("q", "Which drug?"), continuation=held)
    (some,) = engine.generate([request], sampling)
    assert (some.finish_reason, some.completion_tokens) == ("length", 3)
    (none,) = engine.generate([request], replace(sampling, turn_tokens=tokens))
    assert (none.finish_reason, none.completion_tokens, none.text) == ("length", 0, "")


def test_a_request_may_have_a_number_of_answers_of_its_own_and_have_some_of_them(engine: Engine) -> None:
    whole = texts(engine.generate([ask("q", "Which drug?")], replace(RANDOM, n=4)))
    request = replace(ask("q", "Which drug?"), n=4, answered=frozenset({0, 2}))
    assert texts(engine.generate([request], RANDOM)) == {("q", i): whole["q", i] for i in (1, 3)}


SCHEMA = {
    "type": "object",
    "properties": {"grade": {"enum": [1, 2, 3]}},
    "required": ["grade"],
    "additionalProperties": False,
}


def test_a_schema_is_followed_or_refused(engine: Engine) -> None:
    free, held = ask("free", "Which drug?"), replace(ask("held", "Which drug?"), schema=SCHEMA)
    sampling = Sampling(max_tokens=60)
    if engine.name == "transformers":
        with pytest.raises(UsageError, match="JSON schema; use the engine vllm"):
            list(engine.generate([free, held], sampling))
        return
    alone = texts(engine.generate([free], sampling))
    found = texts(engine.generate([free, held], sampling))
    assert json.loads(found["held", 0])["grade"] in (1, 2, 3)
    assert found["free", 0] == alone["free", 0]


def test_one_request_that_vllm_refuses_costs_its_own_answer_alone(engine: Engine) -> None:
    if engine.name != "vllm":
        pytest.skip("vLLM's own checks")
    bad = replace(ask("bad", "Which drug?"), schema={"type": "no such type"})
    found = {g.id: g for g in engine.generate([bad, ask("good", "Which drug?")], GREEDY)}
    assert (found["bad"].finish_reason, found["good"].error) == ("error", None)
    assert "vLLM refuses the request" in (found["bad"].error or "")


def test_no_requests_are_no_answers(engine: Engine) -> None:
    assert list(engine.generate([], GREEDY)) == []


def test_two_requests_with_one_id_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="share an id"):
        list(engine.generate([ask("q", "a"), ask("q", "b")], GREEDY))


def test_only_the_progress_is_printed_and_on_stderr(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    list(engine.generate(some_requests(3), GREEDY))
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(rf"^{engine.name}: 3 of 3 answers in 0:00:\d\d, [\d,]+ tokens/s$", err, re.MULTILINE)
