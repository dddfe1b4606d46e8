"""From requests to samples: the chat template applied, the answer's room computed, one random stream for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from inference.checkpoint import Checkpoint
from inference.engine import FinishReason, Generation, Request, Sampling
from registry.errors import UsageError

_THINK = "<think>"


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to generate: at most `max_tokens` tokens after `prompt_ids`.

    `opened` is the thinking mark with which the prompt ends, or "": the model will not write it again.
    """

    request_id: str
    index: int
    prompt_ids: list[int]
    max_tokens: int
    seed: int
    opened: str


def prepare(
    checkpoint: Checkpoint, requests: Sequence[Request], sampling: Sampling, max_length: int
) -> tuple[list[Sample], list[Generation]]:
    """Return the samples to generate, and an "error" generation for each sample whose prompt leaves no room.

    Raises `ValueError` when two requests share an id, `UsageError` when the chat template refuses the messages.
    """
    if len({request.id for request in requests}) != len(requests):
        raise ValueError("two requests share an id")
    samples: list[Sample] = []
    errors: list[Generation] = []
    texts = _render(checkpoint, requests)
    for request, text, ids in zip(requests, texts, _encode(checkpoint, texts), strict=True):
        room = min(sampling.max_tokens, max_length - len(ids))
        opened = f"{_THINK}\n" if text.rstrip().endswith(_THINK) else ""
        for index in range(sampling.n):
            if room < 1:
                message = f"the prompt of {len(ids)} tokens leaves no room for an answer in max_length {max_length}"
                errors.append(Generation(request.id, index, "", "error", len(ids), 0, message))
            else:
                seed = _seed(sampling.seed, request.id, index)
                samples.append(Sample(request.id, index, ids, room, seed, opened))
    return samples, errors


def finish(checkpoint: Checkpoint, sample: Sample, token_ids: list[int]) -> Generation:
    """Return the generation for the tokens that were generated, the end-of-turn token included if there is one."""
    stopped = bool(token_ids) and token_ids[-1] in checkpoint.stop_ids
    reason: FinishReason = "stop" if stopped else "length"
    text = sample.opened + checkpoint.decode(token_ids)
    return Generation(sample.request_id, sample.index, text, reason, len(sample.prompt_ids), len(token_ids))


def _render(checkpoint: Checkpoint, requests: Sequence[Request]) -> list[str]:
    from jinja2 import TemplateError

    conversations = [list(request.messages) for request in requests]
    if not conversations:
        return []
    try:
        texts = checkpoint.tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise UsageError(f"{checkpoint.folder}: the chat template refuses the messages: {error}") from error
    return [str(text) for text in texts]


def _encode(checkpoint: Checkpoint, texts: list[str]) -> list[list[int]]:
    # The template has written the special tokens already.
    if not texts:
        return []
    ids: list[list[int]] = checkpoint.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _seed(seed: int, request_id: str, index: int) -> int:
    """A seed of 62 bits (both libraries take signed 64) that no other sample of the run has, but by chance."""
    digest = hashlib.sha256(f"{seed}\0{request_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2
