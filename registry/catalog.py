"""`config.json`, the catalog: models, data sets, stage defaults, Slurm resources and display names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from registry.fields import EngineName, FormatName, Positive, Strict, described, no_outcome
from registry.schema import TaskName

SlurmSection = Literal["curation", "curation_cpu", "training", "eval"]
SLURM = (
    "What jobs ask of Slurm, by stage; curation_cpu lies over curation for one that calls no model, "
    "which needs no GPU unless this says so."
)


class HubOrFile(Strict):
    """Something that lies on the Hugging Face hub (`hf_path`, pinned by `revision`) or in a file or folder.

    A relative `file_path` is relative to the catalog's folder; `${NAME}` is read from the environment.
    """

    hf_path: str | None = described("Its name on the Hugging Face hub.", None)
    revision: str | None = described("The commit to use; else the one of the first run is kept.", None)
    file_path: str | None = described("A file or folder, relative to the catalog's; may hold ${NAME}.", None)

    @property
    def is_data(self) -> bool:
        """Whether there is anything to fetch or to look up: not for a model behind an API."""
        return self.hf_path is not None or self.file_path is not None

    @model_validator(mode="after")
    def _one_place(self) -> HubOrFile:
        if (self.hf_path is None) == (self.file_path is None):
            raise ValueError("give either hf_path or file_path")
        return self


class Prices(Strict):
    """What a model's tokens cost, in US dollars per million; hidden thinking counts as output."""

    input: Annotated[float, Field(ge=0.0)] = described("US dollars per million tokens of prompts.")
    output: Annotated[float, Field(ge=0.0)] = described("US dollars per million tokens of answers.")
    batch_factor: Annotated[float, Field(gt=0.0, le=1.0)] = described("Part of it that a batch API takes.", 0.5)

    def cost(self, prompt_tokens: float, completion_tokens: float, batch: bool) -> float:
        """US dollars for so many tokens."""
        full = (prompt_tokens * self.input + completion_tokens * self.output) / 1e6
        return full * self.batch_factor if batch else full


