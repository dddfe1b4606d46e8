"""Questions asked again with the complaint: what is sent, what is repaired, what is given up, and a resume."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from inference.answer_files import shared_answers
from inference.dialogue import Complaint, Query, Reply, converse
from inference.engine import ApiModel, EngineSpec, Sampling
from inference.journal import Asking
from tests.faults import FORK
from tests.faulty_server import Body, FaultyServer, Script, completion, question, refusal, serving
from tests.faulty_server import Reply as Sent

SAMPLING = Sampling(max_tokens=100)
GOOD = '{"number": 7}'


def number(text: str) -> int:
    """What the tests' questions ask for."""
    try:
        found = json.loads(text)["number"]
    except (ValueError, KeyError, TypeError):
        raise Complaint("This is no JSON object with a number.") from None
    if not isinstance(found, int):
        raise Complaint("The number is no integer.")
    return found


def query(text: str) -> Query[int]:
    return Query(({"role": "system", "content": "Be brief."}, {"role": "user", "content": text}), number)


def spec_of(server: FaultyServer) -> EngineSpec:
    return EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY", concurrency=4), max_length=512)


def ask(script: Script, folder: Path, *texts: str, retries: int = 2) -> tuple[list[Reply[int]], list[Body]]:
    """The replies, and what was sent for them."""
    with serving(script) as server:
        spec = spec_of(server)
        with Asking(spec, shared_answers(spec, folder)) as asking:
            return converse(asking, [query(text) for text in texts], SAMPLING, retries), server.bodies


def first_then(first: Sent, second: str = GOOD) -> Script:
    """A server that answers a question with `first`, and with `second` when it is asked again."""
    return lambda body, before: first if body["messages"][-1]["content"] == "How many?" else completion(second)


BAD = {
    "not JSON": (completion("Seven."), "This is no JSON object with a number."),
    "another JSON": (completion('{"number": "7"}'), "The number is no integer."),
    "empty": (completion(""), "The answer was empty."),
    "null": (completion(None), "The answer was empty."),
    "thinking alone": (completion("<think>\nSeven?\n</think>\n"), "The answer was empty."),
    "an empty fence": (completion("```json\n\n```"), "The answer was empty."),
    "cut off": (completion('{"number": ', "length"), "The answer was cut off at 100 tokens."),
    "the question": (completion("How many?"), "This is no JSON object with a number."),
}


@pytest.mark.parametrize(("bad", "complaint"), BAD.values(), ids=BAD.keys())
def test_an_answer_that_does_not_pass_is_asked_again_with_the_complaint(
    bad: Sent, complaint: str, tmp_path: Path
) -> None:
    (reply,), (first, second) = ask(first_then(bad), tmp_path, "How many?")
    assert reply == Reply(7, tries=2)
    assert second["messages"][0] == first["messages"][0]
    assert second["messages"][1]["content"].startswith("How many?")
    assert complaint in question(second)


GOOD_ONES = (
    f"```json\r\n{GOOD}\r\n```",
    f"```json \n{GOOD}\n```",
    f"```json\n{GOOD}\n```",
    f"```\n{GOOD}```",
    f"<think>\nHm.\n</think>\n\n{GOOD}",
    f"\n {GOOD}\n",
    GOOD,
)


@pytest.mark.parametrize("text", GOOD_ONES)
def test_fences_thinking_and_blanks_around_an_answer_are_no_fault(text: str, tmp_path: Path) -> None:
    replies, bodies = ask(lambda body, before: completion(text), tmp_path, "How many?")
    assert replies == [Reply(7, tries=1)]
    assert len(bodies) == 1


