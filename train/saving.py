"""Files that the ranks of a training write together: they are all there afterwards, or every rank says why not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import distributed
from torch.distributed.checkpoint import CheckpointException

from registry.errors import StageFailure
from train.callbacks import gathered

# torch.save reports a full disk as RuntimeError, and torch's sharded saving as an error that is no Exception.
_WRITE_ERRORS = (OSError, RuntimeError, SafetensorError, CheckpointException)


@contextmanager
def written_by_all(folder: Path, what: str) -> Iterator[None]:
    """Run a block in which this rank writes its part of `folder`. Collective: every rank passes through it.

    When any of them could not write, what is there of `folder` is removed and all of them raise `StageFailure`; `what`
    (`tiny: checkpoint-8`) begins its message.
    """
    failure: BaseException | None = None
    try:
        yield
    except _WRITE_ERRORS as error:
        if isinstance(error, distributed.DistError):  # a rank is gone: nobody could answer
            raise
        failure = error
    said = gathered([_reason(failure)] if failure else [])
    if not said:
        return
    free = shutil.disk_usage(next(path for path in folder.parents if path.exists())).free
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    raise StageFailure(
        f"{what} could not be saved in {folder.parent}: {said[0]} ({free / 2**30:.2f} GiB were free); free space there "
        "and run again: training goes on from the last checkpoint that is whole"
    ) from failure


def require_finite(model: torch.nn.Module, what: str) -> None:
    """Raise `StageFailure` on all ranks when a weight is no number. Collective: every rank calls it."""
    from torch.distributed.tensor import DTensor

    parts = [part.to_local() if isinstance(part, DTensor) else part for part in model.parameters()]
    wrong = [name for (name, _), part in zip(model.named_parameters(), parts, strict=True) if not _finite(part)]
    everywhere = gathered(wrong)
    if everywhere:
        raise StageFailure(
            f"{what} is not saved: {len(set(everywhere))} of the model's weights are no finite numbers, "
            f"{everywhere[0]} for one; lower training_params.learning_rate"
        )


def _finite(part: torch.Tensor) -> bool:
    return bool(torch.isfinite(part).all())


def _reason(error: BaseException) -> str:
    """The system's own word on what went wrong, in one line, else the library's."""
    if isinstance(error, CheckpointException):
        error = next(failure for failure, _ in error.failures.values())
    step: BaseException | None = error
    while step is not None:
        if isinstance(step, OSError) and step.strerror:
            return step.strerror
        step = step.__cause__ or step.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return f"a file could not be written ({said})" if isinstance(error, RuntimeError) else said
