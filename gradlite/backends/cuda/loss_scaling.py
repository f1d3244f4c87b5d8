"""Dynamic loss scaling on a GPU: gradients are judged, and updates left out, without a word to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.assignment import fill, where
from gradlite.backends.cuda.elementwise import THREADS, fresh
from gradlite.backends.cuda.launch import blocks, c_type
from gradlite.backends.cuda.operands import kernel as kernel_of
from gradlite.backends.cuda.registry import cuda_kernel
from gradlite.backends.dtypes import FLOAT_KINDS

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

# Updates whose kernels look at the condition themselves.
CONDITIONAL = frozenset(
    {
        "adadelta", "adagrad", "adam", "adamax", "lion", "moving_average", "nadam", "nadam_product", "rmsprop",
        "scale_to_norm", "sgd", "sgd_momentum", "weight_decay",
    }
)  # fmt: skip
# Updates that write to their first array alone; others may write to any.
WRITES_FIRST = frozenset({"assign", "assign_add", "scale"})


def _kernel(name: str, gradients: Any, scale: Any) -> Any:
    return kernel_of("loss_scale.cu", name, T=c_type(gradients), S=c_type(scale))


@cuda_kernel
def unscale(gpu: CudaBackend, finite: Any, *arrays: Any) -> None:
    """The reference's, one launch for each run of gradients, after one that sets the flag."""
    *gradients, scale = arrays
    if not all(g.flags.c_contiguous and g.dtype.kind in FLOAT_KINDS for g in gradients):
        return gpu.fallback("unscale", finite, *arrays)
    fill(gpu, finite, 1)
    for g in gradients:
        grid = (blocks(g.size, 4 * THREADS),)
        gpu.run(_kernel("unscale", g.dtype, scale.dtype), grid, (THREADS,), g, scale, finite, g.size)


@cuda_kernel
def adapt_scale(gpu: CudaBackend, scale: Any, count: Any, finite: Any, *, growth_steps: int) -> None:
    """The reference's, by one thread."""
    kernel = _kernel("adapt_scale", scale.dtype, scale.dtype)
    gpu.run(kernel, (1,), (1,), scale, count, finite, growth_steps)


@cuda_kernel
def is_due(gpu: CudaBackend, finite: Any, count: Any, *, every: int, out: Any = None) -> Any:
    """The reference's, by one thread."""
    due = gpu.empty((), np.int32) if out is None else out
    gpu.run(_kernel("is_due", np.float32, np.float32), (1,), (1,), finite, count, due, every)
    return due


@cuda_kernel
def gated(gpu: CudaBackend, *arrays: Any, update: str, **attributes: Any) -> None:
    """The reference's. Most updates read the flag and return at once; others work on copies, of which it selects."""
    *arguments, go = arrays
    if update not in CONDITIONAL:
        return select(gpu, go, update, tuple(arguments), attributes)
    gpu.condition = go
    try:
        gpu.kernels[update](*arguments, **attributes)
    finally:
        gpu.condition = None


def select(gpu: CudaBackend, go: Any, update: str, arrays: tuple[Any, ...], attributes: dict[str, Any]) -> None:
    """Run an update on copies of what it writes to, and take them over where ``go`` is not 0."""
    count = 1 if update in WRITES_FIRST else len(arrays)
    written = [i for i, x in enumerate(arrays[:count]) if isinstance(x, gpu.array_type)]
    changed = list(arrays)
    for i in written:
        changed[i] = fresh(gpu, arrays[i])
    gpu.kernels[update](*changed, **attributes)
    for i in written:
        where(gpu, go, changed[i], arrays[i], out=arrays[i])
