"""What goes to Gemini on Vertex AI and what comes back: `generateContent` as JSON. Pure functions.

A line of a batch prediction holds the same JSON in `request` and `response`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from inference.engine import WITHHELD, FinishReason, Generation, VertexModel
from inference.samples import failure
from inference.served_wire import Task, held_tokens, with_thinking

# Ends that another try would meet again: the answer is withheld.
_WITHHELD = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"})
_ENDS: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}


def body(task: Task, model: VertexModel) -> dict[str, Any]:
    """Return the JSON of the request. Consecutive turns of one role are one turn with several parts, as Gemini asks."""
    sampling, contents = task.sampling, list[dict[str, Any]]()
    system: list[dict[str, str]] = []
    for turn in task.request.messages:
        part = {"text": turn["content"]}
        role = "model" if turn["role"] == "assistant" else "user"
        if turn["role"] == "system":
            system.append(part)
        elif contents and contents[-1]["role"] == role:
            contents[-1]["parts"].append(part)
        else:
            contents.append({"role": role, "parts": [part]})
    config: dict[str, Any] = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "maxOutputTokens": sampling.max_tokens,
    }
    if task.seed is not None:
        config["seed"] = task.seed
    if task.request.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": dict(task.request.schema)}
    asked: dict[str, Any] = {"contents": contents, "generationConfig": config}
    return {**asked, "systemInstruction": {"parts": system}} if system else asked


class _Json(BaseModel):
    """An object of the response; what is not named here does not count."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, extra="ignore")


class _Part(_Json):
    text: str = ""
    thought: bool = False


class _Content(_Json):
    parts: tuple[_Part, ...] = ()


class _Candidate(_Json):
    content: _Content = _Content()
    finish_reason: str = "none"
    finish_message: str = ""


class _Feedback(_Json):
    block_reason: str = "none"
    block_reason_message: str = ""


class _Usage(_Json):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int | None = None


class _Response(_Json):
    candidates: tuple[_Candidate, ...] = ()
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage = _Usage()


_RESPONSE = TypeAdapter(_Response)
_USAGE = TypeAdapter(_Usage)


def read(task: Task, content: str | bytes) -> Generation:
    """Return the generation in a response; tokens that it does not count are 0.

    Thoughts stand before the answer (`with_thinking`) and count as completion tokens. An answer or a prompt that is
    blocked is an "error". Raises `ValueError` for anything that is no answer.
    """
    try:
        response = _RESPONSE.validate_json(content)
    except ValidationError:
        raise ValueError(f"the server's answer is no generated content but {content[:120]!r}") from None
    usage, feedback = response.usage_metadata, response.prompt_feedback
    if feedback is not None and not response.candidates:
        why = f"{WITHHELD} its answer to the prompt ({feedback.block_reason}) {feedback.block_reason_message}".strip()
        return failure(task.request, task.index, usage.prompt_token_count, why)
    if not response.candidates:
        raise ValueError("the server's answer holds no candidate")
    candidate = response.candidates[0]
    ended = candidate.finish_reason
    if ended in ("none", "FINISH_REASON_UNSPECIFIED"):
        raise ValueError("the server ended the answer without a finishReason")
    parts = candidate.content.parts
    thinking = "".join(part.text for part in parts if part.thought)
    answer = "".join(part.text for part in parts if not part.thought)
    what = f"{WITHHELD} the answer" if ended in _WITHHELD else "the server broke the answer off"
    flaw = None if ended in _ENDS else f"{what} ({ended}) {candidate.finish_message}".strip()
    return Generation(
        id=task.request.id,
        index=task.index,
        text="" if flaw else with_thinking(thinking, answer, ended == "MAX_TOKENS"),
        finish_reason=_ENDS.get(ended, "error"),
        prompt_tokens=usage.prompt_token_count,
        completion_tokens=_paid(usage),
        error=flaw,
        reasoning_tokens=usage.thoughts_token_count,
    )


def tokens_of(content: str | bytes) -> tuple[int, int] | None:
    """The tokens of prompt and answer in a response that `read` refuses, as far as it says; null: it is no answer."""
    return held_tokens(content, "candidates", "usageMetadata", _counted)


def _counted(usage: object) -> tuple[int, int]:
    found = _USAGE.validate_python(usage)
    return found.prompt_token_count, _paid(found)


def _paid(usage: _Usage) -> int:
    return usage.candidates_token_count + (usage.thoughts_token_count or 0)
