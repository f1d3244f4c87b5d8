"""Softmax and the cross-entropies fused with it on a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlite.backends.cuda.launch import C_TYPES, blocks, c_type
from gradlite.backends.cuda.operands import (
    THREADS,
    are_floats,
    arithmetic,
    contiguous,
    grid_for,
    kernel,
    team_for,
    writable,
)
from gradlite.backends.cuda.registry import cuda_kernel

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend


@cuda_kernel
def softmax(gpu: CudaBackend, x: Any, *, out: Any = None) -> Any:
    """The reference's softmax over the last axis."""
    return _over_rows(gpu, "softmax", (x,), out)


@cuda_kernel
def softmax_gradient(gpu: CudaBackend, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """The reference's y (g - sum(g y))."""
    return _over_rows(gpu, "softmax_gradient", (gradient, y), out)


@cuda_kernel
def log_softmax(gpu: CudaBackend, x: Any, *, out: Any = None) -> Any:
    """The reference's logarithm of softmax."""
    return _over_rows(gpu, "log_softmax", (x,), out)


@cuda_kernel
def log_softmax_gradient(gpu: CudaBackend, gradient: Any, y: Any, *, out: Any = None) -> Any:
    """The reference's g - exp(y) sum(g)."""
    return _over_rows(gpu, "log_softmax_gradient", (gradient, y), out)


def _over_rows(gpu: CudaBackend, name: str, arrays: tuple[Any, ...], out: Any) -> Any:
    x = arrays[0]
    if not _takes(*arrays) or x.ndim == 0 or any(a.shape != x.shape for a in arrays) or not writable(out):
        return gpu.fallback(name, *arrays, out=out)
    y = gpu.empty(x.shape, x.dtype) if out is None else out
    columns = x.shape[-1]
    rows, team = x.size // columns, team_for(columns)
    chosen = kernel("softmax.cu", name, T=c_type(x.dtype), TEAM=team)
    gpu.run(
        chosen, (blocks(rows * team, THREADS),), (THREADS,), *(contiguous(gpu, a) for a in arrays), y, rows, columns
    )  # fmt: skip
    return y


def _takes(*arrays: Any) -> bool:
    """Floats of one type, and not empty: CuPy's functions decide what an empty row means."""
    return are_floats(*arrays) and arrays[0].size > 0


@cuda_kernel
def sparse_softmax_cross_entropy(gpu: CudaBackend, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any]:
    """The reference's losses and probabilities; NaN for a label that is no class."""
    losses, probabilities = (None, None) if out is None else out
    if not _takes(logits) or labels.dtype not in C_TYPES or not writable(losses, probabilities):
        return gpu.fallback("sparse_softmax_cross_entropy", logits, labels, out=out)
    return _cross_entropy(gpu, "sparse_softmax_cross_entropy", logits, labels, out, c_type(labels.dtype))


@cuda_kernel
def softmax_cross_entropy(gpu: CudaBackend, logits: Any, labels: Any, *, out: Any = None) -> tuple[Any, Any]:
    """The reference's losses and probabilities for rows of labels."""
    losses, probabilities = (None, None) if out is None else out
    if not _takes(logits, labels) or not writable(losses, probabilities):
        return gpu.fallback("softmax_cross_entropy", logits, labels, out=out)
    return _cross_entropy(gpu, "softmax_cross_entropy", logits, labels, out, "int")


def _cross_entropy(gpu: CudaBackend, name: str, logits: Any, labels: Any, out: Any, label: str) -> tuple[Any, Any]:
    rows, columns = logits.shape
    losses = gpu.empty((rows,), logits.dtype) if out is None else out[0]
    probabilities = gpu.empty(logits.shape, logits.dtype) if out is None else out[1]
    team = team_for(columns)
    gpu.run(
        _cross_entropy_kernel(name, logits, label, team), (blocks(rows * team, THREADS),), (THREADS,),
        contiguous(gpu, logits), contiguous(gpu, labels), losses, probabilities, rows, columns,
    )  # fmt: skip
    return losses, probabilities


def _cross_entropy_kernel(name: str, logits: Any, label: str, team: int) -> Any:
    macros = {"T": c_type(logits.dtype), "S": arithmetic(logits.dtype), "L": label, "TEAM": team}
    return kernel("softmax_cross_entropy.cu", name, **macros)


@cuda_kernel
def sparse_softmax_cross_entropy_gradient(
    gpu: CudaBackend, gradient: Any, probabilities: Any, labels: Any, *, out: Any = None
) -> Any:
    """The reference's (softmax - one_hot(label)) g."""
    name = "sparse_softmax_cross_entropy_gradient"
    if not _takes(probabilities, gradient) or labels.dtype not in C_TYPES or not writable(out):
        return gpu.fallback(name, gradient, probabilities, labels, out=out)
    chosen = _cross_entropy_kernel(name, probabilities, c_type(labels.dtype), 32)
    return _gradient(gpu, chosen, probabilities.size, gradient, probabilities, labels, out)


@cuda_kernel
def softmax_cross_entropy_gradient(
    gpu: CudaBackend, gradient: Any, probabilities: Any, labels: Any, *, out: Any = None
) -> Any:
    """The reference's (softmax sum(labels) - labels) g."""
    name = "softmax_cross_entropy_gradient"
    if not _takes(probabilities, gradient, labels) or not writable(out):
        return gpu.fallback(name, gradient, probabilities, labels, out=out)
    rows, columns = probabilities.shape
    team = team_for(columns)
    chosen = _cross_entropy_kernel(name, probabilities, "int", team)
    return _gradient(gpu, chosen, rows * team, gradient, probabilities, labels, out)


def _gradient(
    gpu: CudaBackend, chosen: Any, threads: int, gradient: Any, probabilities: Any, labels: Any, out: Any
) -> Any:
    dx = gpu.empty(probabilities.shape, probabilities.dtype) if out is None else out
    arrays = [contiguous(gpu, a) for a in (gradient, probabilities, labels)]
    gpu.run(chosen, (blocks(threads, THREADS),), (THREADS,), *arrays, dx, *probabilities.shape)
    return dx


@cuda_kernel
def sigmoid_cross_entropy(gpu: CudaBackend, logits: Any, labels: Any, *, out: Any = None) -> Any:
    """The reference's binary cross-entropy of every element."""
    if not are_floats(logits, labels) or logits.shape != labels.shape or not writable(out):
        return gpu.fallback("sigmoid_cross_entropy", logits, labels, out=out)
    losses = gpu.empty(logits.shape, logits.dtype) if out is None else out
    gpu.run(
        kernel("sigmoid_cross_entropy.cu", "sigmoid_cross_entropy", T=c_type(logits.dtype)),
        grid_for(gpu, logits.size), (THREADS,), contiguous(gpu, logits), contiguous(gpu, labels), losses, logits.size,
    )  # fmt: skip
    return losses
