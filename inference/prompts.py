"""What the user's turn says: the question, its options, and the instruction of a prompting style. Pure text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference.formats import ChatFormat
from registry.schema import PromptStyle, TaskName

Messages = tuple[dict[str, str], ...]
TOKEN_BYTES = 4.0
"""Bytes of UTF-8 in a token: a little fewer than in English prose, about as many as in Chinese or German."""
TURN_TOKENS = 4
"""What a chat template adds to a message."""

# The beginning of a style's instruction, and how it ends for each task.
INSTRUCTIONS: Mapping[PromptStyle, str | None] = {
    "plain": None,
    "strict": "End your response with",
    "step": "Think step by step. Then end your response with",
}
_ENDINGS: Mapping[TaskName, str] = {
    "choice": '"The answer is X", where X is the letter of the correct option.',
    "labels": '"The answers are X, Y", the letters of all correct options.',
    "number": '"The answer is" followed by the number alone.',
    "text": '"The answer is" followed by the answer alone.',
}


def user_message(
    question: str, options: Sequence[tuple[str, str]], style: PromptStyle, task: TaskName | None = None
) -> str:
    """Return the user's turn: question, one line `A. text` per option, then the style's instruction.

    `options` are (letter, text) pairs, none for a free-text question; `task` null is a choice where there are options,
    else text. The parts are set apart by a blank line.
    """
    parts = [question.strip()]
    if options:
        parts.append("\n".join(f"{letter}. {text}" for letter, text in options))
    instruction = INSTRUCTIONS[style]
    if instruction is not None:
        parts.append(f"{instruction} {_ENDINGS[task or ('choice' if options else 'text')]}")
    return "\n\n".join(parts)


def about_tokens(conversation: Messages) -> float:
    """Return about how many tokens a conversation has, by rule of thumb: no API says how its model counts."""
    return sum(TURN_TOKENS + len(message["content"].encode(errors="replace")) / TOKEN_BYTES for message in conversation)


def system_prompt(chat_format: ChatFormat, model_default: str | None) -> str | None:
    """Return the system prompt for training and for asking alike: the format's own, else the model entry's, if any."""
    return model_default if chat_format.system is None else chat_format.system


def conversation(user: str, system: str | None, before: Messages = ()) -> Messages:
    """Return the messages up to the assistant's turn: the system prompt, if any, earlier turns, and the user's."""
    opening = () if system is None else ({"role": "system", "content": system},)
    return (*opening, *before, {"role": "user", "content": user})


def messages(question: str, options: Sequence[tuple[str, str]], style: PromptStyle, system: str | None) -> Messages:
    """Return the conversation of one question, up to the assistant's turn."""
    return conversation(user_message(question, options, style), system)
