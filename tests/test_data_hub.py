"""The hub cache with the real client, in processes of their own, against a hub at HTTP level or against none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from data.hub import resolve
from registry.catalog import DatasetEntry, HubOrFile, ModelEntry
from registry.errors import MissingError, UsageError
from registry.hub_cache import cached_revision
from tests.hub_server import COMMIT, Repository, serving

ROOT = Path(__file__).resolve().parents[1]
MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "original/consolidated.00.pth": b"twice"}
CSV = b"question,a,b,answer_idx,reasoning\nWhich?,NA,007,B,null\n"
JSONL = b'{"question": "Why?", "options": {"A": "x", "B": "y"}, "answer_idx": "A"}\n'
REPOSITORIES = {
    "models/lab/open": Repository(MODEL),
    "models/lab/gated": Repository(MODEL, gated=True),
    "datasets/lab/csv": Repository({"README.md": b"# A set\n", "train.csv": CSV}),
    "datasets/lab/gated": Repository({"train.csv": CSV}, gated=True),
    "datasets/lab/broken": Repository({"train.jsonl": b"{nope"}),
    "datasets/lab/dates": Repository({"train.jsonl": b'{"question": "When?", "answer": "2020-01-01"}\n'}),
    "datasets/lab/two": Repository(
        {
            "README.md": b"---\nconfigs:\n- config_name: en\n  data_files: [{split: test, path: en.jsonl}]\n"
            b"- config_name: fr\n  data_files: [{split: test, path: fr.jsonl}]\n---\n",
            "en.jsonl": JSONL,
            "fr.jsonl": JSONL.replace(b"Why", b"Pourquoi"),
        }
    ),
}
CALL = """
import json, sys
from data import hub, load
from registry.catalog import DatasetEntry, ModelEntry
from registry.errors import Meds1Error

verb, kind, fields = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
entry = DatasetEntry(**fields) if kind == "dataset" else ModelEntry(max_length=8, **fields)
try:
    if verb == "rows":
        rows = load.load_rows("my-set", entry)
        print([(row.question, [option.text for option in row.options], row.answer, row.reasoning) for row in rows])
    else:
        print(getattr(hub, verb)(entry, kind))
