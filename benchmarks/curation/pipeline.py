"""A whole curation of 25,371 rows: its time beyond counting tokens, its memory, and how fast tokens are counted.

Quality filter, exact duplicates, `s1` selection of 5,000, formatting, card, figures and writing, by the stage itself in
a process of its own. Importing the libraries is timed apart: it does not grow with the rows.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.curation.made_rows import N_ROWS, make_model, write_rows
from benchmarks.parts import Report, Say
from registry.console import Grid
from registry.errors import StageFailure

SELECTED: Final = 5_000
SECONDS: Final = 6.0
MEGABYTES: Final = 1_500
SHARE: Final = 0.8
CURATION: Final[dict[str, Any]] = {
    "method": "s1",
    "n_samples": SELECTED,
    "decontamination": None,
    "duplicates": {"similarity": None},
    "difficulty": None,
}


def measure_pipeline(full: bool, say: Say) -> Report:
    """The stage in a fresh process, the best of one round (full: of three)."""
    with tempfile.TemporaryDirectory(prefix="meds1-pipeline-") as scratch:
        folder = _made(Path(scratch), say)
        rounds = []
        for number in range(3 if full else 1):
            say(f"pipeline: round {number + 1}")
            rounds.append(_child("stage", folder, f"run-{number}"))
    best = min(rounds, key=lambda each: each["beyond"])
    memory = max(each["megabytes"] for each in rounds)
    lines = [
        ["beyond tokenization, s", f"{best['beyond']:.2f}", f"{SECONDS:g}", _verdict(best["beyond"] <= SECONDS)],
        ["  processor seconds in that", f"{best['beyond_cpu']:.2f}", "", ""],
        ["peak memory, MB", f"{memory:.0f}", f"{MEGABYTES}", _verdict(memory <= MEGABYTES)],
        ["tokenization, s", f"{best['tokens']:.2f}", "", ""],
        ["importing libraries, s", f"{best['imports']:.2f}", "", ""],
    ]
    grid = Grid(["", "measured", "at most", ""], lines, title=f"{N_ROWS:,} rows: {_funnel(best)}", right=(1, 2))
    sound = all(each["funnel"]["after_selection"] == SELECTED for each in rounds)
    return Report({"rounds": rounds, "limits": {"seconds": SECONDS, "megabytes": MEGABYTES}}, (grid,), sound)


def measure_tokens(full: bool, say: Say) -> Report:
    """Counting the tokens of all rows as the stage does, against the tokenizer alone; best of two (full: five)."""
    with tempfile.TemporaryDirectory(prefix="meds1-tokens-") as scratch:
        folder = _made(Path(scratch), say)
        say("tokens: counting")
        found = _child("tokens", folder, "5" if full else "2")
    share = found["bare"] / found["ours"]
    lines = [
        ["data.tokens", f"{found['tokens'] / found['ours'] / 1e6:.2f}", f"{share:.2f}", _verdict(share >= SHARE)],
        ["the tokenizer's encode_batch", f"{found['tokens'] / found['bare'] / 1e6:.2f}", "1", ""],
    ]
    header = ["", "million tokens/s", f"share (at least {SHARE:g})", ""]
    title = f"{found['tokens'] / N_ROWS:.0f} tokens per row"
    return Report({**found, "share": share}, (Grid(header, lines, title=title, right=(1, 2)),), found["equal"])


def _made(folder: Path, say: Say) -> Path:
    say(f"making {N_ROWS:,} rows")
    write_rows(folder / "rows.jsonl")
    make_model(folder / "model")
    return folder


def _verdict(holds: bool) -> str:
    return "" if holds else "MISSED"


def _funnel(found: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found["funnel"].items())


def _child(what: str, folder: Path, argument: str) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, what, str(folder), argument]
    environment = {**os.environ, "CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise StageFailure(f"{what}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run_stage(folder: Path, name: str) -> dict[str, Any]:
    start = time.perf_counter()
    import datasets  # noqa: F401 - imported here so that it is not timed below
    import matplotlib.figure  # noqa: F401
    import transformers

    from data import tokens

    _ = transformers.AutoTokenizer, transformers.PreTrainedTokenizerFast
    spent: list[tuple[float, float]] = []
    tokens.count_tokens = _timed(tokens.count_tokens, spent)  # before the stage takes the name
    from curation.stage import run
    from registry.catalog import DatasetEntry
    from tests.stages import make_context

    context = make_context(
        folder / name / "run",
        folder / "model",
        train=DatasetEntry(file_path=str(folder / "rows.jsonl")),
        curation=CURATION,
    )
    ready, busy = time.perf_counter(), time.process_time()
    output = run(context)
    seconds, busy = time.perf_counter() - ready, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "imports": ready - start,
        "seconds": seconds,
        "tokens": sum(wall for wall, _ in spent),
        "beyond": seconds - sum(wall for wall, _ in spent),
        "beyond_cpu": busy - sum(cpu for _, cpu in spent),
        "megabytes": peak / (1e6 if sys.platform == "darwin" else 1e3),
        "funnel": output.metrics["funnel"],
    }


def _timed(function: Callable[..., Any], spent: list[tuple[float, float]]) -> Callable[..., Any]:
    """The function, which adds the wall and processor seconds of each call."""

    def call(*arguments: Any, **named: Any) -> Any:
        start, busy = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent.append((time.perf_counter() - start, time.process_time() - busy))

    return call


def _count(folder: Path, rounds: str) -> dict[str, Any]:
    from transformers import AutoTokenizer

    from data.tokens import count_tokens

    with (folder / "rows.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["reasoning"] for line in file]
    bare = AutoTokenizer.from_pretrained(folder / "model").backend_tokenizer
    count_tokens(texts[:10], folder / "model")  # which loads its tokenizer
    ours, alone = [], []
    for _ in range(int(rounds)):
        start = time.perf_counter()
        counts = count_tokens(texts, folder / "model")
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        reference = _bare_counts(bare, texts)
        alone.append(time.perf_counter() - start)
    return {"ours": min(ours), "bare": min(alone), "tokens": sum(reference), "equal": list(counts) == reference}


def _bare_counts(tokenizer: Any, texts: Sequence[str], batch: int = 1024) -> list[int]:
    return [
        len(encoding.ids)
        for start in range(0, len(texts), batch)
        for encoding in tokenizer.encode_batch(texts[start : start + batch], add_special_tokens=False)
    ]


if __name__ == "__main__":
    what, folder, argument = sys.argv[1:]
    print(json.dumps((_run_stage if what == "stage" else _count)(Path(folder), argument)))
