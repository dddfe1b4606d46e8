"""The vertex engine: Google's own client against a local server that speaks Vertex AI's HTTP, faults included."""

from __future__ import annotations

import itertools
import json
import logging
import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from inference import leaving, served
from inference.engine import EngineSpec, Generation, Request, Sampling, VertexModel, check_engine, open_engine
from inference.journal import generate_resumable
from registry.errors import Meds1Error, MissingError, StageFailure, StageStopped, UsageError
from registry.stopping import StopFlag
from tests.faulty_server import Body, FaultyServer, Reply, Script, reply
from tests.vertex_server import (
    LOCATION,
    MODEL,
    PROJECT,
    TOKEN,
    content,
    echo,
    question,
    refused,
    service_account,
    token,
    vertex,
)

SAMPLING = Sampling(max_tokens=24)
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return service_account(tmp_path_factory.mktemp("account"))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, account: Path, tmp_path: Path) -> None:
    """The account's credentials and no others; nothing else in the environment decides who is asked."""
    monkeypatch.setattr(served, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setenv(CREDENTIALS, str(account))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("GOOGLE_VERTEX_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "false")
    monkeypatch.setenv("GOOGLE_GENAI_CLIENT_MODE", "replay")


def ask(name: str, schema: dict[str, Any] | None = None) -> Request:
    return Request(name, ({"role": "user", "content": name},), schema=schema)


def requests(count: int) -> list[Request]:
    return [ask(f"q{number:02}") for number in range(count)]


def spec(url: str | None, concurrency: int = 4, per_minute: int | None = None) -> EngineSpec:
    model = VertexModel(MODEL, PROJECT, LOCATION, url, concurrency, per_minute)
    return EngineSpec("vertex", model, max_length=256)


def generate(
    server: FaultyServer, asked: list[Request], sampling: Sampling = SAMPLING, concurrency: int = 4
) -> list[Generation]:
    with open_engine(spec(server.url, concurrency)) as engine:
        assert engine.name == "vertex"
        return list(engine.generate(asked, sampling))


def questions(server: FaultyServer) -> list[str]:
    return [question(body) for body in server.bodies]


def of(poison: str, fault: Reply) -> Script:
    """A server with one question that always meets `fault`."""
    return lambda body, before: fault if question(body) == poison else echo(body, before)


def test_a_request_says_everything_that_was_asked_for(account: Path) -> None:
    turns = (("system", "Be brief."), ("user", "q"), ("assistant", "a"), ("user", "again"), ("user", "now"))
    schema = {"type": "object", "properties": {"verdict": {"type": "string"}}, "additionalProperties": False}
    asked = Request("q", tuple({"role": role, "content": text} for role, text in turns), schema=schema)
    with vertex(echo, account) as server:
        (generation,) = generate(server, [asked], Sampling(24, temperature=0.5, top_p=0.9, seed=1))
        generate(server, [ask("q")])
    assert generation == Generation("q", 0, "answer to again", "stop", 7, 3)
    assert server.keys == [f"Bearer {TOKEN}"] * 2
    body, greedy = server.bodies
    assert 0 <= body["generationConfig"].pop("seed") < 2**31
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "q"}]},
            {"role": "model", "parts": [{"text": "a"}]},
            {"role": "user", "parts": [{"text": "again"}, {"text": "now"}]},
        ],
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "maxOutputTokens": 24,
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
        },
    }
    assert greedy == {
        "contents": [{"role": "user", "parts": [{"text": "q"}]}],
        "generationConfig": {"temperature": 0.0, "topP": 1.0, "maxOutputTokens": 24},
    }


def test_thoughts_stand_before_the_answer_and_count_as_completion_tokens(account: Path) -> None:
    thought = {"text": "\nHm.\n", "thought": True}
    replies = {
        "q00": content(thought, "It ", "is A.", thoughts=80),
        "q01": content(thought, ended="MAX_TOKENS", thoughts=80),
        "q02": content(ended="MAX_TOKENS"),
        "q03": reply({"candidates": [{"content": {"parts": [{"text": "A"}]}, "finishReason": "STOP"}]}),
    }
    with vertex(lambda body, _: replies[question(body)], account) as server:
        got = {g.id: (g.text, g.finish_reason, g.completion_tokens, g.reasoning_tokens)
               for g in generate(server, requests(4))}  # fmt: skip
    assert got == {
        "q00": ("<think>\nHm.\n</think>\n\nIt is A.", "stop", 83, 80),
        "q01": ("<think>\nHm.", "length", 83, 80),
        "q02": ("", "length", 3, None),
        "q03": ("A", "stop", 0, None),
    }


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.05s"}
PASSING = {
    "a rate limit with a time": refused(429, "RESOURCE_EXHAUSTED", "slow down", "0.05"),
    "a rate limit with a time in its details": refused(429, "RESOURCE_EXHAUSTED", "slow", details=[RETRY_INFO]),
    "a rate limit without a time": refused(429, "RESOURCE_EXHAUSTED", "slow down"),
    "an internal error": refused(500, "INTERNAL", "oh"),
    "an overload": refused(503, "UNAVAILABLE", "busy", "0.05"),
    "a deadline": refused(504, "DEADLINE_EXCEEDED", "late"),
    "a proxy's page": Reply(b"<html>nginx</html>", 502, {"Content-Type": "text/html"}),
    "half a body": Reply(content("an answer that is cut off").content, sent=60),
    "half a body that claims to be whole": Reply(content("an answer that is cut off").content[:60]),
    "nothing": Reply(hang_up=True),
    "an empty body": Reply(),
    "other JSON": reply(["hello"]),
    "no candidates": reply({"candidates": []}),
    "no end": content("half", ended=None),
}


