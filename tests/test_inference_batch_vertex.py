"""Batch prediction on Vertex AI: Google's own clients against a server that speaks its HTTP and Cloud Storage's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.engine import EngineSpec, Generation, Request, Sampling, VertexModel, open_engine
from registry.errors import Meds1Error, MissingError, StageFailure, StageStopped, UsageError
from registry.stopping import StopFlag
from tests.batch_server import Job, Vendor, stopped_while_waiting
from tests.faulty_server import Body, Reply
from tests.vertex_batch_server import BUCKET, vertex_batches
from tests.vertex_server import LOCATION, MODEL, TOKEN, content, echo, question, refused, service_account

SAMPLING = Sampling(max_tokens=24)
ROOT = Path(__file__).resolve().parents[1]
PLACE = f"gs://{BUCKET}/team/batches/"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return service_account(tmp_path_factory.mktemp("account"))


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, account: Path, tmp_path: Path) -> Iterator[Vendor]:
    with vertex_batches(Vendor(script=echo)) as served:
        account.write_text(json.dumps({**json.loads(account.read_text()), "token_uri": f"{served.url}/token"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        yield served


def generate(
    vendor: Vendor, folder: Path, asked: list[Request], stop: StopFlag | None = None, bucket: str | None = PLACE
) -> list[Generation]:
    model = VertexModel(MODEL, None, LOCATION, vendor.url, bucket=bucket)
    with open_engine(EngineSpec("vertex", model, max_length=256, batch=folder / "batches")) as engine:
        return sorted(engine.generate(asked, SAMPLING, stop), key=lambda answer: answer.id)


def requests(count: int) -> list[Request]:
    return [Request(f"q{n:02}", ({"role": "user", "content": f"q{n:02}"},)) for n in range(count)]


def texts(answers: list[Generation]) -> dict[str, str]:
    return {answer.id: answer.text for answer in answers}


def right(count: int) -> dict[str, str]:
    return {f"q{n:02}": f"answer to q{n:02}" for n in range(count)}


def test_a_batch_goes_through_the_bucket_and_comes_back_in_any_order(vendor: Vendor, tmp_path: Path) -> None:
    answers = generate(vendor, tmp_path, requests(5))
    assert texts(answers) == right(5)
    assert answers[0] == Generation("q00", 0, "answer to q00", "stop", 7, 3)
    (job,) = vendor.jobs.values()
    assert len(job.lines) == 5
    assert all(name.startswith(f"team/batches/{job.tag}/") for name in vendor.files)
    assert list((tmp_path / "batches").glob("*")) == []


def test_lines_that_failed_are_sent_again_and_refused_ones_are_not(vendor: Vendor, tmp_path: Path) -> None:
    def script(body: Body, before: int) -> Reply:
        faults = {
            "q01": refused(429, "RESOURCE_EXHAUSTED", "slow down"),
            "q02": refused(400, "INVALID_ARGUMENT", "the prompt is too long"),
            "q03": content(ended="SAFETY"),
        }
        fault = faults.get(question(body))
        return fault if fault and (not before or question(body) == "q02") else echo(body, before)

    vendor.script = script
    answers = {answer.id: answer for answer in generate(vendor, tmp_path, requests(5))}
    assert [len(job.lines) for job in vendor.jobs.values()] == [5, 1]
    assert {name for name, answer in answers.items() if answer.error} == {"q02", "q03"}
    assert "the prompt is too long" in str(answers["q02"].error)
    assert answers["q01"].text == "answer to q01"


@pytest.mark.parametrize("ends", ["expired", "partially_succeeded"])
def test_what_a_batch_that_ended_early_answered_is_used(ends: str, vendor: Vendor, tmp_path: Path) -> None:
    def cut(job: Job) -> None:
        if not vendor.jobs:
            job.ends, job.answered = ends, 3

    vendor.plan = cut
    assert texts(generate(vendor, tmp_path, requests(5))) == right(5)
    assert [len(job.lines) for job in vendor.jobs.values()] == [5, 2]


@pytest.mark.parametrize("ends", ["failed", "cancelled"])
def test_a_batch_that_failed_ends_the_stage(ends: str, vendor: Vendor, tmp_path: Path) -> None:
    def fail(job: Job) -> None:
        job.ends, job.answered, job.text = ends, 0, "the service agent may not read the bucket"

    vendor.plan = fail
    with pytest.raises(StageFailure, match="failed: the service agent may not read the bucket; 2 requests"):
        generate(vendor, tmp_path, requests(2))
    vendor.plan = lambda job: None
    assert texts(generate(vendor, tmp_path, requests(2))) == right(2)


_NO = refused(403, "PERMISSION_DENIED", "no")
ENDS: dict[str, tuple[str, Reply, type[Meds1Error], str]] = {
    "no bucket": ("/upload", refused(404, "NOT_FOUND", "no bucket"), MissingError, "vertex_bucket"),
    "a bucket of others": (
        "/upload",
        _NO,
        MissingError,
        "roles/storage.objectAdmin",
    ),
    "no rights": (
        "/v1beta1",
        _NO,
        MissingError,
        "roles/aiplatform.user",
    ),
    "no model": ("/v1beta1", refused(404, "NOT_FOUND", "no model"), MissingError, "vertex_model"),
    "a token that is not accepted": ("/upload", refused(401, "UNAUTHENTICATED", TOKEN), MissingError, "credentials"),
    "a bad request": ("/v1beta1", refused(400, "INVALID_ARGUMENT", "bad"), StageFailure, "refuses the batch"),
}


@pytest.mark.parametrize(("where", "fault", "kind", "why"), ENDS.values(), ids=ENDS.keys())
def test_what_every_batch_would_meet_ends_the_stage(
    where: str, fault: Reply, kind: type[Meds1Error], why: str, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.before = lambda method, path: fault if path.startswith(where) else None
    with pytest.raises(kind, match=why) as raised:
        generate(vendor, tmp_path, requests(2))
    assert TOKEN not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not vendor.jobs


@pytest.mark.parametrize("where", ["/v1beta1", "/storage", "/download"])
def test_a_fault_that_passes_costs_nothing(where: str, vendor: Vendor, tmp_path: Path) -> None:
    faults = iter([refused(503, "UNAVAILABLE", "busy"), refused(429, "RESOURCE_EXHAUSTED", "slow")])
    vendor.before = lambda method, path: next(faults, None) if path.startswith(where) else None
    assert texts(generate(vendor, tmp_path, requests(2))) == right(2)
    assert next(faults, None) is None
    assert len(vendor.jobs) == 1


def test_a_stopped_stage_leaves_its_batch_to_the_next_attempt(vendor: Vendor, tmp_path: Path) -> None:
    told = "the next attempt waits for them"
    with stopped_while_waiting(vendor) as stop, pytest.raises(StageStopped, match=told):
        generate(vendor, tmp_path, requests(3), stop)
    vendor.held.clear()
    assert texts(generate(vendor, tmp_path, requests(3))) == right(3)
    assert len(vendor.jobs) == 1


CHILD = """
import sys
from pathlib import Path
from tests.test_inference_batch_vertex import Vendor, generate, requests
generate(Vendor(url=sys.argv[1]), Path(sys.argv[2]), requests(4))
"""


def test_a_batch_whose_creator_was_killed_before_it_knew_the_id_is_found(vendor: Vendor, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def kill(job: Job) -> None:
        ready.wait(60)
        started[0].kill()
        started[0].wait()

    vendor.created = kill
    command = [sys.executable, "-c", CHILD, vendor.url, str(tmp_path)]
    started.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ}))
    ready.set()
    assert started[0].wait(60) == -signal.SIGKILL
    with vendor.lock:
        vendor.created = lambda job: None
        vendor.jobs["other"] = Job("other", "another", [])
    assert texts(generate(vendor, tmp_path, requests(4))) == right(4)
    assert len(vendor.jobs) == 2


@pytest.mark.parametrize("bucket", [None, "", "lab", "s3://lab"])
def test_a_batch_without_a_bucket_is_refused(bucket: str | None, vendor: Vendor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs vertex_bucket"):
        generate(vendor, tmp_path, requests(1), bucket=bucket)