class ModelEntry(HubOrFile):
    """A base model. `max_length` is the longest sequence in tokens that it is trained and run with.

    In place of `hf_path` or `file_path`, `api_model` names a model that an OpenAI-compatible server runs, for the
    engine `openai`; the server is at `base_url` (OpenAI's own without one), which may hold `${NAME}`, and the key is
    read from the environment variable `api_key_env`. `vertex_model` names a model on Vertex AI, for the engine
    `vertex`, in `vertex_project` (that of the application-default credentials without one) and `vertex_location`.
    """

    api_model: str | None = described("Its name at an OpenAI-compatible server.", None)
    vertex_model: str | None = described("Its name on Vertex AI, such as gemini-2.5-flash.", None)
    vertex_project: str | None = described("Google Cloud project; null: the credentials' own.", None)
    vertex_location: str = described("Region of Vertex AI.", "us-central1")
    vertex_bucket: str | None = described("Folder in Cloud Storage for its batches, such as gs://lab/batches.", None)
    base_url: str | None = described("The server, such as http://localhost:8000/v1; null: the vendor's.", None)
    api_key_env: str = described("Environment variable that holds the server's key.", "OPENAI_API_KEY")
    requests_per_minute: Positive | None = described("Most requests that one job sends in a minute; null: any.", None)
    prices: Prices | None = described("What its tokens cost; null: nobody knows, or nothing.", None)
    max_length: Positive = described("Longest sequence in tokens.")
    format: FormatName | None = described("How it lays out thinking and answer before any training.", None)
    gated: bool = described("Whether the hub asks for a token.", False)
    system_prompt: str | None = described("Put before every conversation.", None)

    @model_validator(mode="after")
    def _one_place(self) -> ModelEntry:
        places = (self.hf_path, self.file_path, self.api_model, self.vertex_model)
        if sum(place is not None for place in places) != 1:
            raise ValueError("give one of hf_path, file_path, api_model and vertex_model")
        return self

    @property
    def engines(self) -> tuple[EngineName, ...]:
        """The engines that can run it."""
        if self.api_model is not None:
            return ("openai",)
        return ("vertex",) if self.vertex_model is not None else ("vllm", "transformers")

    @property
    def is_served(self) -> bool:
        """Whether it is behind an API, so that nothing of it can be loaded here."""
        return self.api_model is not None or self.vertex_model is not None


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

    `file_path` may be a pattern such as `part-*.jsonl`. `merge` names other entries of the same section in place of
    both: their rows, one after the other.

    Columns named in `columns` must exist; of the names that are left at their default, those that exist are used.
    `answer_index_base` says whether a numeric `answer_idx` counts from 0 or 1. A `plugin` may take the place of
    the file, or say how the file's questions are asked and judged.
    """

    task: TaskName | None = described("What is asked for; null: choice where there are options, else text.", None)
    labels: tuple[str, ...] | None = described("Options of every question, such as yes, no, maybe.", None)
    plugin: str | None = described("Python file with load, prompt, extract or check of its own.", None)
    merge: tuple[str, ...] | dict[str, DatasetEntry] | None = described(
        "Keys of other entries of this section, whose rows are put together.", None
    )
    license: str | None = no_outcome("Licence of the data, for the card of what is made of it.")
    hf_config: str | None = described("Configuration of the hub's data set.", None)
    hf_split: str = described("Split of the hub's data set.", "train")
    columns: Columns = described("Which columns hold what.", Columns())
    answer_index_base: Annotated[int, Field(ge=0, le=1)] = described("Whether answer_idx counts from 0 or 1.", 0)
    max_length: Positive | None = described("Kept from catalogs of the original project.", None)

    def parts(self, key: str) -> Iterator[tuple[str, DatasetEntry]]:
        """The entries that have rows of their own, by key: those that were merged, or this one."""
        if not isinstance(self.merge, dict):
            yield key, self
            return
        for name, entry in self.merge.items():
            yield from entry.parts(name)

    @model_validator(mode="after")
    def _one_place(self) -> DatasetEntry:
        places = (self.hf_path is not None) + (self.file_path is not None) + (self.merge is not None)
        if places > 1 or (places == 0 and self.plugin is None):
            raise ValueError("give one of hf_path, file_path and merge (or a plugin that loads its questions itself)")
        if self.labels is not None and len(self.labels) < 2:
            raise ValueError("labels needs at least two")
        if self.merge is not None:
            self._check_merge()
        return self

    def _check_merge(self) -> None:
        if not self.merge:
            raise ValueError("merge names no entry")
        fields = type(self).model_fields
        for name in sorted(fields.keys() - {"merge", "license", "max_length"}):
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"merge takes the rows of its parts as they are: move {name} to the parts")


class StageDefaults(Strict):
    """Values that fill fields which an experiment leaves out of an object that it has; never a whole stage.

    `reference_gpus` is the number of GPUs that a config's `batch_size` x `gradient_accumulation_steps` is meant for.
    """

    reference_gpus: Positive = described("GPUs that batch_size x gradient_accumulation_steps is meant for.", 4)
    curation: dict[str, Any] = described("For experiments that have curation.", {})
    training_params: dict[str, Any] = described("For experiments that have training_params.", {})
    eval: dict[str, Any] = described("For every experiment.", {})


class DisplayEntry(Strict):
    """How an experiment is called and drawn in tables and figures."""

    name: str | None = described("What to call it in tables and figures.", None)
    group: str | None = described("Experiments of one group share a colour.", None)
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = described("Such as #1f77b4.", None)


class Display(Strict):
    """Readable names, groups and colours of experiments and benchmarks."""

    experiments: dict[str, DisplayEntry] = described("By the experiment's name.", {})
    benchmarks: dict[str, str] = described("What to call a benchmark, by its key or source.", {})


class Catalog(Strict):
    """The whole of `config.json`."""

    schema_: str | None = Field(None, alias="$schema")
    models: dict[str, ModelEntry] = described("Base models by key.", {})
    train_datasets: dict[str, DatasetEntry] = described("Data sets to curate from, by key.", {})
    eval_datasets: dict[str, DatasetEntry] = described("Benchmarks by key.", {})
    defaults: StageDefaults = described("Fill what experiments leave out of their stages.", StageDefaults())
    slurm: dict[SlurmSection, dict[str, Any]] = described(SLURM, {})
    display: Display = described("Names, groups and colours.", Display())
