"""Numbers computed from texts, kept by content: token counts, embeddings.

A store is a folder of `.npz` files, each named by the hash of its bytes, that only ever grows by whole new files, so
that many jobs on NFS share it without a lock: a value that two of them computed may be there twice and costs only
space. What the disk does not give or take is said in a warning and only costs time: a file that is not as it was
written, or cannot be read, is computed again.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.durable import make_folder, write_durably
from registry.errors import StageFailure
from registry.progress import Progress

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
CHUNK = 4096
_KEY_BYTES = 16
Compute = Callable[[Sequence[str]], "np.ndarray"]


def computed_once(texts: Sequence[str], folder: Path, compute: Compute, chunk: int = CHUNK) -> np.ndarray:
    """Return one value for each of `texts`, of shape (texts, ...).

    `folder` is the store of one function: its name must say all that decides a value but the text, that of the folder
    above it what the values are, for the progress on stderr. `compute` is asked for the texts that the store lacks,
    each once, in the order of their first occurrence; for `chunk` of them at a time, which are kept before the next are
    asked for. Raises `StageFailure` where nothing can be kept: a shard would have worked for nothing.
    """
    import numpy as np

    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_KEY_BYTES] for text in texts]
    known = _read(folder, set(keys))
    missing = {text: key for key, text in zip(keys, texts, strict=True) if key not in known}
    lacked = list(missing)
    with Progress(len(lacked), folder.parent.name, "text", delay=1.0) as progress:  # what takes no time is not shown
        for start in range(0, len(lacked), chunk):
            part = lacked[start : start + chunk]
            values = compute(part)
            if len(values) != len(part):
                raise ValueError(f"{len(values)} values for {len(part)} texts")
            keys_of_part = [missing[text] for text in part]
            _write(folder, keys_of_part, values)
            known |= dict(zip(keys_of_part, values, strict=True))
            progress.advance(len(part))
            progress.tell()
    return np.array([known[key] for key in keys])


def _read(folder: Path, wanted: AbstractSet[bytes]) -> dict[bytes, Any]:
    known: dict[bytes, Any] = {}
    for file in sorted(folder.glob("*.npz")):
        try:
            content = file.read_bytes()
        except OSError as error:
            log.warning("%s cannot be read (%s): what it held is computed again", file, error)
            continue
        if hashlib.sha256(content).hexdigest() == file.stem:
            known |= _held(content, wanted - known.keys())
        else:
            log.warning("%s is not as it was written: what it held is computed again", file)
    return known


def _held(content: bytes, wanted: AbstractSet[bytes]) -> dict[bytes, Any]:
    """What of `wanted` a file holds."""
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as saved:
        keys = [key.tobytes() for key in saved["keys"]]
        if wanted.isdisjoint(keys):
            return {}
        return {key: value for key, value in zip(keys, saved["values"], strict=True) if key in wanted}


def _write(folder: Path, keys: Sequence[bytes], values: np.ndarray) -> None:
    """Add one whole file."""
    import numpy as np

    file = io.BytesIO()
    np.savez(file, keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES), values=values)
    content = file.getvalue()
    try:
        make_folder(folder)
        write_durably(folder / f"{hashlib.sha256(content).hexdigest()}.npz", content)
    except OSError as error:
        raise StageFailure(
            f"{folder}: what was computed cannot be kept here ({error.strerror}); mend that and run again: "
            "what is kept already is not computed again"
        ) from error
