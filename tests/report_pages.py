"""What the browser tests of the report read: its data files, what a page shows, and a copy with many answers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

MCQ = "medical-mcq"
QUESTIONS, REPEATED = 40, 200  # of the first benchmark; 8,000 answers where many are needed
CHUNK = 200  # texts in one data file of the report
ROWS = "#leaderboard tbody tr:not([hidden])"


def data(folder: Path, key: str) -> Any:
    """What a data file of the report holds."""
    call = (folder / "data" / f"{key}.js").read_text()
    return json.loads(call.partition(",")[2].strip().removesuffix(");"))


def column(page: Page, key: str) -> list[str]:
    """The texts of a leaderboard column in the rows that are shown, from the top."""
    place: int = page.locator(f'th[data-key="{key}"]').evaluate("cell => cell.cellIndex")
    rows = page.locator(ROWS)
    texts: list[str] = rows.evaluate_all(f"rows => rows.map(row => row.cells[{place}].dataset.value)")
    return texts


def shown(page: Page) -> list[str]:
    """The names of the experiments that the leaderboard shows, from the top."""
    rows = page.locator(ROWS)
    names: list[str] = rows.evaluate_all("rows => rows.map(row => row.dataset.name)")
    return names


def luminance(page: Page, color: str) -> float:
    """The relative luminance (WCAG 2) of one of the style sheet's colours, as the page shows it."""
    measure = "name => { document.body.style.color = `var(--${name})`; return getComputedStyle(document.body).color; }"
    channels = [int(part) / 255 for part in re.findall(r"\d+", page.evaluate(measure, color))]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def place(folder: Path) -> int:
    """The number of the first benchmark in the report's data."""
    return [benchmark["key"] for benchmark in data(folder, "index")["benchmarks"]].index(MCQ)


def grown(report: Path, folder: Path) -> Path:
    """A copy of the report in which s1-1k answered each question of the first benchmark REPEATED times."""
    shutil.copytree(report, folder, ignore=shutil.ignore_patterns("figures", "experiments"))
    run, number = data(folder, "runs/s1-1k"), place(folder)
    columns = {name: values * REPEATED for name, values in run[MCQ].items() if isinstance(values, list | str)}
    repetition = [copy for copy in range(REPEATED) for _ in range(QUESTIONS)]
    write(folder, "runs/s1-1k", {**run, MCQ: {**run[MCQ], **columns, "repetition": repetition}})
    texts = data(folder, f"answers/s1-1k/b{number}/0") * REPEATED
    for start in range(0, len(texts), CHUNK):
        write(folder, f"answers/s1-1k/b{number}/{start // CHUNK}", texts[start : start + CHUNK])
    return folder


def write(folder: Path, key: str, value: object) -> None:
    (folder / "data" / f"{key}.js").write_text(f'meds1Data("{key}", {json.dumps(value)});\n')
