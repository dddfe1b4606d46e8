"""The card of a formatted data set: where its rows are from, what became of them, and what it is made for.

Markdown with the front matter that the Hugging Face hub reads. It names no path, user, host or time, and no setting
that only spreads the work over jobs: equal input gives an equal card.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel

from curation.ledger import Ledger, kept
from curation.methods.pool import specialty_of
from registry.catalog import DatasetEntry, HubOrFile, ModelEntry
from registry.contents import Contents
from registry.curation_schema import SimilarRows
from registry.effective import EffectiveConfig
from registry.rewriting_counts import told_beside
from registry.rewriting_schema import Role

LENGTHS: Final = (0, 100, 250, 500, 750, 1000, 1500, 2000, 4000, 8000)
"""Where the rows of the table of lengths begin, in tokens."""
MOST_SPECIALTIES: Final = 40
_UNKNOWN_LICENSE: Final = "unknown"
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_BAR: Final = 20
_CALLED_FOR: Final[Mapping[Role, str]] = {
    "difficulty_judge": "judging answers",
    "labels": "specialties",
    "rewriter": "rewriting",
}
_WITHOUT_OUTCOME: Final = frozenset(("shards", "max_cost", "concurrency", "batch"))
_MOST_REASONS: Final = 3


def write_card(config: EffectiveConfig, ledger: Ledger, metrics: Mapping[str, Any]) -> str:
    """The text of README.md; `metrics` are the stage's."""
    parts = [
        _front_matter(config, metrics),
        _summary(config, metrics),
        _loading(config.experiment),
        _sources(config, ledger),
        _funnel(metrics),
        *_rewriting(config, metrics),
        _specialties(ledger),
        _lengths(ledger),
        _settings(config),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(config: EffectiveConfig, metrics: Mapping[str, Any]) -> str:
    from huggingface_hub import DatasetCardData

    assert config.train_dataset is not None
    parts = [entry for _, entry in config.train_dataset.parts("")]
    rows = metrics["n_train"] + metrics["n_validation"]
    splits = [name for name in ("train", "validation") if metrics[f"n_{name}"]]
    card = DatasetCardData(
        pretty_name=config.experiment,
        license=sorted({entry.license or _UNKNOWN_LICENSE for entry in parts}),
        task_categories=["question-answering", "text-generation"],
        size_categories=[next((size for limit, size in _SIZES if rows < limit), "n>1M")],
        source_datasets=sorted({f"extended|{entry.hf_path}" for entry in parts if entry.hf_path}) or None,
        tags=["medical", "reasoning", "med-s1", f"curation:{metrics['method']}"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}/data-*.arrow"} for name in splits],
            }
        ],
    )
    return f"---\n{card.to_yaml(line_break=chr(10))}\n---"


def _summary(config: EffectiveConfig, metrics: Mapping[str, Any]) -> str:
    funnel = metrics["funnel"]
    lines = [
        f"# {config.experiment}",
        "",
        f"{metrics['n_train']:,} training and {metrics['n_validation']:,} validation examples of medical questions "
        f"with their reasoning and answer, chosen by `{metrics['method']}` from the {funnel['total']:,} rows of "
        f"`{config.train_dataset_key}`. Each has a `prompt` and a `completion` as message lists; reasoning and answer "
        f"are laid out in the format `{config.curation.format if config.curation else ''}`, and the chat template of "
        f"the tuned model, `{config.model_key}`, is applied when it is trained.",
    ]
    if metrics["warnings"]:
        lines += ["", "**To be known before use:**", "", *(f"- {_inline(each)}" for each in metrics["warnings"])]
    return "\n".join(lines)


def _loading(experiment: str) -> str:
    return f"""## How to load

```python
from datasets import load_from_disk

data = load_from_disk("med_s1k_formatted")  # this folder
data["train"][0]["prompt"], data["train"][0]["completion"]
```

Uploaded as it is (`hf upload OWNER/{experiment} med_s1k_formatted --repo-type dataset`), it loads from the hub with
`datasets.load_dataset("OWNER/{experiment}")`."""


