"""What a model answered, read and judged: one prediction per question.

An answer from which nothing can be extracted is wrong and unanswered, never guessed. A thinking that was never
closed leaves no answer part, so letters inside it do not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from data.rows import Row
from inference.engine import Generation
from inference.formats import ChatFormat
from scoring.extraction import extract_choice
from scoring.free_text import text_matches


@dataclass(frozen=True)
class Prediction:
    """One line of `eval_predictions.jsonl`. `prompt` is the message list; token counts are 0 where there is none.

    `extracted` is a letter, or the answer text for a question without options; null when there is no answer.
    """

    id: str
    question_id: str
    source: str
    prompt: list[dict[str, str]]
    output: str
    thinking: str | None
    answer_text: str
    extracted: str | None
    extraction_method: str
    gold: str
    correct: bool
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    error: str | None


def judge(row: Row, prompt: list[dict[str, str]], generation: Generation, chat_format: ChatFormat) -> Prediction:
    """Split, extract and compare one generation."""
    thinking, answer_text = chat_format.split(generation.text)
    if generation.finish_reason == "error":
        extracted, method, correct = None, "none", False
    elif row.options:
        extraction = extract_choice(answer_text, [(option.letter, option.text) for option in row.options])
        extracted, method = extraction.letter, extraction.method
        correct = extracted is not None and extracted == row.answer_idx
    else:
        extracted = answer_text.strip() or None
        method = "text" if extracted else "none"
        correct = extracted is not None and text_matches(row.answer, extracted)
    return Prediction(
        id=row.id,
        question_id=row.question_id,
        source=row.source,
        prompt=prompt,
        output=generation.text,
        thinking=thinking,
        answer_text=answer_text,
        extracted=extracted,
        extraction_method=method,
        gold=row.answer_idx if row.options and row.answer_idx else row.answer,
        correct=correct,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        error=generation.error,
    )


def write_predictions(predictions: Iterable[Prediction], path: Path) -> None:
    """Write JSONL sorted by benchmark and id, so that two runs can be compared line by line."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for prediction in sorted(predictions, key=lambda p: (p.source, p.id)):
            file.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
    os.replace(temporary, path)
