"""What the user's turn says: the question, its options, and the instruction of a prompting style. Pure text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference.formats import ChatFormat
from registry.schema import PromptStyle

# style -> (instruction for a question with options, instruction for a question without)
INSTRUCTIONS: Mapping[PromptStyle, tuple[str, str] | None] = {
    "plain": None,
    "strict": (
        'End your response with "The answer is X", where X is the letter of the correct option.',
        'End your response with "The answer is" followed by the answer alone.',
    ),
    "step": (
        'Think step by step. Then end your response with "The answer is X", '
        "where X is the letter of the correct option.",
        'Think step by step. Then end your response with "The answer is" followed by the answer alone.',
    ),
}


def user_message(question: str, options: Sequence[tuple[str, str]], style: PromptStyle) -> str:
    """Return the user's turn: question, one line `A. text` per option, then the style's instruction.

    `options` are (letter, text) pairs, none for a free-text question. The parts are set apart by a blank line.
    """
    parts = [question.strip()]
    if options:
        parts.append("\n".join(f"{letter}. {text}" for letter, text in options))
    instruction = INSTRUCTIONS[style]
    if instruction is not None:
        parts.append(instruction[0] if options else instruction[1])
    return "\n\n".join(parts)


def system_prompt(chat_format: ChatFormat, model_default: str | None) -> str | None:
    """Return the system prompt for training and for asking alike: the format's own, else the model entry's, if any."""
    return model_default if chat_format.system is None else chat_format.system


def messages(
    question: str, options: Sequence[tuple[str, str]], style: PromptStyle, system: str | None
) -> tuple[dict[str, str], ...]:
    """Return the conversation up to the assistant's turn: the system prompt, if there is one, and the user's turn."""
    user = {"role": "user", "content": user_message(question, options, style)}
    return (user,) if system is None else ({"role": "system", "content": system}, user)
