"""A model for rewritings: a scripted server that is asked as a curation asks, with two retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from curation.calls import Model
from curation.rewriting.outcome import Outcome, Rewriting
from data.rows import Row
from inference.dialogue import Query, Reply
from inference.engine import ApiModel, EngineSpec
from inference.journal import Asking
from registry.rewriting_schema import RewriterConfig
from tests.faulty_server import Body, FaultyServer, completion, serving
from tests.faulty_server import Reply as Answer

KEY_VARIABLE = "REWRITER_KEY"
Answering = Callable[[str, int], str]
"""An answer, from the first question and the number of answers to it before."""


class Scripted:
    """A running server, and what it was asked for the last rewriting."""

    def __init__(self, server: FaultyServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._runs = 0

    def rewrite(self, rewriting: Rewriting, rows: Sequence[Row], answer: Answering) -> list[Outcome]:
        """Rewrite rows with a model that answers so, and that has answered nothing before."""

        def script(body: Body, _: int) -> Answer:
            return completion(answer(str(body["messages"][0]["content"]), len(body["messages"]) // 2))

        self.server.script = script
        self.server.bodies.clear()
        self._runs += 1
        spec = EngineSpec("openai", ApiModel("scripted", self.server.url, KEY_VARIABLE, 4), max_length=32_768, seed=0)
        with Asking(spec, self.folder / f"{self._runs}.jsonl") as asking:
            return rewriting(rows, Model(asking, RewriterConfig(model_key="scripted", retries=2)).ask)

    @property
    def calls(self) -> int:
        """How many questions reached the server."""
        return len(self.server.bodies)

    @property
    def complaints(self) -> list[str]:
        """What the model was told of answers that did not pass."""
        return [body["messages"][-1]["content"] for body in self.server.bodies if len(body["messages"]) > 1]


@contextmanager
def scripted(folder: Path) -> Iterator[Scripted]:
    """A server for the tests of a module; its key must be in the environment."""
    with serving(lambda *_: completion("")) as server:
        yield Scripted(server, folder)


def no_model(queries: Sequence[Query[Row]]) -> list[Reply[Row]]:
    """For rewritings that must ask nothing."""
    raise AssertionError(f"{len(queries)} questions to a model")
