"""A server of chat completions that is never the bottleneck: one event loop, an answer after a fixed time, faults.

`python -m benchmarks.rewriting.server` prints its port, ends with its standard input, and then prints how many
requests it has answered, faults included.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

LATENCY_S = 0.05
TOO_MANY, BROKEN = 0.03, 0.02
_ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "word " * 200}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 400, "completion_tokens": 200, "total_tokens": 600},
}
_REASON = {200: "OK", 429: "Too Many Requests", 500: "Internal Server Error"}


class _Server:
    def __init__(self) -> None:
        self.requests = 0
        self._random = random.Random(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is kept open."""
        while head := await _head(reader):
            size = next(int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:"))
            await reader.readexactly(size)
            await asyncio.sleep(LATENCY_S)
            drawn = self._random.random()
            status = 429 if drawn < TOO_MANY else 500 if drawn < TOO_MANY + BROKEN else 200
            content = json.dumps(_ANSWER if status == 200 else {"error": {"message": _REASON[status]}}).encode()
            top = f"HTTP/1.1 {status} {_REASON[status]}\r\nContent-Type: application/json\r\n"
            writer.write(f"{top}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            self.requests += 1
        writer.close()


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):  # the client has hung up, or was killed
        return ""


async def _main() -> None:
    server = _Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(server.requests)


if __name__ == "__main__":
    asyncio.run(_main())
