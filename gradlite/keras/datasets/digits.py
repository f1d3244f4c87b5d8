"""Handwritten-looking digits drawn by a program: any number of them, from a seed, without a download."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np

from gradlite.keras.datasets.digit_shapes import NODES, shapes

Split: TypeAlias = tuple[np.ndarray, np.ndarray]

SIZE = 28  # pixels each way
CHUNK = 500  # images drawn together: the unit of seeding, and what bounds the memory (about 60 MB a thread)
TRAIN, TEST = 0, 1

# How much writers differ. Lengths are in units of the digit's box, which is about 20 pixels high, unless said.
CONTROL_JITTER = 0.039  # standard deviation of every control point
ROTATION = 0.12  # standard deviation, radians
SLANT_MEAN, SLANT = 0.08, 0.17  # horizontal shear: most hands lean to the right
HEIGHT = (15.5, 21.0)  # pixels
WIDTH = (0.55, 0.95)  # of the height
OFFSET = 1.0  # standard deviation of the digit's place, pixels
ELASTIC, ELASTIC_GRID = 0.06, 4  # displacement of the paper, and how many knots each way carry it
PEN = (0.62, 1.05)  # standard deviation of the pen's soft edge, pixels
INK = (1.3, 2.9)  # ink at the middle of a stroke; what exceeds 1 is black, which makes the stroke wider
PRESSURE = 0.3  # how far the ink varies along a stroke
GRAIN = 0.06  # standard deviation of the ink's noise


def load_data(train: int = 60000, test: int = 10000, seed: int = 0) -> tuple[Split, Split]:
    """Draw handwritten-looking digits; the same structure as MNIST, with no file and no network.

    Each image is one of several ways to write its digit (a 7 with and without a bar, an open and a closed 4), with the
    pen's path moved at random, slanted, rotated, stretched, warped elastically and drawn with a pen of its own width
    and pressure. The training and the test images come from different random streams.

    Arguments:
        train: number of training images.
        test: number of test images.
        seed: a non-negative integer. The same seed gives the same images, and the first images of a seed do not depend
            on how many are asked for.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images of shape (n, 28, 28), uint8, white (255) on black (0), and
        labels of shape (n,), uint8, 0 to 9.

    Raises:
        ValueError: a count or the seed is negative or not an integer.

    >>> (x_train, y_train), (x_test, y_test) = load_data(train=300, test=100, seed=1)
    >>> x_train.shape, x_train.dtype, y_test.shape
    ((300, 28, 28), dtype('uint8'), (100,))
    """
    for name, value in (("train", train), ("test", test), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError(f"digits.load_data needs {name} to be a non-negative integer. Received: {name}={value!r}")
    return _draw_split(int(train), int(seed), TRAIN), _draw_split(int(test), int(seed), TEST)


def _draw_split(n: int, seed: int, split: int) -> Split:
    from concurrent.futures import ThreadPoolExecutor

    images = np.empty((n, SIZE, SIZE), np.uint8)
    labels = np.empty(n, np.uint8)

    def draw(start: int) -> None:
        # A chunk is always drawn whole, so that an image depends on its index alone.
        chunk_images, chunk_labels = _draw_chunk(seed, split, start // CHUNK)
        images[start : start + CHUNK] = chunk_images[: n - start]
        labels[start : start + CHUNK] = chunk_labels[: n - start]

    # NumPy releases the interpreter lock in its loops, so threads share the work; each writes rows of its own.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(draw, range(0, n, CHUNK)))
    return images, labels


def _draw_chunk(seed: int, split: int, chunk: int) -> Split:
    """Chunk number ``chunk`` of a split: images (CHUNK, 28, 28) and labels (CHUNK,)."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, split, chunk])))
    labels = rng.integers(0, 10, CHUNK)
    nodes, pen_down = _write(rng, labels)
    nodes = _place(rng, _warp(rng, nodes))
    return _render(rng, nodes, pen_down), labels.astype(np.uint8)


