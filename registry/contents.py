"""What files hold, as hashes: of data by content, of models by tokenizer, config and weights.

A large file's hash is remembered in `CACHE_DIR` by its size and time of change. One `Contents` asks for each path once:
it stands for one moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import time
from collections.abc import Callable
from glob import has_magic
from pathlib import Path

from registry.canonical import sha256
from registry.durable import make_folder, write_durably
from registry.errors import MissingError
from registry.paths import OutputPaths, matching

_MODEL_FILES = ("config.json", "generation_config.json", "chat_template.jinja")
_TOKENIZER_FILES = (
    "tokenizer",
    "vocab",
    "merges",
    "special_tokens",
    "added_tokens",
    "spiece",
    "sentencepiece",
    "tekken",
)
_TOKENIZER_ENDINGS = (".tiktoken", ".spm")
_MODULES = "modules.json"
_EMBEDDER_FILES = (_MODULES, "sentence_bert_config.json", "config_sentence_transformers.json")
_BY_HEADER = 64 * 2**20
_SMALL = 2**20
_SETTLED = 2.0  # seconds: within a tick of the clock a file may change again and keep its time


def is_of_tokenizer(name: str) -> bool:
    """Whether a file of this name in a model's folder decides how a text is cut into tokens."""
    return name.startswith(_TOKENIZER_FILES) or name.endswith(_TOKENIZER_ENDINGS)


class Contents:
    """Hashes of files at one moment. `memory` is the folder that remembers those of large files, if there is one."""

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self._known: dict[tuple[str, str], str | MissingError] = {}

    @classmethod
    def from_environment(cls) -> Contents:
        """With the memory in `CACHE_DIR`; comparing needs no output folders, so there may be none."""
        cache = os.environ.get("CACHE_DIR")
        return cls(OutputPaths.hashes_in(Path(cache)) if cache else None)

    def data(self, place: str) -> str:
        """SHA-256 of a file, or of a folder's or a pattern's names and files; `MissingError` when it cannot be read."""
        return self._once("data", place, self._data)

    def model(self, place: str) -> str:
        """SHA-256 of a model's folder: its small files by content, weights beyond 64 MiB by header and size.

        Of a model of sentence-transformers also the modules around it: pooling decides its vectors, too.
        """
        return self._once("model", place, self._model)

    def _once(self, kind: str, place: str, compute: Callable[[Path], str]) -> str:
        if (kind, place) not in self._known:
            try:
                self._known[kind, place] = compute(Path(place))
            except MissingError as error:
                self._known[kind, place] = error
            except OSError as error:
                self._known[kind, place] = _unreadable(error.filename or place, error)
        found = self._known[kind, place]
        if isinstance(found, MissingError):
            raise found
        return found

    def _data(self, path: Path) -> str:
        if path.is_dir():
            files = sorted(child for child in path.rglob("*") if child.is_file())
            return sha256({str(child.relative_to(path)): self._file(child) for child in files})
        found = matching(path)
        if not found and has_magic(str(path)):
            raise MissingError(f"{path}: no file matches; check file_path in the catalog")
        if not found or found == [path]:
            return self._file(path)
        folder = os.path.commonpath([file.parent for file in found])
        return sha256({os.path.relpath(file, folder): self._data(file) for file in found})

    def _model(self, folder: Path) -> str:
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise MissingError(
                f"{folder}: is no model: a folder with config.json and *.safetensors is needed; check the catalog"
            )
        own = (path for path in folder.iterdir() if path.name in _MODEL_FILES or is_of_tokenizer(path.name))
        files = {path.name: self._file(path) for path in own if path.is_file()}
        files.update({path.name: self._weights(path) for path in weights})
        files.update({name: self._data(folder / name) for name in _of_embedder(folder)})
        return sha256(files)

    def _weights(self, path: Path) -> str:
        size = path.stat().st_size
        if size <= _BY_HEADER:
            return self._file(path)
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return hashlib.sha256(file.read(length) + str(size).encode()).hexdigest()

    def _file(self, path: Path) -> str:
        try:
            stat = path.stat()
        except OSError:
            raise MissingError(f"{path}: no such file; check file_path in the catalog") from None
        if self.memory is None or stat.st_size <= _SMALL:
            return _digest(path)
        key = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        memory = self.memory / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
        try:
            remembered = json.loads(memory.read_bytes())
            if {name: remembered[name] for name in key} == key:
                return str(remembered["sha256"])
        except (OSError, ValueError, KeyError):
            pass
        digest = _digest(path)
        if time.time() - stat.st_mtime < _SETTLED:
            return digest
        with contextlib.suppress(OSError):  # a read-only mount only costs time
            make_folder(memory.parent)
            write_durably(memory, json.dumps({**key, "path": str(path), "sha256": digest}).encode())
        return digest


def _of_embedder(folder: Path) -> list[str]:
    """What a folder of sentence-transformers holds beside the model itself: files, and a folder for each module."""
    if not (folder / _MODULES).is_file():
        return []
    try:
        modules = [str(module["path"]) for module in json.loads((folder / _MODULES).read_bytes()) if module["path"]]
    except (ValueError, KeyError, TypeError):
        raise MissingError(f"{folder / _MODULES}: lists no modules; fetch the model again") from None
    return [name for name in (*_EMBEDDER_FILES, *modules) if (folder / name).exists()]


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: OSError) -> MissingError:
    return MissingError(f"{path}: cannot be read: {error.strerror}; mend its permissions")
