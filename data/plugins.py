"""A Python file of the user's that says what is special about a data set: `load`, `prompt`, `extract`, `check`.

What the file leaves out is done as for any other data set. Its code runs in this process; what it raises, or returns
in place of what it should, is one `UsageError` that names the file, its line, the function and the row.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from data.rows import Row
from registry.errors import MissingError, UsageError, shortened

log = logging.getLogger(__name__)

# function -> (its parameters, as a person would write them)
FUNCTIONS = {
    "load": ("path",),
    "prompt": ("row",),
    "extract": ("row", "answer"),
    "check": ("row", "extracted"),
}


@dataclass(frozen=True)
class Plugin:
    """The functions of one file, null where it leaves one out.

    `load(path)` returns records as a file would hold them; `path` is where the catalog entry's file or snapshot lies,
    null when it names neither. `prompt(row)` returns the user's turn. `extract(row, answer)` returns what is read from
    the answer, the text after the thinking; null when there is no answer in it. `check(row, extracted)` returns whether
    that is right.
    """

    path: Path
    load: Callable[[Path | None], list[dict[str, Any]]] | None
    prompt: Callable[[Row], str] | None
    extract: Callable[[Row, str], str | None] | None
    check: Callable[[Row, str], bool] | None


def load_plugin(path: Path) -> Plugin:
    """Run the file at `path` and take its functions.

    Raises `MissingError` when there is none, `UsageError` when it cannot be run, defines none of the functions, or one
    with other parameters.
    """
    module = _module(path)
    _warn_of_near_names(path, module)
    found = {name: getattr(module, name) for name in FUNCTIONS if hasattr(module, name)}
    if not found:
        raise UsageError(f"plugin {path} defines none of {', '.join(FUNCTIONS)}; see docs/new-benchmark.md")
    for name, function in found.items():
        _check_parameters(path, name, function)
    load, prompt, extract, check = (found.get(name) for name in FUNCTIONS)

    def loaded(place: Path | None) -> list[dict[str, Any]]:
        records = _call(path, "load", "", lambda: _listed(load(place)) if load else [])
        if not records:
            raise UsageError(f"plugin {path}: load returned no records")
        return records

    return Plugin(
        path,
        loaded if load else None,
        _of_row(path, "prompt", prompt, str) if prompt else None,
        _of_row(path, "extract", extract, str | None) if extract else None,
        _of_row(path, "check", check, bool) if check else None,
    )


def _module(path: Path) -> ModuleType:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"plugin {path} cannot be read: {error}; correct `plugin` in the catalog") from error
    module = ModuleType(f"meds1_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    _call(path, None, "", lambda: exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__))
    return module


def _warn_of_near_names(path: Path, module: ModuleType) -> None:
    for name, value in vars(module).items():
        if name in FUNCTIONS or name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        near = difflib.get_close_matches(name.casefold(), FUNCTIONS, n=1, cutoff=0.75)
        if near and callable(value) and not hasattr(module, near[0]):
            log.warning("plugin %s: nothing calls '%s'; did you mean '%s'?", path, name, near[0])


def _check_parameters(path: Path, name: str, function: Any) -> None:
    wanted = f"{name}({', '.join(FUNCTIONS[name])})"
    if not callable(function):
        raise UsageError(f"plugin {path}: {name} is a {type(function).__name__}, not a function {wanted}")
    try:
        inspect.signature(function).bind(*FUNCTIONS[name])
    except TypeError as error:
        raise UsageError(f"plugin {path}: {name} must take the parameters of {wanted}: {error}") from error


def _listed(records: Iterable[Any]) -> list[dict[str, Any]]:
    found = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise TypeError(f"record {number} is a {type(record).__name__}, not a mapping of column to value")
        found.append(dict(record))
    return found


def _of_row(path: Path, name: str, function: Callable[..., Any], returns: Any) -> Callable[..., Any]:
    """Return the function with its errors named, and with what it returns held to be of the type `returns`."""

    def called(row: Row, *rest: Any) -> Any:
        where = f" for the row {row.id} of {row.source} ({shortened(row.question)})"
        value = _call(path, name, where, lambda: function(row, *rest))
        if not isinstance(value, returns):
            wanted = getattr(returns, "__name__", str(returns))
            raise UsageError(f"plugin {path}: {name} returned a {type(value).__name__}, not {wanted},{where}")
        return value

    return called


def _call(path: Path, name: str | None, where: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # what a user's code raises may be anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        place = f"{path}, line {line}" if line else str(path)
        what = f"{name} failed{where}" if name else "cannot be run"
        said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        raise UsageError(f"plugin {place}: {what}: {type(error).__name__}: {said}") from error
