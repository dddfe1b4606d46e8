"""What an error of Vertex AI means: for one request, for a while, or for the whole stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
from google.auth import exceptions as auth
from google.auth.credentials import Credentials
from google.genai.errors import APIError

from inference.engine import VertexModel
from inference.served_faults import Fault, asked_wait, busy
from registry.errors import MissingError, StageFailure, UsageError

_ITS_OWN_FAULT = (400, 413, 422)
_PASSING = (408, 409, 425, 499)
# How the API's messages call the fields of `generationConfig`, which all requests share.
_SHARED = {
    "temperature": r"temperature",
    "topP": r"top_?p",
    "seed": r"seed",
    "maxOutputTokens": r"max_?output_?tokens",
    "responseJsonSchema": r"(response_?(json_?)?)?schema",
    "responseMimeType": r"response_?mime_?type",
}
_NO_BILLING = "BILLING_DISABLED"  # the reason in a google.rpc.ErrorInfo
_REMEDY = (
    "run `gcloud auth application-default login` again, or see the service account of GOOGLE_APPLICATION_CREDENTIALS"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A model whose `project` is known, its address, and the credentials, whose token no message may hold."""

    model: VertexModel
    url: str
    credentials: Credentials = field(repr=False)

    def __str__(self) -> str:
        """`model in region of project at host`."""
        model = self.model
        return f"{model.name} in {model.location} of {model.project} at {urlsplit(self.url).netloc.rpartition('@')[2]}"

    def masked(self, text: str) -> str:
        """`text` on one line, not endless, and without the token."""
        token = getattr(self.credentials, "token", None)
        return " ".join((text.replace(token, "<token>") if token else text).split())[:400]


def understand(
    error: APIError | httpx2.RequestError | auth.GoogleAuthError | ValueError,
    server: Server,
    sent: Mapping[str, Any],
    heard: bool,
) -> Fault:
    """Return what `error`, got for the request `sent`, means.

    Raises `MissingError` (no such server, model or region, credentials that are not accepted), `UsageError` (a
    sampling parameter is refused) or `StageFailure` (no money, a wait of more than ten minutes) when every other
    request would meet the same. `heard` says whether the server has answered anything before.
    """
    text = server.masked(f"{type(error).__name__}: {error}")
    if isinstance(error, APIError):
        return _of_status(error, server, sent, heard)
    if isinstance(error, httpx2.RequestError):
        gone = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        if gone and not heard:
            raise MissingError(
                f"cannot reach {server}: {text}; are vertex_location and base_url right, and is there a network?"
            )
        return Fault("passing", text, gone=gone)
    if isinstance(error, auth.GoogleAuthError):
        if isinstance(error, auth.RefreshError) and not error.retryable:
            raise MissingError(f"{server}: Google does not accept the credentials ({text}); {_REMEDY}")
        return Fault("passing", text, gone=isinstance(error, auth.TransportError))
    return Fault("passing", server.masked(str(error)))


def _of_status(error: APIError, server: Server, sent: Mapping[str, Any], heard: bool) -> Fault:
    status = error.code
    text = server.masked(f"HTTP {status} {error.status or ''}: {error.message or error.details}")
    _end_the_stage(error, server, text, heard)
    if status in _ITS_OWN_FAULT:
        return _of_request(error, server, sent, text)
    if status == 429 or status >= 500 or status in _PASSING:
        wait = asked_wait(error.response.headers) if error.response is not None else None
        return busy(server, status == 429, text, wait if wait is not None else _retry_delay(error))
    return Fault("refused", text)


def _end_the_stage(error: APIError, server: Server, text: str, heard: bool) -> None:
    if error.code == 401:
        raise MissingError(f"{server} does not accept the credentials ({text}); {_REMEDY}")
    if error.code == 403 and any(detail.get("reason") == _NO_BILLING for detail in _details(error)):
        raise StageFailure(f"{server}: the project may spend no more ({text}); see its billing account")
    if error.code == 403 and not heard:
        raise MissingError(
            f"{server}: the credentials may not use it ({text}); enable the project's Vertex AI API "
            "and give the account the role roles/aiplatform.user"
        )
    if error.status == "FAILED_PRECONDITION":  # of the project or the region, and no fault of a request
        raise MissingError(f"{server} cannot be asked as things are ({text})")
    if error.code == 404:
        raise MissingError(
            f"there is no {server} ({text}); see the entry's vertex_model, vertex_location and vertex_project"
        )


def _of_request(error: APIError, server: Server, sent: Mapping[str, Any], text: str) -> Fault:
    """A fault of the request: of its prompt alone, or of a parameter that all requests share."""
    blamed = " ".join([text, *(str(violation) for detail in _details(error) for violation in detail.values())])
    for name, words in _SHARED.items():
        if name in sent["generationConfig"] and re.search(rf"(?<![a-z]){words}(?![a-z])", blamed, re.IGNORECASE):
            shown = "the JSON schema" if name == "responseJsonSchema" else f"{name} {sent['generationConfig'][name]}"
            raise UsageError(f"{server} refuses {shown} ({text}); choose another value or another model")
    return Fault("refused", text, healthy=True)


def _retry_delay(error: APIError) -> float | None:
    """Seconds in a `google.rpc.RetryInfo` among the error's details, such as "3.5s"."""
    for detail in _details(error):
        seconds = re.fullmatch(r"([\d.]+)s", str(detail.get("retryDelay")))
        if seconds:
            return float(seconds[1])
    return None


def _details(error: APIError) -> list[dict[str, Any]]:
    body = error.details.get("error") if isinstance(error.details, dict) else None
    details = body.get("details") if isinstance(body, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
