"""The one interface to text generation: requests in, generations out, each as soon as it is there.

The engines that load a model apply its own chat template with the same code, stop at the same tokens and decode with
the same tokenizer, so that one can stand in for the other. A request's answers do not depend on the requests around it
(but for float noise): every sample has its own random stream, drawn from the seed, the request's id and its index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from registry.catalog import ModelEntry
from registry.errors import UsageError
from registry.fields import EngineName
from registry.stopping import StopFlag

CONCURRENCY = 16
WITHHELD = "the server withheld"
"""How the error of an answer begins that has cost money and that the server gives to nobody."""
FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation to continue: `messages` are `{"role": …, "content": …}`. Ids are unique within a call.

    `continuation` is what the assistant's turn holds already, as in a generation's text: the model goes on from there.
    `schema` is a JSON Schema that the answer must follow. `n` is how many answers, in place of the sampling's;
    `answered` are the indices of those that are there already and are not generated again.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    continuation: str = ""
    schema: Mapping[str, Any] | None = None
    n: int | None = None
    answered: frozenset[int] = frozenset()

    def indices(self, sampling: Sampling) -> list[int]:
        """The answers to generate."""
        return [index for index in range(self.n or sampling.n) if index not in self.answered]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy; `n` answers per request; `max_tokens` bounds each of them.

    An answer ends before `stop_text`. `turn_tokens` bounds the whole turn: a request's continuation and its answer.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    n: int = 1
    stop_text: str | None = None
    turn_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """Answer `index` (from 0) to request `id`.

    `finish_reason` is "stop" (the model ended its turn, or came to the sampling's `stop_text`), "length" (a bound of
    the sampling or the engine's `max_length` was reached) or "error" (`text` is "" and `error` says why).
    `completion_tokens` counts the end-of-turn token too; `reasoning_tokens` is how many of them were spent on
    thinking, where that is known. `text` begins with the thinking mark when the chat template had already opened the
    thinking in the prompt; a request's continuation is not repeated in it. `thinking_cut` says that the thinking
    reached its budget (`inference.budget`).
    """

    id: str
    index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    error: str | None = None
    reasoning_tokens: int | None = None
    thinking_cut: bool = False


@dataclass(frozen=True, slots=True)
class ApiModel:
    """A model behind an OpenAI-compatible server; `base_url` null is OpenAI's own. Its key is in `api_key_env`."""

    name: str
    base_url: str | None
    api_key_env: str
    concurrency: int = CONCURRENCY
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class VertexModel:
    """A model on Vertex AI; `project` null is that of the application-default credentials.

    `bucket` is the folder in Cloud Storage (`gs://…`) where batches are put.
    """

    name: str
    project: str | None
    location: str
    base_url: str | None = None
    concurrency: int = CONCURRENCY
    requests_per_minute: int | None = None
    bucket: str | None = None


ServedModel = ApiModel | VertexModel


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which engine to open on which model: a folder, or one behind a server for `openai` and `vertex`.

    `max_length` bounds prompt plus answer, in tokens. `data_parallel` copies of the model share the requests;
    null is as many as the visible GPUs hold. `batch` is the folder that remembers what a vendor's batch API was sent,
    for an engine that asks one; null: every request is sent by itself.
    """

    name: EngineName
    model: Path | ServedModel
    max_length: int
    tensor_parallel: int = 1
    data_parallel: int | None = None
    seed: int = 0
    batch: Path | None = None


def model_source(
    entry: ModelEntry,
    key: str,
    engine: EngineName,
    resolve: Callable[[ModelEntry, Literal["model"], str], Path],
    concurrency: int = CONCURRENCY,
) -> Path | ServedModel:
    """Where `engine` finds the model that the catalog calls `key`: a folder, which `resolve` finds, or a server.

    Raises `UsageError` when the engine cannot run such a model, and what `resolve` raises.
    """
    if engine not in entry.engines:
        raise UsageError(f"the engine {engine} cannot run the model {key}; use {' or '.join(entry.engines)}")
    limits: Any = {"concurrency": concurrency, "requests_per_minute": entry.requests_per_minute}
    if entry.api_model is not None:
        return ApiModel(entry.api_model, entry.base_url, entry.api_key_env, **limits)
    if entry.vertex_model is not None:
        limits["bucket"] = entry.vertex_bucket
        return VertexModel(entry.vertex_model, entry.vertex_project, entry.vertex_location, entry.base_url, **limits)
    return resolve(entry, "model", key)


def model_folder(spec: EngineSpec) -> Path:
    """The folder of a model that an engine loads itself; `UsageError` for one that only a server has."""
    if isinstance(spec.model, ServedModel):
        raise UsageError(f"the {spec.name} engine cannot load {spec.model.name}, an API's model; use openai or vertex")
    return spec.model


Known = Callable[[Request, int], Generation | Literal["elsewhere"] | None]
"""The answer to a request of that index, where another process has got it meanwhile; or that one is about to."""


class Gate(Protocol):
    """Whose money is spent: asked before a request is sent and told of its answer, in the thread of the event loop."""

    def admits(self, request: Request, index: int) -> bool:
        """Whether it may be sent now; false: ask again soon. Raises `StageFailure` when it never may."""
        ...

    def settles(self, made: Generation) -> None:
        """This is what came of a request that was admitted."""
        ...

    def withdraws(self, request: Request, index: int) -> None:
        """A request that was admitted is not sent now."""
        ...

    def wastes(self, made: Generation) -> None:
        """An answer to a request that was admitted cannot be read, and is perhaps paid; it has to be admitted again."""
        ...

    def told(self) -> str:
        """What is spent, for the progress."""
        ...


class Engine(Protocol):
    """An opened model."""

    name: EngineName

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        stop: StopFlag | None = None,
        known: Known | None = None,
        gate: Gate | None = None,
    ) -> Iterator[Generation]:
        """Yield one generation for each of `request.indices(sampling)`, in the order in which they finish.

        A request that cannot be answered (no room left in `max_length`, a chat template that refuses the messages)
        yields "error" generations; the others are answered. Leaves with `StageStopped`, in the middle of answers, when
        `stop` asks for it. Raises `UsageError` for a continuation or a schema that this engine has no way to follow.

        An engine that asks a server calls `known` just before it sends a request for the first time, in the thread of
        its event loop; an answer that it returns is yielded in place of one that is paid for, and what is asked
        "elsewhere" is put off. It sends what `gate` admits, and tells it every answer. Others ignore both.
        """
        ...

    def close(self) -> None:
        """Give all memory back; another engine can then be opened in the same process."""
        ...


def check_engine(spec: EngineSpec) -> None:
    """Raise what can be told to be wrong before hours are spent on something else: a key that is not set."""
    if spec.name == "openai":
        from inference import openai_engine

        openai_engine.server_of(spec)
    if spec.name == "vertex":
        from inference import vertex_engine

        vertex_engine.server_of(spec)


@contextmanager
def open_engine(spec: EngineSpec) -> Iterator[Engine]:
    """Open the engine, and close it on the way out.

    Raises `MissingError` when the folder holds no model, the engine's package is not installed or an API's key is not
    set, `UsageError` when the model cannot be run as asked (no chat template, `max_length` beyond its positions, too
    few GPUs).
    """
    engine = _open(spec)
    try:
        yield engine
    finally:
        engine.close()


def _open(spec: EngineSpec) -> Engine:
    if spec.batch is not None:
        from inference.batch import open_batch

        return open_batch(spec)
    if spec.name == "vllm":
        from inference.vllm_engine import open_vllm

        return open_vllm(spec)
    if spec.name == "openai":
        from inference.openai_engine import open_openai

        return open_openai(spec)
    if spec.name == "vertex":
        from inference.vertex_engine import open_vertex

        return open_vertex(spec)
    from inference.transformers_engine import open_transformers

    return open_transformers(spec)
