"""The three outputs of a curation. Each is written under a temporary name and renamed when it is whole.

Equal input gives equal bytes: the tables' schema is fixed and the data set's fingerprint is a hash of its examples.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.ledger import Entry, Ledger, kept

FILTERED = "med_s1k_filtered.parquet"
CURATED = "med_s1k_curated.parquet"
FORMATTED = "med_s1k_formatted"


def write_tables(ledger: Ledger, run_dir: Path) -> dict[str, Path]:
    """Write the table of every input row and the table of the selected ones; returns them by result field."""
    paths = {"filtered_path": run_dir / FILTERED, "curated_path": run_dir / CURATED}
    _write_table(ledger, paths["filtered_path"])
    _write_table(kept(ledger), paths["curated_path"])
    return paths


def write_dataset(splits: dict[str, list[dict[str, Any]]], run_dir: Path) -> Path:
    """Write a `datasets.DatasetDict` of `curation.formatting.training_example`s; a split may be empty."""
    from datasets import Dataset, DatasetDict, Features, List, Value, disable_progress_bars

    disable_progress_bars()
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
    saved = DatasetDict()
    for name, examples in splits.items():
        digest = hashlib.sha256(json.dumps(examples, sort_keys=True).encode()).hexdigest()[:16]
        columns = {column: [example[column] for example in examples] for column in features}
        built = Dataset.from_dict(columns, features=features)
        saved[name] = Dataset(built.data, info=built.info, fingerprint=digest)
    path, temporary = run_dir / FORMATTED, run_dir / f".{FORMATTED}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    # datasets writes no file at all for an empty split unless told to, and then cannot load what it saved.
    saved.save_to_disk(temporary, num_shards={name: None if examples else 1 for name, examples in splits.items()})
    _replace_folder(temporary, path)
    return path


def _replace_folder(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`. A folder that is there is set aside first: no rename replaces a full one."""
    aside = path.with_name(f".{path.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    os.replace(new, path)
    shutil.rmtree(aside, ignore_errors=True)


def _record(entry: Entry) -> dict[str, Any]:
    row = entry.row
    return {
        "id": row.id,
        "question_id": row.question_id,
        "question": row.question,
        "options": [{"letter": option.letter, "text": option.text} for option in row.options],
        "answer": row.answer,
        "answer_idx": row.answer_idx,
        "reasoning": row.reasoning,
        "reasoning_original": row.reasoning_original,
        "specialty": row.specialty,
        "source": row.source,
        "reasoning_tokens": entry.reasoning_tokens,
        "pass_rate": entry.pass_rate,
        "filter_status": "kept" if entry.kept else "removed",
        "filter_stage": entry.stage,
        "filter_reason": entry.reason,
        "selected_for_training": entry.kept,
    }


def _write_table(entries: Sequence[Entry], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = ("id", "question_id", "question", "answer", "answer_idx", "reasoning", "reasoning_original")
    option = pa.struct([("letter", pa.string()), ("text", pa.string())])
    types: dict[str, Any] = {name: pa.string() for name in (*text, "specialty", "source")}
    types |= {"options": pa.list_(option), "reasoning_tokens": pa.int64(), "pass_rate": pa.float64()}
    types |= {name: pa.string() for name in ("filter_status", "filter_stage", "filter_reason")}
    types["selected_for_training"] = pa.bool_()
    table = pa.Table.from_pylist([_record(entry) for entry in entries], schema=pa.schema(list(types.items())))
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary)
    os.replace(temporary, path)
