"""A model for rewritings: a scripted server that is asked as a curation asks, with two retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from curation.calls import Model
from curation.rewriting.outcome import AskRows
from data.rows import Row
from inference.dialogue import Query, Reply
from inference.engine import ApiModel, EngineSpec
from inference.journal import Asking
from registry.rewriting_schema import RewriterConfig
from tests.faulty_server import Body, FaultyServer, completion, serving
from tests.faulty_server import Reply as Answer

KEY_VARIABLE = "REWRITER_KEY"


@contextmanager
def answering(folder: Path, answer: Callable[[str, int], str]) -> Iterator[tuple[AskRows, FaultyServer]]:
    """A model that gives `answer(question, number of turns before)`, and the server to see what it was asked."""

    def script(body: Body, _: int) -> Answer:
        return completion(answer(str(body["messages"][0]["content"]), len(body["messages"]) // 2))

    folder.mkdir(exist_ok=True)
    with serving(script) as server:
        spec = EngineSpec("openai", ApiModel("scripted", server.url, KEY_VARIABLE, 4), max_length=32_768, seed=0)
        with Asking(spec, folder / "answers.jsonl") as asking:
            yield Model(asking, RewriterConfig(model_key="scripted", retries=2)).ask, server


def no_model(queries: Sequence[Query[Row]]) -> list[Reply[Row]]:
    """For rewritings that must ask nothing."""
    raise AssertionError(f"{len(queries)} questions to a model")
