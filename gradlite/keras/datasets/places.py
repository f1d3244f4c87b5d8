"""Where data sets are looked for and kept, and the errors for one that is missing or broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DATA_DIRECTORY = "GRADLITE_DATA_DIR"


class DatasetNotFoundError(FileNotFoundError):
    """A data set is not on this machine and could not be downloaded."""


class DatasetFileError(ValueError):
    """A file is there, but it is cut short, damaged or not what its name says."""


class Place(NamedTuple):
    """A directory to look in, and why."""

    directory: Path
    reason: str


def cache_directory() -> Path:
    """The directory that downloads go to: ``gradlite`` in the platform's directory for a user's cached files.

    That is ``$XDG_CACHE_HOME`` (by default ``~/.cache``) on Linux, ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on
    Windows. It need not exist yet.
    """
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "gradlite"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gradlite"
    # The XDG Base Directory Specification says to ignore a relative path.
    caches = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(caches) if os.path.isabs(caches) else Path.home() / ".cache") / "gradlite"


def keras_directory() -> Path:
    """Where Keras keeps its data sets: ``~/.keras/datasets``, or ``datasets`` in ``$KERAS_HOME``."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets"


def places() -> list[Place]:
    """The directories to look in, in this order: the user's choice, the cache, Keras's."""
    chosen = os.environ.get(DATA_DIRECTORY)
    first = [Place(Path(chosen).expanduser(), DATA_DIRECTORY)] if chosen else []
    return [*first, Place(cache_directory(), "the cache"), Place(keras_directory(), "Keras's")]


def missing_files(directory: Path, missing: Iterable[str], wanted: int) -> str | None:
    """What to say of a directory that holds only some of ``wanted`` files; None if it holds none of them."""
    missing = list(missing)
    return f"{directory} lacks {', '.join(missing)}" if 0 < len(missing) < wanted else None


def not_found(
    title: str,
    looked: list[tuple[Place, str]],
    accepted: str,
    destination: Path,
    tried: list[tuple[str, str]],
) -> DatasetNotFoundError:
    """The error for a data set that is nowhere.

    Arguments:
        title: the data set's name for people.
        looked: each place looked in, with what was found there.
        accepted: the names of the files that would have done.
        destination: the directory that the download would have filled.
        tried: each address tried, with why it failed.
    """
    lines = [f"{title} is not on this machine, and downloading it failed.", "Looked in:"]
    lines += [f"  {place.directory} ({place.reason}): {what}" for place, what in looked]
    if DATA_DIRECTORY not in {place.reason for place, _ in looked}:
        lines.append(f"  ({DATA_DIRECTORY} is not set)")
    lines += [f"for {accepted}.", "Tried to download:"]
    lines += [f"  {address}: {reason}" for address, reason in tried]
    lines.append(
        f"Without a network, copy the files from a machine that has one into {destination}, or into a directory that "
        f"{DATA_DIRECTORY} names."
    )
    return DatasetNotFoundError("\n".join(lines))
