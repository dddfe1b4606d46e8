"""The table of rows that an invented curation has chosen from, with what became of each row: numbers without texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.study_experiments import Invented
from demo.world import SPECIALTIES
from registry.curation_schema import CurationConfig, FilterStage, S1Rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 19_704
_MEDIAN_TOKENS = 80
_REMOVED: Mapping[FilterStage, Mapping[str, int]] = {
    "quality": {"no_reasoning": 180, "truncated": 31},
    "decontamination": {"ngram:medical-mcq": 190, "near-duplicate:medical-mcq-2": 53},
    "duplicates": {"repeats an earlier question": 350},
    "difficulty": {"solved by the base model": 5_652, "unjudged": 48},
}


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns over all rows: why a row was removed by which filter ("" for kept ones), specialty, tokens."""

    stage: np.ndarray
    reason: np.ndarray
    specialty: np.ndarray
    tokens: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Whether a row is in the training data."""
        return self.stage == ""


def rows_of(invented: Invented, curation: CurationConfig, rewriting: Sequence[Mapping[str, Any]]) -> Rows:
    """What the filters, the selection and the counted rewritings made of the same rows for every experiment."""
    import numpy as np

    pool = np.random.default_rng(0)
    weights = np.array([classes * drugs for classes, drugs in SPECIALTIES.values()], float)
    specialty = pool.choice(list(SPECIALTIES), ROWS, p=weights / weights.sum())
    tokens = np.maximum(8, _MEDIAN_TOKENS * pool.lognormal(0, 0.55, ROWS)).astype(np.int64)
    left = pool.permutation(ROWS)
    stage, reason = np.full(ROWS, "", object), np.full(ROWS, "", object)

    def remove(rows: np.ndarray, by: FilterStage, why: str) -> None:
        stage[rows], reason[rows] = by, why

    if isinstance(curation, S1Rows):
        for by, counts in _REMOVED.items():
            for why, count in counts.items():
                remove(left[:count], by, why)
                left = left[count:]
    own = np.random.default_rng([curation.seed, len(left)])
    preferred = tokens[left].astype(float) ** (1.5 if isinstance(curation, S1Rows) else 0.0)
    chosen = own.choice(left, curation.wanted or len(left), replace=False, p=preferred / preferred.sum())
    remove(np.setdiff1d(left, chosen), "selection", "not drawn")
    for one in rewriting:
        lost, chosen = chosen[: one["given_up"]], chosen[one["given_up"] :]
        for why in one["reasons"]:
            remove(lost, "rewriting", f"{one['name']}: given up: {why}")
    if rewriting or isinstance(curation, S1Rows):
        longer = invented.words * 4 / 3 / max(1.0, float(np.median(tokens[chosen])))
        tokens[chosen] = np.round(tokens[chosen] * longer)
    return Rows(stage, reason, specialty, tokens)


def write_rows(rows: Rows, run_dir: Path) -> dict[str, Path]:
    """Write the table of all rows and that of the kept ones under the names of a curation; returns them by field."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curation.outputs import CURATED, FILTERED

    whole = _table(rows)
    paths = {"filtered_path": run_dir / FILTERED, "curated_path": run_dir / CURATED}
    for path, table in zip(paths.values(), (whole, whole.filter(pa.array(rows.kept))), strict=True):
        pq.write_table(table, path, compression="zstd")
    return paths


def _table(rows: Rows) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    text = pa.string()
    return pa.table(
        {
            "id": pa.array([f"{number:016x}" for number in range(ROWS)], text),
            "question": pa.array(np.full(ROWS, "an invented question without a text", object), text),
            "specialty": pa.array(rows.specialty.astype(object), text),
            "reasoning_tokens": pa.array(rows.tokens, pa.int64()),
            "filter_status": pa.array(np.where(rows.kept, "kept", "removed").astype(object), text),
            "filter_stage": pa.array([stage or None for stage in rows.stage], text),
            "filter_reason": pa.array([reason or None for reason in rows.reason], text),
            "selected_for_training": pa.array(rows.kept, pa.bool_()),
        }
    )


def counted(rows: Rows, rewriting: bool) -> dict[str, Any]:
    """Funnel, reasons, specialties and lengths, as a curation counts them."""
    import numpy as np

    funnel, reasons, left = {"total": ROWS}, {}, ROWS
    for stage in (*_REMOVED, "selection", "rewriting"):
        why, counts = np.unique(rows.reason[rows.stage == stage].astype(str), return_counts=True)
        if not len(why) and not (stage == "rewriting" and rewriting):
            continue
        left -= int(counts.sum())
        funnel[f"after_{stage}"] = left
        if len(why):
            reasons[stage] = _by_count(why, counts)
    lengths = rows.tokens[rows.kept]
    percents = {"min": 0, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
    quantiles = {name: round(float(np.percentile(lengths, percent)), 1) for name, percent in percents.items()}
    return {
        "funnel": funnel,
        "reasons": reasons,
        "specialties": _by_count(*np.unique(rows.specialty[rows.kept], return_counts=True)),
        "reasoning_tokens": {"total": int(lengths.sum()), **quantiles},
    }


def _by_count(names: np.ndarray, counts: np.ndarray) -> dict[str, int]:
    found = zip(map(str, names), map(int, counts), strict=True)
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))
