"""`python -m curation NAME --preview N` shows rows of a curation and why each was kept or removed."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from curation.ledger import open_ledger, remove, with_pass_rates, with_rewritten
from curation.outputs import write_tables
from curation.rewriting.apply import write_given_up
from tests.lab import Lab
from tests.small_lab import edit_json, make_small_lab, python_m, save
from tests.stages import row

LONG = "First we [think]. " + "It may help. " * 200 + "So the answer is B"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return make_small_lab(tmp_path / "lab", monkeypatch)


def curate(lab: Lab) -> None:
    """Record a curation of 30 rows: 4 kept, 6 removed by quality, 20 not drawn."""
    rows = [row(number, reasoning=LONG, specialty=None if number % 2 else "Cardiology") for number in range(30)]
    ledger = with_pass_rates(open_ledger(rows, [1234] * 30), {each.id: 0.25 for each in rows})
    ledger = remove(ledger, "quality", {each.id: "refusal" for each in rows[:6]})
    ledger = remove(ledger, "selection", {each.id: "not drawn" for each in rows[10:]})
    folder = lab.folder / "made"
    folder.mkdir()
    save(lab, "tuned", "curation", "completed", filtered_path=str(write_tables(ledger, folder)["filtered_path"]))


def shown(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    return lab.run([sys.executable, "-m", "curation", "tuned", *options])


def test_rows_of_every_fate_are_shown_with_their_reason(lab: Lab) -> None:
    curate(lab)
    done = shown(lab, "--preview", "4")
    first, *body = done.stdout.splitlines()
    assert first == "kept 4, quality 6, selection 20"
    titles = [line.strip("╭╮─ ") for line in body if line.startswith("╭")]
    assert titles == ["kept", "kept", "removed by quality: refusal", "removed by selection: not drawn"]
    assert "· 1,234 tokens · pass rate 25% ·" in done.stdout
    assert "✓ B. Prednisone" in done.stdout
    assert "  A. Lisinopril" in done.stdout
    assert "Reasoning: First we [think]. It may help." in done.stdout
    assert "characters…]" in done.stdout
    assert "So the answer is B" in done.stdout
    assert shown(lab, "--preview", "4").stdout == done.stdout
    assert done.stderr == ""


def test_json_has_the_whole_rows(lab: Lab) -> None:
    curate(lab)
    data = json.loads(shown(lab, "--preview", "99", "--json").stdout)["data"]
    assert data["fates"] == {"kept": 4, "quality": 6, "selection": 20}
    assert (data["experiment"], len(data["rows"]), len({each["id"] for each in data["rows"]})) == ("tuned", 30, 30)
    assert {each["reasoning"] for each in data["rows"]} == {LONG}


def test_a_terminal_gets_colours_and_its_own_width(lab: Lab) -> None:
    curate(lab)
    mine, its = pty.openpty()
    environment = {**lab.environment, "TERM": "xterm-256color", "COLUMNS": "60"}
    command = [sys.executable, "-m", "curation", "tuned", "--preview", "2"]
    with subprocess.Popen(command, cwd=lab.code, env=environment, stdout=its, stderr=subprocess.PIPE) as process:
        os.close(its)
        said = bytearray()
        while chunk := _read(mine):
            said += chunk
    os.close(mine)
    assert process.returncode == 0
    assert "\x1b[32m✓ B. Prednisone" in said.decode()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()
    assert {len(line) for line in lines[1:]} == {60}


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_a_stale_curation_is_shown_with_a_warning(lab: Lab) -> None:
    curate(lab)
    edit_json(
        lab.folder / "results.json",
        lambda document: document["experiments"]["tuned"]["config"]["curation"].update(n_samples=5),
    )
    done = shown(lab, "--preview", "1")
    assert "kept 4" in done.stdout
    assert "tuned: these rows are of an earlier curation, which is now stale (curation.n_samples 4 -> 5)" in done.stderr


def test_what_cannot_be_shown_is_one_line_that_says_what_to_do(lab: Lab) -> None:
    said = python_m(lab, "curation", "tuned", "--preview", "3", code=3)
    assert said == ("meds1 curation: tuned: it is not curated yet; run `meds1 run tuned --stage curation` first\n")
    assert "'--preview': Input should be greater than or equal to 1" in python_m(
        lab, "curation", "tuned", "--preview", "0", code=2
    )
    assert "training chooses no rows" in python_m(lab, "train", "tuned", "--preview", "3", code=2)
    curate(lab)
    (lab.folder / "made" / "med_s1k_filtered.parquet").unlink()
    assert "which is not here; run `meds1 run tuned --stage curation --force`" in python_m(
        lab, "curation", "tuned", "--preview", "3", code=3
    )


def test_rewritten_rows_are_shown_with_what_changed_word_by_word(lab: Lab) -> None:
    rows = [row(number, reasoning="First we think. So the [answer] is B") for number in range(3)]
    steps = replace(rows[0], reasoning="First we look. So the [answer] is really B")
    asked = replace(rows[1], question="What is it?", options=(), answer="Fever", answer_idx=None, reasoning="")
    new = {steps.id: steps, asked.id: asked}
    ledger = with_rewritten(open_ledger(rows, [9] * 3), new, dict.fromkeys(new, 7), {})
    ledger = remove(ledger, "rewriting", {rows[2].id: "step: given up: The answer was empty"})
    folder = lab.folder / "made"
    folder.mkdir()
    paths = write_tables(ledger, folder, rewritten=True)
    lost = [
        {"id": rows[2].id, "rewriting": "step", "reason": "It is empty. Write 2 steps.", "answer": "No \udcff steps"}
    ]
    recorded = {**paths, "given_up_path": write_given_up(lost, folder)}
    save(lab, "tuned", "curation", "completed", **{name: str(path) for name, path in recorded.items()})

    done = shown(lab, "--preview", "3")

    said = " ".join(line.strip("│ ") for line in done.stdout.splitlines())
    assert "Complaint: It is empty. Write 2 steps. Refused answer: No" in said
    assert "Reasoning: First we [-think.-]{+look.+} So the [answer] is {+really+} B Answer: Prednisone" in said
    assert "Question: [-Which drug helps patient 1?-]{+What is it?+}" in said
    assert "Reasoning: [-First we think. So the [answer] is B-] Answer: [-B. Prednisone-]{+Fever+}" in said
    assert "removed by rewriting: step: given up: The answer was empty" in said
    data = json.loads(shown(lab, "--preview", "3", "--json").stdout)["data"]
    texts = {(each["reasoning"], each["reasoning_original"], each["question_original"]) for each in data["rows"]}
    assert (steps.reasoning, rows[0].reasoning, rows[0].question) in texts


def test_rows_that_a_perturbation_has_changed_come_first(lab: Lab) -> None:
    rows = [row(number, reasoning=LONG) for number in range(40)]
    new = {each.id: each for each in rows}
    changed = {each.id: number in (5, 17, 31) for number, each in enumerate(rows)}
    ledger = with_rewritten(open_ledger(rows, [9] * 40), new, dict.fromkeys(new, 7), changed)
    folder = lab.folder / "made"
    folder.mkdir()
    paths = write_tables(ledger, folder, rewritten=True)
    save(lab, "tuned", "curation", "completed", filtered_path=str(paths["filtered_path"]))

    done = shown(lab, "--preview", "5")
    titles = [("perturbed" in line) for line in done.stdout.splitlines() if "tokens · pass rate" in line]
    assert titles == [True, True, True, False, False]