def _sources(config: EffectiveConfig, ledger: Ledger) -> str:
    assert config.train_dataset is not None
    contents = Contents.from_environment()
    data = [(key, entry, "rows") for key, entry in config.train_dataset.parts(str(config.train_dataset_key))]
    data += [(key, entry, "decontamination") for key, entry in sorted(config.benchmarks.items())]
    if isinstance(config.curation, SimilarRows) and config.query_dataset is not None:
        data += [(key, entry, "queries") for key, entry in config.query_dataset.parts(config.curation.queries)]
    rows = [
        (used, key, *_place(entry, None if used == "rows" else contents), entry.license or "not stated")
        for key, entry, used in data
    ]
    rows += [(used, key, *_place(entry, contents), "") for used, key, entry in _models(config)]
    table = _table(("used for", "name", "from", "revision or SHA-256 of the content", "licence"), rows)
    # Their ids, which hash all of a row: the order of the rows in a file, which changes nothing, is not in it.
    digest = hashlib.sha256("".join(entry.row.id for entry in ledger).encode()).hexdigest()
    return f"## Sources\n\n{table}\n\nSHA-256 of the ids of all {len(ledger):,} rows: `{digest}`."


def _models(config: EffectiveConfig) -> Iterator[tuple[str, str, ModelEntry]]:
    curation = config.curation
    yield "tokens", config.model_key, config.model
    if config.difficulty_model is not None:
        yield "base-model answers", str(config.difficulty_model_key), config.difficulty_model
    elif curation is not None and curation.difficulty is not None:
        yield "base-model answers", config.model_key, config.model
    if config.embedding_model is not None:
        yield "embeddings", str(config.embedding_model_key), config.embedding_model
    for role, entry in config.called_models.items():
        assert curation is not None
        yield _CALLED_FOR[role], curation.calls[role].model_key, entry


def _place(entry: HubOrFile, contents: Contents | None) -> tuple[str, str]:
    """Where it is from, and which state of it: a local file's name and folder say nothing to others."""
    if entry.hf_path is not None:
        of = [entry.hf_config, f"split {entry.hf_split}"] if isinstance(entry, DatasetEntry) else []
        return ", ".join([entry.hf_path, *filter(None, of)]), entry.revision or "not pinned"
    if entry.file_path is not None:
        if contents is None:
            return "local file", "see below"
        digest = contents.model if isinstance(entry, ModelEntry) else contents.data
        return "local file", digest(entry.file_path)
    if isinstance(entry, ModelEntry):
        return str(entry.api_model or entry.vertex_model), "behind an API"
    return "made by its plugin", ""


def _funnel(metrics: Mapping[str, Any]) -> str:
    counts, reasons = list(metrics["funnel"].items()), metrics["reasons"]
    total = counts[0][1]
    rows = [("all rows", f"{total:,}", "")]
    for (_, before), (name, left) in pairwise(counts):
        rows.append((name.replace("_", " "), f"{left:,}", f"{before - left:,}"))
    why = [
        (stage, _inline(reason), f"{count:,}") for stage, found in reasons.items() for reason, count in found.items()
    ]
    parts = ["## What became of the rows", _table(("", "rows", "removed"), rows), "![funnel](figures/funnel.png)"]
    if why:
        parts.append(_table(("removed by", "reason", "rows"), why))
    return "\n\n".join(parts)


