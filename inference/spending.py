"""What model calls cost: counted as they are paid, kept beside the run, and never more than a stage may spend."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from inference.engine import Generation, Request, Sampling
from registry.catalog import ModelEntry, Prices
from registry.durable import make_folder, mode_for
from registry.errors import StageFailure, UsageError
from registry.spending import Spent, dollars, parsed
from registry.tail import NewLines

FREE = Prices(input=0.0, output=0.0)
_LOOK_S = 1.0
# Bytes per token: of English prose about 4.5, of Hindi up to 9; less than this of all but the oddest prompts.
_FEWEST_BYTES = 2
_TURN_TOKENS = 8
_SAMPLE = 50


@dataclass(frozen=True)
class Purse:
    """Whose money one model's calls are paid with.

    `folder` holds what all attempts of the run have spent, on all models; `max_cost` is the most that may be spent in
    it, in US dollars. Null `prices` are those of a served model that nobody has written down.
    """

    folder: Path
    model_key: str
    prices: Prices | None = None
    max_cost: float | None = None
    batch: bool = False


def prices_of(entry: ModelEntry) -> Prices | None:
    """What the model's tokens cost: nothing where it is loaded here, null where nobody has written it down."""
    return entry.prices if entry.is_served else FREE


class Till:
    """The purse while it is used, by one thread that asks and one in which answers come.

    Raises `UsageError` for a `max_cost` that cannot be kept, because the model has no prices.
    """

    def __init__(self, purse: Purse) -> None:
        if purse.max_cost is not None and purse.prices is None:
            raise UsageError(
                f"max_cost {purse.max_cost:g} cannot be kept: the catalog has no prices for {purse.model_key}; "
                f"give models.{purse.model_key}.prices, or remove max_cost"
            )
        self.purse = purse
        self._path = purse.folder / f"{time.time_ns()}-{uuid.uuid4().hex}.jsonl"
        self._file: FileIO | None = None
        self._lock = threading.Lock()
        self._lines = NewLines(purse.folder)
        self._counted: set[str] = set()
        self._others = self._own = 0.0
        self._next_look = 0.0

    def close(self) -> None:
        """Nothing more is paid."""
        if self._file is not None:
            self._file.close()

    @property
    def spent(self) -> float:
        """US dollars that all attempts and processes of the run have spent; of others, those of a second ago."""
        with self._lock:  # or both threads would count the same lines
            if time.monotonic() >= self._next_look:
                for one in parsed(line for line in self._lines.read() if line.file != self._path):
                    self._others += one.cost or 0.0
                    if one.model == self.purse.model_key:
                        self._counted.add(one.answer)
                self._next_look = time.monotonic() + _LOOK_S
        return self._others + self._own

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        """US dollars for so many tokens; null without prices."""
        prices = self.purse.prices
        return None if prices is None else prices.cost(prompt_tokens, completion_tokens, self.purse.batch)

    def find(self, answers: Iterable[str]) -> None:
        """Count answers that were there already; one that this run has paid for, or counted, not again."""
        _ = self.spent
        found = [answer for answer in answers if answer not in self._counted]
        self._counted.update(found)
        self._write([Spent(self.purse.model_key, answer, cached=True) for answer in found])

    def pay(self, answer: str, made: Generation) -> float:
        """Count an answer that has come; what it cost, as far as that is known.

        A call that failed without any tokens has cost nothing, and is none. Raises `StageFailure` when the cost is not
        known and a limit must be kept.
        """
        cost = self.cost(made.prompt_tokens, made.completion_tokens)
        if made.finish_reason == "error" and not cost:
            return 0.0
        counted = made.prompt_tokens and (made.completion_tokens or not made.text)
        if not counted and self.purse.prices != FREE:
            if self.purse.max_cost is not None:
                raise StageFailure(
                    f"{self.purse.model_key}: its server does not say how many tokens an answer took, so that max_cost "
                    "cannot be kept; remove max_cost"
                )
            cost = None
        self._counted.add(answer)
        self._own += cost or 0.0
        tokens = made.prompt_tokens, made.completion_tokens
        self._write([Spent(self.purse.model_key, answer, *tokens, cost)])
        return cost or 0.0

    def told(self) -> str:
        """What is spent, and of how much; nothing for a model without prices, or one that is free."""
        if self.purse.prices is None or self.purse.prices == FREE:
            return ""
        return dollars(self.spent) + (f" of {dollars(self.purse.max_cost)}" if self.purse.max_cost else "")

    def _write(self, lines: Sequence[Spent]) -> None:
        if not lines:
            return
        try:
            with self._lock:
                self._file = self._file or self._opened()
                left = b"".join(line.line() for line in lines)
                while left:
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise StageFailure(
                f"{self._path}: what is spent cannot be noted here ({error.strerror}); mend that and run again: "
                "what is kept already is not paid again"
            ) from error

    def _opened(self) -> FileIO:
        make_folder(self.purse.folder, lasting=False)
        mode = mode_for(self._path)  # not the umask's: others are to read it
        file = FileIO(self._path, "a")
        os.fchmod(file.fileno(), mode)
        return file


