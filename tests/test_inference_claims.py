"""Processes that ask the same at the same time share it: what one of them is asking, the others wait for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.answer_files import shared_answers
from inference.claims import Claims
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling
from inference.journal import generate_resumable
from tests.faulty_server import Body, Reply, completion, question, refusal, serving

SLOW_S = 0.3


def nothing() -> None:
    """No answers to look at."""


def claims(folder: Path) -> Claims:
    return Claims(folder / "claims", nothing)


def test_what_is_claimed_is_nobody_elses_until_it_is_given_up(tmp_path: Path) -> None:
    with claims(tmp_path) as one, claims(tmp_path) as two:
        assert one.take("a")
        assert one.take("a")
        assert two.take("b")
        assert not two.take("a")
        one.give_up("a")
        assert two.take("a")
        assert not one.take("a")


def test_claims_end_with_their_round(tmp_path: Path) -> None:
    with claims(tmp_path) as two:
        with claims(tmp_path) as one:
            assert one.take("a")
            assert not two.take("a")
        assert two.take("a")
    assert list((tmp_path / "claims").iterdir()) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from inference.claims import Claims
claims = Claims(Path(sys.argv[1]) / "claims", lambda: None).__enter__()
assert claims.take("a")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_claims_of_a_killed_process_do_not_count(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    (left,) = (tmp_path / "claims").iterdir()
    assert b'"take": "a"' in left.read_bytes()
    with claims(tmp_path) as other:
        assert other.take("a")
    assert not left.exists()


def test_a_process_of_another_host_is_alive_as_long_as_it_gives_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "claims").mkdir()
    far = {"identity": {"host": "far away", "pid": 1, "start": "x"}}
    (tmp_path / "claims" / "0-far.jsonl").write_text(json.dumps(far) + '\n{"take": "a"}\n{"take": "b"')
    with claims(tmp_path) as here:
        assert not here.take("a")
        assert here.take("b"), "a line that is not whole claims nothing"
        monkeypatch.setattr("inference.claims._SILENT_S", 0.0)
        time.sleep(0.01)
        assert here.take("a")


def test_where_no_claim_can_be_kept_all_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "claims").write_text("a file")
    with caplog.at_level(logging.WARNING), claims(tmp_path) as here:
        assert here.take("a")
    assert "what is being asked cannot be noted" in caplog.text


def ask(url: str, folder: Path, count: int) -> list[Generation]:
    model = ApiModel("m", url, "NO_SUCH_API_KEY", concurrency=4)
    spec = EngineSpec("openai", model, max_length=4096)
    requests = [Request(f"q{n}", ({"role": "user", "content": f"question {n}"},)) for n in range(count)]
    return generate_resumable(spec, requests, Sampling(16), shared_answers(spec, folder))


def test_two_that_ask_the_same_at_once_pay_once(tmp_path: Path) -> None:
    def slow(body: Body, _before: int) -> Reply:
        time.sleep(SLOW_S)
        return completion(f"answer to {question(body)}")

    with serving(slow) as server, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: ask(server.url, tmp_path, 12), range(3)))
    assert sorted(server.questions) == sorted(f"question {n}" for n in range(12))
    for found in answers:
        assert [answer.text for answer in found] == [f"answer to question {n}" for n in range(12)]


def test_what_one_could_not_get_the_other_asks_itself(tmp_path: Path) -> None:
    def refusing(body: Body, before: int) -> Reply:
        time.sleep(SLOW_S)
        return refusal(400, "this prompt is not liked") if before == 0 else completion("well then")

    with serving(refusing) as server, ThreadPoolExecutor(2) as pool:
        answers = [found[0] for found in pool.map(lambda _: ask(server.url, tmp_path, 1), range(2))]
    assert sorted(answer.finish_reason for answer in answers) == ["error", "stop"]
    assert len(server.questions) == 2
