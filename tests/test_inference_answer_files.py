"""The answers that all experiments share: asked once, whoever asks, with many writers and after any end of one."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inference import appending
from inference.answer_files import SharedAnswers, shared_answers
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling
from inference.journal import generate_resumable
from registry.errors import MissingError, StageFailure
from tests.faults import FORK, in_child
from tests.faulty_server import Body, Reply, completion, question, refusal, serving
from tests.tiny import make_tiny_model

REQUESTS = [Request(name, ({"role": "user", "content": f"Question {name}?"},)) for name in ("a", "b", "c", "d")]
SAMPLING = Sampling(max_tokens=6)
RANDOM = Sampling(max_tokens=6, temperature=1.0, seed=3)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    return EngineSpec("transformers", make_tiny_model(tmp_path_factory.mktemp("tiny")), max_length=64)


@pytest.fixture
def unopenable(tmp_path: Path) -> EngineSpec:
    return EngineSpec("transformers", tmp_path / "no model", max_length=64)


def lines_of(store: SharedAnswers) -> list[str]:
    """What was written, file by file."""
    return [line for file in sorted(store.place.glob("*.jsonl")) for line in file.read_text().splitlines()]


def beside(store: SharedAnswers, answers: Sequence[Generation], name: str) -> None:
    """Another process's file that holds other answers to the same questions."""
    (file,) = store.place.glob("*.jsonl")
    told = dict(zip((answer.id for answer in answers), file.read_text().splitlines(), strict=True))
    lines = [json.dumps({**json.loads(told[answer.id]), "text": f"{name}'s"}) for answer in answers]
    (store.place / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_what_one_run_was_answered_no_other_asks_again(
    spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path
) -> None:
    store = shared_answers(spec, tmp_path)
    first = generate_resumable(spec, REQUESTS[:3], SAMPLING, store)
    assert generate_resumable(unopenable, REQUESTS[:3][::-1], SAMPLING, store) == first[::-1]
    both = generate_resumable(spec, REQUESTS, SAMPLING, store)
    assert both[:3] == first
    assert len(list(store.place.glob("*.jsonl"))) == 2
    assert len(lines_of(store)) == 4
    for other in (RANDOM, Sampling(max_tokens=7)):
        with pytest.raises(MissingError):
            generate_resumable(unopenable, REQUESTS, other, store)


def test_more_samples_find_those_that_are_there(spec: EngineSpec, tmp_path: Path) -> None:
    store = shared_answers(spec, tmp_path / "shared")
    generate_resumable(spec, REQUESTS, replace(RANDOM, n=2), store)
    four = generate_resumable(spec, REQUESTS, replace(RANDOM, n=4), store)
    assert [json.loads(line)["index"] >= 2 for line in lines_of(store)] == [False] * 8 + [True] * 8
    alone = generate_resumable(spec, REQUESTS, replace(RANDOM, n=4), shared_answers(spec, tmp_path / "other"))
    assert four == alone


def test_answers_are_shared_by_what_decides_them_and_by_no_path(spec: EngineSpec, tmp_path: Path) -> None:
    assert isinstance(spec.model, Path)
    copy, other = tmp_path / "copy", tmp_path / "other"
    for folder in (copy, other):
        shutil.copytree(spec.model, folder)
    (other / "generation_config.json").write_text("{}")
    place = shared_answers(spec, tmp_path).place
    assert shared_answers(replace(spec, model=copy, data_parallel=2), tmp_path).place == place
    server = ApiModel("gpt-x", "http://localhost:1/v1", "LAB_KEY")
    served = replace(spec, name="openai", model=server)
    assert shared_answers(replace(served, model=replace(server, concurrency=1)), tmp_path) == shared_answers(
        served, tmp_path
    )
    different = [
        spec,
        replace(spec, model=other),
        replace(spec, name="vllm"),
        replace(spec, max_length=65),
        served,
        replace(served, model=replace(server, name="gpt-y")),
        replace(served, model=replace(server, base_url=None)),
    ]
    assert len({shared_answers(each, tmp_path).place for each in different}) == len(different)


def test_a_line_that_another_process_is_writing_is_passed_over_and_left_alone(
    spec: EngineSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = shared_answers(spec, tmp_path)
    whole = generate_resumable(spec, REQUESTS, SAMPLING, store)
    (file,) = store.place.glob("*.jsonl")
    torn = file.read_bytes()[:-20]
    file.write_bytes(torn)
    with caplog.at_level(logging.WARNING):
        assert generate_resumable(spec, REQUESTS, SAMPLING, store) == whole
    assert caplog.messages == []
    assert file.read_bytes() == torn
    assert len(list(store.place.glob("*.jsonl"))) == 2


def test_what_cannot_be_read_is_named_and_asked_again(
    spec: EngineSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = shared_answers(spec, tmp_path)
    whole = generate_resumable(spec, REQUESTS, SAMPLING, store)
    (file,) = store.place.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"\0" * len(lines[0]) + b"\n[]\n\xff\n" + lines[0][:-9] + b"\n" + b"".join(lines[1:]))
    (store.place / "0.jsonl").mkdir()
    with caplog.at_level(logging.WARNING):
        assert generate_resumable(spec, REQUESTS, SAMPLING, store) == whole
    assert f"{file}: 4 lines are no answers: they are asked again" in caplog.text
    assert "0.jsonl cannot be read (Is a directory)" in caplog.text


def test_of_two_answers_to_the_same_the_older_one_counts(
    spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path
) -> None:
    store = shared_answers(spec, tmp_path)
    own = generate_resumable(spec, REQUESTS, SAMPLING, store)
    beside(store, own, "0-older")
    texts = [answer.text for answer in generate_resumable(unopenable, REQUESTS, SAMPLING, store)]
    assert texts == ["0-older's"] * 4
    (store.place / "0-older.jsonl").rename(store.place / "9-newer.jsonl")
    assert generate_resumable(unopenable, REQUESTS, SAMPLING, store) == own


def test_a_failed_call_is_no_answer_and_is_asked_again(tmp_path: Path) -> None:
    mended = False

    def script(body: Body, before: int) -> Reply:
        broken = "b?" in question(body) and not mended
        return refusal(400, "no") if broken else completion("yes")

    with serving(script) as server:
        spec = EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY"), max_length=64)
        store = shared_answers(spec, tmp_path)
        first = generate_resumable(spec, REQUESTS, SAMPLING, store)
        assert [answer.finish_reason for answer in first] == ["stop", "error", "stop", "stop"]
        mended = True
        again = generate_resumable(spec, REQUESTS, SAMPLING, store)
        assert [answer.text for answer in again] == ["yes"] * 4
        assert len(server.bodies) == 5


def test_a_prompt_that_never_fits_is_not_tried_again(spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path) -> None:
    store = shared_answers(spec, tmp_path)
    long = Request("long", ({"role": "user", "content": "word " * 30},))
    first = generate_resumable(spec, [*REQUESTS, long], SAMPLING, store)
    assert first[4].finish_reason == "error"
    assert generate_resumable(unopenable, [*REQUESTS, long], SAMPLING, store) == first


def test_after_a_kill_only_the_rest_is_asked_and_two_may_ask_at_once(spec: EngineSpec, tmp_path: Path) -> None:
    store, many = shared_answers(spec, tmp_path), [replace(r, n=400) for r in REQUESTS]
    killed, other = (FORK.Process(target=generate_resumable, args=(spec, many, RANDOM, store)) for _ in range(2))
    killed.start()
    while not lines_of(store):
        assert killed.is_alive(), "it ended before it was killed"
        time.sleep(0.01)
    killed.kill()
    killed.join()
    (left,) = store.place.iterdir()
    before = left.read_bytes()
    kept = before.count(b"\n")
    assert 0 < kept < 1600
    other.start()
    whole = generate_resumable(spec, many, RANDOM, store)
    other.join()
    assert other.exitcode == 0
    assert left.read_bytes() == before
    written = [len(file.read_text().splitlines()) for file in store.place.iterdir() if file != left]
    assert sum(written) >= 1600 - kept
    assert max(written) <= 1600 - kept
    assert generate_resumable(spec, many, RANDOM, store) == whole
    assert whole == generate_resumable(spec, many, RANDOM, tmp_path / "undisturbed.jsonl")


def test_a_place_where_nothing_can_be_kept_is_one_clear_line_before_the_model_is_opened(
    spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path
) -> None:
    store = shared_answers(spec, tmp_path)
    (tmp_path / "answers").write_text("a file in the folder's place")
    with pytest.raises(StageFailure, match=r"answers/\w+: answers cannot be kept here \(Not a directory\); mend that"):
        generate_resumable(unopenable, REQUESTS, SAMPLING, store)


def test_a_disk_that_is_full_in_the_middle_keeps_what_it_has(spec: EngineSpec, tmp_path: Path) -> None:
    store = shared_answers(spec, tmp_path)

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        with serving(lambda body, before: completion("yes")) as server:
            served = EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY"), max_length=64)
            with pytest.raises(StageFailure, match=r"\.jsonl: answers cannot be kept here \(File too large\); mend"):
                generate_resumable(served, REQUESTS, SAMPLING, store)

    assert in_child(fill) == 0
    (file,) = store.place.glob("*.jsonl")
    kept = file.read_bytes().count(b"\n")
    assert 0 < kept < 4
    generate_resumable(spec, REQUESTS, SAMPLING, store)
    assert file.read_bytes().count(b"\n") == kept
    assert len(list(store.place.glob("*.jsonl"))) == 2


@pytest.mark.parametrize(("every", "flushes"), [(0.0, 4), (1e9, 1)])
def test_answers_are_flushed_now_and_then_and_all_of_them_at_the_end(
    every: float, flushes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            flushed.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(appending, "_FLUSH_S", every)
    monkeypatch.setattr(os, "fsync", noted)
    with serving(lambda body, before: completion("yes")) as server:
        spec = EngineSpec("openai", ApiModel("gpt-x", server.url, "LAB_KEY"), max_length=64)
        store = shared_answers(spec, tmp_path)
        generate_resumable(spec, REQUESTS, SAMPLING, store)
    (file,) = store.place.glob("*.jsonl")
    assert len(flushed) == flushes
    assert flushed[-1] == file.stat().st_size


def test_a_disk_that_is_full_when_answers_are_flushed_is_one_clear_line(
    spec: EngineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = shared_answers(spec, tmp_path)
    store.place.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", full)  # as NFS does, which takes what it has no room for
    with pytest.raises(StageFailure, match=r"\.jsonl: answers cannot be kept here \(No space left on device\); mend"):
        generate_resumable(spec, REQUESTS, SAMPLING, store)


def test_a_model_that_cannot_be_opened_leaves_no_file(spec: EngineSpec, unopenable: EngineSpec, tmp_path: Path) -> None:
    store = shared_answers(spec, tmp_path)
    with pytest.raises(MissingError):
        generate_resumable(unopenable, REQUESTS, SAMPLING, store)
    assert list(store.place.iterdir()) == []


def test_who_shares_the_folder_can_write_and_read_there(spec: EngineSpec, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    before = os.umask(0o077)
    try:
        store = shared_answers(spec, shared)
        generate_resumable(spec, REQUESTS[:1], SAMPLING, store)
    finally:
        os.umask(before)
    (file,) = store.place.glob("*.jsonl")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store.place, file)] == [0o2770, 0o660]
