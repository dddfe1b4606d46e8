"""What `curation` may say: what all of it shares, and one parameter model for each method of selection.

A field that one method has alone is no field of the others, so that a new method changes no other's fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, WithJsonSchema, create_model, field_validator, model_validator

from registry.fields import (
    API_ENGINES,
    FormatName,
    Positive,
    Strict,
    described,
    no_outcome,
    optional,
)
from registry.filter_schema import DecontaminationConfig, DifficultyConfig, DuplicatesConfig, QualityConfig
from registry.rewriting_schema import (
    WITHOUT_REASONING,
    LabelsConfig,
    ModelCall,
    PerturbationConfig,
    RewriterConfig,
    Role,
    StyleName,
    Styles,
    check_rewriting,
    needs_rewriter,
)

HASHING = "hashing"
FilterStage = Literal["quality", "decontamination", "duplicates", "difficulty", "selection", "rewriting"]
FILTER_STAGES: tuple[FilterStage, ...] = get_args(FilterStage)
"""The filters of a curation, in the order in which rows go through them."""

# The original project named the columns of its one data set.
_OLD_COLUMNS = {"Question": "question", "Complex_CoT": "reasoning", "Response": "answer"}


def _column(value: Any) -> Any:
    return _OLD_COLUMNS.get(value, value) if isinstance(value, str) else value


Column = Annotated[
    Literal["question", "reasoning", "answer"],
    BeforeValidator(_column),
    WithJsonSchema({"type": "string", "enum": ["question", "reasoning", "answer", *_OLD_COLUMNS]}),
]
NonNegative = Annotated[float, Field(ge=0.0)]


class CurationConfig(Strict):
    """How training data is chosen and laid out: what every method has.

    Rows go through quality, decontamination, duplicates and difficulty, each unless it is null, then the method's
    selection. The chosen ones are rewritten in the styles of `extract`, one after the other, perturbed and restored.
    """

    method: str = described("How rows are chosen.")
    format: FormatName = described("How reasoning and answer are laid out.", "huatuo")
    quality: QualityConfig | None = described("The quality filter; null turns it off.", None)
    decontamination: DecontaminationConfig | None = described("The check against benchmarks; null turns it off.", None)
    duplicates: DuplicatesConfig | None = described("The filter of repeated questions; null turns it off.", None)
    difficulty: DifficultyConfig | None = described("The base-model difficulty filter; null turns it off.", None)
    labels: LabelsConfig | None = optional("A model that labels specialties before the selection; null: none.")
    extract: Styles | None = optional("How reasoning is rewritten: one style, or several in their order.")
    perturbation: PerturbationConfig | None = optional("Damage done to stepwise reasoning; null: none.")
    restore: bool | None = optional("Whether a model mends what the perturbation has damaged.")
    rewriter: RewriterConfig | None = optional("The model that rewrites, perturbs and restores.")
    max_cost: Annotated[float, Field(gt=0.0)] | None = no_outcome(
        "Most US dollars for model calls, over all attempts; null: no limit."
    )
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = described(
        "Part of the rows held out of training.", 0.05
    )
    seed: int = described("Seed of every random choice.", 42)
    shards: Positive = no_outcome("Jobs that a submitted curation is spread over, by ranges of rows.", 1)

    @field_validator("extract", "restore", mode="before")
    @classmethod
    def _nothing_is_null(cls, value: Any) -> Any:
        return value or None

    @property
    def wanted(self) -> int | None:
        """How many rows are to be chosen; null: all."""
        return getattr(self, "n_samples", None)

    @property
    def styles(self) -> tuple[StyleName, ...]:
        """The styles that reasoning is rewritten in, in their order."""
        return self.extract or ()

    @property
    def needs_reasoning(self) -> bool:
        """Whether a row without reasoning is of no use."""
        return not self.styles or self.styles[0] not in WITHOUT_REASONING

    @property
    def rewrites(self) -> bool:
        """Whether the chosen rows are changed in any way."""
        return bool(self.styles) or self.perturbation is not None

    @property
    def calls(self) -> dict[Role, ModelCall]:
        """The models that are asked about rows, by what for."""
        judge = self.difficulty.judge if self.difficulty else None
        found: dict[Role, ModelCall | None] = {
            "difficulty_judge": judge,
            "labels": self.labels,
            "rewriter": self.rewriter if self._needs_rewriter else None,
        }
        return {role: call for role, call in found.items() if call is not None}

    @property
    def _needs_rewriter(self) -> bool:
        return needs_rewriter(self.model_dump(include={"extract", "perturbation", "restore"}))

    @property
    def calls_model(self) -> bool:
        """Whether a model is loaded in this stage, for which it should have a GPU."""
        engines = {call.engine for call in self.calls.values()}
        if self.difficulty is not None:
            engines.add(self.difficulty.engine)
        return bool(engines - API_ENGINES) or self.embedder is not None

    @model_validator(mode="after")
    def _check_rewriting(self) -> CurationConfig:
        check_rewriting(self.styles, self.perturbation, bool(self.restore))
        if self.rewriter is None and self._needs_rewriter:
            raise ValueError("this takes a model that rewrites: give rewriter, here or in the catalog's defaults")
        return self

    @property
    def embedder(self) -> str | None:
        """Key of the catalog's model that embeds; null where nothing is embedded, or without a model."""
        key: str = getattr(self, "embedding_model", HASHING)
        return None if key == HASHING else key