class Budget:
    """The limit on one round of questions: what may be sent, so that never more than `max_cost` is spent.

    Raises `UsageError`, before anything is sent, when the round would certainly cost more (in a batch, which nobody
    can stop halfway: when it might).
    """

    def __init__(self, till: Till, requests: Sequence[Request], sampling: Sampling) -> None:
        self._till, self._sampling = till, sampling
        self._left = sum(len(request.indices(sampling)) for request in requests)
        self._reserved: dict[tuple[str, int], float] = {}
        self._paid, self._cost = 0, 0.0
        if till.purse.max_cost is not None:
            self._check(till.purse.max_cost, requests)

    def admits(self, request: Request, index: int) -> bool:
        """Put the most that the request may cost aside; false while that must wait for answers that are on their way.

        Raises `StageFailure` when there is none, and it would still be too much.
        """
        limit = self._till.purse.max_cost
        if limit is None:
            return True
        worst = self._worst(request)
        spent = self._till.spent
        projected = self._projected(spent)
        if spent + sum(self._reserved.values()) + worst <= limit and projected <= limit:
            self._reserved[request.id, index] = worst
            return True
        if self._reserved:
            return False
        more = (
            f"the {self._left} answers that are missing would cost about {dollars(projected - spent)}"
            if projected > limit
            else f"{self._left} answers are missing, and the next one may cost {dollars(worst)}"
        )
        raise StageFailure(
            f"{self._till.purse.model_key}: {self._till.told()} is spent; {more}; raise max_cost to go on, or "
            f"lower max_tokens, which is {self._sampling.max_tokens}: "
            "what is answered is kept and not paid again"
        )

    def settle(self, made: Generation, answer: str, handed: bool) -> None:
        """An answer has come: pay for it, unless it was `handed` out by somebody else."""
        self._left -= 1
        if not handed:
            self._cost += self._till.pay(answer, made)
            self._paid += 1
        self._reserved.pop((made.id, made.index), None)

    def waste(self, made: Generation, answer: str) -> None:
        """A call came to nothing: pay for the tokens that it says; the request is no longer admitted."""
        self._cost += self._till.pay(answer, made)
        self._reserved.pop((made.id, made.index), None)

    def withdraw(self, request: Request, index: int) -> None:
        """A request that was admitted is not sent now."""
        self._reserved.pop((request.id, index), None)

    def told(self) -> str:
        """See `Till.told`."""
        return self._till.told()

    def _projected(self, spent: float) -> float:
        """What the whole round comes to, as soon as enough of it is paid to tell."""
        if self._paid < _SAMPLE:
            return spent
        return spent + self._cost / self._paid * self._left

    def _check(self, limit: float, requests: Sequence[Request]) -> None:
        batch, spent = self._till.purse.batch, self._till.spent
        count = "at worst" if batch else "at the least, the answers not counted,"
        cost = sum((self._worst if batch else self._least)(r) * len(r.indices(self._sampling)) for r in requests)
        if spent + cost > limit:
            raise UsageError(
                f"{self._till.purse.model_key}: {self._left} answers would cost {count} {dollars(cost)} (estimated "
                f"from the length of the prompts); {dollars(spent)} is spent already, max_cost is {dollars(limit)}: "
                "nothing was sent; raise max_cost, or ask for less"
            )

    def _least(self, request: Request) -> float:
        # The vendors' tokenisers split text at its spaces first: no token holds two words, whatever the script.
        words = sum(len(turn["content"].split()) for turn in request.messages)
        return self._till.cost(words, 0) or 0.0

    def _worst(self, request: Request) -> float:
        prompt = _bytes(request) / _FEWEST_BYTES + _TURN_TOKENS * len(request.messages)
        return self._till.cost(prompt, self._sampling.max_tokens) or 0.0


def _bytes(request: Request) -> int:
    held = 0 if request.schema is None else len(str(request.schema))
    return held + sum(len(turn["content"].encode("utf-8", "surrogatepass")) for turn in request.messages)
