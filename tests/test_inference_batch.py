"""The batch engine against a server that speaks OpenAI's batch API to OpenAI's own client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from curation.calls import called
from inference.batch_openai import OpenAIBatches
from inference.dialogue import Complaint, Query, converse
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling, open_engine
from inference.journal import Asking
from registry.catalog import ModelEntry
from registry.errors import Meds1Error, MissingError, StageFailure, StageStopped, UsageError
from registry.stopping import StopFlag
from tests.batch_server import Job, Vendor, openai_batches, stopped_while_waiting
from tests.faulty_server import Body, Reply, completion, echo, question, refusal
from tests.stages import make_context

KEY = "k-0123456789-secret"
SAMPLING = Sampling(max_tokens=24)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.setenv("LAB_KEY", KEY)
    with openai_batches(Vendor(), KEY) as served:
        yield served


def spec(vendor: Vendor, folder: Path) -> EngineSpec:
    return EngineSpec("openai", ApiModel("gpt-x", vendor.url, "LAB_KEY"), max_length=256, batch=folder / "batches")


def requests(count: int) -> list[Request]:
    return [Request(f"q{n:02}", ({"role": "user", "content": f"q{n:02}"},)) for n in range(count)]


def generate(
    vendor: Vendor, folder: Path, asked: list[Request], sampling: Sampling = SAMPLING, stop: StopFlag | None = None
) -> list[Generation]:
    with open_engine(spec(vendor, folder)) as engine:
        return sorted(engine.generate(asked, sampling, stop), key=lambda answer: (answer.id, answer.index))


def texts(answers: list[Generation]) -> dict[str, str]:
    return {answer.id: answer.text for answer in answers}


def right(count: int) -> dict[str, str]:
    return {f"q{n:02}": f"answer to q{n:02}" for n in range(count)}


def under_way(folder: Path) -> list[Path]:
    return sorted((folder / "batches").glob("*"))


def test_all_requests_go_in_one_batch_and_come_back_in_any_order(vendor: Vendor, tmp_path: Path) -> None:
    answers = generate(vendor, tmp_path, requests(6), Sampling(24, temperature=0.5, seed=1, n=2))
    assert [(answer.id, answer.index) for answer in answers] == [(f"q{n:02}", i) for n in range(6) for i in range(2)]
    assert answers[0] == Generation("q00", 0, "answer to q00", "stop", 7, 3)
    (job,) = vendor.jobs.values()
    assert {line["method"] for line in job.lines} == {"POST"}
    assert len({line["body"]["seed"] for line in job.lines}) == 12
    assert under_way(tmp_path) == []


def test_more_than_a_batch_may_hold_goes_in_several(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIBatches, "most_requests", 4)
    assert texts(generate(vendor, tmp_path, requests(10))) == right(10)
    assert [len(job.lines) for job in vendor.jobs.values()] == [4, 4, 2]
    line = len(json.dumps(vendor.jobs["batch-0"].lines[0])) + 1
    monkeypatch.setattr(OpenAIBatches, "most_bytes", 3 * line)
    again = [replace(one, id=f"{one.id}b") for one in requests(7)]
    assert len(generate(vendor, tmp_path, again)) == 7
    assert [len(job.lines) for job in vendor.jobs.values()][3:] == [3, 3, 1]


def test_lines_that_failed_are_sent_again_and_refused_ones_are_not(vendor: Vendor, tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        faults = {
            "q01": refusal(500, "oh"),
            "q02": refusal(400, "flagged by our policy"),
            "q03": refusal(429, "slow down"),
            "q04": completion(None, "content_filter"),
        }
        fault = faults.get(question(body))
        return fault if fault and (not before or question(body) == "q02") else echo(body, before)

    vendor.script = script
    answers = {answer.id: answer for answer in generate(vendor, tmp_path, requests(6))}
    assert [len(job.lines) for job in vendor.jobs.values()] == [6, 2]
    assert {name: answer.error for name, answer in answers.items() if answer.error} == {
        "q02": "HTTP 400: flagged by our policy",
        "q04": "the server withheld the answer (content_filter)",
    }
    assert (answers["q02"].finish_reason, answers["q03"].text) == ("error", "answer to q03")
    # The refused one is refused again by a later attempt, without another job.
    (again,) = generate(vendor, tmp_path, requests(3)[2:])
    assert again == answers["q02"]
    assert len(vendor.jobs) == 2


def test_a_line_that_never_succeeds_is_an_error_after_three_batches(vendor: Vendor, tmp_path: Path) -> None:
    vendor.script = lambda body, before: refusal(500, "oh") if question(body) == "q01" else echo(body, before)
    answers = generate(vendor, tmp_path, requests(3))
    assert [answer.error for answer in answers] == [None, "HTTP 500: oh", None]
    assert [len(job.lines) for job in vendor.jobs.values()] == [3, 1, 1]
    assert under_way(tmp_path) == []


def test_what_an_expired_batch_answered_is_used_and_the_rest_sent_again(vendor: Vendor, tmp_path: Path) -> None:
    def expire(job: Job) -> None:
        if not vendor.jobs:
            job.ends, job.answered = "expired", 4

    vendor.plan = expire
    assert texts(generate(vendor, tmp_path, requests(6))) == right(6)
    assert [len(job.lines) for job in vendor.jobs.values()] == [6, 2]
    assert set(vendor.asked.values()) == {1}


def test_results_that_the_vendor_has_removed_are_asked_for_again(vendor: Vendor, tmp_path: Path) -> None:
    vendor.held.set()
    stop = StopFlag()
    stop.handle(signal.SIGTERM, None)
    with pytest.raises(StageStopped):
        generate(vendor, tmp_path, requests(2), stop=stop)
    assert not vendor.jobs
    leave_while_waiting(vendor, tmp_path, 2)
    vendor.jobs.clear()
    vendor.held.clear()
    assert texts(generate(vendor, tmp_path, requests(2))) == right(2)


def leave_while_waiting(vendor: Vendor, folder: Path, count: int) -> StageStopped:
    """Ask, and stop when the batch has been looked at."""
    with stopped_while_waiting(vendor) as stop, pytest.raises(StageStopped) as stopped:
        generate(vendor, folder, requests(count), stop=stop)
    return stopped.value


def test_a_stopped_stage_leaves_its_batch_to_the_next_attempt(vendor: Vendor, tmp_path: Path) -> None:
    stopped = leave_while_waiting(vendor, tmp_path, 3)
    assert "the next attempt waits for them" in str(stopped)
    assert KEY not in under_way(tmp_path)[0].read_text()
    vendor.held.clear()
    # One more is asked for now: only that is sent.
    assert texts(generate(vendor, tmp_path, requests(4))) == right(4)
    assert [len(job.lines) for job in vendor.jobs.values()] == [3, 1]
    assert under_way(tmp_path) == []


CHILD = """
import sys
from pathlib import Path
from tests.test_inference_batch import Vendor, generate, requests
generate(Vendor(url=sys.argv[1]), Path(sys.argv[2]), requests(4))
"""


def child(vendor: Vendor, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, vendor.url, str(folder)], cwd=ROOT, env={**os.environ})


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
def test_a_batch_whose_creator_was_killed_before_it_knew_the_id_is_found(
    others: int, vendor: Vendor, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def kill(job: Job) -> None:
        ready.wait(60)
        started[0].kill()
        started[0].wait()

    vendor.created = kill
    started.append(child(vendor, tmp_path))
    ready.set()
    assert started[0].wait(60) == -signal.SIGKILL
    with vendor.lock:
        (record,) = under_way(tmp_path)
        assert json.loads(record.read_text())["job"] is None
        vendor.created = lambda job: None
        for number in range(others):  # newer ones of other people
            vendor.jobs[f"other-{number}"] = Job(f"other-{number}", "another", [])
    assert texts(generate(vendor, tmp_path, requests(4))) == right(4)
    assert len(vendor.jobs) == 1 + others
    assert under_way(tmp_path) == []


def test_a_kill_before_the_batch_is_created_costs_nothing_and_doubles_nothing(vendor: Vendor, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def kill(method: str, path: str) -> Reply | None:
        if (method, path) == ("POST", "/v1/batches"):
            ready.wait(60)
            started[0].kill()
            started[0].wait()
            return Reply(hang_up=True)
        return None

    vendor.before = kill
    started.append(child(vendor, tmp_path))
    ready.set()
    assert started[0].wait(60) == -signal.SIGKILL
    with vendor.lock:
        vendor.before = lambda method, path: None
    (record,) = under_way(tmp_path)
    # One of the four is not asked for any more.
    assert texts(generate(vendor, tmp_path, requests(3))) == right(3)
    (job,) = vendor.jobs.values()
    assert (job.tag, len(job.lines)) == (record.stem, 3)


def test_a_batch_whose_creator_was_killed_while_it_waited_is_waited_for(vendor: Vendor, tmp_path: Path) -> None:
    vendor.held.set()
    process = child(vendor, tmp_path)
    assert vendor.looked.wait(60)
    process.kill()
    process.wait()
    vendor.held.clear()
    assert texts(generate(vendor, tmp_path, requests(4))) == right(4)
    assert len(vendor.jobs) == 1


def test_an_answer_that_was_lost_on_the_way_makes_no_second_batch(vendor: Vendor, tmp_path: Path) -> None:
    lost = iter([True])

    def lose(job: Job) -> None:
        if next(lost, False):
            raise ConnectionError  # the handler ends: nothing is sent back

    vendor.created = lose
    assert texts(generate(vendor, tmp_path, requests(3))) == right(3)
    assert len(vendor.jobs) == 1


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/batches/batch-0", "/content"])
def test_a_fault_that_passes_costs_nothing(path: str, vendor: Vendor, tmp_path: Path) -> None:
    faults = iter([refusal(503, "busy", {"retry-after-ms": "20"}), refusal(429, "slow", {"retry-after-ms": "20"})])

    def fault(method: str, target: str) -> Reply | None:
        return next(faults, None) if target.partition("?")[0].endswith(path) else None

    vendor.before = fault
    assert texts(generate(vendor, tmp_path, requests(3))) == right(3)
    assert len(vendor.jobs) == 1
    assert next(faults, None) is None


def test_a_wrong_key_ends_the_stage_at_once(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", "wrong")
    with pytest.raises(MissingError, match="does not accept the key in LAB_KEY"):
        generate(vendor, tmp_path, requests(3))
    monkeypatch.setenv("LAB_KEY", KEY)
    assert texts(generate(vendor, tmp_path, requests(3))) == right(3)
    assert len(vendor.jobs) == 1


def test_a_server_without_a_batch_api_is_named(vendor: Vendor, tmp_path: Path) -> None:
    vendor.before = lambda method, path: refusal(404, "Not Found")
    with pytest.raises(MissingError, match=r"gpt-x at 127.0.0.1:.* has no batch API .*remove batch: true"):
        generate(vendor, tmp_path, requests(3))


ENDINGS: dict[str, tuple[Reply, type[Meds1Error], str]] = {
    "no money": (refusal(429, "quota", code="insufficient_quota"), StageFailure, "may spend no more"),
    "no model": (refusal(404, "no model gpt-x"), MissingError, "there is no gpt-x"),
    "a parameter": (refusal(400, "too warm", param="temperature"), UsageError, "refuses temperature"),
}


@pytest.mark.parametrize(("fault", "kind", "why"), ENDINGS.values(), ids=ENDINGS.keys())
def test_what_every_line_would_meet_ends_the_stage_after_the_answers_are_kept(
    fault: Reply, kind: type[Meds1Error], why: str, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.script = lambda body, before: fault if question(body) in ("q03", "q04") else echo(body, before)
    with pytest.raises(kind, match=why), Asking(spec(vendor, tmp_path), tmp_path / "answers.jsonl") as asking:
        asking.ask(requests(5), SAMPLING)
    vendor.script = echo
    with Asking(spec(vendor, tmp_path), tmp_path / "answers.jsonl") as asking:
        assert texts(asking.ask(requests(5), SAMPLING)) == right(5)
    assert [len(job.lines) for job in vendor.jobs.values()] == [5, 2]


def test_a_batch_that_fails_ends_the_stage_and_is_sent_anew_by_the_next(vendor: Vendor, tmp_path: Path) -> None:
    def fail(job: Job) -> None:
        job.ends, job.code, job.text = "failed", "invalid_json_line", f"no such model, says {KEY}"

    vendor.plan = fail
    with pytest.raises(StageFailure, match="batch batch-0 failed: no such model, says <LAB_KEY>"):
        generate(vendor, tmp_path, requests(2))
    vendor.plan = lambda job: None
    assert texts(generate(vendor, tmp_path, requests(2))) == right(2)
    assert len(vendor.jobs) == 2


def test_a_batch_that_a_person_cancelled_gives_what_it_has_and_ends_the_stage(vendor: Vendor, tmp_path: Path) -> None:
    def cancel(job: Job) -> None:
        job.ends, job.answered = "cancelled", 2

    vendor.plan = cancel
    kept = tmp_path / "answers.jsonl"
    with pytest.raises(StageFailure, match="failed: somebody has cancelled it; 1 requests without"):  # noqa: SIM117
        with Asking(spec(vendor, tmp_path), kept) as asking:
            asking.ask(requests(3), SAMPLING)
    vendor.plan = lambda job: None
    with Asking(spec(vendor, tmp_path), kept) as asking:
        assert texts(asking.ask(requests(3), SAMPLING)) == right(3)
    assert [len(job.lines) for job in vendor.jobs.values()] == [3, 1]


@pytest.mark.parametrize("full", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}], ids=str)
def test_a_batch_that_does_not_fit_the_queue_waits_for_the_others(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: set[int]
) -> None:
    monkeypatch.setattr(OpenAIBatches, "most_requests", 2)
    vendor.plan = lambda job: _full(job) if len(vendor.jobs) in full else None
    assert texts(generate(vendor, tmp_path, requests(6))) == right(6)
    assert set(vendor.asked.values()) == {1}
    assert len(vendor.jobs) == 3 + len(full)


def test_a_batch_that_does_not_fit_an_empty_queue_ends_the_stage(vendor: Vendor, tmp_path: Path) -> None:
    vendor.plan = _full
    with pytest.raises(StageFailure, match="Enqueued token limit reached; 4 requests without an answer"):
        generate(vendor, tmp_path, requests(4))
    assert len(vendor.jobs) == 2


def _full(job: Job) -> None:
    job.ends, job.code, job.text = "failed", "token_limit_exceeded", "Enqueued token limit reached"


def test_every_round_of_a_conversation_is_a_batch(vendor: Vendor, tmp_path: Path) -> None:
    vendor.script = lambda body, before: completion("four" if len(body["messages"]) == 1 else "4")

    def number(text: str) -> int:
        if not text.isdigit():
            raise Complaint("Write digits.")
        return int(text)

    queries = [Query(({"role": "user", "content": f"2 + 2, case {n}?"},), number) for n in range(3)]
    with Asking(spec(vendor, tmp_path), tmp_path / "answers.jsonl") as asking:
        assert [(reply.value, reply.tries) for reply in converse(asking, queries, SAMPLING, retries=2)] == [(4, 2)] * 3
    assert [len(job.lines) for job in vendor.jobs.values()] == [3, 3]


def test_a_curation_keeps_the_batches_of_a_model_in_its_run(vendor: Vendor, tmp_path: Path) -> None:
    labels = {"model_key": "gpt", "batch": True, "max_tokens": 24}
    context = make_context(tmp_path / "run", tmp_path, curation={"method": "random", "n_samples": 1, "labels": labels})
    entry = ModelEntry(api_model="gpt-x", base_url=vendor.url, api_key_env="LAB_KEY", max_length=256)
    context = replace(context, config=context.config.model_copy(update={"called_models": {"labels": entry}}))
    vendor.plan = lambda job: kept.extend(context.run_dir.glob("batches/labels/*.json"))
    kept: list[Path] = []
    for _ in range(2):  # the second time nothing is asked
        with called(context, "labels") as model:
            (reply,) = model.ask([Query(({"role": "user", "content": "which specialty?"},), str)])
        assert reply.value == "answer to which specialty?"
    (record,) = kept
    assert not record.exists()
    assert len(vendor.jobs) == 1


def test_batch_is_not_taken_away_while_a_batch_is_under_way(vendor: Vendor, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "batches" / "labels"

    def asking(batch: bool, stop: StopFlag | None = None, answers: int = 3) -> list[str | None]:
        labels = {"model_key": "gpt", "batch": batch, "max_tokens": 24}
        context = make_context(
            tmp_path / "run", tmp_path, curation={"method": "random", "n_samples": 1, "labels": labels}
        )
        entry = ModelEntry(api_model="gpt-x", base_url=vendor.url, api_key_env="LAB_KEY", max_length=256)
        config = context.config.model_copy(update={"called_models": {"labels": entry}})
        with called(replace(context, config=config, stop=stop or StopFlag()), "labels") as model:
            queries = [Query(({"role": "user", "content": f"q{n:02}"},), str) for n in range(answers)]
            return [reply.value for reply in model.ask(queries)]

    vendor.script = lambda body, before: refusal(400, "no") if question(body) == "q01" else echo(body, before)
    with stopped_while_waiting(vendor) as stop, pytest.raises(StageStopped):
        asking(batch=True, stop=stop)
    with pytest.raises(UsageError, match=rf"labels says batch no longer, .* 1 is under way \({folder}\)"):
        asking(batch=False)
    vendor.held.clear()
    assert asking(batch=True) == ["answer to q00", None, "answer to q02"]
    assert len(list(folder.iterdir())) == 1  # what was refused is no batch that is under way
    assert asking(batch=False, answers=1) == ["answer to q00"]


def test_a_record_that_is_none_is_named(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "x.json").write_text("{")
    with pytest.raises(StageFailure, match=r"x.json is no record of a batch"):
        generate(vendor, tmp_path, requests(1))


def test_where_ids_cannot_be_kept_nothing_is_sent(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "batches").write_text("no folder")
    with pytest.raises(StageFailure, match="the ids of batches cannot be kept here"):
        generate(vendor, tmp_path, requests(1))
    assert not vendor.files


def test_a_field_that_the_model_does_not_know_is_left_out_of_the_next_batch(vendor: Vendor, tmp_path: Path) -> None:
    said = refusal(400, "Unsupported parameter: 'max_completion_tokens'", param="max_completion_tokens")
    vendor.script = lambda body, before: said if "max_completion_tokens" in body else echo(body, before)
    assert texts(generate(vendor, tmp_path, requests(2))) == right(2)
    assert [line["body"]["max_tokens"] for line in vendor.jobs["batch-1"].lines] == [24, 24]


def test_what_another_process_knows_is_not_sent(vendor: Vendor, tmp_path: Path) -> None:
    theirs = Generation("q01", 0, "theirs", "stop", 7, 3)
    with open_engine(spec(vendor, tmp_path)) as engine:
        known = engine.generate(requests(2), SAMPLING, None, lambda request, _: theirs if request.id == "q01" else None)
        assert texts(list(known)) == {"q00": "answer to q00", "q01": "theirs"}
    assert vendor.questions == {"q00": 1}


def test_an_answer_in_rounds_is_refused(vendor: Vendor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot go on with an answer that has begun"):
        generate(vendor, tmp_path, requests(1), replace(SAMPLING, turn_tokens=8))
