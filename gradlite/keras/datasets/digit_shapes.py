"""The shapes of the handwritten digits 0 to 9: pen strokes as control points, and their smooth curves.

A style is one way to write a digit: strokes separated by ``/``, each a row of control points ``x,y`` in per cent of the
digit's box, x to the right and y down. The pen passes smoothly through every point; it turns a corner at ``x,y*``.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

# Nodes on each style's curve. The longest style is about 65 pixels of pen path when drawn, so that neighbouring nodes
# are less than a pixel apart, closer than the pen is wide.
NODES = 76

STYLES: tuple[tuple[str, ...], ...] = (
    (  # 0
        "55,3 25,12 10,50 22,88 50,97 80,85 90,50 78,14 50,4",
        "62,6 34,8 16,40 18,76 42,97 70,84 84,48 74,16 54,8 44,14",
        "30,10 12,40 18,82 48,97 82,78 88,36 66,6 40,4 34,18 56,22 74,14",
        "48,2 24,20 18,52 26,84 50,98 72,82 80,48 70,16 46,4",
        "78,20 54,3 24,14 10,48 20,86 52,97 82,80 88,46 74,14",
    ),
    (  # 1
        "50,2 50,98",
        "66,2 50,50 36,98",
        "54,2 46,48 50,98",
        "30,26 56,4* 54,50 54,98",
        "32,22 54,4* 54,50 54,96 / 28,97 80,97",
        "16,44 40,24 60,4* 58,50 56,98",
        "40,16 52,4* 48,98",
    ),
    (  # 2
        "14,26 30,6 62,4 82,24 72,50 40,76 12,96* 50,94 90,95",
        "16,24 36,5 68,8 76,32 54,66 26,92 12,88 20,74 42,82 66,96 90,90",
        "12,30 28,6 60,3 80,22 66,54 34,82 14,97* 34,90 60,97 88,90",
        "14,12* 50,6 82,14* 48,54 14,94* 88,94",
        "22,20 46,3 72,14 72,36 46,68 18,94* 54,92 88,97",
        "18,34 20,12 48,2 78,14 78,40 48,72 22,93 12,84 28,76 56,92 88,96",
    ),
    (  # 3
        "16,16 40,3 74,10 76,34 46,47* 80,56 84,82 50,98 14,86",
        "18,14 46,3 74,16 66,40 42,48 36,44 50,46 80,60 76,88 44,98 12,84",
        "14,6* 48,7 80,6* 42,42* 78,52 82,80 52,98 14,88",
        "22,12 56,3 74,20 50,42* 76,56 68,86 36,97 10,86",
        "12,20 36,2 70,12 72,36 40,48 74,58 80,84 48,98 12,82",
    ),
    (  # 4
        "22,6 18,30 14,54* 50,55 88,54 / 70,4 69,50 68,97",
        "62,98 63,50 64,2* 36,34 8,64* 50,65 92,66",
        "24,4 12,44 32,58 66,48 / 76,2 70,50 64,98",
        "18,8 20,46 44,54 74,40 / 78,4 76,52 72,98",
        "58,2 32,36 10,66* 52,64 92,62 / 66,34 64,66 62,98",
        "26,5 20,26 12,50* 44,52 80,46 / 82,4 74,50 66,98",
    ),
    (  # 5
        "80,5 54,6 30,5* 27,24 24,42* 52,36 82,54 78,86 44,98 12,86",
        "28,6 25,25 22,44* 54,36 84,58 74,90 40,98 12,88 / 28,6 58,6 86,4",
        "82,8 46,6 26,22 34,42 66,54 80,74 60,95 24,97 8,84",
        "88,3 62,6 38,8* 30,28 26,46* 56,42 76,60 68,86 40,97 14,92",
        "34,4 30,22 26,40* 50,34 74,48 76,76 52,96 18,92 / 34,4 56,6 78,10",
    ),
    (  # 6
        "68,4 34,24 14,62 26,94 58,97 82,78 70,56 42,56 20,74",
        "58,2 26,40 12,74 32,97 66,94 84,74 66,56 38,60 18,80",
        "78,12 58,3 30,18 14,56 22,92 54,98 78,80 68,58 40,58 22,78",
        "46,2 24,34 16,72 36,97 66,92 76,70 56,54 30,64 20,84",
        "74,6 44,14 20,46 16,82 44,98 74,88 80,66 58,50 30,60 18,74",
    ),
    (  # 7
        "12,8* 50,9 86,8* 64,50 42,97",
        "12,12 40,6 84,8* 58,44 46,97",
        "12,10* 48,9 84,8* 62,50 40,97 / 30,50 52,50 76,48",
        "14,26 15,8* 50,9 86,8* 62,50 44,97",
        "10,20 24,6 52,14 86,6* 60,46 50,97",
        "16,22 20,8* 52,10 82,6* 64,40 52,97 / 36,52 78,50",
    ),
    (  # 8
        "72,14 44,3 22,20 40,44 72,60 78,86 46,98 18,84 28,58 62,42 76,20 66,6",
        "50,46 24,34 28,10 54,3 76,16 72,38 50,46 / 50,46 20,62 18,88 50,98 82,88 80,62 50,46",
        "80,10 50,4 34,22 48,46 64,70 54,94 26,95 22,74 46,50 72,32 84,12",
        "56,44 30,34 28,12 54,2 74,16 68,36 36,56 18,78 36,97 66,94 74,72 54,46",
        "78,16 56,2 28,10 26,32 54,48 78,68 66,95 32,96 18,76 36,54 66,40 80,22",
    ),
    (  # 9
        "78,22 52,4 22,18 20,44 50,54 76,36 80,14* 76,56 70,98",
        "80,20 54,3 22,16 20,44 48,54 76,38 82,10 82,60 66,92 34,97 18,86",
        "72,30 56,6 26,10 16,36 36,52 64,42 76,12* 70,54 64,98",
        "70,12 44,3 20,22 28,46 58,46 74,22 72,10 66,56 44,98",
        "74,20 50,5 26,20 28,44 56,50 76,26 78,12* 80,60 80,98",
    ),
)


class Shapes(NamedTuple):
    """Every style of every digit as arrays, padded with zeros to the same number of control points.

    A style's curve is linear in its control points, ``nodes = basis @ control``, so moved points give a moved curve.
    """

    control: np.ndarray  # (styles, controls, 2), in the unit box
    basis: np.ndarray  # (styles, NODES, controls)
    pen_down: np.ndarray  # (styles, NODES - 1), 1 where the pen draws from a node to the next, 0 where it is lifted
    first_style: np.ndarray  # (10,), index of each digit's first style
    style_count: np.ndarray  # (10,), how many styles each digit has


@cache
def shapes() -> Shapes:
    """All styles as arrays; computed at the first call."""
    texts = [text for styles in STYLES for text in styles]
    parsed = [[_points(stroke) for stroke in text.split("/")] for text in texts]
    controls = max(sum(len(points) for points, _ in strokes) for strokes in parsed)
    control = np.zeros((len(texts), controls, 2))
    basis = np.zeros((len(texts), NODES, controls))
    pen_down = np.ones((len(texts), NODES - 1))
    for style, strokes in enumerate(parsed):
        nodes = _share(NODES, [_length(points) for points, _ in strokes])
        node = first = 0
        for (points, corners), share in zip(strokes, nodes, strict=True):
            rows, columns = slice(node, node + share), slice(first, first + len(points))
            control[style, columns] = points
            basis[style, rows, columns] = _stroke_basis(points, corners, share)
            node, first = node + share, first + len(points)
            pen_down[style, node - 1 : node] = 0
    count = np.array([len(styles) for styles in STYLES])
    return Shapes(control, basis, pen_down, np.cumsum(count) - count, count)


def _points(stroke: str) -> tuple[np.ndarray, list[bool]]:
    """A stroke's control points, (points, 2) in the unit box, and which of them are corners."""
    words = stroke.split()
    points = [[int(value) / 100 for value in word.rstrip("*").split(",")] for word in words]
    return np.array(points), [word.endswith("*") for word in words]


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _share(total: int, lengths: list[float]) -> list[int]:
    """``total`` nodes shared out over strokes in proportion to their lengths, the last taking the rest."""
    shares = [round(total * length / sum(lengths)) for length in lengths[:-1]]
    return [*shares, total - sum(shares)]


