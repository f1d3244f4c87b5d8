"""Convolution, pooling and upsampling as loops over NumPy arrays, straight from their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Pair = tuple[int, int]


def two(value: Any) -> Pair:
    """One number or two, as two."""
    return (value, value) if isinstance(value, int) else tuple(value)


def borders(padding: Any, size: Any, window: Pair, strides: Pair, dilation: Pair) -> list[Pair]:
    """The padding before and after each axis; "same" as TensorFlow's documentation gives it."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        result = []
        for n, k, s, d in zip(size, window, strides, dilation):
            k = (k - 1) * d + 1
            total = max(k - s, 0) if n % s == 0 else max(k - n % s, 0)
            result.append((total // 2, total - total // 2))
        return result
    return [(padding, padding)] * 2 if isinstance(padding, int) else [two(p) for p in padding]


def convolution(
    x: np.ndarray, w: np.ndarray, bias: Any = None, *, strides: Any = 1, padding: Any = "valid", dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:  # fmt: skip
    """Every output as the sum of products under its window."""
    (sh, sw), (dh, dw), (kh, kw) = two(strides), two(dilation), w.shape[:2]
    pads = borders(padding, x.shape[1:3], (kh, kw), (sh, sw), (dh, dw))
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    oh, ow = (x.shape[1] - (kh - 1) * dh - 1) // sh + 1, (x.shape[2] - (kw - 1) * dw - 1) // sw + 1
    y = np.zeros((x.shape[0], oh, ow, w.shape[3]))
    inside, outside = x.shape[3] // groups, w.shape[3] // groups
    for r, q, g in np.ndindex(oh, ow, groups):
        taps = x[:, r * sh : r * sh + (kh - 1) * dh + 1 : dh, q * sw : q * sw + (kw - 1) * dw + 1 : dw]
        part = taps[..., g * inside : (g + 1) * inside].reshape(x.shape[0], -1)
        columns = slice(g * outside, (g + 1) * outside)
        y[:, r, q, columns] = part @ w[..., columns].reshape(-1, outside)
    return y if bias is None else y + bias


def depthwise(x: np.ndarray, w: np.ndarray, bias: Any = None, **attributes: Any) -> np.ndarray:
    """Every channel on its own."""
    parts = [convolution(x[..., i : i + 1], w[:, :, i : i + 1], None, **attributes) for i in range(x.shape[3])]
    y = np.concatenate(parts, -1)
    return y if bias is None else y + bias


def transposed_convolution(
    x: np.ndarray, w: np.ndarray, bias: Any = None, *, strides: Any = 1, padding: Any = "valid", dilation: Any = 1,
    output_padding: Any = None,
) -> np.ndarray:  # fmt: skip
    """Every input spread over its window, then cut to Keras' output size (keras.src.backend.common.backend_utils)."""
    steps, gaps = two(strides), two(dilation)
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[:2], gaps)]
    full = np.zeros((x.shape[0], *((n - 1) * s + r + s for n, s, r in zip(x.shape[1:3], steps, reach)), w.shape[2]))
    for i, j, a, b in np.ndindex(*x.shape[1:3], *w.shape[:2]):
        full[:, i * steps[0] + a * gaps[0], j * steps[1] + b * gaps[1]] += x[:, i, j] @ w[a, b].T
    cuts = []
    for n, s, r in zip(x.shape[1:3], steps, reach):
        if output_padding is None:
            length = n * s if padding == "same" else n * s + max(r - s, 0)
            before = max(r - s, 0) // 2 if padding == "same" else 0
        else:
            before = 0 if padding == "valid" else r // 2
            length = (n - 1) * s + r - 2 * before + output_padding
        cuts.append(slice(before, before + length))
    y = full[:, cuts[0], cuts[1]]
    return y if bias is None else y + bias


def places(x: np.ndarray, window: Any, strides: Any, padding: Any) -> Iterator[tuple[Pair, np.ndarray]]:
    """Each output's place, and the part of the image under its window: (n, taps, c)."""
    window = two(window)
    steps = window if strides is None else two(strides)
    pads = borders(padding, x.shape[1:3], window, steps, (1, 1))
    oh, ow = ((x.shape[a + 1] + sum(pads[a]) - window[a]) // steps[a] + 1 for a in (0, 1))
    for r, q in np.ndindex(oh, ow):
        top, left = r * steps[0] - pads[0][0], q * steps[1] - pads[1][0]
        part = x[:, max(top, 0) : top + window[0], max(left, 0) : left + window[1]]
        yield (r, q), part.reshape(x.shape[0], -1, x.shape[3])


def _pool(x: np.ndarray, reduce: Any, window: Any, strides: Any, padding: Any) -> np.ndarray:
    values = {at: reduce(part, axis=1) for at, part in places(x, window, strides, padding)}
    oh, ow = (max(at[a] for at in values) + 1 for a in (0, 1))
    return np.stack([np.stack([values[r, q] for q in range(ow)], 1) for r in range(oh)], 1)


def max_pool(x: np.ndarray, window: Any = 2, strides: Any = None, padding: Any = "valid") -> np.ndarray:
    """The largest under every window."""
    return _pool(x, np.max, window, strides, padding)


def avg_pool(x: np.ndarray, window: Any = 2, strides: Any = None, padding: Any = "valid") -> np.ndarray:
    """The mean under every window, of what is inside the image."""
    return _pool(x, np.mean, window, strides, padding)


def upsample(x: np.ndarray, size: Pair, interpolation: str) -> np.ndarray:
    """Nearest: each pixel repeated. Bilinear: by numpy.interp between pixel centres, along one axis after the other."""
    if interpolation == "nearest":
        return x.repeat(size[0], 1).repeat(size[1], 2)
    for axis, factor in ((1, size[0]), (2, size[1])):
        n = x.shape[axis]
        at = (np.arange(n * factor) + 0.5) / factor - 0.5
        x = np.apply_along_axis(lambda row, at=at, n=n: np.interp(at, np.arange(n), row), axis, x)
    return x
