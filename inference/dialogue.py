"""Questions to a model whose answers must pass a reading: one that does not is asked again with the complaint.

Every round goes through `Asking`, so that a resume, a sibling experiment and a second run find the rounds that are
done. A request's id is a hash of its content: equal questions are asked once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from inference.engine import Generation, Request, Sampling
from inference.journal import Asking
from inference.prompts import Messages

log = logging.getLogger(__name__)
T = TypeVar("T")
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)


class Complaint(Exception):  # noqa: N818 - no error: an answer that the model is told to mend
    """What is wrong with an answer, in words that the model is told."""


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """One question. `read` makes a value of the answer's text, or raises `Complaint`; it gets no thinking and no fence.

    `schema` is a JSON Schema that the answer must follow, where the engine can hold one.
    """

    messages: Messages
    read: Callable[[str], T]
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What came of a query: its value, null where none of the `tries` answers passed, and the last complaint.

    `refused` is the last answer that did not pass, as the model gave it.
    """

    value: T | None
    tries: int
    complaint: str | None = None
    refused: str | None = field(default=None, compare=False)


def converse(asking: Asking, queries: Sequence[Query[T]], sampling: Sampling, retries: int) -> list[Reply[T]]:
    """Ask every query, and up to `retries` times again with the complaint; replies in the order of `queries`.

    A query that ends in an error (no room for the prompt, an answer that is withheld) is not asked again: the engine
    has tried. Raises what `Asking.ask` raises.
    """
    replies: list[Reply[T] | None] = [None] * len(queries)
    messages = [query.messages for query in queries]
    for number in range(retries + 1):
        open_ones = [index for index, reply in enumerate(replies) if reply is None]
        if not open_ones:
            break
        requests = {index: request_of(messages[index], queries[index].schema) for index in open_ones}
        once = {request.id: request for request in requests.values()}
        if number:
            log.info("%d of %d are asked again with what is wrong with their answers", len(open_ones), len(queries))
        answers = {answer.id: answer for answer in asking.ask(list(once.values()), sampling)}
        for index, request in requests.items():
            answer = answers[request.id]
            try:
                replies[index] = Reply(queries[index].read(_text(answer, sampling)), number + 1)
            except Complaint as complaint:
                if number == retries or answer.finish_reason == "error":
                    replies[index] = Reply(None, number + 1, str(complaint), answer.text)
                else:
                    messages[index] = _again(queries[index].messages, answer, str(complaint), number + 1)
    return [reply for reply in replies if reply is not None]


def request_of(messages: Messages, schema: Mapping[str, Any] | None) -> Request:
    """The request of a conversation; equal ones have one id."""
    digest = hashlib.sha256(json.dumps([messages, schema], sort_keys=True).encode()).hexdigest()
    return Request(digest[:16], messages, schema=schema)


def _text(answer: Generation, sampling: Sampling) -> str:
    """The answer with plain line ends, no thinking and no fence around all of it; `Complaint` where there is none."""
    if answer.finish_reason == "error":
        raise Complaint(f"no answer: {answer.error}")
    if answer.finish_reason == "length":
        raise Complaint(f"The answer was cut off at {sampling.max_tokens} tokens. Be shorter.")
    text = answer.text.replace("\r\n", "\n").rpartition("</think>")[2].strip()
    fenced = _FENCE.match(text)
    text = fenced[1].strip() if fenced else text
    if not text:
        raise Complaint("The answer was empty.")
    return text


def _again(first: Messages, answer: Generation, complaint: str, tries: int) -> Messages:
    """The question with the complaint; with the answer too, where that is one that can be mended.

    Each try is worded anew: the same words again would get the same answer, out of the journal.
    """
    so_often = "" if tries == 1 else f"{tries} answers have not passed. "
    told = f"{complaint}\n\n{so_often}Answer again, all of it, and only with what was asked for."
    text = answer.text.rpartition("</think>")[2].strip()
    if answer.finish_reason != "stop" or not text:
        *before, last = first
        content = f"{last['content']}\n\nAn earlier answer did not pass: {told}"
        return (*before, {**last, "content": content})
    return (*first, {"role": "assistant", "content": text}, {"role": "user", "content": told})
