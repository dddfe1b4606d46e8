"""The real MedMCQA against the real MedQA and through `s1`, with its 21 subjects as specialties."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.parts import Report, Say
from benchmarks.real_data import real_data_folder, real_files
from curation.decontamination import contamination
from curation.ledger import Entry, funnel, kept
from curation.methods.pool import specialty_of
from curation.pipeline import Course, choose
from data.load import load_rows
from registry.console import Grid
from registry.filter_schema import DecontaminationConfig
from tests.stages import make_context
from tests.tiny import make_tiny_model

EXAMPLES = 3
_ENDS = ("row_question", "benchmark_question")
WANTED, LONG_TOKENS = 1_000, 400
SETTINGS = {
    "default": DecontaminationConfig(),
    "8-grams": DecontaminationConfig(ngram=8),
    # Far below what anyone would call a copy, to show what the nearest pairs are.
    "nearest": DecontaminationConfig(ngram=8, coverage=0.03, similarity=0.3),
}


def run_real_files(full: bool, say: Say) -> Report:
    """Rows and pairs found at three settings, the strongest pairs; then funnel and subjects of `s1`."""
    files = real_files(real_data_folder())
    say("MedMCQA through s1, decontaminated against MedQA")
    with tempfile.TemporaryDirectory() as folder:
        curation = {"method": "s1", "n_samples": WANTED, "long_tokens": LONG_TOKENS, "difficulty": None}
        model = make_tiny_model(Path(folder) / "model")
        context = make_context(Path(folder) / "run", model, train=files["medmcqa"], curation=curation)
        config = context.config.model_copy(update={"benchmarks": {"medqa": files["medqa"]}})
        course = choose(replace(context, config=config))
    found = {name: _found(course, files, settings) for name, settings in SETTINGS.items()}
    subjects = _subjects(course)
    counts = funnel(course.ledger, course.stages)
    return Report(
        data={"pairs": found, "funnel": counts, "subjects": subjects, "long_tokens": LONG_TOKENS},
        lines=(
            Grid(
                ("MedMCQA against MedQA", "rows", "equal", "n-gram", "similar"), _pair_lines(found), right=(1, 2, 3, 4)
            ),
            *_examples(found["nearest"]["examples"]),
            "s1: " + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()),
            Grid(("subject", "rows", "passed the filters", "long", "chosen"), subjects, right=(1, 2, 3, 4)),
        ),
    )


def _found(course: Course, files: Mapping[str, Any], settings: DecontaminationConfig) -> dict[str, Any]:
    everything = tuple(Entry(entry.row, entry.reasoning_tokens) for entry in course.ledger)
    found = contamination(everything, {"medqa": load_rows("medqa", files["medqa"])}, settings)
    strongest = sorted(found.pairs, key=lambda pair: (-pair["score"], pair["row_id"]))
    return {**found.metrics["medqa"], "examples": [dict(pair) for pair in strongest[:EXAMPLES]]}


def _pair_lines(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    names = ("rows", "rows_equal", "rows_n_gram", "rows_similar")
    return [[setting, *(str(counts[name]) for name in names)] for setting, counts in found.items()]


def _examples(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{pair['kind']} {pair['score']:.2f}: {' and '.join(repr('...' + pair[end][-90:]) for end in _ENDS)}"
        for pair in pairs
    ]


def _subjects(course: Course) -> list[list[str]]:
    """Each subject with its rows in the file, behind the filters, of long reasoning among these, and chosen."""
    passed = [entry for entry in course.ledger if entry.stage in (None, "selection")]
    long = [entry for entry in passed if entry.reasoning_tokens >= LONG_TOKENS]
    columns = [Counter(map(specialty_of, entries)) for entries in (course.ledger, passed, long, kept(course.ledger))]
    return [[subject, *(str(column[subject]) for column in columns)] for subject, _ in columns[0].most_common()]
