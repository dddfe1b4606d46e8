"""What a curation may say of models that it calls, of how reasoning is rewritten, and of perturbations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from registry.fields import EngineName, Positive, Strict, described, no_outcome

StyleName = Literal[
    "step",
    "1-sentence",
    "list",
    "markdown",
    "step-evidence",
    "note",
    "soap",
    "soapie",
    "isbar",
    "pomr",
    "decision-tree",
    "qa",
    "socratic",
    "cot",
    "cot-step",
    "none",
    "nejmcr-transform",
    "nejmcr-qa",
    "nejmcr-reason",
    "nejmcr-reason-extraction",
    "nejmcr-reason-structure",
    "nejmcr-reason-depth",
    "nejmcr-reason-purity",
    "nejmcr-reason-style",
    "nejmcr-clean",
]
STYLE_NAMES: tuple[StyleName, ...] = get_args(StyleName)
STEPWISE: frozenset[StyleName] = frozenset(("step", "step-evidence", "cot-step"))
"""The styles of which a text is a row of numbered steps."""
WITHOUT_REASONING: frozenset[StyleName] = frozenset(("cot", "cot-step", "none"))
"""The styles that need no reasoning of a row: they write their own, or leave it out."""
PerturbationName = Literal["collapse_consecutive", "skip", "shuffle", "add_irrelevant", "answer"]
MODEL_PERTURBATIONS: frozenset[PerturbationName] = frozenset(("collapse_consecutive", "answer"))
"""Those that a model writes."""

Role = Literal["difficulty_judge", "labels", "rewriter"]
"""What a model is called for in a curation, beside answering the questions."""
PLACES: dict[Role, tuple[str, ...]] = {
    "difficulty_judge": ("curation", "difficulty", "judge"),
    "labels": ("curation", "labels"),
    "rewriter": ("curation", "rewriter"),
}
"""Where a config says which model that is."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Styles = Annotated[tuple[StyleName, ...], BeforeValidator(_listed, json_schema_input_type=StyleName | list[StyleName])]


class ModelCall(Strict):
    """A model that is asked about rows, and asked again with the complaint where its answer does not pass."""

    # The model that `model_key` names has its own place in the fingerprint.
    model_key: str = no_outcome("Model of the catalog that is asked.", ...)
    engine: EngineName = described("What runs the model.", "openai")
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = described("0 is greedy.", 0.0)
    max_tokens: Positive = described("Longest answer, thinking included.", 4096)
    retries: Annotated[int, Field(ge=0, le=10)] = described("How often an answer that does not pass is asked again.", 2)
    concurrency: Positive = no_outcome("Requests that an API server gets at a time.", 16)
    batch: bool = no_outcome("Ask through the vendor's batch API: at half the price, within a day.", False)


class RewriterConfig(ModelCall):
    """The model that rewrites reasoning, perturbs what takes a model, and restores."""

    max_tokens: Positive = described("Longest answer, thinking included.", 8192)


class LabelsConfig(ModelCall):
    """The model that labels the specialty of rows, out of the project's list."""

    relabel: bool = described("Whether rows that have a label already get a new one.", False)


class PerturbationConfig(Strict):
    """Damage done to stepwise reasoning: which kind, and to which part of the steps (of the rows for `answer`)."""

    type: PerturbationName = described("What is done.")
    rate: Annotated[float, Field(gt=0.0, le=1.0)] = described("Part of the steps, or of the rows for `answer`.")


def needs_rewriter(curation: Mapping[str, Any]) -> bool:
    """Whether a curation, as it is written or dumped, rewrites anything with a model; wrong values need none."""
    perturbation = curation.get("perturbation")
    kind = perturbation.get("type") if isinstance(perturbation, Mapping) else None
    styles = _listed(curation.get("extract")) or ()
    asked = any(style != "none" for style in styles) if isinstance(styles, list | tuple) else False
    return asked or kind in MODEL_PERTURBATIONS or bool(curation.get("restore"))


def check_rewriting(styles: tuple[StyleName, ...], perturbation: PerturbationConfig | None, restore: bool) -> None:
    """Raise `ValueError` for rewritings that cannot follow each other."""
    if "none" in styles[:-1]:
        raise ValueError("extract: nothing can be made of what 'none' leaves; put it last")
    if perturbation is not None and styles and styles[-1] not in STEPWISE:
        raise ValueError(
            f"perturbation needs stepwise reasoning, and extract ends with {styles[-1]!r}; "
            f"end it with one of {', '.join(sorted(STEPWISE))}"
        )
    if restore and perturbation is None:
        raise ValueError("restore mends what a perturbation has damaged; give perturbation or remove restore")
