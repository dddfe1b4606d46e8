"""The notation of places in JSON files: readable, and read back without doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageError
from registry.json_path import Steps, join, split

KEYS = st.text(max_size=20) | st.text(alphabet='a.["] \\\n0', max_size=6)
# An index stands below something.
PATHS = st.tuples(KEYS).flatmap(lambda first: st.lists(KEYS | st.integers(0, 99)).map(lambda rest: (*first, *rest)))


@given(PATHS)
def test_what_is_joined_is_read_back(steps: Steps) -> None:
    path = join(*steps)
    assert split(path) == steps
    assert path.isprintable()


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (("experiments", "base-1k", "config", "eval"), "experiments.base-1k.config.eval"),
        (("models", "llama3.1:8b", "max_length"), 'models."llama3.1:8b".max_length'),
        (("curation", "pass_rate", 0), "curation.pass_rate[0]"),
        (("a b", "", "é"), '"a b"."".é'),
        (("line\nbreak",), '"line\\nbreak"'),
    ],
)
def test_paths_are_as_people_read_them(steps: Steps, path: str) -> None:
    assert join(*steps) == path


@pytest.mark.parametrize("path", [".a", "a.", "a..b", "a[x]", "a[0]b", 'a"b"', '"a', "a b", "a\\", '"\\x"'])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="is no path"):
        split(path)


def test_a_key_longer_than_any_name_is_shortened() -> None:
    assert join("experiments", "n" * 300) == f"experiments.'{'n' * 40}…' (300 characters)"