def _rewriting(config: EffectiveConfig, metrics: Mapping[str, Any]) -> Iterator[str]:
    """What each rewriting made of the chosen rows, and which model wrote; nothing where nothing was rewritten."""
    if "rewriting" not in metrics:
        return
    assert config.curation is not None
    fields = ("rows", "accepted", "repaired", "unchanged", "given_up")
    rows = [
        (f"`{count['name']}`", *(f"{count[field]:,}" for field in fields), _most_frequent(count["reasons"]))
        for count in metrics["rewriting"]
    ]
    table = _table(("rewriting", *(field.replace("_", " ") for field in fields), "most frequent reasons"), rows)
    beside = [f"`{count['name']}`: {part}." for count in metrics["rewriting"] for part in told_beside(count)]
    told = "The reasoning as it was loaded is in `reasoning_original` of the table of all rows."
    rewriter = config.curation.calls.get("rewriter")
    if rewriter is not None:
        place = _place_in_words(config.called_models["rewriter"])
        told = f"Written by `{rewriter.model_key}` ({place}). {told}"
    yield f"## Rewriting\n\n{told} Repaired rows passed after the model was told what was wrong.\n\n{table}"
    if beside:
        yield "\n".join(f"- {part}" for part in beside)


def _place_in_words(entry: ModelEntry) -> str:
    place, state = _place(entry, Contents.from_environment())
    return f"{place}, {state}"


def _most_frequent(reasons: Mapping[str, int]) -> str:
    """As they are ordered in results that were just made: the most frequent first."""
    return "; ".join(f"{_inline(reason)} ({count:,})" for reason, count in list(reasons.items())[:_MOST_REASONS])


def _specialties(ledger: Ledger) -> str:
    everything = Counter(specialty_of(entry) for entry in ledger)
    chosen = Counter(specialty_of(entry) for entry in kept(ledger))
    names = sorted(everything, key=lambda name: (-chosen[name], -everything[name], name))
    shown, others = names[:MOST_SPECIALTIES], names[MOST_SPECIALTIES:]
    rows = [(_inline(name), everything[name], chosen[name]) for name in shown]
    if others:
        in_all, in_chosen = (sum(counts[name] for name in others) for counts in (everything, chosen))
        rows.append((f"{len(others)} others", in_all, in_chosen))
    table = _histogram(("specialty", "all rows", "chosen"), rows)
    return f"## Specialties\n\n{table}\n\n![specialties](figures/specialties.png)"


def _lengths(ledger: Ledger) -> str:
    everything = Counter(_bin(entry.loaded.reasoning_tokens) for entry in ledger)
    chosen = Counter(_bin(entry.reasoning_tokens) for entry in kept(ledger))
    ends = [f"{start:,} to {end - 1:,}" for start, end in pairwise(LENGTHS)]
    names = [*ends, f"{LENGTHS[-1]:,} or more"]
    longest = max([*everything, *chosen], default=0)
    rows = [(name, everything[index], chosen[index]) for index, name in enumerate(names[: longest + 1])]
    table = _histogram(("tokens of reasoning", "all rows", "chosen"), rows)
    return f"## Lengths\n\n{table}\n\n![lengths](figures/lengths.png)"


def _bin(tokens: int) -> int:
    return bisect_right(LENGTHS, tokens) - 1


def _settings(config: EffectiveConfig) -> str:
    assert config.curation is not None
    return f"## Settings\n\n```json\n{json.dumps(_told(config.curation), indent=2, ensure_ascii=False)}\n```"


def _told(settings: BaseModel) -> dict[str, Any]:
    """Settings as JSON, without those that change no row, and without what is not used and need not be said."""
    dumped, told = settings.model_dump(mode="json"), {}
    for name, info in type(settings).model_fields.items():
        value, extra = getattr(settings, name), info.json_schema_extra
        unused = value is None and isinstance(extra, dict) and extra.get("optional")
        if name not in _WITHOUT_OUTCOME and not unused:
            told[name] = _told(value) if isinstance(value, BaseModel) else dumped[name]
    return told


def _histogram(header: tuple[str, str, str], rows: Sequence[tuple[str, int, int]]) -> str:
    """A table with a bar for the last column's counts."""
    longest = max([chosen for _, _, chosen in rows], default=0) or 1
    body = [(name, f"{every:,}", f"{chosen:,}", "█" * round(_BAR * chosen / longest)) for name, every, chosen in rows]
    return _table((*header, ""), body)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _inline(text: str) -> str:
    """Text of a row or a config in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