def _write(rng: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pen's path: nodes (n, NODES, 2) about the middle of the unit box, and where the pen is down."""
    table = shapes()
    style = table.first_style[labels] + (rng.random(len(labels)) * table.style_count[labels]).astype(int)
    control = table.control[style]
    # Some hands are steadier than others.
    unsteadiness = CONTROL_JITTER * rng.uniform(0.3, 1.9, (len(labels), 1, 1))
    control = control - 0.5 + unsteadiness * rng.standard_normal(control.shape)
    return np.matmul(table.basis[style], control), table.pen_down[style]


def _warp(rng: np.random.Generator, nodes: np.ndarray) -> np.ndarray:
    """Elastic distortion: nodes moved by a smooth random field, given at knots and blended by Gaussian weights.

    After Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document
    analysis", 2003, which smooths a displacement per pixel; here it is smooth because the knots are few.
    """
    knots = np.linspace(-0.6, 0.6, ELASTIC_GRID)
    spacing = knots[1] - knots[0]
    near = np.exp(-0.5 * ((nodes[..., None] - knots) / (0.8 * spacing)) ** 2)  # (n, NODES, 2, knots)
    near /= near.sum(-1, keepdims=True)
    field = ELASTIC * rng.standard_normal((len(nodes), ELASTIC_GRID, ELASTIC_GRID, 2))  # (n, knots y, knots x, 2)
    flat = field.reshape(len(nodes), ELASTIC_GRID, -1)
    rows = np.matmul(near[:, :, 1], flat).reshape(*nodes.shape[:2], ELASTIC_GRID, 2)  # (n, NODES, knots x, 2)
    return nodes + (near[:, :, 0, :, None] * rows).sum(axis=2)


def _place(rng: np.random.Generator, nodes: np.ndarray) -> np.ndarray:
    """Affine distortion and the place in the image: nodes (n, NODES, 2) in pixels, x and y."""
    n = len(nodes)
    angle = ROTATION * rng.standard_normal(n)
    slant = SLANT_MEAN + SLANT * rng.standard_normal(n)
    height = rng.uniform(*HEIGHT, n)
    width = height * rng.uniform(*WIDTH, n)
    cos, sin = np.cos(angle), np.sin(angle)
    # rotation @ shear @ scale, applied to column vectors (x, y); y points down, so a right slant is a negative shear
    matrix = np.empty((n, 2, 2))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * width, (-cos * slant - sin) * height
    matrix[:, 1, 0], matrix[:, 1, 1] = sin * width, (-sin * slant + cos) * height
    nodes = np.matmul(nodes, matrix.transpose(0, 2, 1))
    low, high = nodes.min(axis=1), nodes.max(axis=1)
    middle = (SIZE - 1) / 2 + OFFSET * rng.standard_normal((n, 2))
    # A digit stays on the paper where it fits there, and lies in the middle of it where it does not.
    margin = np.maximum((SIZE - 1 - (high - low)) / 2 - 1, 0)
    middle = np.clip(middle, (SIZE - 1) / 2 - margin, (SIZE - 1) / 2 + margin)
    return nodes + (middle - (low + high) / 2)[:, None]


def _render(rng: np.random.Generator, nodes: np.ndarray, pen_down: np.ndarray) -> np.ndarray:
    """Images (n, 28, 28), uint8, of pen paths in pixels.

    A pixel's ink is the line integral along the path of a Gaussian pen about that pixel. The Gaussian is separable, so
    with a node's weights over the rows and over the columns as matrices, an image is the product of the two.
    """
    n = len(nodes)
    middle = (nodes[:, 1:] + nodes[:, :-1]) / 2  # (n, NODES - 1, 2)
    length = np.sqrt(((nodes[:, 1:] - nodes[:, :-1]) ** 2).sum(-1)) * pen_down
    along = np.linspace(0, 2 * np.pi, NODES - 1)
    wave = np.sin(rng.uniform(0.5, 2, (n, 1)) * along + rng.uniform(0, 2 * np.pi, (n, 1)))
    pen = rng.uniform(*PEN, (n, 1)) * (1 + 0.5 * PRESSURE * wave)
    ink = rng.uniform(*INK, (n, 1)) * (1 + PRESSURE * wave) * length / (pen * np.sqrt(2 * np.pi))
    pixels = np.arange(SIZE)
    scale = (np.sqrt(0.5) / pen)[..., None]
    columns = np.exp(-(((middle[..., 0, None] - pixels) * scale) ** 2))  # (n, NODES - 1, 28)
    rows = np.exp(-(((middle[..., 1, None] - pixels) * scale) ** 2)) * ink[..., None]
    image = np.matmul(rows.transpose(0, 2, 1), columns)
    image *= 1 + GRAIN * rng.standard_normal(image.shape, np.float32)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
