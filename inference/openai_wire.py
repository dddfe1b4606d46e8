"""What goes to an OpenAI-compatible server and what comes back: chat completions as JSON. Pure functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from inference.engine import WITHHELD, ApiModel, FinishReason, Generation
from inference.served_wire import Task, held_tokens, with_thinking

# Fields that a server may not know, and that change no answer's distribution when another one or none is sent.
NEGOTIABLE = frozenset({"max_completion_tokens", "seed"})
# What a server that is not told otherwise does. OpenAI's reasoning models refuse the fields, even with these values.
_OPENAI_DEFAULTS = {"temperature": 1.0, "top_p": 1.0}


def body(task: Task, model: ApiModel, unknown: Collection[str]) -> dict[str, Any]:
    """Return the JSON of the request, without the fields that the server said are `unknown` to it.

    OpenAI's own defaults are not sent to OpenAI. Another server gets every value: its defaults may be those of the
    model's folder.
    """
    sampling = task.sampling
    fields: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if model.base_url is None:
        fields = {name: value for name, value in fields.items() if value != _OPENAI_DEFAULTS[name]}
    limit = "max_tokens" if "max_completion_tokens" in unknown else "max_completion_tokens"
    fields[limit] = sampling.max_tokens
    if task.seed is not None and "seed" not in unknown:
        fields["seed"] = task.seed
    if task.request.schema is not None:
        schema = {"name": "answer", "schema": dict(task.request.schema), "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {"model": model.name, "messages": list(task.request.messages), **fields}


@dataclass(frozen=True, slots=True)
class _Message:
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None  # vLLM
    reasoning_content: str | None = None  # DeepSeek and others


@dataclass(frozen=True, slots=True)
class _Choice:
    message: _Message
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Details:
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Usage:
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    completion_tokens_details: _Details | None = None


@dataclass(frozen=True, slots=True)
class _Completion:
    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_COMPLETION = TypeAdapter(_Completion)
_USAGE = TypeAdapter(_Usage)


def read(task: Task, content: bytes) -> Generation:
    """Return the generation in a server's response; tokens that it does not count are 0.

    Hidden thinking that the server gives beside the answer stands before it (`with_thinking`). A content filter makes
    an "error". Raises `ValueError` for anything that is no answer.
    """
    try:
        completion = _COMPLETION.validate_json(content)
    except ValidationError:
        shown = content[:120].decode(errors="replace")
        raise ValueError(f"the server's answer is no chat completion but {shown!r}") from None
    if not completion.choices:
        raise ValueError("the server's answer holds no choice")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    said = choice.message
    answer = said.content or said.refusal or ""
    ended = choice.finish_reason or "none"
    # Gemini's endpoint puts its reason behind the word.
    flaw = _flaw(ended)
    return Generation(
        id=task.request.id,
        index=task.index,
        text="" if flaw else with_thinking(said.reasoning or said.reasoning_content, answer, ended == "length"),
        finish_reason=_REASONS.get(ended, "error"),
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=_paid(usage),
        error=flaw,
        reasoning_tokens=usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None,
    )


def tokens_of(content: bytes) -> tuple[int, int] | None:
    """The tokens of prompt and answer in a response that `read` refuses, as far as it says; null: it is no answer."""
    return held_tokens(content, "choices", "usage", _counted)


def _counted(usage: object) -> tuple[int, int]:
    found = _USAGE.validate_python(usage)
    return found.prompt_tokens or 0, _paid(found)


def _paid(usage: _Usage) -> int:
    """The tokens of the answer. xAI and Gemini leave hidden thinking out of them, but not out of the total."""
    counted, beside_prompt = usage.completion_tokens or 0, (usage.total_tokens or 0) - (usage.prompt_tokens or 0)
    return max(counted, beside_prompt) if usage.prompt_tokens else counted


def _flaw(ended: str) -> str | None:
    """Why an answer that was paid for is none; null for one that is. Raises `ValueError` for one to ask again."""
    if ended in _REASONS:
        return None
    if ended.startswith("content_filter"):
        return f"{WITHHELD} the answer ({ended})"
    if ended in ("none", "abort"):  # vLLM aborts what it cannot finish now
        raise ValueError(f"the server broke the answer off (finish_reason {ended})")
    return f"the server ended the answer with finish_reason {ended!r}"
