"""A model that rewrites: it knows each rewriting by what its prompt begins with, and writes what was asked for.

What it writes makes no sense, but it has the form, and the words, that the rewriting holds its answers to. A share of
its first answers is bad, and a few rows get nothing but bad ones: which they are follows from the prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

from curation.rewriting.notes import NOTES
from curation.rewriting.outcome import Rewriting
from curation.rewriting.perturbations import PERTURBATIONS
from curation.rewriting.restore import restore
from curation.rewriting.steps import join_steps, split_steps
from curation.rewriting.styles import STYLES
from data.rows import Option, Row
from inference.dialogue import Query, Reply
from registry.rewriting_schema import STYLE_NAMES

Material = Mapping[str, str]
"""What stands between the tags of a prompt: `question`, `options`, `answer`, `reasoning`..."""
_TAGGED: Final = re.compile(r"<the_(\w+)>\n(.*?)\n</the_\1>", re.DOTALL)
_MADE_UP: Final = "moonstone disease"
_FAULTS: Final = ("empty", "cut", "form", "prompt")


def parts(text: str, count: int = 4) -> list[str]:
    """About so many parts of the words of a text, without the signs of a form."""
    words = re.sub(r"[#*`|>]+|\[taken\]|(?m:^[QA]:)", " ", text).replace(":", "").split()
    size = max(1, -(-len(words) // count))
    return [" ".join(words[start : start + size]) for start in range(0, len(words), size)]


def _steps(found: Sequence[str], below: str = "") -> str:
    return join_steps([f"Thought {number}\n{part}{below}" for number, part in enumerate(found, start=1)])


def _thoughts(material: Material) -> list[str]:
    asked = [f"Here is {part}" for part in parts(material["question"], 3)]
    return [*asked, f"So it must be this. The answer is {material['answer']}"]


def _note(names: Sequence[str], material: Material) -> str:
    found = parts(material["reasoning"], len(names))
    return "\n\n".join(f"## {name}\n{found[place % len(found)]}" for place, name in enumerate(names))


def _sentence(material: Material) -> str:
    words = re.sub(r"[.!?]", "", material["reasoning"]).lower().split()
    return f"In short, {' '.join(words[:30])}."


def _tree(material: Material) -> str:
    first, *others = parts(material["reasoning"], 3)
    taken = " ".join(others) or "so it is"
    return f"What is it? {first}\n  -> Yes, {taken} [taken]\n  -> No, something else"


def _talk(material: Material) -> str:
    found = parts(material["reasoning"], 4)
    turns = [f"Internist: What follows next?\n\nCardiologist: {part}" for part in found]
    return "\n\n".join([*turns, "Internist: I agree."])


def _merged(material: Material) -> str:
    titles, contents = zip(*(step.partition("\n")[::2] for step in split_steps(material["reasoning"])), strict=True)
    return f"## Step 1: {titles[0]}\n{' '.join([*contents, *titles[1:]])}"


def _wrong(material: Material) -> str:
    if "options" in material:
        return f"## Step 1: Conclude\nAll of this comes together. The answer is {material['answer']}."
    step = f"## Step 1: Conclude\nAll of this comes together in {_MADE_UP}."
    return json.dumps({"short_answer": _MADE_UP, "final_step": step, "answer": _MADE_UP})


def _restored(material: Material) -> str:
    return _steps([*parts(material["reasoning"], 3), "Thus all is in order again."])


def _aloud(material: Material) -> str:
    found = [f"Hmm, I think of this: {part}" for part in parts(material["reasoning"], 3)]
    return "\n".join([*found, "Wait, although it is rare, it is likely.", f"So the answer is {material['answer']}"])


def _exam(material: Material) -> str:
    told = " ".join(re.sub(r"[.!?]", "", material["reasoning"]).split()[:30])
    question = f"A patient of 50 years comes to the emergency room and is seen at once by all. {told}. What is it?"
    return json.dumps({"question": question, "answer": _MADE_UP})


WRITERS: Final[Mapping[str, Callable[[Material], str]]] = {
    "step": lambda given: _steps(parts(given["reasoning"])),
    "1-sentence": _sentence,
    "list": lambda given: "\n".join(f"- {part}" for part in parts(given["reasoning"])),
    "markdown": lambda given: "\n\n".join(f"## Part {n}\n{part}" for n, part in enumerate(parts(given["reasoning"]))),
    "step-evidence": lambda given: _steps(parts(given["reasoning"]), "\n**Evidence:** it was found so"),
    "note": lambda given: _note(NOTES["soap"], given),
    **{kind: partial(_note, names) for kind, names in NOTES.items()},
    "decision-tree": _tree,
    "qa": lambda given: "\n\n".join(f"Q: What follows next?\nA: {part}" for part in parts(given["reasoning"])),
    "socratic": _talk,
    "cot": lambda given: "\n".join(_thoughts(given)),
    "cot-step": lambda given: _steps(_thoughts(given)),
    **dict.fromkeys((name for name in STYLE_NAMES if name.startswith(("nejmcr-transform", "nejmcr-reason"))), _aloud),
    "nejmcr-qa": _exam,
    "nejmcr-clean": lambda given: given["reasoning"],
    "collapse_consecutive": _merged,
    "answer": _wrong,
    "restore": _restored,
}
"""Rewriting -> how it is written."""


def well_written(prompt: str) -> str:
    """An answer as it should be."""
    name = next((name for start, name in _beginnings() if prompt.startswith(start)), None)
    if name is None:
        raise ValueError(f"no rewriting asks like this: {prompt[:200]}")
    return WRITERS[name](dict(_TAGGED.findall(prompt)))


def written(messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """The answer to a conversation, now and then a bad one, and why it ended."""
    first = messages[0]["content"]
    is_first = len(messages) == 1 and "An earlier answer did not pass" not in first
    fault = _fault(first.partition("\n\nAn earlier answer did not pass")[0], is_first=is_first)
    if fault == "empty":
        return "", "stop"
    if fault == "prompt":
        return first, "stop"
    if fault == "form":
        return "I would rather talk about the weather today.", "stop"
    answer = well_written(first)
    if fault == "cut":
        return answer[: len(answer) // 2], "length"
    return (f"```\n{answer}\n```" if fault == "fence" else answer), "stop"


def _fault(prompt: str, *, is_first: bool) -> str | None:
    """One prompt in five gets a bad first answer, one of them in eight bad ones only; one in twelve a fence."""
    drawn = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")
    if drawn % 5 == 0 and (is_first or drawn // 5 % 8 == 0):
        return _FAULTS[drawn // 40 % len(_FAULTS)]
    return "fence" if drawn % 12 == 1 else None


@cache
def _beginnings() -> list[tuple[str, str]]:
    """What each rewriting says before the material, the longest first."""
    texts = ((), (Option("A", "One"), Option("B", "Two")))
    found = [
        (_prompt(rewriting, _row(options)).partition("\n<the_")[0], name)
        for name, rewriting in _asking()
        for options in texts
    ]
    return sorted(found, key=lambda each: -len(each[0]))


def _asking() -> list[tuple[str, Rewriting]]:
    named: list[tuple[str, Rewriting]] = [*STYLES.items(), ("restore", restore)]
    named += [(kind, make(1.0, 0)) for kind, make in PERTURBATIONS.items()]
    return [(name, rewriting) for name, rewriting in named if name in WRITERS]


def _row(options: tuple[Option, ...]) -> Row:
    reasoning = join_steps([f"Thought\nIt is {number}." for number in range(3)])
    gold = "A" if options else None
    return Row("id", "question id", "What is it?", options, "One", gold, reasoning, reasoning, None, "made-up")


def _prompt(rewriting: Rewriting, row: Row) -> str:
    asked: list[str] = []

    def ask(queries: Sequence[Query[Row]]) -> list[Reply[Any]]:
        asked.extend(query.messages[0]["content"] for query in queries)
        return [Reply(None, 1, "nothing") for _ in queries]

    rewriting([row], ask)
    return asked[0]
