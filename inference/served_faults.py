"""Why a served model gave no answer, and how long to wait before it is asked again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from registry.errors import StageFailure

_LONGEST_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a request got no answer.

    "refused": this request will never get one. "passing": another try may help. "limited": every request must wait.
    "unknown": the server does not know `field`, which will not be sent again. "unreadable": an answer came that cannot
    be used; it is perhaps paid, with so many `tokens` of prompt and answer as it says. `wait` is what the server asks
    for, in seconds. `healthy` says that the server works: it understood the request and found fault with it. `gone`
    says that there was no server to talk to.
    """

    kind: Literal["refused", "passing", "limited", "unknown", "unreadable"]
    text: str
    wait: float | None = None
    field: str = ""
    healthy: bool = False
    gone: bool = False
    tokens: tuple[int, int] = (0, 0)


def busy(server: object, limited: bool, text: str, wait: float | None) -> Fault:
    """The fault of a server that is asked too much or has trouble, and asks to `wait` so many seconds.

    Raises `StageFailure` when that is more than ten minutes.
    """
    if wait is not None and wait > _LONGEST_WAIT_S:
        raise StageFailure(f"{server} asks to wait {wait:.0f} s ({text}); run the stage again after that")
    return Fault("limited" if limited else "passing", text, wait)


def unread(text: str, tokens: tuple[int, int] | None) -> Fault:
    """The fault of a response that says that all is well and cannot be read; null `tokens`: it holds no answer."""
    return Fault("passing", text) if tokens is None else Fault("unreadable", text, tokens=tokens)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait: `Retry-After` in seconds or as a date (RFC 9110), or in milliseconds."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        after = headers.get("retry-after", "")
        if re.fullmatch(r"[\d.]+", after):
            return float(after)
        date = parsedate_to_datetime(after)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
