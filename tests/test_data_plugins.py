"""A user's Python file for a data set: what it may define, and one clear line for everything that is wrong in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from data.load import load, load_rows
from data.plugins import Plugin, load_plugin
from registry.catalog import DatasetEntry
from registry.errors import MissingError, UsageError
from tests.stages import row

ALL = """
from dataclasses import dataclass

@dataclass
class Case:
    text: str

def load(path):
    for line in path.read_text().splitlines():
        text, _, answer = line.partition("|")
        yield {"question": Case(text).text, "answer": answer}

def prompt(row):
    return f"Case: {row.question}"

def extract(row, answer):
    return answer.split()[-1] if answer else None

def check(row, extracted):
    return extracted == row.answer
"""


def plugin(folder: Path, source: str) -> Plugin:
    (folder / "plugin.py").write_text(source)
    return load_plugin(folder / "plugin.py")


def test_a_plugin_loads_asks_extracts_and_checks(tmp_path: Path) -> None:
    whole = plugin(tmp_path, ALL)
    (tmp_path / "cases.txt").write_text("What now?|rest\nAnd then?|walk\n")
    found = load("cases", DatasetEntry(file_path=str(tmp_path / "cases.txt"), plugin=str(whole.path)))
    assert [(r.row.question, r.row.answer, r.fault) for r in found.readings] == [
        ("What now?", "rest", None),
        ("And then?", "walk", None),
    ]
    assert found.plugin is not None
    assert found.plugin.prompt is not None
    assert found.plugin.extract is not None
    assert found.plugin.check is not None
    first = found.readings[0].row
    assert found.plugin.prompt(first) == "Case: What now?"
    assert found.plugin.extract(first, "so rest") == "rest"
    assert found.plugin.extract(first, "") is None
    assert found.plugin.check(first, "rest")
    assert not found.plugin.check(first, "run")


def test_what_a_plugin_leaves_out_is_null(tmp_path: Path) -> None:
    some = plugin(tmp_path, "def check(row, extracted): return True")
    assert (some.load, some.prompt, some.extract) == (None, None, None)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"question": "q", "answer": "a"}]))
    assert load_rows("key", DatasetEntry(file_path=str(file), plugin=str(some.path)))[0].answer == "a"


def test_a_plugin_without_a_file_must_load(tmp_path: Path) -> None:
    loading = plugin(
        tmp_path, "def load(path):\n    assert path is None\n    return [{'question': 'q', 'answer': 'a'}]"
    )
    assert [each.question for each in load_rows("key", DatasetEntry(plugin=str(loading.path)))] == ["q"]
    plugin(tmp_path, "def prompt(row): return ''")
    with pytest.raises(UsageError, match="'key': it has neither hf_path nor file_path, and its plugin has no `load`"):
        load_rows("key", DatasetEntry(plugin=str(loading.path)))


BAD = [
    ("def prompt(row)\n", r"plugin\.py, line 1: cannot be run: SyntaxError: expected ':'"),
    ("import json\nimport no_such_thing\n", r"plugin\.py, line 2: cannot be run: ModuleNotFoundError"),
    ("x = 1", "defines none of load, prompt, extract, check; see docs/new-benchmark.md"),
    ("prompt = 'text'", r"prompt is a str, not a function prompt\(row\)"),
    ("def check(row): pass", r"check must take the parameters of check\(row, extracted\): too many positional"),
    ("def prompt(): pass", r"prompt must take the parameters of prompt\(row\)"),
]


@pytest.mark.parametrize(("source", "message"), BAD)
def test_a_bad_plugin_is_one_clear_line(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plugin(tmp_path, source)
    assert "\n" not in str(caught.value)


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gone\.py cannot be read: .*; correct `plugin` in the catalog"):
        load_plugin(tmp_path / "gone.py")


def test_an_error_of_a_plugin_names_file_line_function_and_row(tmp_path: Path) -> None:
    asked = row(7)
    broken = plugin(tmp_path, "def prompt(row):\n    text = row.question\n    return text + row.no_such_field\n")
    assert broken.prompt is not None
    with pytest.raises(UsageError) as caught:
        broken.prompt(asked)
    assert str(caught.value) == (
        f"plugin {broken.path}, line 3: prompt failed for the row {asked.id} of made-up "
        "('Which drug helps patient 7?'): AttributeError: 'Row' object has no attribute 'no_such_field'"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def extract(row, answer): return 3", r"extract returned a int, not str \| None, for the row"),
        ("def check(row, extracted): return None", "check returned a NoneType, not bool, for the row"),
        ("def prompt(row): return None", "prompt returned a NoneType, not str, for the row"),
    ],
)
def test_a_plugin_that_returns_something_else(tmp_path: Path, source: str, message: str) -> None:
    wrong, asked = plugin(tmp_path, source), row(1)
    calls: list[Callable[[], object]] = []
    if wrong.prompt is not None:
        calls.append(partial(wrong.prompt, asked))
    if wrong.extract is not None:
        calls.append(partial(wrong.extract, asked, "x"))
    if wrong.check is not None:
        calls.append(partial(wrong.check, asked, "x"))
    (call,) = calls
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return []", "load returned no records"),
        ("yield {}\n    yield 3", "load failed: TypeError: record 2 is a int, not a mapping of column to value"),
        ("yield {'question': 'q'}\n    raise ValueError('no\\nmore')", "line 3: load failed: ValueError: no more"),
    ],
)
def test_a_plugin_that_loads_nothing_usable(tmp_path: Path, body: str, message: str) -> None:
    loading = plugin(tmp_path, f"def load(path):\n    {body}")
    with pytest.raises(UsageError, match=message):
        load_rows("key", DatasetEntry(plugin=str(loading.path)))


def test_a_function_whose_name_is_nearly_one_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        plugin(tmp_path, "def extracts(row, answer): pass\ndef helper(): pass\ndef prompt(row): return ''")
    assert [record.getMessage() for record in caplog.records] == [
        f"plugin {tmp_path / 'plugin.py'}: nothing calls 'extracts'; did you mean 'extract'?"
    ]
