"""Writing a file whole or not at all, and the checks on its name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def replacing(path: str, overwrite: bool = True) -> Iterator[str]:
    """Gives the name of a temporary file beside ``path``, which takes its place if the block ends well.

    A failure, or an interruption, leaves what was there before. Raises FileExistsError if there is a file and
    ``overwrite`` is False.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(f"Cannot write the file {path}: it is a directory.")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} exists. Pass overwrite=True to replace it, or choose another name.")
    directory, name = os.path.split(path)
    if directory and not os.path.isdir(directory):
        raise FileNotFoundError(f"Cannot write {path}: there is no directory {directory}.")
    temporary = os.path.join(directory, f".{name}.{uuid.uuid4().hex[:12]}.part")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(temporary)


def _to_disk(path: str) -> None:
    """Wait until the contents are stored: a rename may otherwise survive a crash that they do not."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def existing(path: str | os.PathLike[str], suffixes: tuple[str, ...], what: str) -> str:
    """``path`` as text, if it is a file with one of the ``suffixes``; the error says which of the two it is not."""
    text = with_suffix(path, suffixes, what)
    if not os.path.isfile(text):
        raise FileNotFoundError(f"There is no file {text} ({what}); the current directory is {os.getcwd()}.")
    return text


def with_suffix(path: str | os.PathLike[str], suffixes: tuple[str, ...], what: str) -> str:
    """``path`` as text, if it ends in one of the ``suffixes``."""
    text = os.fspath(path)
    if not text.endswith(suffixes):
        raise ValueError(f"The name of {what} must end in {' or '.join(suffixes)}. Received: {text}")
    return text
