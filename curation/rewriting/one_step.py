"""An answer that is to be one step, and how prompts ask for one. Pure text."""

from __future__ import annotations

from typing import Final

from curation.rewriting.steps import split_steps, with_headings
from inference.dialogue import Complaint

ONE_STEP: Final = (
    'a single step: a line "## Step 1: Title" with a short title, and the content of the step on the lines below it.'
)


def one_step(text: str) -> str:
    """Return the one step of an answer, its title and its content without the heading's mark; or raise `Complaint`."""
    steps = split_steps(with_headings(text))
    if len(steps) != 1:
        raise Complaint(
            f"The answer is not one step. It has {len(steps)} headings; begin with `## Step 1: ` and a title."
        )
    title, _, content = steps[0].partition("\n")
    if not title.strip() or not content.strip():
        raise Complaint(
            "The step lacks its title or its content. Put the title on the heading's line and the content below it."
        )
    return f"{title.strip()}\n{content.strip()}"
