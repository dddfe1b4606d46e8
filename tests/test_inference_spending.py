"""What model calls cost: every paid answer is counted, whatever becomes of its process, and `max_cost` is kept."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inference.answer_files import shared_answers
from inference.engine import ApiModel, EngineSpec, Request, Sampling
from inference.journal import Asking, generate_resumable
from inference.spending import FREE, Purse
from registry.catalog import Prices
from registry.errors import StageFailure, UsageError
from registry.spending import Spent, spending_of, told
from tests.faults import FORK
from tests.faulty_server import Body, FaultyServer, Reply, Script, completion, echo, question, refusal, reply, serving
from tests.tiny import make_tiny_model

SAMPLING = Sampling(max_tokens=10)
# An answer of `completion` has 7 tokens of prompt and 3 of answer: 7 + 6 = 13 millionths of this.
PRICES = Prices(input=1e5, output=2e5)
COST = 1.3


def requests(count: int, first: int = 0) -> list[Request]:
    return [Request(f"q{n:03}", ({"role": "user", "content": f"q{n:03}"},)) for n in range(first, first + count)]


@contextmanager
def spec_of(script: Script = echo, concurrency: int = 4) -> Iterator[tuple[EngineSpec, FaultyServer]]:
    with serving(script) as server:
        yield EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY", concurrency), max_length=512), server


def purse(run_dir: Path, key: str = "gpt", prices: Prices | None = PRICES, **more: float | bool) -> Purse:
    return Purse(run_dir / "spending", key, prices, **more)  # type: ignore[arg-type]


def test_paid_and_cached_answers_are_summed_over_attempts_and_models(tmp_path: Path) -> None:
    with spec_of() as (spec, server):
        store = shared_answers(spec, tmp_path)
        generate_resumable(spec, requests(2), SAMPLING, store, purse=purse(tmp_path / "sibling"))
        for _ in range(3):  # two requeues find what the first attempt has paid
            generate_resumable(spec, requests(5), SAMPLING, store, purse=purse(tmp_path / "run"))
        generate_resumable(spec, requests(1, 9), SAMPLING, store, purse=purse(tmp_path / "run", "other", batch=True))
        assert len(server.bodies) == 6
    spending = spending_of(tmp_path / "run")
    assert spending is not None
    gpt = {"calls": 3, "cached": 2, "prompt_tokens": 21, "completion_tokens": 9, "cost": 3.9}
    half = {"calls": 1, "cached": 0, "prompt_tokens": 7, "completion_tokens": 3, "cost": 0.65}
    assert spending["models"] == {"gpt": gpt, "other": half}
    assert {key: spending[key] for key in gpt} == {key: pytest.approx(gpt[key] + half[key]) for key in gpt}
    assert told(spending) == "$4.55 in 4 calls, 2 from the cache"


def test_a_price_that_is_missing_is_an_unknown_sum_and_a_model_of_ones_own_costs_nothing(tmp_path: Path) -> None:
    with spec_of() as (spec, _):
        generate_resumable(spec, requests(2), SAMPLING, tmp_path / "a", purse=purse(tmp_path, prices=None))
    tiny = EngineSpec("transformers", make_tiny_model(tmp_path / "tiny"), max_length=64)
    asked = [*requests(2), Request("long", ({"role": "user", "content": "word " * 99},))]
    generate_resumable(tiny, asked, SAMPLING, tmp_path / "b", purse=purse(tmp_path, "tiny", FREE, max_cost=0.01))
    spending = spending_of(tmp_path)
    assert spending is not None
    assert (spending["cost"], spending["models"]["gpt"]["cost"], spending["models"]["tiny"]["cost"]) == (None, None, 0)
    assert spending["models"]["tiny"]["calls"] == 2  # and not the one without an answer
    assert told(spending) == "an unknown sum in 4 calls, 0 from the cache"


def test_no_model_was_asked(tmp_path: Path) -> None:
    assert spending_of(tmp_path) is None


def test_only_what_was_paid_counts_withheld_answers_too(tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        if question(body) == "q001":
            return completion("", "content_filter")
        return refusal(400, "no") if question(body) == "q002" else echo(body, before)

    with spec_of(script) as (spec, _):
        generate_resumable(spec, requests(3), SAMPLING, tmp_path / "answers", purse=purse(tmp_path))
    spending = spending_of(tmp_path)
    assert spending is not None
    assert (spending["calls"], spending["cost"]) == (2, 2.6)


def test_answers_that_cannot_be_read_are_paid_for_and_keep_the_limit(tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        return completion("half", "abort") if question(body) == "q001" else echo(body, before)

    with spec_of(script) as (spec, _):
        got = generate_resumable(spec, requests(3), SAMPLING, tmp_path / "a", purse=purse(tmp_path / "all"))
        assert [answer.finish_reason for answer in got] == ["stop", "error", "stop"]
    spending = spending_of(tmp_path / "all")
    assert spending is not None
    assert (spending["calls"], spending["completion_tokens"], spending["cost"]) == (2 + 3, 15, 6.5)
    # Each of these may cost $3 and is paid for three times: what was put aside for the first try is gone by then.
    with (
        spec_of(lambda body, before: completion("half", "abort")) as (spec, _),
        pytest.raises(StageFailure, match=r"of \$10.00 is spent"),
    ):
        generate_resumable(spec, requests(9), SAMPLING, tmp_path / "b", purse=purse(tmp_path / "x", max_cost=10.0))
    spending = spending_of(tmp_path / "x")
    assert spending is not None
    assert 10 - 3 < spending["cost"] <= 10


def ask_forever(url: str, folder: Path) -> None:
    spec = EngineSpec("openai", ApiModel("gpt-x", url, "LAB_KEY", 2), max_length=512)
    generate_resumable(spec, requests(1000), SAMPLING, shared_answers(spec, folder), purse=purse(folder))


def test_what_a_killed_attempt_has_paid_is_counted_and_a_torn_line_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(echo) as server:
        process = FORK.Process(target=ask_forever, args=(server.url, tmp_path))
        process.start()
        while sum(file.read_bytes().count(b"\n") for file in tmp_path.glob("spending/*.jsonl")) < 20:
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
        (kept,) = (tmp_path / "answers").glob("*/*.jsonl")
        answers = kept.read_bytes().count(b"\n")
        (ledger,) = (tmp_path / "spending").iterdir()
        with ledger.open("ab") as file:
            file.write(Spent("gpt", "torn").line()[:-5])
        spending = spending_of(tmp_path)
        assert spending is not None
        assert answers <= spending["calls"] <= len(server.bodies)
        assert spending["calls"] >= 20
        with ledger.open("ab") as file:
            file.write(b"\n")
        with caplog.at_level(logging.WARNING):
            assert spending_of(tmp_path) == spending
        assert "a line does not say what was spent" in caplog.text


def test_a_limit_without_prices_is_refused(tmp_path: Path) -> None:
    with spec_of() as (spec, server):
        with pytest.raises(UsageError, match=r"max_cost 5 cannot be kept: the catalog has no prices for gpt; give"):
            Asking(spec, tmp_path / "answers", purse=purse(tmp_path, prices=None, max_cost=5.0))
        assert server.bodies == []


def test_what_certainly_costs_too_much_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    # A word is at least one token: $0.10 for each prompt. In a batch the worst counts: 2 + 8 tokens, 10 out.
    with spec_of() as (spec, server):
        for batch, limit, said in (
            (False, 9.9, r"gpt: 100 answers would cost at the least, the answers not counted, \$10.00"),
            (True, 149.0, r"gpt: 100 answers would cost at worst \$150.00 .*; \$0.00 is spent already, max_cost is"),
        ):
            few = purse(tmp_path, max_cost=limit, batch=batch)
            with pytest.raises(UsageError, match=said):
                generate_resumable(spec, requests(100), SAMPLING, tmp_path / "answers", purse=few)
        assert server.bodies == []
    assert spending_of(tmp_path) is None


def test_a_script_with_many_bytes_for_a_token_is_not_refused_for_what_it_does_not_cost(tmp_path: Path) -> None:
    hindi = "तीव्र हृदयाघात उच्चरक्तचाप मधुमेह"  # four words, 93 bytes, and seven tokens as the server counts
    asked = [Request(f"q{n}", ({"role": "user", "content": hindi},)) for n in range(10)]
    enough = purse(tmp_path, prices=Prices(input=1e5, output=0.0), max_cost=15.0)
    with spec_of() as (spec, _):
        answers = generate_resumable(spec, asked, SAMPLING, tmp_path / "a", purse=enough)
    assert all(answer.text for answer in answers)
    spending = spending_of(tmp_path)
    assert spending is not None
    assert spending["cost"] == pytest.approx(7.0)


def test_never_more_is_spent_than_the_limit_and_the_rest_is_paid_after_it_is_raised(tmp_path: Path) -> None:
    # The worst that a request may cost is 10 tokens of prompt and 10 of answer: $3.
    with spec_of(concurrency=8) as (spec, server):
        store = shared_answers(spec, tmp_path)
        with pytest.raises(StageFailure, match=r"gpt: \$\d+.\d\d of \$20.00 is spent; \d+ answers are missing"):
            generate_resumable(spec, requests(40), SAMPLING, store, purse=purse(tmp_path, max_cost=20.0))
        spending = spending_of(tmp_path)
        assert spending is not None
        assert 20 - 3 < spending["cost"] <= 20
        assert len(server.bodies) == spending["calls"] == 14  # 13 leave 3.1 and 14 leave 1.8
        generate_resumable(spec, requests(40), SAMPLING, store, purse=purse(tmp_path, max_cost=60.0))
        assert len(server.bodies) == 40
    spending = spending_of(tmp_path)
    assert spending is not None
    assert (spending["calls"], spending["cached"], spending["cost"]) == (40, 0, 52.0)


def test_a_round_that_turns_out_too_dear_ends_early(tmp_path: Path) -> None:
    with (
        spec_of() as (spec, server),
        pytest.raises(StageFailure, match=r"of \$150.00 is spent; the \d+ answers that are missing would cost about"),
    ):
        generate_resumable(spec, requests(200), SAMPLING, tmp_path / "a", purse=purse(tmp_path, max_cost=150.0))
    assert 50 <= len(server.bodies) <= 70  # with what was admitted before the fiftieth was paid


def test_what_other_processes_have_spent_counts(tmp_path: Path) -> None:
    with spec_of() as (spec, server), Asking(spec, tmp_path / "a", purse=purse(tmp_path, max_cost=20.0)) as asking:
        (tmp_path / "spending").mkdir()
        (tmp_path / "spending" / "0.jsonl").write_bytes(Spent("other", "x", 1, 1, 18.0).line())
        with pytest.raises(StageFailure, match=r"gpt: \$18.00 of \$20.00 is spent"):
            asking.ask(requests(3), SAMPLING)
        assert server.bodies == []


def test_requests_that_fail_do_not_hold_the_money_for_ever(tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        return refusal(400, "no") if int(question(body)[1:]) < 30 else echo(body, before)

    with spec_of(script, concurrency=16) as (spec, _):
        got = generate_resumable(spec, requests(45), SAMPLING, tmp_path / "a", purse=purse(tmp_path, max_cost=30.0))
    assert sum(answer.finish_reason == "error" for answer in got) == 30


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 7}])
def test_a_server_that_counts_no_tokens_cannot_keep_a_limit(usage: dict[str, int] | None, tmp_path: Path) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    with spec_of(lambda body, before: reply({"choices": [choice], "usage": usage})) as (spec, server):
        with pytest.raises(StageFailure, match="gpt: its server does not say how many tokens an answer took"):
            generate_resumable(spec, requests(1), SAMPLING, tmp_path / "a", purse=purse(tmp_path, max_cost=9.0))
        generate_resumable(spec, requests(2), SAMPLING, tmp_path / "a", purse=purse(tmp_path))
        assert len(server.bodies) == 2  # the one that ended the stage is kept
    spending = spending_of(tmp_path)
    assert spending is not None
    assert (spending["calls"], spending["cost"]) == (1, None)


def test_a_place_where_nothing_can_be_noted_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "spending").write_text("a file in the folder's place")
    with (
        spec_of() as (spec, _),
        pytest.raises(StageFailure, match=r"what is spent cannot be noted here \(Not a directory\)"),
    ):
        generate_resumable(spec, requests(1), SAMPLING, tmp_path / "a", purse=purse(tmp_path))


def test_the_progress_says_what_is_spent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with spec_of() as (spec, _):
        generate_resumable(spec, requests(2), SAMPLING, tmp_path / "a", purse=purse(tmp_path, max_cost=9.0))
        generate_resumable(spec, requests(4), SAMPLING, tmp_path / "a", purse=purse(tmp_path))
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("tokens/s, $2.60 of $9.00")
    assert second.endswith("tokens/s, $5.20")


def test_the_lines_are_plain_json(tmp_path: Path) -> None:
    with spec_of() as (spec, _):
        generate_resumable(spec, requests(1), SAMPLING, tmp_path / "a", purse=purse(tmp_path))
    (ledger,) = (tmp_path / "spending").iterdir()
    line = json.loads(ledger.read_text())
    assert (line["model"], line["prompt_tokens"], line["completion_tokens"]) == ("gpt", 7, 3)
    assert (line["cost"], line["cached"]) == (COST, False)
