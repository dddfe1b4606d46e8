"""A model's chat template, read from its folder and rendered without a tokenizer, to see whether it can be used.

What trains or generates renders with transformers, whose environment (`transformers.utils.chat_template_utils`) this
one has the names of; its import takes over a second, too long for a command that only submits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from registry.errors import MissingError, UsageError

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_GENERATION = re.compile(r"{%[-+]?\s*(end)?generation\s*[-+]?%}")  # marks the assistant's turn, and writes nothing


def template_of(folder: Path) -> str | None:
    """The template of chat_template.jinja or tokenizer_config.json, the default one of several; null without any."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found}.get("default")
    return found if isinstance(found, str) else None


def render(folder: Path, template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """The conversation as text, spaces aside; `UsageError` when the template fails on it."""
    settings = read_json(folder / "tokenizer_config.json")
    # An old tokenizer's class may know the end of a turn that its folder does not name.
    tokens = {name: _text(settings.get(name, "<end>" if name == "eos_token" else None)) for name in _SPECIAL}
    try:
        return (
            _environment()
            .from_string(_GENERATION.sub("", template))
            .render(messages=messages, add_generation_prompt=False, **tokens)
        )
    except TemplateError as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{folder}: the chat template fails on a question and its answer: {said}") from None


def read_json(file: Path) -> dict[str, Any]:
    """An object of a model's folder, empty when there is no such file; `MissingError` when it is torn."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MissingError(f"{file}: cannot be read as a JSON object; fetch the model again")
    return found


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.filters["tojson"] = partial(json.dumps, ensure_ascii=False)
    made.globals.update(raise_exception=_refuse, strftime_now=datetime.now().strftime)
    return made


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
