"""Where a catalog entry lies on this machine, and how it gets there.

`resolve` asks no network; `fetch` is the only function that does.
"""

from __future__ import annotations

from glob import has_magic
from pathlib import Path

from registry.catalog import HubOrFile
from registry.errors import MissingError, UsageError
from registry.hub_cache import RepoType, cache_root
from registry.paths import is_here, matching

# Weights that no engine of ours reads; for some models they are as large as the safetensors beside them.
IGNORED_MODEL_FILES = ["original/*", "consolidated*", "*.gguf", "*.onnx", "*.onnx_data", "*.msgpack", "*.h5", "*.ot"]


def resolve(entry: HubOrFile, repo_type: RepoType, name: str | None = None) -> Path:
    """Return the file, folder or pattern of files that `entry` means on this machine, without any network.

    `name` is the entry's name in the catalog, for the message. Raises MissingError when it is not (or not wholly) here,
    UsageError for what has no files anywhere.
    """
    if not entry.is_data:
        raise UsageError(f"{repo_type} {name or ''} has no files: it is behind an API, or made by its plugin")
    if entry.file_path is not None:
        path = Path(entry.file_path)
        if not (matching(path) if repo_type == "dataset" else is_here(path)):
            missing = "no file matches" if has_magic(str(path)) else "there is no"
            raise MissingError(f"{missing} {path}; correct file_path in the catalog, or mount what holds it")
        return path
    from huggingface_hub.errors import HFValidationError, IncompleteSnapshotError, LocalEntryNotFoundError

    remedy = f"run `meds1 fetch {name or entry.hf_path}` where there is network{_gate_note(entry)}"
    try:
        return _snapshot(entry, repo_type, local_files_only=True)
    except IncompleteSnapshotError as error:
        raise MissingError(f"{entry.hf_path} is only partly on this machine: {remedy}") from error
    except LocalEntryNotFoundError as error:
        raise MissingError(f"{entry.hf_path}{_at(entry)} is not on this machine: {remedy}") from error
    except HFValidationError as error:
        raise _bad_name(entry) from error


def fetch(entry: HubOrFile, repo_type: RepoType) -> Path:
    """Download `entry` into the hub cache and return its snapshot; a file entry is only looked up.

    What is in the cache already is not downloaded again. Raises MissingError (no access, no network) or UsageError (no
    such revision, no legal name), each in one line.
    """
    if entry.file_path is not None:
        return resolve(entry, repo_type)
    from httpx2 import HTTPError
    from huggingface_hub import errors

    repo = f"{entry.hf_path}{_at(entry)}"
    try:
        return _snapshot(entry, repo_type, local_files_only=False)
    except errors.GatedRepoError as error:
        page = _page(entry, repo_type)
        raise MissingError(f"{repo} is gated: accept its licence at {page}, set HF_TOKEN and fetch again") from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{repo}: the hub has no such revision; correct `revision` in the catalog") from error
    except errors.RepositoryNotFoundError as error:
        raise MissingError(
            f"{repo}: the hub shows no such {repo_type}; correct hf_path, or set HF_TOKEN if it is private"
        ) from error
    except errors.HFValidationError as error:
        raise _bad_name(entry) from error
    except (errors.LocalEntryNotFoundError, HTTPError) as error:
        reason = type(error.__cause__ or error).__name__
        raise MissingError(f"{repo} could not be downloaded ({reason}): check the network and fetch again") from error


def _snapshot(entry: HubOrFile, repo_type: RepoType, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        str(entry.hf_path),
        repo_type=repo_type,
        revision=entry.revision,
        cache_dir=cache_root(),
        local_files_only=local_files_only,
        ignore_patterns=IGNORED_MODEL_FILES if repo_type == "model" else None,
    )
    return Path(folder)


def _at(entry: HubOrFile) -> str:
    return f" at revision {entry.revision}" if entry.revision else ""


def _page(entry: HubOrFile, repo_type: RepoType) -> str:
    return f"https://huggingface.co/{'datasets/' if repo_type == 'dataset' else ''}{entry.hf_path}"


def _bad_name(entry: HubOrFile) -> UsageError:
    return UsageError(f"{entry.hf_path!r} is no name of the hub (owner/name); correct hf_path in the catalog")


def _gate_note(entry: HubOrFile) -> str:
    if not getattr(entry, "gated", False):
        return ""
    return f", once its licence is accepted at {_page(entry, 'model')} and HF_TOKEN is set"
