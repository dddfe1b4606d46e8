"""From requests to samples: the chat template applied, the answer's room computed, one random stream for each."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from inference.checkpoint import Checkpoint
from inference.engine import FinishReason, Generation, Request, Sampling

_THINK = "<think>"


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to generate: at most `max_tokens` tokens after `prompt_ids`.

    `opened` is the thinking mark with which the prompt ends, or "": the model will not write it again.
    """

    request: Request
    sampling: Sampling
    index: int
    prompt_ids: list[int]
    max_tokens: int
    seed: int
    opened: str


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A request's prompt as text: what the chat template makes of the messages, and what the turn holds already."""

    request: Request
    template: str
    continuation: str
    opened: str


def prepare(
    checkpoint: Checkpoint, requests: Sequence[Request], sampling: Sampling, max_length: int
) -> tuple[list[Sample], list[Generation]]:
    """Return the samples to generate, longest prompt first, and the generations that are known without a model.

    Those are an "error" where the chat template refuses the messages or the prompt leaves no room for an answer, and an
    empty "length" where the turn holds `turn_tokens` already. What takes longest begins first, so that no part of a
    machine waits for the others at the end; the order does not depend on that of the requests. Raises `ValueError`
    when two requests share an id.
    """
    if len({request.id for request in requests}) != len(requests):
        raise ValueError("two requests share an id")
    samples: list[Sample] = []
    known: list[Generation] = []
    prompts: list[_Prompt] = []
    for request in requests:
        prompt = _render(checkpoint, request)
        if isinstance(prompt, str):
            known += [failure(request, index, 0, prompt) for index in request.indices(sampling)]
        else:
            prompts.append(prompt)
    for prompt, (ids, held) in zip(prompts, _encode(checkpoint, prompts), strict=True):
        request, room = prompt.request, max_length - len(ids)
        turn_room = sampling.max_tokens if sampling.turn_tokens is None else sampling.turn_tokens - held
        for index in request.indices(sampling):
            if room < 1:
                why = f"the prompt of {len(ids)} tokens leaves no room for an answer in max_length {max_length}"
                known.append(failure(request, index, len(ids), why))
            elif turn_room < 1:
                known.append(Generation(request.id, index, "", "length", len(ids), 0))
            else:
                most, seed = min(sampling.max_tokens, room, turn_room), sample_seed(sampling.seed, request.id, index)
                samples.append(Sample(request, sampling, index, ids, most, seed, prompt.opened))
    return sorted(samples, key=lambda s: (-len(s.prompt_ids), s.request.id, s.index)), known


def failure(request: Request, index: int, prompt_tokens: int, why: str) -> Generation:
    """The generation of an answer that cannot be had."""
    return Generation(request.id, index, "", "error", prompt_tokens, 0, " ".join(why.split()))


def finish(checkpoint: Checkpoint, sample: Sample, token_ids: list[int]) -> Generation:
    """Return the generation for the tokens that were generated, the end-of-turn token included if there is one.

    What follows the first `stop_text` does not count.
    """
    stopped = bool(token_ids) and token_ids[-1] in checkpoint.stop_ids
    text = checkpoint.decode(token_ids)
    stop_text = sample.sampling.stop_text
    if stop_text is not None and stop_text in text:
        stopped = True
        text = text[: text.index(stop_text)]
        token_ids = token_ids[: _tokens_until(checkpoint, token_ids, stop_text)]
    reason: FinishReason = "stop" if stopped else "length"
    return Generation(
        sample.request.id, sample.index, sample.opened + text, reason, len(sample.prompt_ids), len(token_ids)
    )


def _tokens_until(checkpoint: Checkpoint, token_ids: list[int], stop_text: str) -> int:
    """How many tokens it takes until the text holds `stop_text`, which all of them together do."""
    return bisect_left(range(len(token_ids)), True, key=lambda count: stop_text in checkpoint.decode(token_ids[:count]))


def _render(checkpoint: Checkpoint, request: Request) -> _Prompt | str:
    """The prompt of a request, or why the chat template refuses it."""
    from jinja2 import TemplateError

    try:
        template = str(
            checkpoint.tokenizer.apply_chat_template(list(request.messages), tokenize=False, add_generation_prompt=True)
        )
    except TemplateError as error:
        return f"{checkpoint.folder}: the chat template refuses the messages: {error}"
    opened = f"{_THINK}\n" if template.rstrip().endswith(_THINK) else ""
    if not request.continuation:
        return _Prompt(request, template, "", opened)
    continuation = request.continuation.removeprefix(opened).removeprefix(_THINK if opened else "")
    return _Prompt(request, template, continuation, "")


def _encode(checkpoint: Checkpoint, prompts: Sequence[_Prompt]) -> list[tuple[list[int], int]]:
    """The tokens of each prompt, and how many of them are what the turn holds already."""
    if not prompts:
        return []
    whole = _tokenise(checkpoint, [prompt.template + prompt.continuation for prompt in prompts])
    templates = _tokenise(checkpoint, [prompt.template for prompt in prompts])
    return [(ids, len(ids) - len(bare)) for ids, bare in zip(whole, templates, strict=True)]


def _tokenise(checkpoint: Checkpoint, texts: list[str]) -> list[list[int]]:
    # The template has written the special tokens already.
    ids: list[list[int]] = checkpoint.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def sample_seed(seed: int, request_id: str, index: int) -> int:
    """A seed of 62 bits (both libraries take signed 64) that no other sample of the run has, but by chance."""
    digest = hashlib.sha256(f"{seed}\0{request_id}\0{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2
