"""The published benchmark files that are not part of the project, as the catalog entries that a user would write."""

from __future__ import annotations

import os
from pathlib import Path

from registry.catalog import Columns, DatasetEntry
from registry.errors import MissingError

_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data_folder() -> Path:
    """The folder that `MEDS1_REAL_DATA` names, or `shared/data` beside the clone; `MissingError` without it."""
    folder = Path(os.environ.get("MEDS1_REAL_DATA", _FOLDER))
    if not folder.is_dir():
        raise MissingError(f"there is no {folder}; set MEDS1_REAL_DATA to the folder of benchmark files")
    return folder


def real_files(folder: Path) -> dict[str, DatasetEntry]:
    """MedQA's test file and MedMCQA's development file in `folder`."""
    columns = Columns(options=("opa", "opb", "opc", "opd"), answer_idx="cop", reasoning="exp", specialty="subject_name")
    return {
        "medqa": DatasetEntry(file_path=str(folder / "medqa_usmle_test.jsonl")),
        "medmcqa": DatasetEntry(file_path=str(folder / "medmcqa_dev.jsonl"), columns=columns, answer_index_base=1),
    }
