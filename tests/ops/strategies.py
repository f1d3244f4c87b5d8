"""What hypothesis draws: shapes with lengths of 0 and 1, shapes that broadcast, axes, and indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

LENGTHS = st.integers(0, 4)


def shapes(
    least: int = 0, most: int = 3, lengths: st.SearchStrategy[int] = LENGTHS
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of ``least`` to ``most`` axes."""
    return st.lists(lengths, min_size=least, max_size=most).map(tuple)


@st.composite
def broadcastable(draw: Any, count: int = 2) -> list[tuple[int, ...]]:
    """Several shapes that broadcast to one."""
    full = draw(shapes())
    result = []
    for _ in range(count):
        kept = full[draw(st.integers(0, len(full))) :]
        result.append(tuple(n if draw(st.booleans()) else 1 for n in kept))
    return result


@st.composite
def shape_and_axes(draw: Any, least: int = 0, empty: bool = True) -> tuple[tuple[int, ...], Any]:
    """A shape, and one axis of it, several, or None for all."""
    shape = draw(shapes(least, 3, LENGTHS if empty else st.integers(1, 4)))
    places = st.integers(-len(shape), len(shape) - 1) if shape else st.nothing()
    several = st.lists(places, unique_by=lambda i: i % max(len(shape), 1)).map(tuple)
    return shape, draw(st.none() | several | places)


@st.composite
def index_of(draw: Any, shape: tuple[int, ...]) -> Any:
    """An index of NumPy's for this shape: integers, slices, None, Ellipsis, integer arrays or a boolean mask."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.integers(0, 5)) == 0:
        return rng.random(shape[: draw(st.integers(0, len(shape)))]) > 0.5
    common = draw(shapes(0, 2, st.integers(0, 3)))
    parts: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kind = draw(st.sampled_from(["integer", "slice", "slice", "array"]))
        if n == 0 or kind == "slice":
            ends = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(ends), draw(ends), draw(st.sampled_from([None, 1, 2, -1, -2]))))
        elif kind == "integer":
            parts.append(draw(st.integers(-n, n - 1)))
        else:
            parts.append(rng.integers(-n, n, common))
        if draw(st.integers(0, 5)) == 0:
            parts.append(None)
    if draw(st.booleans()):
        parts.append(Ellipsis)
    return tuple(parts)
