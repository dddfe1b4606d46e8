"""Numbers computed from texts, kept by content: token counts, embeddings.

A store is a folder of `.npz` files that only ever grows by whole new files under names nobody else can use, so that
many jobs on NFS share it without a lock: a value that two of them computed is there twice and costs only space. A file
that cannot be read is left out with a warning: what it held is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
_KEY_BYTES = 16
LOG_SECONDS = 30.0
Compute = Callable[[Sequence[str]], "np.ndarray"]


def computed_once(texts: Sequence[str], folder: Path, compute: Compute, chunk: int | None = None) -> np.ndarray:
    """Return one value for each of `texts`, of shape (texts, ...).

    `folder` is the store of one function: its name must say all that decides a value but the text. `compute` is asked
    for the texts that the store lacks, each once, in the order of their first occurrence; for `chunk` of them at a
    time, which are kept before the next are asked for.
    """
    import numpy as np

    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES] for text in texts]
    known = _read(folder)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    todo = list(missing)
    said = time.monotonic()
    for start in range(0, len(todo), chunk or max(len(todo), 1)):
        part = todo[start : start + chunk] if chunk else todo
        values = compute([missing[key] for key in part])
        if len(values) != len(part):
            raise ValueError(f"{len(values)} values for {len(part)} texts")
        _write(folder, part, values)
        known |= dict(zip(part, values, strict=True))
        if time.monotonic() - said >= LOG_SECONDS:
            said = time.monotonic()
            log.info("%s: %d of %d texts", folder.parent.name, start + len(part), len(todo))
    return np.array([known[key] for key in keys])


def _read(folder: Path) -> dict[bytes, Any]:
    import numpy as np

    known: dict[bytes, Any] = {}
    for file in sorted(folder.glob("*.npz")):
        try:
            with np.load(file, allow_pickle=False) as saved:
                keys, values = saved["keys"], saved["values"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            log.warning("%s cannot be read (%s): what it held is computed again", file, error)
            continue
        known |= dict(zip((key.tobytes() for key in keys), values, strict=True))
    return known


def _write(folder: Path, keys: Sequence[bytes], values: np.ndarray) -> None:
    """Add one whole file; raises `OSError` when it cannot be written."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    temporary = folder / f".{name}.tmp"
    with temporary.open("wb") as file:
        np.savez(file, keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES), values=values)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / f"{name}.npz")
