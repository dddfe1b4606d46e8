"""`python -m curation NAME --preview N`: rows of a completed curation with what became of each.

The rows are drawn from the table of every input row, in turns from those that were kept and from those that each filter
removed, and are the same ones each time. Of a row that was rewritten the change is shown, word by word.
"""

from __future__ import annotations

import json
import random
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from registry.console import Answer, Drawn
from registry.curation_schema import FILTER_STAGES
from registry.errors import Meds1Error, MissingError
from registry.paths import is_here
from registry.secrets import masked
from registry.status import ended_as
from registry.store import Registry, results_of

if TYPE_CHECKING:
    from rich.console import Group

    from curation.rewriting.difference import Kind

KEPT: Final = "kept"
SHOWN: Final = {"question": 600, "start": 350, "end": 350, "option": 200, "answer": 300}
"""Characters of a text that a person is shown; `--json` has all of it."""
MARKS: Final[Mapping[Kind, tuple[str, str, str]]] = {
    "same": ("", "", ""),
    "removed": ("[-", "-]", "red strike"),
    "added": ("{+", "+}", "green"),
}
"""What stands before and after such words, and how they are drawn: without colours the signs tell."""


def preview(opened: Registry, name: str, count: int, answer: Answer) -> None:
    """Add `count` rows of the experiment's curation to the answer; `MissingError` when there is none to show."""
    view = opened.read()
    answer.warnings.extend(view.warnings)
    result = results_of(view, name).get("curation")
    path = _table_of(result, name)
    try:
        state = opened.statuses(view, name)["curation"]
        if state.status != "completed":
            reason = f" ({state.reason})" if state.reason else ""
            answer.warnings.append(
                f"{name}: these rows are of an earlier curation, which is now {state.status}{reason}"
            )
    except Meds1Error as error:  # what was made is shown all the same
        answer.warnings.append(str(error))
    fates, rows = _drawn(path, count)
    given_up = _given_up((result or {}).get("given_up_path"))
    rows = [{**row, **given_up.get(row["id"], {})} for row in rows]
    answer.data = {"experiment": name, "filtered_path": str(path), "fates": fates, "rows": rows}
    answer.lines.append(", ".join(f"{fate} {number:,}" for fate, number in fates.items()))
    answer.lines += [Drawn(_panel(row)) for row in rows]


def _table_of(result: Mapping[str, Any] | None, name: str) -> Path:
    if not result or ended_as(result) != "completed":
        raise MissingError(f"{name}: it is not curated yet; run `meds1 run {name} --stage curation` first")
    recorded = result.get("filtered_path")
    if not recorded or not is_here(recorded):
        raise MissingError(
            f"{name}: its curation names filtered_path {recorded!r}, which is not here; run "
            f"`meds1 run {name} --stage curation --force`, or mount the file system that holds it"
        )
    return Path(recorded)


def _given_up(recorded: str | None) -> dict[str, dict[str, str | None]]:
    """The whole complaint and the last answer that did not pass, by the ids of the rows that were given up."""
    if not recorded or not is_here(recorded):
        return {}
    lines = (json.loads(line) for line in Path(recorded).read_text(encoding="utf-8").split("\n") if line)
    return {line["id"]: {"complaint": line["reason"], "refused_answer": line["answer"]} for line in lines}


def _drawn(path: Path, count: int) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """How many rows had each fate, and `count` rows spread over the fates, those first that a perturbation changed."""
    import pyarrow.parquet as pq

    of_fate: dict[str, list[int]] = defaultdict(list)
    names = [name for name in ("filter_stage", "perturbed") if name in pq.read_schema(path).names]
    marks = pq.read_table(path, columns=names).to_pydict()
    for index, stage in enumerate(marks["filter_stage"]):
        of_fate[stage or KEPT].append(index)
    perturbed = {index for index, changed in enumerate(marks.get("perturbed", ())) if changed}
    fates = {fate: of_fate[fate] for fate in (KEPT, *FILTER_STAGES) if fate in of_fate}
    rng = random.Random("preview")
    shuffled = [_sample(rng, indices, count, perturbed) for indices in fates.values()]
    in_turns = [index for turn in zip_longest(*shuffled) for index in turn if index is not None]
    rows = pq.read_table(path).take(list(islice(in_turns, count))).to_pylist()
    order = list(fates)
    rows.sort(key=lambda row: order.index(row["filter_stage"] or KEPT))
    return {fate: len(indices) for fate, indices in fates.items()}, rows


