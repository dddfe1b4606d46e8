"""How a model family writes its thinking and its answer in one assistant turn. Pure text.

`completion` writes what training teaches, `split` reads what a model generated. For every format that has marks,
`split(completion(r, a)) == (r, a)` for stripped `r` and `a` that hold no mark themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.fields import FormatName


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The layout of one family. `system` is the system prompt it must be asked with.

    `opening` stands before the thinking and `closing` between thinking and answer, white space included; a format
    with an empty `opening` has no marks.
    """

    name: FormatName
    opening: str
    closing: str
    system: str | None = None

    def completion(self, reasoning: str, answer: str) -> str:
        """Return the assistant's turn for a reasoning and an answer; both are stripped."""
        return f"{self.opening}{reasoning.strip()}{self.closing}{answer.strip()}"

    def split(self, text: str) -> tuple[str | None, str]:
        """Return (thinking, answer part) of a generated turn, both stripped.

        The thinking ends at the first closing mark; its opening mark may be missing, because some chat templates put
        it into the prompt. Thinking that was opened and never closed has the answer part "": what a model muses on
        the way is no answer. A text without any mark is all answer, with thinking None.
        """
        opening, closing = self.opening.strip(), self.closing.strip()
        if not opening:
            return None, text.strip()
        before, closed, answer = text.partition(closing)
        preface, opened, thinking = before.partition(opening)
        if closed:
            return (thinking if opened else preface).strip(), answer.strip()
        if opened:
            return thinking.strip(), ""
        return None, text.strip()


_HUATUO = ("## Thinking\n\n", "\n\n## Final Response\n\n")
_THINK_TAGS = ("<think>\n", "\n</think>\n\n")

FORMATS: Mapping[FormatName, ChatFormat] = {
    "huatuo": ChatFormat("huatuo", *_HUATUO),
    "qwen": ChatFormat("qwen", *_THINK_TAGS),
    "nemotron": ChatFormat("nemotron", *_THINK_TAGS, system="detailed thinking on"),
    "plain": ChatFormat("plain", "", "\n\n"),
}
