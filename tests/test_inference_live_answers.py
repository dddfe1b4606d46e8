"""Shared answers while several processes ask: each finds what another has finished, and reads no file twice."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from inference.answer_files import SharedAnswers, shared_answers
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling
from inference.journal import Asking, generate_resumable
from inference.spending import FREE, Purse
from registry.spending import spending_of
from registry.tail import NewLines
from tests.faults import Call, intercepted
from tests.faulty_server import Body, FaultyServer, Reply, completion, echo, question, serving

SAMPLING = Sampling(max_tokens=6)


def requests(count: int, first: int = 0) -> list[Request]:
    return [Request(f"q{n:02}", ({"role": "user", "content": f"q{n:02}"},)) for n in range(first, first + count)]


def spec_of(server: FaultyServer, concurrency: int = 1) -> EngineSpec:
    return EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY", concurrency), max_length=64)


def test_an_answer_that_another_process_finishes_meanwhile_is_not_paid_again(tmp_path: Path) -> None:
    """While one question is with the server, somebody else answers all others."""
    others: list[Generation] = []
    first = threading.Event()

    def script(body: Body, before: int) -> Reply:
        if not first.is_set():
            first.set()
            rest = [request for request in requests(9) if request.id != question(body)]
            others.extend(generate_resumable(other, rest, SAMPLING, shared_answers(other, tmp_path)))
            threading.Event().wait(0.3)  # a look at the files counts for 0.2 s
        return completion("theirs" if before else "ours")

    with serving(script) as server:
        spec = other = spec_of(server)
        store = shared_answers(spec, tmp_path)
        purse = Purse(tmp_path / "spending", "gpt", FREE)
        got = generate_resumable(spec, requests(9), SAMPLING, store, purse=purse)
        assert len(server.bodies) == 9  # eight of the other's, and the one that was on its way
    assert [answer.id for answer in got] == [f"q{n:02}" for n in range(9)]
    spending = spending_of(tmp_path)
    assert spending is not None
    assert (spending["calls"], spending["cached"]) == (1, 8)
    assert sorted(len(file.read_text().splitlines()) for file in store.place.glob("*.jsonl")) == [1, 8]
    assert len(others) == 8


def test_rounds_of_questions_read_only_what_is_new(tmp_path: Path) -> None:
    with serving(echo) as server:
        spec = spec_of(server, concurrency=4)
        store = shared_answers(spec, tmp_path)
        generate_resumable(spec, requests(20), SAMPLING, store)
        (old,) = store.place.glob("*.jsonl")
        opened: list[str] = []

        def noting(call: Call) -> object:
            if call.name == "open":
                opened.append(str(call.arguments[0]))
            return call.run()

        with Asking(spec, store) as asking:
            asking.ask(requests(20), SAMPLING)
            with intercepted(noting):
                for start in range(20, 30):
                    asking.ask(requests(1, start), SAMPLING)
        assert str(old) not in opened
        assert len(server.bodies) == 30


def test_lines_are_read_once_and_a_line_when_it_is_whole(tmp_path: Path) -> None:
    lines = NewLines(tmp_path / "later")
    assert list(lines.read()) == []
    (tmp_path / "later").mkdir()
    file = tmp_path / "later" / "b.jsonl"
    file.write_bytes(b"one\ntw")
    (tmp_path / "later" / "other.txt").write_text("no line of ours\n")
    assert [(line.offset, line.content) for line in lines.read()] == [(0, b"one\n")]
    (tmp_path / "later" / "a.jsonl").write_bytes(b"three\n")
    with file.open("ab") as more:
        more.write(b"o\n")
    assert [(line.file.name, line.offset, line.content) for line in lines.read()] == [
        ("a.jsonl", 0, b"three\n"),
        ("b.jsonl", 4, b"two\n"),
    ]
    assert list(lines.read()) == []


def test_a_file_that_is_gone_is_asked_again(tmp_path: Path) -> None:
    with serving(echo) as server:
        spec = spec_of(server)
        store = shared_answers(spec, tmp_path)
        generate_resumable(spec, requests(2), SAMPLING, store)
        with Asking(spec, store) as asking:
            asking.ask(requests(1), SAMPLING)
            for file in store.place.glob("*.jsonl"):
                file.unlink()
            assert [answer.text for answer in asking.ask(requests(2), SAMPLING)] == ["answer to q00", "answer to q01"]
        assert sorted(map(question, server.bodies)) == ["q00", "q01", "q01"]


def test_the_oldest_of_several_answers_counts_also_when_it_comes_to_light_last(tmp_path: Path) -> None:
    store = SharedAnswers(tmp_path, 64)
    lookup = store.read()
    line = {"request": "d", "id": "q", "index": 0, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    for name in ("2", "1"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**line, "text": name}) + "\n")
    assert lookup({"d"})["q", "d"][0].text == "1"