class AllRows(CurationConfig):
    """Every row that passes the filters."""

    method: Literal["all"] = described("How rows are chosen.")

    @model_validator(mode="before")
    @classmethod
    def _takes_all(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "n_samples" not in data:
            return data
        if data["n_samples"] is not None:
            raise ValueError("method 'all' takes every row: remove n_samples, or use method 'random'")
        return {key: value for key, value in data.items() if key != "n_samples"}


class SampledRows(CurationConfig):
    """A number of rows."""

    n_samples: Positive = described("Rows to choose.")


class RandomRows(SampledRows):
    """Rows drawn uniformly."""

    method: Literal["random"] = described("How rows are chosen.")


class S1Rows(SampledRows):
    """All filters, then specialty-balanced sampling of long reasoning (Muennighoff et al., s1, 2025).

    All traces of at least `long_tokens`, then 70 % of the rest uniformly over the specialties and 30 % by
    `specialty_weights`. A specialty without a weight has 1.
    """

    method: Literal["s1"] = described("How rows are chosen.")
    quality: QualityConfig | None = described("The quality filter; null turns it off.", QualityConfig())
    decontamination: DecontaminationConfig | None = described(
        "The check against benchmarks; null turns it off.", DecontaminationConfig()
    )
    duplicates: DuplicatesConfig | None = described(
        "The filter of repeated questions; null turns it off.", DuplicatesConfig()
    )
    difficulty: DifficultyConfig | None = described(
        "The base-model difficulty filter; null turns it off.", DifficultyConfig()
    )
    long_tokens: Annotated[int, Field(ge=0)] = described("Reasoning of at least so many tokens is taken first.", 1000)
    specialty_weights: dict[str, NonNegative] = described("Weight of a specialty, by name; others have 1.", {})


class SubstringRows(SampledRows):
    """Rows whose reasoning holds a word of doubt, drawn uniformly."""

    method: Literal["difficulty-substring"] = described("How rows are chosen.")
    substrings: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = described(
        "Parts of words, in any case, of which the reasoning must hold one.",
        ("confus", "mislead", "overlook", "double-check", "confirm"),
    )


class NgramRows(SampledRows):
    """Rows whose reasoning has the most words of thinking aloud, by their weights per word."""

    method: Literal["difficulty-n-gram"] = described("How rows are chosen.")
    ngrams: Annotated[dict[str, NonNegative], Field(min_length=1)] | None = described(
        "Weight of each phrase; null: the list of the project.", None
    )


class SimilarRows(SampledRows):
    """Rows most similar to the questions of another data set, taken in turns for each of these."""

    method: Literal["embedding-similarity"] = described("How rows are chosen.")
    # What the keys name has its own place in the fingerprint.
    embedding_model: str = no_outcome(f"Model of the catalog that embeds, or {HASHING}.", ...)
    column: Column = described("What of a row is embedded.", "question")
    queries: str = no_outcome("Key of the catalog's data set whose questions are the queries.", ...)
    eval_queries: bool = described("Whether the queries may be a benchmark: its result then says so.", False)


class DiverseRows(SampledRows):
    """Rows from all over the embedding space: outliers first, then even rounds over the clusters of k-means."""

    method: Literal["embedding-diversity"] = described("How rows are chosen.")
    embedding_model: str = no_outcome(f"Model of the catalog that embeds, or {HASHING}.", ...)
    column: Column = described("What of a row is embedded.", "reasoning")
    cluster_percentage: Annotated[float, Field(gt=0.0, le=100.0)] = described(
        "Number of clusters, in percent of n_samples.", 10.0
    )
    outlier_percentage: Annotated[float, Field(ge=0.0, le=100.0)] = described(
        "Rows taken for being far from their cluster's centre, in percent of n_samples.", 5.0
    )
    intra_group_ranking: Literal["random", "cot-length"] = described(
        "Which rows of a cluster come first: drawn, or those with the longest reasoning.", "random"
    )


class NovelRows(SampledRows):
    """Rows whose right answer is least similar to what the base model answers."""

    method: Literal["novelty-answer"] = described("How rows are chosen.")
    embedding_model: str = no_outcome(f"Model of the catalog that embeds, or {HASHING}.", ...)
    difficulty: DifficultyConfig = described(
        "How the base model answers, and which pass rates are kept.", DifficultyConfig(pass_rate=(0.0, 1.0))
    )


Curation = Annotated[
    AllRows | RandomRows | S1Rows | SubstringRows | NgramRows | SimilarRows | DiverseRows | NovelRows,
    Field(discriminator="method"),
]
"""The config of one curation: its method says which model it is."""
CURATIONS: dict[str, type[CurationConfig]] = {
    get_args(model.model_fields["method"].annotation)[0]: model for model in get_args(get_args(Curation)[0])
}
"""The parameter model of each method."""


def _flat() -> type[Strict]:
    described_as = "How rows are chosen."
    fields: dict[str, Any] = {"method": (Literal[tuple(CURATIONS)] | None, Field(None, description=described_as))}
    for model in CURATIONS.values():
        for name, info in model.model_fields.items():
            default = None if info.is_required() else info.default
            fields.setdefault(name, (info.rebuild_annotation(), Field(default, description=info.description)))
    made: type[Strict] = create_model("AnyCuration", __base__=Strict, __doc__=CurationConfig.__doc__, **fields)
    return made


AnyCuration = _flat()
"""The fields of all methods, each of which may be left out: what defaults and editors know of them."""


def curation_of(written: Mapping[str, Any]) -> Any:
    """The parameter model of the method that `written` names, built from it."""
    return TypeAdapter(Curation).validate_python(written)


def in_filter_order(funnel: Mapping[str, Any]) -> dict[str, Any]:
    """A funnel with the rows that came in first, then what each filter left: a recorded one has its keys sorted."""
    order = ["total", *(f"after_{stage}" for stage in FILTER_STAGES)]
    return {name: funnel[name] for name in (*order, *(name for name in funnel if name not in order)) if name in funnel}


def fields_of(method: object) -> frozenset[str]:
    """The fields that a method has; those of all methods for one that there is not."""
    return frozenset((CURATIONS.get(str(method)) or AnyCuration).model_fields)
