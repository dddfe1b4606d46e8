"""What commands share: logs on stderr, one JSON object or tables on stdout, one line and an exit code on error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from registry.errors import EXIT_FAILED, Meds1Error

SCHEMA = 1
_ROOMS = ("meds1", "registry", "data", "scoring", "inference", "curation", "train", "eval", "plotting", "slurm", "demo")
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@dataclass
class Answer:
    """What a command says: `data` for `--json`, `lines` (or rich tables) for people; warnings for both."""

    data: Any = None
    lines: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exit_code: int = 0


@contextmanager
def answering(command: str, as_json: bool) -> Iterator[Answer]:
    """Run a command's body, then print its answer and exit: 0, or the code of the error that it raised."""
    speak()
    answer = Answer()
    try:
        yield answer
    except Meds1Error as error:
        _print_error(command, as_json, answer, error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from None
    _print(command, as_json, answer)
    if answer.exit_code:
        raise SystemExit(answer.exit_code)


def speak() -> None:
    """Log what this project's own rooms say to stderr, and only warnings of everything else."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for room in _ROOMS:
        logging.getLogger(room).setLevel(logging.INFO)


def masked(text: str) -> str:
    """`text` with the values of known key variables hidden."""
    for name in _SECRETS:
        secret = os.environ.get(name)
        if secret and len(secret) >= 8:
            text = text.replace(secret, f"<{name}>")
    return text


def _print(command: str, as_json: bool, answer: Answer) -> None:
    if as_json:
        _print_json(command, answer, None)
        return
    for warning in answer.warnings:
        print(masked(f"warning: {warning}"), file=sys.stderr)
    console = Console(highlight=False, soft_wrap=True)
    for line in answer.lines:
        console.print(masked(line) if isinstance(line, str) else line, markup=False)


def _print_error(command: str, as_json: bool, answer: Answer, error: Meds1Error) -> None:
    if as_json:
        _print_json(command, answer, {"message": masked(str(error)), "exit_code": error.exit_code})
    print(masked(f"meds1 {command}: {error}"), file=sys.stderr)


def _print_json(command: str, answer: Answer, error: dict[str, Any] | None) -> None:
    body = {"schema": SCHEMA, "command": command, "data": answer.data, "warnings": answer.warnings, "error": error}
    print(masked(json.dumps(body, ensure_ascii=False)))
