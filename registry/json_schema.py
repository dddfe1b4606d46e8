"""The JSON Schemas of `results.json` and `config.json`, for editors: `python -m registry.json_schema` writes them.

They are made from the pydantic models that read the two files. What a person may write is more than what the models of
an effective config take: `"same as X"` in place of an object, objects whose missing fields the catalog's defaults fill,
and the original project's spellings. These are added here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema

from registry.catalog import SLURM, Catalog, SlurmSection, StageDefaults
from registry.curation_schema import AnyCuration
from registry.document import render
from registry.fields import FormatName, described
from registry.names import MAX_LENGTH, PATTERN
from registry.references import PREFIX
from registry.schema import EvalConfig, ExperimentConfig, ExperimentDatasets, Resources, StageResources
from registry.training_schema import TrainingParams
from registry.written import Experiment, RegistryFile

FOLDER = Path(__file__).resolve().parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Objects whose fields may all be left out: the catalog's defaults, or the experiments, give the others.
_PARTIAL = ("TrainingParams",)

SameAs = Annotated[
    str,
    Field(pattern=f"^{PREFIX} *\\S", description="The same field of another experiment.", examples=[f"{PREFIX}base"]),
]


class WrittenCuration(AnyCuration):  # type: ignore[valid-type, misc]
    """How training data is chosen and laid out, also in the original project's spelling."""

    huatuo_format: bool | None = described("Old spelling of format: huatuo.", None)


class WrittenResources(StageResources):
    """What the jobs of the three stages ask of Slurm; what is left out is the catalog's."""

    curation: Resources | None = None  # type: ignore[assignment]
    training: Resources | None = None  # type: ignore[assignment]
    eval: Resources | None = None  # type: ignore[assignment]


class WrittenConfig(ExperimentConfig):
    """What an experiment is. An absent or null curation or training_params means that there is no such stage."""

    datasets: ExperimentDatasets | SameAs = described("What to curate from and to evaluate on.", {})  # type: ignore[assignment]
    curation: WrittenCuration | SameAs | None = described("How training data is chosen.", None)  # type: ignore[assignment]
    training_params: TrainingParams | SameAs | None = described("Fine-tuning.", None)  # type: ignore[assignment]
    eval: EvalConfig | SameAs | None = described("Question answering.", None)  # type: ignore[assignment]
    slurm: WrittenResources | None = described("What the jobs ask of Slurm beyond the catalog's.", None)  # type: ignore[assignment]
    format: FormatName | None = described("Old place of curation.format.", None)


class WrittenExperiment(Experiment):
    """One experiment: what it is and what came of its stages."""

    config: WrittenConfig | None = described("What the experiment is.", None)  # type: ignore[assignment]


class WrittenRegistry(RegistryFile):
    """A registry of experiments."""

    experiments: dict[str, WrittenExperiment] = described("Experiments by name.", {})  # type: ignore[assignment]


class WrittenDefaults(StageDefaults):
    """Fill what experiments leave out of a stage that they have; never a whole stage."""

    curation: AnyCuration = described("For experiments whose curation has the field.", {})  # type: ignore[valid-type]
    training_params: TrainingParams = described("For experiments that have training_params.", {})  # type: ignore[assignment]
    eval: EvalConfig = described("For every experiment.", {})  # type: ignore[assignment]


class WrittenCatalog(Catalog):
    """The catalog: models, data sets, defaults, resources and names."""

    defaults: WrittenDefaults = described("Fill what experiments leave out of their stages.", {})
    slurm: dict[SlurmSection, Resources] = described(SLURM, {})  # type: ignore[assignment]


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def results_schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`."""
    schema = _schema(WrittenRegistry, "results.json of med-s1")
    schema["properties"]["experiments"]["propertyNames"] = {"pattern": f"^{PATTERN}$", "maxLength": MAX_LENGTH}
    return schema


def config_schema() -> dict[str, Any]:
    """The JSON Schema of `config.json`."""
    return _schema(WrittenCatalog, "config.json of med-s1")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    made = model.model_json_schema(schema_generator=_WithoutTitles)
    for definition in _PARTIAL:
        made["$defs"].get(definition, {}).pop("required", None)
    for part in _objects(made):
        part.pop("no_outcome", None)
        part.pop("optional", None)
        part.pop("name_all_fields", None)
    return {"$schema": DIALECT, **made, "title": title}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(below)


def main() -> None:
    """Write both schemas beside the models."""
    for name, schema in (("results", results_schema()), ("config", config_schema())):
        path = FOLDER / f"{name}.schema.json"
        path.write_bytes(render(schema))
        print(path)


if __name__ == "__main__":
    main()
