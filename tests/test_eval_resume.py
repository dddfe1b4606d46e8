"""An evaluation that is killed goes on where it was, and one that has ended is scored again without its model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eval.stage import PARTIAL
from tests.lab import CHECKOUT, Lab, make_lab
from tests.stages import record, write_jsonl

N, REPETITIONS = 120, 6
SETTINGS = {"engine": "transformers", "max_tokens": 16, "temperature": 0.8, "repetitions": REPETITIONS}


def make_exam(folder: Path) -> Lab:
    """A lab whose exam has 720 answers, which come in three batches."""
    lab = make_lab(folder)
    write_jsonl(folder / "eval.jsonl", [record(1000 + number, "ABCD"[number % 4]) for number in range(N)])
    lab.edit("base", eval=SETTINGS)
    return lab


def predictions(lab: Lab) -> list[dict[str, Any]]:
    path = Path(lab.results("base")["eval"]["predictions_path"])
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_killed_evaluation_loses_no_answer_and_asks_none_twice(tmp_path: Path) -> None:
    lab = make_exam(tmp_path)
    command = [sys.executable, "-m", "eval", "base"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=dict(lab.environment), stderr=subprocess.DEVNULL) as process:
        while not (partial := _partial(lab)) or partial.read_bytes().count(b"\n") < 20:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.kill()
    kept = [json.loads(line) for line in partial.read_bytes().split(b"\n")[:-1]]
    assert len(kept) < REPETITIONS * N

    lab.run(command)

    made = predictions(lab)
    answers = {(line["id"], line["repetition"]): line["output"] for line in made}
    assert len(made) == len(answers) == REPETITIONS * N
    assert all(answers[line["id"], line["index"]] == line["text"] for line in kept)
    assert not partial.exists()


def test_the_command_scores_stored_predictions_again(tmp_path: Path) -> None:
    """What the model said is replaced by hand: had it been asked again, it would not say that."""
    lab = make_exam(tmp_path)
    lab.meds1("run", "base", "--stage", "eval")
    stored = Path(lab.results("base")["eval"]["predictions_path"])
    lines = [{**json.loads(line), "output": "The answer is B."} for line in stored.read_text().splitlines()]
    write_jsonl(stored, lines)

    assert "would run (scores" in lab.meds1("run", "base", "--rescore", "--dry-run").stdout
    lab.meds1("run", "base", "--rescore")

    result = lab.results("base")["eval"]["metrics"]
    assert (result["rescored"], result["benchmarks"]["held-out"]["num_correct"]) == (True, REPETITIONS * N // 4)
    lab.edit("base", eval={**SETTINGS, "temperature": 0.5})
    refused = lab.meds1("run", "base", "--rescore", code=2).stderr
    assert "base: its predictions cannot be scored again: eval.temperature 0.8 -> 0.5; run its eval again" in refused
    assert (
        "--rescore: only the eval makes predictions"
        in lab.meds1("run", "base", "--stage", "training", "--rescore", code=2).stderr
    )


def _partial(lab: Lab) -> Path | None:
    return next((lab.folder / "cache").rglob(PARTIAL), None)
