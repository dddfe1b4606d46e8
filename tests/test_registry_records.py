"""Records are saved whole or not at all, read back or named as damaged; attempt numbers are given out once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.canonical import dumps
from registry.errors import StageFailure
from registry.records import EVENTS, DamagedRecordError, Record, claim_attempt, parse_record, save_record
from tests.registry_case import record

FORK = multiprocessing.get_context("fork")
JSON = st.dictionaries(
    st.text(), st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(st.sampled_from(EVENTS), st.integers(1, 99999), JSON)
def test_a_record_is_read_back_as_it_was(event: Any, attempt: int, result: dict[str, Any]) -> None:
    before = replace(record(), event=event, attempt=attempt, result=result)
    assert parse_record(before.to_bytes()) == before


def test_a_saved_record_is_a_file_of_its_own(tmp_path: Path) -> None:
    saved = [save_record(record(3, accuracy=0.5), tmp_path / "inbox") for _ in range(3)]
    assert len(set(saved)) == 3
    assert sorted(os.listdir(tmp_path / "inbox")) == sorted(path.name for path in saved)
    assert saved[0].name.startswith("tuned~eval~00003-000~completed~")
    assert parse_record(saved[0].read_bytes()).result["accuracy"] == 0.5


def test_the_longest_legal_name_fits_a_file_name(tmp_path: Path) -> None:
    path = save_record(replace(record(99999, restart=999, event="completed"), experiment="n" * 128), tmp_path)
    assert parse_record(path.read_bytes()).attempt == 99999


def test_a_truncated_record_is_damaged_wherever_it_ends() -> None:
    raw = record(accuracy=0.5).to_bytes()
    for end in range(len(raw)):
        with pytest.raises(DamagedRecordError):
            parse_record(raw[:end])


def test_an_altered_byte_is_damaged_wherever_it_lies() -> None:
    raw = record(accuracy=5e-06, text="é", count=12).to_bytes()
    for place in range(len(raw)):
        for byte in {ord("9"), ord("E"), ord(" "), raw[place] ^ 1} - {raw[place]}:
            with pytest.raises(DamagedRecordError):
                parse_record(raw[:place] + bytes([byte]) + raw[place + 1 :])


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"null", b'"x"', b"\xff", b'{"sha256": 1, "format": 1}'])
def test_what_never_was_a_record_is_damaged(raw: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        parse_record(raw)


def _sealed(body: dict[str, Any]) -> bytes:
    import hashlib

    return dumps({**body, "sha256": hashlib.sha256(dumps(body)).hexdigest()})


def test_a_record_of_newer_code_says_so_whatever_its_fields() -> None:
    newer = _sealed({**asdict(record()), "format": 2, "new_field": 1})
    with pytest.raises(DamagedRecordError, match="format 2 is newer than this code's 1: update the checkout"):
        parse_record(newer)


def test_an_unknown_event_is_damaged() -> None:
    with pytest.raises(DamagedRecordError, match="unknown event 'vanished'"):
        parse_record(_sealed({**asdict(record()), "event": "vanished"}))


def test_a_rename_that_reports_an_error_but_happened_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def rename_and_complain(source: Path, target: Path) -> None:
        rename(source, target)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", rename_and_complain)
    path = save_record(record(), tmp_path)
    assert parse_record(path.read_bytes()).event == "completed"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_an_error_at_the_end_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StageFailure, match=r"completed record of eval could not be saved.*No space left on device"):
        save_record(record(), tmp_path)
    assert os.listdir(tmp_path) == []


def _save_with_little_room(inbox: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        save_record(record(text="x" * 5000), inbox)
    except StageFailure as error:
        os._exit(42 if "File too large" in str(error) else 1)
    os._exit(0)


def test_a_write_that_the_system_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    child = FORK.Process(target=_save_with_little_room, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 42
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StageFailure, match=r"could not be saved in .*Not a directory; free space or mend"):
        save_record(record(), tmp_path / "file" / "inbox")
    with pytest.raises(StageFailure, match="no number can be claimed: Not a directory"):
        claim_attempt(tmp_path / "file" / "attempts")


def _claim(folder: Path, together: Any, numbers: Any) -> None:
    together.wait()
    numbers.put(claim_attempt(folder))


def test_sixteen_processes_claim_sixteen_numbers(tmp_path: Path) -> None:
    together, numbers = FORK.Barrier(16), FORK.Queue()
    children = [FORK.Process(target=_claim, args=(tmp_path / "eval", together, numbers)) for _ in range(16)]
    for child in children:
        child.start()
    taken = sorted(numbers.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert taken == list(range(1, 17))


def test_a_number_is_never_given_again(tmp_path: Path) -> None:
    assert [claim_attempt(tmp_path), claim_attempt(tmp_path)] == [1, 2]
    (tmp_path / "1").rmdir()
    (tmp_path / "notes").mkdir()
    assert claim_attempt(tmp_path) == 3


def test_the_bytes_of_a_record_are_plain_sorted_json() -> None:
    body = json.loads(record().to_bytes())
    assert list(body) == sorted(body)
    assert isinstance(Record(**{key: value for key, value in body.items() if key != "sha256"}), Record)
