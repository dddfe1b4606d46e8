"""The outputs of a curation. Each is written under a temporary name and renamed when it is whole.

Equal input gives equal bytes: the tables' schemas are fixed and the data set's fingerprint is a hash of its examples.
Tables are written column by column and some thousand rows at a time: a row of a large data set is never a dict.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curation.ledger import Entry, Ledger, kept
from data.rows import Option
from registry.durable import replace_folder

if TYPE_CHECKING:
    import pyarrow as pa

FILTERED: Final = "med_s1k_filtered.parquet"
CURATED: Final = "med_s1k_curated.parquet"
FORMATTED: Final = "med_s1k_formatted"
ROWS_AT_ONCE: Final = 8192

PAIR_FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    "contamination": {
        **dict.fromkeys(("row_id", "row_question", "benchmark", "benchmark_id", "benchmark_question", "kind"), str),
        "score": float,
    },
    "duplicates": {
        **dict.fromkeys(("row_id", "row_question", "kept_id", "kept_question", "kind"), str),
        "similarity": float,
    },
}
"""The columns of each table of pairs: a row, the question that it is like, and how that was found."""

# The texts of a table, all but each their own: a dictionary of them would be the column once more.
_REPEATED: Final = ["specialty", "source", "answer_idx", "filter_status", "filter_stage", "filter_reason"]


def write_tables(ledger: Ledger, run_dir: Path, *, rewritten: bool = False) -> dict[str, Path]:
    """Write the table of every input row and the table of the selected ones; returns them by result field.

    Those of `rewritten` rows have columns for the question and the answer as they were loaded, and `perturbed`, too.
    """
    paths = {"filtered_path": run_dir / FILTERED, "curated_path": run_dir / CURATED}
    for path, entries in zip(paths.values(), (ledger, kept(ledger)), strict=True):
        _write_parquet((_columns(part, rewritten) for part in _parts(entries)), path, _REPEATED)
    return paths


def write_pairs(pairs: Mapping[str, Sequence[Mapping[str, Any]]], run_dir: Path) -> dict[str, Path]:
    """Write a table `NAME.parquet` of the pairs that each filter found; returns them by result field."""
    paths = {}
    for name, found in pairs.items():
        path = paths[f"{name}_path"] = run_dir / f"{name}.parquet"
        _write_parquet([_pair_columns(found, PAIR_FIELDS[name])], path, ["kind"])
    return paths


def write_dataset(
    splits: Mapping[str, Sequence[Mapping[str, Any]]], extras: Mapping[str, bytes], run_dir: Path
) -> Path:
    """Write a `datasets.DatasetDict` of `curation.formatting.training_example`s; a split may be empty.

    `extras` are files to lie beside the splits, by their path in the folder.
    """
    from datasets import DatasetDict, disable_progress_bars

    disable_progress_bars()
    saved = DatasetDict({name: _dataset(examples) for name, examples in splits.items()})
    path, temporary = run_dir / FORMATTED, run_dir / f".{FORMATTED}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    # datasets writes no file at all for an empty split unless told to, and then cannot load what it saved.
    saved.save_to_disk(temporary, num_shards={name: None if examples else 1 for name, examples in splits.items()})
    for name, content in extras.items():
        (temporary / name).parent.mkdir(exist_ok=True)
        (temporary / name).write_bytes(content)
    replace_folder(temporary, path)
    return path


def _dataset(examples: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow as pa
    from datasets import Dataset, DatasetInfo, Features, List, Value
    from datasets.table import InMemoryTable

    message = {"role": Value("string"), "content": Value("string")}
    text, option = Value("string"), {"letter": Value("string"), "text": Value("string")}
    features = Features(
        {
            "id": text,
            "prompt": List(message),
            "completion": List(message),
            "answer": text,
            "answer_idx": text,
            "options": List(option),
        }
    )
    schema = features.arrow_schema
    parts = [pa.RecordBatch.from_pylist(list(part), schema=schema) for part in _parts(examples)]
    digest = hashlib.sha256(str(features).encode())
    for part in parts:
        digest.update(part.serialize())
    table = InMemoryTable(pa.Table.from_batches(parts, schema=schema))
    return Dataset(table, info=DatasetInfo(features=features), fingerprint=digest.hexdigest()[:16])


def _columns(entries: Sequence[Entry], rewritten: bool) -> pa.Table:
    import pyarrow as pa

    rows = [entry.row for entry in entries]
    text = pa.string()
    kept_ones = [entry.kept for entry in entries]
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(row, name) for row in rows], text) for name in ("id", "question_id", "question")
    }
    columns["options"] = _options([row.options for row in rows])
    texts = ("answer", "answer_idx", "reasoning", "reasoning_original", "specialty", "source")
    columns |= {name: pa.array([getattr(row, name) for row in rows], text) for name in texts}
    if rewritten:
        for name in ("question", "answer", "answer_idx"):
            columns[f"{name}_original"] = pa.array([getattr(entry.loaded.row, name) for entry in entries], text)
        columns["perturbed"] = pa.array([entry.perturbed for entry in entries], pa.bool_())
    columns["reasoning_tokens"] = pa.array([entry.reasoning_tokens for entry in entries], pa.int64())
    columns["pass_rate"] = pa.array([entry.pass_rate for entry in entries], pa.float64())
    columns["filter_status"] = pa.array(["kept" if is_kept else "removed" for is_kept in kept_ones], text)
    columns["filter_stage"] = pa.array([entry.stage for entry in entries], text)
    columns["filter_reason"] = pa.array([entry.reason for entry in entries], text)
    columns["selected_for_training"] = pa.array(kept_ones, pa.bool_())
    return pa.table(columns)


def _options(options: Sequence[Sequence[Option]]) -> pa.Array:
    """A column of lists of letter and text."""
    import numpy as np
    import pyarrow as pa

    flat = [option for each in options for option in each]
    letters = pa.array([option.letter for option in flat], pa.string())
    texts = pa.array([option.text for option in flat], pa.string())
    ends = np.cumsum([0, *map(len, options)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.StructArray.from_arrays([letters, texts], ["letter", "text"]))


def _pair_columns(pairs: Sequence[Mapping[str, Any]], fields: Mapping[str, type]) -> pa.Table:
    import pyarrow as pa

    types = {str: pa.string(), float: pa.float64()}
    return pa.table({name: pa.array([pair[name] for pair in pairs], types[kind]) for name, kind in fields.items()})


def _parts(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The entries some thousand at a time; one empty part where there are none."""
    for start in range(0, max(len(entries), 1), ROWS_AT_ONCE):
        yield entries[start : start + ROWS_AT_ONCE]


def _write_parquet(parts: Iterable[pa.Table], path: Path, repeated: list[str]) -> None:
    import pyarrow.parquet as pq

    temporary = path.with_name(f".{path.name}.tmp")
    writer = None
    for part in parts:
        writer = writer or pq.ParquetWriter(temporary, part.schema, use_dictionary=repeated)
        writer.write_table(part)
    assert writer is not None
    writer.close()
    os.replace(temporary, path)


def write_lines(rows: Iterable[Mapping[str, Any]], path: Path, errors: str = "surrogatepass") -> Path:
    """Write a JSON line for each row; `errors` says what becomes of a lone surrogate."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8", errors=errors) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    os.replace(temporary, path)
    return path