except Meds1Error as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving(REPOSITORIES) as address:
        yield address


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, for this process and for those that `call` starts."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def call(verb: str, kind: str, fields: Mapping[str, Any], endpoint: str | None = None) -> str:
    """Call a function of the data room in a new process, offline without an endpoint; return its one line."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1" if endpoint is None else "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if endpoint is not None:
        environment["HF_ENDPOINT"] = endpoint
    command = [sys.executable, "-c", CALL, verb, kind, json.dumps(fields)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout.strip()


def closed_endpoint() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_model_is_fetched_then_found_offline(cache: Path, endpoint: str) -> None:
    entry = ModelEntry(hf_path="lab/open", max_length=8)
    assert cached_revision(entry, "model") is None
    snapshot = Path(call("fetch", "model", {"hf_path": "lab/open"}, endpoint))
    assert snapshot == cache / "models--lab--open" / "snapshots" / COMMIT
    assert {path.name for path in snapshot.iterdir()} == {"config.json", "model.safetensors"}
    assert (snapshot / "model.safetensors").read_bytes() == b"weights"
    assert resolve(entry, "model") == snapshot
    assert cached_revision(entry, "model") == COMMIT
    pinned = entry.model_copy(update={"revision": COMMIT})
    assert (resolve(pinned, "model"), cached_revision(pinned, "model")) == (snapshot, COMMIT)
    assert cached_revision(entry.model_copy(update={"revision": "v2"}), "model") is None
    assert cached_revision(entry.model_copy(update={"revision": COMMIT[::-1]}), "model") is None
    assert call("fetch", "model", {"hf_path": "lab/open"}, closed_endpoint()) == str(snapshot)


def test_half_a_model_is_not_a_model(cache: Path, endpoint: str) -> None:
    snapshot = Path(call("fetch", "model", {"hf_path": "lab/open"}, endpoint))
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(MissingError, match="lab/open is only partly on this machine: run `meds1 fetch tiny`"):
        resolve(ModelEntry(hf_path="lab/open", max_length=8), "model", name="tiny")


def test_gated_repository_names_the_page_to_ask_at(cache: Path, endpoint: str) -> None:
    said = call("fetch", "model", {"hf_path": "lab/gated", "gated": True}, endpoint)
    assert said == (
        "MissingError: lab/gated is gated: accept its licence at https://huggingface.co/lab/gated, "
        "set HF_TOKEN and fetch again"
    )
    assert "https://huggingface.co/datasets/lab/gated," in call("fetch", "dataset", {"hf_path": "lab/gated"}, endpoint)


def test_resolve_says_how_to_get_what_is_not_here(cache: Path) -> None:
    with pytest.raises(MissingError, match="at revision v1 is not on this machine: run `meds1 fetch llama`") as caught:
        resolve(ModelEntry(hf_path="lab/gated", revision="v1", gated=True, max_length=8), "model", name="llama")
    assert "licence is accepted at https://huggingface.co/lab/gated" in str(caught.value)
    with pytest.raises(MissingError, match=r"run `meds1 fetch lab/open` where there is network$"):
        resolve(ModelEntry(hf_path="lab/open", max_length=8), "model")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hf_path": "lab/none"}, "MissingError: lab/none: the hub shows no such model; correct hf_path, or set"),
        (
            {"hf_path": "lab/open", "revision": "v9"},
            "UsageError: lab/open at revision v9: the hub has no such",
        ),
        ({"hf_path": "lab/open/x"}, "UsageError: 'lab/open/x' is no name of the hub"),
    ],
)
def test_wrong_name_is_one_clear_line(cache: Path, endpoint: str, fields: Mapping[str, Any], said: str) -> None:
    assert call("fetch", "model", fields, endpoint).startswith(said)


def test_no_network_is_one_clear_line(cache: Path) -> None:
    said = call("fetch", "model", {"hf_path": "lab/open"}, closed_endpoint())
    assert said.startswith("MissingError: lab/open could not be downloaded (ConnectError): check the network")
    said = call("fetch", "model", {"hf_path": "lab/open"})
    assert said.startswith("MissingError: lab/open could not be downloaded (OfflineModeIsEnabled)")


def test_data_set_is_fetched_then_read_offline_with_its_text_intact(cache: Path, endpoint: str) -> None:
    fields: dict[str, Any] = {"hf_path": "lab/csv", "revision": COMMIT, "columns": {"options": ["a", "b"]}}
    assert call("rows", "dataset", fields).startswith("MissingError: data set 'my-set': lab/csv at revision 0123")
    call("fetch", "dataset", fields, endpoint)
    assert call("rows", "dataset", fields) == "[('Which?', ['NA', '007'], '007', 'null')]"
    assert call("rows", "dataset", fields | {"hf_split": "test"}).startswith(
        "UsageError: data set 'my-set' (lab/csv): "
    )


def test_config_and_split_of_a_data_set(cache: Path, endpoint: str) -> None:
    fields: dict[str, Any] = {"hf_path": "lab/two", "hf_config": "fr", "hf_split": "test"}
    call("fetch", "dataset", fields, endpoint)
    assert call("rows", "dataset", fields) == "[('Pourquoi?', ['x', 'y'], 'x', '')]"
    wrongs: list[dict[str, Any]] = [{"hf_config": None}, {"hf_config": "de"}, {"hf_split": "train"}]
    for wrong in wrongs:
        assert call("rows", "dataset", fields | wrong).startswith("UsageError: data set 'my-set' (lab/two): ")


def test_hub_file_that_cannot_be_read_intact_is_refused(cache: Path, endpoint: str) -> None:
    """`datasets` takes a JSON column of dates for timestamps: better no row than a changed answer."""
    for name, said in (("broken", "JSON parse error"), ("dates", "column 'answer': holds a datetime, not text")):
        fields: dict[str, Any] = {"hf_path": f"lab/{name}"}
        call("fetch", "dataset", fields, endpoint)
        found = call("rows", "dataset", fields)
        assert found.startswith("UsageError: data set 'my-set'")
        assert said in found


def test_file_is_its_own_place(tmp_path: Path) -> None:
    entry = HubOrFile(file_path=str(tmp_path))
    assert resolve(entry, "dataset") == tmp_path
    assert cached_revision(entry, "dataset") is None
    with pytest.raises(MissingError, match="correct file_path"):
        resolve(DatasetEntry(file_path=str(tmp_path / "gone")), "dataset")


def test_bad_name_is_refused_offline_too(cache: Path) -> None:
    with pytest.raises(UsageError, match="is no name of the hub"):
        resolve(DatasetEntry(hf_path="a/b/c"), "dataset")


def test_cached_revision_and_file_places_import_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from data.hub import resolve; from registry.hub_cache import cached_revision;"
        "from registry.catalog import HubOrFile;"
        "cached_revision(HubOrFile(hf_path='a/b'), 'model'); resolve(HubOrFile(file_path=sys.argv[1]), 'model');"
        "print(sorted({'huggingface_hub', 'httpx2', 'datasets', 'pandas', 'pyarrow', 'torch'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HOME": "/somewhere/hf"},
        {"XDG_CACHE_HOME": "/somewhere/cache"},
        {"HF_HUB_CACHE": "/somewhere/hub", "HF_HOME": "/other"},
        {"HUGGINGFACE_HUB_CACHE": "~/hub"},
        {"HOME": "/elsewhere", "HF_HOME": "$HOME/hf"},
    ],
)
def test_cache_root_is_the_clients(environment: dict[str, str]) -> None:
    """The real client, in a process with the same variables, names the same folder."""
    names = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
    base = {name: value for name, value in os.environ.items() if name not in names}
    script = (
        "import registry.hub_cache as h, huggingface_hub.constants as c;print(h.cache_root()); print(c.HF_HUB_CACHE)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, env=base | environment
    )
    ours, theirs = done.stdout.split()
    assert ours == theirs
