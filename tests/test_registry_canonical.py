"""The canonical form is one for all that is equal; `results.json` is parsed strictly and written in one form."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.canonical import canonical, dumps, sha256
from registry.document import load, load_registry, parse, render
from registry.durable import current_umask, make_folder, write_durably
from registry.errors import MissingError, UsageError
from registry.names import check_name
from registry.paths import RegistryPaths, catalog_file, registry_file

ROOT = Path(__file__).resolve().parents[1]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def reordered(value: Any) -> Any:
    """The same value with its keys the other way round, whole floats as integers and lists as tuples."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return tuple(reordered(item) for item in value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


@given(VALUES)
def test_equal_values_have_one_canonical_form(value: Any) -> None:
    assert canonical(value) == canonical(reordered(value))


@given(VALUES)
def test_the_canonical_form_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(VALUES, VALUES)
def test_different_values_have_different_forms(one: Any, other: Any) -> None:
    # Python holds True equal to 1, JSON does not: its own text, with whole numbers written alike, is the reference.
    texts = [json.dumps(reordered(value), sort_keys=True) for value in (one, other)]
    assert (canonical(one) == canonical(other)) == (texts[0] == texts[1])


def test_numbers_that_are_equal_are_written_alike() -> None:
    assert canonical({"a": [1.0, -0.0, 1e-05]}) == canonical({"a": (1, 0, 0.00001)}) == b'{"a":[1,0,1e-05]}'
    assert canonical(True) != canonical(1)
    assert canonical(2**53 + 1) != canonical(float(2**53))


def test_the_hash_does_not_depend_on_the_process() -> None:
    program = (
        "from registry.canonical import sha256\n"
        "print(sha256({key: {key + 'x': 1.0, 'b': [key]} for key in set('abcdefgh')}))"
    )
    hashes = set()
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=True
        )
        hashes.add(done.stdout.decode().strip())
    assert hashes == {sha256({key: {"b": (key,), key + "x": 1} for key in "hgfedcba"})}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, math.nan]}, r"\$\.a\[1\]: nan"),
        ({"a": math.inf}, r"\$\.a: inf"),
        ({"a": {1, 2}}, r"\$\.a: a set"),
        ({"a": {1: "x"}}, r"\$\.a: key 1 is not a string"),
        ({"a": b"x"}, r"\$\.a: a bytes"),
        ({"a": Path("x")}, r"\$\.a: a \w*Path"),
    ],
)
def test_what_two_processes_could_write_differently_is_refused(value: Any, where: str) -> None:
    with pytest.raises(UsageError, match=where):
        canonical(value)


def test_a_file_name_that_is_not_utf8_survives_as_json() -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    assert json.loads(dumps({"error": name})) == json.loads(render({"error": name})) == {"error": name}


@given(st.dictionaries(st.text(), VALUES))
def test_a_written_document_is_read_back_and_written_the_same(document: dict[str, Any]) -> None:
    again = parse(render(document).decode(), Path("results.json"))
    assert again == document
    assert render(again) == render(document)


def test_the_written_form_keeps_order_indent_and_readable_characters() -> None:
    assert render({"b": 1, "a": {"é": [5e-06]}}).decode() == (
        '{\n  "b": 1,\n  "a": {\n    "é": [\n      5e-06\n    ]\n  }\n}\n'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; `meds1 rebuild`"),
        (" \n", "the file is empty"),
        ('{"a": 1,\n  "b" 2}', "line 2, column 7: Expecting ':' delimiter"),
        ('{"a": 1}\n<<<<<<< HEAD', "line 2, column 1"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' occurs twice"),
        ("[]", "holds a list, not an object"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "1e999 is no JSON number"),
    ],
)
def test_a_broken_file_is_one_line_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file; set MEDS1_REGISTRY"):
        load(tmp_path / "results.json")
    with pytest.raises(MissingError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "caf\xe9"}')
    with pytest.raises(UsageError, match="not UTF-8 at byte 10"):
        load(tmp_path / "latin.json")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"format": "one"}, "format must be a number"),
        ({"experiments": [1]}, "experiments must be an object"),
        ({"experiments": {"a": 5}}, "experiments.a must be an object"),
        ({"experiments": {"a": {"config": "same as b"}}}, "experiments.a.config must be an object"),
        ({"experiments": {"a": {"results": []}}}, "experiments.a.results must be an object"),
        ({"experiments": {"a": {"results": {"eval": "0.9"}}}}, "experiments.a.results.eval must be an object"),
    ],
)
def test_a_file_of_another_shape_is_one_line(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(render(document))
    with pytest.raises(UsageError, match=message):
        load_registry(file)


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text("{}")
    file.chmod(0o664)
    before = os.umask(0o077)
    try:
        write_durably(file, b"[]")
    finally:
        os.umask(before)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"[]", 0o664)


def test_threads_that_make_folders_at_once_leave_the_umask_as_it_was(tmp_path: Path) -> None:
    before, interval = current_umask(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: make_folder(tmp_path / str(n), lasting=False), range(4_000)))
        assert current_umask() == before
    finally:
        sys.setswitchinterval(interval)
        os.umask(before)


def test_links_to_one_registry_share_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "clone").mkdir()
    file = tmp_path / "lab" / "results.json"
    file.write_text("{}")
    (tmp_path / "clone" / "results.json").symlink_to(file)
    monkeypatch.setenv("MEDS1_REGISTRY", str(tmp_path / "clone" / "results.json"))
    assert RegistryPaths(registry_file(None)).inbox == tmp_path / "lab" / ".registry" / "inbox"


def test_the_catalog_beside_the_registry_comes_before_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDS1_CONFIG", raising=False)
    assert catalog_file(None, tmp_path / "results.json") == ROOT / "config.json"
    (tmp_path / "config.json").write_text("{}")
    assert catalog_file(None, tmp_path / "results.json") == tmp_path / "config.json"
    monkeypatch.setenv("MEDS1_CONFIG", str(tmp_path / "other.json"))
    assert catalog_file(None, tmp_path / "results.json") == tmp_path / "other.json"


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a\n", "a b", "a~b", "-x", "é", "n" * 300])
def test_names_that_cannot_be_folder_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="experiment name"):
        check_name(name)


@pytest.mark.parametrize("name", ["medqa-1k-random", "a_b", "ab", "llama3.1:8b@v2", "n" * 128])
def test_legal_names_stay_as_they_are(name: str) -> None:
    assert check_name(name) == name
