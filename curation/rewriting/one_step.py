"""An answer that is to be one step, and how prompts ask for one. Pure text."""

from __future__ import annotations

from curation.rewriting.steps import split_steps, with_headings
from inference.dialogue import Complaint

FORM = """The step is written in this form, and nothing stands before or after it:
## Step 1: A short title
The content, in whole sentences."""


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
            "The step lacks its title or its content. The title ends its line, the content stands below it."
        )
    return f"{title.strip()}\n{content.strip()}"
