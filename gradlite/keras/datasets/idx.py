"""The IDX format of MNIST's files, plain or gzipped: a four-byte magic number, the sizes, then the bytes.

Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits". The magic number is two zeros, a code for
the type of the elements (8 is an unsigned byte) and the number of axes; sizes are big-endian 32-bit integers.
"""

from __future__ import annotations

import math
import struct
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np

from gradlite.keras.datasets.places import DatasetFileError

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"


def open_maybe_gzipped(path: Path) -> AbstractContextManager[IO[bytes] | Any]:
    """Open a file for reading, unpacking it if it is gzipped.

    Its first bytes decide: some browsers unpack what they download and keep the name's ``.gz``.
    """
    import gzip

    with open(path, "rb") as file:
        gzipped = file.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if gzipped else open(path, "rb")


def read_idx(path: Path, item_shape: tuple[int, ...]) -> np.ndarray:
    """Read an IDX file of unsigned bytes.

    Arguments:
        path: the file, plain or gzipped.
        item_shape: the shape of each of the file's items, ``(28, 28)`` for images, ``()`` for labels.

    Returns:
        An array of shape (n, *item_shape), uint8.

    Raises:
        DatasetFileError: the file is cut short, damaged, or holds something else.
    """
    content = _content(path)
    axes = 1 + len(item_shape)
    start = 4 + 4 * axes
    if len(content) < start:
        raise damaged(path, f"its content ends after {len(content)} bytes, within the header of {start}")
    zeros, code, found_axes = struct.unpack_from(">HBB", content)
    if (zeros, code, found_axes) != (0, UNSIGNED_BYTE, axes):
        magic = f"{UNSIGNED_BYTE << 8 | axes:08x}"
        raise damaged(path, f"it begins with {content[:4].hex()}, not with {magic} as such a file does")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if shape[1:] != item_shape:
        raise damaged(path, f"its header gives items of shape {shape[1:]}, not {item_shape}")
    expected = math.prod(shape)
    if len(content) - start != expected:
        found = len(content) - start
        raise damaged(path, f"its header gives the shape {shape}, {expected:,} bytes; {found:,} follow")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _content(path: Path) -> bytes:
    import gzip
    import zlib

    try:
        with open_maybe_gzipped(path) as stream:
            return stream.read()
    except EOFError:
        raise damaged(path, "the gzip file is cut short") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"the gzip file is damaged ({error})") from None


def damaged(path: Path, what: str) -> DatasetFileError:
    """The error for a file that cannot be used: which, why, and what to do."""
    return DatasetFileError(
        f"{path} cannot be used: {what}. It was left as it is. Put a good copy in its place, or move it away to have "
        "the data set looked for elsewhere and downloaded again."
    )