def _stroke_basis(points: np.ndarray, corners: list[bool], nodes: int) -> np.ndarray:
    """The matrix (nodes, points) of nodes spaced evenly along the curve through ``points``."""
    fine = 32 * (len(points) - 1)
    dense = _catmull_rom(np.linspace(0, len(points) - 1, fine + 1), corners)
    steps = np.linalg.norm(np.diff(dense @ points, axis=0), axis=1)
    travelled = np.concatenate([[0], np.cumsum(steps)])
    at = np.interp(np.linspace(0, travelled[-1], nodes), travelled, np.linspace(0, len(points) - 1, fine + 1))
    return _catmull_rom(at, corners)


def _catmull_rom(at: np.ndarray, corners: list[bool]) -> np.ndarray:
    """Weights (len(at), points) of the uniform Catmull-Rom spline at parameters ``at``; ``at = i`` is point i.

    Catmull and Rom, "A class of local interpolating splines", 1974. At an end or a corner the point itself stands in
    for its neighbour, which stops the curve from rounding it off.
    """
    last = len(corners) - 1
    left = np.minimum(at.astype(int), last - 1)
    t = at - left
    is_corner = np.array(corners)
    before = np.where(is_corner[left], left, np.maximum(left - 1, 0))
    after = np.where(is_corner[left + 1], left + 1, np.minimum(left + 2, last))
    weights = np.zeros((len(at), last + 1))
    rows = np.arange(len(at))
    cubics = (
        (before, (-t + 2 * t**2 - t**3) / 2),
        (left, (2 - 5 * t**2 + 3 * t**3) / 2),
        (left + 1, (t + 4 * t**2 - 3 * t**3) / 2),
        (after, (t**3 - t**2) / 2),
    )
    for column, weight in cubics:
        np.add.at(weights, (rows, column), weight)
    return weights
