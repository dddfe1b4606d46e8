"""A training row as the two texts that a model meets when it is asked: what it is given, and what it is to write.

The first is the chat template's own rendering of the prompt with its generation prompt, to the letter what inference
sends. The second is the completion as curation wrote it, then the template's end of the assistant's turn. The template
never renders the completion itself: templates of reasoning models cut the thinking out of an assistant's message, or
put an empty one before it, which is meant for the history of a chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.errors import StageFailure, UsageError

_PROBE = "assistantturn"


@dataclass(frozen=True, slots=True)
class Turn:
    """`given` is rendered by the chat template, `written` is what the loss is on."""

    given: str
    written: str


def turn(row: dict[str, Any], tokenizer: Any, opening: str) -> Turn:
    """Lay out a row of the formatted data set (`prompt`, `completion`: message lists; `id`).

    `opening` is the mark that begins a thinking; where the generation prompt ends with it, it is not written twice.
    Raises `UsageError` when the template cannot render the row, `StageFailure` when there is nothing to write.
    """
    completion = "".join(message["content"] for message in row["completion"])
    if not completion.strip():
        raise StageFailure(f"row {row['id']} has an empty completion: nothing to learn; remove it in curation")
    given = _render(row["id"], tokenizer, row["prompt"], add_generation_prompt=True)
    probe = [*row["prompt"], {"role": "assistant", "content": _PROBE}]
    before, found, end = _render(row["id"], tokenizer, probe).rpartition(_PROBE)
    if not found or not end.strip():
        raise UsageError(
            f"the model's chat template {'does not end the' if found else 'has no'} assistant's turn, so that the "
            "model could not learn to answer; use an instruction-tuned model, or correct its chat template"
        )
    space = before.removeprefix(given) if before.startswith(given) else ""
    written = _unopened(completion, given, opening) + end
    return Turn(given, written if space.strip() else space + written)


def _unopened(completion: str, given: str, opening: str) -> str:
    """The completion, without the opening mark where the generation prompt has written it."""
    mark = opening.strip()
    if not mark or not given.rstrip().endswith(mark) or not completion.startswith(mark):
        return completion
    rest = completion.removeprefix(mark)
    return rest.lstrip() if given[-1].isspace() else rest


def _render(row_id: str, tokenizer: Any, messages: list[dict[str, str]], **options: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise UsageError(
            f"row {row_id}: the model's chat template refuses the messages ({roles}): {error}; choose a "
            "curation.format and a system_prompt that fit the model"
        ) from None
