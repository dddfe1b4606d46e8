"""Where an engine finds its model: in a folder, or behind a server, and never in the wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.engine import ApiModel, EngineSpec, model_folder, model_source
from registry.catalog import HubOrFile, ModelEntry
from registry.errors import UsageError

FOLDER = ModelEntry(file_path="models/tiny", max_length=100)
SERVED = ModelEntry(api_model="gpt", base_url="http://localhost:1/v1", api_key_env="KEY", max_length=100)


def found(entry: HubOrFile, kind: str, key: str) -> Path:
    return Path(str(entry.file_path), kind, key)


def test_local_engines_get_the_folder_and_the_api_engine_the_server() -> None:
    for engine in ("vllm", "transformers"):
        assert model_source(FOLDER, "tiny", engine, found) == Path("models/tiny/model/tiny")
    assert model_source(SERVED, "gpt", "openai", found, 4) == ApiModel("gpt", "http://localhost:1/v1", "KEY", 4)


def test_an_engine_never_gets_the_other_kind() -> None:
    with pytest.raises(UsageError, match="the engine vllm cannot run the model gpt; use openai"):
        model_source(SERVED, "gpt", "vllm", found)
    with pytest.raises(UsageError, match="the engine openai cannot run the model tiny; use vllm or transformers"):
        model_source(FOLDER, "tiny", "openai", found)
    with pytest.raises(UsageError, match="the vllm engine cannot load gpt, an API's model; use openai or vertex"):
        model_folder(EngineSpec("vllm", ApiModel("gpt", None, "KEY"), 100))
