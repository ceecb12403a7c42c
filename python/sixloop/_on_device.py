"""What a training step needs that stays on the GPU: recorded graphs, losses and counts left there.

Arrays are Tensors on the GPU. csrc/loss/loss.h, csrc/cuda/graph.h and staging.h have the contracts.
"""

from __future__ import annotations

from sixloop._core import (
    CudaGraph,
    CudaStaging,
    adam_numbers,
    add_penalty,
    count_binary,
    count_top_k,
    end_batch,
    loss_binary_cross_entropy,
    loss_cross_entropy,
    loss_hinge,
    loss_squared_error,
    set_record,
    take_images,
)

__all__ = [
    "COUNTS",
    "FAILED_LOSS",
    "FAILED_STEP",
    "GOES",
    "LOSS",
    "MOST_COUNTS",
    "MOST_LOSSES",
    "RECORD_SIZE",
    "STEP",
    "TOTAL",
    "CudaGraph",
    "CudaStaging",
    "adam_numbers",
    "add_penalty",
    "count_binary",
    "count_top_k",
    "declares",
    "end_batch",
    "loss_binary_cross_entropy",
    "loss_cross_entropy",
    "loss_hinge",
    "loss_squared_error",
    "set_record",
    "take_images",
]

# Places in the record, those of enum Record in csrc/loss/loss.h.
GOES, STEP, LOSS, TOTAL, FAILED_STEP, FAILED_LOSS, COUNTS = 3, 4, 5, 6, 7, 8, 9
MOST_COUNTS, MOST_LOSSES = 7, 8
RECORD_SIZE = COUNTS + MOST_COUNTS


def declares(value: object, attribute: str) -> bool:
    """Return whether the class of `value` says that `attribute` holds; what it inherits is void.

    A subclass may do anything in the methods that it overrides, and says so for itself.
    """
    return bool(vars(type(value)).get(attribute, False))
