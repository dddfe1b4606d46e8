"""What a disk keeps when the power fails: a model of files and folders that forgets what was not made durable.

A log of file calls is played onto the model up to any call. Then the power fails: what was fsynced is there, and of the
rest a `Keep` decides. A file's data is durable by its own fsync; a name (create, rename, unlink, mkdir) by an fsync of
a folder that the change touches. A rename between two folders is one change, as it is in a journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import Call

Data = Callable[[bytes, bytes], bytes]
Keep = tuple[str, Data, Callable[[int], bool]]


@dataclass
class File:
    """A file's bytes as processes see them, and as the disk has them."""

    data: bytes = b""
    durable: bytes = b""


@dataclass
class Folder:
    """A folder's names as processes see them, and as the disk has them."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


@dataclass(frozen=True)
class _Change:
    """Names that one call changes: (folder, name, what it names afterwards)."""

    parts: tuple[tuple[Folder, str, File | Folder | None], ...]

    def happen(self, durable: bool) -> None:
        for folder, name, node in self.parts:
            names = folder.durable if durable else folder.names
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node

    def touches(self, folder: Folder) -> bool:
        return any(part[0] is folder for part in self.parts)


@dataclass(frozen=True)
class Step:
    """A call that succeeded, or with `note` a moment that a test wants to find again."""

    name: str
    arguments: tuple[Any, ...] = ()
    outcome: Any = None
    note: str = ""


class Recorder:
    """An `around` for `tests.faults.intercepted` that logs the calls which succeed."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, call: Call) -> Any:
        outcome = call.run()
        if call.changes:
            self.steps.append(Step(call.name, call.arguments, outcome))
        return outcome

    def note(self, text: str) -> None:
        """Mark this moment."""
        self.steps.append(Step("note", note=text))


class Disk:
    """The tree under `root`, at first a copy of `before` with everything in it durable; `play` brings it further."""

    def __init__(self, root: Path, before: Path) -> None:
        self.root, self.tree = root, _loaded(before)
        self.pending: list[_Change] = []
        self.handles: dict[int, File | Folder] = {}
        self.notes: set[str] = set()

    def play(self, steps: Sequence[Step]) -> Disk:
        """Do what the calls did; returns itself."""
        for step in steps:
            if step.name == "note":
                self.notes.add(step.note)
            elif handler := getattr(self, f"_{step.name}", None):
                handler(step.outcome, *step.arguments)
            elif step.name not in ("chmod", "fchmod", "chown", "fchown", "flock", "utime"):
                raise NotImplementedError(f"teach the disk {step.name}: the registry has begun to use it")
        return self

    def fail(self, keep: Keep, folder: Path) -> Path:
        """Write into `folder` what is left of `root` after the power has failed, and return it."""
        _, data, names = keep
        for number, change in enumerate(self.pending):
            if names(number):
                change.happen(durable=True)
        _write(self.tree, folder, lambda file: data(file.data, file.durable), lambda node: node.durable)
        return folder

    def as_seen(self) -> Mapping[str, bytes]:
        """Every file as processes see it now, by its path under the root."""
        return _files(self.tree)

    def _open(self, handle: int, path: Any, flags: int = 0, mode: int = 0o777, **_: Any) -> None:
        found = self._find(path)
        if found is None:
            return
        folder, name = found
        node = folder.names.get(name) if name else folder
        if node is None:
            node = File()
            self._change((folder, name, node))
        if isinstance(node, File) and flags & os.O_TRUNC:
            node.data = b""
        assert not flags & os.O_APPEND, "teach the disk to append: the registry has begun to"
        self.handles[handle] = node

    def _close(self, _: None, handle: int) -> None:
        self.handles.pop(handle, None)

    def _write(self, count: int, handle: int, data: bytes) -> None:
        file = self.handles.get(handle)
        if isinstance(file, File):
            file.data += bytes(data)[:count]

    def _fsync(self, _: None, handle: int) -> None:
        node = self.handles.get(handle)
        if isinstance(node, File):
            node.durable = node.data
        elif isinstance(node, Folder):
            for change in [change for change in self.pending if change.touches(node)]:
                change.happen(durable=True)
                self.pending.remove(change)

    def _replace(self, _: None, source: Any, target: Any) -> None:
        old, new = self._find(source), self._find(target)
        assert old is not None
        assert new is not None
        self._change((old[0], old[1], None), (new[0], new[1], old[0].names[old[1]]))

    _rename = _replace

    def _link(self, _: None, source: Any, target: Any) -> None:
        old, new = self._find(source), self._find(target)
        assert old is not None
        assert new is not None
        self._change((new[0], new[1], old[0].names[old[1]]))

    def _unlink(self, _: None, path: Any) -> None:
        found = self._find(path)
        if found is not None:
            self._change((*found, None))

    _remove = _rmdir = _unlink

    def _mkdir(self, _: None, path: Any, mode: int = 0o777) -> None:
        found = self._find(path)
        if found is not None:
            self._change((*found, Folder()))

    def _change(self, *parts: tuple[Folder, str, File | Folder | None]) -> None:
        change = _Change(parts)
        change.happen(durable=False)
        self.pending.append(change)

    def _find(self, path: Any) -> tuple[Folder, str] | None:
        """The folder that holds a path, and its name there (empty for the root itself); none outside the root."""
        try:
            parts = Path(os.path.abspath(path)).relative_to(self.root).parts
        except ValueError:
            return None
        folder = self.tree
        for part in parts[:-1]:
            inner = folder.names[part]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, parts[-1] if parts else ""


def _loaded(path: Path) -> Folder:
    names: dict[str, File | Folder] = {
        entry.name: _loaded(entry) if entry.is_dir() else File(entry.read_bytes(), entry.read_bytes())
        for entry in path.iterdir()
    }
    return Folder(dict(names), dict(names))


def _write(tree: Folder, folder: Path, data: Callable[[File], bytes], names: Callable[[Folder], Any]) -> None:
    folder.mkdir(parents=True)
    for name, node in names(tree).items():
        if isinstance(node, Folder):
            _write(node, folder / name, data, names)
        else:
            (folder / name).write_bytes(data(node))


def _files(tree: Folder, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, node in tree.names.items():
        if isinstance(node, Folder):
            found |= _files(node, f"{prefix}{name}/")
        else:
            found[prefix + name] = node.data
    return found
