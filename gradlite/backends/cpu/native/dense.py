"""Plans of matrix products and dense layers in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native.launches import Launch, Plan, Scratch
from gradlite.backends.cpu.native.operands import are_plain, threads_for
from gradlite.backends.cpu.native.target import host_target

# A packed slab of the right factor stays in the first-level cache: so many rows at most, and bytes.
DEPTH = 256
SLAB_BYTES = 32 << 10
# Packing pays when more rows than this use what was packed; when fewer, where the rows of the right factor are a page
# or more apart: then those of a panel want the same few lines of the first-level cache.
FEW_ROWS, FEW_ROWS_OF_PAGES = 128, 64
PAGE = 4096
# Fewer rows than this are a matter of reading the right factor. So many of its numbers are read before a thread that
# sleeps, as between predictions one by one, has woken up.
FEWEST_ROWS = 4
WORTH_WAKING = 1 << 20


def product(
    shape: tuple[int, int, int],
    a: Any,
    a_strides: tuple[int, int],
    b: Any,
    b_strides: tuple[int, int],
    c: Any,
    *,
    y: Any = None,
    bias: Any = None,
    relu: bool = False,
    sums: Any = None,
    turned: bool = False,
) -> Launch:
    """c (m, n) = a (m, k) times b (k, n), for shape (m, n, k) and strides in numbers; see bodies/products.py."""
    m, n, k = shape
    target = host_target()
    broad, tall = target.tile_columns, target.tile_rows
    few = m <= (FEW_ROWS if 4 * b_strides[0] < PAGE else FEW_ROWS_OF_PAGES)
    in_place = few and n >= broad and b_strides[1] == 1 and y is None and sums is None
    panels, tiles = -(-n // broad), -(-m // tall)
    parts = threads_for(2.0 * m * n * k)
    by_rows = parts > panels or (panels % parts and panels < 2 * parts and tiles >= 2 * parts)
    parts = min(parts, tiles if by_rows else panels)
    depth = min(k, DEPTH)
    most = max(1, SLAB_BYTES // (4 * depth * broad))
    width = broad * min(most, panels if by_rows else -(-panels // parts))
    packed = Scratch(4 * parts * (depth * width + tall * broad))
    words = (m, n, k, a, *a_strides, b, *b_strides, y, c, m if turned else n, bias, relu, sums)
    return Launch("products.product", parts, (*words, packed, depth, width, bool(by_rows), in_place, turned))


def matmul(a: Any, b: Any, *, out: Any = None) -> Plan | None:
    """Two matrices, each of them contiguous or the transpose of one that is."""
    if a.ndim != 2 or b.ndim != 2 or not (_dense_matrix(a) and _dense_matrix(b)) or not are_plain(out):
        return None
    m, k = a.shape
    n = b.shape[1]
    if k != b.shape[0] or m < FEWEST_ROWS or 0 in (n, k):
        return None
    out = np.empty((m, n), np.float32) if out is None else out
    if b.flags.c_contiguous or k < m:
        return Plan(out, [product((m, n, k), a, _strides(a), b, _strides(b), out)])
    # To pack b is to transpose it, number by number: rather turn the smaller product round.
    return Plan(out, [product((n, m, k), b, _strides(b)[::-1], a, _strides(a)[::-1], out, turned=True)])


def dense(x: Any, kernel: Any, bias: Any, *, activation: str | None = None, out: Any = None) -> Plan | None:
    """Rows of x times the kernel."""
    if activation not in (None, "relu") or not are_plain(x, kernel, bias, out) or 0 in (x.size, kernel.size):
        return None
    k, n = kernel.shape
    m = x.size // k
    out = np.empty((*x.shape[:-1], n), np.float32) if out is None else out
    if m < FEWEST_ROWS:
        threads = parallel.get_num_threads() if m * k * n >= WORTH_WAKING else 1
        parts = min(threads, -(-n // host_target().lanes))
        return Plan(out, [Launch("products.few_rows", parts, (m, n, k, x, kernel, bias, activation == "relu", out))])
    launch = product((m, n, k), x, (k, 1), kernel, (n, 1), out, bias=bias, relu=activation == "relu")
    return Plan(out, [launch])


def dense_input_gradient(
    gradient: Any, y: Any, kernel: Any, *, activation: str | None = None, out: Any = None
) -> Plan | None:
    """The kernel times the transposed gradient, masked by the activation while it is packed, and turned round."""
    if activation not in (None, "relu") or not are_plain(gradient, y, kernel, out) or 0 in (gradient.size, kernel.size):
        return None
    n, k = kernel.shape
    m = gradient.size // k
    if m < FEWEST_ROWS:
        return None
    out = np.empty((*gradient.shape[:-1], n), np.float32) if out is None else out
    mask = y if activation == "relu" else None
    if mask is None and k < m:
        # To transpose the kernel while it is packed takes less than to turn the product round.
        return Plan(out, [product((m, n, k), gradient, (k, 1), kernel, (1, k), out)])
    return Plan(out, [product((n, m, k), kernel, (k, 1), gradient, (1, k), out, y=mask, turned=True)])


def dense_weight_gradient(
    x: Any, gradient: Any, y: Any, *, activation: str | None = None, out: Any = None
) -> Plan | None:
    """The transpose of x times the gradient, masked by the activation while it is packed; the bias's beside it."""
    to_kernel, to_bias = (None, None) if out is None else out
    usable = activation in (None, "relu") and are_plain(x, gradient, y, to_kernel, to_bias)
    if not usable or 0 in (x.size, gradient.size):
        return None
    m, n = x.shape[-1], gradient.shape[-1]
    rows = x.size // m
    to_kernel = np.empty((m, n), np.float32) if to_kernel is None else to_kernel
    to_bias = np.empty((n,), np.float32) if to_bias is None else to_bias
    mask = y if activation == "relu" else None
    launch = product((m, n, rows), x, (1, m), gradient, (n, 1), to_kernel, y=mask, sums=to_bias)
    return Plan((to_kernel, to_bias), [launch])


def _dense_matrix(a: Any) -> bool:
    return a.dtype == np.float32 and (a.flags.c_contiguous or a.flags.f_contiguous)


def _strides(a: Any) -> tuple[int, int]:
    return a.strides[0] // a.itemsize, a.strides[1] // a.itemsize


PLANS = (matmul, dense, dense_input_gradient, dense_weight_gradient)
