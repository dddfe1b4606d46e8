"""One process that asks a server many questions: `python -m benchmarks.rewriting.caller PORT FOLDER AT_ONCE COUNT`.

It says "ready", begins with a line on its standard input, and prints one JSON object: seconds and CPU seconds, and by
question when it was found to be unanswered just before it was sent, and when its answer was kept (monotonic clock).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from inference.answer_files import Found, Keep, Lookup, SharedAnswers, shared_answers
from inference.claims import Claims
from inference.engine import ApiModel, EngineSpec, Generation, Request, Sampling
from inference.journal import generate_resumable

_WORDS = 300


@dataclass
class Watched:
    """The shared answers, and when they were asked for and kept."""

    store: SharedAnswers
    lookup: Lookup = field(init=False)
    claimed: set[str] = field(default_factory=set)
    sent: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """See `Journal`."""
        return self.store.place

    def read(self) -> Lookup:
        """See `Journal`; a request that is claimed and not found is sent at once."""
        self.lookup = self.store.read()

        def noting(digests: AbstractSet[str]) -> Found:
            looked = time.monotonic()
            found = self.lookup(digests)
            if not found:
                self.sent |= dict.fromkeys(self.claimed & digests, looked)
            return found

        return noting

    def claims(self, lookup: Lookup) -> Claims:
        """See `Journal`."""
        claims = self.store.claims(self.lookup)
        take = claims.take

        def noting(name: str) -> bool:
            mine = take(name)
            (self.claimed.add if mine else self.claimed.discard)(name.partition("/")[0])
            return mine

        claims.take = noting  # type: ignore[method-assign]
        return claims

    @contextmanager
    def writing(self) -> Iterator[Keep]:
        """See `Journal`."""
        with self.store.writing() as keep:

            def noting(digest: str, answer: Generation) -> None:
                keep(digest, answer)
                self.kept[digest] = time.monotonic()

            yield noting


def main(port: str, folder: str, at_once: str, count: str) -> None:
    """Ask."""
    model = ApiModel("m", f"http://127.0.0.1:{port}/v1", "NO_SUCH_API_KEY", int(at_once))
    spec = EngineSpec("openai", model, max_length=4096)
    text = "word " * _WORDS
    asked = [Request(f"q{n}", ({"role": "user", "content": f"q{n}: {text}"},)) for n in range(int(count))]
    watched = Watched(shared_answers(spec, Path(folder)))
    importlib.import_module("openai")
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.monotonic(), time.process_time()
    answers = generate_resumable(spec, asked, Sampling(512), watched)
    times = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    failed = sum(answer.finish_reason == "error" for answer in answers)
    print(json.dumps({**times, "failed": failed, "sent": watched.sent, "kept": watched.kept}))


if __name__ == "__main__":
    main(*sys.argv[1:])
