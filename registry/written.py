"""`results.json` as people and jobs write it: the shape that `meds1 validate` checks and the JSON Schema describes.

An experiment's `config` is only an object here; what it means is told by `registry.resolve`, how it may be written by
`registry.json_schema`. Fields of results that are not known are kept, also those of other programs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from registry.fields import Strict, described


class Note(Strict):
    """What somebody had to say about an experiment (`meds1 note`)."""

    text: str = described("The note.")
    author: str | None = described("Who wrote it.", None)
    timestamp: str | None = described("When, in UTC.", None)


class LastAttempt(BaseModel):
    """An attempt that ended after the result that counts."""

    model_config = ConfigDict(extra="allow")

    attempt: int
    status: str


class Result(BaseModel):
    """What came of a stage. The lower fields are those of the original project's registries."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    status: Literal["completed", "failed", "cancelled"] = described("How the stage ended.", "completed")
    timestamp: str | None = described("When it ended.", None)
    dataset_path: str | None = described("Curation: the folder of the curated data set.", None)
    model_path: str | None = described("Training: the folder of the trained model.", None)
    predictions_path: str | None = described("Eval: the file of all answers.", None)
    metrics: dict[str, Any] | None = described("What was measured.", None)
    spending: dict[str, Any] | None = described("What calls of models cost, over all attempts, in US dollars.", None)
    gpu_hours: float | None = described("Time of the GPUs that it held, over all attempts and shards.", None)
    fingerprint: str | None = described("Hash of what decides the outcome; none for results of other programs.", None)
    inputs: dict[str, Any] | None = described("What the fingerprint hashes.", None)
    provenance: dict[str, Any] | None = described("Commit, host, versions and times.", None)
    last_attempt: LastAttempt | None = described("A later attempt that did not complete.", None)
    stats_file: str | None = described("Original registries: counts of the curation.", None)
    outputs_path: str | None = described("Original registries: all answers.", None)
    metrics_path: str | None = described("Original registries: accuracies.", None)
    metrics_file: str | None = described("Original registries: accuracies.", None)
    summary_file: str | None = described("Original registries: accuracies by benchmark.", None)
    output_dir: str | None = described("Original registries: the folder of the eval.", None)


class Results(Strict):
    """The results of an experiment's stages. Written by jobs."""

    curation: Result | None = None
    training: Result | None = None
    eval: Result | None = None


class Experiment(Strict):
    """One experiment: what it is and what came of its stages."""

    description: str | None = described("What it is for, in a line.", None)
    tags: list[str] | None = described("Words to choose experiments by (--tag).", None)
    notes: list[Note | str] | None = described("What people had to say (`meds1 note`).", None)
    config: dict[str, Any] | None = described("What the experiment is.", None)
    results: Results | None = described("What came of its stages; written by jobs.", None)


class RegistryFile(Strict):
    """A registry of experiments."""

    schema_: str | None = Field(None, alias="$schema", description="The JSON Schema of this file, for editors.")
    format: int = described("Number of the file's format.", 1)
    experiments: dict[str, Experiment] = described("Experiments by name.", {})
