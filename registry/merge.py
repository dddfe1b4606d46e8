"""Three-way merge of experiments: what people changed in the file, and what was changed since they opened it.

Pure functions over `experiments` (name -> body). A change is one value at one path; objects are compared key by key,
lists as a whole, except `tags` and `notes`, which are merged item by item. People's edits win; where both sides
changed one value, the loser is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.document import read_value, value_text
from registry.json_path import ABSENT

Experiments = dict[str, Any]
_BY_ITEM = (("tags",), ("notes",))


@dataclass(frozen=True)
class Change:
    """`old` became `new` (either may be `ABSENT`) at `path`, which begins with the experiment's name."""

    path: tuple[str, ...]
    old: Any
    new: Any

    @property
    def adds(self) -> bool:
        """Whether it is a new experiment, or new tags or notes and none less."""
        if self.path[1:] in _BY_ITEM:
            old, new = _items(self.old), _items(self.new)
            return old is not None and new is not None and all(item in new for item in old)
        return len(self.path) == 1 and self.old is ABSENT

    @property
    def size(self) -> int:
        """How much differs: one value, or so many tags or notes."""
        old, new = _items(self.old), _items(self.new)
        if self.path[1:] not in _BY_ITEM or old is None or new is None:
            return 1
        return sum(item not in new for item in old) + sum(item not in old for item in new)

    def undone(self) -> Change:
        """The way back."""
        return Change(self.path, self.new, self.old)

    def to_json(self) -> dict[str, Any]:
        """JSON; a side without the key is left out. Values are JSON texts: a record sorts its keys, people's do not."""
        sides = {"old": self.old, "new": self.new}
        texts = {side: value_text(value) for side, value in sides.items() if value is not ABSENT}
        return {"path": list(self.path), **texts}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Change:
        """Read `to_json` back."""
        old, new = (read_value(body[side]) if side in body else ABSENT for side in ("old", "new"))
        return cls(tuple(body["path"]), old, new)


@dataclass(frozen=True)
class Conflict:
    """A change that did not happen, because the value that is there is neither its `old` nor its `new`."""

    change: Change
    there: Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Change]:
    """What leads from `before` to `now`, leaf by leaf; results that records restore are left out."""
    changes = []
    for key in {**before, **now}:
        old, new, here = before.get(key, ABSENT), now.get(key, ABSENT), (*path, key)
        if old == new or (_is_result(here) and (_is_recorded(old) or _is_recorded(new))):
            continue
        if here[1:] == ("results",):  # null, empty and none at all are the same
            old, new = (side if isinstance(side, Mapping) else {} for side in (old, new))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += differences(old, new, here)
        else:
            changes.append(Change(here, old, new))
    return changes


def applied(experiments: Experiments, changes: Iterable[Change]) -> tuple[Experiments, list[Conflict]]:
    """`experiments` with the changes made, in order, where the value that is there is the one they set out from."""
    conflicts = []
    for change in changes:
        there = _value(experiments, change.path)
        if there == change.new:
            continue
        merged = _by_item(change, there) if change.path[0] in experiments else None
        if merged is not None:
            experiments = _with(experiments, change.path, merged)
        elif there == change.old and (_is_object(experiments, change.path[:-1]) or _is_result(change.path)):
            experiments = _with(experiments, change.path, change.new)
        else:
            conflicts.append(Conflict(change, there))
    return experiments, conflicts


def _is_result(path: Sequence[str]) -> bool:
    return len(path) == 3 and path[1] == "results"


def _is_recorded(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "record" in entry


def _is_object(experiments: Experiments, path: Sequence[str]) -> bool:
    return isinstance(_value(experiments, path), Mapping)


def _items(value: Any) -> list[Any] | None:
    """The items of a list, or of a key that is not there; null for what people wrote in place of a list."""
    if value is ABSENT or value is None:
        return []
    return value if isinstance(value, list) else None


def _by_item(change: Change, there: Any) -> Any:
    """What `there` becomes; null where the three values cannot be merged item by item."""
    old, new, items = (_items(value) for value in (change.old, change.new, there))
    if change.path[1:] not in _BY_ITEM or old is None or new is None or items is None:
        return None
    kept = [item for item in items if item in new or item not in old]
    items = kept + [item for item in new if item not in old and item not in kept]
    return ABSENT if change.new is ABSENT and not items else items


def _value(experiments: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(experiments, Mapping) or key not in experiments:
            return ABSENT
        experiments = experiments[key]
    return experiments


def _with(tree: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of `tree` with `value` at `path`; what the path does not touch is shared."""
    key, rest = path[0], path[1:]
    if rest:
        return {**tree, key: _with(tree.get(key) or {}, rest, value)}
    if value is ABSENT:
        return {name: item for name, item in tree.items() if name != key}
    return {**tree, key: value}
