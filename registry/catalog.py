"""`config.json`, the catalog: models, data sets, stage defaults, Slurm resources and display names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from registry.schema import Positive, Stage, Strict


class HubOrFile(Strict):
    """Something that lies on the Hugging Face hub (`hf_path`, pinned by `revision`) or in a file or folder.

    A relative `file_path` is relative to the catalog's folder; `${NAME}` is read from the environment.
    """

    hf_path: str | None = None
    revision: str | None = None
    file_path: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> HubOrFile:
        if (self.hf_path is None) == (self.file_path is None):
            raise ValueError("give either hf_path or file_path")
        return self


class ModelEntry(HubOrFile):
    """A base model. `max_length` is the longest sequence in tokens that it is trained and run with."""

    max_length: Positive
    gated: bool = False
    system_prompt: str | None = None


class Columns(Strict):
    """Which columns of a data set hold the fields of a row.

    `options` is one column (a letter-to-text object or a list) or a list of columns, one per option. `answer_idx` is
    the gold answer as a letter or as an index, `answer` its text.
    """

    question: str = "question"
    options: str | tuple[str, ...] = "options"
    answer: str = "answer"
    answer_idx: str = "answer_idx"
    reasoning: str = "reasoning"
    specialty: str = "specialty"
    source: str = "source"


class DatasetEntry(HubOrFile):
    """A data set of the hub (`hf_config`, `hf_split`) or a file: JSON, JSONL, CSV, parquet, or a saved data set.

    Columns named in `columns` must exist; of the names that are left at their default, those that exist are used.
    `answer_index_base` says whether a numeric `answer_idx` counts from 0 or 1.
    """

    hf_config: str | None = None
    hf_split: str = "train"
    columns: Columns = Columns()
    answer_index_base: Annotated[int, Field(ge=0, le=1)] = 0
    max_length: Positive | None = None


class StageDefaults(Strict):
    """Values that fill fields which an experiment leaves out of an object that it has; never a whole stage.

    `reference_gpus` is the number of GPUs that a config's `batch_size` x `gradient_accumulation_steps` is meant for.
    """

    reference_gpus: Positive = 4
    curation: dict[str, Any] = {}
    training_params: dict[str, Any] = {}
    eval: dict[str, Any] = {}


class DisplayEntry(Strict):
    """How an experiment is called and drawn in tables and figures."""

    name: str | None = None
    group: str | None = None
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = None


class Display(Strict):
    """Readable names, groups and colours of experiments and benchmarks."""

    experiments: dict[str, DisplayEntry] = {}
    benchmarks: dict[str, str] = {}


class Catalog(Strict):
    """The whole of `config.json`."""

    schema_: str | None = Field(None, alias="$schema")
    models: dict[str, ModelEntry] = {}
    train_datasets: dict[str, DatasetEntry] = {}
    eval_datasets: dict[str, DatasetEntry] = {}
    defaults: StageDefaults = StageDefaults()
    slurm: dict[Stage, dict[str, Any]] = {}
    display: Display = Display()
