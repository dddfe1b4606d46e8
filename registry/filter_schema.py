"""What `curation` may say of its filters: quality, decontamination, duplicates, difficulty."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from registry.fields import EngineName, Fraction, Positive, Strict, described, no_outcome, optional
from registry.rewriting_schema import ModelCall


class QualityConfig(Strict):
    """Rules of the quality filter. Lengths are tokens of the tuned model's tokenizer."""

    truncation_tokens: tuple[Positive, ...] = described(
        "Lengths at which reasoning was cut off: remove those.", (1024,)
    )
    max_tokens: Positive | None = described("Longest reasoning that is kept.", None)


class DecontaminationConfig(Strict):
    """Remove rows that hold a benchmark's question: by shared word n-grams, and by near-duplicate questions."""

    # The benchmarks that `against` names have their own place in the fingerprint.
    against: tuple[str, ...] | None = no_outcome("Keys of the catalog's eval_datasets; null: all of them.")
    ngram: Literal[8, 13] = described("Words in a row that count as shared text.", 13)
    coverage: Annotated[float, Field(gt=0.0, le=1.0)] = described(
        "Remove a row that holds this part of a benchmark question's n-grams.", 0.5
    )
    similarity: Annotated[float, Field(gt=0.0, le=1.0)] | None = described(
        "Remove a row whose question is this similar (Jaccard, MinHash) to a benchmark's; null: n-grams only.", 0.8
    )


class DuplicatesConfig(Strict):
    """Keep one row of each question, also of questions that differ in a few words."""

    similarity: Annotated[float, Field(gt=0.0, le=1.0)] | None = described(
        "Questions this similar (Jaccard, MinHash) are one; null: equal ones only.", 0.8
    )


class DifficultyConfig(Strict):
    """The base-model difficulty filter: keep a row when the model's pass rate over `samples` answers lies in range.

    `model_key` null means the experiment's own base model. `unjudged` says what becomes of a row whose answer could
    not be generated (its prompt does not fit the model, for instance).
    """

    # The model that `model_key` names has its own place in the fingerprint.
    model_key: str | None = no_outcome("Model of the catalog that answers; null: the experiment's own base model.")
    engine: EngineName = described("What generates the answers.", "vllm")
    samples: Positive = described("Answers per question.", 1)
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = described("0 is greedy; samples > 1 needs more.", 0.0)
    max_tokens: Positive = described("Longest answer.", 1024)
    pass_rate: tuple[Fraction, Fraction] = described("Keep a row whose pass rate is in [lowest, highest].", (0.0, 0.0))
    unjudged: Literal["keep", "remove"] = described("What becomes of a row that could not be answered.", "remove")
    judge: ModelCall | None = optional("A model that says whether an answer is right; null: it is read by rule.")

    @model_validator(mode="after")
    def _check(self) -> DifficultyConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError("samples > 1 needs a temperature above 0, or every sample is the same answer")
        if self.pass_rate[0] > self.pass_rate[1]:
            raise ValueError("pass_rate is [lowest, highest]")
        return self
