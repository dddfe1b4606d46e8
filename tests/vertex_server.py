"""A small server that speaks Vertex AI's HTTP to Google's own client, as a test's script says, tokens included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.faulty_server import Body, FaultyServer, Reply, Script, nothing_at, reply, serving

PROJECT, LOCATION, MODEL = "lab-project", "europe-west4", "gemini-x"
TOKEN = "token-0123456789-secret"
_PAGE = f"/v1beta1/projects/{PROJECT}/locations/{LOCATION}/publishers/google/models/{MODEL}:generateContent"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def content(*parts: str | dict[str, Any], ended: str | None = "STOP", thoughts: int = 0, **candidate: Any) -> Reply:
    """A whole and valid answer of 7 prompt tokens and 3 of the answer, beside its `thoughts`."""
    said = [{"text": part} if isinstance(part, str) else part for part in parts]
    candidate |= {"content": {"role": "model", "parts": said} if said else {"role": "model"}}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10 + thoughts}
    return reply(
        {
            "candidates": [candidate | ({"finishReason": ended} if ended else {})],
            "usageMetadata": usage | ({"thoughtsTokenCount": thoughts} if thoughts else {}),
            "modelVersion": MODEL,
        }
    )


def refused(code: int, status: str, message: str, wait: str | None = None, details: list[Any] | None = None) -> Reply:
    """An error as Google's APIs word it; `wait` is its `Retry-After`."""
    error = {"code": code, "status": status, "message": message, "details": details or []}
    return reply({"error": error}, code, {"Retry-After": wait} if wait else None)


def question(body: Body) -> str:
    """The text of the last turn."""
    return str(body["contents"][-1]["parts"][0]["text"])


def echo(body: Body, _before: int) -> Reply:
    """The script of a server without faults: every answer names its question."""
    return content(f"answer to {question(body)}")


def service_account(folder: Path) -> Path:
    """A service account's key in a file; `vertex` says where its tokens come from."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = folder / "account.json"
    known = {"type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": pem}
    path.write_text(json.dumps({**known, "client_email": f"lab@{PROJECT}.example.org"}))
    return path


@contextmanager
def vertex(script: Script, account: Path, tokens: list[Reply] | None = None) -> Iterator[FaultyServer]:
    """Serve one model on loopback until the end of the block, and the tokens of `account`.

    `tokens` are replies that the token page gives first; each is taken out of the list.
    """

    def route(server: FaultyServer, path: str, sent: bytes, key: str | None) -> Reply:
        if path == "/token":
            assert parse_qs(sent.decode())["grant_type"] == [_GRANT]
            return tokens.pop(0) if tokens else token(3600)
        return server.answer(json.loads(sent), key) if path == _PAGE else nothing_at(path)

    with serving(script, route, "") as server:
        account.write_text(json.dumps({**json.loads(account.read_text()), "token_uri": f"{server.url}/token"}))
        yield server


def token(seconds: int, text: str = TOKEN) -> Reply:
    """An access token that lives so long."""
    return reply({"access_token": text, "expires_in": seconds, "token_type": "Bearer"})
