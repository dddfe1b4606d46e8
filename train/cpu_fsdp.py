"""Let accelerate shard a model with FSDP2 on CPU processes that talk through gloo.

accelerate 1.15 honours an FSDP plugin only for the distributed types that name an accelerator (`MULTI_GPU` and its
like, `AcceleratorState.__init__`); for `MULTI_CPU` it drops the plugin without a word and trains plain replicas.
PyTorch's `fully_shard` itself works on CPU tensors. So the process state is labelled as a multi-device one between the
moment its process group stands and the moment the `Accelerator` is built, which then turns it into
`DistributedType.FSDP`. Device and backend are settled by then and stay what they are: cpu and gloo.
"""

from __future__ import annotations


def allow_fsdp_on_cpu() -> None:
    """Call after `TrainingArguments` has built the process state and before the trainer builds its `Accelerator`."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    state = PartialState()
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU
