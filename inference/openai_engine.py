"""The engine for a model behind an OpenAI-compatible server: chat completions, many at a time.

No default of the environment decides which server is asked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from inference.engine import ApiModel, EngineSpec, Generation
from inference.openai_faults import NO_KEY, Server, understand
from inference.openai_wire import body, read, tokens_of
from inference.served import CONNECT_S, Ask, ServedEngine
from inference.served_faults import Fault, unread
from inference.served_wire import Task
from registry.errors import MissingError, UsageError

log = logging.getLogger(__name__)

OPENAI = "https://api.openai.com/v1"


class OpenAITransport:
    """See `inference.served.Transport`. Remembers which fields its server does not know."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unknown: set[str] = set()

    @property
    def model(self) -> ApiModel:
        """See `inference.served.Transport.model`."""
        return self._server.model

    def __str__(self) -> str:
        return str(self._server)

    @asynccontextmanager
    async def connected(self, patience: float) -> AsyncIterator[Ask]:
        """See `inference.served.Transport.connected`."""
        import httpx2
        from openai import APIError, AsyncOpenAI, Timeout

        async def ask(task: Task, heard: bool) -> Generation | Fault:
            sent = body(task, self.model, self._unknown)
            try:
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=sent)
            except APIError as error:
                fault = understand(error, self._server, sent, heard)
            else:
                try:
                    return read(task, response.content)
                except ValueError as error:
                    return unread(self._server.masked(str(error)), tokens_of(response.content))
            if fault.kind == "unknown":
                self._do_without(fault)
            return fault

        async with AsyncOpenAI(
            api_key=self._server.key,
            base_url=self.model.base_url or OPENAI,
            max_retries=0,
            timeout=Timeout(patience, connect=CONNECT_S),
        ) as client:
            yield ask

    def _do_without(self, fault: Fault) -> None:
        if fault.field not in self._unknown:
            self._unknown.add(fault.field)
            instead = "max_tokens is sent instead" if fault.field == "max_completion_tokens" else "none is sent"
            log.warning("%s does not know %s; %s (%s)", self._server, fault.field, instead, fault.text)


def open_openai(spec: EngineSpec) -> ServedEngine:
    """Prepare to ask the server of `spec.model`; nothing is sent yet. Raises what `server_of` raises."""
    return ServedEngine("openai", OpenAITransport(server_of(spec)))


def server_of(spec: EngineSpec) -> Server:
    """The server of `spec.model` and the key for it.

    Raises `UsageError` for a model that is a folder and for a `base_url` that is none, `MissingError` without a key.
    """
    model = spec.model
    if not isinstance(model, ApiModel):
        raise UsageError(f"the openai engine asks a server, and {model} is a folder; use the engine vllm")
    address = urlsplit(model.base_url or OPENAI)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UsageError(f"{model.name}: base_url {model.base_url} is no address such as http://localhost:8000/v1")
    # The client refuses an empty key, and a server of one's own asks for none. Hosted ones are never plain http.
    key = os.environ.get(model.api_key_env, "").strip() or (NO_KEY if address.scheme == "http" else "")
    if not key:
        raise MissingError(
            f"the environment variable {model.api_key_env} is not set: it holds the key for {model.name} "
            f"at {address.hostname}; set it in config.local.sh"
        )
    return Server(model, key)
