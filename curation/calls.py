"""The models that a curation asks about its rows: opened, paid for, and their answers shared by all experiments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from data.hub import resolve
from inference.answer_files import shared_answers
from inference.batch_records import records
from inference.dialogue import Query, Reply, converse, request_of
from inference.engine import EngineSpec, Sampling, check_engine, model_source
from inference.journal import Asking
from inference.spending import Purse, prices_of
from registry.catalog import ModelEntry
from registry.errors import UsageError
from registry.rewriting_schema import ModelCall, Role
from registry.spending import FOLDER
from registry.stage import StageContext

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A model that is asked, `asking` what it has not answered before. Its answers are shared by all experiments."""

    asking: Asking
    call: ModelCall

    def ask(self, queries: Sequence[Query[T]]) -> list[Reply[T]]:
        """The replies in the order of the queries; see `inference.dialogue.converse`."""
        return converse(self.asking, self._held(queries), self._sampling, self.call.retries)

    def unanswered(self, queries: Sequence[Query[T]]) -> int:
        """How many of the queries nobody has asked yet."""
        requests = [request_of(query.messages, query.schema) for query in self._held(queries)]
        return self.asking.unanswered(list({request.id: request for request in requests}.values()), self._sampling)

    @property
    def _sampling(self) -> Sampling:
        return Sampling(self.call.max_tokens, self.call.temperature, seed=self.asking.spec.seed)

    def _held(self, queries: Sequence[Query[T]]) -> Sequence[Query[T]]:
        """The transformers engine cannot hold an answer to a schema: there the prompt alone asks for it."""
        if self.asking.spec.name != "transformers":
            return queries
        return [replace(query, schema=None) for query in queries]


@contextmanager
def called(context: StageContext, role: Role) -> Iterator[Model]:
    """The model that the curation calls for `role`; the engine is opened when something must be asked.

    Raises `MissingError` or `UsageError` for a model that cannot be asked.
    """
    assert context.config.curation is not None
    call = context.config.curation.calls[role]
    spec = spec_of(context, role)
    purse = purse_of(context, call.model_key, context.config.called_models[role], call.batch)
    with Asking(spec, shared_answers(spec, context.shared), context.stop, purse) as asking:
        yield Model(asking, call)


def spec_of(context: StageContext, role: Role) -> EngineSpec:
    """How the model for `role` is opened; `UsageError` where batches wait that it would not look at."""
    assert context.config.curation is not None
    call, entry = context.config.curation.calls[role], context.config.called_models[role]
    # Greedy answers are drawn from no seed, so that experiments which differ in it share them.
    seed = context.config.curation.seed if call.temperature else 0
    source = model_source(entry, call.model_key, call.engine, resolve, call.concurrency)
    batch = context.run_dir / "batches" / role
    if not call.batch:
        _check_batches(context.config.experiment, role, batch)
    return EngineSpec(call.engine, source, entry.max_length, seed=seed, batch=batch if call.batch else None)


def _check_batches(experiment: str, role: Role, folder: Path) -> None:
    """Raise `UsageError` where batches are under way, whose answers would be paid for once more."""
    left = sum(not record.ended for record in records(folder))
    if left:
        raise UsageError(
            f"{experiment}: {role} says batch no longer, and of the batches that it sent {left} "
            f"{'is' if left == 1 else 'are'} under way ({folder}): set batch again until their answers have come, "
            "or delete that folder to pay for the same questions once more"
        )


def purse_of(context: StageContext, model_key: str, entry: ModelEntry, batch: bool = False) -> Purse:
    """What a model's answers are paid with; all models of a curation share its `max_cost`."""
    assert context.config.curation is not None
    max_cost = context.config.curation.max_cost
    return Purse(context.run_dir / FOLDER, model_key, prices_of(entry), max_cost, batch)


def check_calls(context: StageContext) -> None:
    """Raise what can be told to be wrong with any of the models before hours are spent: a key that is not set."""
    assert context.config.curation is not None
    for role in context.config.curation.calls:
        check_engine(spec_of(context, role))


Ask = Callable[[Sequence[Query[T]]], list[Reply[T]]]
"""How a rewriting asks its model: `Model.ask`."""
