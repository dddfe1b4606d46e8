"""What an error of an OpenAI-compatible server means: for one request, for a while, or for the whole stage."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
from openai import APIConnectionError, APIError, APIStatusError

from inference.engine import ApiModel
from inference.openai_wire import NEGOTIABLE
from inference.served_faults import Fault, asked_wait, busy
from registry.errors import MissingError, StageFailure, UsageError

_ITS_OWN_FAULT = (400, 413, 422)
_PASSING = (408, 409, 425)
NO_KEY = "EMPTY"
_UNKNOWN = re.compile(
    r"unsupported|not supported|unknown|unrecogni[sz]ed|unexpected|extra_forbidden|not permitted|not a valid field",
    re.I,
)
_ABOUT_THE_KEY = re.compile(r"api[ _-]?key|authorization header", re.I)
_ABOUT_THE_PROMPT = re.compile(r"context|prompt|input|messages", re.I)
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


@dataclass(frozen=True, slots=True)
class Server:
    """A model and its place, as messages name them, and the key that no message may hold."""

    model: ApiModel
    key: str = field(repr=False)

    def __str__(self) -> str:
        """`model at host`, without what else stands in the URL."""
        place = "api.openai.com" if self.model.base_url is None else urlsplit(self.model.base_url).netloc
        return f"{self.model.name} at {place.rpartition('@')[2]}"

    def masked(self, text: str) -> str:
        """`text` on one line, not endless, and without the key: a server may well repeat it."""
        if self.key != NO_KEY:
            text = text.replace(self.key, f"<{self.model.api_key_env}>")
        return " ".join(text.split())[:400]


def understand(error: APIError, server: Server, sent: Mapping[str, Any], heard: bool) -> Fault:
    """Return what `error`, got for the request `sent`, means.

    Raises `MissingError` (no such server, key or model), `UsageError` (a sampling parameter is refused) or
    `StageFailure` (no money, a wait of more than ten minutes) when every other request would meet the same. `heard`
    says whether the server has answered anything before.
    """
    if isinstance(error, APIStatusError):
        return _of_status(error, server, sent, heard)
    if isinstance(error, APIConnectionError):
        text = server.masked(f"{error.message} {error.__cause__ or ''}")
        if _unreachable(error) and not heard:
            raise MissingError(f"cannot reach {server}: {text}; is the server up, and base_url right?")
        return Fault("passing", text, gone=_unreachable(error))
    return Fault("passing", server.masked(str(error)))


def _unreachable(error: Exception) -> bool:
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def _of_status(error: APIStatusError, server: Server, sent: Mapping[str, Any], heard: bool) -> Fault:
    status, said = error.status_code, _message(error.body)
    text = server.masked(f"HTTP {status}: {said}" if said else f"HTTP {status}")
    _end_the_stage(error, server, text, heard)
    if status in _ITS_OWN_FAULT:
        return _of_request(error, server, sent, text)
    if status == 429 or status >= 500 or status in _PASSING:
        return busy(server, status == 429, text, asked_wait(error.response.headers))
    return Fault("refused", text)


def _end_the_stage(error: APIStatusError, server: Server, text: str, heard: bool) -> None:
    status, model = error.status_code, server.model
    # A server that has answered may forbid one prompt; Gemini's endpoint says 400 of a wrong key.
    no_key = status == 403 or (status == 400 and _ABOUT_THE_KEY.search(text))
    if status == 401 or (no_key and not heard):
        raise MissingError(f"{server} does not accept the key in {model.api_key_env} ({text}); set the right one")
    if status == 404:
        raise MissingError(f"there is no {server} ({text}); see the entry's api_model and base_url")
    if status == 402 or error.code in _OUT_OF_MONEY or error.type in _OUT_OF_MONEY:  # the code may be null
        raise StageFailure(f"{server}: the account of {model.api_key_env} may spend no more ({text})")


def _of_request(error: APIStatusError, server: Server, sent: Mapping[str, Any], text: str) -> Fault:
    """A fault of the request: of its prompt alone, or of a parameter that all requests share."""
    unknown = bool(_UNKNOWN.search(text))
    for name in sent:  # in their order, so that of two that are named it is always the same one
        # No prompt speaks of `response_format` but a server that has no schemas, as DeepSeek's does without quotes.
        said = rf"\b{name}\b" if name == "response_format" else rf"""["'`]{name}["'`]"""
        named = (unknown or name == "response_format") and re.search(said, text)
        # OpenAI calls the one limit of tokens by the other one's name.
        blamed = r"max_(completion_)?tokens" if "tokens" in name and not unknown else name
        if name in ("model", "messages") or not (named or re.match(rf"{blamed}\b", str(error.param))):
            continue
        if unknown and name in NEGOTIABLE:
            return Fault("unknown", text, field=name)
        if not unknown and "tokens" in name and _ABOUT_THE_PROMPT.search(text):  # too many for what it leaves
            continue
        shown = name if name == "response_format" else f"{name} {sent[name]}"
        raise UsageError(f"{server} refuses {shown} ({text}); choose another value or another model")
    return Fault("refused", text, healthy=True)


def _message(body: object) -> str:
    """The message in an error's body, which servers wrap in different ways."""
    if isinstance(body, list) and body:
        return _message(body[0])
    if isinstance(body, dict):
        for key in ("error", "message", "detail"):
            if body.get(key):
                return _message(body[key])
        return json.dumps(body)
    return "" if body is None else str(body)