def test_a_conversation_holds_the_question_the_last_answer_and_the_last_complaint(tmp_path: Path) -> None:
    answers = iter(("first", "second", "third", GOOD))
    (reply,), bodies = ask(lambda body, before: completion(next(answers)), tmp_path, "How many?", retries=3)
    assert reply == Reply(7, tries=4)
    roles = [[turn["role"] for turn in body["messages"]] for body in bodies]
    assert roles == [["system", "user"]] + [["system", "user", "assistant", "user"]] * 3
    assert [body["messages"][2]["content"] for body in bodies[1:]] == ["first", "second", "third"]
    assert all(body["messages"][1]["content"] == "How many?" for body in bodies)


def test_an_answer_without_end_or_text_is_not_repeated_to_the_model(tmp_path: Path) -> None:
    for bad in (completion("one two three", "length"), completion("")):
        _, (_, second) = ask(first_then(bad), tmp_path / str(len(bad.content)), "How many?")
        assert [turn["role"] for turn in second["messages"]] == ["system", "user"]


def test_what_never_passes_is_given_up_with_the_last_complaint(tmp_path: Path) -> None:
    replies, bodies = ask(lambda body, before: completion("No."), tmp_path, "How many?")
    assert replies == [Reply(None, tries=3, complaint="This is no JSON object with a number.")]
    assert len(bodies) == 3


def test_a_model_that_repeats_itself_is_asked_in_other_words_each_time(tmp_path: Path) -> None:
    _, bodies = ask(lambda body, before: completion("No."), tmp_path, "How many?", retries=3)
    assert len({question(body) for body in bodies}) == 4


def test_a_call_that_fails_is_not_asked_again_and_costs_only_itself(tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Sent:
        return refusal(400, "no such thing") if question(body) == "broken" else completion(GOOD)

    replies, bodies = ask(script, tmp_path, "broken", "How many?")
    assert [reply.value for reply in replies] == [None, 7]
    assert replies[0].tries == 1
    assert "no such thing" in str(replies[0].complaint)
    assert len(bodies) == 2


def test_equal_questions_are_asked_once_in_every_round_and_all_are_replied_to(tmp_path: Path) -> None:
    replies, bodies = ask(first_then(completion("No.")), tmp_path, "How many?", "Else?", "How many?")
    assert [reply.tries for reply in replies] == [2, 1, 2]
    assert [reply.value for reply in replies] == [7, 7, 7]
    assert len(bodies) == 3


def test_no_question_is_no_call(tmp_path: Path) -> None:
    assert ask(lambda body, before: completion(GOOD), tmp_path) == ([], [])


QUESTIONS = [f"q{n}" for n in range(12)]


def test_a_kill_in_the_second_round_costs_only_what_was_on_its_way(tmp_path: Path) -> None:
    held, arrived = threading.Event(), threading.Semaphore(0)
    asked_again: Counter[str] = Counter()

    def script(body: Body, before: int) -> Sent:
        if len(body["messages"]) == 2:
            return completion("No.")
        asked_again[body["messages"][1]["content"]] += 1
        if sum(asked_again.values()) > 6 and not held.is_set():
            arrived.release()
            held.wait(60)
        return completion(GOOD)

    def run(url: str) -> list[Reply[int]]:
        spec = EngineSpec("openai", ApiModel("gpt-x", url, "LAB_KEY", concurrency=2), max_length=512)
        with Asking(spec, shared_answers(spec, tmp_path)) as asking:
            return converse(asking, [query(text) for text in QUESTIONS], SAMPLING, retries=2)

    with serving(script) as server:
        process = FORK.Process(target=run, args=(server.url,))
        process.start()
        for _ in range(2):
            arrived.acquire()
        while sum(file.read_bytes().count(b"\n") for file in tmp_path.glob("answers/*/*.jsonl")) < 18:
            assert process.is_alive()
            time.sleep(0.01)  # what is answered is kept a little later
        process.kill()
        process.join()
        held.set()
        before = len(server.bodies)
        assert [reply.value for reply in run(server.url)] == [7] * 12
        again = server.bodies[before:]
    assert all(len(body["messages"]) == 4 for body in again)  # the first round is not asked again
    assert len(again) == 6  # of the second round six were answered