def test_faults_that_pass_cost_nothing_and_are_asked_again_once(account: Path) -> None:
    with vertex(lambda body, before: echo(body, before) if before else PASSING[question(body)], account) as server:
        got = {g.id: g.text for g in generate(server, [ask(name) for name in PASSING])}
        assert Counter(questions(server)) == dict.fromkeys(PASSING, 2)
    assert got == {name: f"answer to {name}" for name in PASSING}


@pytest.mark.parametrize(
    "limit",
    [
        refused(429, "RESOURCE_EXHAUSTED", "slow down", "2"),
        refused(429, "RESOURCE_EXHAUSTED", "slow down", details=[{**RETRY_INFO, "retryDelay": "2s"}]),
    ],
    ids=["header", "details"],
)
def test_after_a_rate_limit_all_requests_wait_as_long_as_the_server_asks(limit: Reply, account: Path) -> None:
    came: list[float] = []

    def script(body: Body, before: int) -> Reply:
        came.append(time.monotonic())
        return limit if question(body) == "q00" and not before else echo(body, before)

    with vertex(script, account) as server:
        assert all(g.error is None for g in generate(server, requests(4), concurrency=1))
    assert len(came) == 5
    assert came[1] - came[0] >= 1.99


def test_a_server_that_hangs_is_left_and_asked_again(monkeypatch: pytest.MonkeyPatch, account: Path) -> None:
    monkeypatch.setattr(served, "_QUEUE_S", 0.3)
    monkeypatch.setattr(served, "_TOKEN_S", 0.0)
    released = threading.Event()

    def script(body: Body, before: int) -> Reply:
        if not before:
            released.wait(60)
        return echo(body, before)

    with vertex(script, account) as server:
        assert [g.text for g in generate(server, requests(1))] == ["answer to q00"]
        assert not released.is_set()
        released.set()


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"}}
LASTING = {
    "an internal error": (refused(500, "INTERNAL", "oh dear"), 10, "HTTP 500 INTERNAL: oh dear"),
    "a page in an outage": (Reply(b"<html>hello</html>"), 10, "no generated content"),
    "half a body": (Reply(content("cut off").content[:60]), 3, "no generated content"),
    "no end": (content("half", ended=None), 3, "without a finishReason"),
    "counts alone": (reply({"usageMetadata": {"promptTokenCount": 7}}), 3, "no candidate"),
    "a long prompt": (refused(400, "INVALID_ARGUMENT", "The input token count (9) exceeds 8"), 1, "token count"),
    "safety": (content(ended="SAFETY", finishMessage="harm"), 1, "withheld the answer (SAFETY) harm"),
    "an unknown end": (content("half", ended="OTHER"), 1, "broke the answer off (OTHER)"),
    "a malformed call": (content("half", ended="MALFORMED_FUNCTION_CALL"), 1, "broke the answer off (MALFORMED"),
    "recitation": (content("half", ended="RECITATION"), 1, "withheld the answer (RECITATION)"),
    "a blocked prompt": (reply(BLOCKED), 1, "withheld its answer to the prompt (PROHIBITED_CONTENT) no"),
}


def test_requests_that_never_succeed_are_errors_and_the_others_are_answered(account: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        return LASTING[question(body)][0] if question(body) in LASTING else echo(body, before)

    with vertex(script, account) as server:
        got = {g.id: g for g in generate(server, [*requests(3), *map(ask, LASTING)])}
        assert Counter(questions(server)) == {f"q{n:02}": 1 for n in range(3)} | {
            name: times for name, (_, times, _) in LASTING.items()
        }
    assert {name for name, g in got.items() if g.error} == LASTING.keys()
    for name, (_, _, why) in LASTING.items():
        assert (got[name].finish_reason, got[name].text) == ("error", "")
        assert why in str(got[name].error)


def bad(message: str, field: str = "") -> Reply:
    violation = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field}]}
    return refused(400, "INVALID_ARGUMENT", message, details=[violation] if field else [])