def _sample(rng: random.Random, indices: Sequence[int], count: int, first: Set[int]) -> list[int]:
    """At most so many of the indices, drawn; those that are among `first` before all others."""
    parts = [index for index in indices if index in first], [index for index in indices if index not in first]
    return [index for part in parts for index in rng.sample(part, min(count, len(part)))][:count]


def _panel(row: Mapping[str, Any]) -> Any:
    from rich import box
    from rich.panel import Panel
    from rich.text import Text

    stage = row["filter_stage"]
    color = "green" if stage is None else "red"
    fate = KEPT if stage is None else f"removed by {stage}: {row['filter_reason']}"
    return Panel(
        _body(row),
        title=Text(masked(fate), style=f"bold {color}"),
        title_align="left",
        subtitle=Text(row["id"], style="dim"),
        subtitle_align="right",
        border_style=color,
        box=box.ROUNDED,
    )


def _body(row: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    is_rewritten = row["filter_stage"] is None and "question_original" in row
    rate = "not measured" if row["pass_rate"] is None else f"{row['pass_rate']:.0%}"
    facts = f"{row['specialty'] or 'unlabelled'} · {row['reasoning_tokens']:,} tokens · pass rate {rate}"
    facts += " · perturbed" if row.get("perturbed") else ""
    parts = [Text(masked(f"{facts} · {row['source']}"), style="dim")]
    if is_rewritten and row["question"] != row["question_original"]:
        parts.append(_changed("Question", row["question_original"], row["question"]))
    else:
        parts.append(_said("", row["question"], SHOWN["question"]))
    gold = (row["answer_idx"] or "").split(",")
    for option in row["options"]:
        right = option["letter"] in gold
        text = _short(f"{option['letter']}. {option['text']}", SHOWN["option"])
        parts.append(Text(masked(f"{'✓' if right else ' '} {text}"), style="green" if right else ""))
    if is_rewritten and row["reasoning"] != row["reasoning_original"]:
        parts.append(_changed("Reasoning", row["reasoning_original"], row["reasoning"]))
    else:
        parts.append(_said("Reasoning", _ends(row["reasoning"])))
    if row.get("complaint"):
        parts.append(_said("Complaint", row["complaint"]))
    if row.get("refused_answer"):
        parts.append(_said("Refused answer", _ends(row["refused_answer"])))
    if is_rewritten and _answer(row) != _answer(row, "_original"):
        parts.append(_changed("Answer", _answer(row, "_original"), _answer(row)))
    else:
        parts.append(_said("Answer", row["answer"], SHOWN["answer"]))
    return Group(*parts)


def _answer(row: Mapping[str, Any], which: str = "") -> str:
    letter = row[f"answer_idx{which}"]
    return f"{letter}. {row[f'answer{which}']}" if letter else str(row[f"answer{which}"])


def _changed(title: str, before: str, after: str) -> Any:
    """What was rewritten: removed words red and struck in [- -], added ones green in {+ +}."""
    from rich.text import Text

    from curation.rewriting.difference import shortened, word_difference

    text, gone, space = Text.assemble((f"{title}: ", "bold")), "", ""
    for kind, words in shortened(word_difference(before, after)):
        opening, closing, style = MARKS[kind]
        if gone:  # what came stands right after what went, unless there are lines of either
            space = "\n\n" if "\n" in f"{gone}{words}".strip() else "" if kind == "added" else space
        shown = words.rstrip()
        text.append(space).append(f"{opening}{masked(shown)}{closing}", style)
        gone, space = words if kind == "removed" else "", words[len(shown) :]
    return text


def _said(title: str, text: str, longest: int | None = None) -> Any:
    from rich.text import Text

    shown = text.strip() if longest is None else _short(text, longest)
    return Text.assemble((f"{title}: " if title else "", "bold"), masked(shown) or ("(empty)", "italic"))


def _ends(text: str) -> str:
    """The start and the end of a long text."""
    text = " ".join(text.split())
    start, end = SHOWN["start"], SHOWN["end"]
    if len(text) <= start + end:
        return text
    return f"{text[:start].rstrip()} […{len(text) - start - end:,} characters…] {text[-end:].lstrip()}"


def _short(text: str, longest: int) -> str:
    return textwrap.shorten(text, longest, placeholder=" […]")
