"""The openai engine against a server with faults, and against a real `vllm` API server with the tiny model."""

from __future__ import annotations

import email.utils
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.stage import PREDICTIONS, run
from inference import leaving, served
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling, open_engine
from inference.journal import generate_resumable
from registry.catalog import DatasetEntry, ModelEntry
from registry.errors import Meds1Error, MissingError, StageFailure, StageStopped, UsageError
from registry.stopping import StopFlag
from tests.api_server import vllm_server
from tests.faulty_server import Body, FaultyServer, Reply, Script, completion, echo, question, refusal, reply, serving
from tests.stages import make_context, record, write_jsonl
from tests.tiny import NEEDS_VLLM, make_tiny_model

KEY = "k-0123456789-secret"
SAMPLING = Sampling(max_tokens=24)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that no server asked for are short here; those that one asks for are real."""
    monkeypatch.setattr(served, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("LAB_KEY", KEY)


def ask(name: str, schema: dict[str, Any] | None = None) -> Request:
    return Request(name, ({"role": "user", "content": name},), schema=schema)


def requests(count: int) -> list[Request]:
    return [ask(f"q{number:02}") for number in range(count)]


def spec(url: str | None, concurrency: int = 4, name: str = "gpt-x", per_minute: int | None = None) -> EngineSpec:
    return EngineSpec("openai", ApiModel(name, url, "LAB_KEY", concurrency, per_minute), max_length=256)


def generate(
    server: FaultyServer, asked: list[Request], sampling: Sampling = SAMPLING, concurrency: int = 4
) -> list[Generation]:
    with open_engine(spec(server.url, concurrency)) as engine:
        assert engine.name == "openai"
        return list(engine.generate(asked, sampling))


def once(fault: Reply) -> Script:
    """A server that meets every request with `fault` first."""
    return lambda body, before: echo(body, before) if before else fault


def of(poison: str, fault: Reply) -> Script:
    """A server with one question that always meets `fault`."""
    return lambda body, before: fault if question(body) == poison else echo(body, before)


def test_a_request_says_everything_that_was_asked_for() -> None:
    schema = {"type": "object", "properties": {"verdict": {"type": "string"}}}
    with serving(echo) as server:
        (generation,) = generate(server, [ask("q", schema)], Sampling(24, temperature=0.5, top_p=0.9, seed=1))
    assert generation == Generation("q", 0, "answer to q", "stop", 7, 3)
    assert server.keys == [f"Bearer {KEY}"]
    (body,) = server.bodies
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "q"}],
        "max_completion_tokens": 24,
        "temperature": 0.5,
        "top_p": 0.9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }


def test_every_answer_has_a_seed_of_its_own_and_a_greedy_one_has_none() -> None:
    with serving(echo) as server:
        drawn = Sampling(24, temperature=1.0, seed=3, n=3)
        assert {(g.id, g.index) for g in generate(server, requests(4), drawn)} == {
            (f"q{number:02}", index) for number in range(4) for index in range(3)
        }
        seeds = {body["seed"] for body in server.bodies}
        assert len(seeds) == 12
        generate(server, requests(4)[::-1], drawn)
        assert {body["seed"] for body in server.bodies} == seeds
        generate(server, requests(1), Sampling(24, temperature=1.0, seed=4))
        assert server.bodies[-1]["seed"] not in seeds
        generate(server, requests(1))
        assert "seed" not in server.bodies[-1]


def test_answers_that_are_there_already_are_not_asked_for() -> None:
    some = replace(ask("q"), n=4, answered=frozenset({0, 2}))
    with serving(echo) as server:
        assert {g.index for g in generate(server, [some], Sampling(24, temperature=1.0))} == {1, 3}
        assert len(server.bodies) == 2


def test_the_longest_messages_go_first() -> None:
    with serving(echo) as server:
        generate(server, [ask("x" * length) for length in (3, 9, 1, 7)], concurrency=1)
        assert [len(text) for text in server.questions] == [9, 7, 3, 1]


def test_an_answer_that_another_process_has_got_is_not_asked_for() -> None:
    theirs = Generation("q03", 0, "an answer of theirs", "stop", 7, 3)
    looked: list[str] = []

    def known(request: Request, index: int) -> Generation | None:
        looked.append(request.id)
        return theirs if (request.id, index) == ("q03", 0) else None

    with serving(once(refusal(500, "oh"))) as server, open_engine(spec(server.url)) as engine:
        got = {g.id: g for g in engine.generate(requests(8), SAMPLING, known=known)}
        assert Counter(server.questions) == {f"q{n:02}": 2 for n in range(8) if n != 3}
    assert got["q03"] == theirs
    assert len(got) == 8
    assert sorted(looked) == sorted(got)  # once each, and not again before another try


def test_processes_with_the_same_work_begin_at_different_ends() -> None:
    with serving(echo) as server, open_engine(spec(server.url, concurrency=1)) as engine:
        for _ in range(2):
            list(engine.generate(requests(30), SAMPLING, known=lambda request, index: None))
        assert server.questions[:30] != server.questions[30:]
        assert sorted(server.questions[:30]) == sorted(server.questions[30:])


def test_as_many_requests_as_allowed_are_on_their_way_and_never_more() -> None:
    together = threading.Barrier(3)

    def script(body: Body, before: int) -> Reply:
        together.wait(60)  # breaks, and so fails the request, unless three are here
        return echo(body, before)

    with serving(script) as server:
        assert all(g.error is None for g in generate(server, requests(12), concurrency=3))
        assert server.most_at_once == 3


def test_no_minute_sees_more_requests_than_allowed_and_tries_count() -> None:
    flags = [StopFlag(), StopFlag()]

    def stop_soon(flag: StopFlag) -> None:
        threading.Timer(0.5, flag.handle, (signal.SIGTERM, None)).start()  # without a limit, all tries fit into it

    def script(body: Body, before: int) -> Reply:
        stop_soon(flags[0])
        return refusal(429, "slow down", {"Retry-After": "0"})

    with serving(script) as server, open_engine(spec(server.url, per_minute=1)) as engine:
        with pytest.raises(StageStopped):
            list(engine.generate(requests(4), SAMPLING, flags[0]))
        assert len(server.bodies) == 1
        stop_soon(flags[1])
        with pytest.raises(StageStopped):  # the minute is not over with another call
            list(engine.generate(requests(4), SAMPLING, flags[1]))
        assert len(server.bodies) == 1


def test_an_answer_is_handed_over_while_others_are_still_waited_for() -> None:
    first_is_here = threading.Event()

    def script(body: Body, before: int) -> Reply:
        if question(body) != "q00":
            first_is_here.wait(60)
        return echo(body, before)

    with serving(script) as server, open_engine(spec(server.url)) as engine:
        answers = engine.generate(requests(4), SAMPLING)
        assert next(answers).id == "q00"
        assert not first_is_here.is_set()
        first_is_here.set()
        assert {g.id for g in answers} == {"q01", "q02", "q03"}


PASSING = {
    "a rate limit in seconds": refusal(429, "slow down", {"Retry-After": "0.05"}),
    "a rate limit in milliseconds": refusal(429, "slow down", {"retry-after-ms": "50"}),
    "a rate limit without a time": refusal(429, "slow down"),
    "a rate limit with nonsense for a time": refusal(429, "slow down", {"Retry-After": "soon"}),
    "an internal error": refusal(500, "oh"),
    "a bad gateway": Reply(b"<html>nginx</html>", 502, {"Content-Type": "text/html"}),
    "an overload": refusal(503, "busy", {"Retry-After": "0.05"}),
    "half a body": Reply(completion("an answer that is cut off").content, sent=60),
    "half a body that claims to be whole": Reply(completion("an answer that is cut off").content[:60]),
    "nothing": Reply(hang_up=True),
    "an empty body": Reply(),
    "broken JSON": Reply(b'{"choices": [}'),
    "no JSON": Reply(b"<html>hello</html>", headers={"Content-Type": "text/html"}),
    "other JSON": reply(["hello"]),
    "an error that says 200": reply({"error": {"message": "oh"}}),
    "no choices": reply({"choices": []}),
    "choices that are null": reply({"choices": None}),
    "an answer that vLLM aborts": completion("half", "abort"),
    "an answer without an end": completion("half", None),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_passes_costs_nothing_and_doubles_nothing(fault: Reply) -> None:
    with serving(once(fault)) as server:
        got = generate(server, requests(6))
        assert sorted((g.id, g.text) for g in got) == [(f"q{n:02}", f"answer to q{n:02}") for n in range(6)]
        assert Counter(server.questions) == {f"q{n:02}": 2 for n in range(6)}


@pytest.mark.parametrize(
    "header",
    [
        lambda: {"Retry-After": "2"},
        lambda: {"retry-after-ms": "2000"},
        # A date has whole seconds: the third from now is two to three seconds away.
        lambda: {"Retry-After": email.utils.formatdate(time.time() + 3, usegmt=True)},
    ],
    ids=["seconds", "milliseconds", "date"],
)
def test_after_a_rate_limit_all_requests_wait_as_long_as_the_server_asks(
    header: Callable[[], dict[str, str]],
) -> None:
    limited: list[float] = []
    came: list[float] = []

    def script(body: Body, before: int) -> Reply:
        came.append(time.monotonic())
        if question(body) == "q00" and not before:
            limited.append(time.monotonic())  # before the header is made: a date in it counts from then on
            return refusal(429, "slow down", header())
        return echo(body, before)

    with serving(script) as server:
        assert all(g.error is None for g in generate(server, requests(8), concurrency=1))
        assert len(server.bodies) == 9
    assert came[1] - limited[0] >= 1.99


LASTING = {
    "an internal error": (refusal(500, "oh dear"), 10, "HTTP 500: oh dear"),
    "nothing": (Reply(hang_up=True), 10, "disconnected"),
    "a page in an outage": (Reply(b"<html>hello</html>"), 10, "no chat completion"),
    "an error that says 200": (reply({"error": {"message": "oh"}}), 10, "no chat completion"),
    "broken JSON": (Reply(b'{"choices": [}'), 3, "no chat completion"),
    "content that is no text": (completion([{"text": "A"}]), 3, "no chat completion"),  # type: ignore[arg-type]
    "counts that are none": (reply({"choices": [{}], "usage": {"prompt_tokens": "x"}}), 3, "no chat completion"),
    "an answer that is aborted": (completion("half", "abort"), 3, "finish_reason abort"),
    "an answer without an end": (completion("half", None), 3, "finish_reason none"),
    "a long prompt": (refusal(400, "maximum context length is 8"), 1, "HTTP 400: maximum context length is 8"),
    "a long prompt of Together": (refusal(422, "inputs + max_new", param="max_tokens"), 1, "HTTP 422: inputs"),
    "an answer withheld": (completion(None, "content_filter"), 1, "withheld the answer (content_filter)"),
    "an unknown end": (completion("half", "tool_calls"), 1, "finish_reason 'tool_calls'"),
    "as Gemini says it": (completion(None, "content_filter: RECITATION"), 1, "(content_filter: RECITATION)"),
}


@pytest.mark.parametrize(("fault", "times", "why"), LASTING.values(), ids=LASTING.keys())
def test_a_request_that_never_succeeds_is_an_error_and_the_others_are_answered(
    fault: Reply, times: int, why: str
) -> None:
    with serving(of("q02", fault)) as server:
        got = {g.id: g for g in generate(server, requests(6))}
        assert Counter(server.questions)["q02"] == times
    assert len(got) == 6
    assert (got["q02"].finish_reason, got["q02"].text) == ("error", "")
    assert why in str(got["q02"].error)
    assert [g.id for g in got.values() if g.error] == ["q02"]


ENDS: dict[str, tuple[Script, type[Meds1Error], str]] = {
    "wrong key": (lambda *_: refusal(401, f"no such key {KEY}"), MissingError, "key in LAB_KEY"),
    "key without rights": (lambda *_: refusal(403, "forbidden"), MissingError, "key in LAB_KEY"),
    "wrong key at Gemini": (
        lambda *_: reply([{"error": {"code": 400, "message": "API key not valid."}}], 400),
        MissingError,
        "key in LAB_KEY .*API key not valid",
    ),
    "no such model": (lambda *_: refusal(404, "no model gpt-x"), MissingError, "there is no gpt-x at .*api_model"),
    "no money": (lambda *_: refusal(429, "quota", code="insufficient_quota"), StageFailure, "LAB_KEY may spend"),
    "no account": (
        lambda *_: refusal(429, "not active", type="billing_not_active", code=None),
        StageFailure,
        "LAB_KEY may spend",
    ),
    "a long wait": (lambda *_: refusal(429, "x", {"Retry-After": "86400"}), StageFailure, "asks to wait 86400 s"),
    "temperature": (
        lambda *_: refusal(400, "Unsupported value: 'temperature' ...", param="temperature", code="unsupported_value"),
        UsageError,
        "refuses temperature 0.7",
    ),
    "top_p": (lambda *_: refusal(422, 'extra_forbidden at ["body", "top_p"]'), UsageError, "refuses top_p 1.0"),
    "max_tokens": (
        lambda *_: refusal(400, "max_tokens is too large: 99. It completes 16 at most", param="max_tokens"),
        UsageError,
        "refuses max_completion_tokens 24",
    ),
    "of two that are named always the same": (
        lambda *_: refusal(400, "'temperature' is not supported with 'response_format'"),
        UsageError,
        "refuses temperature 0.7",
    ),
    "schema": (
        lambda *_: refusal(400, "invalid schema", param="response_format.json_schema"),
        UsageError,
        "refuses response_format",
    ),
    "a server without schemas": (
        lambda *_: refusal(400, "This response_format type is unavailable now", param=None),
        UsageError,
        "refuses response_format",
    ),
}


@pytest.mark.parametrize(("script", "error", "words"), ENDS.values(), ids=ENDS.keys())
def test_what_every_request_would_meet_ends_the_stage_with_one_line(
    script: Script, error: type[Meds1Error], words: str
) -> None:
    asked = [ask(request.id, {"type": "object"}) for request in requests(40)]
    with serving(script) as server:
        with pytest.raises(error, match=words) as caught:
            generate(server, asked, Sampling(24, temperature=0.7))
        assert len(server.bodies) <= 4
    assert "gpt-x at 127.0.0.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_one_prompt_that_is_forbidden_after_others_were_answered_costs_only_itself() -> None:
    with serving(of("q03", refusal(403, f"flagged by moderation, {KEY}"))) as server:
        got = {g.id: g for g in generate(server, requests(8), concurrency=1)}
    assert [name for name, g in got.items() if g.error] == ["q03"]
    assert got["q03"].error == "HTTP 403: flagged by moderation, <LAB_KEY>"


def test_a_server_that_knows_only_max_tokens_gets_max_tokens(caplog: pytest.LogCaptureFixture) -> None:
    def script(body: Body, before: int) -> Reply:
        if "max_completion_tokens" in body:
            return refusal(400, "Unrecognized request argument supplied: 'max_completion_tokens'")
        return echo(body, before)

    with serving(script) as server:
        assert all(g.error is None for g in generate(server, requests(20)))
        assert server.bodies[-1]["max_tokens"] == 24
    assert sum("max_tokens is sent instead" in record.message for record in caplog.records) == 1


def test_a_server_that_knows_no_seed_gets_none(caplog: pytest.LogCaptureFixture) -> None:
    def script(body: Body, before: int) -> Reply:
        message = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
        return reply([{"error": {"code": 400, "message": message}}], 400) if "seed" in body else echo(body, before)

    with serving(script) as server:
        assert all(g.error is None for g in generate(server, requests(20), Sampling(24, temperature=1.0)))
    assert sum("does not know seed; none is sent" in record.message for record in caplog.records) == 1


def test_a_server_that_dies_ends_the_stage_and_costs_no_question(tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    asked, calls = requests(60), itertools.count()

    def dying(body: Body, before: int) -> Reply:
        return echo(body, before) if next(calls) < 10 else refusal(503, "no backend")

    with serving(dying) as server:
        with pytest.raises(StageFailure, match=r"20 requests in a row failed.*HTTP 503: no backend"):
            generate_resumable(spec(server.url), asked, SAMPLING, journal)
        assert len(set(server.questions)) < 60
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = {line["id"] for line in lines}
    assert len(kept) == len(lines) == 10
    with serving(echo) as server:
        got = generate_resumable(spec(server.url), asked, SAMPLING, journal)
        assert sorted(server.questions) == sorted(request.id for request in asked if request.id not in kept)
    assert [g.text for g in got] == [f"answer to q{n:02}" for n in range(60)]


def test_a_server_that_is_not_there_is_one_line_at_once() -> None:
    with serving(echo) as server:
        pass
    with pytest.raises(MissingError, match=r"cannot reach gpt-x at 127.0.0.1:\d+: .*base_url"):
        generate(server, requests(40))


def test_a_server_that_goes_away_ends_the_stage() -> None:
    with serving(echo) as server, open_engine(spec(server.url)) as engine:
        assert len(list(engine.generate(requests(4), SAMPLING))) == 4
    with pytest.raises(StageFailure, match=r"gpt-x at 127.0.0.1:\d+ is gone: .*run the stage again"):
        list(engine.generate(requests(40), SAMPLING))


@pytest.mark.parametrize("why", ["a wrong key", "SIGTERM", "Ctrl-C"])
def test_what_is_on_its_way_when_the_stage_is_left_is_kept_and_nothing_more_is_sent(
    why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag, all_are_here = StopFlag(), threading.Barrier(4)

    def script(body: Body, before: int) -> Reply:
        if all_are_here.wait(60) == 0:
            if why == "a wrong key":
                return refusal(401, "revoked")
            if why == "SIGTERM":
                flag.handle(signal.SIGTERM, None)
            else:
                os.kill(os.getpid(), signal.SIGINT)
        end = time.monotonic() + 20
        while "calls on their way are waited for" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
        return echo(body, before)

    journal, errors = tmp_path / "answers.jsonl", (MissingError, StageStopped, KeyboardInterrupt)
    with serving(script) as server, caplog.at_level(logging.INFO), pytest.raises(errors):
        generate_resumable(spec(server.url), requests(12), SAMPLING, journal, flag)
    assert len(server.bodies) == 4
    kept = [json.loads(line)["text"] for line in journal.read_text().splitlines()]
    assert len(set(kept)) == len(kept) == (3 if why == "a wrong key" else 4)


def test_a_stop_waits_for_no_answer_that_does_not_come_and_a_call_that_is_left_does_not_disturb_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving, "GRACE_S", 0.05)
    flag, released = StopFlag(), threading.Event()

    def script(body: Body, before: int) -> Reply:
        if question(body) != "q00" and not released.is_set():
            flag.handle(signal.SIGTERM, None)
            released.wait(60)
        return echo(body, before)

    with serving(script) as server, open_engine(spec(server.url)) as engine:
        with pytest.raises(StageStopped, match="SIGTERM"):
            list(engine.generate(requests(8), SAMPLING, flag))
        assert not released.is_set()
        released.set()
        left = engine.generate(requests(8), SAMPLING)
        next(left)
        left.close()  # type: ignore[attr-defined]
        assert len(list(engine.generate(requests(8), SAMPLING))) == 8


CHILD = """
import os, sys
from pathlib import Path
from inference.journal import generate_resumable
from tests.test_inference_openai import SAMPLING, requests, spec
generate_resumable(spec(sys.argv[1]), requests(20), SAMPLING, Path(sys.argv[2]))
"""


def test_after_a_kill_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    journal, killed, calls = tmp_path / "answers.jsonl", threading.Event(), itertools.count()

    def script(body: Body, before: int) -> Reply:
        if next(calls) >= 7:
            killed.wait(60)
        return echo(body, before)

    with serving(script) as server:
        child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, str(journal)], cwd=ROOT)
        # Four more are on their way then: one that comes in after the kill would look like a question of the next.
        while not journal.exists() or journal.read_bytes().count(b"\n") < 7 or len(server.bodies) < 11:
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        killed.set()
        kept = journal.read_bytes()
        asked_before = len(server.bodies)
        got = generate_resumable(spec(server.url), requests(20), SAMPLING, journal)
        answered = {json.loads(line)["id"] for line in kept.splitlines()}
        assert sorted(server.questions[asked_before:]) == [r.id for r in requests(20) if r.id not in answered]
        assert len(answered) == 7
    assert [(g.id, g.text) for g in got] == [(f"q{n:02}", f"answer to q{n:02}") for n in range(20)]
    assert journal.read_bytes().startswith(kept)
    assert len(journal.read_bytes().splitlines()) == 20


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_beside_the_answer_stands_before_it(field: str) -> None:
    replies = {
        "q00": completion("It is A.", **{field: "\nHm.\n"}),
        "q01": completion(None, "length", **{field: "Hm"}),
        "q02": completion(None, "length"),
        "q03": completion(None, refusal="I will not."),
    }
    with serving(lambda body, _: replies[question(body)]) as server:
        got = {g.id: (g.text, g.finish_reason) for g in generate(server, requests(4))}
    assert got == {
        "q00": ("<think>\nHm.\n</think>\n\nIt is A.", "stop"),
        "q01": ("<think>\nHm", "length"),
        "q02": ("", "length"),
        "q03": ("I will not.", "stop"),
    }


def test_hidden_thinking_is_counted_and_missing_counts_are_nothing() -> None:
    choice = {"message": {"content": "A"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 80}}
    beside = {**usage, "completion_tokens": 10, "total_tokens": 95}  # as xAI counts
    untold = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 95}  # as Gemini's endpoint does
    usages = {"q00": usage, "q01": None, "q02": beside, "q03": untold}
    with serving(lambda body, _: reply({"choices": [choice], "usage": usages[question(body)]})) as server:
        got = {g.id: (g.prompt_tokens, g.completion_tokens, g.reasoning_tokens) for g in generate(server, requests(4))}
    assert got == {"q00": (5, 90, 80), "q01": (0, 0, None), "q02": (5, 90, 80), "q03": (5, 90, None)}


def test_an_answer_that_has_begun_is_refused_before_anything_is_asked() -> None:
    begun = Request("q", ({"role": "user", "content": "q"},), continuation="<think>\nWait")
    first_round = Sampling(24, stop_text="</think>")
    with serving(echo) as server:
        for asked, sampling in ((begun, SAMPLING), (ask("q"), first_round), (ask("q"), Sampling(24, turn_tokens=24))):
            with pytest.raises(UsageError, match=r"gpt-x at .* cannot go on with an answer"):
                generate(server, [asked], sampling)
        assert server.bodies == []


def test_it_works_inside_a_running_event_loop() -> None:
    import asyncio

    async def cell() -> int:
        return len(generate(server, requests(3)))

    with serving(echo) as server:
        assert asyncio.run(cell()) == 3


def test_no_requests_are_no_answers() -> None:
    with serving(echo) as server:
        assert generate(server, []) == []


def test_a_key_that_is_not_set_is_named_but_a_server_of_ones_own_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_KEY")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # no environment decides who is asked
    for url in (None, "https://example.org/v1"):
        with pytest.raises(MissingError, match=r"LAB_KEY is not set.*gpt-x at"), open_engine(spec(url)):
            pytest.fail("opened")
    with serving(echo) as server:
        assert len(generate(server, requests(1))) == 1
        assert server.keys == ["Bearer EMPTY"]


def test_neither_the_log_nor_an_answer_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "inference")
    with serving(of("q01", refusal(500, f"crashed for {KEY}"))) as server:
        got = generate(server, requests(3))
    assert [str(g.error).count("<LAB_KEY>") for g in got if g.error] == [1]
    assert KEY not in caplog.text + str(got)
    assert f"gpt-x at {server.url.split('/')[2]}" in caplog.text


def test_openais_own_defaults_are_not_sent_to_openai() -> None:
    from inference.openai_wire import body
    from inference.served_wire import tasks

    (task,) = tasks([ask("q")], Sampling(24, temperature=1.0))
    own, other = (body(task, ApiModel("m", url, "K"), ()) for url in (None, "http://localhost/v1"))
    assert {"temperature", "top_p"}.isdisjoint(own)
    assert (other["temperature"], other["top_p"]) == (1.0, 1.0)
    (task,) = tasks([ask("q")], Sampling(24, temperature=0.0, top_p=0.5))
    assert body(task, ApiModel("m", None, "K"), ()).items() >= {"temperature": 0.0, "top_p": 0.5}.items()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Path("/models/x"), "/models/x is a folder"),
        (ApiModel("m", "localhost:8000/v1", "LAB_KEY"), "base_url localhost:8000/v1 is no address"),
    ],
    ids=["a folder", "no scheme"],
)
def test_a_model_that_no_server_has_is_refused(model: Path | ApiModel, words: str) -> None:
    with pytest.raises(UsageError, match=words), open_engine(EngineSpec("openai", model, 256)):
        pytest.fail("opened")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), max_length=1024)


@pytest.fixture(scope="module")
def vllm_url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    with vllm_server(model, "tiny", log, "--max-model-len", "1024") as url:
        yield url


@NEEDS_VLLM
def test_a_real_server_gives_the_answers_of_the_vllm_engine(vllm_url: str, model: Path) -> None:
    asked = [ask(f"Which drug lowers {'x ' * (7 * n % 23)}number {n}?") for n in range(12)]
    with open_engine(EngineSpec("vllm", model, 256)) as engine:
        want = whole_characters(engine.generate(asked, SAMPLING))
    with open_engine(spec(vllm_url, name="tiny")) as engine:
        assert whole_characters(engine.generate(asked, SAMPLING)) == want


def whole_characters(answers: Iterator[Generation]) -> list[Generation]:
    """The answers by id; a server keeps back the bytes at the end that are no whole character yet."""
    return sorted((replace(g, text=g.text.rstrip("\ufffd")) for g in answers), key=lambda g: g.id)


@NEEDS_VLLM
def test_a_real_server_draws_by_seed_follows_a_schema_and_outlives_a_long_prompt(vllm_url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer", "enum": [1, 2, 3]}},
        "required": ["score"],
        "additionalProperties": False,
    }
    drawn = Sampling(64, temperature=1.0, seed=5, n=3)
    with open_engine(spec(vllm_url, name="tiny")) as engine:
        first = {(g.id, g.index): g.text for g in engine.generate(requests(2), drawn)}
        assert len(set(first.values())) == 6
        assert {(g.id, g.index): g.text for g in engine.generate(requests(2)[::-1], drawn)} == first
        answers = list(engine.generate([ask("grade it", schema), ask("word " * 1200)], drawn))
    assert all(json.loads(g.text)["score"] in (1, 2, 3) for g in answers if g.id == "grade it")
    refused = [g for g in answers if g.id != "grade it"]
    assert len(refused) == 3
    assert all("maximum context length" in str(g.error) for g in refused)


@NEEDS_VLLM
def test_a_model_that_a_real_server_has_not_is_named(vllm_url: str) -> None:
    with (
        pytest.raises(MissingError, match=r"there is no other at 127.0.0.1"),
        open_engine(spec(vllm_url, name="other")) as engine,
    ):
        list(engine.generate(requests(3), SAMPLING))


@NEEDS_VLLM
def test_a_whole_evaluation_with_a_judge_on_a_real_server(vllm_url: str, tmp_path: Path) -> None:
    served = ModelEntry(api_model="tiny", base_url=vllm_url, api_key_env="LAB_KEY", max_length=1024)
    exam = [record(number) for number in range(3)] + [record(9, options=None, answer_idx=None, answer="Rest")]
    files = {
        name: DatasetEntry(file_path=str(write_jsonl(tmp_path / f"{name}.jsonl", records)))
        for name, records in (("exam", exam[:3]), ("free", exam[3:]))
    }
    judge = {"model_key": "judge", "rubrics": ["report", "failure_modes"], "max_tokens": 32}
    settings = {"engine": "openai", "max_tokens": 16, "judge": judge}
    context = make_context(tmp_path / "run", tmp_path, evaluate=files, eval=settings)
    config = context.config.model_copy(update={"model": served, "judge_model": served})
    summary = run(replace(context, config=config)).metrics["benchmarks"]
    assert {name: (each["total_examples"], each["errors"]) for name, each in summary.items()} == {
        "exam": (3, 0),
        "free": (1, 0),
    }
    assert (summary["exam"]["judge"]["report"]["n"], summary["free"]["judge"]["report"]["n"]) == (0, 1)
    lines = [json.loads(line) for line in (tmp_path / "run" / PREDICTIONS).read_text().splitlines()]
    assert [line["source"] for line in lines if "report" in line["verdicts"]] == ["free"]
    assert all(line["completion_tokens"] and line["prompt_tokens"] for line in lines)