ENDS: dict[str, tuple[Reply, type[Meds1Error], str]] = {
    "token": (refused(401, "UNAUTHENTICATED", f"bad {TOKEN}"), MissingError, "application-default login"),
    "permission": (refused(403, "PERMISSION_DENIED", "denied"), MissingError, "denied.*roles/aiplatform.user"),
    "model": (refused(404, "NOT_FOUND", "no gemini-x"), MissingError, "there is no gemini-x in .*vertex_location"),
    "billing": (refused(400, "FAILED_PRECONDITION", "billing is off"), MissingError, "as things are .*billing is off"),
    "a long wait": (refused(429, "RESOURCE_EXHAUSTED", "x", "86400"), StageFailure, "asks to wait 86400 s"),
    "temperature": (bad("it has a temperature value of 7"), UsageError, "refuses temperature 0.7"),
    "top_p": (bad("wrong", "generation_config.top_p"), UsageError, "refuses topP 1.0"),
    "schema": (bad("The specified schema has too many states"), UsageError, "refuses the JSON schema"),
}


@pytest.mark.parametrize(("fault", "error", "words"), ENDS.values(), ids=ENDS.keys())
def test_what_every_request_would_meet_ends_the_stage_with_one_line(
    fault: Reply, error: type[Meds1Error], words: str, account: Path
) -> None:
    asked = [ask(request.id, {"type": "object"}) for request in requests(40)]
    with vertex(lambda *_: fault, account) as server:
        with pytest.raises(error, match=words) as caught:
            generate(server, asked, Sampling(24, temperature=0.7))
        assert len(server.bodies) <= 4
    assert f"{MODEL} in {LOCATION} of {PROJECT} at 127.0.0.1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_billing_that_is_taken_away_ends_the_stage_after_answers_too(account: Path) -> None:
    why = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "BILLING_DISABLED"}
    fault = refused(403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", details=[why])
    calls = itertools.count()
    with vertex(lambda body, before: fault if next(calls) else echo(body, before), account) as server:
        with pytest.raises(StageFailure, match=rf"of {PROJECT} at .*may spend no more .*see its billing account"):
            generate(server, requests(12), concurrency=1)
        assert len(server.bodies) == 2


def test_credentials_that_google_does_not_accept_end_the_stage_before_anything_is_asked(account: Path) -> None:
    denied = reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
    with vertex(echo, account, [denied] * 9) as server:
        with pytest.raises(MissingError, match=r"does not accept the credentials .*invalid_grant.*CREDENTIALS"):
            generate(server, requests(4))
        assert server.bodies == []


def test_a_token_that_expires_is_renewed(account: Path) -> None:
    # google-auth renews a token some minutes before its end, so that this one has ended when it comes.
    with vertex(echo, account, [token(1, "first")]) as server:
        assert len(generate(server, requests(3), concurrency=1)) == 3
    assert server.keys == ["Bearer first", *[f"Bearer {TOKEN}"] * 2]


def test_without_credentials_or_a_project_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, account: Path, tmp_path: Path
) -> None:
    nameless = tmp_path / "nameless.json"
    with vertex(echo, account):
        nameless.write_text(json.dumps({**json.loads(account.read_text()), "project_id": None}))
    no_project = EngineSpec("vertex", VertexModel(MODEL, None, LOCATION), 256)
    check_engine(no_project)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    check_engine(no_project)
    monkeypatch.setenv(CREDENTIALS, str(nameless))
    with pytest.raises(MissingError, match="set vertex_project"):
        check_engine(no_project)
    monkeypatch.setenv(CREDENTIALS, str(tmp_path / "none.json"))
    with pytest.raises(MissingError, match=r"needs Google credentials .*gcloud auth application-default login"):
        check_engine(spec(None))
    monkeypatch.delenv(CREDENTIALS)
    with pytest.raises(MissingError, match=r"needs Google credentials .*gcloud auth application-default login"):
        check_engine(spec(None))


def test_a_model_that_is_not_on_vertex_ai_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the entry a vertex_model"):
        check_engine(EngineSpec("vertex", tmp_path, 256))
    with pytest.raises(UsageError, match="base_url localhost:8000 is no address"):
        check_engine(spec("localhost:8000"))


def test_as_many_requests_as_allowed_are_on_their_way_and_never_more(account: Path) -> None:
    together = threading.Barrier(3)

    def script(body: Body, before: int) -> Reply:
        together.wait(60)  # breaks, and so fails the request, unless three are here
        return echo(body, before)

    with vertex(script, account) as server:
        assert all(g.error is None for g in generate(server, requests(6), concurrency=3))
        assert server.most_at_once == 3


