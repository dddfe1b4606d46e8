"""The engine for Gemini on Vertex AI, through Google's own client (google-genai) with application-default credentials.

`vertexai.generative_models` of google-cloud-aiplatform is deprecated in favour of it. No default of the environment
decides which server is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from inference.engine import EngineSpec, Generation, VertexModel
from inference.served import CONNECT_S, Ask, ServedEngine
from inference.served_faults import Fault, unread
from inference.served_wire import Task
from inference.vertex_faults import Server, understand
from inference.vertex_wire import body, read, tokens_of
from registry.errors import MissingError, UsageError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_MULTI_REGIONS = ("us", "eu")
_LOG_IN = (
    "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key"
)


class VertexTransport:
    """See `inference.served.Transport`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def model(self) -> VertexModel:
        """See `inference.served.Transport.model`."""
        return self._server.model

    def __str__(self) -> str:
        return str(self._server)

    @asynccontextmanager
    async def connected(self, patience: float) -> AsyncIterator[Ask]:
        """See `inference.served.Transport.connected`."""
        import httpx2
        from google.genai.errors import APIError
        from google.genai.types import AutomaticFunctionCallingConfig, GenerateContentConfig, HttpOptions

        timeout = httpx2.Timeout(patience, connect=CONNECT_S)

        async def set_timeout(request: httpx2.Request) -> None:
            # Google's client knows one timeout for everything, and sends none with a request when it is not set.
            request.extensions["timeout"] = timeout.as_dict()

        async def ask(task: Task, heard: bool) -> Generation | Fault:
            # Sent as it is: the client's own settings know no better, and a batch prediction gets the same JSON.
            sent = body(task, self.model)
            config = GenerateContentConfig(
                http_options=HttpOptions(extra_body=sent),
                should_return_http_response=True,
                # Both would send requests that nobody counts.
                automatic_continuation=False,
                automatic_function_calling=AutomaticFunctionCallingConfig(disable=True),
            )
            try:
                response = await client.aio.models.generate_content(
                    model=self.model.name, contents=sent["contents"], config=config
                )
            except (APIError, httpx2.RequestError, GoogleAuthError, ValueError) as error:
                return understand(error, self._server, sent, heard)
            content = response.sdk_http_response.body
            try:
                return read(task, content)
            except ValueError as error:
                return unread(self._server.masked(str(error)), tokens_of(content))

        # A client of our own, because the one that google-genai would take sends a lost request again by itself.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.model.concurrency)
        async with httpx2.AsyncClient(event_hooks={"request": [set_timeout]}, limits=limits) as connections:
            client = open_client(self._server, httpx_async_client=connections)
            yield ask


def open_client(server: Server, **options: Any) -> Any:
    """A `google.genai.Client` that asks `server` and no other; `options` are more of its `HttpOptions`."""
    from google import genai
    from google.genai.client import DebugConfig
    from google.genai.types import HttpOptions

    # Whatever is left out here, the client looks for in the environment.
    return genai.Client(
        vertexai=True,
        project=server.model.project,
        location=server.model.location,
        credentials=server.credentials,
        debug_config=DebugConfig(client_mode=None, replays_directory=None, replay_id=None),
        http_options=HttpOptions(base_url=server.url, **options),
    )


def open_vertex(spec: EngineSpec) -> ServedEngine:
    """Prepare to ask for the answers of `spec.model`; nothing is sent yet. Raises what `server_of` raises."""
    return ServedEngine("vertex", VertexTransport(server_of(spec)))


def server_of(spec: EngineSpec) -> Server:
    """Where `spec.model` is asked, with the project filled in and the application-default credentials.

    Raises `UsageError` for a model that is not on Vertex AI and for a `base_url` that is no address, `MissingError`
    without credentials or without a project.
    """
    model = spec.model
    if not isinstance(model, VertexModel):
        name = getattr(model, "name", model)
        raise UsageError(f"the vertex engine asks Vertex AI, and {name} is not there: give the entry a vertex_model")
    url = model.base_url or _endpoint(model.location)
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UsageError(f"{model.name}: base_url {model.base_url} is no address such as https://vertex.example.org")
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        why = " ".join(str(error).split())[:200]
        raise MissingError(f"{model.name} on Vertex AI needs Google credentials ({why}); {_LOG_IN}") from None
    if not (model.project or project):
        raise MissingError(
            f"{model.name} on Vertex AI needs a Google Cloud project, and the credentials name none; "
            "set vertex_project in its entry of config.json"
        )
    return Server(replace(model, project=model.project or project), url, credentials)


def _endpoint(location: str) -> str:
    if location == "global":
        return "https://aiplatform.googleapis.com/"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com/"
    return f"https://{location}-aiplatform.googleapis.com/"
