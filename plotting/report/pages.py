"""The pages: templates filled with plain values, every one of them escaped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from plotting.metrics import Measure, metric_of
from plotting.runs import Run
from plotting.scores import Score
from registry.catalog import Display
from registry.events import as_grid
from registry.secrets import masked

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
NAV = (("index", "Leaderboard"), ("compare", "Compare"), ("predictions", "Predictions"), ("figures", "Figures"))


@dataclass(frozen=True)
class Site:
    """Where the pages go, and what all of them say: when they were made, and from which registry."""

    report: Path
    made: str
    registry: str

    @cached_property
    def _templates(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        found = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_masked,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        found.filters |= {"link": link, "page_of": page_of, "sentence": sentence}
        return found

    def write(self, page: str, values: Mapping[str, Any], file: str | None = None) -> None:
        """Write a page from its template; `file` is its place below the report's folder."""
        place = file or f"{page}.html"
        shared = {
            "page": page,
            "root": "../" * place.count("/"),
            "nav": NAV,
            "made": self.made,
            "registry": self.registry,
        }
        text = self._templates.get_template(f"{page}.html").render(**shared, **values)
        path = self.report / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")

    def copy_assets(self) -> None:
        """Copy what the pages load beside their data."""
        target = self.report / "assets"
        target.mkdir()
        for path in sorted((HERE / "assets").iterdir()):
            shutil.copyfile(path, target / path.name)


def _masked(value: Any) -> Any:
    """Every value of a page without keys, before it is escaped; what a macro gives is markup already."""
    return masked(value) if type(value) is str else value


def link(text: str) -> str:
    """A path, or a name in an address's hash, as a part of a URL."""
    return quote(text, safe="/")


def sentence(text: str) -> str:
    """The text as a sentence, with a large letter first and a full stop."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def page_of(name: str) -> str:
    """The address of an experiment's page, from the report's folder."""
    return f"experiments/{quote(name, safe='')}.html"


def experiment_values(
    run: Run, history: Mapping[str, Any], failures: Mapping[str, Mapping[str, int]], display: Display
) -> dict[str, Any]:
    """What `experiment.html` shows beside config and stages; `failures` are counts by benchmark and failure mode."""
    row, grid = run.row, as_grid(history)
    return {
        "run": run,
        "tags": run.body.get("tags") or [],
        "description": run.body.get("description") or "",
        "notes": [_note(note) for note in run.body.get("notes") or ()],
        "remark": row.remark if row else "",
        "scores": [
            _score(display.benchmarks.get(source, source), score, failures.get(source, {}))
            for source, score in (row.scores if row else {}).items()
        ],
        "history": {"header": grid.header, "rows": grid.rows},
    }


def page_links(run: Run, stages: Sequence[str], predictions: bool) -> list[tuple[str, str]]:
    """Where one may go from an experiment's page: addresses and titles."""
    name = quote(run.experiment, safe="")
    parts = ["scores"] if run.row else []
    links = [(f"#{part}", part.capitalize()) for part in (*parts, "config", *stages, "history")]
    if predictions:
        links.append((f"../predictions.html#run={name}", "Predictions"))
    if run.row:
        links.append((f"../compare.html#a={name}", "Compare with another"))
    return links


def _note(note: Any) -> str:
    if not isinstance(note, Mapping):
        return str(note)
    about = ", ".join(str(value) for key, value in note.items() if key != "text" and value)
    return f"{note.get('text', '')} ({about})" if about else str(note.get("text", ""))


def _score(title: str, score: Score, failures: Mapping[str, int]) -> dict[str, Any]:
    most = max(failures.values(), default=1)
    return {
        "title": title,
        "flags": score.flags,
        "correct": score.correct,
        "total": score.total,
        "questions": score.questions,
        "chance": score.chance,
        "measures": [_measure(name, measure) for name, measure in score.measures().items()],
        "failures": [(mode.replace("_", " "), count, count / most) for mode, count in failures.items()],
    }


def _measure(name: str, measure: Measure) -> Sequence[str]:
    metric = metric_of(name)
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"{metric.shown(measure.low)} to {metric.shown(measure.high)}"
    unit = " %" if metric.unit == "share" else ""
    return metric.title, metric.shown(measure.value) + unit, interval, f"{measure.n:,}"