def test_no_minute_sees_more_requests_than_allowed_and_tries_count(account: Path) -> None:
    flags = [StopFlag(), StopFlag()]

    def stop_soon(flag: StopFlag) -> None:
        threading.Timer(0.5, flag.handle, (signal.SIGTERM, None)).start()  # without a limit, all tries fit into it

    def script(body: Body, before: int) -> Reply:
        stop_soon(flags[0])
        return refused(500, "INTERNAL", "oh")

    with vertex(script, account) as server, open_engine(spec(server.url, per_minute=1)) as engine:
        with pytest.raises(StageStopped):
            list(engine.generate(requests(4), SAMPLING, flags[0]))
        assert len(server.bodies) == 1
        stop_soon(flags[1])
        with pytest.raises(StageStopped):  # the minute is not over with another call
            list(engine.generate(requests(4), SAMPLING, flags[1]))
        assert len(server.bodies) == 1


def test_requests_are_spaced_over_the_minute(account: Path) -> None:
    sent: list[float] = []

    def known(request: Request, index: int) -> None:
        sent.append(time.monotonic())  # called just before the request leaves

    with vertex(echo, account) as server, open_engine(spec(server.url, 8, per_minute=1200)) as engine:
        assert len(list(engine.generate(requests(8), SAMPLING, known=known))) == 8
    # Those that look, find nothing and leave are the only ones that look.
    assert len(sent) == 8
    assert all(later - earlier >= 60 / 1200 for earlier, later in pairwise(sent))


def test_a_known_answer_takes_no_turn(account: Path) -> None:
    theirs = {request.id: Generation(request.id, 0, "theirs", "stop", 7, 3) for request in requests(60)}
    with vertex(echo, account) as server, open_engine(spec(server.url, 8, per_minute=1)) as engine:
        got = engine.generate(requests(60), SAMPLING, known=lambda request, index: theirs[request.id])
        assert {g.id: g for g in got} == theirs  # not an hour later
        assert server.bodies == []


def test_known_answers_say_nothing_about_a_server_that_is_dead(account: Path) -> None:
    def known(request: Request, index: int) -> Generation | None:
        return Generation(request.id, index, "theirs", "stop", 7, 3) if request.id < "q40" else None

    answers: list[Generation] = []
    with vertex(lambda *_: refused(503, "UNAVAILABLE", "no backend"), account) as server:
        with (
            pytest.raises(StageFailure, match="20 requests in a row failed"),
            open_engine(spec(server.url, 8)) as engine,
        ):
            answers.extend(engine.generate(requests(60), SAMPLING, known=known))
        assert {g.text for g in answers} == {"theirs"}


def test_a_stop_in_the_middle_keeps_what_is_answered_and_the_rest_is_asked_later(
    account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "GRACE_S", 0.05)
    flag, released, journal = StopFlag(), threading.Event(), tmp_path / "answers.jsonl"
    calls = itertools.count()

    def script(body: Body, before: int) -> Reply:
        if next(calls) >= 4 and not released.is_set():
            flag.handle(signal.SIGTERM, None)
            released.wait(60)
        return echo(body, before)

    with vertex(script, account) as server:
        with pytest.raises(StageStopped, match="4 of 8 requests are answered"):
            generate_resumable(spec(server.url, 1), requests(8), SAMPLING, journal, flag)
        released.set()
        asked = len(server.bodies)
        got = generate_resumable(spec(server.url), requests(8), SAMPLING, journal)
        assert len(questions(server)[asked:]) == 4
    assert [g.text for g in got] == [f"answer to q{n:02}" for n in range(8)]


def test_a_server_that_is_not_there_or_goes_away_ends_the_stage(account: Path) -> None:
    with vertex(echo, account) as server, open_engine(spec(server.url)) as engine:
        assert len(list(engine.generate(requests(4), SAMPLING))) == 4
    with pytest.raises(StageFailure, match=r"is gone: .*run the stage again"):
        list(engine.generate(requests(8), SAMPLING))
    # The token comes from another place than the answers.
    with vertex(echo, account), pytest.raises(MissingError, match=r"cannot reach gemini-x .*vertex_location"):
        generate(server, requests(4))


def test_neither_the_log_nor_an_answer_holds_the_token(account: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "inference")
    with vertex(of("q01", refused(500, "INTERNAL", f"crashed for {TOKEN}")), account) as server:
        got = generate(server, requests(3))
    assert [str(g.error).count("<token>") for g in got if g.error] == [1]
    assert TOKEN not in caplog.text + str(got)


def test_an_answer_that_has_begun_is_refused_before_anything_is_asked(account: Path) -> None:
    begun = Request("q", ({"role": "user", "content": "q"},), continuation="<think>\nWait")
    with vertex(echo, account) as server:
        with pytest.raises(UsageError, match=r"gemini-x in .* cannot go on with an answer"):
            generate(server, [begun])
        assert server.bodies == []
